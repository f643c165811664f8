/* test_shaped.c: blocks without a skip around attention against plain loops, and the properties
 * that their authors give them: what they are at first, what their gradients are, what rows sum to.
 */
#include "tests.h"
#include "models/parts.h"

enum { D = 12, H = 3, d = 4, F = 20, SEGMENTS = 3, ROWS = 15, MOST = 8 };
#define TOLERANCE (sizeof(pith_real) == 8 ? 1e-9 : 2e-4)

typedef struct {
    pith_store *s;
    pith_graph *g;
    clip_tower t;
    pith_node *x, *y, *norm;
    pith_plan *p;
} scene;

static const int packed[SEGMENTS + 1] = { 0, 2, 8, 12 }, even[SEGMENTS + 1] = { 0, 5, 10, 15 };
static const int last[SEGMENTS] = { 1, 7, 11 }, first[SEGMENTS] = { 0, 5, 10 };

static pith_real *row_data(void)
{
    static pith_real x[ROWS * D];
    for (int k = 0; k < ROWS * D; k++) x[k] = (pith_real)pith_normal_at(3, 0, (uint64_t)k);
    return x;
}

/* A block of one layer. Where it is causal, segments differ and three rows are padding. */
static scene build(pith_store *s, clip_block block, int ffn, bool causal, bool pooled)
{
    scene w = { .s = s, .g = pith_graph_new(s, 5) };
    w.t = (clip_tower){
        .width = D, .layers = 1, .head_width = d, .heads = { H }, .ffn = { ffn }, .block = { block }
    };
    w.x = pith_const_array(w.g, PITH_F32, row_data(), ROWS, D);
    pith_node *offsets = pith_const_array(w.g, PITH_I32, causal ? packed : even, SEGMENTS + 1),
              *rows = pith_const_array(w.g, PITH_I32, causal ? last : first, SEGMENTS);
    w.norm = clip_norm(w.g, "ln_1", w.x, NULL);
    w.y = clip_shaped_block(w.g, &w.t, 0, true, NULL, w.x, offsets, pooled ? rows : NULL, causal);
    pith_node *out[] = { w.y, w.norm };
    w.p = pith_plan_new(w.g, 2, out, NULL);
    if (!w.p || !pith_run(w.p)) fail_msg("%s", pith_error());
    return w;
}

static void drop(scene *w)
{
    pith_plan_free(w->p);
    pith_graph_free(w->g);
}

static void fill(pith_store *s, const char *name, double value, double noise)
{
    pith_tensor *t = pith_store_find(s, name);
    pith_real *x = elements(t);
    for (size_t i = 0; i < pith_tensor_size(t); i++)
        x[i] = (pith_real)(value + noise * pith_normal_at(pith_hash(name, 1), 0, i));
    assert_true(pith_tensor_write(t, x));
}

static void stir(pith_store *s)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        const char *name = pith_store_at(s, k)->name;
        fill(s, name, strstr(name, "gain") || !strcmp(name, "ln_1.weight") ? 1 : 0, 0.3);
    }
}

/* ---- plain loops ---- */

static void norm_row(pith_store *s, const char *name, const double *x, double *y)
{
    char full[64];
    double mean = 0, var = 0;
    snprintf(full, sizeof full, "%s.weight", name);
    const pith_real *w = stored(s, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const pith_real *b = stored(s, full);
    for (int k = 0; k < D; k++) mean += x[k] / D;
    for (int k = 0; k < D; k++) var += (x[k] - mean) * (x[k] - mean) / D;
    for (int k = 0; k < D; k++)
        y[k] = (x[k] - mean) / sqrt(var + 1e-5) * (double)w[k] + (double)b[k];
}

static void affine(pith_store *s, const char *name, int out, int in, const double *x, double *y)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    const pith_real *w = stored(s, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const pith_real *b = stored(s, full);
    for (int o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (int k = 0; k < in; k++) y[o] += (double)w[o * in + k] * x[k];
    }
}

/* Token i of the n of a segment, its matrix A~ = alpha I + beta A - gamma C written out. */
static void loop_token(pith_store *s, clip_block block, bool causal, int n, double x[MOST][D],
                       int i, double *out)
{
    pith_real gain[3 * H];
    pith_tensor_read(pith_store_find(s, "attn.gains"), gain);
    double m[MOST][D], query[D], key[D], h[D] = { 0 }, f[F], z[D], to[D];
    const int seen = causal ? i + 1 : n;
    for (int j = 0; j < n; j++) norm_row(s, "ln_1", x[j], m[j]);
    affine(s, "attn.q_proj", D, D, m[i], query);
    for (int a = 0; a < H; a++) {
        double share[MOST], sum = 0;
        for (int j = 0; j < seen; j++) {
            affine(s, "attn.k_proj", D, D, m[j], key);
            double dot = 0;
            for (int k = 0; k < d; k++) dot += query[a * d + k] * key[a * d + k];
            sum += share[j] = exp(dot / sqrt(d));
        }
        for (int j = 0; j < seen; j++) {
            const double alpha = (double)gain[a], beta = (double)gain[H + a],
                         gamma = (double)gain[2 * H + a];
            const double shaped = alpha * (i == j) + beta * share[j] / sum - gamma / seen;
            for (int k = 0; k < d; k++) h[a * d + k] += shaped * m[j][a * d + k];
        }
    }
    for (int k = 0; k < D; k++) h[k] *= (double)*(const pith_real *)stored(s, "attn.gain");
    if (block == CLIP_SAS) norm_row(s, "ln_2", h, to);
    else memcpy(to, m[i], sizeof to);
    affine(s, "mlp.c_fc", F, D, to, f);
    for (int k = 0; k < F; k++) f[k] = f[k] / (1 + exp(-1.702 * f[k]));
    affine(s, "mlp.c_proj", D, F, f, z);
    const double skip = block == CLIP_SAS ? (double)*(const pith_real *)stored(s, "mlp.skip_gain")
                                          : 1;
    for (int k = 0; k < D; k++)
        out[k] = skip * h[k] + (double)*(const pith_real *)stored(s, "mlp.gain") * z[k];
}

static void blocks_equal_loops(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        const clip_block block = kind & 1 ? CLIP_SAS : CLIP_SAS_P;
        const bool causal = kind & 2, pooled = kind & 4;
        pith_store *s = pith_store_new();
        scene w = build(s, block, F, causal, pooled);
        drop(&w);
        stir(s);
        w = build(s, block, F, causal, pooled);
        const int *bound = causal ? packed : even;
        const pith_real *x = row_data();
        pith_real y[ROWS * D];
        assert_true(pith_value(w.p, w.y, y));
        for (int segment = 0; segment < SEGMENTS; segment++) {
            const int n = bound[segment + 1] - bound[segment];
            double in[MOST][D], out[D];
            for (int k = 0; k < n * D; k++) in[k / D][k % D] = (double)x[bound[segment] * D + k];
            for (int i = 0; i < n; i++) {
                if (pooled && i != (causal ? n - 1 : 0)) continue;
                loop_token(s, block, causal, n, in, i, out);
                const int row = pooled ? segment : bound[segment] + i;
                for (int k = 0; k < D; k++)
                    if (!(fabs((double)y[row * D + k] - out[k]) < TOLERANCE))
                        fail_msg("kind %d, token %d of segment %d: %.12g, loops %.12g", kind, i,
                                 segment, (double)y[row * D + k], out[k]);
            }
        }
        drop(&w);
        pith_store_free(s);
    }
}

/* ---- properties ---- */

/* The largest difference between the block without its MLP and the norm alone. */
static double from_norm(pith_store *s, bool causal)
{
    scene w = build(s, CLIP_SAS_P, 0, causal, false);
    const pith_real *y = value_of(w.p, w.y), *n = value_of(w.p, w.norm);
    double most = 0;
    for (int k = 0; k < (causal ? packed : even)[SEGMENTS] * D; k++)
        most = fmax(most, fabs((double)(y[k] - n[k])));
    drop(&w);
    return most;
}

static void at_first_attention_is_the_norm(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        pith_store *s = pith_store_new();
        assert_true(from_norm(s, causal) < (sizeof(pith_real) == 8 ? 1e-14 : 2e-6));
        pith_real gains[3 * H];
        for (int k = 0; k < 3 * H; k++) gains[k] = k < 2 * H; /* without C it is not */
        assert_true(pith_tensor_write(pith_store_find(s, "attn.gains"), gains));
        assert_true(from_norm(s, causal) > 0.05);
        pith_store_free(s);
    }
}

static void rows_sum_to_the_gains(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        pith_store *s = pith_store_new();
        scene w = build(s, CLIP_SAS_P, 0, causal, false);
        drop(&w);
        stir(s);
        fill(s, "ln_1.weight", 0, 0), fill(s, "ln_1.bias", 1, 0), fill(s, "attn.gain", 1, 0);
        w = build(s, CLIP_SAS_P, 0, causal, false);
        const pith_real *y = value_of(w.p, w.y), *gain = stored(s, "attn.gains");
        for (int i = 0; i < (causal ? packed : even)[SEGMENTS]; i++)
            for (int k = 0; k < D; k++) {
                const double wanted = (double)gain[k / d] + (double)gain[H + k / d] -
                                      (double)gain[2 * H + k / d];
                assert_true(fabs((double)y[i * D + k] - wanted) < TOLERANCE);
            }
        drop(&w);
        pith_store_free(s);
    }
}

static double length_of(pith_plan *p, const pith_node *n, size_t begin, size_t end)
{
    const pith_real *x = value_of(p, n);
    double sum = 0;
    for (size_t k = begin; k < end; k++) sum += (double)x[k] * (double)x[k];
    return sqrt(sum);
}

static void first_gradients(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        pith_store *s = pith_store_new();
        scene w = build(s, CLIP_SAS_P, F, causal, false);
        pith_node **params, *gradients[16];
        const int n = pith_params(w.g, &params);
        pith_node *c = pith_normal(w.g, ROWS, D),
                  *rows = pith_less(pith_arange(w.g, ROWS),
                                    pith_cast(pith_const(w.g, 12), PITH_I32));
        pith_node *loss = pith_dot(w.y, pith_mul(c, pith_reshape(rows, ROWS, 1)));
        assert_true(pith_grad(loss, n, params, gradients));
        pith_plan *p = pith_plan_new(w.g, n, gradients, NULL);
        if (!p || !pith_run(p)) fail_msg("%s", pith_error());
        size_t size = 0;
        for (int k = 0; k < n; k++) {
            const size_t own = pith_size(params[k]);
            const double length = length_of(p, gradients[k], 0, own);
            size += own;
            assert_true(isfinite(length));
            const bool key = !strncmp(params[k]->name, "attn.k_proj", 11);
            if (key ? length > 1e-6 : length < 1e-6)
                fail_msg("the gradient to %s has length %g", params[k]->name, length);
            for (size_t i = 0; !strcmp(params[k]->name, "attn.gains") && i < own; i++)
                assert_true(length_of(p, gradients[k], i, i + 1) > 0);
        }
        /* queries and keys, the MLP, a norm, three numbers a head and two a block */
        assert_int_equal(size, 2 * D * D + 2 * D + (2 * D * F + D + F) + 2 * D + 3 * H + 2);
        pith_plan_free(p);
        drop(&w);
        pith_store_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_loops),
        cmocka_unit_test(at_first_attention_is_the_norm),
        cmocka_unit_test(rows_sum_to_the_gains),
        cmocka_unit_test(first_gradients),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
