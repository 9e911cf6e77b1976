/* run.h - run the built command as a user would: arguments in, exit code and streams out. */
#ifndef LOCI_TESTS_RUN_H
#define LOCI_TESTS_RUN_H

#include <fcntl.h>
#include <fts.h>
#include <jansson.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct {
    int code; /* exit code; 128 + signal when it was killed */
    char *out, *err;
    size_t out_bytes, err_bytes;
} result;

/* The command beside the tests' folder, as CMake puts it. */
static inline const char *command_path(void)
{
    static char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    assert_true(n > 0);
    path[n] = '\0';
    for (int up = 0; up < 2; up++) *strrchr(path, '/') = '\0';
    strcat(path, "/loci");
    return path;
}

static inline char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = NULL;
    size_t cap = 0;
    *n = 0;
    do {
        text = realloc(text, (cap += 65536) + 1);
        assert_non_null(text);
        *n += fread(text + *n, 1, cap - *n, f);
    } while (*n == cap);
    text[*n] = '\0';
    fclose(f);
    return text;
}

static inline void spill(const char *path, const void *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static char scratch[64]; /* a folder of this test program; every test runs inside it */

static inline void enter_scratch(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/loci-cli-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(chdir(scratch), 0);
}

static inline void remove_scratch(void)
{
    char *one[2] = { scratch, NULL };
    assert_int_equal(chdir("/"), 0);
    FTS *tree = fts_open(one, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *f; tree && (f = fts_read(tree));)
        if (f->fts_info == FTS_DP)
            rmdir(f->fts_path);
        else if (f->fts_info != FTS_D)
            unlink(f->fts_path);
    if (tree) fts_close(tree);
}

static inline int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Run with argv (NULL-terminated, without the command's name); input may be NULL.  out_path, if not
 * NULL, is where standard output goes instead. */
static inline result run_argv(const char *input, const char *out_path, const char *const *argv)
{
    const char *full[200] = { "loci" };
    for (int i = 0; argv[i]; i++) full[i + 1] = argv[i];
    const char *program = command_path();
    spill("stdin", input ? input : "", input ? strlen(input) : 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int in = open("stdin", O_RDONLY);
        const int out = open(out_path ? out_path : "stdout", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        const int err = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(126);
        execv(program, (char *const *)full);
        _exit(127);
    }
    result r = { .code = exit_code(pid) };
    r.err = slurp("stderr", &r.err_bytes);
    if (!out_path) r.out = slurp("stdout", &r.out_bytes);
    return r;
}

#define RUN(...)             run_argv(NULL, NULL, (const char *const[]){ __VA_ARGS__, NULL })
#define RUN_WITH(input, ...) run_argv(input, NULL, (const char *const[]){ __VA_ARGS__, NULL })

static inline void free_result(result *r)
{
    free(r->out);
    free(r->err);
}

/* The same on a terminal of its own: everything that it shows. */
static inline char *run_on_terminal(size_t *n, const char *const *argv)
{
    const char *full[200] = { "loci" };
    for (int i = 0; argv[i]; i++) full[i + 1] = argv[i];
    const char *program = command_path();
    int terminal;
    const pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        execv(program, (char *const *)full);
        _exit(127);
    }
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    ssize_t got;
    *n = 0;
    while (*n < (1 << 20) - 1 && (got = read(terminal, text + *n, (1 << 20) - 1 - *n)) > 0)
        *n += (size_t)got;
    close(terminal);
    assert_int_equal(exit_code(pid), 0);
    return text;
}

static inline int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* ---- JSON ---------------------------------------------------------------------------------- */
/* Run, expect success, parse: standard output is one JSON object and nothing else. */
static inline json_t *json_of(result r)
{
    json_error_t e;
    if (r.code != 0) print_message("exit %d: %s", r.code, r.err);
    assert_int_equal(r.code, 0);
    json_t *o = json_loadb(r.out, r.out_bytes, JSON_REJECT_DUPLICATES, &e);
    if (!o) print_message("%s at %d in: %s\n", e.text, e.position, r.out);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_object_get(o, "schema")), 1);
    free_result(&r);
    return o;
}

/* "tokens:i score:f text:s ok:b list:a usage:o": exactly these keys with these types. */
static inline void check_keys(const json_t *o, const char *shape)
{
    char copy[1000], *save = NULL;
    size_t n = 0;
    assert_true(json_is_object(o));
    snprintf(copy, sizeof copy, "%s", shape);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save), n++) {
        char *colon = strchr(word, ':');
        *colon = '\0';
        const json_t *v = json_object_get(o, word);
        const int good = !v                ? 0
                         : colon[1] == 'i' ? json_is_integer(v)
                         : colon[1] == 'f' ? json_is_number(v)
                         : colon[1] == 's' ? json_is_string(v)
                         : colon[1] == 'b' ? json_is_boolean(v)
                         : colon[1] == 'a' ? json_is_array(v)
                                           : json_is_object(v);
        if (!good) print_message("key \"%s\": %s\n", word, v ? "wrong type" : "missing");
        assert_true(good);
    }
    if (json_object_size(o) != n) {
        const char *key;
        json_t *v;
        json_object_foreach((json_t *)o, key, v) print_message("has key \"%s\"\n", key);
    }
    assert_int_equal(json_object_size(o), n);
}

static inline int64_t int_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static inline const char *text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_string(v));
    return json_string_value(v);
}

#endif
