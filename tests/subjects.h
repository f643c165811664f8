/* subjects.h: trainings of tiny models, as graphs: what tests of a device train there, and whose
 * chains test_chains.c compiles. */
#ifndef PITH_TESTS_SUBJECTS_H
#define PITH_TESTS_SUBJECTS_H
#include "tests.h"
#include "losses/losses.h"
#include "models/models.h"
#include "train/optim.h"

enum { PAIRS = 6, STEPS = 10, LONGEST = 5, CLUSTERS = 30, TEACHER = 10 };

/* One training, on one device. */
typedef struct {
    pith_store *store;
    pith_graph *g;
    pith_plan *plan;
    pith_node *loss, *outputs[3];
    int n_outputs;
    double losses[STEPS];
} training;

typedef struct {
    const char *name, *model; /* NULL: an MLP */
    const char *loss;         /* as after --loss; teacher and clusters are there */
    double masked;            /* share of patches left out, as in FLIP */
    double tolerance;         /* of weights, a share of the tensor's largest */
    bool bf16;
    const char *pruned; /* TinyCLIP: the weights come from this model, and masks are trained */
    double ema;
    bool sgd;
} subject;

/* ---- which there are ---- */

/* Kinds of towers, and both precisions. */
#define VIT "8/4:w16l2h2+w16l2h2c8v40:e8"
#define RESNET "32/r1:w4l1.1.1.1+w16l2h2c8v40:e8"
static const subject models_trained[] = {
    { .name = "a CLIP", .model = VIT, .loss = "clip", .tolerance = 2e-5 },
    { .name = "SAS-P blocks, distilled",
      .model = "8/4:w16l2h2s2+w16l2h2c8v40:e8",
      .loss = "affinity:scale=20",
      .tolerance = 2e-5 },
    { .name = "masked patches",
      .model = "16/4:w16l2h2+w16l2h2c8v40:e8",
      .loss = "clip",
      .masked = 0.5,
      .tolerance = 2e-5 },
    { .name = "a ResNet", .model = RESNET, .loss = "clip", .tolerance = 2e-5 },
    /* sums in another order may round to the next bf16, a 256th away, in each of ten steps */
    { .name = "a CLIP in bf16", .model = VIT, .loss = "clip", .tolerance = 0x1p-5, .bf16 = true },
    /* whose many norms make much of it: what AdamW makes of that is not compared */
    { .name = "a ResNet in bf16",
      .model = RESNET,
      .loss = "clip",
      .tolerance = INFINITY,
      .bf16 = true },
};

/* What papers train with them. */
static const subject papers_trained[] = {
    { .name = "an MLP", .tolerance = 2e-5 },
    { .name = "masks and their constraint, weights inherited",
      .model = VIT,
      .loss = "affinity+2*interactive",
      .pruned = "8/4:w32l2h4+w24l2h3c8v40:e8",
      .tolerance = 2e-5 },
    { .name = "clusters, drawn and trained by rows",
      .model = VIT,
      .loss = "clip+cluster:rate=0.5,margin=0.3+instance",
      .tolerance = 2e-5,
      .ema = 0.9 },
    { .name = "two views",
      .model = VIT,
      .loss = "clip+slip:hidden=20,out=12",
      .tolerance = 2e-5,
      .sgd = true },
    { .name = "all other losses",
      .model = "8/4:w16l1h2m1+w16l1h2c8v40b1:e8:quick_gelu",
      .loss = "siglip+affinity+100*feature+relational+interactive+10*gradient+pair",
      .tolerance = 2e-5 },
};

/* ---- their graphs ---- */

static inline pith_node *mlp(pith_graph *g)
{
    enum { IN = 20, HIDDEN = 33, OUT = 7 };
    pith_node *x = pith_input(g, "x", PITH_F32, PAIRS, IN);
    pith_node *a = pith_param(g, "a", PITH_NORMAL, 0.3, HIDDEN, IN),
              *b = pith_param(g, "b", PITH_NORMAL, 0.3, OUT, HIDDEN);
    x = pith_gelu(pith_linear(x, a, pith_param(g, "a.bias", PITH_CONSTANT, 0, HIDDEN)));
    x = pith_linear(pith_dropout(x, 0.1), b, pith_param(g, "b.bias", PITH_CONSTANT, 0, OUT));
    return pith_mean(pith_cross_entropy(x, pith_input(g, "label", PITH_I32, PAIRS)), PITH_ALL);
}

/* All that a run may have: teachers of other widths, and clusters of the first one's rows. */
static inline pith_batch whole_batch(pith_graph *g, const clip_config *c, const clip_inputs *in)
{
    pith_batch b = clip_batch(g, c, in);
    for (int k = 0; k < 2; k++) {
        const int width = TEACHER + 3 * k;
        pith_teacher *teacher = pith_add_teacher(&b, width);
        teacher->image = pith_input(g, k ? "more.image" : "teacher.image", PITH_F32, PAIRS, width);
        teacher->text = pith_input(g, k ? "more.text" : "teacher.text", PITH_F32, PAIRS, width);
        teacher->scale = pith_const(g, 20);
    }
    b.cluster = pith_input(g, "cluster", PITH_I32, PAIRS);
    b.centroids = pith_input(g, "centroids", PITH_F32, CLUSTERS, TEACHER);
    return b;
}

static inline clip_config config_of(const char *model)
{
    clip_config c;
    if (!clip_config_named(&c, model)) fail_msg("%s", pith_error());
    return c;
}

/* The weights of a larger model, cut to size. */
static inline void inherit(const clip_config *c, pith_store *s, const char *from)
{
    const clip_config larger = config_of(from);
    pith_store *whole = pith_store_new();
    pith_graph *g = pith_graph_new(whole, 4);
    const clip_inputs in = clip_inputs_new(g, &larger, PAIRS, PAIRS * LONGEST);
    clip_batch(g, &larger, &in);
    if (!clip_inherit(c, s, &larger, whole, false)) fail_msg("%s", pith_error());
    pith_graph_free(g);
    pith_store_free(whole);
}

static inline pith_node *clip_of(pith_graph *g, pith_store *store, const subject *s)
{
    const clip_sparsity sparsity = { .keep = 0.5,
                                     .start = 1,
                                     .ramp = 3,
                                     .mask_rate = 0.5,
                                     .multiplier_rate = 1,
                                     .each_tower = true };
    const clip_config whole = config_of(s->model);
    clip_config c = whole;
    clip_masks masks[2];
    if (s->pruned) {
        inherit(&c, store, s->pruned);
        clip_mask_towers(g, &c, masks);
    }
    clip_inputs in = clip_inputs_new(g, &c, PAIRS, PAIRS * LONGEST);
    in.masked = s->masked;
    in.samples = PAIRS;
    const pith_batch b = whole_batch(g, &c, &in);
    pith_loss_spec *spec = pith_loss_parse(s->loss, "build");
    pith_node *loss = spec ? pith_loss_build(spec, &b) : NULL;
    pith_loss_free(spec);
    if (!loss) fail_msg("%s", pith_error());
    return s->pruned ? pith_add(loss, clip_sparsity_loss(g, &c, &whole, &sparsity)) : loss;
}

/* Loss, update and states: all that a step of training computes. */
static inline training build(pith_store *store, const subject *s)
{
    training t = { .store = store, .g = pith_graph_new(store, 3) };
    pith_set_training(t.g, true);
    t.loss = s->model ? clip_of(t.g, store, s) : mlp(t.g);
    pith_node **params, *norm, *lr = pith_const(t.g, 1e-3);
    const int n = pith_params(t.g, &params);
    pith_node **gradients = malloc((size_t)n * sizeof *gradients);
    if (!pith_gradients(t.loss, n, params, gradients)) fail_msg("%s: %s", s->name, pith_error());
    assert_true(pith_clip_norm(n, gradients, 1, &norm));
    pith_node *ok = pith_step_ok(norm), *states = pith_commit(t.g, ok);
    pith_node *update = s->sgd ? pith_sgd(n, params, gradients, lr, 0.9, 0.1, ok)
                               : pith_adamw(n, params, gradients, lr,
                                            (pith_adamw_options){ 0.9, 0.98, 1e-3, 0.1 }, ok);
    free(gradients);
    if (s->ema > 0) update = pith_ema(update, s->ema, ok);
    t.outputs[0] = t.loss, t.outputs[1] = update, t.outputs[2] = states;
    t.n_outputs = states ? 3 : 2;
    return t;
}
#endif
