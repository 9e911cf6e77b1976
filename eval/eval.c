/* eval.c - `loci eval`: the suites, and the statistics that they share. */
#include "eval.h"
#include <math.h>

void wilson(int64_t hits, int64_t n, double *lo, double *hi)
{
    *lo = 0.0;
    *hi = 1.0;
    if (n <= 0) return;
    const double z = 1.959963984540054; /* 97.5 % quantile of the normal distribution */
    const double m = (double)n, p = (double)hits / m, z2 = z * z;
    const double middle = (p + z2 / (2.0 * m)) / (1.0 + z2 / m);
    const double half = z * sqrt(p * (1.0 - p) / m + z2 / (4.0 * m * m)) / (1.0 + z2 / m);
    *lo = hits == 0 ? 0.0 : fmax(middle - half, 0.0); /* exact ends: no rounding crumbs */
    *hi = hits == n ? 1.0 : fmin(middle + half, 1.0);
}

void add_machine(json_t *row, int64_t threads)
{
    char cpu[128];
    put_text(row, "cpu", cpu_name(cpu));
    put_int(row, "threads", count_threads(threads));
    put_text(row, "version", loci_version());
    put_text(row, "commit", build_commit());
}

int cmd_eval(int argc, char **argv)
{
    static const command list[] = {
        { "needles", eval_needles, "facts hidden in a bank: exact answers, evidence, speed" },
        { "kv", eval_kv, "JSON objects of a benchmark file: one value asked for" },
        { "babilong", eval_babilong,
          "stories of a bAbI file, told between the lines of a haystack" },
        { "ppl", eval_ppl, "loss by position, consult rate, what reading is worth" },
        { "demo", eval_demo, "the questions of an items.jsonl, shown one by one" },
        { "overlap", eval_overlap, "how much of a text a model was trained on" },
    };
    return run_group("eval", list, COUNT(list), argc, argv);
}
