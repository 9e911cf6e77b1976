/* deepseek.c - `loci model info` of a DeepSeek-V4 model: its shape, its parameters, what contexts of
 * common lengths need. */
#include "cli.h"
#include "loci/deepseek.h"

static const struct {
    const char *name;
    int64_t tokens;
} lengths[] = { { "32K", 32768 }, { "128K", 131072 }, { "1M", 1048576 } };

static double context_bytes(const loci_deepseek_info *m, int64_t tokens)
{
    return m->context_bytes_per_token * (double)tokens + (double)m->state_bytes;
}

/* Weights that a token reads besides the dense ones. */
static double expert_bytes_per_token(const loci_deepseek_info *m)
{
    return (double)m->expert_bytes * m->n_active * m->n_layers;
}

static double weights(const loci_deepseek_info *m)
{
    return (double)(m->file_bytes ? m->file_bytes : m->weight_bytes);
}

/* "284.33 B", "1.09 M" */
static const char *human_count(int64_t n, char out[32])
{
    const bool small = n < 100000000;
    snprintf(out, 32, "%.2f %c", (small ? 1e-6 : 1e-9) * (double)n, small ? 'M' : 'B');
    return out;
}

static void info_json(const loci_deepseek_info *m, const char *path)
{
    json_t *o = json_object(), *contexts = json_array();
    put_text(o, "model", path);
    put_text(o, "architecture", m->architecture);
    put_text(o, "expert_type", m->expert_type);
    put_int(o, "vocab", m->vocab);
    put_int(o, "d_model", m->d_model);
    put_int(o, "n_layers", m->n_layers);
    put_int(o, "n_window", m->n_window);
    put_int(o, "n_csa", m->n_csa);
    put_int(o, "n_hca", m->n_hca);
    put_int(o, "n_hash", m->n_hash);
    put_int(o, "n_heads", m->n_heads);
    put_int(o, "d_head", m->d_head);
    put_int(o, "window", m->window);
    put_int(o, "index_top_k", m->index_top_k);
    put_int(o, "n_experts", m->n_experts);
    put_int(o, "n_active", m->n_active);
    put_int(o, "n_draft", m->n_draft);
    put_int(o, "max_tokens", m->max_tokens);
    put_int(o, "file_bytes", m->file_bytes);
    for (int i = 0; i < COUNT(lengths) && m->costs; i++) {
        json_t *row = json_object();
        put_int(row, "tokens", lengths[i].tokens);
        put_int(row, "context_bytes", (int64_t)(context_bytes(m, lengths[i].tokens) + 0.5));
        json_array_append_new(contexts, row);
    }
    if (m->costs) {
        put_int(o, "parameters", m->parameters);
        put_int(o, "active_parameters", m->active);
        put_int(o, "draft_parameters", m->draft_parameters);
        put_int(o, "weight_bytes", m->weight_bytes);
        put_int(o, "dense_bytes", m->dense_bytes);
        put_int(o, "expert_bytes", m->expert_bytes);
        put_int(o, "state_bytes", m->state_bytes);
        put_real(o, "context_bytes_per_token", m->context_bytes_per_token);
    }
    json_object_set_new(o, "contexts", contexts);
    print_json(o);
}

static void shape_text(const loci_deepseek_info *m)
{
    printf("  shape         vocabulary %d, width %d, %d layers (%d window, %d CSA, %d HCA)\n",
           m->vocab, m->d_model, m->n_layers, m->n_window, m->n_csa, m->n_hca);
    printf("  attention     %d heads of %d, window %d, %d entries picked, up to %lld tokens\n",
           m->n_heads, m->d_head, m->window, m->index_top_k, (long long)m->max_tokens);
    printf("  experts       %d a layer, %d chosen and 1 shared; %d layer%s choose%s by token id\n",
           m->n_experts, m->n_active, m->n_hash, m->n_hash == 1 ? "" : "s",
           m->n_hash == 1 ? "s" : "");
}

static void costs_text(const loci_deepseek_info *m)
{
    char a[32], b[32], c[32];
    printf("  weights       %s %s; %s without routed experts\n", human_bytes(weights(m), a),
           m->file_bytes ? "in its files" : "as released, not here",
           human_bytes((double)m->dense_bytes, b));
    printf("                experts %s each, %s a token\n", human_bytes((double)m->expert_bytes, a),
           human_bytes(expert_bytes_per_token(m), b));
    printf("  context       %.4g bytes a token, and %s a sequence\n", m->context_bytes_per_token,
           human_bytes((double)m->state_bytes, a));
    printf("\n  %-8s  %12s  %16s  %22s\n", "tokens", "context", "all weights", "experts from disk");
    for (int i = 0; i < COUNT(lengths); i++) {
        const double context = context_bytes(m, lengths[i].tokens);
        const double least = (double)m->dense_bytes + (double)m->expert_bytes * m->n_active;
        printf("  %-8s  %12s  %16s  %22s\n", lengths[i].name, human_bytes(context, a),
               human_bytes(context + weights(m), b), human_bytes(context + least, c));
    }
}

int deepseek_info(const char *path, bool json)
{
    loci_error err = { 0 };
    loci_deepseek_info m;
    char a[32], b[32];
    if (loci_deepseek_describe(path, &m, &err) != LOCI_OK) return fail(&err);
    if (json) {
        info_json(&m, path);
        return EXIT_OK;
    }
    print_name(stdout, path);
    printf("\n  architecture  %s, %s experts", m.architecture, m.expert_type);
    if (m.costs)
        printf(", %s parameters, %s active", human_count(m.parameters, a),
               human_count(m.active, b));
    printf("\n");
    shape_text(&m);
    if (m.n_draft > 0 && m.draft_parameters > 0)
        printf("  drafting      %d block%s, %s parameters\n", m.n_draft, m.n_draft == 1 ? "" : "s",
               human_count(m.draft_parameters, a));
    if (m.costs)
        costs_text(&m);
    else
        printf("  This model is recognised, but not run.\n");
    return EXIT_OK;
}
