/* Goal: stories and extracts have the answers that they say they have.  Method: stories are told to
 * an interpreter of this file's own, sentence by sentence; extracts are looked up in the text with
 * the words that the question quotes. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "frame_test.h"
#include "items.h"
#include "loci/loci.h"

/* ---- stories -------------------------------------------------------------------------------- */

enum { NAMES = 12, STOPS = 400, NAME = 32 };
typedef struct {
    char who[NAMES][NAME], what[NAMES][NAME];
    char at[NAMES][NAME];           /* where each of them is, "" unknown */
    int holder[NAMES];              /* of a thing, -1 nobody */
    int mover[NAMES];               /* who took or dropped it last */
    char trail[NAMES][STOPS][NAME]; /* places of a thing, in order */
    int n_who, n_what, n_trail[NAMES];
} teller;

static int find(char list[NAMES][NAME], int *n, const char *name)
{
    for (int i = 0; i < *n; i++)
        if (strcmp(list[i], name) == 0) return i;
    assert_true(*n < NAMES && strlen(name) < NAME);
    strcpy(list[*n], name);
    return (*n)++;
}

typedef struct {
    int words;        /* of a thing or place: "mill", "old mill" */
    char *who, *what; /* (64) the name at {k}, the thing or place at {v} */
} said;

static size_t name_at(void *ctx, char place, const char *text)
{
    const said *x = ctx;
    const bool name = place == 'k';
    char *out = name ? x->who : x->what;
    size_t n = strspn(text, LETTERS);
    for (int i = 1; !name && i < x->words && n > 0; i++) {
        const size_t more = text[n] == ' ' ? strspn(text + n + 1, LETTERS) : 0;
        if (more == 0) return 0;
        n += 1 + more;
    }
    if (n == 0 || n > 63) return 0;
    memcpy(out, text, n);
    out[n] = '\0';
    return n;
}

/* Which kind of sentence it is, its place or thing of so many words: none may be of two kinds. */
static loci_say kind_with(int words, const char *text, char who[64], char what[64])
{
    loci_say kind = LOCI_SAY_NOTHING;
    char small[256];
    snprintf(small, sizeof small, "%s", text);
    if (small[0] >= 'A' && small[0] <= 'Z') small[0] = (char)(small[0] - 'A' + 'a');
    for (int say = LOCI_SAY_MOVE; say <= LOCI_SAY_DROP; say++) {
        const loci_frames f =
            loci_speech_of((loci_say)say, LOCI_SPLIT_TRAIN).part[LOCI_WORDING_BODY];
        bool is = false;
        for (int i = 0; i < loci_frames_count(&f) && !is; i++) {
            const char *frame = loci_frames_at(&f, i);
            char name[64] = "", word[64] = ""; /* written to by frames that fail, too */
            said x = { words, name, word };
            is = frame_expands(frame, loci_is_place(frame) ? text : small, name_at, &x);
            if (is) strcpy(who, name), strcpy(what, word);
        }
        if (is && kind != LOCI_SAY_NOTHING) fail_msg("'%s' is of two kinds", text);
        if (is) kind = (loci_say)say;
    }
    return kind;
}

static loci_say kind_of(const char *text, char who[64], char what[64])
{
    loci_say kind = LOCI_SAY_NOTHING;
    for (int words = 1; kind == LOCI_SAY_NOTHING && words <= 2; words++)
        kind = kind_with(words, text, who, what);
    if (kind == LOCI_SAY_NOTHING) fail_msg("'%s' is of no kind", text);
    return kind;
}

static void tell(teller *t, const char *text)
{
    char who[64] = "", what[64] = "";
    const loci_say kind = kind_of(text, who, what);
    const int w = find(t->who, &t->n_who, who);
    if (kind == LOCI_SAY_MOVE) {
        strcpy(t->at[w], what);
        for (int i = 0; i < t->n_what; i++)
            if (t->holder[i] == w) strcpy(t->trail[i][t->n_trail[i]++], what);
        return;
    }
    const int before = t->n_what, i = find(t->what, &t->n_what, what);
    if (i == before) t->holder[i] = -1;
    if (kind == LOCI_SAY_GET) {
        assert_int_equal(t->holder[i], -1);
        assert_true(t->at[w][0] != '\0');
        if (t->n_trail[i] > 0) assert_string_equal(t->trail[i][t->n_trail[i] - 1], t->at[w]);
        if (t->n_trail[i] == 0) strcpy(t->trail[i][t->n_trail[i]++], t->at[w]);
        t->holder[i] = w;
    } else { /* dropped */
        assert_int_equal(t->holder[i], w);
        t->holder[i] = -1;
    }
    t->mover[i] = w;
}

/* What the teller says to a question of training's wordings: to one about a thing in steps. */
static const char *answer(const teller *t, loci_task_family f, const char *question)
{
    if (f == LOCI_TASK_QA1) {
        for (int i = 0; i < t->n_who; i++)
            if (holds(question, t->who[i])) return t->at[i];
        return "";
    }
    for (int i = 0; i < t->n_what; i++) {
        if (!holds(question, t->what[i])) continue;
        static char way[3 * NAME];
        const char *who = t->who[t->mover[i]];
        int k = t->n_trail[i] - 1;
        if (f == LOCI_TASK_QA2) {
            snprintf(way, sizeof way, "%s, %s", who, t->trail[i][k]);
            return way;
        }
        while (k > 0 && !holds(question, t->trail[i][k])) k--;
        if (k == 0) return "";
        snprintf(way, sizeof way, "%s, %s, %s", who, t->trail[i][k], t->trail[i][k - 1]);
        return way;
    }
    return "";
}

/* The gold facts in order: who took or dropped the thing asked for, then moves to the places of the
 * answer; the first of them, where the thing is, that person's own. */
static void check_gold(const loci_task_item *item, const loci_question *q, loci_task_family f)
{
    char part[3][64] = { "" }, who[64] = "", what[64] = "";
    const int n = sscanf(q->answer, "%63[^,], %63[^,], %63[^,]", part[0], part[1], part[2]);
    assert_int_equal(n, q->n_gold);
    assert_int_equal(n, f - LOCI_TASK_QA1 + 1);
    for (int j = 0; j < n; j++) {
        const loci_say kind = kind_of(item->fact[q->gold[j]].text, who, what);
        if (f != LOCI_TASK_QA1 && j == 0) {
            assert_true(kind == LOCI_SAY_GET || kind == LOCI_SAY_DROP);
            assert_string_equal(who, part[0]);
            assert_true(holds(q->question, what));
            continue;
        }
        assert_int_equal(kind, LOCI_SAY_MOVE);
        assert_string_equal(what, part[j]);
        if (f == LOCI_TASK_QA1) assert_true(holds(q->question, who));
        if (f == LOCI_TASK_QA2) assert_string_equal(who, part[0]);
    }
}

static void test_stories_end_as_told(void **state)
{
    (void)state;
    int asked = 0;
    static teller t;
    for (int f = LOCI_TASK_QA1; f <= LOCI_TASK_QA3; f++)
        for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
            loci_task_options o =
                options((loci_task_family)f, LOCI_SPLIT_TRAIN, 1 + (int)seed % 90, 1, seed);
            o.n_questions = o.n_facts < 6 ? o.n_facts : 6;
            loci_task_item item = make(&o);
            memset(&t, 0, sizeof t);
            for (int i = 0; i < item.n_facts; i++) {
                tell(&t, item.fact[i].text);
                assert_int_equal(item.fact[i].group, 0);
            }
            for (int i = 0; i < item.n_questions; i++) {
                const loci_question *q = &item.question[i];
                if (strcmp(answer(&t, (loci_task_family)f, q->question), q->answer) != 0)
                    fail_msg("seed %d: '%s': %s, told %s", (int)seed, q->question, q->answer,
                             answer(&t, (loci_task_family)f, q->question));
                check_gold(&item, q, (loci_task_family)f);
                asked++;
            }
            loci_task_free(&item);
        }
    assert_true(asked > 12 * SEEDS);
}

/* Training has far more names than its tables, bAbI's own in half of the stories at least, and none
 * of the test half's. */
static void test_stories_have_many_names(void **state)
{
    (void)state;
    static const char *const own[] = { "Mary", "John", "Daniel", "Sandra" };
    static const char *const test[] = { "Agnes", "Boris",  "Walter", "attic", "stable", "chapel",
                                        "foyer", "violin", "scarf",  "lamp",  "map",    "coin" };
    static char page[20000], met[100][NAME];
    int n_met = 0, n_own = 0;
    loci_task_filler(5, sizeof page / 2, page, sizeof page);
    for (size_t n = strlen(page); n + 64 < sizeof page; n = strlen(page))
        strcat(page, " an attic lamp, a foyer map, a coin of the violin, and walter");
    for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
        loci_task_options o = options(LOCI_TASK_QA2, LOCI_SPLIT_TRAIN, 40, 1, seed);
        o.wordings = LOCI_SPLIT_TEST; /* no words of the text beside the sentences */
        o.text = page;
        o.text_bytes = strlen(page);
        loci_task_item item = make(&o);
        bool is_own = false;
        for (int i = 0; i < item.n_facts; i++)
            for (int j = 0; j < 12; j++) {
                const char *s = item.fact[i].text;
                if (holds(s, test[j])) fail_msg("seed %d: '%s'", (int)seed, s);
                is_own = is_own || (j < 4 && holds(s, own[j]));
            }
        n_own += is_own;
        char place[64] = "";
        assert_int_equal(sscanf(item.question[0].answer, "%*[^,], %31[^,]", place), 1);
        int k = 0;
        while (k < n_met && strcmp(met[k], place) != 0) k++;
        if (k == n_met && n_met < 100) strcpy(met[n_met++], place);
        loci_task_free(&item);
    }
    print_message("%d places, bAbI's people in %d of %d stories\n", n_met, n_own, 4 * SEEDS);
    assert_true(n_met > 3 * 12 && n_own > 2 * SEEDS * 8 / 10);
}

/* ---- extracts ----------------------------------------------------------------------------------- */

static char page[30000];

static int make_page(void **state)
{
    (void)state;
    size_t n = 0;
    for (int i = 0; n + 1000 < sizeof page; i++) {
        n += loci_task_filler((uint64_t)i, 500, page + n, 700);
        n +=
            (size_t)sprintf(page + n,
                            "\n#define SIZE_%d %d\nstatic int step_%d(int left, long *right%d)\n{\n"
                            "Author of %c%c: Person Number%d Smith\n",
                            i, 7 * i + 13, i, i, 'a' + i % 26, 'a' + i / 26, i);
    }
    return 0;
}

/* What the question puts between quotes, else its word with a '_' in it. */
static bool quoted(const char *question, char out[512])
{
    const char *a = strchr(question, '"'), *b = a ? strchr(a + 1, '"') : NULL;
    /* Some tails have an answer in quotes. */
    if (a && b && strncmp(a + 1, LOCI_NOT_STATED "\"", sizeof LOCI_NOT_STATED) != 0) {
        snprintf(out, 512, "%.*s", (int)(b - a - 1), a + 1);
        return true;
    }
    const char *line = strchr(question, '_');
    if (!line) return false;
    while (line > question && line[-1] != ' ') line--;
    snprintf(out, 512, "%.*s", (int)strspn(line, LETTERS "0123456789_"), line);
    return true;
}

static int times(const char *what)
{
    int n = 0;
    for (const char *at = page; (at = strstr(at, what)); at++) n++;
    return n;
}

static void check_extract(const loci_question *q, int kinds[4])
{
    char key[512], whole[1024];
    assert_true(quoted(q->question, key));
    char *gap = strstr(key, "___");
    if (q->absent) {
        assert_int_equal(times(key), 0);
        kinds[0]++;
    } else if (gap) { /* the answer closes the gap, and nothing else does */
        snprintf(whole, sizeof whole, "%.*s%s%s", (int)(gap - key), key, q->answer, gap + 3);
        assert_int_equal(times(whole), 1);
        kinds[1]++;
    } else if (strchr(key, '_') || strncmp(key, "Author of ", 10) == 0) {
        const char *at = strstr(page, key);
        assert_non_null(at);
        assert_true(strcspn(at, "\n") > strlen(key) + strlen(q->answer));
        assert_ptr_equal(strstr(at, q->answer), page + q->start);
        kinds[2]++;
    } else { /* beside the quoted words, and these stand there once */
        assert_int_equal(times(key), 1);
        snprintf(whole, sizeof whole, "%s %s", key, q->answer);
        const bool next = times(whole) == 1;
        snprintf(whole, sizeof whole, "%s %s", q->answer, key);
        assert_true(next || times(whole) == 1);
        kinds[3]++;
    }
}

static void test_extracts_stand_in_the_text(void **state)
{
    (void)state;
    int kinds[4] = { 0 };
    for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
        loci_task_options o =
            options(LOCI_TASK_EXTRACT, (loci_split)(seed % 2), 1, 1 + (int)seed % 12, seed);
        o.text = page;
        o.text_bytes = strlen(page);
        o.absent = 0.15f;
        loci_task_item item = make(&o);
        assert_int_equal(item.n_facts, 0);
        for (int i = 0; i < item.n_questions; i++) check_extract(&item.question[i], kinds);
        loci_task_free(&item);
    }
    print_message("absent %d, gaps %d, lines %d, beside %d\n", kinds[0], kinds[1], kinds[2],
                  kinds[3]);
    for (int i = 0; i < 4; i++) assert_true(kinds[i] > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories_end_as_told),
        cmocka_unit_test(test_stories_have_many_names),
        cmocka_unit_test(test_extracts_stand_in_the_text),
    };
    return cmocka_run_group_tests(tests, make_page, NULL);
}
