/* Goal: ingest killed at any moment leaves whole documents or none.
 *
 * Method: a child ingests a folder of small files with the small model XS and is killed by SIGKILL
 * after a random time, 50 times into fresh banks.  After each kill the bank opens, every document
 * that is there holds exactly its file's bytes, every checksum is right, and going on completes it.
 * The seed is printed. */
#include "xs_test.h"
#include <signal.h>
#include "loci/task.h"
#include <sys/wait.h>
#include <unistd.h>

enum { FILES = 60, KILLS = 50 };

static char *file_text(int i, size_t *n)
{
    static char text[200000];
    *n = loci_task_filler(SEED + (uint64_t)i, 300 + (size_t)(i * i) * 4, text, sizeof text);
    return text;
}

static void make_files(const char *dir)
{
    assert_int_equal(mkdir(dir, 0700), 0);
    for (int i = 0; i < FILES; i++) {
        char path[TEMP_PATH + 40];
        size_t n;
        const char *text = file_text(i, &n);
        snprintf(path, sizeof path, "%s/doc-%02d.txt", dir, i);
        write_bytes(path, text, n);
    }
}

/* The child: everything it needs is opened after the fork, so that a kill tears it all. */
static void child(const char *files, const char *bank)
{
    loci_engine *e;
    loci_bank *b;
    loci_ingest_report r;
    loci_engine_options o = loci_engine_options_default();
    o.model_dir = XS_MODEL;
    o.threads = 1;
    if (loci_engine_open(&e, &o, NULL) != LOCI_OK) _exit(3);
    if (loci_bank_open(&b, e, bank, LOCI_BANK_CREATE, NULL) != LOCI_OK) _exit(4);
    /* One call a file: a commit each, so that kills meet every stage of one. */
    for (int i = 0; i < FILES; i++) {
        char path[TEMP_PATH + 40];
        snprintf(path, sizeof path, "%s/doc-%02d.txt", files, i);
        const char *const one[] = { path };
        if (loci_bank_ingest(b, one, 1, NULL, &r, NULL) != LOCI_OK) _exit(5);
    }
    _exit(0);
}

/* Whoever is there and long enough has its root; verify says that it is right.  Returns how many have. */
static int count_roots(const loci_bank *b)
{
    loci_error err;
    loci_root_reader *r;
    int n = 0;
    OK(loci_root_reader_open(&r, b->catalog, b->shape.d_landmark, &err));
    for (int64_t i = 0; i < b->n_docs; i++) {
        const float *stored;
        OK(loci_root_reader_find(r, b->doc[i].sequence, &stored, &err));
        assert_int_equal(stored != NULL, b->doc[i].chunks >= LOCI_ROOT_CHUNKS);
        n += stored != NULL;
    }
    loci_root_reader_close(r);
    return n;
}

static int check_whole(const loci_bank *b)
{
    int present = 0;
    for (int i = 0; i < FILES; i++) {
        char name[40];
        size_t n;
        snprintf(name, sizeof name, "doc-%02d.txt", i);
        if (!row_of(b, name)) continue;
        const char *text = file_text(i, &n);
        assert_holds(b, name, text, n);
        present++;
    }
    assert_int_equal(present, b->n_docs);
    assert_true(count_roots(b) > 0 || present < FILES);
    return present;
}

static void test_killed(void **state)
{
    (void)state;
    loci_rng rng;
    int killed = 0, whole = 0, partial = 0;
    loci_rng_seed(&rng, SEED);
    print_message("seed %llu\n", (unsigned long long)SEED);
    root_make();
    make_files(at_root("files"));
    loci_engine *e = xs_open(1);
    for (int k = 0; k < KILLS; k++) {
        char bank_name[40];
        loci_error err = { 0 };
        loci_bank_verify_report report;
        snprintf(bank_name, sizeof bank_name, "bank-%02d", k);
        const char *dir = at_root(bank_name);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) child(at_root("files"), dir);
        usleep(20000 + loci_rng_below(&rng, 900000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);

        loci_bank *b;
        /* Killed before there was anything: making the bank anew must work. */
        OK(loci_bank_open(&b, e, dir, LOCI_BANK_CREATE, &err));
        const int present = check_whole(b);
        whole += present == FILES;
        partial += present > 0 && present < FILES;
        if (loci_bank_verify(dir, NULL, NULL, &report, &err) != LOCI_OK)
            fail_msg("kill %d: %s", k, report.first_bad);
        const loci_ingest_report r = ingest(b, at_root("files"));
        assert_int_equal(r.documents + r.unchanged, FILES);
        assert_int_equal(r.unchanged, present);
        assert_int_equal(check_whole(b), FILES);
        loci_bank_close(b);
    }
    print_message("%d killed, %d banks partly filled, %d complete\n", killed, partial, whole);
    assert_true(killed >= KILLS / 2);
    assert_true(partial >= 5); /* else the times missed the work and nothing was tested */
    loci_engine_close(e);
    temp_dir_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_killed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
