/* vocab_lists.c - a tokenizer of the DeepSeek form from the lists of a GGUF file, which names
 * the expressions instead of holding them. */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "text/text_impl.h"

/* The three splits of the DeepSeek-V3 and V4 releases, said in our own words:
 *   numbers, at most three digits at a time;
 *   runs of Chinese characters and of both Japanese syllabaries;
 *   a punctuation mark of ASCII with the Latin letters behind it | letters and marks, with one
 *   character before them that is no letter, mark of punctuation, symbol or line's end |
 *   punctuation and symbols, a blank before and line ends behind | line ends with the white
 *   space before | white space not followed by anything else | white space. */
static const char *const deepseek_pattern[] = {
    "\\p{N}{1,3}",
    "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
    "[!-/:-@\\[-`{-~][A-Za-z]+"
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+"
    "|\\s+(?!\\S)"
    "|\\s+",
};
enum { N_PATTERNS = sizeof deepseek_pattern / sizeof *deepseek_pattern };

static loci_status check_lists(const loci_vocab_lists *v, const char *label, loci_error *err)
{
    if (v->pre == NULL || (strcmp(v->pre, "deepseek-v3") != 0 && strcmp(v->pre, "joyai-llm") != 0))
        return loci_fail(err, LOCI_EVERSION,
                         "%s: pre-tokenizer \"%.40s\", supported are deepseek-v3 and joyai-llm",
                         label, v->pre != NULL ? v->pre : "");
    if (v->n_tokens < LOCI_TOK_ALPHABET || v->n_tokens > LOCI_TOK_IDS_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu tokens, supported are %d..%d", label,
                         v->n_tokens, LOCI_TOK_ALPHABET, LOCI_TOK_IDS_MAX);
    if (v->n_merges > LOCI_TOK_MERGES_MAX)
        return loci_fail(err, LOCI_EFORMAT, "%s: %zu merges, at most %d are supported", label,
                         v->n_merges, LOCI_TOK_MERGES_MAX);
    for (size_t id = 0; id < v->n_tokens; id++)
        if (v->kind[id] > LOCI_TOKEN_UNUSED)
            return loci_fail(err, LOCI_EFORMAT, "%s: token %zu is of kind %d", label, id,
                             v->kind[id]);
    return LOCI_OK;
}

static loci_status read_merges(const loci_vocab_lists *v, const loci_bytes_map *tokens,
                               loci_merge *merges, const char *label, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (size_t i = 0; i < v->n_merges && st == LOCI_OK; i++) {
        loci_string part[2] = { { NULL, 0 }, { NULL, 0 } };
        if (!loci_merge_parts(v->merges[i], part))
            return loci_fail(err, LOCI_EFORMAT, "%s: merge %zu has no blank", label, i);
        st = loci_merge_from_text(&merges[i], tokens, part, i, label, err);
    }
    return st;
}

static loci_status open_splitter(loci_splitter **out, const char *label, loci_error *err)
{
    loci_string pattern[N_PATTERNS];
    for (size_t i = 0; i < N_PATTERNS; i++)
        pattern[i] = (loci_string){ deepseek_pattern[i], strlen(deepseek_pattern[i]) };
    return loci_splitter_open(out, pattern, N_PATTERNS, label, err);
}

loci_status loci_tokenizer_from_lists(loci_tokenizer **out, const loci_vocab_lists *lists,
                                      const char *label, loci_error *err)
{
    *out = NULL;
    loci_status st = check_lists(lists, label, err);
    if (st != LOCI_OK) return st;
    loci_bytes_map tokens = { 0 };
    loci_splitter *split = NULL;
    loci_merge *merges = malloc((lists->n_merges + 1) * sizeof *merges);
    if (merges == NULL)
        return loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu merges", label, lists->n_merges);
    st = loci_tokens_from_text(&tokens, lists->tokens, lists->kind, lists->n_tokens, label, err);
    if (st == LOCI_OK) st = read_merges(lists, &tokens, merges, label, err);
    if (st == LOCI_OK) st = open_splitter(&split, label, err);
    if (st == LOCI_OK)
        st = loci_tokenizer_build(out, &tokens, lists->kind, merges, lists->n_merges, label, err);
    if (st == LOCI_OK)
        (*out)->split = split;
    else
        loci_splitter_close(split);
    loci_bytes_map_free(&tokens);
    free(merges);
    return st;
}
