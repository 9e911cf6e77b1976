/* config.c - the trainer's JSON config: {"model": {...}, "train": {...}, "families": {...},
 * "phases": [{...}, ...]}.  Every key once in a table, with its range and its help; what a key
 * means is said in docs/TRAINING.md, which is checked against these tables.
 *
 * The hash covers the parsed values, not the bytes: re-indenting a config does not make its
 * checkpoint foreign, changing a number does. */
#include "train/train_impl.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

#define T(key, type, min, max, help)                                                               \
    {                                                                                              \
#key, LOCI_SET_##type, offsetof(loci_train_config, key), min, max, 0, false, help          \
    }
static const loci_setting train_table[] = {
    T(seed, I64, 0, 9e15, "seed of everything random"),
    T(slots, INT, 1, 256, "gradient buffers, summed in this order"),
    T(lr, FLOAT, 0, 1, "peak learning rate"),
    T(lr_min, FLOAT, 0, 1, "learning rate at the end"),
    T(muon, FLOAT, 0, 1, "step of Muon on hidden matrices; 0: AdamW for all"),
    T(warmup_tokens, I64, 0, 1e12, "tokens of linear warm-up"),
    T(beta1, FLOAT, 0, 0.99999, "AdamW: decay of the first moment"),
    T(beta2, FLOAT, 0, 0.999999, "AdamW: decay of the second moment"),
    T(eps, FLOAT, 1e-12, 1e-2, "AdamW: added to the root"),
    T(weight_decay, FLOAT, 0, 1, "AdamW: decay of matrices"),
    T(clip, FLOAT, 1e-3, 1e6, "largest global gradient norm"),
    T(answer_weight, FLOAT, 0, 100, "weight of answer tokens in the cross-entropy"),
    T(question_weight, FLOAT, 0, 100, "weight of question tokens"),
    T(negatives, BOOL, 0, 1, "chunks of the batch's other sequences take mass from the router"),
    T(kl, FLOAT, 0, 100, "weight of KL(true chunk mass || router)"),
    T(absence, FLOAT, 0, 100, "weight of -log w_null where the fact is absent"),
    T(tier_share, FLOAT, 0, 1, "share of chunks that are served packed"),
    T(ageing, FLOAT, 0, 100, "weight of what packing loses"),
    T(hash, FLOAT, 0, 100, "weight of the losses of trained codes"),
    T(hash_every, INT, 1, 65536, "every so many query tokens train the codes"),
    T(z, FLOAT, 0, 1, "weight of logsumexp^2 of the logits"),
    T(gate_rho, FLOAT, 0, 100, "gate loss: quadratic part above the target"),
    T(gate_eta, FLOAT, 0, 100, "gate loss: step of the dual multiplier"),
    T(regret, FLOAT, 0, 100, "weight of what closed gates would cost"),
    T(regret_every, INT, 0, 1e6, "1 sequence in so many is run without its bank too; 0: none"),
    T(log_every, INT, 1, 1e6, "steps between progress lines"),
    T(checkpoint_every, INT, 1, 1e7, "steps between checkpoints"),
    T(tokenizer_bytes, I64, 1000, 4e9, "text used when a tokenizer is trained"),
};
#undef T

#define P(key, type, min, max, required, help)                                                     \
    {                                                                                              \
#key, LOCI_SET_##type, offsetof(loci_phase, key), min, max, 0, required, help              \
    }
static const loci_setting phase_table[] = {
    { "name", LOCI_SET_STR, offsetof(loci_phase, name), 0, 0, sizeof(((loci_phase *)0)->name), true,
      "shown in the progress line" },
    P(tokens, I64, 1, 1e12, true, "length of the phase"),
    P(seq_len, INT, 64, 1 << 20, true, "tokens a sequence"),
    P(batch, INT, 1, 4096, true, "sequences a step"),
    P(accumulate, INT, 1, 64, false, "micro-batches that a batch is run in"),
    P(window, INT, 0, 1 << 16, false, "tokens that the window attention sees; 0: the model's"),
    P(routed, BOOL, 0, 1, true, "false: dense warm-up; true: top-k by the router"),
    P(kl_every, INT, -1, 65536, false, "KL on 1 query token in this many; 0: none; -1: by seq_len"),
    P(oracle_from, FLOAT, 0, 100, false, "oracle loss at the start of the phase"),
    P(oracle_to, FLOAT, 0, 100, false, "oracle loss at its end"),
    P(pointer_from, FLOAT, 0, 100, false, "pointer loss at the start of the phase"),
    P(pointer_to, FLOAT, 0, 100, false, "pointer loss at its end"),
    P(decode_from, FLOAT, 0, 100, false, "decode loss at the start of the phase"),
    P(decode_to, FLOAT, 0, 100, false, "decode loss at its end"),
    P(synthetic, FLOAT, 0, 1, false, "share of sequences that are task items"),
    P(separate, FLOAT, 0, 1, false, "share of items whose questions are documents of their own"),
    P(facts_min, INT, 1, 4096, false, "fewest facts an item"),
    P(facts_max, INT, 1, 4096, false, "most facts an item"),
    P(questions_max, INT, 1, 4096, false, "most questions an item"),
    P(parts_max, INT, 1, 4, false, "most values of a key in a list, most hops of a chain"),
    P(near_duplicate, FLOAT, 0, 1, false, "share of keys one word away from another"),
    P(shared_keys, FLOAT, 0, 1, false, "share of items with keys near those of other items"),
    P(absent, FLOAT, 0, 1, false, "share of questions about what the text does not hold"),
    P(gate_target, FLOAT, 0, 1, false, "consult rate aimed at; 1: no gate loss"),
    P(hard_gate, BOOL, 0, 1, false, "gates are 0 or 1, with a straight-through gradient"),
    P(round_weights, BOOL, 0, 1, false, "weights in 4 bits, with a straight-through gradient"),
};
#undef P

static void config_defaults(loci_train_config *c)
{
    memset(c, 0, sizeof *c);
    loci_hparams_default(&c->hp);
    c->seed = 1;
    c->slots = 16;
    c->lr = 1e-3f;
    c->lr_min = 1e-4f;
    c->warmup_tokens = 500000;
    c->beta1 = 0.9f;
    c->beta2 = 0.95f;
    c->eps = 1e-8f;
    c->weight_decay = 0.05f;
    c->clip = 1.0f;
    c->answer_weight = 4.0f;
    c->question_weight = 1.0f;
    c->negatives = true;
    c->kl = 0.3f;
    c->absence = 0.3f;
    c->tier_share = 0.5f;
    c->ageing = 0.05f;
    c->hash = 0.1f;
    c->hash_every = 16;
    c->z = 1e-4f;
    c->gate_rho = 1.0f;
    c->gate_eta = 0.01f;
    c->regret = 1.0f;
    c->log_every = 20;
    c->checkpoint_every = 500;
    c->tokenizer_bytes = 50000000;
    for (int f = 0; f < LOCI_TASK_COUNT; f++) c->family[f] = 1.0f;
}

static void phase_defaults(loci_phase *p)
{
    memset(p, 0, sizeof *p);
    p->accumulate = 1;
    p->kl_every = -1;
    p->oracle_from = p->oracle_to = 1.0f;
    p->synthetic = 0.5f;
    p->separate = 0.5f;
    p->facts_min = 2;
    p->facts_max = 16;
    p->questions_max = 8;
    p->parts_max = 4;
    p->gate_target = 1.0f;
}

/* One nested object through its table: settings.c reads text, so hand it text. */
static loci_status read_section(json_t *object, const char *label, const char *section,
                                const loci_setting *table, int n, void *out, loci_error *err)
{
    if (!json_is_object(object))
        return loci_fail(err, LOCI_EFORMAT, "%s: \"%s\" must be an object", label, section);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text) return loci_fail(err, LOCI_ENOMEM, "%s: no memory for \"%s\"", label, section);
    char place[200];
    snprintf(place, sizeof place, "%.150s: %.40s", label, section);
    const loci_status st = loci_settings_parse(text, place, table, n, out, NULL, err);
    free(text);
    return st;
}

static loci_status read_families(json_t *object, const char *label, loci_train_config *c,
                                 loci_error *err)
{
    if (!json_is_object(object))
        return loci_fail(err, LOCI_EFORMAT, "%s: \"families\" must be an object", label);
    for (int f = 0; f < LOCI_TASK_COUNT; f++) c->family[f] = 0.0f;
    const char *key;
    json_t *value;
    float sum = 0.0f;
    json_object_foreach(object, key, value)
    {
        loci_task_family f;
        loci_error unknown = { 0 };
        if (loci_task_by_name(key, &f, &unknown) != LOCI_OK)
            return loci_fail(err, LOCI_EFORMAT, "%s: families: %s", label, unknown.text);
        const double share = json_number_value(value);
        if (!json_is_number(value) || !(share >= 0.0 && share <= 1e6))
            return loci_fail(err, LOCI_EFORMAT, "%s: families: \"%s\" must be 0..1e6", label, key);
        c->family[f] = (float)share;
        sum += (float)share;
    }
    if (!(sum > 0.0f)) return loci_fail(err, LOCI_EFORMAT, "%s: families: all shares are 0", label);
    return LOCI_OK;
}

static loci_status check_phase(const loci_phase *p, const char *label, loci_error *err)
{
    if (p->facts_min > p->facts_max)
        return loci_fail(err, LOCI_EFORMAT, "%s: phase %s: facts_min %d > facts_max %d", label,
                         p->name, p->facts_min, p->facts_max);
    if ((int64_t)p->seq_len * p->batch > (int64_t)1 << 26)
        return loci_fail(err, LOCI_EFORMAT, "%s: phase %s: seq_len x batch = %lld, at most %lld",
                         label, p->name, (long long)p->seq_len * p->batch, (long long)1 << 26);
    if (p->hard_gate && !p->routed)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: phase %s: hard_gate: expected a routed phase, found a dense one",
                         label, p->name);
    if (p->batch % p->accumulate != 0)
        return loci_fail(err, LOCI_EFORMAT,
                         "%s: phase %s: accumulate: expected a divisor of batch = %d, found %d",
                         label, p->name, p->batch, p->accumulate);
    return LOCI_OK;
}

/* The heads' mass is quadratic in the length: from 16K on a sixteenth of the queries, and beyond 64K
 * the oracle loss teaches the router alone. */
static int kl_every_for(int seq_len)
{
    return seq_len < 16384 ? 1 : seq_len <= 65536 ? 16 : 0;
}

static loci_status read_phases(json_t *array, const char *label, loci_train_config *c,
                               loci_error *err)
{
    const size_t n = json_array_size(array);
    if (!json_is_array(array) || n < 1 || n > LOCI_MAX_PHASES)
        return loci_fail(err, LOCI_EFORMAT, "%s: \"phases\" must be an array of 1..%d objects",
                         label, LOCI_MAX_PHASES);
    for (size_t i = 0; i < n; i++) {
        loci_phase *p = &c->phase[i];
        char section[40];
        snprintf(section, sizeof section, "phases[%zu]", i);
        phase_defaults(p);
        loci_status st = read_section(json_array_get(array, i), label, section, phase_table,
                                      COUNT(phase_table), p, err);
        if (st == LOCI_OK) st = check_phase(p, label, err);
        if (st != LOCI_OK) return st;
        if (p->kl_every < 0) p->kl_every = kl_every_for(p->seq_len);
        c->total_tokens += p->tokens;
    }
    c->n_phases = (int)n;
    return LOCI_OK;
}

bool loci_config_rounds(const loci_train_config *c)
{
    for (int i = 0; i < c->n_phases; i++)
        if (c->phase[i].round_weights) return true;
    return false;
}

loci_hparams loci_phase_hparams(const loci_train_config *c, const loci_phase *phase)
{
    loci_hparams hp = c->hp;
    if (phase->hard_gate) hp.hard_gate = 1;
    if (phase->window > 0) hp.window = phase->window;
    return hp;
}

/* FNV-1a over the parsed fields. The struct was cleared first, so its padding is zero. */
static uint64_t config_hash(const loci_train_config *c)
{
    loci_train_config copy = *c;
    copy.identity = 0;
    copy.log_every = copy.checkpoint_every = 0; /* may change between resumes */
    uint64_t h = 1469598103934665603u;
    const unsigned char *p = (const unsigned char *)&copy;
    for (size_t i = 0; i < sizeof copy; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static loci_status read_root(json_t *root, const char *label, loci_train_config *c, loci_error *err)
{
    const char *key;
    json_t *value;
    loci_status st = LOCI_OK;
    bool phases = false;
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "model") == 0)
            st = read_section(value, label, key, loci_hparams_table, loci_hparams_table_n, &c->hp,
                              err);
        else if (strcmp(key, "train") == 0)
            st = read_section(value, label, key, train_table, COUNT(train_table), c, err);
        else if (strcmp(key, "families") == 0)
            st = read_families(value, label, c, err);
        else if (strcmp(key, "phases") == 0)
            phases = true, st = read_phases(value, label, c, err);
        else if (strcmp(key, "about") != 0) /* a comment for people */
            st = loci_fail(err, LOCI_EFORMAT,
                           "%s: unknown key \"%s\" (known: about, model, train, families, phases)",
                           label, key);
        if (st != LOCI_OK) return st;
    }
    if (!phases) return loci_fail(err, LOCI_EFORMAT, "%s: \"phases\" is missing", label);
    for (int i = 0; i < c->n_phases; i++) {
        const loci_phase *p = &c->phase[i];
        if (p->window != 0 && (p->window < c->hp.chunk || p->window > c->hp.window))
            return loci_fail(err, LOCI_EFORMAT,
                             "%s: phase %s: window: expected 0 or %d to %d, found %d", label,
                             p->name, c->hp.chunk, c->hp.window, p->window);
    }
    return loci_hparams_check(&c->hp, label, err);
}

loci_status loci_train_config_parse(loci_train_config *c, const char *text, const char *label,
                                    loci_error *err)
{
    config_defaults(c);
    json_error_t je;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &je);
    if (!root) return loci_fail(err, LOCI_EFORMAT, "%s: line %d: %s", label, je.line, je.text);
    loci_status st = json_is_object(root)
                         ? read_root(root, label, c, err)
                         : loci_fail(err, LOCI_EFORMAT, "%s: must be a JSON object", label);
    json_decref(root);
    if (st == LOCI_OK) c->identity = config_hash(c);
    return st;
}

loci_status loci_train_config_load(loci_train_config *c, const char *path, loci_error *err)
{
    char *text;
    size_t len;
    loci_status st = loci_file_load(NULL, path, 1 << 20, &text, &len, err);
    if (st != LOCI_OK) return st;
    if (strlen(text) != len)
        st = loci_fail(err, LOCI_EFORMAT, "%s: holds a NUL byte", path);
    else
        st = loci_train_config_parse(c, text, path, err);
    free(text);
    return st;
}
