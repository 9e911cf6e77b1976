/* cmd_bank.c - `loci bank info | ls | verify`: what is in a bank, and whether it is whole. */
#include "cli.h"
#include <string.h>
#include <time.h>

typedef struct {
    engine_args ea;
    bool json;
    arg_spec spec;
    arg args[7];
} bank_args;

/* The three take the same options; the one positional argument is the bank. */
static int parse(bank_args *b, const char *usage, const char *about, int argc, char **argv)
{
    const arg list[] = {
        { "json", ARG_FLAG, &b->json, 0, 0, NULL, "one JSON object" },
        ENGINE_ARGS(b->ea),
    };
    _Static_assert(sizeof list == sizeof b->args, "room for all of them");
    memcpy(b->args, list, sizeof list);
    b->spec = (arg_spec){ .usage = usage,
                          .about = about,
                          .args = b->args,
                          .n_args = COUNT(list),
                          .min_rest = 1,
                          .max_rest = 1 };
    return args_parse(&b->spec, argc, argv);
}

static loci_status open_one(const bank_args *b, loci_engine **e, loci_bank **bank, loci_error *err)
{
    loci_status st = open_engine(e, &b->ea, err);
    if (st == LOCI_OK) st = loci_bank_open(bank, *e, b->spec.rest.item[0], LOCI_BANK_READ, err);
    return st;
}

/* ---- info --------------------------------------------------------------------------------- */
static void info_json(const loci_bank_stat *s)
{
    json_t *o = json_object();
    put_text(o, "fingerprint", s->fingerprint);
    put_int(o, "format_version", s->format_version);
    put_int(o, "documents", s->documents);
    put_int(o, "segments", s->segments);
    put_int(o, "chunks", s->chunks);
    put_int(o, "tokens", s->tokens);
    put_int(o, "text_bytes", s->text_bytes);
    put_int(o, "disk_bytes", s->disk_bytes);
    put_int(o, "resident_bytes", s->resident_bytes);
    json_t *parts = json_object();
    for (int i = 0; i < LOCI_BANK_PARTS; i++)
        put_int(parts, loci_bank_part_name((loci_bank_part)i), s->part_bytes[i]);
    json_object_set_new(o, "parts", parts);
    print_json(o);
}

static void info_text(const loci_bank_stat *s, const char *dir)
{
    char size[32];
    print_name(stdout, dir);
    printf("\n  documents  %lld\n  tokens     %lld in %lld chunks\n", (long long)s->documents,
           (long long)s->tokens, (long long)s->chunks);
    printf("  text       %s\n", human_bytes((double)s->text_bytes, size));
    printf("  on disk    %s in %lld segments", human_bytes((double)s->disk_bytes, size),
           (long long)s->segments);
    if (s->tokens > 0) printf(", %.1f bytes a token", (double)s->disk_bytes / (double)s->tokens);
    printf("\n");
    for (int i = 0; i < LOCI_BANK_PARTS; i++)
        if (s->part_bytes[i] > 0)
            printf("    %-10s %10s%8.2f bytes a token\n", loci_bank_part_name((loci_bank_part)i),
                   human_bytes((double)s->part_bytes[i], size),
                   s->tokens > 0 ? (double)s->part_bytes[i] / (double)s->tokens : 0.0);
    printf("  in memory  %s while open\n", human_bytes((double)s->resident_bytes, size));
    printf("  model      %s (format %d)\n", s->fingerprint, s->format_version);
}

static int bank_info(int argc, char **argv)
{
    bank_args b = { 0 };
    const int code = parse(&b, "bank info [options] DIR",
                           "What is in a bank: documents, tokens, bytes, its model.", argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    loci_engine *e = NULL;
    loci_bank *bank = NULL;
    loci_bank_stat stat;
    loci_status st = open_one(&b, &e, &bank, &err);
    if (st == LOCI_OK) st = loci_bank_info(bank, &stat, &err);
    if (st == LOCI_OK && b.json)
        info_json(&stat);
    else if (st == LOCI_OK)
        info_text(&stat, b.spec.rest.item[0]);
    loci_bank_close(bank);
    loci_engine_close(e);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

/* ---- ls ----------------------------------------------------------------------------------- */
static int row_json(void *list, const loci_bank_doc *d)
{
    json_t *o = json_object();
    put_text(o, "name", d->name);
    put_int(o, "bytes", d->bytes);
    put_int(o, "tokens", d->tokens);
    put_int(o, "chunks", d->chunks);
    put_int(o, "sequence", d->sequence);
    put_int(o, "mtime_ns", d->mtime_ns);
    put_text(o, "encoding", d->encoding);
    json_array_append_new(list, o);
    return 0;
}

static int row_text(void *ctx, const loci_bank_doc *d)
{
    (void)ctx;
    char day[32] = "-";
    const time_t t = (time_t)(d->mtime_ns / 1000000000);
    struct tm tm;
    if (d->mtime_ns > 0 && localtime_r(&t, &tm)) strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm);
    printf("%12lld %12lld  %-16s  ", (long long)d->tokens, (long long)d->bytes, day);
    print_name(stdout, d->name);
    printf("%s%s\n", d->encoding[0] ? "  " : "", d->encoding);
    return ferror(stdout);
}

static int bank_ls(int argc, char **argv)
{
    bank_args b = { 0 };
    const int code =
        parse(&b, "bank ls [options] DIR",
              "The documents of a bank in the order in which they were read: tokens, bytes, "
              "time of the file, name.",
              argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    loci_engine *e = NULL;
    loci_bank *bank = NULL;
    json_t *list = b.json ? json_array() : NULL;
    loci_status st = open_one(&b, &e, &bank, &err);
    if (st == LOCI_OK && !b.json) printf("%12s %12s  %-16s  name\n", "tokens", "bytes", "changed");
    if (st == LOCI_OK) st = loci_bank_list(bank, b.json ? row_json : row_text, list, &err);
    if (st == LOCI_OK && b.json) print_json(json_pack("{s:O}", "documents", list));
    json_decref(list);
    loci_bank_close(bank);
    loci_engine_close(e);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}

/* ---- verify ------------------------------------------------------------------------------- */
static void verify_json(const loci_bank_verify_report *r, bool ok)
{
    json_t *o = json_object();
    put_flag(o, "ok", ok);
    put_int(o, "blocks", r->blocks);
    put_int(o, "bytes", r->bytes);
    put_int(o, "bad_blocks", r->bad_blocks);
    put_text(o, "first_bad", r->first_bad);
    print_json(o);
}

static int bank_verify(int argc, char **argv)
{
    bool json = false, quiet = false;
    arg args[] = {
        { "json", ARG_FLAG, &json, 0, 0, NULL, "one JSON object, also when something is bad" },
        { "quiet", ARG_FLAG, &quiet, 0, 0, NULL, "no progress" },
    };
    arg_spec spec = {
        .usage = "bank verify [options] DIR",
        .about = "Check every checksum and every invariant of a bank, without a model.  Exit 1 "
                 "and one line that names file, block and offset when something is bad.",
        .args = args,
        .n_args = COUNT(args),
        .min_rest = 1,
        .max_rest = 1,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    loci_bank_verify_report r = { 0 };
    progress_bar bar;
    progress_begin(&bar, "verifying", "MiB", 1.0 / 1048576.0, quiet);
    const loci_status st = loci_bank_verify(spec.rest.item[0], progress_show, &bar, &r, &err);
    progress_end(&bar);
    if (json && (st == LOCI_OK || st == LOCI_EFORMAT)) verify_json(&r, st == LOCI_OK);
    if (st != LOCI_OK) return fail(&err);
    char size[32];
    if (!json)
        printf("whole: %lld blocks, %s\n", (long long)r.blocks, human_bytes((double)r.bytes, size));
    return EXIT_OK;
}

int cmd_bank(int argc, char **argv)
{
    static const command list[] = {
        { "info", bank_info, "documents, tokens, bytes, its model" },
        { "ls", bank_ls, "the documents, in the order in which they were read" },
        { "verify", bank_verify, "check every checksum and every invariant" },
    };
    return run_group("bank", list, COUNT(list), argc, argv);
}
