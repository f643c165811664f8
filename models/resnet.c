/* resnet.c: the image tower as CLIP's ModifiedResNet (Radford et al., ICML 2021, after He et al.,
 * CVPR 2016): a stem of three convolutions, four stages of bottleneck blocks, which halve pictures
 * by averaging, and a pool of attention, whose only query is the mean of all places. Channels are
 * last; weights lie as OpenCLIP has them, (out, in, height, width).
 *
 * The published stem divides height and width by 4: its first convolution by 2, and then a pool.
 * For small pictures there are two that are not published: stem_stride 2, without the pool, and 1,
 * whose first convolution also has stride 1. */
#include <math.h>
#include <stdio.h>
#include "parts.h"

#define EPSILON 1e-5
#define MOMENTUM 0.1 /* the latest batch's share in the running figures */
enum { EXPANSION = 4 };

int clip_resnet_channels(const clip_config *c) { return 8 * EXPANSION * c->vision.width; }

/* ---- sizes ---- */

/* Names are those below `scope`. */
typedef struct {
    clip_visit *visit;
    void *context;
    char scope[32];
} walk;

static void visit(const walk *w, int stage, const char *name, const char *norm, int out, int in,
                  int kernel, int side)
{
    clip_convolution x = { .stage = stage, .out = out, .in = in, .kernel = kernel, .side = side };
    snprintf(x.name, sizeof x.name, "%s%s", w->scope, name);
    snprintf(x.norm, sizeof x.norm, "%s%s", w->scope, norm);
    w->visit(&x, w->context);
}

void clip_visit_convolutions(const clip_config *c, clip_visit *each, void *context)
{
    const int W = c->vision.width, pool = c->resnet.stem_stride == 4 ? 2 : 1;
    int side = c->image_size / c->resnet.stem_stride * pool, in = W;
    walk w = { .visit = each, .context = context };
    visit(&w, -1, "conv1", "bn1", W / 2, 3, 3, side);
    visit(&w, -1, "conv2", "bn2", W / 2, W / 2, 3, side);
    visit(&w, -1, "conv3", "bn3", W, W / 2, 3, side);
    side /= pool;
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < c->resnet.layers[s]; i++) {
            const int planes = W << s, out = EXPANSION * planes;
            snprintf(w.scope, sizeof w.scope, "layer%d.%d.", s + 1, i);
            visit(&w, s, "conv1", "bn1", planes, in, 1, side);
            visit(&w, s, "conv2", "bn2", planes, planes, 3, side);
            if (s && !i) side /= 2;
            visit(&w, s, "conv3", "bn3", out, planes, 1, side);
            if (!i) visit(&w, s, "downsample.0", "downsample.1", out, in, 1, side);
            in = out;
        }
}

static void add_madds(const clip_convolution *x, void *sum)
{
    *(double *)sum += (double)x->out * x->in * x->kernel * x->kernel * x->side * x->side;
}

double clip_resnet_madds(const clip_config *c)
{
    const double grid = c->image_size / c->patch, tokens = grid * grid + 1,
                 E = clip_resnet_channels(c);
    double sum = E * E + 2 * tokens * E * E + 2 * tokens * E + E * c->embed;
    clip_visit_convolutions(c, add_madds, &sum);
    return sum;
}

/* ---- layers ---- */

/* x (B, H, W, in) -> (B, H', W', out); kernel 1 or 3, with as many zeros around that a stride of 1
 * keeps the size. */
static pith_node *convolution(pith_graph *g, const char *name, pith_node *x, int out, int kernel,
                              int stride)
{
    const int in = x->dim[3];
    pith_scope(g, "%s", name);
    pith_node *w = pith_param(g, "weight", PITH_UNIFORM, 1 / sqrt((double)in * kernel * kernel),
                              out, in, kernel, kernel);
    pith_unscope(g);
    w = kernel == 1 ? pith_reshape(w, out, 1, 1, in) : pith_permute(w, 0, 2, 3, 1);
    return pith_convolution(x, w, stride, kernel / 2);
}

/* A state that moves towards the latest batch's figure. */
static void run_towards(pith_node *state, pith_node *figure)
{
    pith_update(state, pith_add(pith_mul_scalar(pith_pending(state), 1 - MOMENTUM),
                                pith_mul_scalar(figure, MOMENTUM)));
}

/* Batch norm: in training by the batch's own figures. Elsewhere, and where the norm is frozen, as a
 * teacher's is, by the running ones. */
static pith_node *norm(pith_graph *g, const char *name, pith_node *x, double initial_gain)
{
    const int n = x->dim[3];
    pith_scope(g, "%s", name);
    pith_node *gain = pith_param(g, "weight", PITH_CONSTANT, initial_gain, n),
              *bias = pith_param(g, "bias", PITH_CONSTANT, 0, n),
              *mean = pith_state(g, "running_mean", PITH_F32, PITH_CONSTANT, 0, n),
              *variance = pith_state(g, "running_var", PITH_F32, PITH_CONSTANT, 1, n),
              *batches = pith_state(g, "num_batches_tracked", PITH_I32, PITH_CONSTANT, 0);
    pith_unscope(g);
    if (!pith_is_training(g) || !pith_training_of(gain).trained) {
        pith_node *factor = pith_mul(gain, pith_rsqrt(pith_add_scalar(variance, EPSILON)));
        return pith_add(pith_mul(pith_sub(x, mean), factor), bias);
    }
    pith_node *y = pith_batch_norm(x, gain, bias);
    const double rows = (double)pith_size(x) / n;
    run_towards(mean, pith_result(y, 1));
    run_towards(variance, pith_mul_scalar(pith_result(y, 2), rows > 1 ? rows / (rows - 1) : 1));
    pith_update(batches, pith_add_scalar(pith_pending(batches), 1));
    return y;
}

/* The mean of each square of side x side places. */
static pith_node *pool(pith_node *x, int side)
{
    if (side == 1) return x;
    const int B = x->dim[0], H = x->dim[1] / side, W = x->dim[2] / side, C = x->dim[3];
    return pith_mean(pith_reshape(x, B, H, side, W, side, C), 2, 4);
}

static pith_node *block(pith_graph *g, pith_node *x, int planes, bool first, int stride)
{
    pith_node *y = pith_relu(norm(g, "bn1", convolution(g, "conv1", x, planes, 1, 1), 1));
    y = pool(pith_relu(norm(g, "bn2", convolution(g, "conv2", y, planes, 3, 1), 1)), stride);
    y = norm(g, "bn3", convolution(g, "conv3", y, EXPANSION * planes, 1, 1), 0);
    if (first) {
        pith_scope(g, "downsample");
        x = norm(g, "1", convolution(g, "0", pool(x, stride), EXPANSION * planes, 1, 1), 1);
        pith_unscope(g);
    }
    return pith_relu(pith_add(y, x));
}

/* x (B, H, W, E) -> (B, E), before the projection: attention of the mean of all places to itself
 * and all of them. */
static pith_node *attention_pool(pith_graph *g, const clip_config *c, pith_node *x)
{
    const int B = x->dim[0], places = x->dim[1] * x->dim[2], T = places + 1, E = x->dim[3],
              d = c->vision.head_width, heads = E / d;
    const double deviation = 1 / sqrt(E);
    x = pith_reshape(x, B, places, E);
    pith_node *tokens[2] = { pith_reshape(pith_mean(x, 1), B, 1, E), x };
    pith_scope(g, "attnpool");
    pith_node *positions = pith_no_weight_decay(
        pith_param(g, "positional_embedding", PITH_NORMAL, deviation, T, E));
    x = pith_reshape(pith_add(pith_concat(2, tokens, 1), positions), B * T, E);
    pith_node *q = clip_linear(g, "q_proj", pith_gather(x, clip_multiples(g, B, T)), E, E,
                               deviation, false, NULL, NULL);
    pith_node *w[2], *b[2];
    for (int k = 0; k < 2; k++) {
        pith_scope(g, k ? "v_proj" : "k_proj");
        w[k] = pith_param(g, "weight", PITH_NORMAL, deviation, E, E);
        b[k] = pith_param(g, "bias", PITH_UNIFORM, deviation, E);
        pith_unscope(g);
    }
    pith_unscope(g);
    pith_node *kv = pith_linear(x, pith_concat(2, w, 0), pith_concat(2, b, 0));
    pith_node *y = pith_pooled_attention(pith_reshape(q, B, heads, d),
                                         pith_reshape(kv, B * T, 2, heads, d),
                                         clip_multiples(g, B + 1, T));
    return pith_reshape(y, B, E);
}

pith_node *clip_resnet_features(pith_graph *g, const clip_config *c, pith_node *pixels)
{
    const int W = c->vision.width, stride = c->resnet.stem_stride;
    pith_scope(g, "visual");
    pith_node *x = pith_permute(pixels, 0, 2, 3, 1);
    x = pith_relu(norm(g, "bn1", convolution(g, "conv1", x, W / 2, 3, stride > 1 ? 2 : 1), 1));
    x = pith_relu(norm(g, "bn2", convolution(g, "conv2", x, W / 2, 3, 1), 1));
    x = pith_relu(norm(g, "bn3", convolution(g, "conv3", x, W, 3, 1), 1));
    x = pool(x, stride == 4 ? 2 : 1);
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < c->resnet.layers[s]; i++) {
            pith_scope(g, "layer%d.%d", s + 1, i);
            x = block(g, x, W << s, i == 0, s && !i ? 2 : 1);
            pith_unscope(g);
        }
    x = attention_pool(g, c, x);
    pith_unscope(g);
    return x;
}

pith_node *clip_resnet_project(pith_graph *g, const clip_config *c, pith_node *features)
{
    const int E = features->dim[1];
    pith_scope(g, "visual.attnpool");
    pith_node *y = clip_linear(g, "c_proj", features, c->embed, E, 1 / sqrt(E), false, NULL, NULL);
    pith_unscope(g);
    return y;
}
