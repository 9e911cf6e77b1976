/* values.c - what facts say: numbers, words, hex strings, dates, amounts, passages.
 *
 * Words come from the half that was asked for.  Digits have no halves: nothing can be learned
 * about a random number. */
#include "task/task_impl.h"

static const char *const months[] = { "January",   "February", "March",    "April",
                                      "May",       "June",     "July",     "August",
                                      "September", "October",  "November", "December" };

/* Shares in percent, in the order of the enum. */
static const uint32_t share[] = { 40, 20, 8, 12, 8, 12 };
_Static_assert(sizeof share / sizeof *share == LOCI_VALUE_PASSAGE,
               "a share for each kind but passages");

loci_value_kind loci_value_draw_kind(loci_rng *rng)
{
    uint32_t r = loci_rng_below(rng, 100);
    int kind = 0;
    while (r >= share[kind]) r -= share[kind++];
    return (loci_value_kind)kind;
}

static void add_word(loci_line *line, loci_word_class c, loci_rng *rng, loci_split split)
{
    loci_line_add(line, loci_word(c, loci_word_draw(c, rng, split)));
}

static void write_digits(loci_line *line, loci_rng *rng)
{
    const bool seven = loci_rng_below(rng, 4) == 0;
    loci_line_number(line, seven ? 1000000 + loci_rng_below(rng, 9000000)
                                 : 100000 + loci_rng_below(rng, 900000));
}

/* Days to 28: every month has them. */
static void write_date(loci_line *line, loci_rng *rng)
{
    loci_line_number(line, 1 + loci_rng_below(rng, 28));
    loci_line_char(line, ' ');
    loci_line_add(line, months[loci_rng_below(rng, 12)]);
    loci_line_char(line, ' ');
    loci_line_number(line, 1950 + loci_rng_below(rng, 100));
}

/* 1,000 .. 999,999 with a comma between the thousands. */
static void write_amount(loci_line *line, loci_rng *rng)
{
    const uint32_t n = 1000 + loci_rng_below(rng, 999000), low = n % 1000;
    loci_line_number(line, n / 1000);
    loci_line_char(line, ',');
    if (low < 100) loci_line_char(line, '0');
    if (low < 10) loci_line_char(line, '0');
    loci_line_number(line, low);
    loci_line_add(line, " euros");
}

static void write_passage(loci_line *line, loci_rng *rng, loci_split split)
{
    const uint32_t n = 4 + loci_rng_below(rng, 9);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) loci_line_char(line, ' ');
        add_word(line, (loci_word_class)loci_rng_below(rng, LOCI_WORD_CLASSES), rng, split);
    }
}

void loci_value_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split split)
{
    switch (kind) {
    case LOCI_VALUE_DIGITS: write_digits(line, rng); break;
    case LOCI_VALUE_WORDS:
        add_word(line, LOCI_WORD_ADJECTIVE, rng, split);
        loci_line_char(line, '-');
        add_word(line, LOCI_WORD_NOUN, rng, split);
        break;
    case LOCI_VALUE_WORD: add_word(line, LOCI_WORD_NOUN, rng, split); break;
    case LOCI_VALUE_HEX: loci_line_hex(line, loci_rng_u64(rng), 16); break;
    case LOCI_VALUE_DATE: write_date(line, rng); break;
    case LOCI_VALUE_AMOUNT: write_amount(line, rng); break;
    default: write_passage(line, rng, split); break;
    }
}
