/* test_random.c: random graphs (random_subject.h). Of each seed's graph: gradients, first and
 * second order, against central differences; the same bits unplanned, on 1, 2 and 4 threads, in
 * several plans at once, built a second time in the same store, and without recomputation.
 *
 *     build/double/test_random [seeds [first seed]]
 *
 * A failure names the seed and prints the graph. */
#include <omp.h>
#include "random_subject.h"

enum { RUNS = 2 };

static int seeds = 60, first_seed = 1;
static double worst[2];

/* ---- central differences ---- */

#ifdef PITH_DOUBLE
/* Along one random direction of each leaf: the slope of `loss` against its gradient. */
static void check_slopes(subject *t, node *loss, node *const *gradient, int order, double tolerance)
{
    random_graph *r = &t->r;
    pith_plan *value = make_plan(r, 1, &loss, true);
    pith_plan *rule = make_plan(r, r->n_varied, gradient, true);
    feed_all(r, value);
    feed_all(r, rule);
    assert_true(pith_run(rule));
    for (int k = 0; k < r->n_varied; k++) {
        const size_t size = pith_size(r->varied[k]);
        real *x = r->numbers[k], *old = malloc(size * sizeof *old), *v = malloc(size * sizeof *v);
        memcpy(old, x, size * sizeof *old);
        fill(r, v, size);
        double along = 0, f[4];
        const real *d = value_of(rule, gradient[k]);
        for (size_t i = 0; i < size; i++) along += d[i] * v[i];
        static const double step[4] = { 1, -1, 2, -2 };
        const double h = 1e-4 / sqrt((double)size);
        for (int s = 0; s < 4; s++) {
            for (size_t i = 0; i < size; i++) x[i] = old[i] + step[s] * h * v[i];
            assert_true(pith_run(value));
            f[s] = pith_scalar(value, loss);
        }
        memcpy(x, old, size * sizeof *old);
        assert_true(pith_run(rule)); /* the plans share an arena */
        const double slope = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
        const double error = fabs(slope - along) / fmax(1, fabs(slope));
        worst[order - 1] = fmax(worst[order - 1], error);
        if (!(error <= tolerance))
            bad(&t->r, gradient[k], "gradient %d by %s is %.12g, the slope is %.12g",
                (unsigned long long)r->seed, order, r->varied[k]->name, along, slope);
        free(old);
        free(v);
    }
    pith_plan_free(value);
    pith_plan_free(rule);
}
#endif

/* ---- the same bits ---- */

typedef struct {
    char *bytes;
    size_t size;
} bytes;

static void append(bytes *b, const void *data, size_t size)
{
    b->bytes = realloc(b->bytes, b->size + size + 1);
    memcpy(b->bytes + b->size, data, size);
    b->size += size;
}

static size_t tensor_bytes(const pith_tensor *x)
{
    return pith_tensor_size(x) * pith_width(x->dtype);
}

/* Everything in both stores. */
static void append_stores(bytes *b, const subject *t)
{
    pith_store *stores[2] = { t->r.store, t->r.other };
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < pith_store_count(stores[s]); k++) {
            const pith_tensor *x = pith_store_at(stores[s], k);
            append(b, pith_data(x), tensor_bytes(x));
        }
}

static void restore(const subject *t, const bytes *b)
{
    pith_store *stores[2] = { t->r.store, t->r.other };
    size_t at = 0;
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < pith_store_count(stores[s]); k++) {
            pith_tensor *x = pith_store_at(stores[s], k);
            memcpy(pith_data(x), b->bytes + at, tensor_bytes(x));
            at += tensor_bytes(x);
        }
}

/* The outputs of a few runs one after another, and what the stores hold then; the stores are as
 * before afterwards. A second plan, if given, runs in between. */
static bytes trace(const subject *t, bool planned, int threads, pith_plan *between)
{
    bytes before = { NULL, 0 }, b = { NULL, 0 };
    append_stores(&before, t);
    omp_set_num_threads(threads);
    pith_plan *p = make_plan(&t->r, t->n_outputs, t->output, planned);
    feed_all(&t->r, p);
    for (int run = 0; run < RUNS; run++) {
        if (between) assert_true(pith_run(between));
        assert_true(pith_run(p));
        for (int k = 0; k + 1 < t->n_outputs; k++) {
            const void *x = value_of(p, t->output[k]);
            if (!x) bad(&t->r, t->output[k], "output %d: %s", k, pith_error());
            append(&b, x, pith_bytes(t->output[k]));
        }
    }
    pith_plan_free(p);
    omp_set_num_threads(1);
    append_stores(&b, t);
    restore(t, &before);
    free(before.bytes);
    return b;
}

static void compare(const subject *t, const bytes *a, const bytes *b, const char *what)
{
    if (a->size == b->size && !memcmp(a->bytes, b->bytes, a->size)) return;
    size_t at = 0;
    while (at < a->size && at < b->size && a->bytes[at] == b->bytes[at]) at++;
    size_t end_of = 0;
    for (int run = 0; run < RUNS; run++)
        for (int k = 0; k + 1 < t->n_outputs; k++) {
            end_of += pith_bytes(t->output[k]);
            if (at < end_of)
                bad(&t->r, t->output[k], "%s gives other bits in run %d of output %d, #%d", what,
                    run, k, t->output[k]->id);
        }
    bad(&t->r, NULL, "%s leaves other bits in the store", what);
}

static void other_trace(const subject *t, const bytes *expected, const subject *by, bool planned,
                        int threads, pith_plan *between, const char *what)
{
    bytes b = trace(by, planned, threads, between);
    compare(t, expected, &b, what);
    free(b.bytes);
}

/* Reads made before a write see the old value: a plan without the writes gives the same. */
static void check_old_values(const subject *t, const bytes *expected)
{
    const int first = t->n_outputs - 1 - t->n_old;
    size_t at = 0;
    for (int k = 0; k < first; k++) at += pith_bytes(t->output[k]);
    pith_plan *p = make_plan(&t->r, t->n_old, t->output + first, true);
    feed_all(&t->r, p);
    assert_true(pith_run(p));
    for (int k = first; k < first + t->n_old; k++) {
        const size_t size = pith_bytes(t->output[k]);
        if (memcmp(value_of(p, t->output[k]), expected->bytes + at, size))
            bad(&t->r, t->output[k], "output %d, #%d, is another one in a plan without writes", k,
                t->output[k]->id);
        at += size;
    }
    pith_plan_free(p);
}

static void check_bits(subject *t, uint64_t seed)
{
    bytes expected = trace(t, true, 1, NULL);
    other_trace(t, &expected, t, false, 1, NULL, "the graph unplanned");
    other_trace(t, &expected, t, true, 2, NULL, "running on 2 threads");
    other_trace(t, &expected, t, true, 4, NULL, "running on 4 threads");

    check_old_values(t, &expected);

    subject *again = build(seed, true, t->r.store, t->r.other);
    node *losses[2] = { again->loss2, again->loss }; /* nothing that writes */
    pith_plan *some = make_plan(&again->r, 2, losses, true);
    feed_all(&again->r, some);
    other_trace(t, &expected, again, true, 1, NULL, "the graph built again");
    other_trace(t, &expected, t, true, 1, some, "another plan of the store in between");
    pith_plan_free(some);
    end(again);

    free(expected.bytes);
    t->r.bf16 = true;
    expected = trace(t, true, 1, NULL);
    other_trace(t, &expected, t, false, 1, NULL, "the graph unplanned, in bf16,");
    other_trace(t, &expected, t, true, 2, NULL, "running on 2 threads in bf16");
    check_old_values(t, &expected);
    free(expected.bytes);
    t->r.bf16 = false;
}

/* Against the same graph without recomputation: the same bits for the loss, its gradient and the
 * gradient's. */
static void check_recomputation(subject *t, uint64_t seed)
{
    pith_store *store = pith_store_new(), *other = pith_store_new();
    subject *kept = build(seed, false, store, other), *both[2] = { t, kept };
    pith_plan *p[2];
    const int n = t->r.n_varied;
    node *out[2][2 * MOST_LEAVES + 1];
    for (int s = 0; s < 2; s++) {
        out[s][0] = both[s]->loss;
        memcpy(out[s] + 1, both[s]->gradient, sizeof(node *) * (size_t)n);
        memcpy(out[s] + 1 + n, both[s]->gradient2, sizeof(node *) * (size_t)n);
        p[s] = make_plan(&both[s]->r, 2 * n + 1, out[s], true);
        feed_all(&both[s]->r, p[s]);
        assert_true(pith_run(p[s]));
    }
    for (int k = 0; k < 2 * n + 1; k++) {
        const real *x = value_of(p[0], out[0][k]), *y = value_of(p[1], out[1][k]);
        for (size_t i = 0; i < pith_size(out[0][k]); i++)
            if (memcmp(x + i, y + i, sizeof *x))
                bad(&t->r, out[0][k], "output %d, element %zu is %.17g recomputed, %.17g otherwise",
                    k, i, (double)x[i], (double)y[i]);
    }
    pith_plan_free(p[0]);
    pith_plan_free(p[1]);
    end(kept);
    pith_store_free(store);
    pith_store_free(other);
}

static void random_graphs(void **state)
{
    (void)state;
    for (int k = 0; k < seeds; k++) {
        const uint64_t seed = (uint64_t)(first_seed + k);
        pith_store *store = pith_store_new(), *other = pith_store_new();
        subject *t = build(seed, true, store, other);
#ifdef PITH_DOUBLE
        check_slopes(t, t->loss, t->gradient, 1, 1e-7);
        check_slopes(t, t->loss2, t->gradient2, 2, 1e-6);
#endif
        check_bits(t, seed);
        check_recomputation(t, seed);
        end(t);
        pith_store_free(store);
        pith_store_free(other);
    }
    print_message("worst error of %d graphs: first order %.1e, second order %.1e\n", seeds,
                  worst[0], worst[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_graphs) };
    omp_set_num_threads(1); /* but where a test wants more */
    if (argc > 1) seeds = atoi(argv[1]);
    if (argc > 2) first_seed = atoi(argv[2]);
    return cmocka_run_group_tests(tests, quiet, NULL);
}
