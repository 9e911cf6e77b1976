/* error.h - every status of loci, once, and where a failure is described.
 *
 * Each function that can fail returns a loci_status and takes, as its last
 * argument, an optional caller-owned loci_error that receives one line for
 * people: it names the file, tensor, argument or byte offset, what was expected
 * and what was found.  The first failure wins; clean-up that fails later does
 * not overwrite it.  The library never prints, exits or reads the environment. */
#ifndef LOCI_ERROR_H
#define LOCI_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the shared library shows.  Everything else is hidden. */
#if defined(__GNUC__) || defined(__clang__)
#define LOCI_API               __attribute__((visibility("default")))
#define LOCI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LOCI_API
#define LOCI_PRINTF(fmt, args)
#endif

/* X(NAME, value, "text for people").  Values are stable: append, never renumber. */
#define LOCI_STATUS_LIST(X)                                                                        \
    X(OK, 0, "ok")                                                                                 \
    X(EINVAL, -1, "argument breaks the documented contract")                                       \
    X(ENOMEM, -2, "memory budget exceeded")                                                        \
    X(EIO, -3, "read or write failed")                                                             \
    X(EFORMAT, -4, "file is not what it says it is")                                               \
    X(EVERSION, -5, "file is valid but of an unsupported version")                                 \
    X(ESTATE, -6, "call not allowed in the object's current state")                                \
    X(ECANCEL, -7, "stopped by the caller")                                                        \
    X(EMODEL, -8, "made by another model")                                                         \
    X(EBUSY, -9, "locked by another process")                                                      \
    X(ENOTFOUND, -10, "no such document, file or tensor")

typedef enum {
#define X(name, value, text) LOCI_##name = (value),
    LOCI_STATUS_LIST(X)
#undef X
} loci_status;

/* Where and why a call failed.  Caller-owned, may be NULL, never allocated.
 * Zero it before the first call: { 0 }. */
typedef struct {
    loci_status code; /* LOCI_OK until a call fails                      */
    int sys_errno;    /* errno at the failing system call, 0 if none     */
    char text[400];   /* one line, no newline, names the file or tensor  */
} loci_error;

/* The text of a status: static storage, never NULL, also for unknown values. */
LOCI_API const char *loci_status_text(loci_status status);

#ifdef __cplusplus
}
#endif
#endif
