/* example.c - read text into a bank, ask a question, show the answer and where it stands.
 *
 *     cc example.c $(pkg-config --cflags --libs loci) -o example
 *     ./example MODEL_DIR BANK_DIR PATH QUESTION
 *
 * README.md shows main() below; tests/install builds this file against an installed copy. */
#include <loci/bank.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 5) return fprintf(stderr, "usage: example MODEL_DIR BANK_DIR PATH QUESTION\n"), 2;
    loci_engine_options eo = loci_engine_options_default();
    loci_ingest_options io = loci_ingest_options_default();
    loci_ask_options ao = loci_ask_options_default();
    loci_ingest_report read;
    loci_engine *engine = NULL;
    loci_bank *bank = NULL;
    loci_answer a = { 0 };
    loci_error err = { 0 };
    const char *paths[] = { argv[3] };

    eo.model_dir = argv[1];
    loci_status st = loci_engine_open(&engine, &eo, &err);
    if (st == LOCI_OK) st = loci_bank_open(&bank, engine, argv[2], LOCI_BANK_CREATE, &err);
    if (st == LOCI_OK) st = loci_bank_ingest(bank, paths, 1, &io, &read, &err);
    loci_bank_close(bank); /* a writer's lock ends here */
    bank = NULL;
    if (st == LOCI_OK) st = loci_bank_open(&bank, engine, argv[2], LOCI_BANK_READ, &err);
    if (st == LOCI_OK) st = loci_ask(engine, &bank, 1, argv[4], strlen(argv[4]), &ao, &a, &err);
    if (st == LOCI_OK) printf("%s\n", a.answer);
    for (int i = 0; i < a.n_evidence; i++)
        printf("  %s:%lld-%lld (%.2f)\n", a.evidence[i].doc, (long long)a.evidence[i].line_start,
               (long long)a.evidence[i].line_end, a.evidence[i].score);
    if (st != LOCI_OK) fprintf(stderr, "%s: %s\n", loci_status_text(st), err.text);

    loci_answer_free(&a);
    loci_bank_close(bank);
    loci_engine_close(engine);
    return st == LOCI_OK ? 0 : 1;
}
