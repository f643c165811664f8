/* test_models.c: towers against straightforward loops; the list of tensors and the count of work
 * against the graph. */
#include "uneven.h"

#define TOLERANCE (sizeof(pith_real) == 8 ? 1e-10 : 1e-4)

/* ---- the towers ---- */

typedef struct {
    int pairs, n, ids[32], positions[32], offsets[9], last[8];
    pith_real *pixels;
} sample;

static sample make_sample(const clip_config *c, int pairs, const int *lengths)
{
    sample s = { .pairs = pairs };
    const int size = pairs * 3 * c->image_size * c->image_size;
    for (int i = 0; i < pairs; i++) {
        for (int k = 0; k < lengths[i]; k++, s.n++)
            s.positions[s.n] = k, s.ids[s.n] = (3 * i + 5 * k) % c->vocabulary;
        s.offsets[i + 1] = s.n;
        s.last[i] = s.n - 1;
    }
    s.pixels = malloc(sizeof *s.pixels * (size_t)size);
    for (int k = 0; k < size; k++) s.pixels[k] = (pith_real)sin(k);
    return s;
}

static pith_plan *plan_batch(pith_graph *g, const clip_config *c, const sample *x, pith_batch *b)
{
    const clip_inputs in = clip_inputs_new(g, c, x->pairs, x->n);
    *b = clip_batch(g, c, &in);
    pith_plan *p = pith_plan_new(g, 3, (pith_node *[]){ b->image_raw, b->text_raw, b->scale },
                                 NULL);
    if (!p) fail_msg("%s", pith_error());
    pith_feed(p, in.pixels, x->pixels);
    pith_feed(p, in.ids, x->ids);
    pith_feed(p, in.positions, x->positions);
    pith_feed(p, in.offsets, x->offsets);
    pith_feed(p, in.last, x->last);
    assert_true(pith_run(p));
    return p;
}

static const pith_real *weight(pith_store *s, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%.99s%.99s", prefix, name);
    const pith_tensor *t = pith_store_find(s, full);
    if (!t) fail_msg("no tensor %s", full);
    return elements(t);
}

static void norm(pith_store *s, const char *prefix, const char *name, int D, const double *x,
                 double *y)
{
    char full[256];
    snprintf(full, sizeof full, "%.99s%.99s", prefix, name);
    const pith_real *w = weight(s, full, ".weight"), *b = weight(s, full, ".bias");
    double mean = 0, var = 0;
    for (int k = 0; k < D; k++) mean += x[k] / D;
    for (int k = 0; k < D; k++) var += (x[k] - mean) * (x[k] - mean) / D;
    for (int k = 0; k < D; k++)
        y[k] = (x[k] - mean) / sqrt(var + 1e-5) * (double)w[k] + (double)b[k];
}

static void affine(const pith_real *w, const pith_real *b, int out, int in, const double *x,
                   double *y)
{
    for (int o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (int k = 0; k < in; k++) y[o] += (double)w[o * in + k] * x[k];
    }
}

enum { WIDEST = 64, LONGEST = 8 };

/* x (n, D) through all blocks, every token computed. */
static void loop_blocks(pith_store *s, const char *tower, const clip_tower *t, bool causal, int n,
                        double x[LONGEST][WIDEST])
{
    const int D = t->width, d = t->head_width;
    char p[96];
    for (int l = 0; l < t->layers; l++) {
        double qkv[LONGEST][3 * WIDEST], h[WIDEST], y[LONGEST][WIDEST] = { { 0 } }, z[WIDEST];
        const int H = t->heads[l], inner = H * d;
        snprintf(p, sizeof p, "%stransformer.resblocks.%d.", tower, l);
        for (int i = 0; H && i < n; i++) {
            norm(s, p, "ln_1", D, x[i], h);
            affine(weight(s, p, "attn.in_proj_weight"), weight(s, p, "attn.in_proj_bias"),
                   3 * inner, D, h, qkv[i]);
        }
        for (int i = 0; i < n; i++)
            for (int a = 0; a < H; a++) {
                double share[LONGEST], sum = 0;
                const int keys = causal ? i + 1 : n;
                for (int j = 0; j < keys; j++) {
                    double dot = 0;
                    for (int k = 0; k < d; k++)
                        dot += qkv[i][a * d + k] * qkv[j][inner + a * d + k];
                    sum += share[j] = exp(dot / sqrt(d));
                }
                for (int j = 0; j < keys; j++)
                    for (int k = 0; k < d; k++)
                        y[i][a * d + k] += share[j] / sum * qkv[j][2 * inner + a * d + k];
            }
        for (int i = 0; i < n; i++) {
            if (H)
                affine(weight(s, p, "attn.out_proj.weight"), weight(s, p, "attn.out_proj.bias"), D,
                       inner, y[i], z);
            for (int k = 0; H && k < D; k++) x[i][k] += z[k];
            if (!t->ffn[l]) continue;
            double f[WIDEST];
            norm(s, p, "ln_2", D, x[i], h);
            affine(weight(s, p, "mlp.c_fc.weight"), weight(s, p, "mlp.c_fc.bias"), t->ffn[l], D, h,
                   f);
            for (int k = 0; k < t->ffn[l]; k++) f[k] = f[k] / (1 + exp(-1.702 * f[k]));
            affine(weight(s, p, "mlp.c_proj.weight"), weight(s, p, "mlp.c_proj.bias"), D, t->ffn[l],
                   f, z);
            for (int k = 0; k < D; k++) x[i][k] += z[k];
        }
    }
}

static void project(const pith_real *w, int D, int E, const double *x, double *out)
{
    for (int e = 0; e < E; e++) {
        out[e] = 0;
        for (int k = 0; k < D; k++) out[e] += x[k] * (double)w[k * E + e];
    }
}

static void loop_text(pith_store *s, const clip_config *c, const sample *in, int row, double *out)
{
    double x[LONGEST][WIDEST], y[WIDEST];
    const int D = c->text.width, n = in->offsets[row + 1] - in->offsets[row];
    const pith_real *embedding = weight(s, "", "token_embedding.weight"),
                    *positions = weight(s, "", "positional_embedding");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < D; k++)
            x[i][k] = (double)embedding[in->ids[in->offsets[row] + i] * D + k] +
                      (double)positions[i * D + k];
    loop_blocks(s, "", &c->text, true, n, x);
    norm(s, "", "ln_final", D, x[n - 1], y);
    project(weight(s, "", "text_projection"), D, c->embed, y, out);
}

static void loop_image(pith_store *s, const clip_config *c, const sample *in, int row, double *out)
{
    double x[LONGEST][WIDEST], y[WIDEST];
    const int D = c->vision.width, p = c->patch, S = c->image_size, grid = S / p;
    const pith_real *class = weight(s, "visual.", "class_embedding"),
                    *positions = weight(s, "visual.", "positional_embedding");
    const pith_real *conv = weight(s, "visual.", "conv1.weight");
    for (int i = 0; i <= grid * grid; i++) {
        for (int k = 0; k < D; k++) {
            y[k] = (double)positions[i * D + k] + (i ? 0 : (double)class[k]);
            for (int q = 0; i && q < 3 * p * p; q++) {
                const int channel = q / (p * p), up = (i - 1) / grid * p + q / p % p,
                          left = (i - 1) % grid * p + q % p;
                y[k] += (double)conv[k * 3 * p * p + q] *
                        (double)in->pixels[((row * 3 + channel) * S + up) * S + left];
            }
        }
        norm(s, "visual.", "ln_pre", D, y, x[i]);
    }
    loop_blocks(s, "visual.", &c->vision, false, grid * grid + 1, x);
    norm(s, "visual.", "ln_post", D, x[0], y);
    project(weight(s, "visual.", "proj"), D, c->embed, y, out);
}

/* Initial values leave norms and attention biases at 1 and 0, where mistakes hide. */
static void stir(pith_store *s)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        pith_tensor *t = pith_store_at(s, k);
        pith_real *x = elements(t);
        for (size_t i = 0; t->ndim && i < pith_tensor_size(t); i++)
            x[i] += (pith_real)(0.3 * sin((double)(i + 7 * (size_t)k)));
        assert_true(pith_tensor_write(t, x));
    }
}

static void towers_equal_loops(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        clip_config c = uneven();
        if (round) assert_true(clip_config_named(&c, "8/4:w12l2h3+w8l2h2c6v11:e5:quick_gelu"));
        const sample x = make_sample(&c, 3, (const int[]){ 2, 6, 3 });
        pith_store *s = pith_store_new();
        pith_batch b;
        pith_graph *first = pith_graph_new(s, 1), *g = pith_graph_new(s, 1);
        pith_plan_free(plan_batch(first, &c, &x, &b));
        stir(s);
        pith_plan *p = plan_batch(g, &c, &x, &b);
        assert_true(fabs(pith_scalar(p, b.scale) - 1 / 0.07) < 1e-4);
        for (int row = 0; row < x.pairs; row++) {
            double image[WIDEST], text[WIDEST];
            loop_image(s, &c, &x, row, image);
            loop_text(s, &c, &x, row, text);
            for (int e = 0; e < c.embed; e++) {
                const double i =
                    (double)((const pith_real *)value_of(p, b.image_raw))[row * c.embed + e];
                const double t =
                    (double)((const pith_real *)value_of(p, b.text_raw))[row * c.embed + e];
                if (!(fabs(i - image[e]) < TOLERANCE))
                    fail_msg("image %d.%d: %.12g, loops %.12g", row, e, i, image[e]);
                if (!(fabs(t - text[e]) < TOLERANCE))
                    fail_msg("text %d.%d: %.12g, loops %.12g", row, e, t, text[e]);
            }
        }
        pith_plan_free(p);
        pith_graph_free(first);
        pith_graph_free(g);
        pith_store_free(s);
        free(x.pixels);
    }
}

/* A caption embeds to the same alone, in a batch, and before padding that lies in no segment; to
 * rounding, since a BLAS may add a row up in another order among another number of rows. */
static void a_caption_is_itself_in_any_batch(void **state)
{
    (void)state;
    clip_config c;
    assert_true(clip_config_named(&c, "8/4:w16l2h2+w16l2h2c6v11:e5"));
    const sample whole = make_sample(&c, 3, (const int[]){ 4, 6, 3 });
    sample one = make_sample(&c, 1, (const int[]){ 3 });
    memcpy(one.ids, whole.ids + 10, sizeof *one.ids * 3);
    one.n += 5; /* padding: ids and positions 0 */
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1), *h = pith_graph_new(s, 1);
    pith_batch a, b;
    pith_plan *p = plan_batch(g, &c, &whole, &a);
    pith_real in_batch[5];
    memcpy(in_batch, (const pith_real *)value_of(p, a.text_raw) + 2 * c.embed, sizeof in_batch);
    pith_plan *q = plan_batch(h, &c, &one, &b);
    for (int e = 0; e < c.embed; e++) {
        const double alone = (double)((const pith_real *)value_of(q, b.text_raw))[e];
        if (!(fabs(alone - (double)in_batch[e]) < TOLERANCE))
            fail_msg("%d: %.12g in a batch, %.12g alone", e, (double)in_batch[e], alone);
    }
    pith_plan_free(p);
    pith_plan_free(q);
    pith_graph_free(g);
    pith_graph_free(h);
    pith_store_free(s);
    free(whole.pixels);
    free(one.pixels);
}

/* ---- initial values ---- */

static void initial_values_are_clips(void **state)
{
    (void)state;
    clip_config c;
    assert_true(clip_config_named(&c, "32/8:w96l2h3+w64l3h2c16v300:e48"));
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const clip_inputs in = clip_inputs_new(g, &c, 2, 5);
    clip_batch(g, &c, &in);
    const double third = 1 / sqrt(3); /* deviation of a uniform number of half width 1 */
    const struct {
        const char *name;
        double deviation;
    } rules[] = {
        { "visual.class_embedding", 1 / sqrt(96) },
        { "visual.positional_embedding", 1 / sqrt(96) },
        { "visual.conv1.weight", third / sqrt(3 * 8 * 8) },
        { "visual.transformer.resblocks.1.attn.in_proj_weight", third * sqrt(6.0 / (288 + 96)) },
        { "visual.transformer.resblocks.0.attn.out_proj.weight", third / sqrt(96) },
        { "visual.transformer.resblocks.1.mlp.c_fc.weight", third / sqrt(96) },
        { "visual.transformer.resblocks.1.mlp.c_fc.bias", third / sqrt(96) },
        { "visual.transformer.resblocks.0.mlp.c_proj.weight", third / sqrt(384) },
        { "visual.proj", 1 / sqrt(96) },
        { "token_embedding.weight", 0.02 },
        { "positional_embedding", 0.01 },
        { "transformer.resblocks.0.attn.in_proj_weight", 1 / sqrt(64) },
        { "transformer.resblocks.2.attn.out_proj.weight", 1 / sqrt(64 * 6) },
        { "transformer.resblocks.2.mlp.c_fc.weight", 1 / sqrt(128) },
        { "transformer.resblocks.1.mlp.c_proj.weight", 1 / sqrt(64 * 6) },
        { "transformer.resblocks.1.mlp.c_proj.bias", third / sqrt(256) },
        { "text_projection", 1 / sqrt(64) },
        { "transformer.resblocks.1.attn.in_proj_bias", 0 },
        { "visual.transformer.resblocks.1.attn.out_proj.bias", 0 },
    };
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        const pith_real *x = weight(s, "", rules[k].name);
        const size_t n = pith_tensor_size(pith_store_find(s, rules[k].name));
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)(x[i] * x[i]);
        const double found = sqrt(sum / (double)n), slack = 4 / sqrt(2.0 * (double)n);
        if (fabs(found - rules[k].deviation) > slack * rules[k].deviation)
            fail_msg("%s deviates by %.4f, the rule says %.4f", rules[k].name, found,
                     rules[k].deviation);
    }
    pith_graph_free(g);
    pith_store_free(s);
}

/* ---- the list of tensors, and the count of work ---- */

static void check_list(const clip_config *c)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const clip_inputs in = clip_inputs_new(g, c, 2, 5);
    clip_batch(g, c, &in);
    if (pith_graph_error(g)) fail_msg("%s", pith_graph_error(g));
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    assert_int_equal(n, pith_store_count(s));
    for (int k = 0; k < n; k++) {
        const pith_tensor *t = pith_store_find(s, list[k].name);
        if (!t) fail_msg("the graph has no %s", list[k].name);
        assert_int_equal(t->ndim, list[k].ndim);
        assert_memory_equal(t->dim, list[k].dim, sizeof(int) * (size_t)t->ndim);
    }
    free(list);
    pith_graph_free(g);
    pith_store_free(s);
}

static void the_list_is_the_graphs(void **state)
{
    (void)state;
    clip_config c = uneven();
    check_list(&c);
    assert_true(clip_config_named(&c, "demo-student"));
    check_list(&c);
    assert_true(clip_config_named(&c, "8/4:w16l3h2s2+w16l2h2p1c6v11:e5"));
    c.text.block[0] = CLIP_SAS;
    check_list(&c);
}

/* Products as the plan counts them: a forward pass of three pairs with captions of four tokens. */
static void flops_are_the_plans(void **state)
{
    (void)state;
    clip_config c = uneven();
    for (int round = 0; round < 3; round++) {
        const sample x = make_sample(&c, 3, (const int[]){ 4, 4, 4 });
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b;
        pith_plan *p = plan_batch(g, &c, &x, &b);
        const double found = pith_plan_statistics(p).gemm_flops,
                     wanted = 3 * clip_count(&c, 4).flops_pair;
        if (fabs(found - wanted) > 0.5)
            fail_msg("the plan counts %.0f, clip_count %.0f", found, wanted);
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
        free(x.pixels);
        assert_true(clip_config_named(&c, round ? "8/4:w16l3h2s2+w16l2h2p1c6v11:e5"
                                                : "8/4:w16l2h2+w16l2h2c6v11:e5"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(towers_equal_loops),
        cmocka_unit_test(a_caption_is_itself_in_any_batch),
        cmocka_unit_test(initial_values_are_clips),
        cmocka_unit_test(the_list_is_the_graphs),
        cmocka_unit_test(flops_are_the_plans),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
