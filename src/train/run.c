/* run.c - a whole training run: data, tokenizer, resume, progress, checkpoints.
 *
 * The loop itself decides nothing about numbers: those are trainer.c's and the config's. */
#include "train/trainer.h"
#include "cuda/gpu.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- tokenizer ------------------------------------------------------------------------------ */
typedef struct {
    loci_progress_fn *fn;
    void *ctx;
} progress_box;

static void merge_progress(void *ctx, int done, int total)
{
    progress_box *b = ctx;
    if (b->fn) (void)b->fn(b->ctx, done, total);
}

/* Text for a tokenizer: every document's share of max_bytes, from its start, so that all
 * kinds of text are seen whatever their order. */
static loci_status tokenizer_from_corpus(loci_tokenizer **out, const loci_corpus *corpus, int vocab,
                                         int64_t max_bytes, progress_box *progress, loci_error *err)
{
    loci_bpe_trainer *b;
    loci_status st = loci_bpe_trainer_open(&b, err);
    if (st != LOCI_OK) return st;
    const double share =
        corpus->bytes > (size_t)max_bytes ? (double)max_bytes / (double)corpus->bytes : 1.0;
    for (size_t d = 0; d < corpus->n_docs && st == LOCI_OK; d++) {
        const size_t len = corpus->start[d + 1] - corpus->start[d];
        size_t take = (size_t)((double)len * share);
        if (take < 1) continue;
        take = loci_encode_safe_cut(corpus->text + corpus->start[d], len, take);
        st = loci_bpe_trainer_add(b, corpus->text + corpus->start[d], take, err);
    }
    if (st == LOCI_OK && corpus->n_docs == 0) { /* no data: the generator's own text */
        const size_t n = 2000000;
        char *text = malloc(n);
        if (!text)
            st = loci_fail(err, LOCI_ENOMEM, "no memory for %zu bytes of text", n);
        else
            st = loci_bpe_trainer_add(b, text, loci_task_filler(1, n, text, n), err);
        free(text);
    }
    if (st == LOCI_OK) st = loci_bpe_trainer_finish(b, vocab, merge_progress, progress, out, err);
    loci_bpe_trainer_close(b);
    return st;
}

/* Once a folder: the data of a run do not change.  A run that starts from a checkpoint has that one's
 * behind it as well. */
static loci_status write_grams(const loci_trainer *t, const loci_train_options *opt,
                               loci_error *err)
{
    static const char name[] = "data_grams.bin";
    char path[4096], from[4096];
    loci_grams *before = NULL;
    loci_status st = loci_path_join(path, sizeof path, opt->out, name, err);
    if (st != LOCI_OK || opt->n_data == 0 || (opt->resume && access(path, F_OK) == 0)) return st;
    if (opt->init) {
        st = loci_path_join(from, sizeof from, opt->init, name, err);
        if (st == LOCI_OK && access(from, F_OK) == 0) st = loci_grams_open(&before, from, err);
    }
    if (st == LOCI_OK) st = loci_grams_write(&t->corpus, before, LOCI_GRAMS_MOST, path, err);
    loci_grams_close(before);
    return st;
}

static loci_status load_data(loci_corpus *c, const char *const *data, int n, loci_error *err)
{
    loci_status st = LOCI_OK;
    for (int i = 0; i < n && st == LOCI_OK; i++) st = loci_corpus_add(c, data[i], err);
    if (st == LOCI_OK && n > 0 && c->n_docs == 0)
        st = loci_fail(err, LOCI_ENOTFOUND, "no text found in the data given (first path: %s)",
                       data[0]);
    return st;
}

loci_status loci_train_tokenizer(const char *const *data, int n_data, int vocab, int64_t max_bytes,
                                 const char *out_path, loci_progress_fn *progress, void *ctx,
                                 loci_error *err)
{
    if (!data || n_data < 1 || !out_path || max_bytes < 1)
        return loci_fail(err, LOCI_EINVAL,
                         "tokenizer training needs data, an output path and bytes");
    loci_corpus corpus = { 0 };
    loci_tokenizer *tok = NULL;
    progress_box box = { progress, ctx };
    loci_status st = load_data(&corpus, data, n_data, err);
    if (st == LOCI_OK) st = tokenizer_from_corpus(&tok, &corpus, vocab, max_bytes, &box, err);
    if (st == LOCI_OK) st = loci_tokenizer_save(tok, out_path, err);
    loci_tokenizer_close(tok);
    loci_corpus_free(&corpus);
    return st;
}

/* The tokenizer named, else the one in the folder, else a new one; it ends up in the folder. */
static loci_status get_tokenizer(loci_trainer *t, const loci_train_options *opt, loci_error *err)
{
    char path[4096];
    progress_box none = { NULL, NULL };
    loci_status st = loci_path_join(path, sizeof path, opt->out, "tokenizer.json", err);
    if (st != LOCI_OK) return st;
    const bool have = access(path, F_OK) == 0;
    if (opt->tokenizer)
        st = loci_tokenizer_open(&t->tok, opt->tokenizer, err);
    else if (have)
        st = loci_tokenizer_open(&t->tok, path, err);
    else
        st = tokenizer_from_corpus(&t->tok, &t->corpus, t->config.hp.vocab,
                                   t->config.tokenizer_bytes, &none, err);
    if (st != LOCI_OK) return st;
    if (loci_tokenizer_vocab(t->tok) > t->config.hp.vocab)
        return loci_fail(err, LOCI_EINVAL,
                         "%s: tokenizer has %d entries, the model's vocabulary %d",
                         opt->tokenizer ? opt->tokenizer : path, loci_tokenizer_vocab(t->tok),
                         t->config.hp.vocab);
    return opt->tokenizer || !have ? loci_tokenizer_save(t->tok, path, err) : LOCI_OK;
}

/* ---- progress ---------------------------------------------------------------------------------- */
static double mean(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0.0;
}

static void fill_progress(loci_train_progress *p, const loci_trainer *t, const loci_loss_sums *s,
                          double lr, double norm)
{
    p->step = t->state.step;
    p->tokens = t->state.tokens;
    p->total_tokens = t->config.total_tokens;
    p->phase = t->phase->name;
    p->lr = lr;
    p->grad_norm = norm;
    p->loss_text = mean(s->ce_text, s->n_text);
    p->loss_answer = mean(s->ce_answer, s->n_answer);
    p->answer_right = mean((double)s->n_answer_right, s->n_answer);
    p->loss_kl = mean(s->kl, s->n_kl);
    p->loss_oracle = mean(s->oracle, s->n_gold);
    p->loss_absent = mean(s->absence, s->n_absent);
    p->loss_pointer = mean(s->pointer, s->n_gold);
    p->loss_decode = mean(s->decode, s->n_decode);
    p->loss_ageing = mean(s->ageing, s->n_aged);
    p->loss_hash = mean(s->hash, s->n_hash) + mean(s->spread, s->n_spread);
    p->code_agreement = mean(s->agreement, s->n_gold);
    p->exact = mean(s->exact, s->n_exact);
    p->consult_rate = mean(s->consulted, s->n_consult_pairs);
    p->regret = mean(s->regret, s->n_regret);
    p->reading_gain = mean(s->gain, s->n_regret);
    p->router_recall = mean(s->recall, s->n_gold);
}

static bool run_over(const loci_trainer *t, const loci_train_options *opt, int64_t first_step,
                     double begin)
{
    if (t->state.phase >= t->config.n_phases) return true;
    if (opt->stop_after_steps > 0 && t->state.step - first_step >= opt->stop_after_steps)
        return true;
    if (opt->stop_at_tokens > 0 && t->state.tokens >= opt->stop_at_tokens) return true;
    return opt->stop_after_seconds > 0 && loci_seconds() - begin >= opt->stop_after_seconds;
}

static loci_status save(loci_trainer *t, const char *out, loci_error *err)
{
    const loci_status st = t->on_gpu ? loci_gpu_trainer_fetch(t, err) : LOCI_OK;
    if (st != LOCI_OK) return st;
    return loci_checkpoint_save(out, &t->config, &t->optim, t->model, &t->state, err);
}

static loci_status loop(loci_trainer *t, const loci_train_options *opt, loci_train_report *out,
                        loci_error *err)
{
    const loci_train_config *c = &t->config;
    const double begin = loci_seconds();
    const int64_t first_step = t->state.step, first_tokens = t->state.tokens;
    double lr = 0.0, norm = 0.0, last_time = begin;
    int64_t last_tokens = first_tokens;
    loci_loss_sums sums = { 0 };
    bool cancelled = false;
    loci_status st = LOCI_OK;
    while (st == LOCI_OK && !cancelled && !run_over(t, opt, first_step, begin)) {
        st = loci_trainer_step(t, &sums, &norm, &lr, err);
        if (st != LOCI_OK) break;
        const bool last = run_over(t, opt, first_step, begin);
        if (t->state.step % c->log_every == 0 || last) {
            const double now = loci_seconds();
            fill_progress(&out->last, t, &sums, lr, norm);
            out->last.seconds = now - begin;
            out->last.tokens_per_second =
                (double)(t->state.tokens - last_tokens) / (now - last_time);
            memset(&sums, 0, sizeof sums);
            last_time = now;
            last_tokens = t->state.tokens;
            st = loci_train_log(opt->out, &out->last, err);
            if (st == LOCI_OK && opt->progress)
                cancelled = opt->progress(opt->progress_ctx, &out->last);
        }
        if (st == LOCI_OK && (last || cancelled || t->state.step % c->checkpoint_every == 0))
            st = save(t, opt->out, err);
    }
    out->steps = t->state.step;
    out->tokens = t->state.tokens;
    out->seconds = loci_seconds() - begin;
    if (t->on_gpu) loci_gpu_trainer_times(t, out);
    if (st == LOCI_OK && cancelled)
        st = loci_fail(err, LOCI_ECANCEL,
                       "stopped after step %lld; the checkpoint in %s goes on from there",
                       (long long)t->state.step, opt->out);
    return st;
}

loci_train_options loci_train_options_default(void)
{
    return (loci_train_options){ .resume = true };
}

/* Go on from the state in opt->out, else from the weights of opt->init, else from random ones, which
 * are there already. */
static loci_status start(loci_trainer *t, const loci_train_options *opt, loci_error *err)
{
    loci_error none = { 0 };
    if (opt->resume) {
        const loci_status st =
            loci_checkpoint_load(opt->out, &t->config, &t->optim, &t->state, &none);
        if (st != LOCI_ENOTFOUND) {
            if (st != LOCI_OK && err) *err = none;
            return st;
        }
    }
    return opt->init ? loci_trainer_init_from(t, opt, err) : LOCI_OK;
}

static loci_status set_up(loci_trainer *t, const loci_train_options *opt, loci_error *err)
{
    unsigned flags = 0;
    loci_status st = loci_train_config_load(&t->config, opt->config, err);
    if (st == LOCI_OK)
        st = loci_cpu_limit(opt->cpu ? opt->cpu : "native", loci_cpu_detect(), &flags, err);
    if (st == LOCI_OK) st = loci_mkdirs(NULL, opt->out, err);
    if (st == LOCI_OK) st = load_data(&t->corpus, opt->data, opt->n_data, err);
    if (st == LOCI_OK) st = write_grams(t, opt, err);
    if (st == LOCI_OK) st = get_tokenizer(t, opt, err);
    if (st == LOCI_OK) st = loci_pool_open(&t->pool, opt->threads, err);
    loci_devices devices = { { 0 }, 0 };
    if (st == LOCI_OK) st = loci_devices_parse(opt->device, &devices, err);
    t->on_gpu = devices.n > 0;
    if (st == LOCI_OK)
        st = loci_optim_init(&t->optim, &t->config, t->on_gpu ? 0 : t->config.slots, err);
    if (st == LOCI_OK) st = loci_trainer_alloc(t, err);
    if (st != LOCI_OK) return st;
    loci_params_init(t->optim.param, &t->config.hp, (uint64_t)t->config.seed);
    st = loci_model_wrap(&t->model, &t->config.hp, t->optim.param, flags, err);
    if (st == LOCI_OK) st = start(t, opt, err);
    return st == LOCI_OK && t->on_gpu ? loci_gpu_trainer_open(t, &devices, err) : st;
}

loci_status loci_train(const loci_train_options *opt, loci_train_report *out, loci_error *err)
{
    memset(out, 0, sizeof *out);
    if (!opt->config || !opt->out || opt->n_data < 0 || (opt->n_data > 0 && !opt->data))
        return loci_fail(err, LOCI_EINVAL, "training needs a config and an output folder");
    loci_trainer *t = calloc(1, sizeof *t);
    if (!t) return loci_fail(err, LOCI_ENOMEM, "no memory for a trainer");
    loci_status st = set_up(t, opt, err);
    if (st == LOCI_OK) {
        for (int i = 0; i < t->optim.n_info; i++)
            out->parameters += (int64_t)t->optim.info[i].rows * t->optim.info[i].cols;
        st = loop(t, opt, out, err);
    }
    if (out->last.phase) out->last.phase = NULL; /* borrowed from the trainer, which ends here */
    loci_trainer_free(t);
    free(t);
    return st;
}
