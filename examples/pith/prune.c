/* prune.c: pith prune, and pith distil --inherit auto: TinyCLIP's progressive pruning. A model is
 * made smaller in stages. Each has two parts: in the first, masks over the whole model learn with
 * the weights what can be left out, while the learning rate rises; then what they left out is cut
 * away, and the smaller model is trained on while the rate falls. The teacher stays the same.
 *
 * Each part is a training with a directory of its own: RUN/stage-1-masks, RUN/stage-1, ...; that of
 * the last part is RUN. So a run goes on in the part in which it was interrupted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "files/files.h"
#include "task.h"

/* Of a whole stage: what share of the original is kept at its end. */
typedef struct {
    double keep;
    int64_t steps, masked; /* masked: in so many of them masks are trained */
    double rate;
} stage;
enum { MOST_STAGES = 16 };

/* TinyCLIP's learning rate of masks and of multipliers is for thousands of steps; in fewer it must
 * be higher. A logit begins at one end of its range, 9.2, and must be able to cross it three times
 * to arrive at the other (least_way: rate times steps); half as much again by default, since masks
 * are slowed near their target. Multipliers rise by 60, as in the first of TinyCLIP's stages. */
static const double usual_rate = 0.02, least_way = 28, usual_way = 40, usual_rise = 60;

/* A share that is farther than this from what was asked for is told. */
static const double far = 0.015;

static void read_stage(const char *word, const pruning *p, const recipe *r, double before, stage *s)
{
    char *end;
    s->keep = strtod(word, &end);
    s->steps = r->steps;
    if (*end == ':') s->steps = strtoll(end + 1, &end, 10);
    if (end == word || *end || !(s->keep > 0 && s->keep < 1) || s->steps < 1 ||
        s->steps > 1000000000)
        pith_raise("--%s: expected shares above 0 and below 1, each perhaps with its steps, as in "
                   "0.75,0.5:400, found \"%s\"",
                   p->option, word);
    if (s->keep >= before)
        pith_raise("--%s: %g comes after %g: expected shares that fall", p->option, s->keep,
                   before);
    if (s->keep < CLIP_LEAST_KEPT)
        pith_raise(
            "--%s: masks cannot keep as little as %g: their logits are bounded, and at least "
            "%.4f is expected to stay",
            p->option, s->keep, CLIP_LEAST_KEPT);
    s->masked = llround(p->masked * (double)s->steps);
    if (s->masked < 1 || s->masked >= s->steps)
        pith_raise("--masked: a share %g of %lld steps is %lld, expected at least one step with "
                   "masks and one without",
                   p->masked, (long long)s->steps, (long long)s->masked);
    s->rate = p->mask_lr > 0 ? p->mask_lr : fmax(usual_rate, usual_way / (double)s->masked);
    if (s->rate * (double)s->masked < least_way * (1 - 1e-9))
        pith_raise("--mask-lr: %g in %lld steps moves a logit by at most %.3g, expected %g: masks "
                   "would not arrive at their target",
                   s->rate, (long long)s->masked, s->rate * (double)s->masked, least_way);
}

/* Returns how many there are; *whole: the steps of all. */
static int read_stages(const pruning *p, const recipe *r, stage *stages, int64_t *whole)
{
    char *copy = strdup(p->stages), *rest = copy;
    int n = 0;
    *whole = 0;
    for (char *word; (word = strsep(&rest, ",")); n++) {
        if (n == MOST_STAGES) pith_raise("--%s: more than %d stages", p->option, MOST_STAGES);
        read_stage(word, p, r, n ? stages[n - 1].keep : 1, &stages[n]);
        *whole += stages[n].steps;
    }
    free(copy);
    if (*whole > INT32_MAX) pith_raise("--%s: all stages together have too many steps", p->option);
    if (strcmp(p->sparsity, "hinge") && strcmp(p->sparsity, "signed"))
        pith_raise("--sparsity: expected hinge or signed, found \"%s\"", p->sparsity);
    return n;
}

void check_pruning(const pruning *p, const recipe *r, bool resumed)
{
    stage stages[MOST_STAGES];
    int64_t whole;
    read_stages(p, r, stages, &whole);
    if (resumed && was_given("--steps"))
        pith_raise("--steps: a run in stages keeps what it was begun with, for each of its parts "
                   "begins with what the one before it came to");
    if (was_given("--warmup"))
        pith_raise(
            "--warmup: expected none, for where masks are trained the learning rate rises in "
            "all steps with masks, and then falls");
    if (r->sasp_last)
        pith_raise("--sasp-last: blocks without a skip cannot be pruned: expected the one or the "
                   "other");
}

/* ---- the parts of a run ---- */

typedef struct {
    const training *all;
    const pruning *p;
    char *part_record; /* of all parts but the last */
    clip_config original;
    int stages;
    double off;            /* how far the share that was kept is from what was asked for, at most */
    int64_t before, whole; /* steps made in earlier parts, and those of all */
    pith_train_result total;
} job;

static double share_of(const clip_config *c, const clip_config *original)
{
    return prunable(c) / prunable(original);
}

/* The same model with a store of its weights alone: optimizers begin anew. */
static void take_weights(model *m, bool averaged)
{
    pith_store *own = clip_own(&m->config, m->store, pith_store_device(m->store), averaged);
    pith_store_free(m->store);
    m->store = own;
}

/* Cuts away what the masks leave out. */
static void fuse(model *m)
{
    clip_config smaller;
    pith_store *s = new_store();
    clip_fuse(&m->config, m->store, &smaller, s);
    pith_store_free(m->store);
    m->store = s;
    m->config = smaller;
}

/* name: that of the part's directory; NULL: it is the last, whose directory is the run's. */
static bool train_part(job *j, model *m, const recipe *r, const phase *now, const char *name,
                       const char *title)
{
    char directory[4096];
    training part = *j->all;
    part.recipe = r;
    part.phase = now;
    if (name) {
        snprintf(directory, sizeof directory, "%s/%s", j->all->out, name);
        const int why = pith_make_own(directory);
        if (why) pith_raise("%s: cannot be made: %s", directory, strerror(why));
        part.out = directory;
        part.record = j->part_record;
        part.taken = 0;
    }
    const pith_train_result result = train_model(m, &part, title);
    j->before += r->steps;
    j->total.steps += result.steps;
    j->total.skipped += result.skipped;
    j->total.gflop += result.gflop;
    j->total.seconds += result.seconds;
    j->total.waited += result.waited;
    j->total.loss = result.loss;
    j->total.interrupted = result.interrupted;
    if (!result.interrupted) check_learned(&result, part.out);
    return !result.interrupted;
}

static bool train_masks(job *j, model *m, const stage *s, int k, double start)
{
    recipe own = *j->all->recipe;
    char name[32], title[64];
    const phase now = {
        .stage = 2 * k + 1,
        .before = j->before,
        .whole = j->whole,
        .original = &j->original,
        .sparsity = { .keep = s->keep,
                      .start = start,
                      .ramp = (double)s->masked / 3,
                      .first = (int)j->before,
                      .mask_rate = s->rate,
                      .multiplier_rate = j->p->multiplier_lr > 0
                                             ? j->p->multiplier_lr
                                             : fmax(usual_rate, usual_rise / (double)s->masked),
                      .is_signed = !strcmp(j->p->sparsity, "signed"),
                      .each_tower = j->p->each_tower },
    };
    own.steps = own.warmup = s->masked;
    own.ema = 0;
    snprintf(name, sizeof name, "stage-%d-masks", k + 1);
    snprintf(title, sizeof title, "stage %d of %d, masks", k + 1, j->stages);
    fprintf(stderr,
            "stage %d of %d: to keep %g; masks in %lld of %lld steps; a logit can move by %.3g "
            "(rate %.4g times these steps; its range is 9.2)\n",
            k + 1, j->stages, s->keep, (long long)s->masked, (long long)s->steps,
            s->rate * (double)s->masked, s->rate);
    if (!train_part(j, m, &own, &now, name, title)) return false;
    fuse(m);
    const double kept = share_of(&m->config, &j->original);
    fprintf(stderr, "stage %d of %d: kept %.4f, asked for %g; %.0f parameters%s\n", k + 1,
            j->stages, kept, s->keep, clip_count(&m->config, 2).parameters,
            fabs(kept - s->keep) > far ? "; to come nearer, give it more steps with masks" : "");
    j->off = fmax(j->off, fabs(kept - s->keep));
    return true;
}

static bool train_smaller(job *j, model *m, const stage *s, int k)
{
    recipe own = *j->all->recipe;
    char name[32], title[64];
    const phase now = { .stage = 2 * k + 2, .before = j->before, .whole = j->whole };
    own.steps = s->steps - s->masked;
    own.warmup = 0;
    const bool last = k + 1 == j->stages;
    snprintf(name, sizeof name, "stage-%d", k + 1);
    snprintf(title, sizeof title, "stage %d of %d", k + 1, j->stages);
    if (!train_part(j, m, &own, &now, last ? NULL : name, title)) return false;
    if (!last) take_weights(m, own.ema > 0);
    return true;
}

pith_train_result train_stages(model *m, const training *u, const pruning *p)
{
    stage stages[MOST_STAGES];
    job j = {
        .all = u, .p = p, .part_record = record_of_part(u->record, u->out), .original = m->config
    };
    j.stages = read_stages(p, u->recipe, stages, &j.whole);
    clip_can_be_pruned(&m->config);
    if (!u->resume) write_record(u->out, u->record);
    for (int k = 0; k < j.stages; k++)
        if (!train_masks(&j, m, &stages[k], k, k ? share_of(&m->config, &j.original) : 1) ||
            !train_smaller(&j, m, &stages[k], k))
            break;
    if (j.off > far)
        fprintf(
            stderr,
            "%s: what was kept is up to %.3f away from what was asked for: more steps with masks "
            "(--steps, --masked) come nearer\n",
            u->out, j.off);
    free(j.part_record);
    return j.total;
}

/* ---- the command ---- */

int command_prune(int argc, char **argv)
{
    recipe r = RECIPE_DEFAULTS;
    pruning p = { PRUNING_DEFAULTS("keep") };
    const char *name = NULL, *out = NULL, *resume = NULL;
    r.loss = "affinity";
    const option options[] = {
        { "--model", PATH, &name, "the model's directory; it is the teacher, too" },
        { "--keep", TEXT, &p.stages,
          "the share of its blocks' parameters to keep, or stages: 0.75,0.5 or 0.75:300,0.5:400 "
          "with the steps of each" },
        { "--out", PATH, &out, "the run's directory, which becomes the smaller model" },
        { "--resume", PATH, &resume,
          "go on with the run in this directory; if its loss is a file, give --loss again" },
        PRUNING_OPTIONS(p),
        ROWS_OPTION(r),
        RECIPE_OPTIONS(r),
        END_OF_OPTIONS
    };
    const char *data = parse_run(
        options, "DATA --model M --keep 0.5 --out RUN | --resume RUN",
        "Makes a model smaller: masks over its channels, heads and FFN units learn what can be\n"
        "left out, and the rest goes on imitating the whole model. --steps is for a stage.",
        &out, &resume, argc, argv);
    need_option("--model", name);
    need_option("--keep", p.stages);
    check_pruning(&p, &r, resume);
    parse_synthetic(r.synthetic, NULL);
    model m = open_model_with_tokenizer(name);
    clip_can_be_pruned(&m.config);
    training all = open_training(&r, argv[0], data, m.config.image_size, options, out, resume,
                                 true);
    return imitate(&m, &all, name, &p, argv[0]);
}
