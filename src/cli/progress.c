/* progress.c - long work: bars and lines on standard error, signals. */
#include "cli.h"
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- signals ------------------------------------------------------------------------------ */
static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

void watch_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal };
    a.sa_flags = (int)SA_RESETHAND; /* a second Ctrl-C ends the process at once */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

bool interrupted(void)
{
    return stop_asked != 0;
}

/* ---- bars --------------------------------------------------------------------------------- */
void progress_begin(progress_bar *b, const char *what, const char *unit, double scale, bool quiet)
{
    watch_signals();
    memset(b, 0, sizeof *b);
    b->what = what;
    b->unit = unit;
    b->scale = scale;
    b->quiet = quiet;
    b->terminal = isatty(STDERR_FILENO);
    b->begin = b->last = now_seconds();
}

int progress_show(void *bar, int64_t done, int64_t total)
{
    progress_bar *b = bar;
    const double now = now_seconds(), spent = now - b->begin;
    /* A bar appears only when the work has taken a second. */
    if (b->quiet || spent < 1.0 || now - b->last < (b->terminal ? 0.1 : 5.0)) return stop_asked;
    b->last = now;
    b->shown = true;
    const double rate = (double)done * b->scale / spent;
    const double share = total > 0 ? fmin((double)done / (double)total, 1.0) : 0.0;
    if (!b->terminal) {
        fprintf(stderr, "%s: ", b->what);
        if (total > 0) fprintf(stderr, "%.0f %%, ", 100.0 * share);
        fprintf(stderr, "%.1f %s/s, %.0f s\n", rate, b->unit, spent);
        return stop_asked;
    }
    char fill[31];
    for (int i = 0; i < 30; i++) fill[i] = i < (int)(share * 30.0) ? '#' : '.';
    fill[30] = '\0';
    if (total > 0)
        fprintf(stderr, "\r%s [%s] %3.0f %%  ", b->what, fill, 100.0 * share);
    else
        fprintf(stderr, "\r%s  ", b->what);
    fprintf(stderr, "%.1f %s/s  %.0f s ", rate, b->unit, spent);
    return stop_asked;
}

void progress_clear(progress_bar *b)
{
    if (b->shown && b->terminal) fprintf(stderr, "\r\033[K");
}

void progress_end(progress_bar *b)
{
    progress_clear(b);
    b->shown = false;
}
