/* main.c: pith: the program, which trains, distils, measures and inspects small CLIP models. The
 * table of its commands. */
#include "command.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    { "demo", command_demo, "train, distil and look at a small CLIP on real pictures, in minutes" },
    { "train", command_train, "train a CLIP from scratch or from a checkpoint" },
    { "distil", command_distil, "train a small CLIP to imitate a large one" },
    { "prune", command_prune, "make a model smaller by masks that learn what to keep" },
    { "eval", command_eval, "measure retrieval and zero-shot classification" },
    { "compare", command_compare, "run arms with several seeds, and judge claims about them" },
    { "search", command_search, "find pictures by words, or words by a picture" },
    { "embed", command_embed, "embeddings of pictures and texts into a file" },
    { "inspect", command_inspect, "layers, parameters and cost of a model" },
    { "graph", command_graph, "draw the graph of a model and a loss" },
    { "losses", command_losses, "the losses, their formulas and sources" },
    { "check", command_check,
      "compare the gradient of your own loss or op with central differences" },
    { "data", command_data,
      "pack pictures with captions, drop near-duplicates, cluster, keep the best" },
    { "run", command_run, "embeddings, loss and gradients of tensors in a file" },
    { "tokenize", command_tokenize, "ids of captions, one a line" },
    { "preprocess", command_preprocess, "pictures as a model sees them, as tensors" },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(FILE *f)
{
    fprintf(f, "pith " VERSION ": trains, distils and looks at small CLIP models.\n\n");
    for (int k = 0; k < COMMANDS; k++)
        fprintf(f, "  pith %-11s %s\n", commands[k].name, commands[k].what);
    fprintf(f,
            "\npith help COMMAND tells more. Models by name (MODEL may also be a directory):\n\n");
    clip_names(f);
    return 0;
}

static int start(int argc, char **argv)
{
    const char *names[COMMANDS];
    for (int k = 0; k < COMMANDS; k++) {
        if (!strcmp(argv[0], commands[k].name)) return commands[k].run(argc, argv);
        names[k] = commands[k].name;
    }
    const char *nearest = nearest_name(argv[0], COMMANDS, names);
    pith_raise("pith has no command %s%s%s%s", argv[0],
               nearest ? "; did you mean " : ": see pith help", nearest ? nearest : "",
               nearest ? "?" : "");
    return 1;
}

/* Makes OpenMP's threads sleep soon when they wait. With the loader's threads there are more
 * threads than cores, and one that waits busily takes the core from the one it waits for, which
 * made training five times slower. OpenMP reads these settings only when it is loaded, so the
 * program starts itself again. */
static void wait_quietly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || getenv("KMP_BLOCKTIME")) return;
    setenv("GOMP_SPINCOUNT", "20000", 1);
    setenv("KMP_BLOCKTIME", "0", 1);
    execv("/proc/self/exe", argv);
}

/* Settings for looking into the engine, which work with every command. */
static void read_environment(void)
{
    const char *gemm = getenv("PITH_GEMM");
    common_plan.unplanned = getenv("PITH_NOPLAN") != NULL;
    common_plan.check_finite = getenv("PITH_NAN") != NULL;
    if (gemm) pith_use_gemm(gemm);
}

int main(int argc, char **argv)
{
    wait_quietly(argv);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    read_environment();
    if (argc < 2) return help(stderr), 1;
    if (!strcmp(argv[1], "--version")) return puts("pith " VERSION), 0;
    if (strcmp(argv[1], "help") && strcmp(argv[1], "--help") && strcmp(argv[1], "-h"))
        return start(argc - 1, argv + 1);
    if (argc < 3) return help(stdout);
    static char help_option[] = "--help";
    char *arguments[] = { argv[2], help_option, NULL };
    return start(2, arguments);
}
