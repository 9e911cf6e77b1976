/* temp_dir.h - a folder for a test's files, gone with all in it at the end. */
#ifndef LOCI_TEST_TEMP_DIR_H
#define LOCI_TEST_TEMP_DIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEMP_PATH = 512 };

static int temp_dir_drop(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s, (void)type, (void)at;
    return remove(path);
}

/* Make one; dir (TEMP_PATH) receives its name.  False when the system refuses. */
static inline bool temp_dir_make(char *dir)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir, TEMP_PATH, "%s/loci-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(dir) != NULL;
}

static inline void temp_dir_remove(const char *dir)
{
    nftw(dir, temp_dir_drop, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
