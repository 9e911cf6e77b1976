/* Goal: a checkpoint is the same model whatever it is stored as: released names, transformers'
 * names, shards, FP8 and FP4 with scales, GGUF; and a wrong file gives one line that names tensor,
 * expected and found.  What a shape costs agrees with the published figures.
 * Method: tiny random checkpoints written in each form, every tensor asked from each source and
 * compared bit for bit; one thing wrong in each of many copies. */
#include <stddef.h>
#include <stdint.h>
#include "dsv4_gguf.h"
#include "temp_dir.h"

enum { N_HASH = 1 };
static char dir[TEMP_PATH];

static int set_up(void **state)
{
    (void)state;
    return temp_dir_make(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

/* Window, CSA, HCA and CSA layers, the first one with a hash table. */
static loci_dsv4_hparams tiny(loci_dsv4_expert_type experts, int n_mtp)
{
    loci_dsv4_hparams hp;
    const int ratios[4] = { 0, 4, 8, 4 };
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    memset(hp.layer, 0, sizeof hp.layer); /* of 43 layers */
    hp.vocab = 96;
    hp.hidden = 64;
    hp.n_layers = 4;
    hp.n_mtp = n_mtp;
    hp.n_heads = 4;
    hp.head_dim = 32;
    hp.rope_dim = 8;
    hp.q_rank = 40;
    hp.o_groups = 2;
    hp.o_rank = 24;
    hp.window = 8;
    hp.index_heads = 16;
    hp.index_dim = 16;
    hp.index_topk = 2;
    hp.n_experts = 8;
    hp.n_active = 2;
    hp.expert_width = 96;
    hp.expert_type = experts;
    loci_error err = { 0 };
    if (loci_dsv4_layers_from_ratios(&hp, ratios, N_HASH, "tiny", &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return hp;
}

/* ---- every tensor of a source ------------------------------------------------------------------- */

typedef struct {
    const loci_dsv4_source *source;
    checkpoint *c;
} asked;

static void same_tensor(void *ctx, const char *name, int rows, int cols, dsv4_role role)
{
    const asked *a = ctx;
    const made *want = made_find(a->c, name);
    loci_error err = { 0 };
    if (role == DSV4_IDS) {
        const int32_t *ids = NULL;
        if (a->source->find_ids(a->source->ctx, name, rows, cols, &ids, &err) != LOCI_OK || !ids)
            fail_msg("%s: %s", name, err.text);
        for (int i = 0; i < rows * cols; i++)
            assert_int_equal(ids[i], ((const int64_t *)want->data)[i]);
        return;
    }
    loci_dsv4_mat m;
    if (a->source->find(a->source->ctx, name, &m, &err) != LOCI_OK || !m.data)
        fail_msg("%s: %s", name, err.code ? err.text : "not found");
    if (m.rows != rows || m.cols != cols)
        fail_msg("%s: (%d, %d), should be (%d, %d)", name, m.rows, m.cols, rows, cols);
    const size_t row = want->bytes / (size_t)rows; /* rows of joined matrices lie further apart */
    assert_true(m.row_bytes == row || (strstr(name, "_proj.") && m.row_bytes == 2 * row));
    for (int r = 0; r < rows; r++)
        assert_memory_equal((const char *)m.data + (size_t)r * m.row_bytes,
                            (const char *)want->data + (size_t)r * row, row);
    const bool coded = want->dtype == LOCI_I8 || want->dtype == LOCI_F8_E4M3;
    assert_int_equal(m.scale != NULL, coded);
    if (coded) { /* the scales were added behind their matrix */
        assert_int_equal(m.type, want->dtype == LOCI_I8 ? LOCI_STORED_E2M1 : LOCI_STORED_E4M3);
        assert_memory_equal(m.scale, want[1].data, want[1].bytes);
    }
}

static void check_source(const loci_dsv4_source *s, checkpoint *c, const loci_dsv4_hparams *hp)
{
    asked a = { s, c };
    dsv4_each_tensor(hp, same_tensor, &a);
    static const char *const absent[] = { "layers.9.attn_norm.weight",
                                          "layers.0.attn.compressor.ape",
                                          "layers.0.ffn.experts.8.w1.weight.x",
                                          "nothing",
                                          "",
                                          "layers.0.",
                                          "layers.x.attn_norm.weight" };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        loci_dsv4_mat m;
        const int32_t *ids;
        assert_int_equal(s->find(s->ctx, absent[i], &m, NULL), LOCI_OK);
        assert_null(m.data);
        assert_int_equal(s->find_ids(s->ctx, absent[i], 1, 1, &ids, NULL), LOCI_OK);
        assert_null(ids);
    }
}

/* Every tensor binds, and no other was needed: without any single one it does not. */
static void check_bind(const loci_dsv4_source *s, const loci_dsv4_hparams *hp)
{
    loci_dsv4_weights *w = malloc(sizeof *w);
    loci_error err = { 0 };
    if (loci_dsv4_bind(w, hp, s, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(w->layer[1].main.kv.rows, 64);
    assert_int_equal(w->layer[3].expert[7].down.rows, 64);
    assert_int_equal(w->layer[0].hash[1], 7 % 3);
    loci_dsv4_weights_free(w);
    free(w);
}

static void open_set(loci_st_set **set, loci_dsv4_source *s)
{
    loci_error err = { 0 };
    if (loci_st_set_open(set, dir, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(loci_dsv4_source_safetensors(s, *set, dir, NULL), LOCI_OK);
}

static void test_safetensors(void **state)
{
    (void)state;
    for (int form = 0; form < 6; form++) {
        const loci_dsv4_expert_type type = (loci_dsv4_expert_type)(form % 3);
        const loci_dsv4_hparams hp = tiny(type, form % 2);
        checkpoint *c = make_checkpoint(&hp, type == LOCI_DSV4_EXPERT_PLAIN, 100 + form);
        loci_st_set *set;
        loci_dsv4_source s;
        write_shards(c, dir, form >= 3, 1 + form % 3);
        open_set(&set, &s);
        check_source(&s, c, &hp);
        check_bind(&s, &hp);
        loci_dsv4_source_free(&s);
        loci_st_set_close(set);
        free_checkpoint(c);
    }
}

/* The bytes of weights are those of c, whose tensors are all F32 but the hash tables. */
static void check_stored(const loci_dsv4_source *s, const checkpoint *c,
                         const loci_dsv4_hparams *hp)
{
    loci_dsv4_cost cost;
    int64_t all = 0, experts = 0;
    for (int i = 0; i < c->n; i++) {
        const made *m = &c->t[i];
        all += (int64_t)m->rows * m->cols * (m->role == DSV4_IDS ? 8 : 4);
        experts += m->role == DSV4_EXPERT ? (int64_t)m->rows * m->cols * 4 : 0;
    }
    assert_int_equal(loci_dsv4_cost_of(&cost, hp, NULL), LOCI_OK);
    assert_int_not_equal(cost.weight_bytes, all); /* the release has other types */
    loci_dsv4_cost_stored(&cost, hp, s);
    assert_int_equal(cost.weight_bytes, all);
    assert_int_equal(cost.dense_bytes, all - experts);
    assert_int_equal(cost.expert_bytes, 3 * 4 * hp->hidden * hp->expert_width);
}

static void check_gguf(int n_mtp, gguf_drafts drafts)
{
    const loci_dsv4_hparams hp = tiny(LOCI_DSV4_EXPERT_PLAIN, n_mtp);
    checkpoint *c = make_checkpoint(&hp, true, 7);
    size_t size;
    unsigned char *file = make_gguf(c, &hp, N_HASH, drafts, &size);
    loci_gguf *f;
    loci_dsv4_source s;
    loci_dsv4_hparams found;
    loci_error err = { 0 };
    if (loci_gguf_open_memory(&f, file, size, "m.gguf", &err) != LOCI_OK) fail_msg("%s", err.text);
    if (loci_dsv4_config_gguf(&found, f, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_memory_equal(&found, &hp, sizeof hp);
    assert_int_equal(loci_dsv4_source_gguf(&s, f, NULL), LOCI_OK);
    check_source(&s, c, &hp);
    check_bind(&s, &hp);
    check_stored(&s, c, &hp);
    loci_dsv4_source_free(&s);
    loci_gguf_close(f);
    free(file);
    free_checkpoint(c);
}

static void test_gguf(void **state)
{
    (void)state;
    check_gguf(0, GGUF_MTP);
    check_gguf(1, GGUF_MTP);
    check_gguf(2, GGUF_NEXTN);
    check_gguf(1, GGUF_JOINED);
    check_gguf(2, GGUF_JOINED);
}

/* Blocks with nextn tensors that are not plain drafting blocks behind the last layer. */
static void test_gguf_nextn(void **state)
{
    static const unsigned char zero[4096];
    static const struct {
        const char *name[5];
        int first, n;
        bool alone;
    } files[] = {
        { { "blk.3.attn_norm.weight" }, -1, 0, true },
        { { "blk.3.nextn.enorm.weight", "blk.3.nextn.eh_proj.weight" }, 3, 1, false },
        { { "blk.3.nextn.enorm.weight", "blk.3.nextn.e_proj.weight",
            "blk.3.nextn.hc_head_fn.weight", "blk.3.nextn.shared_head_norm.weight" },
          3,
          1,
          true },
        { { "blk.3.nextn.enorm.weight", "blk.4.nextn.eh_proj.weight", "blk.6.nextn.enorm.weight" },
          3,
          2,
          false },
        { { "blk.127.nextn.enorm.weight" }, 127, 1, false },
        { { "blk.128.nextn.enorm.weight" }, -1, 0, true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        gguf_file g = gguf_begin(3);
        loci_gguf *f;
        size_t size;
        int n;
        bool alone;
        for (int k = 0; k < 5 && files[i].name[k]; k++)
            gguf_tensor(&g, files[i].name[k], 0, 1, (const uint64_t[]){ 2 }, zero, 8);
        unsigned char *file = gguf_finish(&g, &size);
        assert_int_equal(loci_gguf_open_memory(&f, file, size, "m.gguf", NULL), LOCI_OK);
        assert_int_equal(dsv4_gguf_nextn(f, &n, &alone), files[i].first);
        assert_int_equal(n, files[i].n);
        assert_int_equal(alone, files[i].alone);
        loci_gguf_close(f);
        free(file);
    }
}

/* ---- one thing wrong ------------------------------------------------------------------------------ */

/* Bind the checkpoint as it lies in dir; it must be refused with a line that says `says`. */
static void refuse_bind(const checkpoint *c, const loci_dsv4_hparams *hp, const char *says)
{
    loci_st_set *set;
    loci_dsv4_source s;
    loci_error err = { 0 };
    loci_dsv4_weights *w = malloc(sizeof *w);
    write_shards(c, dir, false, 1);
    open_set(&set, &s);
    const loci_status st = loci_dsv4_bind(w, hp, &s, NULL, &err);
    if (st != LOCI_EFORMAT || !strstr(err.text, says))
        fail_msg("expected \"%s\", found status %d, \"%s\"", says, st, err.text);
    loci_dsv4_weights_free(w);
    free(w);
    loci_dsv4_source_free(&s);
    loci_st_set_close(set);
}

static void test_wrong_tensors(void **state)
{
    const loci_dsv4_hparams hp = tiny(LOCI_DSV4_EXPERT_FP4, 0);
    static const struct {
        const char *name, *says;
        loci_dtype dtype;
        int64_t rows, cols;
    } wrong[] = {
        { "layers.1.attn.wkv.weight", "layers.1.attn.wkv.weight: expected (32, 64), found (64, 32)",
          LOCI_F8_E4M3, 64, 32 },
        { "layers.1.attn.wkv.scale",
          "layers.1.attn.wkv.scale: expected (1, 1), for layers.1.attn.wkv.weight of (32, 64), "
          "found (1, 2)",
          LOCI_F8_E8M0, 1, 2 },
        { "layers.1.attn.wkv.scale", "wkv.scale: dtype: expected F8_E8M0, found F32", LOCI_F32, 1,
          1 },
        { "layers.2.ffn.experts.3.w2.weight", "rows of packed FP4: expected a multiple of 16 bytes",
          LOCI_I8, 64, 40 },
        { "layers.2.ffn.experts.3.w2.scale", "w2.scale: expected (64, 3), for", LOCI_F8_E8M0, 64,
          2 },
        { "layers.2.ffn.experts.3.w2.weight", "w2.weight of (32, 48), found (64, 3)", LOCI_I8, 32,
          48 },
        { "layers.0.ffn.gate.weight", "gate.weight: expected (8, 64), found (7, 64)", LOCI_BF16, 7,
          64 },
        { "norm.weight", "norm.weight: expected (1, 64), found (1, 63)", LOCI_BF16, 63, 0 },
        { "norm.weight",
          "norm.weight: dtype: expected F32, BF16, F16, F8_E4M3 or I8 (packed FP4), "
          "found I64",
          LOCI_I64, 64, 0 },
        { "layers.0.ffn.gate.tid2eid", "tid2eid: expected (96, 2), found (2, 96)", LOCI_I64, 2,
          96 },
        { "layers.0.ffn.gate.tid2eid", "tid2eid: dtype: expected I64 or I32", LOCI_F32, 96, 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        checkpoint *c = make_checkpoint(&hp, false, 5);
        made *m = made_find(c, wrong[i].name);
        m->dtype = wrong[i].dtype;
        m->n_dims = wrong[i].cols ? 2 : 1;
        m->dim[0] = wrong[i].rows;
        m->dim[1] = wrong[i].cols;
        m->bytes = (size_t)(wrong[i].rows * (wrong[i].cols ? wrong[i].cols : 1)) *
                   loci_dtype_size(wrong[i].dtype);
        free(m->data);
        m->data = calloc(m->bytes, 1);
        refuse_bind(c, &hp, wrong[i].says);
        free_checkpoint(c);
    }
    checkpoint *c = make_checkpoint(&hp, false, 5);
    int64_t *ids = made_find(c, "layers.0.ffn.gate.tid2eid")->data;
    ids[11] = 1ll << 40;
    refuse_bind(c, &hp, "tid2eid: element 11: expected an expert, found 1099511627776");
    ids[11] = 8;
    refuse_bind(c, &hp, "tid2eid[5, 1]: expected 0 to 7, found 8");
    free_checkpoint(c);
}

/* Left out one at a time, every tensor is missed by name. */
static void test_missing(void **state)
{
    const loci_dsv4_hparams hp = tiny(LOCI_DSV4_EXPERT_FP4, 0);
    checkpoint *c = make_checkpoint(&hp, false, 6);
    (void)state;
    for (int i = 0; i < c->n; i += 3) { /* a third of them: some 150 */
        char says[160];
        made last = c->t[c->n - 1], left_out = c->t[i];
        if (i == c->n - 1) break;
        c->t[i] = last;
        c->n--;
        snprintf(says, sizeof says, "%s: expected (", left_out.name);
        refuse_bind(c, &hp, says);
        c->n++;
        c->t[i] = left_out;
        c->t[c->n - 1] = last;
    }
    free_checkpoint(c);
}

/* Metadata with one value wrong or missing. */
static void test_wrong_metadata(void **state)
{
    static const struct {
        const char *key, *says;
        uint32_t to; /* 32-bit value behind the key's type */
    } wrong[] = {
        { "deepseek4.block_count", "num_hidden_layers: expected", 0 },
        { "deepseek4.attention.head_count_kv", "head_count_kv: expected 1", 2 },
        { "deepseek4.expert_shared_count", "expert_shared_count: expected 1", 2 },
        { "deepseek4.rope.dimension_count", "qk_rope_head_dim: expected", 7 },
        { "deepseek4.expert_used_count", "num_experts_per_tok", 60 },
        { "deepseek4.hash_layer_count", "num_hash_layers: expected", 99 },
        { "deepseek4.rope.freq_base", "rope_theta: expected", 0 },
        { "deepseek4.expert_group_count", "expert_group_count: expected 0 or 1", 4 },
    };
    const loci_dsv4_hparams hp = tiny(LOCI_DSV4_EXPERT_PLAIN, 0);
    checkpoint *c = make_checkpoint(&hp, true, 8);
    size_t size;
    unsigned char *file = make_gguf(c, &hp, N_HASH, GGUF_MTP, &size);
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (int cut = 0; cut < 2; cut++) { /* another value; another name, so that it is missing */
            unsigned char *bad = malloc(size);
            loci_gguf *f;
            loci_dsv4_hparams found;
            loci_error err = { 0 };
            memcpy(bad, file, size);
            unsigned char *at = memmem(bad, size, wrong[i].key, strlen(wrong[i].key));
            assert_non_null(at);
            if (cut)
                at[10] = '_';
            else
                memcpy(at + strlen(wrong[i].key) + 4, &wrong[i].to, 4);
            assert_int_equal(loci_gguf_open_memory(&f, bad, size, "m.gguf", NULL), LOCI_OK);
            const loci_status st = loci_dsv4_config_gguf(&found, f, &err);
            const bool optional = strstr(wrong[i].key, "_kv") || strstr(wrong[i].key, "shared") ||
                                  strstr(wrong[i].key, "hash") || strstr(wrong[i].key, "group");
            if (cut && optional)
                assert_int_equal(st, LOCI_OK);
            else if (st != LOCI_EFORMAT ||
                     !strstr(err.text, cut ? "found no such key" : wrong[i].says))
                fail_msg("%s: expected \"%s\", found \"%s\"", wrong[i].key, wrong[i].says,
                         err.text);
            loci_gguf_close(f);
            free(bad);
        }
    }
    free(file);
    free_checkpoint(c);
}

/* Types that are not computed with, shapes that are not the model's. */
static void test_wrong_gguf_tensors(void **state)
{
    static const unsigned char zero[4096];
    loci_gguf *f;
    loci_dsv4_source s;
    loci_dsv4_mat m;
    loci_error err = { 0 };
    size_t size;
    gguf_file g = gguf_begin(3);
    (void)state;
    gguf_tensor(&g, "blk.0.ffn_gate_exps.weight", 16, 3, (const uint64_t[]){ 256, 2, 2 }, zero,
                264);
    gguf_tensor(&g, "blk.0.ffn_up_exps.weight", 39, 3, (const uint64_t[]){ 64, 3, 2 }, zero, 204);
    gguf_tensor(&g, "blk.0.ffn_gate_tid2eid.weight", 0, 2, (const uint64_t[]){ 2, 4 }, zero, 32);
    gguf_tensor(&g, "blk.1.ffn_gate_tid2eid.weight", 26, 2, (const uint64_t[]){ 2, 4 }, zero, 32);
    gguf_tensor(&g, "blk.0.attn_q_a.weight", 0, 4, (const uint64_t[]){ 2, 2, 2, 2 }, zero, 64);
    gguf_tensor(&g, "blk.0.attn_output_a.weight", 8, 3, (const uint64_t[]){ 32, 3, 2 }, zero, 204);
    gguf_tensor(&g, "blk.5.nextn.enorm.weight", 0, 1, (const uint64_t[]){ 2 }, zero, 8);
    gguf_tensor(&g, "blk.5.nextn.eh_proj.weight", 8, 2, (const uint64_t[]){ 96, 2 }, zero, 204);
    gguf_tensor(&g, "blk.0.attn_kv.weight", 0, 3, (const uint64_t[]){ 0, 1ull << 40, 1ull << 40 },
                zero, 0);
    unsigned char *file = gguf_finish(&g, &size);
    assert_int_equal(loci_gguf_open_memory(&f, file, size, "m.gguf", NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_source_gguf(&s, f, NULL), LOCI_OK);
#define REFUSED(call, says)                                                                        \
    memset(&err, 0, sizeof err);                                                                   \
    assert_int_equal((call), LOCI_EFORMAT);                                                        \
    if (!strstr(err.text, says)) fail_msg("expected \"%s\", found \"%s\"", says, err.text)
    REFUSED(s.find(s.ctx, "layers.0.ffn.experts.1.w1.weight", &m, &err),
            "m.gguf: blk.0.ffn_gate_exps.weight: type: expected F32");
    assert_non_null(strstr(err.text, "found IQ2_XXS"));
    REFUSED(s.find(s.ctx, "layers.0.ffn.experts.2.w3.weight", &m, &err),
            "expected at least 3 experts, found 2");
    REFUSED(s.find(s.ctx, "layers.0.attn.wq_a.weight", &m, &err), "2 x 2 x 2 x 2");
    REFUSED(s.find(s.ctx, "layers.0.attn.wkv.weight", &m, &err), "expected a matrix");
    REFUSED(s.find(s.ctx, "mtp.0.h_proj.weight", &m, &err),
            "blk.5.nextn.eh_proj.weight: expected two matrices side by side, found 96 columns of "
            "Q8_0");
    const int32_t *ids;
    REFUSED(s.find_ids(s.ctx, "layers.0.ffn.gate.tid2eid", 4, 2, &ids, &err), "type: expected I32");
    REFUSED(s.find_ids(s.ctx, "layers.1.ffn.gate.tid2eid", 2, 4, &ids, &err),
            "expected (2, 4), found (4, 2)");
    assert_int_equal(s.find(s.ctx, "layers.0.ffn.experts.1.w3.weight", &m, NULL), LOCI_OK);
    assert_true(m.type == LOCI_STORED_MXFP4 && m.rows == 3 && m.cols == 64);
    assert_ptr_equal(m.data,
                     (const char *)loci_gguf_find(f, "blk.0.ffn_up_exps.weight")->data + 3 * 34);
    assert_int_equal(s.find(s.ctx, "layers.0.attn.wo_a.weight", &m, NULL), LOCI_OK);
    assert_true(m.type == LOCI_STORED_Q8_0 && m.rows == 6 && m.cols == 32);
    loci_dsv4_source_free(&s);
    loci_gguf_close(f);
    free(file);
}

/* ---- whole files and costs ------------------------------------------------------------------------ */

static void write_bytes(const char *path, const void *data, size_t n)
{
    assert_int_equal(loci_file_replace(NULL, path, data, n, NULL), LOCI_OK);
}

static void test_files(void **state)
{
    char path[TEMP_PATH + 64], *text;
    const loci_dsv4_hparams hp = tiny(LOCI_DSV4_EXPERT_PLAIN, 0);
    checkpoint *c = make_checkpoint(&hp, true, 9);
    loci_dsv4_hparams found;
    loci_dsv4_files *files;
    loci_error err = { 0 };
    int64_t bytes;
    size_t size, len;
    (void)state;
    unsigned char *file = make_gguf(c, &hp, N_HASH, GGUF_MTP, &size);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    write_bytes(path, file, size);
    assert_true(loci_dsv4_is(path));
    assert_int_equal(loci_dsv4_shape_load(&found, path, &bytes, NULL), LOCI_OK);
    assert_int_equal(bytes, size);
    assert_memory_equal(&found, &hp, sizeof hp);
    if (loci_dsv4_files_open(&files, path, &err) != LOCI_OK) fail_msg("%s", err.text);
    check_source(loci_dsv4_files_source(files), c, &hp);
    assert_non_null(loci_dsv4_files_gguf(files));
    assert_null(loci_dsv4_files_dir(files));
    assert_memory_equal(loci_dsv4_files_shape(files), &hp, sizeof hp);
    loci_dsv4_files_close(files);
    loci_dsv4_files_close(NULL);

    /* A folder: config.json alone gives the shape; with weights it opens. */
    snprintf(path, sizeof path, "%s/sub", dir);
    assert_int_equal(loci_mkdirs(NULL, path, NULL), LOCI_OK);
    assert_false(loci_dsv4_is(path));
    assert_int_equal(loci_file_load(NULL, "tests/fuzz/corpus/dsv4_config/pro.json", 1 << 20, &text,
                                    &len, NULL),
                     LOCI_OK);
    snprintf(path, sizeof path, "%s/sub/config.json", dir);
    write_bytes(path, text, len);
    assert_true(loci_dsv4_is(path));
    snprintf(path, sizeof path, "%s/sub", dir);
    assert_true(loci_dsv4_is(path));
    assert_int_equal(loci_dsv4_shape_load(&found, path, &bytes, NULL), LOCI_OK);
    assert_true(bytes == 0 && found.n_layers == 61);
    assert_int_equal(loci_dsv4_files_open(&files, path, NULL), LOCI_ENOTFOUND);
    assert_null(files);
    write_part(c, path, "model.safetensors", false, 0, 1);
    assert_int_equal(loci_dsv4_shape_load(&found, path, &bytes, NULL), LOCI_OK);
    assert_true(bytes > 0);
    assert_int_equal(loci_dsv4_files_open(&files, path, NULL), LOCI_OK);
    assert_string_equal(loci_dsv4_files_dir(files), path);
    assert_null(loci_dsv4_files_gguf(files));
    loci_dsv4_files_close(files);
    free(text);
    free(file);
    free_checkpoint(c);
}

static void test_costs(void **state)
{
    loci_dsv4_hparams hp;
    loci_dsv4_cost cost;
    (void)state;
    /* Published: 284 B with 13 B active, 1.6 T with 49 B; the sums over all shapes are exact. */
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_cost_of(&cost, &hp, NULL), LOCI_OK);
    assert_int_equal(cost.parameters, 284332240471);
    assert_int_equal(cost.active, 13270101591);
    assert_int_equal(cost.expert_bytes, 3 * (2048 * 4096 / 2 + 2048 * 4096 / 32)); /* 13.37 MB */
    assert_true(fabs(cost.bytes_per_token - (21.0 / 4 * (584 + 68) + 20.0 / 128 * 584)) < 1e-9);
    /* Section by section: rings, 21 layers of two overlapping compressors, 20 of one. */
    assert_int_equal(cost.state_bytes,
                     44 * 128 * 584 + 21 * (65536 + 16384) + 20 * (int64_t)(512 << 10));
    assert_int_equal(loci_dsv4_known_shape(&hp, "pro", NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_cost_of(&cost, &hp, NULL), LOCI_OK);
    assert_int_equal(cost.parameters, 1572997201763);
    assert_int_equal(cost.active, 48852402019);
    assert_true(fabs(cost.bytes_per_token - (30.0 / 4 * 652 + 31.0 / 128 * 584)) < 1e-9);
    /* What a checkpoint written in released types holds, to the byte. */
    const loci_dsv4_hparams small = tiny(LOCI_DSV4_EXPERT_FP4, 1);
    checkpoint *c = make_checkpoint(&small, false, 10);
    int64_t bytes = 0;
    for (int i = 0; i < c->n; i++) bytes += (int64_t)c->t[i].bytes;
    assert_int_equal(loci_dsv4_cost_of(&cost, &small, NULL), LOCI_OK);
    assert_int_equal(cost.weight_bytes, bytes);
    assert_int_equal(cost.weight_bytes - cost.dense_bytes, 5 * 8 * cost.expert_bytes);
    /* And so it is weighed; without a drafting block, by that much less. */
    loci_st_set *set;
    loci_dsv4_source s;
    loci_dsv4_cost stored = cost;
    write_shards(c, dir, false, 1);
    open_set(&set, &s);
    loci_dsv4_cost_stored(&stored, &small, &s);
    assert_memory_equal(&stored, &cost, sizeof cost);
    loci_dsv4_source_free(&s);
    loci_st_set_close(set);
    while (strncmp(c->t[c->n - 1].name, "mtp.", 4) == 0) { /* they are the last ones */
        bytes -= (int64_t)c->t[--c->n].bytes;
        free(c->t[c->n].data);
    }
    write_shards(c, dir, false, 1);
    open_set(&set, &s);
    loci_dsv4_cost_stored(&stored, &small, &s);
    assert_int_equal(stored.weight_bytes, bytes);
    assert_int_equal(stored.expert_bytes, cost.expert_bytes);
    loci_dsv4_source_free(&s);
    loci_st_set_close(set);
    free_checkpoint(c);
    hp.family = LOCI_DSV4_V41;
    assert_int_equal(loci_dsv4_cost_of(&cost, &hp, NULL), LOCI_EVERSION);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors),    cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_wrong_tensors),  cmocka_unit_test(test_missing),
        cmocka_unit_test(test_wrong_metadata), cmocka_unit_test(test_wrong_gguf_tensors),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_costs),
        cmocka_unit_test(test_gguf_nextn),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
