/* cmd_ingest.c - `loci ingest`: files, folders and standard input into a bank. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

enum {
    SKIPS_PRINTED = 20,  /* lines on standard error; a folder of images would hide the rest */
    SKIPS_LISTED = 10000 /* entries of --json, so that the report stays small */
};

typedef struct {
    progress_bar bar;
    json_t *list; /* NULL without --json */
    int64_t n;
} skip_log;

static void on_skip(void *ctx, const char *path, const char *reason)
{
    skip_log *log = ctx;
    log->n++;
    if (log->list && log->n <= SKIPS_LISTED) {
        json_t *o = json_object();
        put_text(o, "path", path);
        put_text(o, "reason", reason);
        json_array_append_new(log->list, o);
    }
    if (log->bar.quiet || log->n > SKIPS_PRINTED) return;
    progress_clear(&log->bar);
    fprintf(stderr, "skipped ");
    print_name(stderr, path);
    fprintf(stderr, ": ");
    print_name(stderr, reason);
    fprintf(stderr, "\n");
}

/* Reading the meters now and then keeps them from going round unseen. */
typedef struct {
    progress_bar *bar;
    loci_energy *energy;
} watch;

static int on_progress(void *ctx, int64_t done, int64_t total)
{
    const watch *w = ctx;
    (void)loci_energy_read(w->energy);
    return progress_show(w->bar, done, total);
}

static void report_json(const loci_ingest_report *r, skip_log *log, loci_energy *energy)
{
    json_t *o = json_object();
    put_int(o, "documents", r->documents);
    put_int(o, "unchanged", r->unchanged);
    put_int(o, "replaced", r->replaced);
    put_int(o, "tokens", r->tokens);
    put_int(o, "bytes", r->bytes);
    put_real(o, "seconds", r->seconds);
    put_int(o, "skipped_documents", r->skipped);
    json_object_set(o, "skipped", log->list);
    json_object_set_new(o, "energy", energy_json(energy));
    print_json(o);
}

static void report_text(const loci_ingest_report *r, const char *bank, loci_energy *energy)
{
    char size[32];
    const loci_energy_reading used = loci_energy_read(energy);
    print_name(stdout, bank);
    printf(": read %lld documents (%lld of them replaced), %lld unchanged, %lld skipped\n",
           (long long)r->documents, (long long)r->replaced, (long long)r->unchanged,
           (long long)r->skipped);
    printf("%lld tokens, %s, %.1f s", (long long)r->tokens, human_bytes((double)r->bytes, size),
           r->seconds);
    if (r->tokens > 0 && r->seconds > 0.0)
        printf(", %.0f tokens/s", (double)r->tokens / r->seconds);
    if (energy_known(used))
        printf(", %.0f J (%.2g kWh)", energy_joules(used), energy_joules(used) / 3.6e6);
    printf("\n");
}

static loci_status ingest(const engine_args *ea, const char *dir, const arg_list *paths,
                          loci_ingest_options *opt, skip_log *log, loci_energy *energy,
                          loci_ingest_report *report, loci_error *err)
{
    watch w = { &log->bar, energy };
    loci_engine *e = NULL;
    loci_bank *bank = NULL;
    loci_status st = open_engine(&e, ea, err);
    if (st == LOCI_OK) st = loci_bank_open(&bank, e, dir, LOCI_BANK_CREATE, err);
    if (st == LOCI_OK) {
        progress_begin(&log->bar, "reading", "MiB", 1.0 / 1048576.0, ea->quiet);
        opt->progress = on_progress;
        opt->progress_ctx = &w;
        opt->skipped = on_skip;
        opt->skipped_ctx = log;
        st = loci_bank_ingest(bank, paths->item, paths->n, opt, report, err);
        progress_end(&log->bar);
    }
    loci_bank_close(bank);
    loci_engine_close(e);
    return st;
}

int cmd_ingest(int argc, char **argv)
{
    const char *dir = NULL;
    engine_args ea = { 0 };
    arg_list skip = { { 0 }, 0 };
    bool json = false, no_gitignore = false;
    loci_ingest_options opt = loci_ingest_options_default();
    arg args[] = {
        { "bank", ARG_STR, &dir, 0, 0, "DIR", "folder of the bank, made if missing" },
        { "name", ARG_STR, &opt.name, 0, 0, "DOC",
          "document name, for one file or standard input" },
        { "skip", ARG_LIST, &skip, 0, 0, "GLOB", "leave out what matches, as in .gitignore" },
        { "no-gitignore", ARG_FLAG, &no_gitignore, 0, 0, NULL,
          "read what .gitignore leaves out, too" },
        { "max-file-bytes", ARG_INT, &opt.max_file_bytes, 1, 9e15, "N",
          "larger files are skipped (default 64G)" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "report as one JSON object" },
        ENGINE_ARGS(ea),
    };
    arg_spec spec = {
        .usage = "ingest --bank DIR [options] PATH...",
        .about = "Read files, folders or standard input (-) into a bank.  Unchanged files cost "
                 "nothing, changed files replace their older self; binary files are skipped "
                 "with a reason.  After a kill or a full disk the same command goes on: "
                 "documents are in the bank whole or not at all.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = ARG_LIST_MAX,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!dir) return usage_error("ingest: --bank is missing; usage: loci %s", spec.usage);
    opt.skip_globs = skip.n ? skip.item : NULL;
    if (no_gitignore) opt.follow_gitignore = false;

    loci_error err = { 0 };
    loci_ingest_report report = { 0 };
    skip_log log = { .list = json ? json_array() : NULL };
    loci_energy *energy = NULL;
    loci_status st = loci_energy_open(&energy, NULL, &err);
    if (st == LOCI_OK) st = ingest(&ea, dir, &spec.rest, &opt, &log, energy, &report, &err);
    if (log.n > SKIPS_PRINTED && !ea.quiet)
        fprintf(stderr, "skipped %lld more%s\n", (long long)(log.n - SKIPS_PRINTED),
                json ? "" : " (--json lists them)");
    if (st == LOCI_OK && json)
        report_json(&report, &log, energy);
    else if (st == LOCI_OK)
        report_text(&report, dir, energy);
    json_decref(log.list);
    loci_energy_close(energy);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
