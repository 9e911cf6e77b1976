/* deepseek.h - models of the DeepSeek-V4 family within the engine. */
#ifndef LOCI_ENGINE_DEEPSEEK_H
#define LOCI_ENGINE_DEEPSEEK_H

#include "loci/deepseek.h"
#include "loci/tokenizer.h"
#include "model/dsv4/files.h"

/* The tokenizer of an open checkpoint (deepseek_tokenizer.c), *out owned.  Errors: LOCI_EFORMAT
 * naming file, key, expected and found; those of loci_tokenizer_open and _from_lists. */
loci_status loci_dsv4_tokenizer(loci_tokenizer **out, const loci_dsv4_files *f, loci_error *err);

#endif
