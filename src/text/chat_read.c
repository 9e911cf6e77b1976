/* chat_read.c - messages of a conversation: JSON to turns, every value checked.
 *
 * There is no turn of a tool.  Consecutive user and tool messages make one user turn of
 * several blocks, where a message with a task takes no further user message; the results
 * among the blocks are put in the order of the calls they answer, each other block keeps its
 * place.  A result whose call is not known counts as that of the first call. */
#include <stdlib.h>
#include "base/base.h"
#include "text/chat_impl.h"

enum { CALLS_MAX = 1024 }; /* of one message: each result is looked for among them */

typedef struct {
    loci_chat_log *log;
    const char *label;
    loci_error *err;
} reader;

#define REFUSE(r, i, ...) refuse((r), (i), __VA_ARGS__)

static loci_status refuse(const reader *r, size_t i, const char *what, const char *detail)
{
    return loci_fail(r->err, LOCI_EFORMAT, "%s: message %zu: %s%.80s", r->label, i, what, detail);
}

/* ---- values -------------------------------------------------------------------------------- */

static bool is_absent(const json_t *v)
{
    return v == NULL || json_is_null(v);
}

/* Text, null, or a list of parts.  Results of tools may hold other parts than text: the
 * release shows those by their type. */
static loci_status check_content(const reader *r, size_t i, const json_t *content, bool any_part)
{
    if (is_absent(content) || json_is_string(content)) return LOCI_OK;
    if (!json_is_array(content)) return REFUSE(r, i, "content is no text and no list", "");
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *part = json_array_get(content, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        if (type == NULL) return REFUSE(r, i, "a part of content has no type", "");
        if (strcmp(type, "text") == 0) {
            if (!json_is_string(json_object_get(part, "text")))
                return REFUSE(r, i, "a text part of content has no text", "");
        } else if (!any_part) {
            return REFUSE(r, i, "content of this type is not supported: ", type);
        }
    }
    return LOCI_OK;
}

/* Names stand between quotes in the prompt and cannot be escaped there. */
static bool is_name(const char *s)
{
    if (s == NULL || *s == '\0') return false;
    for (; *s != '\0'; s++)
        if (*s == '"' || (unsigned char)*s < 0x20) return false;
    return true;
}

static loci_status check_tools(const reader *r, size_t i, const json_t *tools)
{
    if (is_absent(tools)) return LOCI_OK;
    if (!json_is_array(tools)) return REFUSE(r, i, "tools is no list", "");
    for (size_t k = 0; k < json_array_size(tools); k++) {
        const json_t *tool = json_array_get(tools, k), *f = json_object_get(tool, "function");
        const json_t *name = json_object_get(f != NULL ? f : tool, "name");
        if (!is_name(json_string_value(name)))
            return REFUSE(r, i, "a tool has no usable function name", "");
    }
    return LOCI_OK;
}

static loci_status check_calls(const reader *r, size_t i, const json_t *calls)
{
    if (is_absent(calls)) return LOCI_OK;
    if (!json_is_array(calls) || json_array_size(calls) > CALLS_MAX)
        return REFUSE(r, i, "tool_calls is no list of at most 1024", "");
    for (size_t k = 0; k < json_array_size(calls); k++) {
        const json_t *call = json_array_get(calls, k), *f = json_object_get(call, "function");
        const json_t *id = json_object_get(call, "id"), *args = json_object_get(f, "arguments");
        if (!is_name(json_string_value(json_object_get(f, "name"))))
            return REFUSE(r, i, "a call has no usable function name", "");
        if (!is_absent(id) && !json_is_string(id)) return REFUSE(r, i, "id of a call", "");
        if (!json_is_string(args) && !json_is_object(args))
            return REFUSE(r, i, "arguments of a call are neither text nor an object", "");
    }
    return LOCI_OK;
}

static loci_status read_task(const reader *r, size_t i, const json_t *task, const char **out)
{
    static const char *const known[] = { "action", "query", "authority",
                                         "domain", "title", "read_url" };
    *out = NULL;
    if (is_absent(task)) return LOCI_OK;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (json_is_string(task) && strcmp(json_string_value(task), known[k]) == 0) *out = known[k];
    if (*out != NULL) return LOCI_OK;
    return REFUSE(r, i, "unknown task ", json_is_string(task) ? json_string_value(task) : "");
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const char *const role_name[] = { "system",    "developer",       "user",
                                         "assistant", "latest_reminder", "tool" };
enum { ROLE_TOOL = LOCI_ROLE_REMINDER + 1, N_ROLES };

/* Keys of each role, apart by blanks. */
static const char *const role_keys[N_ROLES] = {
    " role content tools response_format ",
    " role content tools response_format task ",
    " role content task ",
    " role content reasoning_content tool_calls task wo_eos ",
    " role content ",
    " role content tool_call_id ",
};

static bool is_listed(const char *key, const char *list)
{
    const size_t n = strlen(key);
    if (n == 0 || strchr(key, ' ') != NULL) return false;
    for (const char *at = strstr(list, key); at != NULL; at = strstr(at + 1, key))
        if (at > list && at[-1] == ' ' && at[n] == ' ') return true;
    return false;
}

static loci_status check_keys(const reader *r, size_t i, const json_t *message, int *role)
{
    const char *name = json_string_value(json_object_get(message, "role"));
    if (!json_is_object(message) || name == NULL) return REFUSE(r, i, "no role", "");
    *role = 0;
    while (*role < N_ROLES && strcmp(role_name[*role], name) != 0) ++*role;
    if (*role == N_ROLES) return REFUSE(r, i, "unknown role ", name);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)message, key, value)
    {
        if (!json_is_null(value) && !is_listed(key, role_keys[*role]))
            return REFUSE(r, i, "a key that this role does not have: ", key);
    }
    return LOCI_OK;
}

/* ---- turns -------------------------------------------------------------------------------------- */

/* A user or tool message: a block of the turn at hand, or of a new one. */
static void add_block(reader *r, const json_t *message, loci_chat_turn *t, bool is_result)
{
    loci_chat_log *log = r->log;
    loci_chat_turn *last = log->n_turns > 0 ? &log->turn[log->n_turns - 1] : NULL;
    log->block[log->n_blocks] =
        (loci_chat_block){ t->content, json_string_value(json_object_get(message, "tool_call_id")),
                           is_result };
    if (last != NULL && last->role == LOCI_ROLE_USER && (is_result || last->task == NULL)) {
        last->n_blocks++;
        /* The library of the release forgets the task of a message that it merges; lost
         * silently it would change what is asked, so it counts for the turn. */
        if (t->task != NULL) last->task = t->task;
    } else {
        t->role = LOCI_ROLE_USER;
        t->block = log->n_blocks;
        t->n_blocks = 1;
        log->turn[log->n_turns++] = *t;
    }
    log->n_blocks++;
}

static loci_status read_message(reader *r, size_t i, const json_t *message)
{
    int role = 0;
    loci_status st = check_keys(r, i, message, &role);
    if (st != LOCI_OK) return st;
    loci_chat_turn t = { .role = (loci_chat_role)role, .index = i };
    t.content = json_object_get(message, "content");
    t.reasoning = json_object_get(message, "reasoning_content");
    t.calls = json_object_get(message, "tool_calls");
    t.tools = json_object_get(message, "tools");
    t.response_format = json_object_get(message, "response_format");
    const json_t *wo_eos = json_object_get(message, "wo_eos");
    t.without_eos = json_is_true(wo_eos);
    st = check_content(r, i, t.content, role == ROLE_TOOL);
    if (st == LOCI_OK && !is_absent(t.reasoning) && !json_is_string(t.reasoning))
        st = REFUSE(r, i, "reasoning_content is no text", "");
    if (st == LOCI_OK && !is_absent(wo_eos) && !json_is_boolean(wo_eos))
        st = REFUSE(r, i, "wo_eos is neither true nor false", "");
    if (st == LOCI_OK) st = check_tools(r, i, t.tools);
    if (st == LOCI_OK) st = check_calls(r, i, t.calls);
    if (st == LOCI_OK) st = read_task(r, i, json_object_get(message, "task"), &t.task);
    const json_t *call_id = json_object_get(message, "tool_call_id");
    if (st == LOCI_OK && !is_absent(call_id) && !json_is_string(call_id))
        st = REFUSE(r, i, "tool_call_id is no text", "");
    if (st == LOCI_OK && role == LOCI_ROLE_DEVELOPER && is_absent(t.content))
        st = REFUSE(r, i, "a developer message needs content", "");
    if (st != LOCI_OK) return st;
    if (json_array_size(t.tools) > 0) r->log->has_tools = true;
    if (role == LOCI_ROLE_USER || role == ROLE_TOOL)
        add_block(r, message, &t, role == ROLE_TOOL);
    else
        r->log->turn[r->log->n_turns++] = t;
    return LOCI_OK;
}

/* ---- results in the order of their calls ------------------------------------------------------ */

/* Place of a result's call, 0 if it is not among them. */
static size_t call_place(const json_t *calls, const char *id)
{
    for (size_t k = 0; id != NULL && k < json_array_size(calls); k++) {
        const char *known = json_string_value(json_object_get(json_array_get(calls, k), "id"));
        if (known != NULL && strcmp(known, id) == 0) return k;
    }
    return 0;
}

typedef struct {
    size_t place, at; /* `at` keeps equal places in order */
    loci_chat_block block;
} placed;

static int by_place(const void *x, const void *y)
{
    const placed *a = x, *b = y;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

static bool sort_turn(loci_chat_block *block, size_t n, const json_t *calls)
{
    size_t n_results = 0;
    for (size_t k = 0; k < n; k++) n_results += block[k].is_result;
    if (n_results < 2) return true;
    placed *p = calloc(n_results, sizeof *p);
    if (p == NULL) return false;
    size_t i = 0;
    for (size_t k = 0; k < n; k++)
        if (block[k].is_result) {
            p[i] = (placed){ call_place(calls, block[k].call_id), i, block[k] };
            i++;
        }
    qsort(p, n_results, sizeof *p, by_place);
    i = 0;
    for (size_t k = 0; k < n; k++)
        if (block[k].is_result) block[k] = p[i++].block;
    free(p);
    return true;
}

static bool sort_results(loci_chat_log *log)
{
    const json_t *calls = NULL;
    for (size_t i = 0; i < log->n_turns; i++) {
        const loci_chat_turn *t = &log->turn[i];
        if (t->role == LOCI_ROLE_ASSISTANT && json_array_size(t->calls) > 0) calls = t->calls;
        if (t->role == LOCI_ROLE_USER && !sort_turn(log->block + t->block, t->n_blocks, calls))
            return false;
    }
    return true;
}

/* ---- the conversation ----------------------------------------------------------------------------- */

/* Tools and response format beside the messages belong to the first message if it is the
 * system's, else to one that is put before it. */
static loci_status join_settings(const reader *r, const json_t *root, json_t *messages)
{
    static const char *const key[] = { "tools", "response_format" };
    for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
        json_t *value = json_object_get(root, key[k]);
        if (is_absent(value)) continue;
        json_t *first = json_array_get(messages, 0);
        const char *role = json_string_value(json_object_get(first, "role"));
        if (role == NULL || strcmp(role, "system") != 0) {
            first = json_pack("{s:s, s:s}", "role", "system", "content", "");
            if (json_array_insert_new(messages, 0, first) != 0)
                return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
        }
        if (!is_absent(json_object_get(first, key[k])))
            return loci_fail(r->err, LOCI_EFORMAT,
                             "%s: \"%s\" stands both beside the messages and in the first",
                             r->label, key[k]);
        if (json_object_set(first, key[k], value) != 0)
            return loci_fail(r->err, LOCI_ENOMEM, "%s: no memory", r->label);
    }
    return LOCI_OK;
}

static loci_status find_messages(const reader *r, json_t *root, json_t **messages)
{
    *messages = json_is_array(root) ? root : json_object_get(root, "messages");
    if (!json_is_array(*messages))
        return loci_fail(r->err, LOCI_EFORMAT,
                         "%s: neither a list of messages nor an object with \"messages\"",
                         r->label);
    if (!json_is_object(root)) return LOCI_OK;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(root, key, value)
    {
        if (!json_is_null(value) && !is_listed(key, " messages tools response_format "))
            return loci_fail(r->err, LOCI_EFORMAT, "%s: unknown key \"%.60s\"", r->label, key);
    }
    return join_settings(r, root, *messages);
}

loci_status loci_chat_log_read(loci_chat_log *log, const char *json, size_t len, const char *label,
                               loci_error *err)
{
    *log = (loci_chat_log){ 0 };
    reader r = { log, label, err };
    json_error_t at;
    json_t *messages = NULL;
    log->root = json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (log->root == NULL)
        return loci_fail(err, LOCI_EFORMAT, "%s: line %d: not JSON: %.100s", label, at.line,
                         at.text);
    loci_status st = find_messages(&r, log->root, &messages);
    const size_t n = json_array_size(messages);
    if (st == LOCI_OK && n == 0) st = loci_fail(err, LOCI_EFORMAT, "%s: no messages", label);
    log->turn = calloc(n + 1, sizeof *log->turn);
    log->block = calloc(n + 1, sizeof *log->block);
    if (st == LOCI_OK && (log->turn == NULL || log->block == NULL))
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory for %zu messages", label, n);
    for (size_t i = 0; i < n && st == LOCI_OK; i++)
        st = read_message(&r, i, json_array_get(messages, i));
    if (st == LOCI_OK && !sort_results(log))
        st = loci_fail(err, LOCI_ENOMEM, "%s: no memory to sort results", label);
    if (st != LOCI_OK) loci_chat_log_free(log);
    return st;
}

void loci_chat_log_free(loci_chat_log *log)
{
    json_decref(log->root);
    free(log->turn);
    free(log->block);
    *log = (loci_chat_log){ 0 };
}
