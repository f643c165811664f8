/* tokenize.c: pith tokenize: reads lines of text and prints lines of ids. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "command.h"

#define CLIP_MERGES "bpe_simple_vocab_16e6.txt.gz"

/* Opens a file of merges, or that of a model directory. */
static pith_tokenizer *open_vocabulary(const char *path)
{
    struct stat info;
    char inside[4096];
    if (!path && stat(CLIP_MERGES, &info))
        pith_raise("--vocab is missing, and there is no " CLIP_MERGES " here");
    if (!path) path = CLIP_MERGES;
    snprintf(inside, sizeof inside, "%s/vocab.txt.gz", path);
    return pith_tokenizer_read(stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? inside : path);
}

int command_tokenize(int argc, char **argv)
{
    const char *vocabulary = NULL;
    int64_t context = 77;
    const option options[] = {
        { "--vocab", TEXT, &vocabulary,
          "CLIP's merges, .txt or .txt.gz, or a model directory; else " CLIP_MERGES " here" },
        { "--context", INTEGER, &context, "ids a line" },
        END_OF_OPTIONS,
    };
    parse_options(options, "[--vocab F] [--context N] < lines",
                  "Prints one line of ids for every line of standard input, start and "
                  "end included, cut to the context\nand filled up with 0. An empty line gives "
                  "start and end.",
                  0, 0, argc, argv);
    if (context < 2 || context > 1 << 20)
        pith_raise("--context is %lld, expected 2 to %d", (long long)context, 1 << 20);
    pith_tokenizer *t = open_vocabulary(vocabulary);
    int *ids = room(sizeof *ids * (size_t)context);
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; ids && (n = getline(&line, &room, stdin)) >= 0;) {
        if (n && line[n - 1] == '\n') line[n - 1] = 0;
        const int used = pith_encode(t, line, (int)context, ids);
        for (int k = 0; k < (int)context; k++) printf(k ? " %d" : "%d", k < used ? ids[k] : 0);
        putchar('\n');
    }
    free(line);
    free(ids);
    pith_tokenizer_free(t);
    if (fflush(stdout) != 0) pith_raise("standard output cannot be written");
    return 0;
}
