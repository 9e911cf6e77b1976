/* test_steps.c - answers in steps.
 *
 * Goal: each step of a chain's or a story's answer is copied from the fact that says it, and from no
 * other place that has the same letters.  Method: many seeds; what stands around the row that a step is
 * copied from is read back: the fact names what was asked about, or the step before. */
#include "train/item.h"
#include "item_test.h"

/* The text up to `near` tokens around token t of document 0. */
static void text_around(const loci_sequence *s, int t, int near, char *out, size_t cap)
{
    const int from = t - near > 1 ? t - near : 1; /* <bos> */
    const int end = t + near < s->doc[1] ? t + near : s->doc[1];
    decode(s->ids + from, end - from, out, cap);
}

static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Does `text` hold the whole word? */
static bool holds_word(const char *text, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = strstr(text, word); n > 0 && at; at = strstr(at + 1, word))
        if ((at == text || !in_word(at[-1])) && !in_word(at[n])) return true;
    return false;
}

static bool is_mark(const char *word)
{
    return word[0] >= 'A' && word[0] <= 'Z' && strpbrk(word, "123456789") != NULL;
}

/* Does a word stand in both texts that is a mark or, of a story, a small one which names a thing:
 * of three letters and more, none of the place asked about, and none that any question may have? */
static bool shares(const char *question, const char *text, bool story, const char *place)
{
    static const char *const common[] = { "the",  "was",  "were", "where", "before",
                                          "that", "then", "and",  "now",   NULL };
    for (const char *c = question; *c; c++) {
        char word[32];
        size_t n = 0;
        while (in_word(c[n])) n++;
        if (n == 0) continue;
        if (n < sizeof word) {
            memcpy(word, c, n);
            word[n] = '\0';
            bool key = story ? n > 2 && word[0] >= 'a' && !holds_word(place, word) : is_mark(word);
            for (int i = 0; story && common[i]; i++) key = key && strcmp(word, common[i]) != 0;
            if (key && holds_word(text, word)) return true;
        }
        c += n - 1;
    }
    return false;
}

typedef struct
{ /* a step of an answer: text, the row it is copied from (-1: none), its comma's chunk */
    char text[32];
    int row, comma;
} answer_step;

/* The steps of the answer behind <a> at token t; *end = its last token. */
static int read_steps(const loci_sequence *s, int t, answer_step step[8], int *end)
{
    const int32_t comma = comma_id();
    int n = 0, from = t, chunk = -1;
    for (int p = t;; p++) { /* token p says token p + 1 */
        assert_true(p < s->T && n < 8);
        answer_step *x = &step[n];
        if (p == from) *x = (answer_step){ .row = -1, .comma = chunk };
        if (s->target[p] != comma && s->target[p] != LOCI_TOK_E) {
            if (x->row < 0) x->row = s->source[p];
            continue;
        }
        decode(s->ids + from + 1, p - from, x->text, sizeof x->text);
        if (x->text[0] == ' ') memmove(x->text, x->text + 1, strlen(x->text));
        n++;
        *end = p;
        if (s->target[p] == LOCI_TOK_E) return n;
        chunk = s->gold[p];
        from = p + 1;
    }
}

/* What stands around the row that step i is copied from belongs to the fact that says it. */
static bool step_is_told(loci_task_family f, const char *question, const answer_step *step, int i,
                         const char *around)
{
    if (!holds_word(around, step[i].text)) return false;
    if (i == 0)
        return shares(question, around, f == LOCI_TASK_QA2 || f == LOCI_TASK_QA3,
                      f == LOCI_TASK_QA3 ? step[1].text : "");
    if (f == LOCI_TASK_QA3) return i == 2 || holds_word(question, step[i].text);
    return holds_word(around, step[i - 1].text);
}

typedef struct {
    int answers, steps, copied, walked;
} step_counts;

/* The question that ends before <a> at token t. */
static void check_steps(const loci_sequence *s, int t, loci_task_family f, int chunk,
                        step_counts *count)
{
    static char question[8 * SEQ], around[8 * SEQ];
    /* Assignments are shorter than sentences of stories, where a few words of the text may stand. */
    const int near = f == LOCI_TASK_VARIABLE ? 40 : 56;
    answer_step step[8];
    int q = t, end;
    while (s->ids[q] != LOCI_TOK_Q) q--;
    decode(s->ids + q + 1, t - q - 1, question, sizeof question);
    const int n = read_steps(s, t, step, &end);
    assert_in_range(n, 2, 6);
    for (int i = 0; i < n; i++) {
        count->steps++;
        if (step[i].row < 0) continue; /* it shares a token with its neighbours in the text */
        text_around(s, step[i].row, near, around, sizeof around);
        if (!step_is_told(f, question, step, i, around))
            fail_msg("%s: '%s', step %d: '%s' is not told by '%s'", loci_task_name(f), question, i,
                     step[i].text, around);
        if (step[i].comma >= 0) assert_int_equal(step[i].comma, step[i].row / chunk);
        count->copied++;
    }
    /* The question's last token reads the statement that the answer begins with. */
    if (s->gold[t - 1] >= 0 && step[0].row >= 0) {
        const int apart = s->gold[t - 1] - step[0].row / chunk;
        assert_in_range(apart + 1, 0, 2); /* a fact may lie in two chunks */
        count->walked++;
    }
    count->answers++;
}

/* Each step of an answer has the row and the chunk of the fact that says it, and the question walks
 * there before. */
static void test_steps_are_those_of_their_facts(void **state)
{
    (void)state;
    static const loci_task_family families[] = { LOCI_TASK_VARIABLE, LOCI_TASK_QA2, LOCI_TASK_QA3 };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        fixture x;
        step_counts n = { 0 };
        fixture_open(&x, families[i], 0.5, 1.0);
        for (uint64_t seed = 0; seed < 3 * SEEDS; seed++) {
            const loci_sequence *s = make(&x, seed);
            for (int t = 1; t < s->T; t++)
                if (s->ids[t] == LOCI_TOK_A) check_steps(s, t, families[i], x.c.hp.chunk, &n);
        }
        print_message("%s: %d answers of %d steps, %d copied; %d questions walk there\n",
                      loci_task_name(families[i]), n.answers, n.steps, n.copied, n.walked);
        assert_true(n.answers > SEEDS && n.copied > n.steps * 5 / 6 && n.walked > n.answers / 2);
        fixture_close(&x);
    }
}

/* The last place, but none within a word or a number. */
static void test_places_of_values(void **state)
{
    (void)state;
    static const struct {
        const char *fact, *value;
        size_t at;
    } known[] = {
        { "VAR QX41 = 786.", "786", 11 },
        { "store QX4 in QX41.", "QX4", 6 },
        { "EQX4 is a copy of QX4.", "QX4", 18 },
        { "store 123 in user 41123.", "123", 6 },
        { "the fee of A is 1,234 euros.", "1,234 euros", 16 },
        { "Mary took the milk.", "Mary", 0 },
        { "the milk was taken by Mary.", "Mary", 22 },
        { "garden, says the sign: garden.", "garden", 23 }, /* twice: the last */
        { "gardens.", "garden", 0 },                        /* only within a word */
        { "x", "longer than it", 0 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(loci_item_last_place(known[i].fact, strlen(known[i].fact), known[i].value,
                                              strlen(known[i].value)),
                         known[i].at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_of_values),
        cmocka_unit_test(test_steps_are_those_of_their_facts),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
