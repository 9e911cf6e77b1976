/* Goal: a document's root that is kept with the bank is the one that its landmarks make, bit for bit; it
 * comes, goes and is checked with its document; a bank without roots answers the same.
 *
 * Method: stored rows beside what segments say, and beside means taken here backwards in long double;
 * gists of many documents with roots, with some of them and without; rows forged and damaged through
 * SQLite; a catalogue that a build before roots wrote.  Kills are test_bank.c's and test_slow_kill.c's,
 * whose verify compares roots. */
#include "catalog_test.h"
#include "engine/frontier.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { DS = 16, DL = 128, DOCS = 90, SHORT = LOCI_ROOT_CHUNKS - 1 };
_Static_assert((int)DOCS > (int)LOCI_GIST_DOCS, "so many that roots choose");

typedef struct {
    test_engine t;
    char dir[64], path[128]; /* of the bank, of its catalogue */
    loci_bank *bank;
} setup;

static void setup_open(setup *x)
{
    loci_error err;
    loci_hparams hp = test_hparams();
    hp.d_summary = DS;
    memset(x, 0, sizeof *x);
    engine_init_with(&x->t, 0x67, hp);
    scratch_make(x->dir);
    snprintf(x->path, sizeof x->path, "%s/%s", x->dir, LOCI_CATALOG_FILE);
    OK(loci_bank_open(&x->bank, &x->t.e, x->dir, LOCI_BANK_CREATE, &err));
}

static void reopen(setup *x, loci_bank_mode mode)
{
    loci_error err;
    loci_bank_close(x->bank);
    OK(loci_bank_open(&x->bank, &x->t.e, x->dir, mode, &err));
}

static void setup_close(setup *x)
{
    loci_bank_close(x->bank);
    scratch_remove(x->dir);
    engine_free(&x->t);
}

/* Statements by a connection of its own, which knows nothing of foreign keys. */
static void raw_sql(const setup *x, const char *sql)
{
    sqlite3 *raw;
    assert_int_equal(sqlite3_open(x->path, &raw), SQLITE_OK);
    if (sqlite3_exec(raw, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(raw));
    sqlite3_close(raw);
}

/* Another root for a document, with a right checksum. */
static void forge(const setup *x, int64_t sequence, const float *root)
{
    sqlite3 *raw;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(x->path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(raw, "INSERT OR REPLACE INTO root VALUES (?1, ?2, ?3)", -1,
                                        &q, NULL),
                     SQLITE_OK);
    sqlite3_bind_int64(q, 1, sequence);
    sqlite3_bind_blob(q, 2, root, DL * sizeof *root, SQLITE_STATIC);
    sqlite3_bind_int64(q, 3, (int64_t)loci_root_sum(sequence, root, DL * sizeof *root));
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
    sqlite3_finalize(q);
    sqlite3_close(raw);
}

/* The stored root of a document into out (DL); false: it has none. */
static bool stored_root(const setup *x, int64_t sequence, float *out)
{
    loci_error err;
    loci_root_reader *r;
    const float *root;
    OK(loci_root_reader_open(&r, x->bank->catalog, DL, &err));
    OK(loci_root_reader_find(r, sequence, &root, &err));
    if (root) memcpy(out, root, DL * sizeof *out);
    loci_root_reader_close(r);
    return root != NULL;
}

/* The same from the document's segment. */
static void made_root(const loci_bank *b, int64_t row, float *out)
{
    loci_error err;
    OK(loci_segment_root(b->segment[b->doc_segment[row]], b->doc[row].first_chunk,
                         b->doc[row].chunks, out, &err));
}

/* ---- what is stored ---------------------------------------------------------------------------- */
/* A root is its mean rounded once: half a unit of an f32, and the sums of some 10^4 products in f64. */
static void check_mean(const loci_bank *b, int64_t row, const float *root)
{
    long double sum[DL] = { 0.0L };
    loci_error err;
    for (int64_t c = b->doc[row].chunks - 1; c >= 0; c--) {
        loci_chunk_view v;
        OK(loci_segment_chunk(b->segment[b->doc_segment[row]], b->doc[row].first_chunk + c, false,
                              &v, &err));
        for (int i = 2 * DL - 1; i >= 0; i--)
            sum[i % DL] += (long double)v.landmark[i] * (long double)v.landmark_scale[i / DL];
    }
    for (int j = 0; j < DL; j++) {
        const long double want = sum[j] / (2.0L * (long double)b->doc[row].chunks);
        if (fabsl((long double)root[j] - want) > 0x1p-24L * fabsl(want) + 0x1p-38L)
            fail_msg("%s, number %d: %.9g, expected %.12Lg", b->doc[row].name, j, root[j], want);
    }
}

static void test_stored_is_made(void **state)
{
    static const test_doc docs[] = {
        { "one", 1, 1 },      { "short", 2, SHORT },    { "long", 3, LOCI_ROOT_CHUNKS },
        { "empty", 4, 0 },    { "to a group", 5, 239 }, { "one more", 6, 257 },
        { "groups", 7, 600 },
    };
    enum { N = sizeof docs / sizeof *docs };
    (void)state;
    loci_error err;
    loci_bank_verify_report r;
    setup x;
    int stored = 0;
    setup_open(&x);
    OK(bank_put(x.bank, docs, N, &err));
    reopen(&x, LOCI_BANK_READ);
    for (int64_t i = 0; i < N; i++) {
        float kept[DL], made[DL];
        const bool has = stored_root(&x, x.bank->doc[i].sequence, kept);
        assert_int_equal(has, docs[i].chunks >= LOCI_ROOT_CHUNKS);
        if (!has) continue;
        made_root(x.bank, i, made);
        assert_memory_equal(kept, made, sizeof kept);
        check_mean(x.bank, i, kept);
        stored++;
    }
    OK(loci_bank_verify(x.dir, NULL, NULL, &r, &err));
    assert_int_equal(stored, 4);
    float none[DL];
    assert_int_equal(loci_segment_root(x.bank->segment[0], 0, 0, none, NULL), LOCI_EINVAL);
    assert_int_equal(loci_segment_root(x.bank->segment[0], x.bank->chunks - 1, 2, none, NULL),
                     LOCI_EINVAL);
    setup_close(&x);
}

/* A document that is replaced takes its root along; one that is only touched keeps it. */
static void test_replace_and_touch(void **state)
{
    static const test_doc both[] = { { "a", 1, 10 }, { "b", 2, 11 } };
    static const test_doc again[] = { { "a", 3, 12 } }, less[] = { { "a", 4, SHORT } };
    (void)state;
    loci_error err;
    setup x;
    float before[DL], root[DL];
    setup_open(&x);
    OK(bank_put(x.bank, both, 2, &err));
    assert_true(stored_root(&x, 1, root) && stored_root(&x, 2, before));
    OK(bank_put(x.bank, again, 1, &err));
    assert_false(stored_root(&x, 1, root));
    assert_true(stored_root(&x, 3, root));
    check_mean(x.bank, 1, root);

    loci_doc_row touch = doc_row("b", 0, 0, 0);
    touch.mtime_ns = 99;
    OK(loci_bank_commit(x.bank, NULL, NULL, 0, &touch, 1, &err));
    OK(loci_bank_reload(x.bank, &err));
    assert_int_equal(x.bank->doc[0].mtime_ns, 99);
    assert_true(stored_root(&x, 2, root));
    assert_memory_equal(root, before, sizeof root);

    OK(bank_put(x.bank, less, 1, &err));
    assert_false(stored_root(&x, 3, root) || stored_root(&x, 4, root));
    assert_true(stored_root(&x, 2, root));
    OK(loci_catalog_verify(x.bank->catalog, &err));
    setup_close(&x);
}

/* More rows than one query of the reader gives, with and without gaps, asked for one by one and by steps. */
static void test_reader(void **state)
{
    enum { N = 1000 };
    (void)state;
    loci_error err;
    setup x;
    char **drop;
    float *value = calloc(N, sizeof *value);
    loci_doc_row *docs = calloc(N, sizeof *docs);
    setup_open(&x);
    const loci_segment_row s = seg_row(1, N);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        value[i] = (float)(i + 1);
        docs[i] = doc_row(strdup(name), 1, i, 1);
        docs[i].root = &value[i];
        docs[i].d_root = 1;
    }
    OK(loci_catalog_commit(x.bank->catalog, &s, docs, N, NULL, 0, &drop, &err));
    free_list(drop);
    for (int i = 0; i < N; i++) free(docs[i].name);
    for (int gaps = 0; gaps < 2; gaps++) {
        static const int steps[] = { 1, 3, 255, 256, 257, 700 };
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            loci_root_reader *r;
            OK(loci_root_reader_open(&r, x.bank->catalog, 1, &err));
            for (int64_t at = 1; at < N + 300; at += steps[k]) {
                const float *root;
                OK(loci_root_reader_find(r, at, &root, &err));
                if (at > N || (gaps && at % 5 == 0))
                    assert_null(root);
                else
                    assert_true(root && *root == (float)at);
            }
            loci_root_reader_close(r);
        }
        raw_sql(&x, "DELETE FROM root WHERE sequence % 5 = 0");
    }
    free(value);
    free(docs);
    setup_close(&x);
}

/* ---- answers ----------------------------------------------------------------------------------- */
typedef struct { /* what was handed over: all nodes */
    float node[1 << 16];
    int n;
} taken;

static void take(void *to, const float *node, int level, int n, const loci_gist_room *room)
{
    taken *t = to;
    (void)level, (void)room;
    assert_true((t->n + n) * DS <= (int)(sizeof t->node / sizeof *t->node));
    memcpy(t->node + t->n * DS, node, (size_t)n * DS * sizeof *node);
    t->n += n;
}

enum { QUERIES = 16 };

static void query(int q, float *u)
{
    loci_rng r;
    loci_rng_seed(&r, SEED + (uint64_t)q);
    for (int j = 0; j < DL; j++) u[j] = uniform(&r);
}

static loci_status take_all(const setup *x, taken *t, loci_error *err)
{
    loci_frontiers *f;
    const loci_bank *bank = x->bank;
    loci_status st = loci_frontiers_open(&f, x->t.e.model, &bank, 1, 0, err);
    for (int q = 0; q < QUERIES && st == LOCI_OK; q++) {
        float u[DL];
        query(q, u);
        t[q].n = 0;
        st = loci_frontiers_take(f, u, take, &t[q], err);
    }
    loci_frontiers_close(f);
    return st;
}

static void check_alike(const taken *a, const taken *b)
{
    for (int q = 0; q < QUERIES; q++) {
        assert_int_equal(a[q].n, b[q].n);
        assert_memory_equal(a[q].node, b[q].node, (size_t)a[q].n * DS * sizeof(float));
    }
}

/* Documents with and without roots by their length. */
static void fill(setup *x)
{
    loci_error err;
    static char name[DOCS][16];
    test_doc docs[DOCS];
    for (int i = 0; i < DOCS; i++) {
        snprintf(name[i], sizeof name[i], "d%d", i);
        docs[i] = (test_doc){ name[i], SEED + (uint64_t)i, SHORT - 2 + i % 20 };
    }
    OK(bank_put(x->bank, docs, DOCS / 2, &err));
    OK(bank_put(x->bank, docs + DOCS / 2, DOCS - DOCS / 2, &err));
}

static void test_answers(void **state)
{
    (void)state;
    loci_error err;
    setup x;
    taken *stored = calloc(QUERIES, sizeof *stored), *then = calloc(QUERIES, sizeof *then);
    setup_open(&x);
    fill(&x);
    OK(take_all(&x, stored, &err));

    /* The row of a long document is what counts, not its landmarks: a root along the first query takes it
     * among the documents of that query, one against it keeps it out. */
    float u[DL], against[DL], root[DL];
    query(0, u);
    for (int j = 0; j < DL; j++) against[j] = -u[j];
    assert_true(stored_root(&x, 50, root));
    forge(&x, 50, u);
    OK(take_all(&x, then, &err));
    const taken in = then[0];
    forge(&x, 50, against);
    OK(take_all(&x, then, &err));
    const bool same = in.n == then[0].n &&
                      memcmp(in.node, then[0].node, (size_t)in.n * DS * sizeof *in.node) == 0;
    assert_false(same);
    forge(&x, 50, root);
    OK(take_all(&x, then, &err));
    check_alike(stored, then);

    raw_sql(&x, "DELETE FROM root WHERE sequence % 3 = 0");
    OK(take_all(&x, then, &err));
    check_alike(stored, then);
    raw_sql(&x, "DELETE FROM root");
    OK(take_all(&x, then, &err));
    check_alike(stored, then);
    free(stored);
    free(then);
    setup_close(&x);
}

/* ---- banks of earlier builds --------------------------------------------------------------------- */
static void load(const char *path, char **data, size_t *n)
{
    loci_error err;
    OK(loci_file_load(NULL, path, 1 << 24, data, n, &err));
}

static void test_bank_without_table(void **state)
{
    static const test_doc more[] = { { "more", 9, 20 } };
    (void)state;
    loci_error err;
    loci_bank_verify_report r;
    setup x;
    char *before, *after;
    size_t n, m;
    float root[DL];
    taken *stored = calloc(QUERIES, sizeof *stored), *then = calloc(QUERIES, sizeof *then);
    setup_open(&x);
    fill(&x);
    OK(take_all(&x, stored, &err));
    loci_bank_close(x.bank);
    raw_sql(&x, "DROP TABLE root; PRAGMA user_version = 1");
    load(x.path, &before, &n);
    OK(loci_bank_open(&x.bank, &x.t.e, x.dir, LOCI_BANK_READ, &err));
    OK(take_all(&x, then, &err));
    check_alike(stored, then);
    OK(loci_bank_verify(x.dir, NULL, NULL, &r, &err));
    load(x.path, &after, &m);
    assert_int_equal(n, m); /* reading writes nothing */
    assert_memory_equal(before, after, n);

    reopen(&x, LOCI_BANK_WRITE);
    OK(take_all(&x, then, &err));
    check_alike(stored, then);
    OK(bank_put(x.bank, more, 1, &err));
    assert_true(stored_root(&x, DOCS + 1, root));
    for (int64_t i = 1; i <= DOCS; i++) assert_false(stored_root(&x, i, root));
    check_mean(x.bank, DOCS, root);
    reopen(&x, LOCI_BANK_READ);
    OK(loci_bank_verify(x.dir, NULL, NULL, &r, &err));
    free(before);
    free(after);
    free(stored);
    free(then);
    setup_close(&x);
}

static int64_t version_of(const char *dir)
{
    loci_error err;
    loci_catalog *c;
    OK(loci_catalog_open(&c, dir, LOCI_BANK_READ, NULL, NULL, &err));
    OK(loci_catalog_verify(c, &err));
    assert_int_equal(count_docs(c), 1);
    const int64_t version = c->version;
    loci_catalog_close(c);
    return version;
}

/* The table is added whole or not at all: no file may grow beyond a limit that rises until it is. */
static void test_upgrade_on_a_full_disk(void **state)
{
    (void)state;
    char dir[64], path[128], *data;
    size_t n;
    int failed = 0, done = 0;
    scratch_make(dir);
    load("tests/fuzz/corpus/catalog/whole", &data, &n);
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    write_bytes(path, data, n);
    for (rlim_t limit = 64; !done; limit += 1500) {
        int code = 0;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            loci_catalog *c;
            const struct rlimit r = { limit, limit };
            signal(SIGXFSZ, SIG_IGN);
            if (setrlimit(RLIMIT_FSIZE, &r) != 0) _exit(2);
            const loci_status st = loci_catalog_open(&c, dir, LOCI_BANK_WRITE, NULL, NULL, NULL);
            loci_catalog_close(c);
            _exit(st == LOCI_OK ? 1 : st == LOCI_EIO ? 0 : 2);
        }
        waitpid(child, &code, 0);
        assert_true(WIFEXITED(code) && WEXITSTATUS(code) < 2);
        done = WEXITSTATUS(code);
        failed += !done;
        assert_int_equal(version_of(dir), done ? LOCI_CATALOG_ROOTS : 1);
    }
    assert_true(failed > 3);
    free(data);
    scratch_remove(dir);
}

/* A file that a build without roots wrote: read as it is; whoever opens it for writing adds the table. */
static void test_catalogue_of_an_earlier_build(void **state)
{
    (void)state;
    char dir[64], path[128], *data, *after, **drop;
    size_t n, m;
    loci_error err;
    loci_catalog *c;
    loci_root_reader *r;
    loci_doc_row d;
    const float *root;
    static const float some[2] = { 1.0f, -2.0f };
    scratch_make(dir);
    load("tests/fuzz/corpus/catalog/whole", &data, &n);
    snprintf(path, sizeof path, "%s/%s", dir, LOCI_CATALOG_FILE);
    write_bytes(path, data, n);
    OK(loci_catalog_open(&c, dir, LOCI_BANK_READ, NULL, NULL, &err));
    assert_int_equal(c->version, 1);
    assert_int_equal(count_docs(c), 1);
    OK(loci_root_reader_open(&r, c, 2, &err));
    OK(loci_root_reader_find(r, 1, &root, &err));
    assert_null(root);
    loci_root_reader_close(r);
    loci_catalog_close(c);
    load(path, &after, &m);
    assert_int_equal(n, m);
    assert_memory_equal(data, after, n);

    for (int again = 0; again < 2; again++) { /* and it stays so */
        OK(loci_catalog_open(&c, dir, LOCI_BANK_WRITE, NULL, NULL, &err));
        assert_int_equal(c->version, LOCI_CATALOG_ROOTS);
        loci_catalog_close(c);
    }
    OK(loci_catalog_open(&c, dir, LOCI_BANK_WRITE, NULL, NULL, &err));
    d = doc_row("b", 2, 0, 3);
    d.root = some;
    d.d_root = 2;
    const loci_segment_row s = seg_row(2, 3);
    OK(loci_catalog_commit(c, &s, &d, 1, NULL, 0, &drop, &err));
    free_list(drop);
    OK(loci_root_reader_open(&r, c, 2, &err));
    OK(loci_root_reader_find(r, 2, &root, &err));
    assert_memory_equal(root, some, sizeof some);
    loci_root_reader_close(r);
    OK(loci_catalog_verify(c, &err));
    loci_catalog_close(c);
    free(data);
    free(after);
    scratch_remove(dir);
}

/* ---- damage -------------------------------------------------------------------------------------- */
/* One line that names file, document and fault: from a question, and from verify. */
static void check_refused(const setup *x, const char *fault)
{
    loci_error err = { 0 };
    loci_bank_verify_report r;
    taken *t = calloc(QUERIES, sizeof *t);
    assert_int_equal(take_all(x, t, &err), LOCI_EFORMAT);
    if (!strstr(err.text, x->path) || !strstr(err.text, fault))
        fail_msg("%s: expected %s", err.text, fault);
    assert_int_equal(loci_bank_verify(x->dir, NULL, NULL, &r, &err), LOCI_EFORMAT);
    assert_int_equal(r.bad_blocks, 1);
    assert_non_null(strstr(r.first_bad, fault));
    free(t);
}

static void test_damaged(void **state)
{
    (void)state;
    setup x;
    float root[DL], broken[DL];
    setup_open(&x);
    fill(&x);
    assert_true(stored_root(&x, 50, root));
    raw_sql(&x, "UPDATE root SET vector = zeroblob(508) WHERE sequence = 50");
    check_refused(&x, "root of document 50: 508 bytes, expected 512");
    forge(&x, 50, root);
    raw_sql(&x, "UPDATE root SET sum = sum + 1 WHERE sequence = 50");
    check_refused(&x, "root of document 50: a wrong checksum");
    forge(&x, 50, root);
    raw_sql(&x, "UPDATE root SET vector = zeroblob(512) WHERE sequence = 50");
    check_refused(&x, "root of document 50: a wrong checksum");
    for (int i = 0; i < 2; i++) {
        memcpy(broken, root, sizeof broken);
        broken[7] = i ? -INFINITY : NAN;
        forge(&x, 50, broken);
        check_refused(&x, "root of document 50: number 7 is not finite");
    }
    setup_close(&x);
}

/* What only landmarks can tell: verify names the first wrong root and counts the others. */
static void test_verify_compares(void **state)
{
    (void)state;
    loci_error err = { 0 };
    loci_bank_verify_report r;
    setup x;
    float root[DL], wrong[DL];
    char line[128];
    setup_open(&x);
    fill(&x);
    assert_true(stored_root(&x, 50, root) && stored_root(&x, 51, wrong));
    forge(&x, 52, root); /* another document's */
    memcpy(wrong, root, sizeof wrong);
    wrong[127] = nextafterf(wrong[127], 1.0f);
    forge(&x, 50, wrong);
    assert_int_equal(loci_bank_verify(x.dir, NULL, NULL, &r, &err), LOCI_EFORMAT);
    snprintf(line, sizeof line, "root of document d49: number 127 is %.9g, its landmarks say %.9g",
             wrong[127], root[127]);
    if (!strstr(r.first_bad, x.path) || !strstr(r.first_bad, line)) fail_msg("%s", r.first_bad);
    assert_int_equal(r.bad_blocks, 2);

    forge(&x, DOCS + 9, root); /* nobody's */
    assert_int_equal(loci_bank_verify(x.dir, NULL, NULL, &r, &err), LOCI_EFORMAT);
    assert_non_null(strstr(r.first_bad, "row 99 of table root: its document is not there"));
    setup_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_is_made),
        cmocka_unit_test(test_replace_and_touch),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_bank_without_table),
        cmocka_unit_test(test_catalogue_of_an_earlier_build),
        cmocka_unit_test(test_upgrade_on_a_full_disk),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_verify_compares),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
