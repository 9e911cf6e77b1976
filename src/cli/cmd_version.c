/* cmd_version.c - `loci version`: what this build is, and the kernels it would use here. */
#include "cli.h"
#include <string.h>
#include "loci/bench.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

#if LOCI_HAVE_DNNL
#define WITH_DNNL true
#else
#define WITH_DNNL false
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static const char *const levels[] = { "native", "avx512", "avx2", "ref" };

static void show_json(void)
{
    char text[2000];
    json_t *kernels = json_object();
    for (int i = 0; i < COUNT(levels); i++) {
        loci_error err = { 0 };
        if (loci_bench_kernels_for(levels[i], text, sizeof text, &err) != LOCI_OK) continue;
        json_t *one = json_object();
        char *save;
        for (char *pair = strtok_r(text, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
            char *eq = strchr(pair, '=');
            if (!eq) continue;
            *eq = '\0';
            json_object_set_new(one, pair, json_string(eq + 1));
        }
        json_object_set_new(kernels, levels[i], one);
    }
    json_t *o = json_object();
    put_text(o, "version", loci_version());
    put_text(o, "commit", build_commit());
    put_text(o, "compiler", COMPILER);
    put_flag(o, "onednn", WITH_DNNL);
    put_flag(o, "sanitized", SANITIZED);
    json_object_set_new(o, "kernels", kernels);
    print_json(o);
}

static loci_status show_text(const char *cpu, loci_error *err)
{
    char text[2000];
    const loci_status st = loci_bench_kernels_for(cpu, text, sizeof text, err);
    if (st != LOCI_OK) return st;
    printf("loci %s, commit %s\nbuilt with %s; oneDNN: %s%s\nkernels (--cpu %s):\n", loci_version(),
           build_commit(), COMPILER, WITH_DNNL ? "yes" : "no", SANITIZED ? "; sanitizers on" : "",
           cpu);
    char *save;
    for (char *pair = strtok_r(text, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        const int family = (int)strcspn(pair, "=");
        printf("  %-18.*s %s\n", family, pair, pair[family] ? pair + family + 1 : "");
    }
    return LOCI_OK;
}

int cmd_version(int argc, char **argv)
{
    const char *cpu = "native";
    bool json = false;
    arg args[] = {
        { "cpu", ARG_STR, &cpu, 0, 0, "NAME", "kernels of native (default), avx512, avx2, ref" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "one JSON object, with the kernels of every --cpu" },
    };
    arg_spec spec = {
        .usage = "version [options]",
        .about =
            "Version, commit, build options, and the kernel of each family that would run here.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    loci_error err = { 0 };
    if (json)
        show_json();
    else if (show_text(cpu, &err) != LOCI_OK)
        return fail(&err);
    return EXIT_OK;
}
