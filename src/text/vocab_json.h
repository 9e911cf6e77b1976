/* vocab_json.h - between the two files that read tokenizer.json. */
#ifndef LOCI_VOCAB_JSON_H
#define LOCI_VOCAB_JSON_H

#include <jansson.h>
#include "text/text_impl.h"

typedef struct {
    const char *label; /* names the file in messages */
    loci_error *err;
} loci_json_reader;

#define REFUSE(r, ...) loci_fail((r)->err, LOCI_EFORMAT, __VA_ARGS__)

/* The tokenizer that "model" (its vocab and merges) and the added tokens describe.  added
 * NULL: loci's own form, whose ids are exactly 0..n-1 with the specials in front. */
loci_status loci_vocab_read(const loci_json_reader *r, const json_t *model, const json_t *added,
                            loci_tokenizer **out);

#endif
