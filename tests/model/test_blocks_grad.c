/* Goal: every block's backward pass is the derivative of its forward pass.
 *
 * Method: a block runs on small random inputs; the loss is a fixed random linear functional of its
 * outputs (or the block's own losses), so every output matters; gradients of inputs and of every
 * parameter are compared with extrapolated central differences (grad_check.h).  The awkward shapes
 * are here: documents of one token, windows longer than the text, short last chunks, rows that
 * have nothing to read, negatives in pieces, empty pieces, ties with the model's own choices. */
#include "grad_check.h"

enum { SEED = 20261 };
static const double STEP = 4e-3;

/* ---- window ------------------------------------------------------------------------------ */

typedef struct {
    small_model s;
    loci_window_tape tape;
    loci_rope_table rope;
    int32_t pos[64], doc[4];
    int T;
    float *x, *y, *k, *v, *r, *dx;
    void *memory;
} window_case;

static void window_run(window_case *c)
{
    memcpy(c->y, c->x, (size_t)c->T * 64 * sizeof(float));
    loci_window_forward_docs(&c->s.m, &c->s.m.p.lower[0], &c->tape, c->y, c->pos, &c->rope, c->k,
                             c->v, c->doc, 3);
}

static loss_value window_loss(void *ctx)
{
    window_case *c = ctx;
    loss_value v = { 0 };
    window_run(c);
    add_dot(&v, c->r, c->y, (size_t)c->T * 64);
    return v;
}

static void *window_memory(window_case *c, loci_arena *a)
{
    loci_window_plan(&c->tape, a, &c->s.m.hp, c->T);
    loci_rope_plan(&c->rope, a, c->T);
    return NULL;
}

static void window_open(window_case *c, int window)
{
    static const int32_t doc[4] = { 0, 1, 4, 27 };
    loci_hparams hp = small_hparams();
    loci_arena a = { 0 };
    loci_rng rng;
    memset(c, 0, sizeof *c);
    loci_rng_seed(&rng, SEED);
    hp.window = window;
    small_model_open(&c->s, &hp, SEED);
    memcpy(c->doc, doc, sizeof doc);
    c->T = doc[3];
    for (int d = 0; d < 3; d++)
        for (int t = doc[d]; t < doc[d + 1]; t++) c->pos[t] = t - doc[d];
    window_memory(c, &a);
    c->memory = loci_alloc_aligned(a.used);
    a = (loci_arena){ c->memory, a.used, 0 };
    window_memory(c, &a);
    loci_rope_fill(&c->rope, hp.rope_base, hp.d_head);
    c->x = normal_array((size_t)c->T * 64, 1.0, &rng);
    c->r = normal_array((size_t)c->T * 64, 1.0, &rng);
    c->y = normal_array((size_t)c->T * 64, 0.0, &rng);
    c->dx = normal_array((size_t)c->T * 64, 0.0, &rng);
    c->k = normal_array((size_t)c->T * 64, 0.0, &rng);
    c->v = normal_array((size_t)c->T * 64, 0.0, &rng);
}

static void window_close(window_case *c)
{
    float *all[] = { c->x, c->r, c->y, c->dx, c->k, c->v, c->memory };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
    small_model_close(&c->s);
}

static void window_gradients(int window)
{
    window_case c;
    loci_rng rng;
    window_open(&c, window);
    loci_rng_seed(&rng, SEED + 1);
    grad_check check = grad_check_begin(window_loss, &c, 16);
    float *dkv = normal_array((size_t)c.T * 128, 0.0, &rng);
    float *scratch = normal_array(loci_window_backward_scratch(&c.s.m.hp, c.T), 0.0, &rng);
    memcpy(c.dx, c.r, (size_t)c.T * 64 * sizeof(float));
    loci_window_backward_docs(&c.s.m, &c.s.m.p.lower[0], &c.s.g.lower[0], &c.tape, c.dx, c.pos,
                              &c.rope, c.k, c.v, dkv, dkv + c.T * 64, scratch, c.doc, 3);
    const loci_layer_params *p = &c.s.m.p.lower[0], *g = &c.s.g.lower[0];
    const grad_array arrays[] = { { "x", c.x, c.dx, (size_t)c.T * 64 },
                                  mat_array("q", &p->q, &g->q),
                                  mat_array("kv", &p->kv, &g->kv),
                                  mat_array("o", &p->o, &g->o),
                                  mat_array("gate_up", &p->gate_up, &g->gate_up),
                                  mat_array("down", &p->down, &g->down) };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        grad_check_samples(&check, &arrays[i], 25, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);
    loci_free_aligned(dkv);
    loci_free_aligned(scratch);
    window_close(&c);
}

static void test_window_short(void **state)
{
    (void)state;
    window_gradients(5);
}

static void test_window_longer_than_text(void **state)
{
    (void)state;
    window_gradients(70);
}

/* The same rows whether a document comes at once, by the contract's own call, or in pieces over
 * the keys of earlier pieces. */
static void test_window_pieces(void **state)
{
    (void)state;
    window_case c;
    window_open(&c, 5);
    window_run(&c);
    const int first = c.doc[2], n = c.T - first;
    float *y = malloc((size_t)n * 64 * sizeof *y);
    for (int cut = 0; cut <= n; cut += 4) {
        memcpy(y, c.x + first * 64, (size_t)n * 64 * sizeof *y);
        loci_window_forward(&c.s.m, &c.s.m.p.lower[0], &c.tape, first, y, c.pos + first, &c.rope,
                            c.k, c.v, 0, cut);
        loci_window_forward(&c.s.m, &c.s.m.p.lower[0], &c.tape, first, y + cut * 64,
                            c.pos + first + cut, &c.rope, c.k, c.v, cut, n - cut);
        for (int i = 0; i < n * 64; i++)
            assert_true(fabsf(y[i] - c.y[first * 64 + i]) <= 1e-5f * (1 + fabsf(y[i])));
    }
    free(y);
    window_close(&c);
}

/* ---- encoder ------------------------------------------------------------------------------ */

enum { ENC_TOKENS = 16 * 2 + 5 + 3, ENC_CHUNKS = 4 };
typedef struct {
    small_model s;
    loci_encoder_tape *tape;
    float *h, *dh, *content, *landmark, *bias, *r_content, *r_landmark, *r_bias;
    float *summary, *r_summary;
} encoder_case;

/* Two documents: two chunks and a short one, then a single short one. */
static const int enc_first[3] = { 0, 37, ENC_TOKENS }, enc_chunk[3] = { 0, 3, ENC_CHUNKS };

static loss_value encoder_loss(void *ctx)
{
    encoder_case *c = ctx;
    const loci_hparams *hp = &c->s.m.hp;
    loss_value v = { 0 };
    const size_t w = 16 * 32, l = (size_t)(hp->n_landmarks * hp->d_landmark);
    for (int d = 0; d < 2; d++) {
        const size_t at = (size_t)enc_chunk[d];
        loci_encoder_forward_at(&c->s.m, c->tape, enc_first[d], enc_chunk[d],
                                c->h + enc_first[d] * 64, enc_first[d + 1] - enc_first[d],
                                c->content + at * w, c->landmark + at * l, c->bias + at,
                                c->summary + at * (size_t)hp->d_summary);
    }
    add_dot(&v, c->r_summary, c->summary, ENC_CHUNKS * (size_t)hp->d_summary);
    add_dot(&v, c->r_content, c->content, ENC_CHUNKS * w);
    add_dot(&v, c->r_landmark, c->landmark, ENC_CHUNKS * l);
    add_dot(&v, c->r_bias, c->bias, ENC_CHUNKS);
    return v;
}

static void test_encoder(void **state)
{
    (void)state;
    encoder_case c = { 0 };
    loci_hparams hp = small_hparams();
    hp.d_summary = 32;
    const size_t w = 16 * 32, l = (size_t)(hp.n_landmarks * hp.d_landmark);
    loci_arena a = { 0 };
    loci_rng rng;
    loci_rng_seed(&rng, SEED + 2);
    small_model_open(&c.s, &hp, SEED);
    float *scratch = normal_array(loci_encoder_scratch(&hp, 3, true), 0.0, &rng);
    loci_encoder_plan_with(&a, &hp, ENC_TOKENS, ENC_CHUNKS, scratch);
    void *memory = loci_alloc_aligned(a.used);
    a = (loci_arena){ memory, a.used, 0 };
    c.tape = loci_encoder_plan_with(&a, &hp, ENC_TOKENS, ENC_CHUNKS, scratch);
    c.h = normal_array(ENC_TOKENS * 64, 1.0, &rng);
    c.dh = normal_array(ENC_TOKENS * 64, 0.0, &rng);
    c.content = normal_array(ENC_CHUNKS * w, 9.0, &rng);
    c.landmark = normal_array(ENC_CHUNKS * l, 0.0, &rng);
    c.bias = normal_array(ENC_CHUNKS, 0.0, &rng);
    c.r_content = normal_array(ENC_CHUNKS * w, 1.0, &rng);
    c.r_landmark = normal_array(ENC_CHUNKS * l, 3.0, &rng);
    c.r_bias = normal_array(ENC_CHUNKS, 3.0, &rng);
    c.summary = normal_array(ENC_CHUNKS * 32, 0.0, &rng);
    c.r_summary = normal_array(ENC_CHUNKS * 32, 1.0, &rng);

    grad_check check = grad_check_begin(encoder_loss, &c, 16);
    for (size_t i = 0; i < 11 * 32; i++) /* pads of chunk 2 */
        assert_true(c.content[2 * w + 5 * 32 + i] == 0.0f);
    for (int i = 0; i < ENC_CHUNKS * hp.n_landmarks; i++) {
        const float *u = c.landmark + i * hp.d_landmark;
        assert_true(fabs(c.s.m.k.dot(u, u, (size_t)hp.d_landmark) - 1.0) < 1e-6);
    }
    for (int d = 0; d < 2; d++) {
        const size_t at = (size_t)enc_chunk[d];
        loci_encoder_backward_at(&c.s.m, &c.s.g.enc, c.tape, enc_first[d], enc_chunk[d],
                                 c.dh + enc_first[d] * 64, enc_first[d + 1] - enc_first[d],
                                 c.content + at * w, c.r_content + at * w, c.landmark + at * l,
                                 c.r_landmark + at * l, c.r_bias + at, c.r_summary + at * 32);
    }
    const loci_encoder_params *p = &c.s.m.p.enc, *g = &c.s.g.enc;
    const grad_array arrays[] = { { "h", c.h, c.dh, ENC_TOKENS * 64 },
                                  mat_array("in", &p->in, &g->in),
                                  mat_array("qkv", &p->qkv, &g->qkv),
                                  mat_array("o", &p->o, &g->o),
                                  mat_array("up", &p->up, &g->up),
                                  mat_array("down", &p->down, &g->down),
                                  mat_array("pos", &p->pos, &g->pos),
                                  mat_array("cls", &p->cls, &g->cls),
                                  mat_array("landmark", &p->landmark, &g->landmark),
                                  mat_array("bias_w", &p->bias_w, &g->bias_w),
                                  mat_array("bias_b", &p->bias_b, &g->bias_b),
                                  mat_array("content", &p->content, &g->content),
                                  mat_array("summary", &p->summary, &g->summary) };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        grad_check_samples(&check, &arrays[i], 16, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);
    float *all[] = { scratch, memory,      c.h,          c.dh,     c.content, c.landmark,
                     c.bias,  c.r_content, c.r_landmark, c.r_bias, c.summary, c.r_summary };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
    small_model_close(&c.s);
}

/* ---- embedding and head --------------------------------------------------------------------- */

enum { HEAD_T = 70 }; /* more than one block of rows */
typedef struct {
    small_model s;
    int32_t ids[HEAD_T], target[HEAD_T], best[HEAD_T];
    uint8_t answer[HEAD_T];
    float weight[HEAD_T], inv[HEAD_T];
    float *h, *r, *x, *logits, *dh, *scratch;
    loci_sequence seq;
    loci_loss_options opt;
} head_case;

static loss_value head_loss(void *ctx)
{
    head_case *c = ctx;
    loss_value v = { 0 };
    const int V = c->s.m.hp.vocab;
    loci_head_logits(&c->s.m, c->h, c->x, c->logits, HEAD_T);
    for (int t = 0; t < HEAD_T; t++) {
        double sum = 0.0;
        if (c->target[t] < 0) continue;
        for (int i = 0; i < V; i++) sum += exp(c->logits[t * V + i]);
        const double lse = log(sum), ce = lse - c->logits[t * V + c->target[t]];
        add_term(&v, c->opt.ce_scale * c->weight[t] * (ce + c->opt.z * lse * lse));
    }
    return v;
}

static loss_value embed_loss(void *ctx)
{
    head_case *c = ctx;
    loss_value v = { 0 };
    loci_embed(&c->s.m, c->x, c->inv, c->ids, HEAD_T);
    add_dot(&v, c->r, c->x, HEAD_T * 64);
    return v;
}

static void head_open(head_case *c, loci_rng *rng)
{
    const loci_hparams hp = small_hparams();
    memset(c, 0, sizeof *c);
    loci_rng_seed(rng, SEED + 3);
    small_model_open(&c->s, &hp, SEED);
    c->h = normal_array(HEAD_T * 64, 1.0, rng);
    c->r = normal_array(HEAD_T * 64, 1.0, rng);
    c->x = normal_array(HEAD_T * 64, 0.0, rng);
    c->dh = normal_array(HEAD_T * 64, 0.0, rng);
    c->logits = normal_array(HEAD_T * 40, 0.0, rng);
    c->scratch = normal_array(loci_head_scratch(&hp), 0.0, rng);
    for (int t = 0; t < HEAD_T; t++) {
        c->ids[t] = (int32_t)loci_rng_below(rng, 20);
        c->target[t] = t % 7 == 3 ? -1 : (int32_t)loci_rng_below(rng, 40);
        c->weight[t] = c->target[t] < 0 ? 0.0f : 0.5f + (float)loci_rng_unit(rng);
        c->answer[t] = t % 10 >= 6;
    }
    c->seq = (loci_sequence){
        .T = HEAD_T, .ids = c->ids, .target = c->target, .weight = c->weight, .answer = c->answer
    };
    c->opt = (loci_loss_options){ .ce_scale = 0.7f, .z = 0.05f, .grad_scale = 1.0f };
}

static void head_close(head_case *c)
{
    float *all[] = { c->h, c->r, c->x, c->dh, c->logits, c->scratch };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
    small_model_close(&c->s);
}

static void test_head(void **state)
{
    (void)state;
    head_case c;
    loci_rng rng;
    loci_loss_sums sums = { 0 }, again = { 0 };
    head_open(&c, &rng);
    grad_check check = grad_check_begin(head_loss, &c, 16);
    loci_head_loss(&c.s.m, c.h, &c.seq, &c.opt, c.dh, &c.s.g.embed, c.best, NULL, &sums, c.scratch);
    const grad_array arrays[] = { { "h", c.h, c.dh, HEAD_T * 64 },
                                  mat_array("embed", &c.s.m.p.embed, &c.s.g.embed) };
    for (int i = 0; i < 2; i++) {
        grad_check_samples(&check, &arrays[i], 40, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);

    int answers = 0;
    for (int t = 0; t < HEAD_T; t++) answers += c.answer[t] && c.target[t] >= 0;
    assert_int_equal(sums.n_answer, answers);
    assert_int_equal(sums.n_text + sums.n_answer, HEAD_T - 10);
    assert_true(sums.n_exact >= 7);
    loci_head_loss(&c.s.m, c.h, &c.seq, &c.opt, NULL, NULL, c.best, NULL, &again, c.scratch);
    assert_memory_equal(&sums, &again, sizeof sums);
    /* Ask for what the model says: every answer is then right and exact. */
    for (int t = 0; t < HEAD_T; t++)
        if (c.target[t] >= 0) c.target[t] = c.best[t];
    memset(&again, 0, sizeof again);
    loci_head_loss(&c.s.m, c.h, &c.seq, &c.opt, NULL, NULL, c.best, NULL, &again, c.scratch);
    assert_int_equal(again.n_answer_right, again.n_answer);
    assert_int_equal((int64_t)again.exact, again.n_exact);
    head_close(&c);
}

static void test_embed(void **state)
{
    (void)state;
    head_case c;
    loci_rng rng;
    head_open(&c, &rng);
    grad_check check = grad_check_begin(embed_loss, &c, 16);
    loci_embed_bwd(&c.s.m.k, &c.s.g.embed, c.r, c.x, c.inv, c.ids, HEAD_T);
    const grad_array embed = mat_array("embed", &c.s.m.p.embed, &c.s.g.embed);
    grad_check_samples(&check, &embed, 60, STEP / 4, &rng);
    grad_check_direction(&check, &embed, STEP / 8, &rng);
    grad_check_end(&check);
    head_close(&c);
}

/* ---- products with stored types ---------------------------------------------------------------- */

/* f32, bf16 and int8 of the same numbers: many rows, one row, a part of the rows, and adding. */
static void test_linear_types(void **state)
{
    (void)state;
    enum { ROWS = 6, COLS = 10, N = 5 };
    loci_model m = { 0 };
    loci_rng rng;
    float w[ROWS * COLS], scale[ROWS], x[N * COLS], want[N * ROWS], y[N * ROWS], tmp[N * ROWS];
    uint16_t half[ROWS * COLS];
    int8_t byte[ROWS * COLS];
    loci_kernels_init(&m.k, 0);
    loci_rng_seed(&rng, SEED + 4);
    for (int i = 0; i < ROWS * COLS; i++) { /* numbers that all three types hold exactly */
        byte[i] = (int8_t)((int)loci_rng_below(&rng, 255) - 127);
        w[i] = 0.25f * byte[i];
        half[i] = loci_f32_to_bf16(w[i]);
    }
    for (int i = 0; i < ROWS; i++) scale[i] = 0.25f;
    fill_normal(x, N * COLS, 1.0, &rng);
    const loci_mat mats[3] = {
        { .data = w, .rows = ROWS, .cols = COLS, .type = LOCI_F32 },
        { .data = half, .rows = ROWS, .cols = COLS, .type = LOCI_BF16 },
        { .data = byte, .scale = scale, .rows = ROWS, .cols = COLS, .type = LOCI_I8 },
    };
    for (int t = 0; t < N; t++)
        for (int r = 0; r < ROWS; r++)
            want[t * ROWS + r] = (float)m.k.dot(x + t * COLS, w + r * COLS, COLS);
    for (int type = 0; type < 3; type++) {
        const loci_mat part = loci_mat_rows(&mats[type], 2, 3);
        loci_linear(&m, y, ROWS, x, COLS, &mats[type], N);
        for (int i = 0; i < N * ROWS; i++) assert_true(fabsf(y[i] - want[i]) < 1e-3f);
        loci_linear(&m, y, ROWS, x + COLS, COLS, &part, 1);
        for (int r = 0; r < 3; r++) assert_true(fabsf(y[r] - want[ROWS + 2 + r]) < 1e-3f);
        for (int i = 0; i < N * ROWS; i++) y[i] = 1.0f;
        loci_linear_add(&m, y, tmp, x, &mats[type], N);
        for (int i = 0; i < N * ROWS; i++) assert_true(fabsf(y[i] - want[i] - 1.0f) < 1e-3f);
    }
}

static void test_unit_of_zero(void **state)
{
    (void)state;
    loci_kernels k;
    float x[8] = { 0, 0, 0, 0, 3, 0, 4, 0 }, inv[2];
    loci_kernels_init(&k, 0);
    loci_unit(&k, x, inv, 2, 4);
    for (int i = 0; i < 4; i++) assert_true(x[i] == 0.0f);
    assert_true(fabsf(x[4] - 0.6f) < 1e-6f && fabsf(x[6] - 0.8f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_short),  cmocka_unit_test(test_window_longer_than_text),
        cmocka_unit_test(test_window_pieces), cmocka_unit_test(test_encoder),
        cmocka_unit_test(test_head),          cmocka_unit_test(test_embed),
        cmocka_unit_test(test_linear_types),  cmocka_unit_test(test_unit_of_zero),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
