/* 08_shaped.c: attention without a skip connection, and how it can do without one.
 *
 * What one learns here: attention is an average over tokens. Twelve averages one after another
 * leave nothing but the mean: all tokens become the same, and what told them apart is lost. A skip
 * connection carries it past. Shaped attention (He and Hofmann, ICLR 2024) needs none: it takes
 * away the plain mean C and adds the token itself,
 *
 *     A~ = alpha I + beta A - gamma C,    alpha = beta = gamma = 1,
 *
 * so that only what A does beyond an average is left. Each layer's value is an output of one plan.
 *
 *     build/08_shaped */
#include <math.h>
#include <pith.h>

enum { TOKENS = 32, HEADS = 4, WIDTH = 16, D = HEADS * WIDTH, LAYERS = 12 };
typedef enum { PLAIN, SKIP, SHAPED } kind;

static pith_node *normalised(pith_node *x)
{
    pith_node *one = pith_expand(pith_const(x->graph, 1), D);
    return pith_layer_norm(x, one, pith_expand(pith_const(x->graph, 0), D));
}

static pith_node *project(pith_node *x, const char *name, double deviation)
{
    return pith_linear(x, pith_param(x->graph, name, PITH_NORMAL, deviation, D, D), NULL);
}

/* Of tokens n (TOKENS, D): with values of their own, or, shaped, with the tokens as values. */
static pith_node *attention(pith_node *n, kind k, pith_node *offsets)
{
    pith_node *parts[] = { project(n, "query", 0.15), project(n, "key", 0.15),
                           k == SHAPED ? n : project(n, "value", 1 / sqrt(D)) };
    for (int i = 0; i < 3; i++) parts[i] = pith_reshape(parts[i], TOKENS, 1, HEADS, WIDTH);
    pith_node *mixed = pith_reshape(pith_attention(pith_concat(3, parts, 1), offsets, false),
                                    TOKENS, D);
    if (k != SHAPED) return mixed;
    return pith_sub(pith_add(n, mixed), pith_mean(n, 0)); /* the mean is C n, without a matrix */
}

static pith_node *layer(pith_node *x, kind k, pith_node *offsets)
{
    pith_node *y = attention(normalised(x), k, offsets);
    return k == SKIP ? pith_add(x, y) : y;
}

/* The mean cosine between two different tokens: 1 where all are the same. */
static pith_node *likeness(pith_node *x)
{
    pith_node *sum = pith_sum(pith_normalize(x), 0); /* its square: all cosines, TOKENS of them 1 */
    return pith_mul_scalar(pith_add_scalar(pith_dot(sum, sum), -TOKENS),
                           1.0 / (TOKENS * (TOKENS - 1)));
}

static void show(const char *name, kind k)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 7);
    pith_node *x = pith_normal(g, TOKENS, D), *out[LAYERS + 1];
    pith_node *offsets = pith_const_array(g, PITH_I32, ((int[]){ 0, TOKENS }), 2);
    for (int i = 0; i < LAYERS; i++) {
        out[i] = likeness(x);
        pith_scope(g, "layer.%d", i);
        x = layer(x, k, offsets);
        pith_unscope(g);
    }
    out[LAYERS] = likeness(x);
    pith_plan *p = pith_plan_new(g, LAYERS + 1, out, NULL);
    pith_run(p);
    printf("%-22s", name);
    for (int i = 0; i <= LAYERS; i += 2) printf(" %6.3f", pith_scalar(p, out[i]));
    printf("\n");
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
}

int main(void)
{
    printf("mean cosine of two tokens after so many layers\n\n%-22s", "");
    for (int i = 0; i <= LAYERS; i += 2) printf(" %6d", i);
    printf("\n");
    show("plain attention", PLAIN);
    show("with a skip connection", SKIP);
    show("shaped, without a skip", SHAPED);
    return 0;
}
