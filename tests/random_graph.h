/* random_graph.h: random graphs for test_random.c. A seed is a graph: nodes are drawn from the
 * public ops, on leaves of every kind, and whatever the planner may get wrong is drawn often:
 * shared and repeated expressions, aliases, constants, long chains with broadcasts, ops with
 * scratch, gradients inside the graph.
 *
 * Central differences want smooth functions of moderate size. So every node is computed as soon as
 * it is made, a node that is large or not finite is left unused, and an op with a kink is taken
 * only where all elements are well away from it. */
#ifndef PITH_RANDOM_GRAPH_H
#define PITH_RANDOM_GRAPH_H
#include "tests.h"
#include "train/optim.h"

enum { MOST_POOL = 128, MOST_LEAVES = 96, MOST_STATES = 4 };
#define CLEAR 0.05 /* how far from a kink */
#define LARGE 6.0  /* no element of a node in use is larger */

typedef struct {
    uint64_t seed, draws;
    bool recompute; /* regions are recomputed; else their inside is built in place */
    pith_store *store, *other;
    pith_graph *g;
    int size[4], most_elements;
    node *pool[MOST_POOL];
    int n_pool;
    node *fed[MOST_LEAVES];
    void *fed_data[MOST_LEAVES];
    int n_fed;
    node *varied[MOST_LEAVES]; /* leaves to differentiate by, and their numbers */
    real *numbers[MOST_LEAVES];
    int n_varied;
    node *states[MOST_STATES];
    int n_states, n_names;
    bool bf16; /* what its plans are in */
} random_graph;

/* ---- failing ---- */

/* Prints the graph, or what n depends on, and fails. */
static void bad(const random_graph *r, const node *n, const char *format, ...)
{
    char text[512];
    const unsigned long long seed = r->seed;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    pith_print_dot(stdout, r->g, n);
    if (n) printf("#%d = ", n->id), pith_print(stdout, n, 6);
    fflush(stdout);
    fail_msg("seed %llu (once more: test_random 1 %llu): %s", seed, seed, text);
}

/* ---- draws ---- */

static uint64_t draw_bits(random_graph *r)
{
    uint32_t x[4];
    pith_philox(r->seed, r->draws++, 77, x);
    return (uint64_t)x[0] << 32 | x[1];
}

static int draw(random_graph *r, int below) { return (int)(draw_bits(r) % (uint64_t)below); }

static real draw_real(random_graph *r) /* in [-1, 1) */
{
    return (real)((double)(draw_bits(r) >> 40) * 0x1p-23 - 1);
}

/* ---- plans ---- */

static pith_plan *make_plan(const random_graph *r, int n, node *const *outputs, bool planned)
{
    pith_plan *p = pith_plan_new(r->g, n, outputs,
                                 &(pith_plan_options){ .unplanned = !planned, .bf16 = r->bf16 });
    if (!p) bad(r, NULL, "no plan: %s", pith_error());
    return p;
}

static void feed_all(const random_graph *r, pith_plan *p)
{
    for (int k = 0; k < r->n_fed; k++) assert_true(pith_feed(p, r->fed[k], r->fed_data[k]));
}

/* The smallest and the largest element of n; false where one is not finite. */
static bool range(const random_graph *r, node *n, double *low, double *high)
{
    pith_plan *p = make_plan(r, 1, &n, false);
    feed_all(r, p);
    assert_true(pith_run(p));
    const real *x = value_of(p, n);
    bool finite = true;
    *low = *high = (double)x[0];
    for (size_t i = 0; i < pith_size(n); i++) {
        finite = finite && isfinite(x[i]);
        *low = fmin(*low, (double)x[i]);
        *high = fmax(*high, (double)x[i]);
    }
    pith_plan_free(p);
    return finite;
}

static bool above(const random_graph *r, node *n, double least)
{
    double low, high;
    return range(r, n, &low, &high) && low >= least;
}

/* Is every element well away from 0? */
static bool clear(const random_graph *r, node *n) { return above(r, pith_abs(n), CLEAR); }

static void keep(random_graph *r, node *n)
{
    double low, high;
    if (!n) bad(r, NULL, "%s", pith_error());
    if (r->n_pool == MOST_POOL || pith_size(n) > (size_t)r->most_elements) return;
    if (n->ndim <= 4 && range(r, n, &low, &high) && low >= -LARGE && high <= LARGE)
        r->pool[r->n_pool++] = n;
}

/* ---- leaves ---- */

static void fill(random_graph *r, real *x, size_t size)
{
    for (size_t i = 0; i < size; i++) x[i] = draw_real(r);
}

static const char *next_name(random_graph *r, const char *kind)
{
    return pith_keep(r->g, "%s%d", kind, r->n_names++);
}

static void vary(random_graph *r, node *leaf, real *numbers)
{
    if (r->n_varied == MOST_LEAVES) return;
    r->varied[r->n_varied] = leaf;
    r->numbers[r->n_varied++] = numbers;
}

static node *feed(random_graph *r, node *input, void *data)
{
    if (r->n_fed == MOST_LEAVES) bad(r, NULL, "too many inputs");
    r->fed[r->n_fed] = input;
    r->fed_data[r->n_fed++] = data;
    return input;
}

static node *new_input(random_graph *r, int n, const int *d)
{
    const char *name = next_name(r, "x");
    node *x = n == 0   ? pith_input(r->g, name, PITH_F32)
              : n == 1 ? pith_input(r->g, name, PITH_F32, d[0])
              : n == 2 ? pith_input(r->g, name, PITH_F32, d[0], d[1])
              : n == 3 ? pith_input(r->g, name, PITH_F32, d[0], d[1], d[2])
                       : pith_input(r->g, name, PITH_F32, d[0], d[1], d[2], d[3]);
    real *data = pith_alloc(r->g, pith_bytes(x));
    fill(r, data, pith_size(x));
    vary(r, x, data);
    return feed(r, x, data);
}

/* (n) i32 in [0, below) */
static node *new_ids(random_graph *r, int n, int below)
{
    node *x = pith_input(r->g, next_name(r, "ids"), PITH_I32, n);
    int *data = pith_alloc(r->g, pith_bytes(x));
    for (int i = 0; i < n; i++) data[i] = draw(r, below);
    return feed(r, x, data);
}

static real *stored_numbers(pith_store *s, const char *name)
{
    return pith_data(pith_store_find(s, name));
}

static node *new_param(random_graph *r, int n, const int *d)
{
    const char *name = next_name(r, "w");
    const bool elsewhere = draw(r, 5) == 0;
    if (elsewhere) pith_use_store(r->g, r->other, "", draw(r, 2) == 0);
    node *x = n == 0   ? pith_param(r->g, name, PITH_UNIFORM, 1)
              : n == 1 ? pith_param(r->g, name, PITH_UNIFORM, 1, d[0])
              : n == 2 ? pith_param(r->g, name, PITH_UNIFORM, 1, d[0], d[1])
              : n == 3 ? pith_param(r->g, name, PITH_UNIFORM, 1, d[0], d[1], d[2])
                       : pith_param(r->g, name, PITH_UNIFORM, 1, d[0], d[1], d[2], d[3]);
    if (elsewhere) pith_use_store(r->g, r->store, "", false);
    vary(r, x, stored_numbers(elsewhere ? r->other : r->store, name));
    return x;
}

static node *new_state(random_graph *r, int n, const int *d)
{
    const char *name = next_name(r, "s");
    const bool fresh = !pith_store_find(r->store, name);
    node *x = n == 0   ? pith_state(r->g, name, PITH_F32, PITH_CONSTANT, 0)
              : n == 1 ? pith_state(r->g, name, PITH_F32, PITH_CONSTANT, 0, d[0])
              : n == 2 ? pith_state(r->g, name, PITH_F32, PITH_CONSTANT, 0, d[0], d[1])
              : n == 3 ? pith_state(r->g, name, PITH_F32, PITH_CONSTANT, 0, d[0], d[1], d[2])
                       : pith_state(r->g, name, PITH_F32, PITH_CONSTANT, 0, d[0], d[1], d[2], d[3]);
    const uint64_t before = r->draws;
    if (fresh) fill(r, stored_numbers(r->store, name), pith_size(x));
    r->draws = before + pith_size(x);
    r->states[r->n_states++] = x;
    vary(r, x, stored_numbers(r->store, name));
    return x;
}

static node *new_constant(random_graph *r, int n, const int *d)
{
    size_t size = 1;
    for (int k = 0; k < n; k++) size *= (size_t)d[k];
    real *data = pith_alloc(r->g, size * sizeof *data);
    fill(r, data, size);
    return pith_const_dims(PITH_HERE, r->g, PITH_F32, data, n, d);
}

static node *new_leaf(random_graph *r, int n, const int *d)
{
    const int kind = draw(r, 8);
    node *x = kind == 0                                ? new_constant(r, n, d)
              : kind <= 3                              ? new_param(r, n, d)
              : kind == 4 && r->n_states < MOST_STATES ? new_state(r, n, d)
                                                       : new_input(r, n, d);
    keep(r, x);
    return x;
}

/* ---- picking ---- */

static node *some_leaf(random_graph *r, int ndim)
{
    int d[4];
    for (int k = 0; k < ndim; k++) d[k] = r->size[draw(r, 4)];
    while (ndim > 2 && d[0] * d[1] * d[2] > r->most_elements) ndim--;
    return new_leaf(r, ndim, d);
}

static node *pick(random_graph *r)
{
    const int recent = r->n_pool < 6 ? r->n_pool : 6;
    return draw(r, 2) ? r->pool[draw(r, r->n_pool)] : r->pool[r->n_pool - 1 - draw(r, recent)];
}

/* One with `low` to `high` axes; a new leaf where none is found. */
static node *pick_axes(random_graph *r, int low, int high)
{
    for (int k = 0; k < 12; k++) {
        node *n = pick(r);
        if (n->ndim >= low && n->ndim <= high) return n;
    }
    return some_leaf(r, low);
}

static bool broadcasts(const random_graph *r, const node *a, const node *b)
{
    size_t size = 1;
    for (int k = 1; k <= 4; k++) {
        const int x = k <= a->ndim ? a->dim[a->ndim - k] : 1,
                  y = k <= b->ndim ? b->dim[b->ndim - k] : 1;
        if (x != y && x != 1 && y != 1) return false;
        size *= (size_t)(x > y ? x : y);
    }
    return size <= (size_t)r->most_elements;
}

/* What may stand beside a in a pointwise op. */
static node *partner(random_graph *r, const node *a)
{
    for (int k = 0; k < 6; k++) {
        node *b = pick(r);
        if (broadcasts(r, a, b)) return b;
    }
    const int from = draw(r, a->ndim + 1);
    int d[4], n = 0;
    for (int k = from; k < a->ndim; k++) d[n++] = draw(r, 3) ? a->dim[k] : 1;
    return new_leaf(r, n, d);
}

#include "random_nodes.h"
#endif
