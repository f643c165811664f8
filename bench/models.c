/* models.c: what masks cost, what a teacher's stored rows cost, and what blocks without a skip and
 * pruning save. What is compared runs in turn in one process, A, A, B, B, A, A, ..., so that
 * whatever else the machine does meets both: of each the least time counts, and beside it the
 * median of the ratios of all rounds. Weights and batches are random: only times are of interest.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "losses/losses.h"

enum { PAIRS = 128, ROUNDS = 12 };

/* Seconds of the fastest of some runs one after another. */
static double turn(pith_plan *p, int runs)
{
    double least = 0;
    for (int k = 0; k < runs; k++) {
        const double start = pith_seconds();
        pith_run(p);
        const double seconds = pith_seconds() - start;
        if (!k || seconds < least) least = seconds;
    }
    return least;
}

/* Captions of 5 tokens and more, where there is room. Returns the sum of their lengths. */
static int caption_lengths(const clip_config *c, int n, int *lengths)
{
    int tokens = 0;
    for (int b = 0; b < n; b++) tokens += lengths[b] = 5 + below(c->context - 5);
    return tokens;
}

/* ---- training steps -------------------------------------------------------------------------- */

static pith_node *masked_loss(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    clip_config masked = *c;
    clip_masks masks[2];
    clip_mask_towers(g, &masked, masks);
    const clip_sparsity o = {
        .keep = 0.5, .start = 1, .ramp = 100, .mask_rate = 0.02, .multiplier_rate = 0.02
    };
    return pith_add(plain_loss(g, &masked, in), clip_sparsity_loss(g, &masked, c, &o));
}

/* The teacher's rows are inputs: a training reads them from a file. */
static pith_node *distilled_loss(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    pith_batch b = clip_batch(g, c, in);
    pith_teacher *t = pith_add_teacher(&b, c->embed);
    t->image = pith_input(g, "teacher.image", PITH_F32, in->pairs, c->embed);
    t->text = pith_input(g, "teacher.text", PITH_F32, in->pairs, c->embed);
    t->scale = pith_const(g, 50);
    return affinity_loss(&b);
}

/* Feeds random unit rows. */
static void feed_rows(const step *s, const char *name, int width)
{
    const pith_node *input = pith_plan_input(s->plan, name);
    if (!input) return;
    pith_real *rows = malloc(sizeof *rows * PAIRS * (size_t)width);
    for (int i = 0; i < PAIRS; i++) {
        pith_real *row = rows + i * width, sum = 0;
        for (int k = 0; k < width; k++) row[k] = nearly_normal(), sum += row[k] * row[k];
        for (int k = 0; k < width; k++) row[k] /= (pith_real)sqrt((double)sum);
    }
    pith_feed(s->plan, input, rows);
}

typedef struct {
    const char *what, *bar;
    clip_config config[2];
    step_loss *loss[2];
    bool inverse; /* how many times as fast the second is, instead of how many times as long */
} comparison;

static void compare(const comparison *c)
{
    pith_store *store[2];
    step s[2];
    double times[2][ROUNDS], ratio[ROUNDS];
    int lengths[PAIRS];
    const int tokens = caption_lengths(&c->config[0], PAIRS, lengths);
    for (int k = 0; k < 2; k++) {
        const clip_config *config = &c->config[k];
        store[k] = pith_store_new();
        s[k] = step_new(store[k], config, PAIRS, tokens, c->loss[k], false);
        feed_pictures(s[k].plan, config, &s[k].in);
        feed_captions(s[k].plan, config, &s[k].in, lengths);
        feed_rows(&s[k], "teacher.image", config->embed);
        feed_rows(&s[k], "teacher.text", config->embed);
        turn(s[k].plan, 2); /* to warm up */
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (int k = 0; k < 2; k++) times[k][r] = turn(s[k].plan, 2);
        ratio[r] = c->inverse ? times[0][r] / times[1][r] : times[1][r] / times[0][r];
    }
    for (int k = 0; k < 2; k++) qsort(times[k], ROUNDS, sizeof **times, ascending);
    qsort(ratio, ROUNDS, sizeof *ratio, ascending);
    const double a = times[0][0], b = times[1][0];
    printf("%-44s %8.1f %8.1f %7.3f %7.3f  %s\n", c->what, 1e3 * a, 1e3 * b,
           c->inverse ? a / b : b / a, ratio[ROUNDS / 2], c->bar);
    for (int k = 0; k < 2; k++) {
        if (getenv("PITH_BENCH_TIMES")) {
            pith_time_plan(s[k].plan, true);
            turn(s[k].plan, 5);
            pith_print_times(stderr, s[k].plan);
        }
        step_free(&s[k]);
        pith_store_free(store[k]);
    }
}

/* ---- models that are exported ---------------------------------------------------------------- */

enum { KINDS = 3, SIZES = 2 };
static const int batch_sizes[SIZES] = { 1, 32 };

/* Both towers of a model, a plan each, forward only. */
typedef struct {
    pith_graph *graph[2 * SIZES];
    pith_plan *plan[2 * SIZES]; /* pictures of each batch size, then captions */
    double least[2 * SIZES];
} encoders;

static encoders encoders_new(const clip_config *c, pith_store *s)
{
    encoders e;
    for (int k = 0; k < 2 * SIZES; k++) {
        const int n = batch_sizes[k % SIZES];
        int lengths[32];
        pith_graph *g = e.graph[k] = pith_graph_new(s, 0);
        const clip_inputs in = clip_inputs_new(g, c, n, caption_lengths(c, n, lengths));
        pith_node *rows = pith_normalize(k < SIZES ? clip_image(g, c, in.pixels)
                                                   : clip_text(g, c, &in));
        e.plan[k] = pith_plan_new(g, 1, &rows, NULL);
        if (k < SIZES) feed_pictures(e.plan[k], c, &in);
        else feed_captions(e.plan[k], c, &in, lengths);
        e.least[k] = turn(e.plan[k], 2);
    }
    return e;
}

static void encoders_free(encoders *e)
{
    for (int k = 0; k < 2 * SIZES; k++) {
        pith_plan_free(e->plan[k]);
        pith_graph_free(e->graph[k]);
    }
}

/* A model cut out by masks that a die has thrown: each entry stays with a chance of 0.7, so that
 * about half of the parameters of the blocks are left. */
static void prune(const clip_config *c, clip_config *out, pith_store *to)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    clip_config masked = *c;
    clip_masks masks[2];
    clip_mask_towers(g, &masked, masks);
    const clip_inputs in = clip_inputs_new(g, c, 1, c->context);
    clip_batch(g, &masked, &in);
    for (int i = 0; i < pith_store_count(s); i++) {
        pith_tensor *t = pith_store_at(s, i);
        if (strncmp(t->name, "mask.", 5)) continue;
        const size_t n = pith_tensor_size(t);
        pith_real *logits = malloc(sizeof *logits * n);
        for (size_t k = 0; k < n; k++) logits[k] = below(10) < 7 ? 4 : -4;
        pith_tensor_write(t, logits);
        free(logits);
    }
    clip_fuse(c, s, out, to);
    pith_graph_free(g);
    pith_store_free(s);
}

static void measure_exported(const clip_config *c, const clip_config *sasp)
{
    static const char *const name[KINDS] = { "pre-norm", "SAS-P", "pruned" };
    clip_config config[KINDS] = { *c, *sasp };
    pith_store *store[KINDS];
    encoders e[KINDS];
    for (int m = 0; m < KINDS; m++) {
        store[m] = pith_store_new();
        if (m == 2) prune(c, &config[m], store[m]);
        e[m] = encoders_new(&config[m], store[m]);
    }
    for (int r = 0; r < ROUNDS; r++)
        for (int k = 0; k < 2 * SIZES; k++)
            for (int m = 0; m < KINDS; m++) {
                const double seconds = turn(e[m].plan[k], 10);
                if (seconds < e[m].least[k]) e[m].least[k] = seconds;
            }
    printf("\n%-26s %10s %12s %9s %12s %9s\n", "exported models", "parameters", "ms a picture",
           "of 32", "ms a caption", "of 32");
    for (int m = 0; m < KINDS; m++) {
        const double *least = e[m].least;
        printf("%-26s %8.2f M %12.3f %9.3f %12.3f %9.3f\n", name[m],
               clip_count(&config[m], 2).parameters / 1e6, 1e3 * least[0], 1e3 * least[1] / 32,
               1e3 * least[2], 1e3 * least[3] / 32);
        encoders_free(&e[m]);
        pith_store_free(store[m]);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static clip_config all_sasp(clip_config c, bool shared)
{
    clip_tower *const towers[] = { &c.vision, &c.text };
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < towers[k]->layers; i++) towers[k]->block[i] = CLIP_SAS_P;
        towers[k]->shared_query_key = shared;
    }
    return c;
}

void measure_models(const char *model, const char *student)
{
    clip_config c, s;
    if (!clip_config_named(&c, model) || !clip_config_named(&s, student)) return;
    const clip_config shared = all_sasp(c, true), own = all_sasp(c, false);
    const comparison all[] = {
        { "the same step twice", "1 but for noise", { c, c }, { plain_loss, plain_loss }, false },
        { "with masks, beside without",
          "at most 1.25",
          { c, c },
          { plain_loss, masked_loss },
          false },
        { "student: teacher's rows, beside InfoNCE",
          "at most 1.05",
          { s, s },
          { plain_loss, distilled_loss },
          false },
        { "SAS-P, shared q and k: times as fast",
          "at least 1.15",
          { c, shared },
          { plain_loss, plain_loss },
          true },
        { "SAS-P, own q and k: times as fast",
          "at least 1.15",
          { c, own },
          { plain_loss, plain_loss },
          true },
    };
    printf("%-44s %8s %8s %7s %7s  %s\n", "a training step", "ms", "ms", "ratio", "median", "bar");
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) compare(&all[k]);
    measure_exported(&c, &shared);
}
