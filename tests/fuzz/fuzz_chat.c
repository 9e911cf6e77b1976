/* fuzz_chat.c - any bytes as a conversation, rendered in each mode with a tokenizer that has the
 * grammar's tokens.  What comes out must begin with BOS, hold no token that the grammar did not
 * place, and decode to the same text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "loci/chat.h"
#include "text/chat_impl.h"

static void must(int ok)
{
    if (!ok) abort();
}

static const char *const name[] = {
    LOCI_CHAT_BOS,
    LOCI_CHAT_EOS,
    LOCI_CHAT_USER,
    LOCI_CHAT_ASSISTANT,
    LOCI_CHAT_THINK,
    LOCI_CHAT_THOUGHT,
    LOCI_CHAT_DSML,
    LOCI_CHAT_TOKEN("latest_reminder"),
    LOCI_CHAT_TOKEN("action"),
    LOCI_CHAT_TOKEN("query"),
    LOCI_CHAT_TOKEN("authority"),
    LOCI_CHAT_TOKEN("domain"),
    LOCI_CHAT_TOKEN("title"),
    LOCI_CHAT_TOKEN("read_url"),
};
enum { N_ADDED = sizeof name / sizeof *name, N_TOKENS = 256 + N_ADDED };

/* The byte alphabet and the tokens, no merges; made once. */
static loci_tokenizer *tokenizer(void)
{
    static loci_tokenizer *t;
    if (t != NULL) return t;
    loci_string token[N_TOKENS];
    unsigned char kind[N_TOKENS] = { 0 };
    char letter[256][4];
    for (int k = 0; k < 256; k++) {
        loci_text text = { 0 };
        loci_text_put_utf8(&text, loci_byte_to_char(loci_byte_in_order(k)));
        memcpy(letter[k], text.bytes, text.n);
        token[k] = (loci_string){ letter[k], text.n };
        loci_text_free(&text);
    }
    for (int k = 0; k < N_ADDED; k++) {
        token[256 + k] = (loci_string){ name[k], strlen(name[k]) };
        kind[256 + k] = LOCI_TOKEN_ADDED;
    }
    const loci_vocab_lists lists = { token, kind, N_TOKENS, NULL, 0, "deepseek-v3" };
    must(loci_tokenizer_from_lists(&t, &lists, "fuzz", NULL) == LOCI_OK);
    return t;
}

static void check(const loci_chat_prompt *p)
{
    const loci_tokenizer *t = tokenizer();
    char *back = malloc(p->bytes + 1);
    size_t n = 0;
    must(p->n_ids > 0 && p->ids[0] == loci_tokenizer_find(t, LOCI_CHAT_BOS));
    must(loci_decode(t, p->ids, p->n_ids, back, p->bytes, &n, NULL) == LOCI_OK);
    must(n == p->bytes && memcmp(back, p->text, n) == 0);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char tools[] = "T {{{tool_schemas}}} {dsml_token}\n", format[] = "F {schema}",
                effort[] = "E";
    const loci_chat_texts texts = { { effort, effort, effort }, tools, format };
    for (int mode = LOCI_CHAT_PLAIN; mode <= LOCI_CHAT_MAX; mode++) {
        loci_error err = { 0 };
        loci_chat_prompt p;
        const loci_chat_options opt = { .mode = (loci_chat_mode)mode,
                                        .texts = mode == LOCI_CHAT_LOW ? NULL : &texts,
                                        .keep_reasoning = mode == LOCI_CHAT_HIGH,
                                        .content_tokens = mode == LOCI_CHAT_MAX };
        const loci_status st =
            loci_chat_render(tokenizer(), (const char *)data, size, "fuzz", &opt, &p, &err);
        if (st == LOCI_OK)
            check(&p);
        else
            must(p.text == NULL && p.ids == NULL && err.text[0] != '\0');
        loci_chat_prompt_free(&p);
    }
    return 0;
}
