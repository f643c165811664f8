/* test_origin.c: what gradient walks leave behind: the node whose rule made each of theirs, whose
 * each cotangent is, and the same bits where a region is recomputed. */
#include "tests.h"

static bool same_bits(const pith_plan *p, const node *a, const node *b)
{
    return pith_same_shape(a, b) && memcmp(value_of(p, a), value_of(p, b), pith_bytes(a)) == 0;
}

/* ---- recomputed regions ---- */

typedef struct {
    node *w, *gain, *bias, *inside;
} region;

/* Everything in it is used twice or more, so that the order of additions shows. */
static node *body(node *x, void *context)
{
    region *r = context;
    node *h = pith_tanh(pith_matmul(x, r->w)), *n = pith_layer_norm(h, r->gain, r->bias);
    r->inside = h;
    return pith_add(pith_mul(n, pith_exp(h)), pith_mul(pith_softmax(x), pith_mul(h, h)));
}

/* Gradients and their gradients, of two regions one behind the other. */
static void recomputed_bits(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, -1, 1, 5, 7);
    region r = { pith_param(w->g, "w", PITH_NORMAL, 0.5, 7, 7),
                 pith_param(w->g, "gain", PITH_NORMAL, 1, 7),
                 pith_param(w->g, "bias", PITH_NORMAL, 1, 7), NULL };
    enum { WRT = 5, OUT = 2 * WRT };
    node *out[2 * OUT];
    for (int recompute = 0; recompute < 2; recompute++) {
        node *y = x, *inside = NULL, **first = out + OUT * recompute, **second = first + WRT;
        for (int k = 0; k < 2; k++) {
            y = recompute ? pith_recompute(body, y, &r) : body(y, &r);
            if (k == 0) inside = r.inside;
        }
        node *wrt[WRT] = { x, r.w, r.gain, r.bias, inside };
        assert_true(pith_grad(pith_sum(pith_sin(y), PITH_ALL), WRT, wrt, first));
        node *size = pith_sum(pith_square(first[0]), PITH_ALL);
        for (int k = 1; k < 4; k++)
            size = pith_add(size, pith_sum(pith_mul(first[k], pith_sin(first[k])), PITH_ALL));
        assert_true(pith_grad(size, WRT - 1, wrt, second));
        assert_true(pith_grad(size, 1, &inside, &second[WRT - 1])); /* by it alone */
    }
    pith_plan *p = pith_plan_new(w->g, 2 * OUT, out, &(pith_plan_options){ .unplanned = true });
    assert_true(pith_run(p));
    for (int k = 0; k < OUT; k++)
        if (!same_bits(p, out[k], out[OUT + k])) fail_msg("gradient %d differs", k);
    pith_plan_free(p);
}

/* ---- origin ---- */

/* A graph whose gradient needs all that a walk makes itself: sums over what was broadcast, joins of
 * slices, zeros, results of an op with several, a lowering, recomputation. */
static node *everything(pith_graph *g, node **x, node **idle)
{
    static const int offsets[] = { 0, 2, 5 };
    *x = pith_sample(g, -1, 1, 5, 12);
    *idle = pith_sample(g, -1, 1, 3);
    region r = { pith_param(g, "w", PITH_NORMAL, 0.5, 12, 12),
                 pith_param(g, "gain", PITH_NORMAL, 1, 12),
                 pith_param(g, "bias", PITH_NORMAL, 1, 12), NULL };
    node *y = pith_recompute(body, *x, &r),
         *sum = pith_mul(pith_const(g, 2), pith_slice(y, 0, 0, 1));
    for (int k = 0; k < 5; k++)
        sum = pith_add(sum, pith_add(pith_slice(y, 0, k, k + 1), pith_slice(y, 1, k, k + 1)));
    node *n = pith_layer_norm(y, r.gain, r.bias), *mean = pith_result(n, 1);
    node *qkv = pith_reshape(y, 5, 3, 2, 2);
    node *a = pith_attention(qkv, pith_const_array(g, PITH_I32, offsets, 3), true);
    sum = pith_add(pith_sum(pith_square(sum), PITH_ALL), pith_sum(pith_mul(mean, mean), PITH_ALL));
    sum = pith_add(sum, pith_sum(pith_max(n, -1), PITH_ALL));
    return pith_add(sum, pith_sum(pith_square(pith_result(a, 1)), PITH_ALL));
}

/* Every node of a walk, or of the walk through a walk, leads back to a node of the user's. */
static void every_node_has_an_origin(void **state)
{
    world *w = *state;
    node *x, *idle, *y = everything(w->g, &x, &idle), *d[2], *dd[2];
    const int users = pith_graph_size(w->g);
    for (int id = 0; id < users; id++) assert_null(pith_graph_node(w->g, id)->origin);
    node *wrt[2] = { x, idle };
    assert_true(pith_grad(y, 2, wrt, d));
    const int first = pith_graph_size(w->g);
    node *size = pith_sum_("a.c:1", pith_square_("a.c:1", d[0]), PITH_ALL, PITH_END);
    const int second = pith_graph_size(w->g);
    assert_true(pith_grad(size, 2, wrt, dd));
    for (int id = users; id < pith_graph_size(w->g); id++) {
        const node *n = pith_graph_node(w->g, id), *from = n;
        if (id >= first && id < second) continue;
        if (!n->origin) fail_msg("node %d, %s, has no origin", id, n->op->name);
        while (from->origin) {
            assert_true(from->origin->id < from->id && from->origin->graph == w->g);
            from = from->origin;
        }
        assert_true(from->id < users || (from->id >= first && from->id < second));
    }
}

/* The latest cotangent of a node is what pith_grad gives when it is asked for that very node. */
static void the_last_cotangent_is_whole(void **state)
{
    world *w = *state;
    node *x, *idle, *y = everything(w->g, &x, &idle), *d;
    const int users = pith_graph_size(w->g);
    assert_true(pith_grad(y, 1, &x, &d));
    const pith_cotangent *list;
    const int n = pith_cotangents(w->g, &list);
    const node **latest = calloc((size_t)users, sizeof *latest);
    for (int k = 0; k < n; k++)
        if (list[k].of->id < users) latest[list[k].of->id] = list[k].cotangent;
    assert_ptr_equal(latest[x->id], d);
    int checked = 0;
    for (int id = 0; id < users; id++) {
        node *asked = pith_graph_node(w->g, id), *gradient;
        if (!latest[id]) continue;
        assert_true(pith_grad(y, 1, &asked, &gradient));
        node *out[2] = { (node *)(uintptr_t)latest[id], gradient };
        pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
        assert_true(pith_run(p));
        if (!same_bits(p, out[0], out[1]))
            fail_msg("node %d, %s, made at %s", id, asked->op->name, asked->at);
        pith_plan_free(p);
        checked++;
    }
    assert_true(checked > 40);
    free(latest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(recomputed_bits),
        WITH_WORLD(every_node_has_an_origin),
        WITH_WORLD(the_last_cotangent_is_whole),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
