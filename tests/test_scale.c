/* test_scale.c: graphs of any size: time that grows with the graph and not with its square, arenas
 * near their lower bound, and what was made fast still means the same. */
#include "random_graphs.h"
#include "scale.h"

/* ---- time ---- */

static void growth_is_linear(void **state)
{
    (void)state;
#ifdef PITH_SLOW
    skip(); /* the sanitizer's own work is measured */
#endif
    for (int k = 0; k < SCALE_FAMILIES; k++) {
        double seconds;
        const double growth = scale_growth(&scale_families[k], 2.3, &seconds);
        print_message("worst %s: twice as many take %.2f times as long, %d of them %.0f ms\n",
                      scale_families[k].what, growth, 2 * scale_families[k].size, 1e3 * seconds);
        assert_true(growth <= 2.3);
    }
}

static void three_hundred_thousand_nodes(void **state)
{
    (void)state;
    pith_plan_stats stats;
    int nodes;
    const double seconds = scale_time(&scale_families[0], 100000, &nodes, &stats);
    const double ratio = (double)stats.arena / (double)stats.bound;
    print_message("worst %d nodes: %.2f s (3 are the bar), arena %.4f of its bound\n", nodes,
                  seconds, ratio);
    assert_true(nodes >= 300000);
    assert_true(ratio <= 1.02);
    assert_true(seconds > 0);
}

/* ---- memory ---- */

static const pith_memory *blocks;

static int by_offset(const void *a, const void *b)
{
    const size_t x = blocks[*(const int *)a].offset, y = blocks[*(const int *)b].offset;
    return (x > y) - (x < y);
}

/* Blocks that share memory must not be alive at the same time. */
static void hold_apart(const pith_memory *b, int n)
{
    int *order = malloc(sizeof *order * (size_t)n);
    for (int k = 0; k < n; k++) order[k] = k;
    blocks = b;
    qsort(order, (size_t)n, sizeof *order, by_offset);
    for (int k = 0; k < n; k++) {
        const pith_memory *x = &b[order[k]];
        for (int j = k + 1; j < n && b[order[j]].offset < x->offset + x->size; j++) {
            const pith_memory *y = &b[order[j]];
            if (x->first <= y->last && y->first <= x->last)
                fail_msg("blocks %d and %d of %d overlap", order[k], order[j], n);
        }
    }
    free(order);
}

static void random_graphs_are_packed_tightly(void **state)
{
    (void)state;
    double worst = 0;
    int largest = 0, above = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        node *out[2];
        pith_graph *g = random_training_graph(seed, (int)(8 * exp(log(54) * (double)seed / 200)),
                                              out);
        pith_plan *p = pith_plan_new(g, 2, out, NULL);
        assert_non_null(p);
        hold_apart(p->blocks, p->n_blocks);
        const double ratio = (double)p->stats.arena / (double)p->stats.bound;
        above += ratio > 1.02;
        if (ratio > worst) worst = ratio;
        if (g->n > largest) largest = g->n;
        pith_store *s = g->home.store;
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
    print_message("worst of 200 random graphs of up to %d nodes: arena %.4f of its bound, %d above "
                  "1.02\n",
                  largest, worst, above);
    assert_true(worst <= 1.02);
    assert_true(largest > 16000 && largest <= 20000);
}

/* Lives of any length: no order of birth and death to make use of. */
static bool pack_any_blocks(void *context)
{
    (void)context;
    const int sizes[4] = { 1, 7, 300, 30000 };
    for (int s = 0; s < 4; s++) {
        const int n = sizes[s];
        pith_memory *b = calloc((size_t)n, sizeof *b);
        for (int k = 0; k < n; k++) {
            const double length = pith_uniform_at(1, (uint64_t)n, 2 * (uint64_t)k);
            b[k].first = k;
            b[k].last = k + (int)(50 * length * length * length);
            b[k].size = 64 *
                        (size_t)(1 + 40 * pith_uniform_at(1, (uint64_t)n, 2 * (uint64_t)k + 1));
        }
        int peak;
        const size_t bound = pith_arena_bound(b, n, &peak), arena = pith_arena_pack(b, n);
        hold_apart(b, n);
        size_t end = 0;
        for (int k = 0; k < n; k++)
            if (b[k].offset + b[k].size > end) end = b[k].offset + b[k].size;
        assert_int_equal(arena, end);
        assert_true(arena >= bound);
        free(b);
    }
    assert_int_equal(pith_arena_pack(NULL, 0), 0);
    return true;
}

static void any_blocks_are_packed(void **state)
{
    (void)state;
    pith_room room = { 0 };
    assert_true(pith_room_run(&room, pack_any_blocks, NULL));
    assert_null(room.pieces); /* all returned */
}

/* ---- the same meaning ---- */

/* Pieces of x along both axes, with gaps between them, some overlapping, some twice. The loss is
 * sum_k (k+1) sum(piece_k ^ 3). */
static const int pieces[][3] = {
    { 1, 0, 2 }, { 1, 5, 7 }, { 0, 1, 2 }, { 1, 4, 5 }, { 1, 1, 4 }, { 1, 8, 9 },
    { 0, 0, 3 }, { 1, 4, 5 }, { 0, 3, 4 }, { 1, 2, 9 }, { 0, 1, 3 },
};
enum { PIECES = sizeof pieces / sizeof *pieces, ROWS = 4, COLUMNS = 10 };

static void many_slices_keep_their_gradients(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, 0.5, 1.5, ROWS, COLUMNS),
         *weight = pith_sample(w->g, 0, 1, ROWS, COLUMNS);
    node *loss = NULL, *first, *second;
    double times[ROWS][COLUMNS] = { { 0 } };
    for (int k = 0; k < PIECES; k++) {
        const int *s = pieces[k];
        node *piece = pith_slice(x, s[0], s[1], s[2]);
        node *term = pith_mul_scalar(pith_sum(pith_mul(piece, pith_square(piece)), PITH_ALL),
                                     k + 1);
        loss = loss ? pith_add(loss, term) : term;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++)
                if ((s[0] ? j : i) >= s[1] && (s[0] ? j : i) < s[2]) times[i][j] += k + 1;
    }
    assert_true(pith_grad(loss, 1, &x, &first));
    assert_true(pith_grad(pith_dot(first, weight), 1, &x, &second));
    pith_plan *p = pith_plan_new(w->g, 2, (node *[]){ first, second }, NULL);
    assert_true(pith_run(p));
    const real *a = pith_sample_data(x), *b = pith_sample_data(weight), *d = value_of(p, first),
               *dd = value_of(p, second);
    const double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-4;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const double at = (double)a[i], many = times[i / COLUMNS][i % COLUMNS];
        assert_true(fabs((double)d[i] - 3 * at * at * many) < tolerance);
        assert_true(fabs((double)dd[i] - 6 * at * many * (double)b[i]) < tolerance);
    }
    pith_plan_free(p);
}

/* Few slices are added as they always were: no node of another kind. */
static void two_slices_are_added(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, 0.5, 1.5, 4, 6), *d;
    node *y = pith_dot(pith_slice(x, 1, 0, 3), pith_slice(x, 1, 3, 6));
    pith_grad(y, 1, &x, &d);
    assert_string_equal(d->op->name, "add");
    assert_string_equal(d->in[0]->op->name, "pad");
    assert_string_equal(d->in[1]->op->name, "pad");
}

/* The k-th random op of a scope has the key of the text "scope#k", whatever lies in between. */
static void streams_keep_their_keys(void **state)
{
    world *w = *state;
    for (int round = 0; round < 3; round++)
        for (int k = 0; k < 500; k++) {
            char text[32];
            snprintf(text, sizeof text, "s%d.#%d", k, round);
            pith_scope(w->g, "s%d", k);
            assert_true(pith_stream_key(w->g) == pith_hash(text, 3));
            pith_unscope(w->g);
        }
}

static void many_params_are_found_again(void **state)
{
    world *w = *state;
    node *first[500];
    for (int round = 0; round < 2; round++)
        for (int k = 0; k < 500; k++) {
            char name[16];
            snprintf(name, sizeof name, "p%d", k);
            node *n = pith_param(w->g, name, PITH_CONSTANT, 0, 2);
            if (round) assert_ptr_equal(n, first[k]);
            first[k] = n;
        }
    node **params;
    assert_int_equal(pith_params(w->g, &params), 500);
    for (int k = 0; k < 500; k++) assert_ptr_equal(params[k], first[k]);
}

int main(void)
{
    scale_keep_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_is_linear),
        cmocka_unit_test(three_hundred_thousand_nodes),
        cmocka_unit_test(random_graphs_are_packed_tightly),
        cmocka_unit_test(any_blocks_are_packed),
        WITH_WORLD(many_slices_keep_their_gradients),
        WITH_WORLD(two_slices_are_added),
        WITH_WORLD(streams_keep_their_keys),
        WITH_WORLD(many_params_are_found_again),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
