/* fuzz_chat_texts.c - any bytes as the Python module that holds a release's texts. */
#include <stdlib.h>
#include "text/chat_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    loci_error err = { 0 };
    loci_chat_texts t = { 0 };
    const loci_status st = loci_python_texts(&t, (const char *)data, size, "fuzz", &err);
    if (st != LOCI_OK && (err.text[0] == '\0' || t.tools != NULL)) abort();
    for (int i = 0; i < LOCI_CHAT_EFFORTS; i++) free(t.effort[i]);
    free(t.tools);
    free(t.response_format);
    return 0;
}
