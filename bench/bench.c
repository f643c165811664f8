/* bench.c: times a whole CLIP training step (forward, InfoNCE, backward, AdamW), and how long it
 * takes to plan one.
 *
 *     bench CONFIG full|real STEPS     one measurement, whose peak memory is the process's;
 *                                      full: captions as long as the context, real: 5 to 15 tokens
 *     bench models MODEL STUDENT       what masks, stored rows and SAS-P cost or save (models.c)
 *     bench near ROWS WIDTH ROUNDS     the search for near pairs beside its products (neighbours.c)
 *     bench plan                       building, differentiating and planning a 12-layer CLIP,
 *                                      and large graphs of every family of tests/scale.h
 *
 * A measurement is one line, tab-separated:
 * config, mode, least ms, median ms, pairs a second, peak MB, share of the step in matrix products.
 * run.sh makes the table; peer.py prints the same line for PyTorch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "bench.h"
#include "tests/scale.h"

typedef struct {
    const char *name;
    int pairs;
    const char *sizes;
} workload;

static const workload workloads[] = {
    /* the same sizes as in peer.py */
    { "demo", 128, "32/4:w128l4h4+w128l3h4c16v2048:e128:quick_gelu" },
    { "demo192", 128, "32/4:w192l6h3+w128l3h4c16v2048:e128:quick_gelu" },
    { "tiny8m", 16, "224/16:w256l10+w256l3:e512:quick_gelu" },
    { "vitb32", 16, "224/32:w768l12+w512l12:e512:quick_gelu" },
    { "rn50", 8, "224/r4:w64l3.4.6.3+w512l12:e1024:quick_gelu" },
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads, PLANNED = 3 };

static clip_config config_of(const workload *w)
{
    clip_config c;
    clip_config_named(&c, w->sizes);
    return c;
}

/* ---- measurements ---------------------------------------------------------------------------- */

static void measure(const workload *w, bool real, int steps)
{
    const clip_config c = config_of(w);
    int *lengths = malloc((size_t)w->pairs * sizeof *lengths), tokens = 0;
    for (int b = 0; b < w->pairs; b++) tokens += lengths[b] = real ? 5 + below(11) : c.context;
    pith_store *store = pith_store_new();
    step s = step_new(store, &c, w->pairs, tokens, plain_loss);
    feed_pictures(s.plan, &c, &s.in);
    feed_captions(s.plan, &c, &s.in, lengths);
    double *times = malloc((size_t)steps * sizeof *times);
    for (int i = -2; i < steps; i++) {
        const double start = pith_seconds();
        pith_run(s.plan);
        if (i >= 0) times[i] = 1e3 * (pith_seconds() - start);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    pith_time_plan(s.plan, true);
    pith_run(s.plan);
    pith_run(s.plan);
    qsort(times, (size_t)steps, sizeof *times, ascending);
    const double median = times[steps / 2];
    printf("%s\t%s\t%.1f\t%.1f\t%.1f\t%ld\t%.0f%%\n", w->name, real ? "ours-real" : "ours",
           times[0], median, 1e3 * w->pairs / median, usage.ru_maxrss / 1024,
           100 * pith_gemm_share(s.plan));
    if (getenv("PITH_BENCH_TIMES")) /* by op and by scope */
        pith_print_times(stderr, s.plan);
    free(times);
    free(lengths);
    step_free(&s);
    pith_store_free(store);
}

/* The first plan is not counted: it draws the initial weights, which takes seconds, and prepares
 * matrix products that later plans share. */
static void measure_planning(void)
{
    const workload *w = &workloads[PLANNED];
    const clip_config c = config_of(w);
    pith_store *store = pith_store_new();
    double times[5];
    int nodes = 0;
    pith_plan_stats statistics = { 0 };
    for (int i = -1; i < 5; i++) {
        const double start = pith_seconds();
        step s = step_new(store, &c, w->pairs, w->pairs * c.context, plain_loss);
        if (i >= 0) times[i] = 1e3 * (pith_seconds() - start);
        nodes = pith_graph_size(s.graph);
        statistics = pith_plan_statistics(s.plan);
        step_free(&s);
    }
    pith_store_free(store);
    qsort(times, 5, sizeof *times, ascending);
    printf("a 12-layer CLIP (%s): built, differentiated and planned in %.1f ms (least %.1f); "
           "%d nodes, %d steps, arena %.1f MB, %.3f of its lower bound\n",
           w->name, times[2], times[0], nodes, statistics.steps, (double)statistics.arena / 1e6,
           (double)statistics.arena / (double)statistics.bound);
}

/* Prints for each family how long a large graph takes, and how the time grows when its size
 * doubles. */
static void measure_growth(void)
{
    scale_keep_memory();
    for (int k = 0; k < SCALE_FAMILIES; k++) {
        const scale_family *f = &scale_families[k];
        pith_plan_stats s = { 0 };
        int nodes = 0;
        double seconds = 0;
        const double growth = scale_growth(f, 2.3, &seconds);
        scale_time(f, 2 * f->size, &nodes, &s);
        printf("%d %s (%d nodes): planned in %.1f ms, %.2f times as long as half as many; "
               "arena %.3f of its lower bound\n",
               2 * f->size, f->what, nodes, 1e3 * seconds, growth,
               (double)s.arena / (double)s.bound);
    }
}

int main(int count, char **arguments)
{
    if (count == 2 && !strcmp(arguments[1], "plan")) return measure_planning(), measure_growth(), 0;
    if (count == 4 && !strcmp(arguments[1], "models"))
        return measure_models(arguments[2], arguments[3]), 0;
    if (count == 5 && !strcmp(arguments[1], "near") && atoi(arguments[2]) >= 512 &&
        atoi(arguments[3]) > 0 && atoi(arguments[4]) > 0)
        return measure_neighbours(atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4])), 0;
    for (int i = 0; i < WORKLOADS && count == 4; i++)
        if (!strcmp(arguments[1], workloads[i].name) && atoi(arguments[3]) > 0)
            return measure(&workloads[i], !strcmp(arguments[2], "real"), atoi(arguments[3])), 0;
    fprintf(stderr,
            "usage: bench plan | bench models MODEL STUDENT | bench near ROWS WIDTH ROUNDS | "
            "bench demo|demo192|tiny8m|vitb32|rn50 "
            "full|real STEPS\n");
    return 1;
}
