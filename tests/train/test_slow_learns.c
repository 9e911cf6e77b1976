/* test_slow_learns.c - the whole chain learns.
 *
 * Goal: with the config that is meant for it, a model trained from nothing on the generator's
 * own text learns to answer and its router to find.  Method: train models/configs/tiny.json to
 * its end and compare the first and the last line of progress. */
#include "train_test.h"

typedef struct {
    loci_train_progress first, last;
    int lines;
} history;

static int note(void *ctx, const loci_train_progress *p)
{
    history *h = ctx;
    if (h->lines++ == 0) h->first = *p;
    h->last = *p;
    if (h->lines % 5 == 1)
        print_message("step %4d %-7s text %.3f answer %.3f right %.3f exact %.3f recall %.3f "
                      "%.0f tok/s %.0f s\n",
                      (int)p->step, p->phase, p->loss_text, p->loss_answer, p->answer_right,
                      p->exact, p->router_recall, p->tokens_per_second, p->seconds);
    return 0;
}

static void test_learns(void **state)
{
    (void)state;
    char out[TEMP_PATH];
    history h = { 0 };
    loci_train_report report;
    loci_train_options o = loci_train_options_default();
    o.config = "models/configs/tiny.json";
    o.out = path_in(out, dir, "out");
    o.threads = 2;
    o.progress = note;
    o.progress_ctx = &h;
    MUST(loci_train(&o, &report, err));
    print_message("%d steps, %.0f s; answer loss %.3f -> %.3f, text %.3f -> %.3f, right %.3f -> "
                  "%.3f, recall %.3f -> %.3f\n",
                  (int)report.steps, report.seconds, h.first.loss_answer, h.last.loss_answer,
                  h.first.loss_text, h.last.loss_text, h.first.answer_right, h.last.answer_right,
                  h.first.router_recall, h.last.router_recall);
    /* The untrained model guesses among 512 ids: log 512 = 6.24 nats. */
    assert_true(h.last.loss_answer < h.first.loss_answer - 1.5);
    assert_true(h.last.loss_text < h.first.loss_text - 1.5);
    assert_true(h.last.router_recall > h.first.router_recall + 0.3);
    assert_true(h.last.answer_right > h.first.answer_right);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_learns) };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
