/* Goal: what is given to a runner runs once, in order, beside its owner; waiting and closing wait.
 * Method: jobs that only end when the owner goes on (so they are beside it), thousands of short ones
 * in turn, and a look at what stands when the calls return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <unistd.h>
#include "base/base.h"

static void open_close(void **state)
{
    (void)state;
    loci_runner *r;
    assert_int_equal(loci_runner_open(&r, NULL), LOCI_OK);
    loci_runner_wait(r); /* nothing to wait for */
    loci_runner_close(r);
    loci_runner_close(NULL);
}

typedef struct {
    atomic_bool go, begun, ended;
} gate;

static void pass_gate(void *ctx)
{
    gate *g = ctx;
    atomic_store(&g->begun, true);
    while (!atomic_load(&g->go)) usleep(100);
    atomic_store(&g->ended, true);
}

/* Would never end if the job ran in the caller. */
static void beside_its_owner(void **state)
{
    (void)state;
    loci_runner *r;
    gate g = { 0 };
    assert_int_equal(loci_runner_open(&r, NULL), LOCI_OK);
    loci_runner_start(r, pass_gate, &g);
    while (!atomic_load(&g.begun)) usleep(100);
    assert_false(atomic_load(&g.ended));
    atomic_store(&g.go, true);
    loci_runner_wait(r);
    assert_true(atomic_load(&g.ended));
    loci_runner_close(r);
}

typedef struct {
    int n; /* not atomic: jobs and waits order it */
    int seen[3000];
} list;

typedef struct {
    list *to;
    int value;
} entry;

static void append(void *ctx)
{
    const entry *e = ctx;
    e->to->seen[e->to->n++] = e->value;
}

static void once_and_in_order(void **state)
{
    (void)state;
    enum { N = 3000 };
    static list out;
    static entry job[N];
    loci_runner *r;
    assert_int_equal(loci_runner_open(&r, NULL), LOCI_OK);
    for (int i = 0; i < N; i++) {
        job[i] = (entry){ &out, i };
        loci_runner_start(r, append, &job[i]); /* waits for the one before */
        if (i % 7 == 0) {
            loci_runner_wait(r);
            assert_int_equal(out.n, i + 1);
        }
    }
    loci_runner_close(r); /* runs what was given */
    assert_int_equal(out.n, N);
    for (int i = 0; i < N; i++) assert_int_equal(out.seen[i], i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_close),
        cmocka_unit_test(beside_its_owner),
        cmocka_unit_test(once_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
