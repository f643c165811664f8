/* distil.c: pith distil: trains a small CLIP to imitate a large one, starting from a part of its
 * weights. */
#include <stdlib.h>
#include <string.h>
#include "task.h"

model start_student(const char *name, const char *from)
{
    clip_config larger;
    char path[4096];
    if (is_directory(name)) return open_model_with_tokenizer(name);
    const char *text = strrchr(from, ',') ? strrchr(from, ',') + 1 : from;
    need_option("--inherit-from", text);
    check_model(text);
    clip_config_read(&larger, text);
    snprintf(path, sizeof path, "%s/vocab.txt.gz", text);
    model m = start_model(name, path, NULL);
    m.config.context = larger.context;
    return m;
}

/* Do two tokenizers give the same ids? Asked of all letters and digits, as words and alone. */
static bool same_ids(const pith_tokenizer *a, const pith_tokenizer *b)
{
    enum { MOST = 256 };
    static const char text[] =
        "the quick brown fox jumps over the lazy dog; flags of women, men and "
        "medium dark skin tones: 0123456789 a b c d e f g h i j k l m n o p q "
        "r s t u v w x y z";
    int ids[2][MOST];
    const int n = pith_encode(a, text, MOST, ids[0]), k = pith_encode(b, text, MOST, ids[1]);
    return n == k && !memcmp(ids[0], ids[1], sizeof(int) * (size_t)n);
}

model open_towers(const char *from)
{
    char *copy = strdup(from), *comma = strchr(copy, ',');
    if (comma) *comma = 0;
    need_option("--inherit-from", copy);
    if (comma) need_option("--inherit-from", comma + 1);
    model a = open_model_with_tokenizer(copy);
    if (comma) {
        model b = open_model_with_tokenizer(comma + 1);
        if (a.config.embed != b.config.embed || a.config.quick_gelu != b.config.quick_gelu)
            pith_raise("the towers of %s and %s do not fit together: their embedding widths are %d "
                       "and %d, their activations %s and %s",
                       copy, comma + 1, a.config.embed, b.config.embed,
                       a.config.quick_gelu ? "QuickGELU" : "GELU",
                       b.config.quick_gelu ? "QuickGELU" : "GELU");
        pith_store *s = new_store();
        clip_tensor *list;
        a.config.text = b.config.text;
        a.config.bidirectional = b.config.bidirectional;
        a.config.context = b.config.context;
        a.config.vocabulary = b.config.vocabulary;
        const int n = clip_tensors(&a.config, &list);
        for (int k = 0; k < n; k++) {
            const pith_tensor *t = pith_store_find(list[k].part == CLIP_TEXT ? b.store : a.store,
                                                   list[k].name);
            pith_tensor_copy(pith_store_add(s, t->name, t->kind, t->dtype, t->ndim, t->dim), t);
        }
        free(list);
        pith_store_free(a.store);
        pith_tokenizer_free(a.tokenizer);
        a.store = s;
        a.tokenizer = b.tokenizer;
        pith_store_free(b.store);
    }
    free(copy);
    return a;
}

void inherit_from(model *m, const char *from, bool replaced)
{
    model larger = open_towers(from);
    if (!same_ids(m->tokenizer, larger.tokenizer))
        pith_raise("cannot inherit from %s: its tokenizer is not the student's", from);
    clip_inherit(&m->config, m->store, &larger.config, larger.store, replaced);
    close_model(&larger);
}

int imitate(model *m, training *u, const char *teachers, const pruning *p, const char *command)
{
    const clip_config original = m->config;
    check_freeze(u->recipe, &m->config);
    stored_teachers stored = teachers_open(teachers, u->pack, u->recipe, u->out);
    u->teachers = &stored;
    const pith_train_result result = p ? train_stages(m, u, p) : train_model(m, u, "distil");
    teachers_close(&stored);
    const int status = end_run(&result, command, u->recipe->loss, u->out);
    if (p && !result.interrupted) chart(stdout, &m->config, &original);
    close_training(u);
    close_model(m);
    return status;
}

int command_distil(int argc, char **argv)
{
    recipe r = RECIPE_DEFAULTS;
    pruning p = { PRUNING_DEFAULTS("stages") };
    r.loss = "affinity";
    const char *directory = NULL, *name = NULL, *how = NULL, *from = NULL, *out = NULL,
               *resume = NULL;
    const option options[] = {
        { "--teacher", PATH, &directory, "the teacher's model directory, or several: A,B" },
        { "--student", PATH, &name,
          "a directory, a name or sizes: see pith help; with --sasp-last: the teacher itself" },
        { "--out", PATH, &out, "the run's directory, which becomes the student's model" },
        { "--resume", PATH, &resume,
          "go on with the run in this directory; if its loss is a file, give --loss again" },
        { "--inherit", TEXT, &how,
          "manual: begin with the first part of a larger model's weights; auto: with all of them, "
          "and masks learn what to keep, see --stages; or none, as a student that is a directory, "
          "with weights of its own, does unless told otherwise" },
        { "--inherit-from", PATH, &from,
          "the directory of that model, if it is not the teacher; or A,B: the image tower of A "
          "and the text tower of B" },
        { "--stages", TEXT, &p.stages,
          "with --inherit auto: what share to keep, stage by stage, as in 0.75,0.5,0.25 or, with "
          "the steps of each, 0.75:300,0.5:400" },
        PRUNING_OPTIONS(p),
        { "--views", INTEGER, &r.views,
          "so many fixed augmented views of each picture, in turn, which teachers see, too; 0: "
          "new ones in every epoch, and teachers see the picture as it is" },
        ROWS_OPTION(r),
        RECIPE_OPTIONS(r),
        END_OF_OPTIONS
    };
    const char *data = parse_run(
        options, "DATA --teacher DIR --student MODEL --out RUN | --resume RUN",
        "Trains a small CLIP to imitate a teacher, whose embeddings of the training pairs are\n"
        "computed once and kept in RUN/teacher-HASH-DATA.safetensors. A new student inherits from\n"
        "the first teacher, or from what --inherit-from names, and has its tokenizer and context.",
        &out, &resume, argc, argv);
    if (!how) how = name && !from && is_directory(name) ? "none" : "manual";
    const bool manual = !strcmp(how, "manual"), automatic = !strcmp(how, "auto");
    if (!manual && !automatic && strcmp(how, "none"))
        pith_raise("--inherit: expected manual, auto or none, found \"%s\"", how);
    need_option("--teacher", directory);
    if (automatic) {
        if (name)
            pith_raise("--student: with --inherit auto the student is what masks keep of the "
                       "teacher, or of --inherit-from");
        if (!p.stages)
            pith_raise(
                "--stages: expected what share to keep, as in 0.75,0.5, with --inherit auto");
        check_pruning(&p, &r, resume);
    } else if (!r.sasp_last) need_option("--student", name);
    const char *const idle[] = { "--stages",        "--masked",   "--mask-lr",
                                 "--multiplier-lr", "--sparsity", "--each-tower" };
    for (size_t k = 0; !automatic && k < sizeof idle / sizeof *idle; k++)
        if (was_given(idle[k])) pith_raise("%s: expected --inherit auto beside it", idle[k]);
    if (from && !automatic && !(name && manual))
        pith_raise("--inherit-from: nothing is inherited here: expected --student and --inherit "
                   "manual, or --inherit auto, beside it");
    if (r.sasp_last && name && !is_directory(name))
        pith_raise("--sasp-last: expected a student that is a directory, or none, which is the "
                   "teacher itself; sizes tell it themselves, as in w128l4h4s2");
    if (r.sasp_last && !name && !manual)
        pith_raise("--inherit %s: without --student the blocks below those of --sasp-last are the "
                   "teacher's",
                   how);
    if (r.sasp_inherit && !r.sasp_last && !(name && manual))
        pith_raise("--sasp-inherit: expected --sasp-last beside it, or a student that inherits");
    parse_synthetic(r.synthetic, NULL);
    char *first;
    int size = teachers_size(directory, &first);
    model m = name ? start_student(name, from ? from : first)
                   : open_towers(automatic && from ? from : first);
    make_sasp(&m, &r);
    if (m.config.image_size > size) size = m.config.image_size;
    if (automatic) clip_can_be_pruned(&m.config);
    training all = open_training(&r, argv[0], data, size, options, out, resume, true);
    if (name && manual) inherit_from(&m, from ? from : first, r.sasp_inherit);
    const int status = imitate(&m, &all, directory, automatic ? &p : NULL, argv[0]);
    free(first);
    return status;
}
