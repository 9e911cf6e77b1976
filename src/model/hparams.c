/* hparams.c - the shape of a model: its settings, their ranges, config.json.
 *
 * One table serves the configuration of a training run, the checkpoint's config.json and the
 * help texts.  A checkpoint names every field but switches at their default; a training run may
 * leave any at its default.
 * Ranges are such that every product of two sizes fits an int and every tensor a size_t. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#define ARCHITECTURE "loci-1"
enum { CONFIG_MAX_BYTES = 1 << 16 }; /* a config.json has some 800 bytes */

#define INT_FIELD(name, low, high, text)                                                           \
    {                                                                                              \
#name, LOCI_SET_INT, offsetof(loci_hparams, name), (low), (high), 0, false, text           \
    }
#define FLOAT_FIELD(name, low, high, text)                                                         \
    {                                                                                              \
#name, LOCI_SET_FLOAT, offsetof(loci_hparams, name), (low), (high), 0, false, text         \
    }

/* Heads of 64, chunks of 64 and landmarks of 128 are built into kernels, records and codes. */
const loci_setting loci_hparams_table[] = {
    INT_FIELD(vocab, 16, 1 << 20, "ids of the tokenizer, the 16 special ones included"),
    INT_FIELD(d_model, 16, 8192, "width of the residual stream, a multiple of 16"),
    INT_FIELD(n_heads, 1, 128, "query heads of the window attention"),
    INT_FIELD(n_kv_heads, 1, 128, "key and value heads; divides n_heads"),
    INT_FIELD(d_head, 64, 64, "width of a head"),
    INT_FIELD(n_lower, 1, LOCI_MAX_LAYERS, "layers below the bank, run once per token"),
    INT_FIELD(n_upper, 1, LOCI_MAX_LAYERS, "layers above the bank, run for questions and answers"),
    INT_FIELD(n_groups, 0, LOCI_MAX_GROUPS,
              "groups of upper layers, each with a Read in front; 0: no Read and no bank"),
    INT_FIELD(window, 64, 1 << 16, "tokens that the window attention sees, at least one chunk"),
    INT_FIELD(ffn, 16, 1 << 15, "width of a layer's SwiGLU"),
    INT_FIELD(chunk, 64, 64, "tokens of a chunk"),
    INT_FIELD(enc_dim, 64, 1024, "width of the chunk encoder, a multiple of 64"),
    INT_FIELD(enc_mlp, 16, 1 << 13, "width of the chunk encoder's MLP"),
    INT_FIELD(n_landmarks, 1, 8, "landmarks of a chunk"),
    INT_FIELD(d_landmark, 128, 128, "width of a landmark"),
    INT_FIELD(d_key, 16, 128, "width of a content row's key"),
    INT_FIELD(d_value, 16, 128, "width of a content row's value"),
    INT_FIELD(read_heads, 1, LOCI_MAX_READ_HEADS, "heads of a Read"),
    INT_FIELD(router_hidden, 16, 1 << 13, "hidden width of the router"),
    INT_FIELD(read_mlp, 16, 1 << 13, "width of a Read's SwiGLU"),
    INT_FIELD(top_k, 1, LOCI_MAX_PICKS, "chunks that one query reads"),
    FLOAT_FIELD(rope_base, 1.0, 1e9, "base of the rotary angles"),
    FLOAT_FIELD(norm_eps, 1e-12, 1e-2, "added to the mean square of every norm"),
    FLOAT_FIELD(gate_open, 0.0, 1.0, "a query consulted the bank when its gate exceeds this"),
    INT_FIELD(content_bits4, 0, 1, "1: content packed to 4 bits a number; needs d_summary"),
    INT_FIELD(trained_codes, 0, 1, "1: search codes by learned maps"),
    INT_FIELD(d_summary, 0, LOCI_MAX_SUMMARY, "width of a chunk's summary; 0: none"),
    INT_FIELD(postings, 0, 1, "1: banks hold postings of rare token runs"),
    INT_FIELD(tied, 0, 1, "1: the embedding is the output head; 0: a head of its own"),
    INT_FIELD(hard_gate, 0, 1, "1: a closed gate searches and reads nothing; 0: gates only weigh"),
    INT_FIELD(shared_kv, 0, 1, "1: one vector a token is key and value; needs d_value = d_key"),
    INT_FIELD(order, 0, 1, "1: heads weigh picks by their order in time; 0: as the router does"),
    FLOAT_FIELD(refusal_margin, 0.0, 100.0, "nats by which an answer's \"not stated\" has to lead"),
};
enum { N_FIELDS = sizeof loci_hparams_table / sizeof loci_hparams_table[0] };
const int loci_hparams_table_n = N_FIELDS;

void loci_hparams_default(loci_hparams *hp)
{
    *hp = (loci_hparams){
        .vocab = 4096,
        .d_model = 192,
        .n_heads = 3,
        .n_kv_heads = 1,
        .d_head = 64,
        .n_lower = 2,
        .n_upper = 2,
        .n_groups = 1,
        .window = 128,
        .ffn = 384,
        .chunk = 64,
        .enc_dim = 128,
        .enc_mlp = 256,
        .n_landmarks = 2,
        .d_landmark = 128,
        .d_key = 64,
        .d_value = 64,
        .read_heads = 8,
        .router_hidden = 256,
        .read_mlp = 256,
        .top_k = 16,
        .rope_base = 1e4f,
        .norm_eps = 1e-6f,
        .gate_open = 0.5f,
        .tied = 1,
    };
}

bool loci_hparams_unsaid(const loci_hparams *hp, const loci_setting *field)
{
    loci_hparams standard;
    loci_hparams_default(&standard);
    return field->offset >= offsetof(loci_hparams, tied) &&
           memcmp((const char *)hp + field->offset, (const char *)&standard + field->offset,
                  field->type == LOCI_SET_INT ? sizeof(int) : sizeof(float)) == 0;
}

static loci_status divides(int whole, int part, const char *field, const char *unit,
                           const char *label, loci_error *err)
{
    if (part == 0 || whole % part == 0) return LOCI_OK;
    return loci_fail(err, LOCI_EINVAL, "%s: %s: expected a multiple of %s = %d, found %d", label,
                     field, unit, part, whole);
}

loci_status loci_hparams_check(const loci_hparams *hp, const char *label, loci_error *err)
{
    for (int i = 0; i < N_FIELDS; i++) {
        const loci_setting *f = &loci_hparams_table[i];
        const char *at = (const char *)hp + f->offset;
        const bool is_int = f->type == LOCI_SET_INT;
        const double v = is_int ? (double)*(const int *)at : (double)*(const float *)at;
        if (!(v >= f->min && v <= f->max))
            return loci_fail(err, LOCI_EINVAL, "%s: %s: expected %g to %g, found %g", label, f->key,
                             f->min, f->max, v);
    }
    const struct {
        int whole, part;
        const char *field, *unit;
    } relation[] = {
        { hp->d_model, 16, "d_model", "the row unit" },
        { hp->n_heads, hp->n_kv_heads, "n_heads", "n_kv_heads" },
        { hp->n_upper, hp->n_groups, "n_upper", "n_groups" },
        { hp->enc_dim, 64, "enc_dim", "the head width" },
        { hp->d_key, 16, "d_key", "the row unit" },
        { hp->d_value, 16, "d_value", "the row unit" },
        { hp->d_summary, 16, "d_summary", "the row unit" },
    };
    for (size_t i = 0; i < sizeof relation / sizeof relation[0]; i++) {
        const loci_status st = divides(relation[i].whole, relation[i].part, relation[i].field,
                                       relation[i].unit, label, err);
        if (st != LOCI_OK) return st;
    }
    if (hp->content_bits4 && !hp->d_summary)
        return loci_fail(err, LOCI_EINVAL, "%s: content_bits4: expected d_summary above 0, found 0",
                         label);
    if (hp->shared_kv && hp->d_value != hp->d_key)
        return loci_fail(err, LOCI_EINVAL,
                         "%s: d_value: expected d_key = %d with shared_kv, found %d", label,
                         hp->d_key, hp->d_value);
    return LOCI_OK;
}

/* ---- config.json -------------------------------------------------------------------- */

typedef struct {
    char architecture[32];
    loci_hparams hp;
} config;

/* The table of a config: the architecture's name, then the fields, shifted; all of them if hp is
 * NULL, else those that its config names.  Switches may be missing.  Returns how many lines. */
static int config_table(loci_setting table[N_FIELDS + 1], const loci_hparams *hp)
{
    int n = 1;
    table[0] = (loci_setting){
        .key = "architecture",
        .type = LOCI_SET_STR,
        .offset = offsetof(config, architecture),
        .str_size = sizeof((config *)0)->architecture,
        .required = true,
        .help = "what the tensors of the checkpoint mean",
    };
    for (int i = 0; i < N_FIELDS; i++) {
        const loci_setting *f = &loci_hparams_table[i];
        if (hp && loci_hparams_unsaid(hp, f)) continue;
        table[n] = *f;
        table[n].offset += offsetof(config, hp);
        table[n++].required = f->offset < offsetof(loci_hparams, tied);
    }
    return n;
}

loci_status loci_hparams_load(loci_hparams *hp, const char *path, loci_error *err)
{
    loci_setting table[N_FIELDS + 1];
    config c;
    char *text = NULL;
    size_t len = 0;
    memset(&c, 0, sizeof c);
    loci_hparams_default(&c.hp);
    const int n = config_table(table, NULL);
    loci_status st = loci_file_load(NULL, path, CONFIG_MAX_BYTES, &text, &len, err);
    if (st != LOCI_OK) return st;
    if (strlen(text) != len)
        st = loci_fail(err, LOCI_EFORMAT, "%s: byte 0 at offset %zu of a text file", path,
                       strlen(text));
    if (st == LOCI_OK) st = loci_settings_parse(text, path, table, n, &c, NULL, err);
    if (st == LOCI_OK && strcmp(c.architecture, ARCHITECTURE) != 0)
        st = loci_fail(err, LOCI_EVERSION, "%s: architecture: expected \"%s\", found \"%s\"", path,
                       ARCHITECTURE, c.architecture);
    if (st == LOCI_OK) st = loci_hparams_check(&c.hp, path, err);
    if (st == LOCI_OK) *hp = c.hp;
    free(text);
    return st;
}

loci_status loci_hparams_save(const loci_hparams *hp, const char *path, loci_error *err)
{
    loci_setting table[N_FIELDS + 1];
    config c;
    memset(&c, 0, sizeof c);
    memcpy(c.architecture, ARCHITECTURE, sizeof ARCHITECTURE);
    c.hp = *hp;
    const int n = config_table(table, hp);
    loci_status st = loci_hparams_check(hp, path, err);
    if (st != LOCI_OK) return st;
    char *text = loci_settings_dump(table, n, &c);
    if (!text) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for its text", path);
    st = loci_file_replace(NULL, path, text, strlen(text), err);
    free(text);
    return st;
}
