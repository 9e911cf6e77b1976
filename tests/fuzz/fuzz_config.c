/* fuzz_config.c - any text as a trainer's config: refused with a message, or every number that
 * sizes an array is in its range and a second reading gives the same struct. */
#include <stdlib.h>
#include <string.h>
#include "train/train_impl.h"

static void check(const loci_train_config *c)
{
    int64_t tokens = 0;
    double families = 0.0;
    if (loci_hparams_check(&c->hp, "fuzz", NULL) != LOCI_OK) abort();
    if (c->n_phases < 1 || c->n_phases > LOCI_MAX_PHASES || c->slots < 1 || c->slots > 256) abort();
    for (int i = 0; i < c->n_phases; i++) {
        const loci_phase *p = &c->phase[i];
        if (!memchr(p->name, 0, sizeof p->name) || p->batch < 1 || p->seq_len < 64 ||
            p->tokens < 1 || p->facts_min < 1 || p->facts_min > p->facts_max)
            abort();
        tokens += p->tokens;
    }
    for (int f = 0; f < LOCI_TASK_COUNT; f++) families += (double)c->family[f];
    if (tokens != c->total_tokens || !(families > 0.0) || c->log_every < 1) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static loci_train_config c, again;
    loci_error err = { 0 };
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, bytes, size);
    text[size] = '\0';
    if (loci_train_config_parse(&c, text, "fuzz", &err) == LOCI_OK) {
        check(&c);
        if (loci_train_config_parse(&again, text, "fuzz", NULL) != LOCI_OK ||
            again.identity != c.identity || again.total_tokens != c.total_tokens)
            abort();
    } else if (err.text[0] == '\0')
        abort();
    free(text);
    return 0;
}
