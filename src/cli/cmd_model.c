/* cmd_model.c - `loci model info` and `loci quantize`: what a checkpoint is and needs, and its
 * weights in another type. */
#include "cli.h"
#include "loci/deepseek.h"
#include <string.h>
#include <sys/stat.h>

/* Lengths for which `model info` says what a bank needs. */
static const struct {
    const char *name;
    int64_t tokens;
} lengths[] = { { "32K", 32768 }, { "128K", 131072 }, { "1M", 1048576 }, { "16M", 16777216 } };

static json_t *length_json(const loci_model_info *m, int64_t tokens)
{
    json_t *o = json_object();
    put_int(o, "tokens", tokens);
    put_int(o, "disk_bytes", (int64_t)(m->bank_bytes_per_token * (double)tokens + 0.5));
    put_int(o, "resident_bytes", (int64_t)(m->resident_bytes_per_token * (double)tokens + 0.5));
    return o;
}

static void info_json(const loci_model_info *m, const char *dir)
{
    json_t *o = json_object(), *banks = json_array();
    for (int i = 0; i < COUNT(lengths); i++)
        json_array_append_new(banks, length_json(m, lengths[i].tokens));
    put_text(o, "model", dir);
    put_text(o, "architecture", m->architecture);
    put_text(o, "fingerprint", m->fingerprint);
    put_int(o, "parameters", m->parameters);
    put_int(o, "weight_bytes", m->weight_bytes);
    json_t *stored = json_object();
    put_int(stored, "int4", m->stored_int4);
    put_int(stored, "int8", m->stored_int8);
    put_int(stored, "bf16", m->stored_bf16);
    put_int(stored, "f32", m->stored_f32);
    json_object_set_new(o, "stored", stored);
    put_int(o, "vocab", m->vocab);
    put_int(o, "d_model", m->d_model);
    put_int(o, "window", m->window);
    put_int(o, "chunk", m->chunk);
    put_int(o, "n_lower", m->n_lower);
    put_int(o, "n_upper", m->n_upper);
    put_int(o, "n_groups", m->n_groups);
    put_int(o, "top_k", m->top_k);
    put_int(o, "session_bytes", m->session_bytes);
    put_int(o, "ingest_bytes_per_thread", m->ingest_bytes_per_thread);
    put_real(o, "bank_bytes_per_token", m->bank_bytes_per_token);
    put_real(o, "resident_bytes_per_token", m->resident_bytes_per_token);
    json_object_set_new(o, "banks", banks);
    print_json(o);
}

/* Parameters by the type that they are stored in. */
static void print_stored(const loci_model_info *m)
{
    const struct {
        const char *type;
        int64_t n;
    } part[] = { { "int4", m->stored_int4 },
                 { "int8", m->stored_int8 },
                 { "bf16", m->stored_bf16 },
                 { "f32", m->stored_f32 } };
    const char *before = "  stored as     ";
    for (int i = 0; i < COUNT(part); i++) {
        if (part[i].n == 0) continue;
        printf("%s%s %.2f M", before, part[i].type, 1e-6 * (double)part[i].n);
        before = ", ";
    }
    printf("\n");
}

static void info_text(const loci_model_info *m, const char *dir)
{
    char a[32], b[32];
    print_name(stdout, dir);
    printf("\n  architecture  %s, %.1f M parameters, %s of weights\n", m->architecture,
           1e-6 * (double)m->parameters, human_bytes((double)m->weight_bytes, a));
    print_stored(m);
    printf("  fingerprint   %s\n", m->fingerprint);
    printf("  shape         vocabulary %d, width %d, %d + %d layers, %d groups, window %d\n",
           m->vocab, m->d_model, m->n_lower, m->n_upper, m->n_groups, m->window);
    printf("  reading       %d chunks of %d tokens per token and group\n", m->top_k, m->chunk);
    printf("  memory        a session %s; ingest %s a thread\n",
           human_bytes((double)m->session_bytes, a),
           human_bytes((double)m->ingest_bytes_per_thread, b));
    printf("\n  %-8s  %12s  %12s\n", "tokens", "on disk", "in memory");
    for (int i = 0; i < COUNT(lengths); i++)
        printf("  %-8s  %12s  %12s\n", lengths[i].name,
               human_bytes(m->bank_bytes_per_token * (double)lengths[i].tokens, a),
               human_bytes(m->resident_bytes_per_token * (double)lengths[i].tokens, b));
}

static int model_info(int argc, char **argv)
{
    const char *model = NULL;
    bool json = false;
    arg args[] = {
        { "model", ARG_STR, &model, 0, 0, "DIR", "the same as the argument" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "one JSON object" },
    };
    arg_spec spec = {
        .usage = "model info [options] [DIR|FILE]",
        .about = "What a checkpoint is, and the disk and memory that banks of a given length "
                 "need with it. Without DIR: the shipped model. Of a DeepSeek-V4 model (a folder, "
                 "its config.json alone, or a GGUF file): parameters, and what contexts need.",
        .args = args,
        .n_args = COUNT(args),
        .max_rest = 1,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (model && spec.rest.n > 0)
        return usage_error("--model and DIR: give one; usage: loci %s", spec.usage);
    const char *dir = model_dir(spec.rest.n > 0 ? spec.rest.item[0] : model);
    if (loci_deepseek_is(dir)) return deepseek_info(dir, json);
    loci_error err = { 0 };
    loci_model_info info;
    if (loci_model_describe(dir, &info, &err) != LOCI_OK) return fail(&err);
    if (json)
        info_json(&info, dir);
    else
        info_text(&info, dir);
    return EXIT_OK;
}

int cmd_model(int argc, char **argv)
{
    static const command list[] = { { "info", model_info, "what a checkpoint is and needs" } };
    return run_group("model", list, COUNT(list), argc, argv);
}

/* ---- quantize ----------------------------------------------------------------------------- */
int cmd_quantize(int argc, char **argv)
{
    const char *model = NULL, *out = NULL, *type = NULL;
    bool json = false, quiet = false;
    arg args[] = {
        { "model", ARG_STR, &model, 0, 0, "DIR", "folder of the model (default: the shipped one)" },
        { "out", ARG_STR, &out, 0, 0, "DIR", "folder of the new one, made if missing" },
        { "type", ARG_STR, &type, 0, 0, "TYPE",
          "int4 (mixed with int8), int8 (one scale a row), bf16 or f32" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "sizes before and after as one JSON object" },
        { "quiet", ARG_FLAG, &quiet, 0, 0, NULL, "print nothing" },
    };
    arg_spec spec = {
        .usage = "quantize --out DIR --type TYPE [options]",
        .about = "Write a checkpoint with its weights in another type.  A bank belongs to the "
                 "stored bytes of the lower stack: one made with the old weights is refused by "
                 "the new ones.",
        .args = args,
        .n_args = COUNT(args),
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!out || !type)
        return usage_error("--%s is missing; usage: loci %s", out ? "type" : "out", spec.usage);
    loci_error err = { 0 };
    loci_model_info before, after;
    loci_status st = loci_model_describe(model_dir(model), &before, &err);
    if (st == LOCI_OK) st = loci_quantize(model_dir(model), out, type, &err);
    if (st == LOCI_OK) st = loci_model_describe(out, &after, &err);
    if (st != LOCI_OK) return fail(&err);
    char a[32], b[32];
    if (json) {
        json_t *o = json_object();
        put_text(o, "out", out);
        put_text(o, "type", type);
        put_int(o, "weight_bytes_before", before.weight_bytes);
        put_int(o, "weight_bytes", after.weight_bytes);
        put_text(o, "fingerprint", after.fingerprint);
        print_json(o);
    } else if (!quiet) {
        printf("%s -> %s, fingerprint %s\n", human_bytes((double)before.weight_bytes, a),
               human_bytes((double)after.weight_bytes, b), after.fingerprint);
    }
    return EXIT_OK;
}
