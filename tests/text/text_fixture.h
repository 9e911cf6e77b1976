/* text_fixture.h - a small tokenizer and random texts for the tests of this folder. */
#ifndef LOCI_TEXT_FIXTURE_H
#define LOCI_TEXT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/base.h"
#include "text/text_impl.h"

#define GOLDEN "tests/golden/tokenizer/"

/* Words, runs and contractions that repeat, so that a small vocabulary has merges. */
static const char training_text[] =
    "low low low low low lower lower newest newest newest newest newest newest widest widest "
    "widest\n--- ---- ----- it's it's 42 42 4242\n";

#define MUST(call)                                                                                 \
    do {                                                                                           \
        const loci_status must_st = (call);                                                        \
        if (must_st != LOCI_OK) fail_msg("%s: %s", #call, err.text);                               \
    } while (0)

static inline loci_tokenizer *train_on(const char *text, size_t len, int vocab)
{
    loci_error err = { 0 };
    loci_bpe_trainer *b = NULL;
    loci_tokenizer *t = NULL;
    MUST(loci_bpe_trainer_open(&b, &err));
    MUST(loci_bpe_trainer_add(b, text, len, &err));
    MUST(loci_bpe_trainer_finish(b, vocab, NULL, NULL, &t, &err));
    loci_bpe_trainer_close(b);
    return t;
}

static inline loci_tokenizer *small_tokenizer(void)
{
    return train_on(training_text, sizeof training_text - 1, 400);
}

/* Pieces that lie on the borders of the rules: contractions, spaces of each kind, numbers,
 * characters of 2, 3, 4 bytes, and bytes that are no characters. */
static const char *const tricky[] = {
    "'s",
    "'t",
    "'re",
    "'ll",
    "'",
    "'S",
    " ",
    "  ",
    "\n",
    "\t",
    "\r\n",
    "\xc2\xa0",
    "\xe3\x80\x80",
    "\xc2\x85",
    "7",
    "42",
    "\xd9\xa3",
    "\xc2\xbd",
    "\xe2\x85\xab",
    "a",
    "low",
    "newest",
    "er",
    "\xc3\xa9",
    "\xe6\x97\xa5",
    "\xf0\x9f\x98\x80",
    ".",
    "--",
    "-->",
    "<q>",
    "<bos>",
    "\x80",
    "\xff",
    "\xc3",
    "\xe2\x82",
    "\xf0\x9f",
    "\xed\xa0\x80",
    "\xc0\xaf",
    "\xf4\x90\x80\x80",
};

/* Up to max_pieces pieces into out; returns the length. */
static inline size_t tricky_text(loci_rng *rng, uint32_t max_pieces, char *out, size_t cap)
{
    size_t len = 0;
    for (uint32_t n = loci_rng_below(rng, max_pieces + 1); n > 0; n--) {
        const char *piece = tricky[loci_rng_below(rng, sizeof tricky / sizeof *tricky)];
        const size_t size = strlen(piece);
        if (len + size > cap) break;
        memcpy(out + len, piece, size);
        len += size;
    }
    return len;
}

/* A path in a fresh folder of its own under /tmp. */
static inline void temp_path(char *out, size_t n, const char *name)
{
    char dir[] = "/tmp/loci-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(out, n, "%s/%s", dir, name);
}

static inline void remove_temp(char *path)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

#endif
