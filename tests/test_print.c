/* test_print.c: what the tables of a plan and of its times say. */
#include "tests.h"

enum { N = 100 };

/* tanh(x w + b), whose matrix product is N^3 multiply-adds, its mean, and a write of that. */
typedef struct {
    node *product, *y, *mean, *write, *gradient;
} layer;

static const char *product_at;

static layer make_layer(world *w)
{
    layer t;
    node *x = pith_sample(w->g, -1, 1, N, N);
    pith_scope(w->g, "layer");
    node *weight = pith_param(w->g, "w", PITH_NORMAL, 0.1, N, N);
    product_at = PITH_HERE, t.product = pith_matmul(x, weight);
    t.y = pith_tanh(pith_add(t.product, pith_param(w->g, "b", PITH_CONSTANT, 0, N)));
    pith_unscope(w->g);
    t.mean = pith_mean(t.y, PITH_ALL);
    assert_true(pith_grad(t.mean, 1, &weight, &t.gradient));
    t.write = pith_assign(pith_state(w->g, "seen", PITH_F32, PITH_CONSTANT, 0), t.mean);
    return t;
}

/* What `print` writes. */
static const char *printed(void (*print)(FILE *, const pith_plan *), const pith_plan *p)
{
    static char text[16384];
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_non_null(f);
    print(f, p);
    fclose(f);
    return text;
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* The first line of the text that has both, copied. */
static const char *line_with(const char *text, const char *a, const char *b)
{
    static char line[256];
    while (*text) {
        const size_t size = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)size, text);
        if (strstr(line, a) && strstr(line, b)) return line;
        text += size + (text[size] == '\n');
    }
    fail_msg("no line has \"%s\" and \"%s\"", a, b);
    return NULL;
}

static void plan_table(void **state)
{
    world *w = *state;
    const layer t = make_layer(w);
    pith_plan *p = pith_plan_new(w->g, 4, (node *[]){ t.product, t.y, t.gradient, t.write }, NULL);
    assert_non_null(p);
    const pith_plan_stats s = pith_plan_statistics(p);
    const char *text = printed(pith_print_plan, p);
    char bytes[32], summary[256];
    assert_int_equal(count_lines(text), 1 + s.steps + 3); /* every step here has one result */
    snprintf(bytes, sizeof bytes, " %zu ", N * N * sizeof(real));

    const char *line = line_with(text, " matmul ", product_at);
    assert_non_null(strstr(line, "(100, 100)"));
    assert_non_null(strstr(line, bytes));
    assert_null(strstr(line, "backward"));
    line = line_with(text, "chain of 2, to tanh", "(100, 100)");
    assert_non_null(strstr(line, bytes));
    line_with(text, " matmul ", "(backward)");
    line_with(text, " store ", "()"); /* the write */

    snprintf(summary, sizeof summary, "%d nodes, %d merged, %d folded, %d in chains; %d steps",
             s.nodes, s.merged, s.folded, s.fused, s.steps);
    line_with(text, summary, "");
    snprintf(summary, sizeof summary,
             "arena %zu bytes, lower bound %zu (%.3f); without in-place %zu, without fusion %zu, a "
             "buffer each %zu",
             s.arena, s.bound, (double)s.arena / (double)s.bound, s.without_inplace,
             s.without_fusion, s.separate);
    line_with(text, summary, "");
    /* two products of N^3 multiply-adds */
    snprintf(summary, sizeof summary, "%.1f MB moved and 0.004 GFLOP", (double)s.moved / 1e6);
    line_with(text, summary, "");
    pith_plan_free(p);
}

/* Milliseconds, share in % and steps of a row of the table of times. */
static void read_row(const char *text, const char *name, double *ms, double *share, int *steps)
{
    const char *line = line_with(text, name, "%");
    if (sscanf(line + 44, "%lf %lf%% %d", ms, share, steps) != 3)
        fail_msg("not a row of times: %s", line);
}

static void times_table(void **state)
{
    world *w = *state;
    const layer t = make_layer(w);
    pith_plan *p = pith_plan_new(w->g, 2, (node *[]){ t.gradient, t.write }, NULL);
    assert_non_null(p);
    assert_true(pith_run(p)); /* not measured */
    assert_true(pith_gemm_share(p) == 0);
    pith_time_plan(p, true);
    for (int run = 0; run < 20; run++) assert_true(pith_run(p));

    const char *text = printed(pith_print_times, p);
    double ms, share, back_ms, back_share, scope_ms, rest_ms, sum = 0, total_ms = 0;
    int steps, scope_steps, rest_steps, all_steps = 0;
    read_row(text, "matmul  ", &ms, &share, &steps);
    assert_int_equal(steps, 1);
    assert_true(ms > 0 && share > 0 && share < 100);
    read_row(text, "matmul (backward)", &back_ms, &back_share, &steps);
    assert_int_equal(steps, 1);
    assert_true(fabs(pith_gemm_share(p) - (share + back_share) / 100) < 0.002);
    read_row(text, "pointwise  ", &ms, &share, &steps);

    const char *scopes = strstr(text, "scope  ");
    assert_non_null(scopes);
    for (const char *at = strchr(text, '\n') + 1; at < scopes; at = strchr(at, '\n') + 1) {
        assert_int_equal(sscanf(at + 44, "%lf %lf%% %d", &ms, &share, &steps), 3);
        sum += share, total_ms += ms, all_steps += steps;
    }
    assert_true(fabs(sum - 100) < 1);
    assert_int_equal(all_steps, pith_plan_statistics(p).steps);
    read_row(scopes, "layer.", &scope_ms, &share, &scope_steps);
    read_row(scopes, "(no scope)", &rest_ms, &share, &rest_steps);
    assert_int_equal(scope_steps + rest_steps, all_steps);
    assert_true(fabs(scope_ms + rest_ms - total_ms) < 0.02);

    pith_time_plan(p, false); /* forgets, and measures no more */
    assert_true(pith_run(p));
    assert_true(pith_gemm_share(p) == 0);
    pith_plan_free(p);
}

static void gemm_share(void **state)
{
    world *w = *state;
    node *x = pith_sample(w->g, -1, 1, N, N);
    node *y[2] = { pith_matmul(x, x), pith_sin(x) };
    for (int k = 0; k < 2; k++) {
        pith_plan *p = pith_plan_new(w->g, 1, &y[k], NULL);
        assert_non_null(p);
        pith_time_plan(p, true);
        assert_true(pith_run(p));
        assert_true(pith_gemm_share(p) == (k == 0 ? 1 : 0));
        pith_plan_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(plan_table),
        WITH_WORLD(times_table),
        WITH_WORLD(gemm_share),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
