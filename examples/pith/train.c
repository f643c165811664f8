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
    pith_pack *pack = open_run_data(data, named_config(name).image_size, out, resume);
    check_synthetic(&r, pack, data);
    pith_loss_spec *loss = open_loss(&r, false);
    stored_clusters clusters = clusters_open(&r, pack);
    model m = start_model(name, tokenizer, pack);
    make_sasp(&m, &r);
    check_freeze(&r, &m.config);
    char *record = options_as_json(argv[0], data, options);
    const training all = { .pack = pack,
                           .recipe = &r,
                           .loss = loss,
                           .clusters = &clusters,
                           .out = out,
                           .record = record,
                           .taken = run_taken,
                           .resume = resume };
    const pith_train_result result = train_model(&m, &all, "train");
    pith_loss_free(loss);
    clusters_close(&clusters);
    free(record);
    close_model(&m);
    pith_pack_close(pack);
    return end_run(&result, argv[0], r.loss, out);
}
