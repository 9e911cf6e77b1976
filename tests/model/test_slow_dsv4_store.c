/* Goal: a sequence saved at any position and taken up by another process gives the same bits as one
 * that was never interrupted; a kill or a failing disk loses nothing that was saved; a folder that
 * does not fit is refused with a reason.
 * Method: a tiny model with entries of 4, 8 and 128 tokens and an MTP block.  Saves at every offset
 * modulo 128 (and so modulo 4), resumed in a fresh process; texts that part ways; kills at random
 * moments; every call to the disk failing once; bytes damaged. */
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "dsv4_model.h"
#include "fault_vfs.h"
#include "temp_dir.h"

enum { N = 400, START = 130, KILLS = 25 };

static loci_dsv4_hparams shape(void)
{
    loci_dsv4_hparams hp = tiny_shape();
    const int ratios[] = { 0, 4, 128, 4, 8 };
    loci_error err = { 0 };
    if (loci_dsv4_layers_from_ratios(&hp, ratios, 1, "tiny", &err) != LOCI_OK)
        fail_msg("%s", err.text);
    return hp;
}

static tiny *open_model(loci_dsv4_mode mode)
{
    return tiny_open(shape(), 2, false, mode);
}

static loci_dsv4_store *open_store(const loci_dsv4 *m, const char *dir)
{
    loci_dsv4_store *d;
    loci_error err = { 0 };
    if (loci_dsv4_store_open(&d, m, dir, NULL, &err) != LOCI_OK) fail_msg("%s", err.text);
    return d;
}

static void save(loci_dsv4_store *d, const loci_dsv4_seq *s)
{
    loci_error err = { 0 };
    if (loci_dsv4_store_save(d, s, &err) != LOCI_OK) fail_msg("%s", err.text);
}

static int64_t resume(loci_dsv4_store *d, loci_dsv4_seq *s, const int32_t *ids, int64_t n)
{
    loci_error err = { 0 };
    if (loci_dsv4_store_resume(d, s, ids, n, &err) != LOCI_OK) fail_msg("%s", err.text);
    return loci_dsv4_seq_length(s);
}

static void path_in(char *out, const char *dir, const char *name)
{
    snprintf(out, TEMP_PATH + 64, "%s/%s", dir, name);
}

/* Logits (N, V) of the whole text, uninterrupted. */
static float *all_logits(const loci_dsv4 *m, const int32_t *ids, int n)
{
    float *logits = malloc(sizeof *logits * (size_t)n * (size_t)m->hp.vocab);
    loci_dsv4_seq *s = open_seq(m, NULL);
    extend(s, ids, n, logits, n);
    loci_dsv4_seq_close(s);
    return logits;
}

/* ---- every offset, another process ---------------------------------------------------------------- */

/* In a child: resume at `at`, run on for 9 tokens; exit code 0 when the bits agree. */
static int resumed_alike(loci_dsv4_mode mode, const char *dir, const int32_t *ids, int at,
                         const float *want, int32_t want_draft)
{
    tiny *t = open_model(mode);
    const int V = t->hp.vocab;
    float *got = malloc(sizeof *got * 9 * (size_t)V);
    int32_t draft[2];
    loci_dsv4_store *d = open_store(&t->m, dir);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    if (resume(d, s, ids, at) != at) return 1;
    if (memcmp(loci_dsv4_seq_ids(s), ids, (size_t)at * sizeof *ids) != 0) return 2;
    loci_dsv4_seq_drafting(s, true);
    if (loci_dsv4_draft(s, ids[at], 1, draft, got, NULL) != LOCI_OK) return 3;
    if (draft[0] != want_draft) return 4;
    extend(s, ids + at, 9, got, 9);
    return memcmp(got, want + (int64_t)at * V, sizeof *got * 9 * (size_t)V) == 0 ? 0 : 5;
}

static void every_offset(loci_dsv4_mode mode, int step)
{
    char dir[TEMP_PATH];
    int32_t ids[N], draft[2];
    assert_true(temp_dir_make(dir));
    tiny *t = open_model(mode);
    random_ids(ids, N, t->hp.vocab, 21);
    float *want = all_logits(&t->m, ids, N), scratch[96];
    loci_dsv4_store *d = open_store(&t->m, dir);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    loci_dsv4_seq_drafting(s, true);
    extend(s, ids, START, NULL, 0);
    for (int at = START; at < START + 128; at += step) {
        int status;
        save(d, s);
        assert_int_equal(loci_dsv4_store_last(d), at);
        assert_int_equal(loci_dsv4_draft(s, ids[at], 1, draft, scratch, NULL), LOCI_OK);
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) _exit(resumed_alike(mode, dir, ids, at, want, draft[0]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("mode %s, position %d: child's status %x", loci_dsv4_mode_name(mode), at,
                     status);
        extend(s, ids + at, step, NULL, 0);
    }
    loci_dsv4_seq_close(s);
    loci_dsv4_store_close(d);
    free(want);
    tiny_close(t);
    temp_dir_remove(dir);
}

static void test_every_offset(void **state)
{
    (void)state;
    every_offset(LOCI_DSV4_MODE_FAST, 1);
    every_offset(LOCI_DSV4_MODE_F32, 7);
    every_offset(LOCI_DSV4_MODE_EXACT, 5);
}

/* ---- texts that part ways --------------------------------------------------------------------------- */

static void test_prefixes(void **state)
{
    (void)state;
    char dir[TEMP_PATH];
    int32_t ids[N], other[N];
    assert_true(temp_dir_make(dir));
    tiny *t = open_model(LOCI_DSV4_MODE_FAST);
    const int V = t->hp.vocab;
    random_ids(ids, N, V, 22);
    loci_dsv4_store *d = open_store(&t->m, dir);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    assert_int_equal(resume(d, s, ids, N), 0);
    for (int at = 0; at < 350; at += 50) {
        extend(s, ids + at, 50, NULL, 0);
        save(d, s);
    }
    assert_int_equal(resume(d, s, ids, N), 350);
    assert_int_equal(resume(d, s, ids, 349), 300); /* no further than asked */
    assert_int_equal(resume(d, s, ids, 49), 0);
    for (int part = 40; part <= 340; part += 60) { /* another token at `part` */
        memcpy(other, ids, sizeof other);
        other[part] = (ids[part] + 1) % V;
        assert_int_equal(resume(d, s, other, N), part / 50 * 50);
        float *want = all_logits(&t->m, other, N), *got = malloc(sizeof *got * (size_t)(N * V));
        const int at = part / 50 * 50;
        extend(s, other + at, N - at, got, N - at);
        assert_memory_equal(got, want + at * V, sizeof *got * (size_t)((N - at) * V));
        free(want);
        free(got);
    }
    /* Saving the other text drops what only the first one had, and keeps what they share. */
    save(d, s);
    assert_int_equal(loci_dsv4_store_last(d), N);
    assert_int_equal(resume(d, s, ids, N), 300);
    assert_int_equal(resume(d, s, other, N), N);
    loci_dsv4_store_close(d);
    d = open_store(&t->m, dir);
    assert_int_equal(resume(d, s, other, N - 1), 300);
    assert_int_equal(resume(d, s, other, N), N);
    save(d, s); /* nothing new: nothing written */
    assert_int_equal(resume(d, s, other, N), N);
    loci_dsv4_seq_close(s);
    loci_dsv4_store_close(d);
    tiny_close(t);
    temp_dir_remove(dir);
}

/* ---- kills and failing disks ------------------------------------------------------------------------- */

static void writer(tiny *t, const char *dir, const int32_t *ids)
{
    loci_dsv4_store *d = open_store(&t->m, dir);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    for (int at = (int)resume(d, s, ids, N); at < N; at += 3) {
        extend(s, ids + at, at + 3 < N ? 3 : N - at, NULL, 0);
        save(d, s); /* a child starts where the last one was killed */
    }
    _exit(0);
}

static void test_kills(void **state)
{
    (void)state;
    char dir[TEMP_PATH];
    int32_t ids[N];
    int killed = 0;
    int64_t reached = 0;
    loci_rng rng;
    loci_rng_seed(&rng, 23);
    assert_true(temp_dir_make(dir));
    tiny *t = open_model(LOCI_DSV4_MODE_FAST);
    random_ids(ids, N, t->hp.vocab, 23);
    float *want = all_logits(&t->m, ids, N), got[96];
    for (int k = 0; k < KILLS; k++) {
        int status;
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) writer(t, dir, ids);
        usleep(5000 + loci_rng_below(&rng, 60000));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        loci_dsv4_store *d = open_store(&t->m, dir);
        loci_dsv4_seq *s = open_seq(&t->m, NULL);
        const int64_t at = resume(d, s, ids, N - 1);
        assert_true(at >= reached); /* what was saved stays */
        reached = at;
        extend(s, ids + at, 1, got, 1);
        assert_memory_equal(got, want + at * t->hp.vocab, sizeof *got * (size_t)t->hp.vocab);
        loci_dsv4_seq_close(s);
        loci_dsv4_store_close(d);
    }
    print_message("%d of %d killed, %lld tokens saved\n", killed, KILLS, (long long)reached);
    assert_true(killed > 0 && reached > 0);
    free(want);
    tiny_close(t);
    temp_dir_remove(dir);
}

static void test_failing_disk(void **state)
{
    (void)state;
    int32_t ids[N];
    tiny *t = open_model(LOCI_DSV4_MODE_FAST);
    random_ids(ids, N, t->hp.vocab, 24);
    loci_dsv4_seq *s = open_seq(&t->m, NULL), *again = open_seq(&t->m, NULL);
    const fault_mode modes[] = { FAULT_EIO, FAULT_CRASH, FAULT_TORN };
    int failures = 0;
    for (int mode = 0; mode < 3; mode++)
        for (int at = 1;; at++) {
            char dir[TEMP_PATH];
            fault_vfs fault;
            loci_dsv4_store *d;
            loci_error err = { 0 };
            assert_true(temp_dir_make(dir));
            loci_dsv4_seq_reset(s);
            extend(s, ids, 150, NULL, 0);
            d = open_store(&t->m, dir);
            save(d, s);
            loci_dsv4_store_close(d);
            extend(s, ids + 150, 200, NULL, 0);
            const loci_vfs *vfs = fault_vfs_init(&fault, modes[mode], at);
            loci_status st = loci_dsv4_store_open(&d, &t->m, dir, vfs, &err);
            if (st == LOCI_OK) st = loci_dsv4_store_save(d, s, &err);
            loci_dsv4_store_close(d);
            assert_int_equal(fault.n_open, 0);
            if (st != LOCI_OK) assert_true(err.text[0] != '\0');
            failures += st != LOCI_OK;
            d = open_store(&t->m, dir); /* the disk works again */
            const int64_t got = resume(d, again, ids, N);
            if (got != 350 && (st == LOCI_OK || got != 150))
                fail_msg("fault %d at call %d: resumed at %lld", mode, at, (long long)got);
            loci_dsv4_store_close(d);
            temp_dir_remove(dir);
            if (fault.n_faults == 0) break; /* past the last call */
        }
    assert_true(failures > 20);
    loci_dsv4_seq_close(s);
    loci_dsv4_seq_close(again);
    tiny_close(t);
}

/* ---- folders that do not fit ---------------------------------------------------------------------------- */

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    const int c = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(c ^ 4, f);
    fclose(f);
}

static void refused(const loci_dsv4 *m, const char *dir, const int32_t *ids, const char *message)
{
    loci_dsv4_store *d;
    loci_error err = { 0 };
    loci_dsv4_seq *s = open_seq(m, NULL);
    loci_status st = loci_dsv4_store_open(&d, m, dir, NULL, &err);
    if (st == LOCI_OK) st = loci_dsv4_store_resume(d, s, ids, N, &err);
    assert_int_equal(st, LOCI_EFORMAT);
    if (!strstr(err.text, message)) fail_msg("\"%s\" does not say \"%s\"", err.text, message);
    assert_int_equal(loci_dsv4_seq_length(s), 0);
    loci_dsv4_seq_close(s);
    loci_dsv4_store_close(d);
}

static void test_refusals(void **state)
{
    (void)state;
    char dir[TEMP_PATH], path[TEMP_PATH + 64];
    int32_t ids[N];
    assert_true(temp_dir_make(dir));
    tiny *t = open_model(LOCI_DSV4_MODE_FAST), *f32 = open_model(LOCI_DSV4_MODE_F32);
    loci_dsv4_hparams hp = shape();
    hp.swiglu_limit = 2;
    tiny *unlike = tiny_open(hp, 2, false, LOCI_DSV4_MODE_FAST);
    random_ids(ids, N, t->hp.vocab, 25);
    loci_dsv4_store *d = open_store(&t->m, dir);
    loci_dsv4_seq *s = open_seq(&t->m, NULL);
    extend(s, ids, 300, NULL, 0);
    save(d, s);
    loci_dsv4_seq_close(s);
    loci_dsv4_store_close(d);
    refused(&f32->m, dir, ids, "text.dsv4: written by another model or mode");
    refused(&unlike->m, dir, ids, "text.dsv4: written by another model or mode");

    path_in(path, dir, "text.dsv4");
    flip(path, -1);
    refused(&t->m, dir, ids, "checksum of the positions is wrong");
    flip(path, -1);
    flip(path, 8);
    loci_error err = { 0 };
    assert_int_equal(loci_dsv4_store_open(&d, &t->m, dir, NULL, &err), LOCI_EVERSION);
    flip(path, 8);

    path_in(path, dir, "blocks.dsv4");
    const long stride = ((long)t->m.lay.block_bytes + t->m.lay.block_tokens * 4 + 8 + 63) / 64 * 64;
    flip(path, stride + 5);
    refused(&t->m, dir, ids, "block 1: checksum is wrong");
    flip(path, stride + 5);
    assert_int_equal(truncate(path, 2 * stride - 1), 0);
    refused(&t->m, dir, ids, "blocks.dsv4: expected 2 blocks, found 1");
    assert_int_equal(truncate(path, 2 * stride), 0); /* the last byte was padding */

    path_in(path, dir, "state-300.dsv4");
    flip(path, -1);
    refused(&t->m, dir, ids, "state-300.dsv4: checksum of the body is wrong");
    flip(path, -1);
    flip(path, 16);
    refused(&t->m, dir, ids, "state-300.dsv4: expected position 300, found 296");
    flip(path, 16);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    refused(&t->m, dir, ids, "state-300.dsv4: expected a body of");
    assert_int_equal(truncate(path, 10), 0);
    refused(&t->m, dir, ids, "state-300.dsv4: not a state record");
    tiny_close(t);
    tiny_close(f32);
    tiny_close(unlike);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_offset), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_kills),        cmocka_unit_test(test_failing_disk),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
