/* phase_bench.c - a model to be measured: loaded, or generated from a config; the machine it runs on;
 * which phase is run.
 *
 * A generated model has random weights in the type asked for and a tokenizer trained on generated
 * text, in a folder like any other: what is measured is the engine as it opens a model. */
#include "engine/phase_impl.h"
#include "kernel/peak.h"
#include "loci/task.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_MAX_BYTES = 1 << 20,
    TEXT_MAX_BYTES = 1 << 28,
    PAGE = 1 << 16,
    TEXT_TOKENS = 1 << 14
};

loci_bench_model_options loci_bench_model_options_default(void)
{
    return (loci_bench_model_options){ .dtype = "int8", .banks = 1, .repeat = 5, .seed = 1 };
}

const char *loci_bench_phase_name(loci_bench_phase phase)
{
    static const char *const name[] = {
#define X(id, text) text,
        LOCI_BENCH_PHASE_LIST(X)
#undef X
    };
    return phase >= 0 && phase < LOCI_BENCH_PHASES ? name[phase] : "unknown";
}

/* ---- a generated model ----------------------------------------------------------------------- */

/* The shape that a training config asks for. */
static loci_status config_shape(loci_hparams *hp, const char *path, loci_error *err)
{
    char *text = NULL, *model = NULL;
    size_t len;
    json_error_t why;
    loci_hparams_default(hp);
    loci_status st = loci_file_load(NULL, path, CONFIG_MAX_BYTES, &text, &len, err);
    if (st != LOCI_OK) return st;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    json_t *section = json_object_get(root, "model");
    if (!root)
        st = loci_fail(err, LOCI_EFORMAT, "%s: line %d: %s", path, why.line, why.text);
    else if (!json_is_object(section))
        st = loci_fail(err, LOCI_EFORMAT, "%s: expected an object \"model\", found none", path);
    else if (!(model = json_dumps(section, JSON_COMPACT)))
        st = loci_fail(err, LOCI_ENOMEM, "no memory for %s", path);
    if (st == LOCI_OK)
        st = loci_settings_parse(model, path, loci_hparams_table, loci_hparams_table_n, hp, NULL,
                                 err);
    if (st == LOCI_OK) st = loci_hparams_check(hp, path, err);
    free(model);
    free(text);
    json_decref(root);
    return st;
}

/* A page of made-up words: the generated text alone has some hundred, and so does not fill a large
 * vocabulary. */
static size_t made_up_words(uint64_t seed, char *out, size_t n)
{
    loci_rng r;
    loci_rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++)
        out[i] = loci_rng_below(&r, 7) == 0 ? ' ' : (char)('a' + loci_rng_below(&r, 26));
    return n;
}

static loci_status write_tokenizer(const char *dir, int vocab, uint64_t seed, loci_error *err)
{
    char path[4096], *page = malloc(PAGE);
    loci_bpe_trainer *trainer = NULL;
    loci_tokenizer *tok = NULL;
    loci_status st = page ? loci_path_join(path, sizeof path, dir, "tokenizer.json", err)
                          : loci_fail(err, LOCI_ENOMEM, "no memory for text");
    if (st == LOCI_OK) st = loci_bpe_trainer_open(&trainer, err);
    /* Some 100 bytes an entry. */
    const uint64_t pages = 4 + (uint64_t)vocab * 100 / PAGE;
    for (uint64_t i = 0; st == LOCI_OK && i < 2 * pages; i++) {
        const uint64_t of_page = loci_rng_mix(seed, i);
        const size_t n = i < pages ? loci_task_filler(of_page, PAGE, page, PAGE)
                                   : made_up_words(of_page, page, PAGE);
        st = loci_bpe_trainer_add(trainer, page, n, err);
    }
    if (st == LOCI_OK)
        st = loci_bpe_trainer_finish(trainer, vocab < 65536 ? vocab : 65536, NULL, NULL, &tok, err);
    /* An answer may have any id of the vocabulary. */
    if (st == LOCI_OK && loci_tokenizer_vocab(tok) < vocab)
        st = loci_fail(err, LOCI_EINVAL, "vocab: expected %d at most, found %d",
                       loci_tokenizer_vocab(tok), vocab);
    if (st == LOCI_OK) st = loci_tokenizer_save(tok, path, err);
    loci_tokenizer_close(tok);
    loci_bpe_trainer_close(trainer);
    free(page);
    return st;
}

static loci_status write_model(const loci_bench_model *b, const loci_hparams *hp, loci_error *err)
{
    loci_dtype dtype;
    loci_model *m = NULL;
    loci_status st = loci_quantize_type(b->opt.dtype, &dtype, err);
    if (st != LOCI_OK) return st;
    float *base = loci_alloc_aligned(loci_param_floats(hp) * sizeof *base);
    if (!base) return loci_fail(err, LOCI_ENOMEM, "no memory for a model's weights");
    loci_params_init(base, hp, b->opt.seed);
    st = loci_model_wrap(&m, hp, base, loci_cpu_detect(), err);
    if (st == LOCI_OK) st = loci_model_save(m, b->model_dir, dtype, NULL, err);
    loci_model_close(m);
    loci_free_aligned(base);
    return st;
}

static loci_status generate(loci_bench_model *b, loci_error *err)
{
    loci_hparams hp;
    char dir[4096];
    loci_status st = config_shape(&hp, b->opt.config, err);
    if (st == LOCI_OK && hp.n_groups == 0)
        st = loci_fail(err, LOCI_EMODEL, "%s: n_groups is 0: no bank, nothing to measure",
                       b->opt.config);
    if (st == LOCI_OK && hp.vocab < LOCI_TOK_SPECIALS + 256)
        st = loci_fail(err, LOCI_EINVAL, "%s: vocab: expected %d or more, found %d", b->opt.config,
                       LOCI_TOK_SPECIALS + 256, hp.vocab);
    if (st == LOCI_OK) st = loci_path_join(dir, sizeof dir, b->work_dir, "model", err);
    if (st == LOCI_OK) st = loci_mkdirs(NULL, dir, err);
    if (st == LOCI_OK && !(b->model_dir = strdup(dir)))
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a path");
    if (st != LOCI_OK) return st;
    b->generated = true;
    st = write_model(b, &hp, err);
    return st == LOCI_OK ? write_tokenizer(dir, hp.vocab, b->opt.seed, err) : st;
}

/* ---- text --------------------------------------------------------------------------------------- */

/* A page of generated text, or of the caller's, which comes round again at its end. */
static size_t next_page(const loci_bench_model *b, uint64_t i, const char *given, size_t n_given,
                        char *page)
{
    if (!given) return loci_task_filler(loci_rng_mix(b->opt.seed, 1000 + i), PAGE, page, PAGE);
    const size_t at = (size_t)i * PAGE % n_given, left = n_given - at;
    const size_t n = left < PAGE ? left : PAGE;
    memcpy(page, given + at, n);
    return n;
}

/* Ids of text: TEXT_TOKENS, or a span of ingest with its context. */
static loci_status make_text(loci_bench_model *b, loci_error *err)
{
    loci_encoder *enc = NULL;
    char *page = malloc(PAGE), *given = NULL;
    size_t n_given = 0;
    const int span = loci_ingest_left(&b->engine->model->hp) + LOCI_INGEST_SPAN;
    const int64_t want = span > TEXT_TOKENS ? span : TEXT_TOKENS;
    b->text = malloc(((size_t)want + PAGE) * sizeof *b->text);
    loci_status st = page && b->text ? loci_encoder_open(&enc, b->engine->tok, err)
                                     : loci_fail(err, LOCI_ENOMEM, "no memory for text");
    if (st == LOCI_OK && b->opt.text)
        st = loci_file_load(NULL, b->opt.text, TEXT_MAX_BYTES, &given, &n_given, err);
    if (st == LOCI_OK && given && n_given == 0)
        st = loci_fail(err, LOCI_EINVAL, "%s: expected text, found an empty file", b->opt.text);
    for (uint64_t i = 0; st == LOCI_OK && b->n_text < want; i++) {
        size_t n_tok = 0;
        const size_t n = next_page(b, i, given, n_given, page);
        st = loci_encode(enc, page, n, b->text + b->n_text, NULL, PAGE, &n_tok, err);
        b->n_text += (int64_t)n_tok;
    }
    loci_encoder_close(enc);
    free(given);
    free(page);
    return st;
}

/* ---- the machine ---------------------------------------------------------------------------------- */

static void keep_best(double *best, double rate)
{
    if (rate > *best) *best = rate;
}

/* Rates with one thread (all = 0) or all of them: what was seen before or what is seen now, whichever
 * is more, as a busy machine shows less than it has. */
static void measure_rates(loci_bench_model *b, int all)
{
    enum { FAR = 256 << 20, NEAR = 4 << 20, MEGA = 1 << 20 };
    loci_bench_machine *w = &b->machine;
    loci_pool *pool = all ? b->engine->pool : NULL;
    /* A quarter of the cache: other programs, and what else we have in hand, want their share. */
    size_t near = w->cache_bytes > 0 ? (size_t)w->cache_bytes / 4 : NEAR;
    near = near < MEGA ? MEGA : near < FAR ? near & ~(size_t)(MEGA - 1) : FAR;
    void *data = loci_alloc_aligned(FAR);
    keep_best(&w->f32[all], loci_kernel_peak(LOCI_PEAK_F32, b->flags, pool));
    keep_best(&w->bf16[all], loci_kernel_peak(LOCI_PEAK_BF16, b->flags, pool));
    keep_best(&w->int8[all], loci_kernel_peak(LOCI_PEAK_INT8, b->flags, pool));
    if (data) {
        keep_best(&w->cached[all], loci_kernel_read_peak(data, near, b->flags, pool));
        keep_best(&w->read[all], loci_kernel_read_peak(data, FAR, b->flags, pool));
    }
    loci_free_aligned(data);
}

static void describe_machine(loci_bench_model *b)
{
    static const struct {
        unsigned flag;
        const char *name;
    } feature[] = { { LOCI_CPU_AVX2, "avx2" },         { LOCI_CPU_AVX512, "avx512" },
                    { LOCI_CPU_VNNI, "vnni" },         { LOCI_CPU_BF16, "bf16" },
                    { LOCI_CPU_VPOPCNT, "vpopcntdq" }, { LOCI_CPU_DOTPROD, "dotprod" } };
    loci_bench_machine *w = &b->machine;
    w->cache_bytes = loci_cpu_cache_bytes();
    w->threads = loci_pool_threads(b->engine->pool);
    for (size_t i = 0; i < sizeof feature / sizeof *feature; i++) {
        const size_t n = strlen(w->features);
        if (b->flags & feature[i].flag)
            snprintf(w->features + n, sizeof w->features - n, "%s%s", n ? " " : "",
                     feature[i].name);
    }
}

const loci_bench_machine *loci_bench_model_machine(const loci_bench_model *b)
{
    return &b->machine;
}

const char *loci_bench_model_energy(const loci_bench_model *b)
{
    return loci_energy_source(b->energy);
}

double loci_phase_joules(const loci_bench_model *b)
{
    const loci_energy_reading r = loci_energy_read(b->energy);
    return r.has_cpu || r.has_gpu ? r.cpu_joules + r.gpu_joules : NAN;
}

const loci_model_info *loci_bench_model_info(const loci_bench_model *b)
{
    return &b->engine->info;
}

/* ---- open and close --------------------------------------------------------------------------------- */

static loci_status check_options(const loci_bench_model_options *o, loci_error *err)
{
    if (!o->work_dir || !o->dtype || !!o->model_dir == !!o->config)
        return loci_fail(err, LOCI_EINVAL, "a working folder, and a model or a config");
    if (o->banks < 1 || o->banks > LOCI_PHASE_BANKS)
        return loci_fail(err, LOCI_EINVAL, "banks: expected 1..%d, found %d", LOCI_PHASE_BANKS,
                         o->banks);
    if (o->repeat < 1 || o->repeat > 1000)
        return loci_fail(err, LOCI_EINVAL, "repeat: expected 1..1000, found %d", o->repeat);
    if (o->units < 0 || o->units > 1 << 28)
        return loci_fail(err, LOCI_EINVAL, "units: expected 0..2^28, found %lld",
                         (long long)o->units);
    return LOCI_OK;
}

static loci_status open_all(loci_bench_model *b, loci_error *err)
{
    const loci_bench_model_options *o = &b->opt;
    loci_status st = loci_cpu_limit(o->cpu ? o->cpu : "native", loci_cpu_detect(), &b->flags, err);
    b->work_dir = strdup(o->work_dir);
    if (st == LOCI_OK && o->model_dir) b->model_dir = strdup(o->model_dir);
    if (st == LOCI_OK && (!b->work_dir || (o->model_dir && !b->model_dir)))
        st = loci_fail(err, LOCI_ENOMEM, "no memory for a path");
    if (st == LOCI_OK) st = loci_energy_open(&b->energy, NULL, err);
    if (st == LOCI_OK && o->config) st = generate(b, err);
    if (st != LOCI_OK) return st;
    const loci_engine_options eo = { .model_dir = b->model_dir,
                                     .threads = o->threads,
                                     .cpu = o->cpu };
    st = loci_engine_open(&b->engine, &eo, err);
    if (st == LOCI_OK) st = loci_engine_need_reads(b->engine, err);
    if (st == LOCI_OK) st = make_text(b, err);
    if (st != LOCI_OK) return st;
    describe_machine(b);
    measure_rates(b, 0);
    measure_rates(b, 1);
    return LOCI_OK;
}

loci_status loci_bench_model_open(loci_bench_model **out, const loci_bench_model_options *opt,
                                  loci_error *err)
{
    *out = NULL;
    loci_status st = check_options(opt, err);
    loci_bench_model *b = st == LOCI_OK ? calloc(1, sizeof *b) : NULL;
    if (st != LOCI_OK) return st;
    if (!b) return loci_fail(err, LOCI_ENOMEM, "no memory for a benchmark");
    b->opt = *opt;
    st = open_all(b, err);
    /* Borrowed for this call; cpu is one of four names and stays useful for the phase `open`. */
    b->opt.model_dir = b->opt.config = b->opt.dtype = b->opt.work_dir = b->opt.text = NULL;
    if (st != LOCI_OK) {
        loci_bench_model_close(b);
        return st;
    }
    *out = b;
    return LOCI_OK;
}

void loci_phase_close_banks(loci_bench_model *b)
{
    loci_phase_asking_close(b);
    for (int i = 0; i < b->n_banks; i++) loci_bank_close(b->bank[i]);
    b->n_banks = 0;
}

static void remove_banks(loci_bench_model *b)
{
    char dir[4096];
    for (int i = 0; b->work_dir && i < LOCI_PHASE_BANKS; i++)
        if (loci_phase_bank_dir(b, i, dir, sizeof dir, NULL) == LOCI_OK) loci_phase_remove(dir);
}

void loci_bench_model_close(loci_bench_model *b)
{
    if (!b) return;
    loci_phase_close_banks(b);
    remove_banks(b);
    loci_engine_close(b->engine);
    loci_energy_close(b->energy);
    if (b->generated) loci_phase_remove(b->model_dir);
    free(b->model_dir);
    free(b->work_dir);
    free(b->text);
    free(b);
}

/* ---- running ------------------------------------------------------------------------------------------- */

loci_status loci_phase_open_banks(loci_bench_model *b, loci_bench_model_row *row, loci_error *err)
{
    char dir[4096];
    loci_status st = LOCI_OK;
    row->bank_tokens = row->disk_bytes = 0;
    for (int i = 0; i < b->opt.banks && st == LOCI_OK; i++) {
        loci_bank_stat info;
        st = loci_phase_bank_dir(b, i, dir, sizeof dir, err);
        if (st == LOCI_OK) st = loci_bank_open(&b->bank[i], b->engine, dir, LOCI_BANK_READ, err);
        if (st != LOCI_OK) break;
        b->n_banks = i + 1;
        st = loci_bank_info(b->bank[i], &info, err);
        row->bank_tokens += info.tokens;
        row->disk_bytes += info.disk_bytes;
    }
    return st;
}

int loci_phase_quickest(const double *seconds, int n, double *median)
{
    int best = 0, below = 0, same = 0;
    for (int i = 1; i < n; i++)
        if (seconds[i] < seconds[best]) best = i;
    *median = seconds[best];
    for (int i = 0; i < n; i++) { /* n is at most 1,000 */
        below = same = 0;
        for (int k = 0; k < n; k++) {
            below += seconds[k] < seconds[i];
            same += seconds[k] == seconds[i];
        }
        if (below <= n / 2 && n / 2 < below + same) *median = seconds[i];
    }
    return best;
}

static loci_status make_banks(loci_bench_model *b, int64_t depth, loci_error *err)
{
    loci_status st = LOCI_OK;
    const int n = b->opt.banks;
    for (int i = 0; i < n && st == LOCI_OK; i++)
        st = loci_phase_bank_make(b, i, depth * (i + 1) / n - depth * i / n, err);
    return st;
}

loci_status loci_bench_model_run(loci_bench_model *b, loci_bench_phase phase, int64_t depth,
                                 loci_bench_model_row *row, loci_error *err)
{
    static loci_status (*const run[])(loci_bench_model *, loci_bench_model_row *, loci_error *) = {
        [LOCI_BENCH_INGEST] = loci_phase_ingest,
        [LOCI_BENCH_DECODE] = loci_phase_decode,
        [LOCI_BENCH_OPEN] = loci_phase_open,
        [LOCI_BENCH_SEARCH] = loci_phase_search_run,
    };
    memset(row, 0, sizeof *row);
    row->phase = phase;
    row->depth = depth;
    row->hit_rate = row->joules = row->consult_rate = row->consult_rate_all = NAN;
    if ((int)phase < 0 || phase >= LOCI_BENCH_PHASES || depth < 0 || depth > 1 << 28)
        return loci_fail(err, LOCI_EINVAL, "phase %d at depth %lld", (int)phase, (long long)depth);
    loci_phase_close_banks(b);
    remove_banks(b);
    loci_status st = make_banks(b, depth, err);
    if (st == LOCI_OK) measure_rates(b, 1);
    if (st == LOCI_OK) st = run[phase](b, row, err);
    if (st == LOCI_OK) loci_phase_total(row);
    return st;
}
