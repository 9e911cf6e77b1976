/* fuzz_babi.c - any bytes as a file of stories: refused, or every item is whole. */
#include <stdlib.h>
#include <string.h>
#include "loci/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    loci_task_list list;
    loci_error err = { 0 };
    const loci_status st = loci_task_read_babi(&list, (const char *)bytes, size, "fuzz", &err);
    if ((st == LOCI_OK) != (list.n > 0)) abort();
    for (int i = 0; i < list.n; i++) {
        const loci_task_item *item = &list.item[i];
        const loci_question *q = item->question;
        if (item->n_questions != 1 || q->n_gold < 1 || !*q->question || !*q->answer) abort();
        for (int g = 0; g < q->n_gold; g++)
            if (q->gold[g] < 0 || q->gold[g] >= item->n_facts) abort();
        for (int f = 0; f < item->n_facts; f++)
            if ((int)strlen(item->fact[f].text) != item->fact[f].len) abort();
    }
    loci_task_list_free(&list);
    return 0;
}
