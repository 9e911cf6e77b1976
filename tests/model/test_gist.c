/* test_gist.c - pyramids of summaries and the attention to their frontiers.
 *
 * Goal: frontiers cover what they should, nodes are the means that they should be, attention is what
 * gist.c says of it, and its backward pass the derivative of that.  Method: coverage for every prefix
 * of pyramids of many sizes; nodes, keys and softmax again in double, by the definition; extrapolated
 * differences (grad_check.h) over a bank whose largest document has nodes of two levels.  Streams
 * against training: test_stream.c. */
#include "grad_check.h"

enum { SEED = 20265, D = 64, DS = 16, Q = LOCI_GIST_HEADS * 64 };
static const double STEP = 1e-3;

/* ---- pyramids --------------------------------------------------------------------------------- */

/* First row of a level: the sizes of the levels below it. */
static int level_start(int n, int level)
{
    int row = 0, size = n;
    for (int l = 0; l < level; l++, size /= 16) row += size;
    return row;
}

static void check_frontier(int n, int part)
{
    loci_gist_run run[LOCI_GIST_LEVELS];
    const int runs = loci_gist_frontier(run, n, part);
    int at = 0, level = LOCI_GIST_LEVELS;
    for (int i = 0; i < runs; i++) {
        int size = 1;
        for (int l = 0; l < run[i].level; l++) size *= 16;
        assert_true(run[i].level < level);
        level = run[i].level;
        assert_in_range(run[i].n, 1, 15);
        assert_int_equal((run[i].row - level_start(n, level)) * size,
                         at); /* where the last ended */
        at += run[i].n * size;
        assert_true(run[i].row + run[i].n <= level_start(n, level) + n / size);
    }
    assert_int_equal(at, part);
}

static void test_frontier(void **state)
{
    (void)state;
    static const int size[] = { 1, 15, 16, 17, 31, 255, 256, 257, 300, 4095, 4096, 4400 };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int part = 0; part <= size[i]; part++) check_frontier(size[i], part);
    for (int part = 0xfffff0; part <= 0xffffff; part++)
        check_frontier(0xffffff, part); /* 1G tokens */
    assert_int_equal(loci_gist_rows(15), 15);
    assert_int_equal(loci_gist_rows(16), 17);
    assert_int_equal(loci_gist_rows(4400), 4400 + 275 + 17 + 1);
}

/* A pyramid that grows chunk by chunk has, after each, all whole nodes and no other. */
static void test_growth(void **state)
{
    (void)state;
    enum { N = 600, WIDE = 3 };
    loci_kernels k;
    loci_rng rng;
    loci_kernels_init(&k, 0);
    loci_rng_seed(&rng, SEED);
    float *node = normal_array((size_t)loci_gist_rows(N) * WIDE, 0.0, &rng);
    float *all = normal_array(N * WIDE, 1.0, &rng);
    for (int c = 0; c < N; c++) {
        memcpy(node + c * WIDE, all + c * WIDE, WIDE * sizeof *node);
        loci_gist_close(&k, node, N, WIDE, c);
        for (int level = 1, size = 16; level <= 3; level++, size *= 16)
            for (int i = 0; i < N / size; i++) {
                const float *found = node + (level_start(N, level) + i) * WIDE;
                for (int j = 0; j < WIDE; j++) {
                    double want = 0.0;
                    for (int b = i * size; b < (i + 1) * size; b++) want += all[b * WIDE + j];
                    if ((i + 1) * size > c + 1) want = 0.0; /* not there yet */
                    assert_true(fabs(found[j] - want / size) < 1e-6);
                }
            }
    }
    loci_free_aligned(node);
    loci_free_aligned(all);
}

/* ---- attention ----------------------------------------------------------------------------------- */

enum { MOST_CHUNKS = 80, T = 40 };

typedef struct {
    small_model s;
    loci_gist_tape tape;
    loci_chunks bank;
    loci_sequence seq;
    int32_t doc[MOST_CHUNKS + 1], n_eligible[T];
    uint8_t banked[MOST_CHUNKS];
    float *h, *y, *r, *xn, *dxn, *scratch;
    void *memory;
} gist_case;

static loss_value gist_loss(void *ctx)
{
    gist_case *c = ctx;
    loss_value v = { 0 };
    memcpy(c->y, c->h, T * D * sizeof *c->y);
    loci_gist_build(&c->s.m, &c->tape, &c->bank, &c->seq);
    loci_gist_forward(&c->s.m, &c->s.m.p.read[0], &c->tape, 0, &c->bank, c->y, c->xn, 2, T,
                      MOST_CHUNKS, c->scratch);
    add_dot(&v, c->r, c->y, T * D);
    return v;
}

/* Documents of the given numbers of chunks (a negative one: not banked); row t sees eligible[t]. */
static void gist_open(gist_case *c, const int *chunks, int n_docs, const int *eligible)
{
    loci_hparams hp = small_hparams();
    loci_arena a = { 0 };
    loci_rng rng;
    memset(c, 0, sizeof *c);
    hp.d_summary = DS;
    loci_rng_seed(&rng, SEED + 1);
    small_model_open(&c->s, &hp, SEED);
    for (int d = 0; d < n_docs; d++) {
        const int n = abs(chunks[d]);
        c->doc[d + 1] = c->doc[d] + n * 16 - (d % 2 ? 9 : 0); /* the last chunk may be short */
        c->banked[d] = chunks[d] > 0;
        c->bank.n += chunks[d] > 0 ? n : 0;
    }
    assert_true(c->bank.n <= MOST_CHUNKS);
    for (int t = 0; t < T; t++) c->n_eligible[t] = eligible[t];
    c->seq = (loci_sequence){ .n_docs = n_docs, .doc = c->doc, .banked = c->banked };
    c->bank.n_eligible = c->n_eligible;
    c->bank.summary = normal_array(MOST_CHUNKS * DS, 1.0, &rng);
    c->bank.dsummary = normal_array(MOST_CHUNKS * DS, 0.0, &rng);
    loci_gist_plan(&c->tape, &a, &hp, T, MOST_CHUNKS);
    c->memory = loci_alloc_aligned(a.used);
    a = (loci_arena){ c->memory, a.used, 0 };
    loci_gist_plan(&c->tape, &a, &hp, T, MOST_CHUNKS);
    c->h = normal_array(T * D, 1.0, &rng);
    c->y = normal_array(T * D, 0.0, &rng);
    c->r = normal_array(T * D, 0.3, &rng);
    c->xn = normal_array(T * D, 1.0, &rng);
    c->dxn = normal_array(T * D, 0.0, &rng);
    c->scratch = normal_array(loci_gist_scratch(&hp, MOST_CHUNKS), 9.0, &rng);
}

static void gist_close(gist_case *c)
{
    float *all[] = {
        c->h, c->y, c->r, c->xn, c->dxn, c->scratch, c->bank.summary, c->bank.dsummary
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) loci_free_aligned(all[i]);
    loci_free_aligned(c->memory);
    small_model_close(&c->s);
}

static void product(double *y, const loci_mat *w, const double *x)
{
    for (int i = 0; i < w->rows; i++) {
        y[i] = 0.0;
        for (int j = 0; j < w->cols; j++)
            y[i] += (double)((float *)w->data)[i * w->cols + j] * x[j];
    }
}

static void norm(double *x, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) x[i] /= sqrt(sum / n + 1e-6);
}

/* Key and value of the mean of chunks [at, at + size). */
static void plain_node(const gist_case *c, int at, int size, int level, double kv[128])
{
    const loci_read_params *p = &c->s.m.p.read[0];
    double y[DS];
    for (int i = 0; i < DS; i++) {
        y[i] = 0.0;
        for (int b = at; b < at + size; b++) y[i] += (double)c->bank.summary[b * DS + i] / size;
    }
    norm(y, DS);
    for (int i = 0; i < DS; i++) y[i] += (double)((float *)p->gist_level.data)[level * DS + i];
    product(kv, &p->gist_kv, y);
    norm(kv, 64);
}

/* What row t of h should become: the first `skip` documents are left out. */
static void plain_row(const gist_case *c, int t, int skip, double *want)
{
    const loci_read_params *p = &c->s.m.p.read[0];
    double x[D], q[Q], o[Q] = { 0 }, total[LOCI_GIST_HEADS] = { 0 };
    for (int i = 0; i < D; i++) x[i] = c->xn[t * D + i];
    product(q, &p->gist_q, x);
    for (int h = 0; h < LOCI_GIST_HEADS; h++) norm(q + 64 * h, 64);
    for (int d = 0, at = 0, bank = 0; d < c->seq.n_docs; d++, at = bank) {
        const int n = (c->doc[d + 1] - c->doc[d] + 15) / 16;
        if (!c->banked[d]) continue;
        bank += n;
        const int end = c->n_eligible[t] < bank ? c->n_eligible[t] : bank;
        for (int level = 2; level >= 0 && d >= skip; level--)
            for (int size = 1 << (4 * level); at + size <= end; at += size) {
                double kv[128];
                plain_node(c, at, size, level, kv);
                for (int h = 0; h < LOCI_GIST_HEADS; h++) {
                    double s = 0.0;
                    for (int i = 0; i < 64; i++) s += q[64 * h + i] * kv[i] / 4.0;
                    total[h] += exp(s);
                    for (int i = 0; i < 64; i++) o[64 * h + i] += exp(s) * kv[64 + i];
                }
            }
    }
    for (int i = 0; i < Q; i++) o[i] = total[i / 64] > 0.0 ? o[i] / total[i / 64] : 0.0;
    product(want, &p->gist_o, o);
    for (int i = 0; i < D; i++) want[i] += c->h[t * D + i];
}

static void check_rows(gist_case *c, int skip)
{
    gist_loss(c);
    for (int t = 0; t < T; t++) {
        double want[D];
        plain_row(c, t, skip, want);
        for (int i = 0; i < D; i++) {
            const double found = c->y[t * D + i];
            const double truth = t < 2 ? (double)c->h[t * D + i] : want[i];
            if (!(fabs(found - truth) < 2e-5)) fail_msg("row %d: %g and %g", t, found, truth);
        }
    }
}

/* Three documents and one that is not banked; rows before anything can be read, stretches that end
 * inside documents and at nodes of every level. */
static const int CHUNKS[4] = { 37, -3, 2, 20 };
static void rows_of_case(int *eligible)
{
    static const int step[] = { 0, 1, 15, 16, 17, 33, 37, 38, 39, 55, 56, 59 };
    for (int t = 0; t < T; t++) {
        const int i = (t - 3) / 3;
        eligible[t] = t < 3 ? 0 : step[i < 11 ? i : 11];
    }
}

static void test_attention(void **state)
{
    (void)state;
    gist_case c;
    int eligible[T];
    rows_of_case(eligible);
    gist_open(&c, CHUNKS, 4, eligible);
    check_rows(&c, 0);
    gist_close(&c);
}

/* Of 70 documents that a query may read it attends to the newest 64. */
static void test_many_documents(void **state)
{
    (void)state;
    gist_case c;
    int chunks[70], eligible[T];
    for (int d = 0; d < 70; d++) chunks[d] = 1;
    for (int t = 0; t < T; t++) eligible[t] = 70;
    gist_open(&c, chunks, 70, eligible);
    check_rows(&c, 70 - LOCI_GIST_DOCS);
    gist_close(&c);
}

/* ---- streams -------------------------------------------------------------------------------------- */

enum { NODES = 2500 };

typedef struct {
    float *node;
    uint8_t level[NODES];
    int n;
    float *kv; /* (NODES, 2 groups, LOCI_GIST_KV) rooms, or NULL */
    uint32_t made[NODES];
} nodes;

/* In pieces of one level, as a memory gives them. */
static int give(void *ctx, const float *u, float tau, int64_t own_end, loci_gist_take *take,
                void *to)
{
    nodes *x = ctx;
    (void)u, (void)tau, (void)own_end;
    for (int at = 0, n; at < x->n; at += n) {
        for (n = 1; at + n < x->n && x->level[at + n] == x->level[at];) n++;
        const loci_gist_room room = { x->kv + at * 2 * LOCI_GIST_KV, (size_t)n * LOCI_GIST_KV,
                                      &x->made[at] };
        take(to, x->node + at * DS, x->level[at], n, x->kv ? &room : NULL);
    }
    return LOCI_OK;
}

static void check_read(const small_model *s, int group, loci_gist_reader *reader, const nodes *x)
{
    const loci_read_params *p = &s->m.p.read[group];
    const loci_memory memory = { (void *)(uintptr_t)x, NULL, NULL, give };
    double o[Q] = { 0 }, total[LOCI_GIST_HEADS] = { 0 };
    assert_int_equal(loci_gist_read(&s->m, group, reader, 1, &memory, NULL, 1.0f, 0), LOCI_OK);
    for (int i = 0; i < x->n; i++) {
        double y[DS], kv[128];
        for (int j = 0; j < DS; j++) y[j] = x->node[i * DS + j];
        norm(y, DS);
        for (int j = 0; j < DS; j++)
            y[j] += (double)((float *)p->gist_level.data)[x->level[i] * DS + j];
        product(kv, &p->gist_kv, y);
        norm(kv, 64);
        for (int h = 0; h < LOCI_GIST_HEADS; h++) {
            double dot = 0.0;
            for (int j = 0; j < 64; j++) dot += reader->q[Q + 64 * h + j] * kv[j] / 4.0;
            total[h] += exp(dot);
            for (int j = 0; j < 64; j++) o[64 * h + j] += exp(dot) * kv[64 + j];
        }
    }
    for (int i = 0; i < Q; i++) {
        const double want = x->n ? o[i] / total[i / 64] : 0.0, found = reader->o[Q + i];
        if (!(fabs(found - want) < 1e-5)) fail_msg("%d nodes: %g and %g", x->n, found, want);
    }
}

typedef struct { /* a reader of `rows` random queries, NODES random nodes */
    small_model s;
    loci_gist_reader reader;
    void *memory; /* the reader's */
    nodes x;
    loci_rng rng;
} reading;

static void reading_open(reading *r, int rows, uint64_t seed)
{
    loci_hparams hp = small_hparams();
    loci_arena a = { 0 };
    memset(r, 0, sizeof *r);
    hp.d_summary = DS;
    small_model_open(&r->s, &hp, SEED);
    loci_rng_seed(&r->rng, seed);
    loci_gist_reader_plan(&r->reader, &a, &hp, rows);
    r->memory = loci_alloc_aligned(a.used);
    a = (loci_arena){ r->memory, a.used, 0 };
    loci_gist_reader_plan(&r->reader, &a, &hp, rows);
    fill_normal(r->reader.q, (size_t)rows * Q, 1.0, &r->rng);
    r->x.node = normal_array(NODES * DS, 1.0, &r->rng);
}

static void reading_close(reading *r)
{
    loci_free_aligned(r->x.node);
    loci_free_aligned(r->memory);
    small_model_close(&r->s);
}

/* A stream's attention over any number of nodes, whatever it has seen before: what is remembered of
 * a node serves that node alone. */
static void test_reader(void **state)
{
    (void)state;
    static const int size[] = { 0, 1, 127, 128, 129, 300, 299, 2048, NODES, 2047, 5, 600 };
    reading r;
    reading_open(&r, 2, SEED + 3);
    nodes *x = &r.x;
    for (int i = 0; i < NODES; i++) x->level[i] = (uint8_t)loci_rng_below(&r.rng, 3);
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        x->n = size[i];
        check_read(&r.s, (int)(i % 2), &r.reader, x);
        check_read(&r.s, (int)(i % 2), &r.reader, x); /* from memory */
        if (x->n == 0) continue;
        const int at = (int)loci_rng_below(&r.rng, (uint32_t)x->n);
        x->node[at * DS + (int)i % DS] += 0.5f;
        check_read(&r.s, (int)(i % 2), &r.reader, x);
        x->level[at] = (uint8_t)((x->level[at] + 1) % 3);
        check_read(&r.s, (int)(i % 2), &r.reader, x);
    }
    reading_close(&r);
}

/* With rooms beside the nodes the same bits come out: when they are filled, from them, and whichever
 * group is asked. */
static void test_rooms(void **state)
{
    (void)state;
    static const int size[] = { 1, 127, 128, 129, 300, 2048, NODES };
    float plain[Q];
    reading r;
    reading_open(&r, 1, SEED + 4);
    nodes *x = &r.x;
    float *kv = calloc((size_t)NODES * 2 * LOCI_GIST_KV, sizeof *kv);
    for (int i = 0; i < NODES; i++) x->level[i] = (uint8_t)(loci_rng_below(&r.rng, 40) < 3);
    const loci_memory from = { x, NULL, NULL, give };
    for (size_t i = 0; i < 4 * sizeof size / sizeof *size; i++) {
        const int group = (int)i / 2 % 2;
        x->n = size[i / 4];
        if (i % 4 == 0) memset(x->made, 0, sizeof x->made);
        x->kv = NULL;
        assert_int_equal(loci_gist_read(&r.s.m, group, &r.reader, 0, &from, NULL, 1.0f, 0),
                         LOCI_OK);
        memcpy(plain, r.reader.o, sizeof plain);
        x->kv = kv;
        assert_int_equal(loci_gist_read(&r.s.m, group, &r.reader, 0, &from, NULL, 1.0f, 0),
                         LOCI_OK);
        assert_memory_equal(plain, r.reader.o, sizeof plain);
        assert_int_equal(x->made[0], group == 0 ? 1 : 3);
    }
    free(kv);
    reading_close(&r);
}

static void test_gradients(void **state)
{
    (void)state;
    gist_case c;
    loci_rng rng;
    int eligible[T];
    rows_of_case(eligible);
    gist_open(&c, CHUNKS, 4, eligible);
    loci_rng_seed(&rng, SEED + 2);
    gist_loss(&c);
    const loci_read_params *p = &c.s.m.p.read[0];
    loci_read_params *g = &c.s.g.read[0];
    loci_gist_backward(&c.s.m, p, g, &c.tape, 0, &c.bank, c.r, c.dxn, c.xn, 2, T, MOST_CHUNKS,
                       c.scratch);
    loci_gist_build_backward(&c.s.m, &c.tape, &c.bank);
    const grad_array arrays[] = {
        { "xn", c.xn, c.dxn, T * D },
        { "summary", c.bank.summary, c.bank.dsummary, (size_t)(c.bank.n * DS) },
        mat_array("gist_q", &p->gist_q, &g->gist_q),
        mat_array("gist_kv", &p->gist_kv, &g->gist_kv),
        mat_array("gist_level", &p->gist_level, &g->gist_level),
        mat_array("gist_o", &p->gist_o, &g->gist_o),
    };
    grad_check check = grad_check_begin(gist_loss, &c, 16);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        grad_check_samples(&check, &arrays[i], 24, STEP, &rng);
        grad_check_direction(&check, &arrays[i], STEP / 8, &rng);
    }
    grad_check_end(&check);
    gist_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frontier),  cmocka_unit_test(test_growth),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_many_documents),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_reader),
        cmocka_unit_test(test_rooms),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
