/* args.c - options by a table: parsing, ranges and --help from the same lines. */
#include "cli.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int usage_error(const char *fmt, ...)
{
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "loci: ");
    print_name(stderr, text); /* it may quote an argument with anything in it */
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

/* ---- help --------------------------------------------------------------------------------- */
/* A paragraph, wrapped. */
static void print_about(const char *text)
{
    enum { WIDTH = 88 };
    for (int column = 0; *text;) {
        const int word = (int)strcspn(text, " "), gap = (int)strspn(text + word, " ");
        printf("%.*s", word, text);
        column += word + gap;
        text += word + gap;
        const bool wrap = column + (int)strcspn(text, " ") > WIDTH;
        if (wrap || !*text)
            printf("\n");
        else
            printf("%*s", gap, "");
        if (wrap) column = 0;
    }
}

static void print_usage(const arg_spec *spec)
{
    printf("usage: loci %s\n\n", spec->usage);
    print_about(spec->about);
    printf("\noptions:\n");
    for (int i = 0; i < spec->n_args; i++) {
        const arg *a = &spec->args[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", a->name, a->type == ARG_FLAG ? "" : " ",
                 a->type == ARG_FLAG ? "" : a->meta);
        printf("  %-24s %s%s\n", left, a->help, a->type == ARG_LIST ? " (may be repeated)" : "");
    }
    printf("  %-24s %s\n", "--help", "this text");
}

static void print_group(FILE *f, const char *group, const command *list, int n)
{
    if (!group) fprintf(f, "loci %s - ingest once, ask forever\n\n", loci_version());
    fprintf(f, "usage: loci %s%sSUBCOMMAND [options]\n\n", group ? group : "", group ? " " : "");
    for (int i = 0; i < n; i++) fprintf(f, "  %-10s %s\n", list[i].name, list[i].about);
    fprintf(
        f,
        "\n`loci %s%sSUBCOMMAND --help` is the manual of each.  Exit 0: done; 1: failed, with one\n"
        "line on standard error; 2: wrong usage.\n",
        group ? group : "", group ? " " : "");
}

int run_group(const char *group, const command *list, int n, int argc, char **argv)
{
    const char *of = group ? group : "", *gap = group ? " " : "";
    if (argc < 2) {
        if (group) return usage_error("%s: which one? (loci %s --help lists them)", group, group);
        print_group(stderr, group, list, n);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_group(stdout, group, list, n);
        return EXIT_OK;
    }
    for (int i = 0; i < n; i++)
        if (strcmp(argv[1], list[i].name) == 0) return list[i].run(argc - 1, argv + 1);
    return usage_error("unknown subcommand \"%s%s%s\" (loci %s%s--help lists them)", of, gap,
                       argv[1], of, gap);
}

/* ---- values ------------------------------------------------------------------------------- */
/* 128K, 1M, 2G: powers of 1024, as tokens and bytes are counted here.  *end is where it stops. */
static bool parse_number(const char *s, double *out, const char **end)
{
    char *stop;
    errno = 0;
    double v = strtod(s, &stop);
    if (stop == s || errno) return false;
    if (*stop == 'K' || *stop == 'k')
        v *= 1024.0, stop++;
    else if (*stop == 'M')
        v *= 1048576.0, stop++;
    else if (*stop == 'G')
        v *= 1073741824.0, stop++;
    *out = v;
    *end = stop;
    return isfinite(v);
}

int parse_counts(const char *text, int64_t *out, int max, double lo, double hi)
{
    const char *s = text;
    for (int n = 0; n < max; n++) {
        double v;
        if (!parse_number(s, &v, &s) || v < lo || v > hi || v != floor(v)) return 0;
        out[n] = (int64_t)v;
        if (*s == '\0') return n + 1;
        if (*s++ != ',') return 0;
    }
    return 0;
}

static int set_number(const arg *a, const char *text)
{
    double v;
    const char *end;
    const bool whole = a->type == ARG_INT;
    if (!parse_number(text, &v, &end) || *end || v < a->min || v > a->max ||
        (whole && v != floor(v)))
        return usage_error("--%s %s: expected %s from %.15g to %.15g", a->name, text,
                           whole ? "a whole number" : "a number", a->min, a->max);
    if (whole)
        *(int64_t *)a->value = (int64_t)v;
    else
        *(double *)a->value = v;
    return -1;
}

static int set_value(const arg *a, const char *text)
{
    switch (a->type) {
    case ARG_FLAG: *(bool *)a->value = true; return -1;
    case ARG_STR: *(const char **)a->value = text; return -1;
    case ARG_INT:
    case ARG_FLOAT: return set_number(a, text);
    case ARG_LIST: {
        arg_list *list = a->value;
        if (list->n == ARG_LIST_MAX)
            return usage_error("--%s: at most %d times", a->name, ARG_LIST_MAX);
        list->item[list->n++] = text;
        return -1;
    }
    }
    return EXIT_USAGE;
}

/* The words of the usage line that name the subcommand: "bank ls" of "bank ls [options] DIR". */
static int name_length(const arg_spec *spec)
{
    const char *s = spec->usage;
    while ((*s >= 'a' && *s <= 'z') || (*s == ' ' && s[1] >= 'a' && s[1] <= 'z')) s++;
    return (int)(s - spec->usage);
}

static int unknown_option(const arg_spec *spec, const char *text)
{
    return usage_error("unknown option %.*s (loci %.*s --help lists them)", (int)strcspn(text, "="),
                       text, name_length(spec), spec->usage);
}

/* "--name", "--name value" or "--name=value"; *i moves over a value taken from argv. */
static int parse_option(arg_spec *spec, int argc, char **argv, int *i)
{
    const char *text = argv[*i] + 2;
    const size_t len = strcspn(text, "=");
    for (int k = 0; k < spec->n_args; k++) {
        const arg *a = &spec->args[k];
        if (strlen(a->name) != len || strncmp(a->name, text, len) != 0) continue;
        if (a->type == ARG_FLAG)
            return text[len] ? usage_error("--%s takes no value", a->name) : set_value(a, NULL);
        if (text[len]) return set_value(a, text + len + 1);
        if (*i + 1 >= argc) return usage_error("--%s needs a value (%s)", a->name, a->meta);
        return set_value(a, argv[++*i]);
    }
    return unknown_option(spec, argv[*i]);
}

int args_parse(arg_spec *spec, int argc, char **argv)
{
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (options && strcmp(text, "--") == 0) {
            options = false;
        } else if (options && (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)) {
            print_usage(spec);
            return EXIT_OK;
        } else if (options && text[0] == '-' && text[1] == '-') {
            const int code = parse_option(spec, argc, argv, &i);
            if (code >= 0) return code;
        } else if (options && text[0] == '-' && text[1] != '\0') {
            return unknown_option(spec, text);
        } else {
            if (spec->rest.n >= spec->max_rest || spec->rest.n == ARG_LIST_MAX)
                return usage_error("unexpected argument \"%s\"; usage: loci %s", text, spec->usage);
            spec->rest.item[spec->rest.n++] = text;
        }
    }
    if (spec->rest.n < spec->min_rest) return usage_error("usage: loci %s", spec->usage);
    return -1;
}
