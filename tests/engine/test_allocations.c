/* Goal: decoding asks for no memory: not to search, read, look up rare runs of tokens, or attend to
 * the gist of documents, whatever the bank holds.
 *
 * Method: this program's own malloc counts calls and passes them on to the C library's.  Questions
 * go through loci_ask, whose progress call comes once a token; between the first and the last of
 * them the count must stand still.  The banks are of random chunks, some above and some below the
 * size from which codes choose, and have whatever features a bank can have.  Sanitizers bring a
 * malloc of their own: there is nothing to count then. */
#include "bank_test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
enum { COUNTS = 0 };
static long calls;
#else
enum { COUNTS = 1 };
static volatile long calls;
#define SEEN __attribute__((visibility("default"))) /* by the C library too */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

SEEN void *malloc(size_t n)
{
    calls++;
    return __libc_malloc(n);
}
SEEN void *calloc(size_t n, size_t size)
{
    calls++;
    return __libc_calloc(n, size);
}
SEEN void *realloc(void *p, size_t n)
{
    calls++;
    return __libc_realloc(p, n);
}
SEEN void *aligned_alloc(size_t align, size_t n)
{
    calls++;
    return __libc_memalign(align, n);
}
#endif

typedef struct {
    long at_first, at_last;
    int tokens;
} watch;

static int each_token(void *ctx, int64_t done, int64_t total)
{
    watch *w = ctx;
    (void)total;
    if (done == 1) w->at_first = calls;
    w->at_last = calls;
    w->tokens = (int)done;
    return 0;
}

/* Does the count see our library's calls, and those that the C library makes itself? */
static void test_counts(void **state)
{
    (void)state;
    if (!COUNTS) skip();
    const char *volatile text = "some";
    const long before = calls;
    float *volatile aligned = loci_alloc_aligned(100);
    char *volatile plain = malloc(3), *volatile copied = strdup(text);
    assert_int_equal(calls - before, 3);
    loci_free_aligned(aligned);
    free(plain);
    free(copied);
}

static void ask_of(loci_hparams hp, int n_docs, int64_t chunks, int buckets)
{
    enum { TOKENS = 60 };
    loci_error err;
    test_engine t;
    char dir[64];
    loci_bank *b;
    loci_answer a;
    watch w = { 0 };
    engine_init_with(&t, 0x44, hp);
    scratch_make(dir);
    OK(loci_bank_open(&b, &t.e, dir, LOCI_BANK_CREATE, &err));
    for (int i = 0; i < n_docs; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        const test_doc doc = { name, SEED + (uint64_t)i, chunks / n_docs };
        OK(bank_put(b, &doc, 1, &err));
    }
    if (buckets > 0) OK(loci_bank_sort(b, buckets, &err));
    loci_ask_options o = loci_ask_options_default();
    o.max_tokens = TOKENS;
    o.progress = each_token;
    o.progress_ctx = &w;
    OK(loci_ask(&t.e, &b, 1, "Where is it?", 12, &o, &a, &err));
    assert_true(w.tokens > TOKENS / 2); /* a random model does not end its answers */
    assert_true(a.chunks_read > 0);
    if (COUNTS && w.at_last != w.at_first)
        fail_msg("%ld calls for memory in %d tokens", w.at_last - w.at_first, w.tokens);
    loci_answer_free(&a);
    loci_bank_close(b);
    scratch_remove(dir);
    engine_free(&t);
}

static void test_plain(void **state)
{
    (void)state;
    ask_of(test_hparams(), 3, 500, 0);
    ask_of(test_hparams(), 3, 4500, 0);
    ask_of(test_hparams(), 3, 4500, 60);
}

static void test_everything(void **state)
{
    (void)state;
    loci_hparams hp = test_hparams();
    hp.postings = 1;
    hp.content_bits4 = 1;
    hp.d_summary = 128;
    ask_of(hp, 3, 500, 0);
    ask_of(hp, 90, 4500, 60); /* more documents than one query attends to */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_everything),
    };
    print_message("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
