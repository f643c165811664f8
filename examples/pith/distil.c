/* distil.c: pith distil: trains a small CLIP to imitate a large one, starting from a part of its
 * weights. */
#include <stdlib.h>
#include <string.h>
#include "task.h"

model start_student(const char *name, const char *directory)
{
    clip_config teacher;
    char path[4096];
    snprintf(path, sizeof path, "%s/vocab.txt.gz", directory);
    const bool begun = is_directory(name);
    model m = start_model(name, path, NULL);
    clip_config_read(&teacher, directory);
    if (!begun) m.config.context = teacher.context;
    return m;
}

void inherit_from(model *m, const char *from, bool replaced)
{
    model larger = open_model(from);
    clip_inherit(&m->config, m->store, &larger.config, larger.store, replaced);
    close_model(&larger);
}

int command_distil(int argc, char **argv)
{
    recipe r = RECIPE_DEFAULTS;
    r.loss = "affinity";
    const char *directory = NULL, *name = NULL, *how = "manual", *from = NULL, *out = NULL,
               *resume = NULL;
    const option options[] = {
        { "--teacher", PATH, &directory, "the teacher's model directory, or several: A,B" },
        { "--student", PATH, &name,
          "a directory, a name or sizes: see pith help; with --sasp-last: the teacher itself" },
        { "--out", PATH, &out, "the run's directory, which becomes the student's model" },
        { "--resume", PATH, &resume,
          "go on with the run in this directory; if its loss is a file, give --loss again" },
        { "--inherit", TEXT, &how,
          "manual: begin with the first part of a larger model's weights; or none" },
        { "--inherit-from", PATH, &from, "the directory of that model, if it is not the teacher" },
        { "--views", INTEGER, &r.views,
          "so many fixed augmented views of each picture, in turn, which teachers see, too; 0: "
          "new ones in every epoch, and teachers see the picture as it is" },
        RECIPE_OPTIONS(r),
        END_OF_OPTIONS
    };
    const char *data = parse_run(
        options, "DATA --teacher DIR --student MODEL --out RUN | --resume RUN",
        "Trains a small CLIP to imitate a teacher, whose embeddings of the training pairs are\n"
        "computed once and kept in RUN/teacher-HASH.safetensors. A new student has the first\n"
        "teacher's tokenizer, and inherits from that one.",
        &out, &resume, argc, argv);
    need_option("--teacher", directory);
    if (!r.sasp_last) need_option("--student", name);
    char *first;
    int size = teachers_size(directory, &first);
    model m = name ? start_student(name, first) : open_model_with_tokenizer(first);
    const bool manual = !strcmp(how, "manual");
    make_sasp(&m, &r);
    if (m.config.image_size > size) size = m.config.image_size;
    pith_pack *pack = open_run_data(data, size, out, resume);
    check_synthetic(&r, pack, data);
    pith_loss_spec *loss = open_loss(&r, out, true);
    if (!manual && strcmp(how, "none"))
        pith_raise("--inherit: expected manual or none, found \"%s\"", how);
    if (name && manual) inherit_from(&m, from ? from : first, r.sasp_inherit);
    char *record = options_as_json(argv[0], data, options);
    stored_teachers stored = teachers_open(directory, pack, &r, out);
    const pith_train_result result = train_model(&m, pack, &r, loss, &stored, out, resume, record,
                                                 "distil");
    teachers_close(&stored);
    free(record);
    free(first);
    close_model(&m);
    pith_pack_close(pack);
    return end_run(&result, argv[0], r.loss, out);
}
