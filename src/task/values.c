/* values.c - what facts say: numbers, words, hex strings, dates, amounts, people, codes, passages.
 *
 * Words of the train half come from an open vocabulary: table words, table words with a letter
 * changed, made-up ones, words of the text that the maker was given.  A model trained on the tables
 * alone spells what it read as the nearest word that it knows ("spiral-brid", "ladger") instead of
 * copying it.  Digits have no halves: nothing can be learned about a random number. */
#include "task/task_impl.h"

#include <string.h>

static const char *const months[] = { "January",   "February", "March",    "April",
                                      "May",       "June",     "July",     "August",
                                      "September", "October",  "November", "December" };

/* Shares in percent, in the order of the enum.  Training has more words: they are what is copied worst,
 * since nothing in a word says where it ends. */
static const uint32_t test_share[] = { 32, 18, 14, 12, 6, 6, 4, 5, 3 },
                      train_share[] = { 22, 24, 20, 12, 6, 5, 5, 4, 2 };
_Static_assert(sizeof test_share == sizeof train_share &&
                   sizeof test_share / sizeof *test_share == LOCI_VALUE_PASSAGE,
               "a share for each kind but passages");

enum { WORD_LEAST = 3, WORD_MOST = 12, TRIES = 12, PASSAGE_BYTES = 160 };

loci_value_kind loci_value_draw_kind(loci_rng *rng, loci_split split)
{
    const uint32_t *share = split == LOCI_SPLIT_TRAIN ? train_share : test_share;
    uint32_t r = loci_rng_below(rng, 100);
    int kind = 0;
    while (r >= share[kind]) r -= share[kind++];
    return (loci_value_kind)kind;
}

/* ---- words -------------------------------------------------------------------------- */

/* A lower-case word of the text from a random place; false if none was met. */
static bool text_word(char word[WORD_MOST + 1], const loci_lexicon *lex, loci_rng *rng)
{
    if (lex->bytes < 64) return false;
    for (int t = 0; t < TRIES; t++) {
        size_t i = loci_rng_below(rng, (uint32_t)(lex->bytes - 40));
        while (i + 1 < lex->bytes && lex->text[i] != ' ') i++;
        size_t n = 0;
        while (++i < lex->bytes && loci_is_small(lex->text[i]) && n <= WORD_MOST)
            if (n++ < WORD_MOST) word[n - 1] = lex->text[i];
        const bool ends = i < lex->bytes && memchr(" .,;\n", lex->text[i], 5) != NULL;
        if (n < WORD_LEAST || n > WORD_MOST || !ends) continue;
        word[n] = '\0';
        if (!loci_word_is_test(word)) return true;
    }
    return false;
}

/* A table word with one letter changed, dropped or doubled. */
static void bent_word(char word[LOCI_NAME_MAX], loci_rng *rng)
{
    do {
        const loci_word_class c = (loci_word_class)loci_rng_below(rng, LOCI_WORD_CLASSES);
        const char *w = loci_word(c, loci_word_draw(c, rng, LOCI_SPLIT_TRAIN));
        const size_t n = strlen(w), i = loci_rng_below(rng, (uint32_t)n);
        memcpy(word, w, n + 1);
        switch (loci_rng_below(rng, 3)) {
        case 0: word[i] = (char)('a' + loci_rng_below(rng, 26)); break;
        case 1: memmove(word + i, w + i + 1, n - i); break;
        default: memmove(word + i + 1, w + i, n - i + 1); break;
        }
    } while (loci_word_is_test(word));
}

static void add_word(loci_line *line, loci_word_class c, loci_rng *rng, loci_split split,
                     const loci_lexicon *lex)
{
    char word[LOCI_NAME_MAX];
    const uint32_t r = split == LOCI_SPLIT_TEST ? 100 : loci_rng_below(rng, 100);
    if (r < 52 && text_word(word, lex, rng)) {
        loci_line_add(line, word);
    } else if (r < 66) {
        bent_word(word, rng);
        loci_line_add(line, word);
    } else if (r < 76) {
        do loci_name_draw(word, rng, split);
        while (loci_word_is_test(word));
        loci_line_add(line, word);
    } else {
        loci_line_add(line, loci_word(c, loci_word_draw(c, rng, split)));
    }
}

/* No "s" at the end, for attributes have a plural, and no "the" and "and". */
void loci_open_word_write(loci_line *line, loci_rng *rng, const loci_lexicon *lex)
{
    char word[LOCI_NAME_MAX];
    do {
        const uint32_t r = loci_rng_below(rng, 20);
        if (r >= 12 || !text_word(word, lex, rng)) {
            if (r < 17)
                loci_name_draw(word, rng, LOCI_SPLIT_TRAIN);
            else
                bent_word(word, rng);
        }
    } while (strlen(word) < 4 || word[strlen(word) - 1] == 's' || loci_word_is_test(word));
    loci_line_add(line, word);
}

bool loci_phrase_write(loci_line *line, int n, loci_rng *rng, const loci_lexicon *lex)
{
    if (lex->bytes < 512) return false;
    const size_t start = line->len;
    for (int t = 0; t < TRIES; t++) {
        size_t i = loci_rng_below(rng, (uint32_t)(lex->bytes - 400));
        const size_t stop = i + 200;
        while (i < stop && lex->text[i] != ' ') i++;
        int words = 0;
        while (words < n && i < stop && (lex->text[i] == ' ' || lex->text[i] == '\n')) {
            const size_t from = ++i;
            while (i < stop && loci_is_small(lex->text[i])) i++;
            if (i == from) break;
            if (words++ > 0) loci_line_char(line, ' ');
            for (size_t k = from; k < i; k++) loci_line_char(line, lex->text[k]);
        }
        if (words == n && !loci_is_small(lex->text[i])) return true;
        line->len = start;
        line->s[start] = '\0';
    }
    return false;
}

static void write_words(loci_line *line, loci_rng *rng, loci_split split, const loci_lexicon *lex)
{
    static const char joint[] = "----    _.";
    const bool test = split == LOCI_SPLIT_TEST;
    const char by = test ? '-' : joint[loci_rng_below(rng, sizeof joint - 1)];
    const bool third = !test && loci_rng_below(rng, 5) == 0;
    add_word(line, LOCI_WORD_ADJECTIVE, rng, split, lex);
    loci_line_char(line, by);
    add_word(line, LOCI_WORD_NOUN, rng, split, lex);
    if (!third) return;
    loci_line_char(line, by);
    add_word(line, LOCI_WORD_NOUN, rng, split, lex);
}

/* ---- numbers ---------------------------------------------------------------------------- */

/* Test values have the shapes that figures were measured with: 6 or 7 digits, 16 hex digits. */
static void write_digits(loci_line *line, loci_rng *rng, loci_split split)
{
    uint32_t n = 6 + (loci_rng_below(rng, 4) == 0);
    if (split == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 2) == 0) n = 3 + loci_rng_below(rng, 8);
    loci_line_char(line, (char)('1' + loci_rng_below(rng, 9)));
    while (--n > 0) loci_line_char(line, (char)('0' + loci_rng_below(rng, 10)));
}

static void write_hex(loci_line *line, loci_rng *rng, loci_split split)
{
    static const int length[] = { 16, 16, 16, 8, 12, 24, 32 };
    const int n = split == LOCI_SPLIT_TEST ? 16 : length[loci_rng_below(rng, 7)];
    for (int left = n; left > 0; left -= 16)
        loci_line_hex(line, loci_rng_u64(rng), left < 16 ? left : 16);
}

/* Days to 28: every month has them. */
static void write_date(loci_line *line, loci_rng *rng, loci_split split)
{
    const uint32_t day = 1 + loci_rng_below(rng, 28), month = loci_rng_below(rng, 12);
    const uint32_t year = 1950 + loci_rng_below(rng, 100);
    if (split == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 3) == 0) { /* 2031-03-14 */
        const uint32_t n[3] = { year, month + 1, day };
        for (int i = 0; i < 3; i++) {
            if (i > 0) loci_line_char(line, '-');
            if (n[i] < 10) loci_line_char(line, '0');
            loci_line_number(line, n[i]);
        }
        return;
    }
    loci_line_number(line, day);
    loci_line_char(line, ' ');
    loci_line_add(line, months[month]);
    loci_line_char(line, ' ');
    loci_line_number(line, year);
}

/* 1,000 .. 999,999 with a comma between the thousands. */
static void write_amount(loci_line *line, loci_rng *rng, loci_split split)
{
    static const char *const money[] = { " euros", " dollars", " crowns", " pounds", " francs" };
    const uint32_t n = 1000 + loci_rng_below(rng, 999000), low = n % 1000;
    loci_line_number(line, n / 1000);
    loci_line_char(line, ',');
    if (low < 100) loci_line_char(line, '0');
    if (low < 10) loci_line_char(line, '0');
    loci_line_number(line, low);
    loci_line_add(line, money[split == LOCI_SPLIT_TEST ? 0 : loci_rng_below(rng, 5)]);
}

/* KX-4821, 220-QB-7: two or three groups of letters or digits, of the half by hash. */
static void write_code(loci_line *line, loci_rng *rng, loci_split split)
{
    char code[16];
    do {
        int n = 0;
        const int groups = 2 + (int)loci_rng_below(rng, 2);
        bool letters = loci_rng_below(rng, 2) == 0;
        for (int g = 0; g < groups; g++, letters = !letters) {
            if (g > 0) code[n++] = '-';
            for (uint32_t k = 1 + loci_rng_below(rng, 4); k > 0; k--)
                code[n++] = letters ? (char)('A' + loci_rng_below(rng, 26))
                                    : (char)('0' + loci_rng_below(rng, 10));
        }
        code[n] = '\0';
    } while (strlen(code) < 5 || loci_name_split(code) != split);
    loci_line_add(line, code);
}

static void write_time(loci_line *line, loci_rng *rng)
{
    const uint32_t minute = loci_rng_below(rng, 60);
    loci_line_number(line, loci_rng_below(rng, 24));
    loci_line_char(line, ':');
    if (minute < 10) loci_line_char(line, '0');
    loci_line_number(line, minute);
}

/* ---- passages ------------------------------------------------------------------------------ */

/* n words of the text as they stand, blanks between them single; false if none were met.  No end of a
 * sentence within: where such a passage ends could not be told. */
static bool text_passage(loci_line *line, uint32_t n, const loci_lexicon *lex, loci_rng *rng)
{
    if (lex->bytes < 512) return false;
    const size_t start = line->len;
    for (int t = 0; t < TRIES; t++) {
        size_t i = loci_rng_below(rng, (uint32_t)(lex->bytes - 400));
        while (i < lex->bytes - 320 && lex->text[i] != ' ') i++;
        while (lex->text[i] == ' ') i++;
        uint32_t words = 1;
        bool good = lex->text[i] >= 'A' && lex->text[i] != '\\';
        for (; good && i < lex->bytes; i++) {
            const unsigned char c = (unsigned char)lex->text[i];
            if (line->len - start > PASSAGE_BYTES || (c < ' ' && c != '\n') || c >= 127 ||
                strchr("\".!?:;", (char)c))
                good = false;
            else if (c > ' ')
                loci_line_char(line, (char)c);
            else if (line->s[line->len - 1] == ' ')
                continue;
            else if (words++ == n)
                break;
            else
                loci_line_char(line, ' ');
        }
        while (line->len > start && !loci_is_word_byte(line->s[line->len - 1])) line->len--;
        line->s[line->len] = '\0';
        if (good && line->len > start + 2) return true;
        line->len = start;
        line->s[start] = '\0';
    }
    return false;
}

static void write_passage(loci_line *line, loci_rng *rng, loci_split split, const loci_lexicon *lex)
{
    /* In training half of them short: what is learned on three words serves for twelve. */
    const uint32_t n = split == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 2) == 0
                           ? 1 + loci_rng_below(rng, 4)
                           : 4 + loci_rng_below(rng, 9);
    if (split == LOCI_SPLIT_TRAIN && loci_rng_below(rng, 3) != 0 && text_passage(line, n, lex, rng))
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) loci_line_char(line, ' ');
        add_word(line, (loci_word_class)loci_rng_below(rng, LOCI_WORD_CLASSES), rng, split, lex);
    }
}

void loci_value_write(loci_line *line, loci_value_kind kind, loci_rng *rng, loci_split split,
                      const loci_lexicon *lex)
{
    switch (kind) {
    case LOCI_VALUE_DIGITS: write_digits(line, rng, split); break;
    case LOCI_VALUE_WORDS: write_words(line, rng, split, lex); break;
    case LOCI_VALUE_WORD: add_word(line, LOCI_WORD_NOUN, rng, split, lex); break;
    case LOCI_VALUE_HEX: write_hex(line, rng, split); break;
    case LOCI_VALUE_DATE: write_date(line, rng, split); break;
    case LOCI_VALUE_AMOUNT: write_amount(line, rng, split); break;
    case LOCI_VALUE_PERSON: loci_person_write(line, rng, split); break;
    case LOCI_VALUE_CODE: write_code(line, rng, split); break;
    case LOCI_VALUE_TIME: write_time(line, rng); break;
    default: write_passage(line, rng, split, lex); break;
    }
}
