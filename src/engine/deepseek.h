/* deepseek.h - models of the DeepSeek-V4 family within the engine. */
#ifndef LOCI_ENGINE_DEEPSEEK_H
#define LOCI_ENGINE_DEEPSEEK_H

#include "loci/deepseek.h"
#include "loci/loci.h"
#include "loci/tokenizer.h"
#include "model/dsv4/files.h"

/* The tokenizer of an open checkpoint (deepseek_tokenizer.c), *out owned.  Errors: LOCI_EFORMAT
 * naming file, key, expected and found; those of loci_tokenizer_open and _from_lists. */
loci_status loci_dsv4_tokenizer(loci_tokenizer **out, const loci_dsv4_files *f, loci_error *err);

/* ---- within an engine (deepseek_model.c) ---------------------------------------------------- */
typedef struct loci_deepseek {
    loci_dsv4_files *files;
    loci_dsv4_paging *paging; /* NULL: experts are mapped */
    loci_dsv4 m;
} loci_deepseek;
/* Open, bind and make ready.  Errors: those of loci_engine_open. */
loci_status loci_deepseek_open(loci_deepseek **out, const loci_engine_options *opt,
                               unsigned cpu_flags, loci_error *err);
void loci_deepseek_close(loci_deepseek *d); /* NULL is fine */
void loci_deepseek_info_fill(const loci_deepseek *d, loci_model_info *info);

/* ---- within a session (deepseek_session.c) ---------------------------------------------------- */
typedef struct loci_deepseek_session loci_deepseek_session;
loci_status loci_deepseek_session_open(loci_deepseek_session **out, const loci_deepseek *d,
                                       loci_pool *pool, const loci_session_options *opt,
                                       loci_error *err);
void loci_deepseek_session_close(loci_deepseek_session *s); /* NULL is fine */
void loci_deepseek_session_reset(loci_deepseek_session *s);
int64_t loci_deepseek_session_length(const loci_deepseek_session *s);
/* As the functions of loci.h; arguments are checked by the caller. */
loci_status loci_deepseek_session_extend(loci_deepseek_session *s, const int32_t *ids, int64_t n,
                                         float *logits, int64_t n_logits, loci_error *err);
loci_status loci_deepseek_session_resume(loci_deepseek_session *s, const int32_t *ids, int64_t n,
                                         int64_t *taken, loci_error *err);
loci_status loci_deepseek_session_save(loci_deepseek_session *s, loci_error *err);
loci_status loci_deepseek_session_draft(loci_deepseek_session *s, int32_t next, int n,
                                        int32_t *draft, loci_error *err);
bool loci_deepseek_session_rewind(loci_deepseek_session *s, int64_t n);

#endif
