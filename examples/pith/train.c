/* train.c: pith train: trains a CLIP from scratch, or goes on from a model. */
#include <stdlib.h>
#include "task.h"

int command_train(int argc, char **argv)
{
    recipe r = RECIPE_DEFAULTS;
    const char *name = NULL, *tokenizer = NULL, *out = NULL, *resume = NULL;
    const option options[] = {
        { "--model", PATH, &name, "a directory, a name or sizes: see pith help" },
        { "--out", PATH, &out, "the run's directory, which becomes a model directory" },
        { "--resume", PATH, &resume,
          "go on with the run in this directory; if its loss is a file, give --loss again" },
        { "--tokenizer", PATH, &tokenizer,
          "a new model's tokenizer, as CLIP's .txt.gz; else it is learned from the captions" },
        RECIPE_OPTIONS(r),
        END_OF_OPTIONS
    };
    const char *data =
        parse_run(options, "DATA --model MODEL --loss LOSS --out RUN | --resume RUN",
                  "Trains a CLIP. DATA is a packed file, a folder of pictures with captions or\n"
                  "a manifest; see pith help data. The best model by retrieval on the split\n"
                  "\"valid\" lies in RUN/best, the last in RUN.",
                  &out, &resume, argc, argv);
    need_option("--model", name);
    if (r.sasp_inherit && !(r.sasp_last && is_directory(name)))
        pith_raise("--sasp-inherit: expected --sasp-last and a model with weights beside it");
    parse_synthetic(r.synthetic, NULL);
    training all = open_training(&r, argv[0], data, named_config(name).image_size, options, out,
                                 resume, false);
    model m = start_model(name, tokenizer, all.pack);
    make_sasp(&m, &r);
    check_freeze(&r, &m.config);
    const pith_train_result result = train_model(&m, &all, "train");
    close_training(&all);
    close_model(&m);
    return end_run(&result, argv[0], r.loss, out);
}
