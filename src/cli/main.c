/* main.c - `loci SUBCOMMAND`: the table of what there is. */
#include "cli.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

static const command commands[] = {
    { "ingest", cmd_ingest, "read files and folders into a bank" },
    { "ask", cmd_ask, "answer a question from banks, with the passages that were read" },
    { "recall", cmd_recall, "the passages alone, best first" },
    { "bank", cmd_bank, "bank info | ls | verify" },
    { "generate", cmd_generate, "continue a text" },
    { "logits", cmd_logits, "logits of every position, as .npy" },
    { "model", cmd_model, "model info: what a checkpoint is and needs" },
    { "quantize", cmd_quantize, "convert a checkpoint to int4, int8, bf16 or f32" },
    { "train", cmd_train, "train a model from a config and text" },
    { "tokenizer", cmd_tokenizer, "tokenizer train | encode | decode | prompt | reply" },
    { "tasks", cmd_tasks, "tasks make: synthetic long-range tasks" },
    { "eval", cmd_eval, "eval needles | demo: measured answers through the real path" },
    { "bench", cmd_bench, "bench kernels, gpu, dsv4: speed of every kernel, op and part" },
    { "version", cmd_version, "what this build is and can do" },
};

/* What was printed counts only when it arrived: a full disk behind standard output is a failure.
 * A reader that went away (`| head`) needs no message. */
static int finish(int code)
{
    errno = 0;
    const bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (!lost || code != EXIT_OK) return code;
    if (errno != EPIPE)
        fprintf(stderr, "loci: standard output: %s\n", errno ? strerror(errno) : "write failed");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not of the process */
    if (argc > 1 && strcmp(argv[1], "--version") == 0) return finish(cmd_version(1, argv + 1));
    return finish(run_group(NULL, commands, COUNT(commands), argc, argv));
}
