/* cmd_train.c - `loci train`: a model from a config and text, a line of progress a log step. */
#include "cli.h"
#include <string.h>
#include "loci/train.h"

enum { DATA_MAX = 2 * ARG_LIST_MAX };

static void print_span(FILE *f, double seconds)
{
    const long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        fprintf(f, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        fprintf(f, "%lldm%02llds", s / 60, s % 60);
}

static json_t *step_json(const loci_train_progress *p)
{
    json_t *o = json_object();
    put_int(o, "step", p->step);
    put_int(o, "tokens", p->tokens);
    put_int(o, "total_tokens", p->total_tokens);
    put_real(o, "lr", p->lr);
    put_real(o, "loss_text", p->loss_text);
    put_real(o, "loss_answer", p->loss_answer);
    put_real(o, "answer_right", p->answer_right);
    put_real(o, "exact", p->exact);
    put_real(o, "loss_kl", p->loss_kl);
    put_real(o, "loss_oracle", p->loss_oracle);
    put_real(o, "loss_absent", p->loss_absent);
    put_real(o, "loss_pointer", p->loss_pointer);
    put_real(o, "loss_decode", p->loss_decode);
    put_real(o, "loss_ageing", p->loss_ageing);
    put_real(o, "loss_hash", p->loss_hash);
    put_real(o, "code_agreement", p->code_agreement);
    put_real(o, "consult_rate", p->consult_rate);
    put_real(o, "regret", p->regret);
    put_real(o, "reading_gain", p->reading_gain);
    put_real(o, "router_recall", p->router_recall);
    put_real(o, "grad_norm", p->grad_norm);
    put_real(o, "tokens_per_second", p->tokens_per_second);
    put_real(o, "seconds", p->seconds);
    return o;
}

static void on_note(void *ctx, const char *line)
{
    const bool *quiet = ctx;
    if (!*quiet) fprintf(stderr, "%s\n", line);
}

/* One line: where, losses by kind (those that are on), what the router does, speed, time left. */
static int on_step(void *ctx, const loci_train_progress *p)
{
    const bool *quiet = ctx;
    if (*quiet) return interrupted();
    const struct {
        const char *name;
        double value;
    } loss[] = { { "kl", p->loss_kl },         { "oracle", p->loss_oracle },
                 { "absent", p->loss_absent }, { "pointer", p->loss_pointer },
                 { "decode", p->loss_decode }, { "ageing", p->loss_ageing },
                 { "hash", p->loss_hash },     { "agreement", p->code_agreement },
                 { "regret", p->regret } };
    fprintf(stderr, "step %lld %s %.1f%%: text %.4f answer %.4f", (long long)p->step,
            p->phase ? p->phase : "",
            p->total_tokens > 0 ? 100.0 * (double)p->tokens / (double)p->total_tokens : 0.0,
            p->loss_text, p->loss_answer);
    for (int i = 0; i < COUNT(loss); i++)
        if (loss[i].value != 0.0) fprintf(stderr, " %s %.4f", loss[i].name, loss[i].value);
    fprintf(stderr,
            "; right %.3f exact %.3f consult %.3f recall %.3f; |g| %.2f lr %.2e; %.0f tok/s",
            p->answer_right, p->exact, p->consult_rate, p->router_recall, p->grad_norm, p->lr,
            p->tokens_per_second);
    if (p->tokens_per_second > 0.0) {
        fprintf(stderr, ", left ");
        print_span(stderr, (double)(p->total_tokens - p->tokens) / p->tokens_per_second);
    }
    fprintf(stderr, "\n");
    return interrupted();
}

static void report(const loci_train_report *r, const char *out, bool json)
{
    const bool stopped = r->tokens < r->last.total_tokens; /* by --steps or --minutes */
    if (json) {
        json_t *o = json_object();
        put_text(o, "out", out);
        put_flag(o, "stopped", stopped);
        put_int(o, "steps", r->steps);
        put_int(o, "tokens", r->tokens);
        put_int(o, "parameters", r->parameters);
        put_real(o, "seconds", r->seconds);
        json_object_set_new(o, "last", step_json(&r->last));
        json_t *parts = json_object();
        for (int i = 0; i < r->n_parts; i++) put_real(parts, r->part[i].name, r->part[i].ms);
        json_object_set_new(o, "last_step_ms", parts);
        print_json(o);
        return;
    }
    print_name(stdout, out);
    printf(": %.1f M parameters, %lld steps, %lld tokens, %.0f s%s\n", 1e-6 * (double)r->parameters,
           (long long)r->steps, (long long)r->tokens, r->seconds,
           stopped ? "; stopped, the same command goes on" : "");
    for (int i = 0; i < r->n_parts; i++)
        printf("%s%s %.2f ms", i ? ", " : "last step: ", r->part[i].name, r->part[i].ms);
    if (r->n_parts > 0) printf("\n");
}

int cmd_train(int argc, char **argv)
{
    loci_train_options opt = loci_train_options_default();
    arg_list data = { { 0 }, 0 };
    const char *paths[DATA_MAX];
    int64_t threads = opt.threads;
    double minutes = 0.0;
    bool no_resume = false, quiet = false, json = false;
    arg args[] = {
        { "config", ARG_STR, &opt.config, 0, 0, "FILE",
          "JSON config: model, training, families, phases" },
        { "out", ARG_STR, &opt.out, 0, 0, "DIR", "folder of the checkpoint, made if missing" },
        { "data", ARG_LIST, &data, 0, 0, "PATH", "files, folders, NAME.txt.zst corpora" },
        { "tokenizer", ARG_STR, &opt.tokenizer, 0, 0, "FILE",
          "tokenizer.json (default: that of --out, else trained)" },
        { "threads", ARG_INT, &threads, 0, 1024, "N",
          "0 = all cores (default); does not change the numbers" },
        { "cpu", ARG_STR, &opt.cpu, 0, 0, "NAME",
          "native (default), avx512, avx2, ref: lower the kernels" },
        { "device", ARG_STR, &opt.device, 0, 0, "NAME",
          "cpu (default), cuda, cuda:N, cuda:N,M,...: where the arithmetic is done" },
        { "init", ARG_STR, &opt.init, 0, 0, "DIR",
          "start from the weights in DIR, in any form (same shape; may lack order)" },
        { "no-resume", ARG_FLAG, &no_resume, 0, 0, NULL,
          "begin anew where --out holds a checkpoint" },
        { "steps", ARG_INT, &opt.stop_after_steps, 0, 1e12, "N",
          "stop after N more steps with a checkpoint; 0 = the end" },
        { "until", ARG_INT, &opt.stop_at_tokens, 0, 1e15, "N",
          "stop with a checkpoint once N tokens of the run are trained; 0 = the end" },
        { "minutes", ARG_FLOAT, &minutes, 0, 1e7, "X",
          "stop after X minutes with a checkpoint; 0 = never" },
        { "json", ARG_FLAG, &json, 0, 0, NULL, "the report at the end as one JSON object" },
        { "quiet", ARG_FLAG, &quiet, 0, 0, NULL, "no progress lines" },
    };
    arg_spec spec = {
        .usage = "train --config FILE --out DIR [options] [PATH...]",
        .about = "Train a model.  Data are the --data paths and the arguments; without any, "
                 "synthetic text alone.  Ctrl-C writes a checkpoint and stops; the same "
                 "command goes on from it.",
        .args = args,
        .n_args = COUNT(args),
        .max_rest = ARG_LIST_MAX,
    };
    const int code = args_parse(&spec, argc, argv);
    if (code >= 0) return code;
    if (!opt.config || !opt.out)
        return usage_error("--%s is missing; usage: loci %s", opt.config ? "out" : "config",
                           spec.usage);
    for (int i = 0; i < data.n; i++) paths[opt.n_data++] = data.item[i];
    for (int i = 0; i < spec.rest.n; i++) paths[opt.n_data++] = spec.rest.item[i];
    opt.data = paths;
    opt.threads = (int)threads;
    opt.resume = !no_resume;
    opt.stop_after_seconds = 60.0 * minutes;
    opt.progress = on_step;
    opt.note = on_note;
    opt.progress_ctx = &quiet;

    loci_error err = { 0 };
    loci_train_report r = { 0 };
    watch_signals();
    const loci_status st = loci_train(&opt, &r, &err);
    if (st == LOCI_OK) report(&r, opt.out, json);
    return st == LOCI_OK ? EXIT_OK : fail(&err);
}
