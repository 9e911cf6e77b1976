/* pool.c - strings of one task item: a line that is written, blocks that keep finished lines,
 * and a set that says whether a string was given out before. */
#include "task/task_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- line --------------------------------------------------------------- */

void loci_line_clear(loci_line *line)
{
    line->len = 0;
    line->s[0] = '\0';
}

void loci_line_add(loci_line *line, const char *text)
{
    const size_t n = strlen(text);
    assert(n < LOCI_LINE_MAX - line->len);
    memcpy(line->s + line->len, text, n + 1);
    line->len += n;
}

void loci_line_char(loci_line *line, char c)
{
    assert(line->len + 1 < LOCI_LINE_MAX);
    line->s[line->len++] = c;
    line->s[line->len] = '\0';
}

void loci_line_number(loci_line *line, uint32_t n)
{
    char digit[11];
    int i = (int)sizeof digit;
    digit[--i] = '\0';
    do {
        digit[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    loci_line_add(line, digit + i);
}

void loci_line_hex(loci_line *line, uint64_t n, int digits)
{
    for (int i = digits - 1; i >= 0; i--)
        loci_line_char(line, "0123456789abcdef"[n >> (4 * i) & 15]);
}

bool loci_is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- pool ---------------------------------------------------------------- */

/* Big enough that a usual item takes one block, small enough to waste little. */
enum { BLOCK_BYTES = 32 * 1024 };

struct loci_string_block {
    loci_string_block *next;
    size_t used;
    char bytes[BLOCK_BYTES];
};
_Static_assert((int)LOCI_LINE_MAX <= (int)BLOCK_BYTES, "every line fits an empty block");

const char *loci_pool_keep(loci_string_pool *pool, const loci_line *line)
{
    loci_string_block *b = pool->head;
    if (b == NULL || line->len + 1 > BLOCK_BYTES - b->used) {
        b = malloc(sizeof *b);
        if (b == NULL) {
            pool->failed = true;
            return "";
        }
        b->next = pool->head;
        b->used = 0;
        pool->head = b;
    }
    char *s = b->bytes + b->used;
    memcpy(s, line->s, line->len + 1);
    b->used += line->len + 1;
    return s;
}

void loci_pool_release(loci_string_block *head)
{
    while (head != NULL) {
        loci_string_block *next = head->next;
        free(head);
        head = next;
    }
}

/* ---- set ------------------------------------------------------------------ */

uint64_t loci_string_hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    /* FNV's low bits depend on the low bits of the text only: fold the high ones in. */
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

bool loci_set_open(loci_string_set *set, size_t n_max)
{
    size_t slots = 16;
    while (slots < 2 * n_max)
        slots *= 2; /* n_max is some times LOCI_TASK_MAX_FACTS: cannot overflow */
    set->mask = slots - 1;
    set->slot = calloc(slots, sizeof *set->slot);
    return set->slot != NULL;
}

bool loci_set_add(loci_string_set *set, const char *s)
{
    uint64_t h = loci_string_hash(s);
    if (h == 0) h = 1; /* 0 marks a free slot */
    size_t i = (size_t)h & set->mask;
    for (; set->slot[i] != 0; i = (i + 1) & set->mask)
        if (set->slot[i] == h) return false;
    set->slot[i] = h;
    return true;
}

void loci_set_close(loci_string_set *set)
{
    free(set->slot);
    set->slot = NULL;
}
