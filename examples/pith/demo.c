/* demo.c: pith demo: trains a small CLIP from nothing and shows what it can do. There are four
 * trainings: a teacher; a student of less than half its size, which inherits weights from it and
 * imitates it; the same student from scratch, for as many steps; and, for as many again, one of
 * about that size for which masks learn what to keep of the teacher. */
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "demo.h"
#include "scratch.h"

static recipe teaching = { .loss = "clip",
                           .augment = "strong",
                           .schedule = "cosine",
                           .steps = 900,
                           .batch = 256,
                           .warmup = 60,
                           .lr = 1.4e-3,
                           .weight_decay = 0.3,
                           .clip_norm = 1 };
static recipe learning = { .loss = "affinity+2*interactive",
                           .augment = "strong",
                           .schedule = "cosine",
                           .steps = 500,
                           .batch = 256,
                           .warmup = 30,
                           .lr = 2e-3,
                           .weight_decay = 0.1,
                           .clip_norm = 1 };
static pruning pruned = { PRUNING_DEFAULTS("keep"), .stages = "0.38" };
static const char *teacher_name = "demo-teacher", *student_name = "demo-student";
static bool shapes;
static int64_t seeds = 1;

static const option options[] = {
    { "--shapes", FLAG, &shapes, "coloured shapes drawn by rule instead of emoji: no download" },
    { "--seeds", INTEGER, &seeds,
      "above 1: the whole training with as many seeds, their means and spread, no page" },
    { "--teacher", TEXT, &teacher_name, "the teacher's name or sizes" },
    { "--teacher-steps", INTEGER, &teaching.steps, "its steps" },
    { "--teacher-lr", NUMBER, &teaching.lr, "its learning rate" },
    { "--teacher-weight-decay", NUMBER, &teaching.weight_decay, "its weight decay" },
    { "--teacher-augment", TEXT, &teaching.augment, "its augmentation, as pith train's" },
    { "--student", TEXT, &student_name, "the student's name or sizes" },
    { "--student-steps", INTEGER, &learning.steps, "its steps, distilled and from scratch" },
    { "--student-lr", NUMBER, &learning.lr, "its learning rate" },
    { "--student-weight-decay", NUMBER, &learning.weight_decay, "its weight decay" },
    { "--student-augment", TEXT, &learning.augment, "its augmentation" },
    { "--student-loss", TEXT, &learning.loss, "its loss when it is distilled" },
    { "--keep", TEXT, &pruned.stages,
      "what share of the teacher's blocks masks keep, for a student of their own" },
    { "--batch", INTEGER, &teaching.batch, "pairs a step, for all" },
    END_OF_OPTIONS
};

/* ---- training ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

/* Removes the run of an earlier demo. A folder that does not hold a run is left alone. */
static void remove_run(const char *path)
{
    char record[4200];
    snprintf(record, sizeof record, "%s/run.json", path);
    if (access(record, F_OK) == 0) nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* p: how the model is pruned; NULL: it is not. */
static void train(demo *d, contestant *c, const recipe *r, const pruning *p,
                  const stored_teachers *teachers, double start)
{
    recipe own = *r;
    char *record = options_as_json("demo", d->out, options);
    own.evaluate_every = (own.steps + 3) / 4;
    make_directories(c->path);
    pith_loss_spec *loss = open_loss(&own, teachers != NULL);
    const training all = { .pack = d->pack,
                           .recipe = &own,
                           .loss = loss,
                           .teachers = teachers,
                           .out = c->path,
                           .record = record };
    const pith_train_result result = p ? train_stages(&c->m, &all, p)
                                       : train_model(&c->m, &all, c->title);
    pith_loss_free(loss);
    free(record);
    if (result.interrupted) {
        printf("the next pith demo %s begins anew\n", d->out);
        exit(130);
    }
    check_learned(&result, c->path);
    c->steps = result.steps;
    c->seconds = pith_seconds() - start;
}

static void train_teacher(demo *d)
{
    contestant *c = &d->model[TEACHER];
    const double start = pith_seconds();
    c->m = start_model(teacher_name, NULL, d->pack);
    train(d, c, &teaching, NULL, NULL, start);
    demo_phase(d, "train the teacher", start);
}

/* The student that masks make out of the teacher, in one stage of as many steps. */
static void prune(demo *d, const stored_teachers *teachers)
{
    contestant *c = &d->model[PRUNED];
    const double start = pith_seconds();
    c->m = open_model_with_tokenizer(d->model[TEACHER].path);
    train(d, c, &learning, &pruned, teachers, start);
    demo_phase(d, "prune the teacher", start);
}

static void train_students(demo *d)
{
    contestant *teacher = &d->model[TEACHER], *c = &d->model[STUDENT];
    double start = pith_seconds();
    c->m = start_student(student_name, teacher->path);
    inherit_from(&c->m, teacher->path, false);
    make_directories(c->path);
    stored_teachers stored = teachers_open(teacher->path, d->pack, &learning, c->path);
    train(d, c, &learning, NULL, &stored, start);
    demo_phase(d, "distil the student", start);
    prune(d, &stored);
    teachers_close(&stored);
    start = pith_seconds();
    recipe from_scratch = learning;
    from_scratch.loss = "clip";
    c = &d->model[SCRATCH];
    c->m = start_student(student_name, teacher->path);
    train(d, c, &from_scratch, NULL, NULL, start);
    demo_phase(d, "the same from scratch", start);
}

/* The mean number of tokens of a training caption, with start and end. */
static double mean_tokens(const demo *d, const model *m)
{
    double sum = 0;
    int n = 0, *ids = room(sizeof *ids * (size_t)m->config.context);
    for (int i = 0; i < d->pack->count; i++)
        if (d->pack->split[i] == PITH_TRAIN)
            sum += pith_encode(m->tokenizer, d->pack->caption[i], m->config.context, ids), n++;
    free(ids);
    return sum / n;
}

static void measure(demo *d)
{
    const double start = pith_seconds();
    for (int k = 0; k < MODELS; k++) {
        contestant *c = &d->model[k];
        const model *m = &c->m;
        c->cost = clip_count(&m->config, mean_tokens(d, m));
        for (int s = 0; s < d->splits; s++) {
            pairs p = encode_split(&m->config, m->store, m->tokenizer, d->pack, d->split[s]);
            c->measured[s] = measure_pairs(&p);
            if (k == STUDENT) d->rows[s] = p;
            else pairs_free(&p);
        }
    }
    demo_phase(d, "measure", start);
}

/* Trains and measures all models, in folders inside `folder`. */
static void experiment(demo *d, const char *folder)
{
    static const char *const name[MODELS][3] = {
        { "teacher", "teacher", "teacher" },
        { "student, distilled", "student", "student" },
        { "student, from scratch", "scratch", "scratch" },
        { "kept by masks", "pruned", "pruned" },
    };
    make_directories(folder);
    for (int k = 0; k < MODELS; k++) {
        contestant *c = &d->model[k];
        *c = (contestant){ .name = name[k][0], .directory = name[k][1], .title = name[k][2] };
        snprintf(c->path, sizeof c->path, "%s/%s", folder, c->directory);
        remove_run(c->path);
    }
    train_teacher(d);
    train_students(d);
    measure(d);
}

static void free_experiment(demo *d)
{
    for (int k = 0; k < MODELS; k++) close_model(&d->model[k].m);
    for (int s = 0; s < d->splits; s++) pairs_free(&d->rows[s]);
}

/* ---- several seeds ---- */

static void print_spread(const demo *d, double *const *found, int64_t n)
{
    for (int s = 0; s < d->splits; s++)
        for (int k = 0; k < MODELS; k++) {
            printf("  %-14s %-22s", k ? "" : d->pack->split_name[d->split[s]], d->model[k].name);
            for (int i = 0; i < 6; i++) {
                double mean = 0, square = 0;
                for (int64_t r = 0; r < n; r++)
                    mean += found[r][(s * MODELS + k) * 6 + i] / (double)n;
                for (int64_t r = 0; r < n; r++)
                    square += pow(found[r][(s * MODELS + k) * 6 + i] - mean, 2) / (double)(n - 1);
                printf("%s %5.1f +-%4.1f", i == 3 ? "  " : "", 100 * mean, 100 * sqrt(square));
            }
            printf("\n");
        }
}

static void run_seeds(demo *d)
{
    double **found = room(sizeof *found * (size_t)seeds);
    const int64_t first = common_seed;
    char folder[4096];
    for (int64_t r = 0; r < seeds; r++) {
        common_seed = first + r;
        snprintf(folder, sizeof folder, "%s/seed-%lld", d->out, (long long)common_seed);
        d->phases = 0;
        experiment(d, folder);
        printf("\nseed %lld\n", (long long)common_seed);
        demo_table(d);
        found[r] = room(sizeof(double) * (size_t)(d->splits * MODELS * 6));
        for (int s = 0; s < d->splits; s++)
            for (int k = 0; k < MODELS; k++)
                memcpy(found[r] + (s * MODELS + k) * 6, d->model[k].measured[s].recall,
                       6 * sizeof(double));
        free_experiment(d);
    }
    printf("\nMeans of %lld seeds and their standard deviation, in %%\n", (long long)seeds);
    printf("  %-14s %-22s %-38s   %s\n", "split", "model", "text to picture: R@1, R@5, R@10",
           "picture to text: R@1, R@5, R@10");
    print_spread(d, found, seeds);
    for (int64_t r = 0; r < seeds; r++) free(found[r]);
    free(found);
}

/* ---- the command ---- */

/* Mistakes are told before an hour is spent. */
static void check_recipes(void)
{
    named_config(teacher_name);
    named_config(student_name);
    parse_augment(teaching.augment);
    parse_augment(learning.augment);
    check_pruning(&pruned, &learning, false);
    pith_loss_free(pith_loss_parse(learning.loss, scratch_directory()));
}

int command_demo(int argc, char **argv)
{
    demo *d = room(sizeof *d);
    const int arguments = parse_options(
        options, "[RUN] [--shapes] [--seeds N]",
        "Trains a teacher on emoji, distils it into a student of less than half its size that\n"
        "inherits from it, trains the same student from scratch, and one for which masks learn\n"
        "what to keep of the teacher; measures all four, and shows what came out in\n"
        "RUN/index.html and RUN/summary.json. RUN: runs/demo.",
        0, 1, argc, argv);
    d->out = arguments ? argv[1] : "runs/demo";
    d->shapes = shapes;
    d->side = 64;
    learning.batch = teaching.batch;
    check_recipes();
    demo_data(d);
    if (seeds > 1) {
        run_seeds(d);
    } else {
        experiment(d, d->out);
        const double start = pith_seconds();
        demo_pictures(d);
        demo_page(d);
        demo_phase(d, "pictures and page", start);
        printf("\n");
        demo_table(d);
        printf("\nWhat the masks kept of the teacher\n");
        chart(stdout, &d->model[PRUNED].m.config, &d->model[TEACHER].m.config);
        demo_summary(d);
        printf("\nLook at %s/index.html, and try:\n", d->out);
        printf("    build/pith search %s/student %s/pictures \"%s\"\n", d->out, d->out,
               d->shapes ? "red circle" : "red flag");
        free_experiment(d);
    }
    pith_pack_close(d->pack);
    free(d);
    return 0;
}
