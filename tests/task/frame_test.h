/* frame_test.h - for the tests that read sentences back: is a text an expansion of a frame? */
#ifndef TESTS_TASK_FRAME_TEST_H
#define TESTS_TASK_FRAME_TEST_H

#include "task/frames.h"

/* Bytes at the start of text that may fill the place, 'k', 'v', 'a' or 's', and are noted in ctx; 0: none. */
typedef size_t frame_filler(void *ctx, char place, const char *text);

/* Every choice is tried; what was noted last is of the expansion that was found. */
static inline bool frame_expands(const char *frame, const char *text, frame_filler *fill, void *ctx)
{
    if (*frame == '\0') return *text == '\0';
    if (*frame == '[' || *frame == '<') {
        const bool named = *frame == '<';
        const char *one = named ? loci_frame_words(frame + 1) : frame + 1;
        const char *behind = strchr(frame, named ? '>' : ']') + 1;
        for (bool more = true; more;) {
            const size_t n = strcspn(one, "|]");
            if (strncmp(one, text, n) == 0 && frame_expands(behind, text + n, fill, ctx))
                return true;
            more = one[n] == '|';
            one += n + 1;
        }
        return false;
    }
    if (loci_is_place(frame)) {
        const size_t n = fill(ctx, frame[1], text);
        return n > 0 && frame_expands(frame + 3, text + n, fill, ctx);
    }
    frame += *frame == '\\';
    return *frame == *text && frame_expands(frame + 1, text + 1, fill, ctx);
}

#endif
