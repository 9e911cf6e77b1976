/* Goal: under any budget the pager gives the bytes that the files hold, reads what is missing and no
 * more, never takes more memory than it was given, and survives a disk that fails; a model that
 * reads its experts through it gives the same logits, bit for bit.
 * Method: tiny checkpoints as safetensors (FP4 with scales) and GGUF; long random runs of choices,
 * each answer compared with the mapped file, and hits and bytes with a plain model of the least
 * recently used; a vfs that fails at every read. */
#include <stddef.h>
#include <stdint.h>
#include "dsv4_gguf.h"
#include "fault_vfs.h"
#include "temp_dir.h"

enum { LAYERS = 3, EXPERTS = 8, ACTIVE = 2 };
static char dir[TEMP_PATH];
static char gguf_path[TEMP_PATH + 32];
static loci_dsv4_hparams shape[2]; /* of the folder, of the GGUF file */

static loci_dsv4_hparams tiny(loci_dsv4_expert_type experts)
{
    loci_dsv4_hparams hp;
    const int ratios[LAYERS] = { 0, 4, 8 };
    assert_int_equal(loci_dsv4_known_shape(&hp, "flash", NULL), LOCI_OK);
    memset(hp.layer, 0, sizeof hp.layer);
    hp.vocab = 40;
    hp.hidden = 64;
    hp.n_layers = LAYERS;
    hp.n_mtp = 0;
    hp.n_heads = 4;
    hp.head_dim = 32;
    hp.rope_dim = 8;
    hp.q_rank = 40;
    hp.o_groups = 2;
    hp.o_rank = 24;
    hp.window = 8;
    hp.index_heads = 4;
    hp.index_dim = 16;
    hp.index_topk = 2;
    hp.n_experts = EXPERTS;
    hp.n_active = ACTIVE;
    hp.expert_width = 96;
    hp.expert_type = experts;
    assert_int_equal(loci_dsv4_layers_from_ratios(&hp, ratios, 0, "tiny", NULL), LOCI_OK);
    return hp;
}

/* config.json of a shape: the fields that the pager's tests need to be right. */
static void write_config(const loci_dsv4_hparams *h)
{
    char path[TEMP_PATH + 32];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "{\"model_type\":\"deepseek_v4\",\"vocab_size\":%d,\"hidden_size\":%d,"
            "\"num_hidden_layers\":%d,\"num_nextn_predict_layers\":0,\"num_hash_layers\":0,"
            "\"num_attention_heads\":%d,\"num_key_value_heads\":1,\"head_dim\":%d,"
            "\"qk_rope_head_dim\":%d,\"q_lora_rank\":%d,\"o_groups\":%d,\"o_lora_rank\":%d,"
            "\"sliding_window\":%d,\"compress_ratios\":[0,4,8,0],\"rope_theta\":10000,"
            "\"compress_rope_theta\":160000,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16,"
            "\"beta_fast\":32,\"beta_slow\":1,\"original_max_position_embeddings\":65536},"
            "\"max_position_embeddings\":1048576,\"index_n_heads\":%d,\"index_head_dim\":%d,"
            "\"index_topk\":%d,\"n_routed_experts\":%d,\"n_shared_experts\":1,"
            "\"num_experts_per_tok\":%d,\"moe_intermediate_size\":%d,"
            "\"scoring_func\":\"sqrtsoftplus\",\"topk_method\":\"noaux_tc\","
            "\"norm_topk_prob\":true,\"routed_scaling_factor\":1.5,\"swiglu_limit\":10.0,"
            "\"hc_mult\":4,\"hc_sinkhorn_iters\":20,\"hc_eps\":1e-6,\"rms_norm_eps\":1e-6,"
            "\"hidden_act\":\"silu\",\"bos_token_id\":0,\"eos_token_id\":1,"
            "\"expert_dtype\":\"fp4\",\"quantization_config\":{\"quant_method\":\"fp8\"}}",
            h->vocab, h->hidden, h->n_layers, h->n_heads, h->head_dim, h->rope_dim, h->q_rank,
            h->o_groups, h->o_rank, h->window, h->index_heads, h->index_dim, h->index_topk,
            h->n_experts, h->n_active, h->expert_width);
    fclose(f);
}

static int set_up(void **state)
{
    size_t size;
    (void)state;
    if (!temp_dir_make(dir)) return -1;
    shape[0] = tiny(LOCI_DSV4_EXPERT_FP4);
    shape[1] = tiny(LOCI_DSV4_EXPERT_PLAIN);
    checkpoint *c = make_checkpoint(&shape[0], false, 1);
    write_config(&shape[0]);
    write_shards(c, dir, false, 3);
    free_checkpoint(c);
    c = make_checkpoint(&shape[1], true, 2);
    unsigned char *file = make_gguf(c, &shape[1], 0, GGUF_MTP, &size);
    snprintf(gguf_path, sizeof gguf_path, "%s/m.gguf", dir);
    assert_int_equal(loci_file_replace(NULL, gguf_path, file, size, NULL), LOCI_OK);
    free(file);
    free_checkpoint(c);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static loci_dsv4_files *open_form(int form)
{
    loci_dsv4_files *f;
    loci_error err = { 0 };
    if (loci_dsv4_files_open(&f, form ? gguf_path : dir, &err) != LOCI_OK) fail_msg("%s", err.text);
    assert_int_equal(loci_dsv4_files_shape(f)->n_experts, EXPERTS);
    return f;
}

/* The views of an expert are those of the mapped file, byte for byte. */
static void same_expert(const loci_dsv4_files *f, const loci_dsv4_pager *p, int layer, int id)
{
    static const char *const name_of[] = { "w1", "w3", "w2" };
    const loci_dsv4_source *s = loci_dsv4_files_source(f);
    loci_dsv4_expert e;
    loci_error err = { 0 };
    if (p->get(p->ctx, layer, id, &e, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_dsv4_mat *got[3] = { &e.gate, &e.up, &e.down };
    for (int k = 0; k < 3; k++) {
        char name[96];
        loci_dsv4_mat want;
        snprintf(name, sizeof name, "layers.%d.ffn.experts.%d.%s.weight", layer, id, name_of[k]);
        assert_int_equal(s->find(s->ctx, name, &want, NULL), LOCI_OK);
        assert_true(got[k]->rows == want.rows && got[k]->cols == want.cols &&
                    got[k]->type == want.type && got[k]->row_bytes == want.row_bytes);
        assert_ptr_not_equal(got[k]->data, want.data); /* a copy of its own */
        assert_memory_equal(got[k]->data, want.data, (size_t)want.rows * want.row_bytes);
        assert_int_equal(got[k]->scale != NULL, want.scale != NULL);
        if (want.scale)
            assert_memory_equal(got[k]->scale, want.scale,
                                (size_t)want.rows * (size_t)want.cols / 32);
    }
}

/* ---- a plain model of the least recently used ------------------------------------------------------ */

typedef struct {
    int64_t last[LAYERS * EXPERTS]; /* when it was chosen last; 0: not in memory */
    int64_t now, misses, hits;
    int n_slots;
} plain_lru;

static void plain_fetch(plain_lru *m, int layer, const int32_t *ids, int n)
{
    const int first = layer * EXPERTS;
    bool missing[EXPERTS];
    for (int i = 0; i < n; i++) missing[i] = m->last[first + ids[i]] == 0;
    for (int i = 0; i < n; i++)
        if (!missing[i]) {
            m->last[first + ids[i]] = ++m->now;
            m->hits++;
        }
    for (int i = 0; i < n; i++) {
        int held = 0, oldest = -1;
        if (!missing[i]) continue;
        for (int e = 0; e < LAYERS * EXPERTS; e++) {
            if (m->last[e] == 0) continue;
            held++;
            if (oldest < 0 || m->last[e] < m->last[oldest]) oldest = e;
        }
        if (held == m->n_slots) m->last[oldest] = 0;
        m->last[first + ids[i]] = ++m->now;
        m->misses++;
    }
}

/* Distinct ids in ascending order, as a router gives them; how many. */
static int choose(loci_rng *rng, int most, int32_t *ids)
{
    int n = 0;
    const int want = 1 + (int)loci_rng_below(rng, (uint32_t)most);
    for (int e = 0; e < EXPERTS && n < want; e++)
        if (loci_rng_below(rng, 3) == 0) ids[n++] = e;
    return n;
}

static void run_budget(int form, int n_slots)
{
    loci_dsv4_files *f = open_form(form);
    loci_dsv4_paging *p;
    loci_error err = { 0 };
    loci_rng rng;
    plain_lru model = { .n_slots = n_slots };
    loci_rng_seed(&rng, 100 + (uint64_t)n_slots);
    /* What one expert takes: 3 parts of FP4 codes and of scales, or of F32. */
    const size_t expert = form ? 3 * 96 * 64 * 4 : 3 * (96 * 64 / 2 + 96 * 64 / 32);
    const uint64_t budget = expert * (size_t)n_slots + expert - 1; /* not enough for one more */
    if (loci_dsv4_paging_open(&p, f, budget, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
    const loci_dsv4_pager pager = loci_dsv4_paging_pager(p);
    loci_dsv4_paging_stats s = loci_dsv4_paging_read(p);
    assert_int_equal(s.slots, n_slots);
    assert_int_equal(s.slot_bytes, expert);
    assert_int_equal(s.experts, LAYERS * EXPERTS);
    assert_true((uint64_t)(s.slots * s.slot_bytes) <= budget);
    for (int step = 0; step < 400; step++) {
        int32_t ids[EXPERTS];
        const int layer = step % LAYERS, n = choose(&rng, n_slots < 5 ? n_slots : 5, ids);
        if (pager.fetch(pager.ctx, layer, ids, n, &err) != LOCI_OK) fail_msg("%s", err.text);
        plain_fetch(&model, layer, ids, n);
        for (int i = 0; i < n; i++) same_expert(f, &pager, layer, ids[i]);
    }
    s = loci_dsv4_paging_read(p);
    if (s.hits != model.hits || s.misses != model.misses)
        fail_msg("%d slots: %lld hits, %lld misses, should be %lld and %lld", n_slots,
                 (long long)s.hits, (long long)s.misses, (long long)model.hits,
                 (long long)model.misses);
    assert_int_equal(s.bytes_read, s.misses * (int64_t)expert);
    loci_dsv4_paging_close(p);
    loci_dsv4_files_close(f);
}

static void test_any_budget(void **state)
{
    static const int slots[] = { ACTIVE, 3, 7, 16, LAYERS * EXPERTS };
    (void)state;
    for (int form = 0; form < 2; form++)
        for (int i = 0; i < 5; i++) run_budget(form, slots[i]);
}

static void test_refuses(void **state)
{
    loci_dsv4_files *f = open_form(0);
    loci_dsv4_paging *p;
    loci_dsv4_expert e;
    loci_error err = { 0 };
    const int64_t expert = 3 * (96 * 64 / 2 + 96 * 64 / 32);
    char says[64];
    (void)state;
    assert_int_equal(loci_dsv4_paging_open(&p, f, (uint64_t)(ACTIVE * expert - 1), NULL, &err),
                     LOCI_EINVAL);
    snprintf(says, sizeof says, "expected at least %lld bytes for the 2", (long long)(2 * expert));
    if (p || !strstr(err.text, says)) fail_msg("\"%s\"", err.text);
    /* More than there is to hold takes no more memory than that. */
    assert_int_equal(loci_dsv4_paging_open(&p, f, UINT64_MAX, NULL, NULL), LOCI_OK);
    assert_int_equal(loci_dsv4_paging_read(p).slots, LAYERS * EXPERTS);
    loci_dsv4_paging_close(p);

    assert_int_equal(loci_dsv4_paging_open(&p, f, (uint64_t)(3 * expert), NULL, NULL), LOCI_OK);
    const loci_dsv4_pager g = loci_dsv4_paging_pager(p);
    const int32_t four[4] = { 0, 1, 2, 3 }, wrong[2] = { 1, EXPERTS }, below[1] = { -1 };
    memset(&err, 0, sizeof err);
    assert_int_equal(g.fetch(g.ctx, 0, four, 4, &err), LOCI_EINVAL);
    assert_string_equal(err.text, "layer 0: 4 experts at once, memory holds 3");
    assert_int_equal(g.fetch(g.ctx, 0, wrong, 2, NULL), LOCI_EINVAL);
    assert_int_equal(g.fetch(g.ctx, 0, below, 1, NULL), LOCI_EINVAL);
    assert_int_equal(g.fetch(g.ctx, LAYERS, four, 1, NULL), LOCI_EINVAL);
    assert_int_equal(g.fetch(g.ctx, -1, four, 1, NULL), LOCI_EINVAL);
    assert_int_equal(g.get(g.ctx, 0, 0, &e, NULL), LOCI_ESTATE);
    assert_int_equal(loci_dsv4_paging_read(p).bytes_read, 0);
    assert_int_equal(g.fetch(g.ctx, 2, four, 3, NULL), LOCI_OK);
    assert_int_equal(g.get(g.ctx, 0, 0, &e, NULL), LOCI_ESTATE); /* of another layer */
    same_expert(f, &g, 2, 1);
    loci_dsv4_paging_close(p);
    loci_dsv4_paging_close(NULL);
    loci_dsv4_files_close(f);
}

/* A disk that fails at call n, for every n: an error, then all is as it should be. */
static void test_failing_disk(void **state)
{
    loci_dsv4_files *f = open_form(0);
    const int32_t a[2] = { 1, 5 }, b[3] = { 0, 2, 5 };
    const uint64_t budget = 3 * 3 * (96 * 64 / 2 + 96 * 64 / 32);
    int failures = 0;
    (void)state;
    for (int at = 1; at < 60; at++) {
        fault_vfs fault;
        loci_dsv4_paging *p;
        loci_error err = { 0 };
        const loci_vfs *vfs = fault_vfs_init(&fault, FAULT_EIO, at);
        loci_status st = loci_dsv4_paging_open(&p, f, budget, vfs, &err);
        if (st != LOCI_OK) { /* a file did not open */
            assert_int_equal(st, LOCI_EIO);
            assert_null(p);
            failures++;
            continue;
        }
        const loci_dsv4_pager g = loci_dsv4_paging_pager(p);
        for (int round = 0; round < 3; round++) {
            const bool first = round != 1;
            st = g.fetch(g.ctx, 1, first ? a : b, first ? 2 : 3, &err);
            if (st != LOCI_OK) {
                assert_int_equal(st, LOCI_EIO);
                failures++;
                /* again: the fault has passed */
                assert_int_equal(g.fetch(g.ctx, 1, first ? a : b, first ? 2 : 3, NULL), LOCI_OK);
            }
            for (int i = 0; i < (first ? 2 : 3); i++) same_expert(f, &g, 1, first ? a[i] : b[i]);
        }
        loci_dsv4_paging_close(p);
    }
    assert_true(failures >= 3 + 6 * 5); /* opens of 3 shards, reads of at least five experts */
    /* Short reads are gone on with. */
    fault_vfs fault;
    loci_dsv4_paging *p;
    const loci_vfs *vfs = fault_vfs_init(&fault, FAULT_SHORT, 100);
    assert_int_equal(loci_dsv4_paging_open(&p, f, budget, vfs, NULL), LOCI_OK);
    const loci_dsv4_pager g = loci_dsv4_paging_pager(p);
    assert_int_equal(g.fetch(g.ctx, 0, b, 3, NULL), LOCI_OK);
    for (int i = 0; i < 3; i++) same_expert(f, &g, 0, b[i]);
    loci_dsv4_paging_close(p);
    loci_dsv4_files_close(f);
}

/* ---- a whole model ------------------------------------------------------------------------------- */

enum { IDS = 90 };

/* Logits of every one of IDS positions, read in pieces of 37, then one by one; paging NULL: experts
 * where they are mapped. */
static float *run_model(const loci_dsv4_files *f, loci_dsv4_paging *paging, loci_dsv4_mode mode)
{
    const loci_dsv4_hparams *hp = loci_dsv4_files_shape(f);
    loci_dsv4_weights *w = malloc(sizeof *w);
    loci_dsv4 *m = malloc(sizeof *m);
    loci_dsv4_seq *s;
    loci_error err = { 0 };
    int32_t ids[IDS];
    float *logits = calloc((size_t)IDS * (size_t)hp->vocab, sizeof *logits);
    loci_dsv4_pager pager = { 0 };
    if (paging) pager = loci_dsv4_paging_pager(paging);
    for (int i = 0; i < IDS; i++) ids[i] = i * i % hp->vocab;
    if (loci_dsv4_bind(w, hp, loci_dsv4_files_source(f), paging ? &pager : NULL, &err) != LOCI_OK ||
        loci_dsv4_init(m, hp, w, loci_cpu_detect(), mode, 0, &err) != LOCI_OK ||
        loci_dsv4_seq_open(&s, m, NULL, &err) != LOCI_OK)
        fail_msg("%s", err.text);
    for (int at = 0; at < IDS;) {
        const int n = at < 74 ? 37 : 1;
        if (loci_dsv4_extend(s, ids + at, n, logits + (size_t)at * (size_t)hp->vocab, n, &err) !=
            LOCI_OK)
            fail_msg("%s", err.text);
        at += n;
    }
    loci_dsv4_seq_close(s);
    loci_dsv4_free(m);
    free(m);
    free(w);
    return logits;
}

static void test_same_logits(void **state)
{
    static const loci_dsv4_mode modes[] = { LOCI_DSV4_MODE_F32, LOCI_DSV4_MODE_FAST,
                                            LOCI_DSV4_MODE_EXACT };
    (void)state;
    for (int form = 0; form < 2; form++) {
        loci_dsv4_files *f = open_form(form);
        const size_t expert = form ? 3 * 96 * 64 * 4 : 3 * (96 * 64 / 2 + 96 * 64 / 32);
        const size_t bytes = (size_t)IDS * (size_t)loci_dsv4_files_shape(f)->vocab * sizeof(float);
        for (int k = 0; k < 3; k++) {
            float *want = run_model(f, NULL, modes[k]);
            double size = 0;
            for (size_t i = 0; i < bytes / sizeof(float); i++) size += fabs((double)want[i]);
            assert_true(isfinite(size) && size > 0);
            for (size_t slots = ACTIVE; slots <= LAYERS * EXPERTS; slots = slots * 3 + 1) {
                loci_dsv4_paging *p; /* from a twelfth of the experts to nearly all */
                assert_int_equal(loci_dsv4_paging_open(&p, f, slots * expert, NULL, NULL), LOCI_OK);
                float *got = run_model(f, p, modes[k]);
                const loci_dsv4_paging_stats s = loci_dsv4_paging_read(p);
                if (memcmp(got, want, bytes) != 0)
                    fail_msg("form %d mode %d: %zu slots give other logits", form, k, slots);
                assert_true(s.misses > s.slots / 2 && s.bytes_read == s.misses * (int64_t)expert);
                print_message("form %d, mode %d, %2lld of %lld experts: %.0f bytes read a token\n",
                              form, k, (long long)s.slots, (long long)s.experts,
                              (double)s.bytes_read / IDS);
                free(got);
                loci_dsv4_paging_close(p);
            }
            free(want);
        }
        loci_dsv4_files_close(f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_budget),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_failing_disk),
        cmocka_unit_test(test_same_logits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
