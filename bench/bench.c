/* bench.c: times a whole CLIP training step (forward, InfoNCE, backward, AdamW), and how long it
 * takes to plan one.
 *
 *     bench CONFIG full|real STEPS     one measurement, whose peak memory is the process's;
 *                                      full: captions as long as the context, real: 5 to 15 tokens
 *     bench product N RUNS             a product of two square matrices, and who made it
 *     bench models MODEL STUDENT       what masks, stored rows and SAS-P cost or save (models.c)
 *     bench near ROWS WIDTH ROUNDS     the search for near pairs beside its products (neighbours.c)
 *     bench plan                       building, differentiating and planning a 12-layer CLIP,
 *                                      and large graphs of every family of tests/scale.h
 *
 * A measurement and a product take --device cuda and --precision bf16 before all else. Each is one
 * line, tab-separated: config, mode, least ms, median ms, pairs a second, peak MB (on a device,
 * what was taken of it), share of the step in matrix products, MB that the planner laid out with
 * what lies in the store, Tflop of products that the step cannot do without. run.sh and gpu.sh make
 * the tables; peer.py prints the same line for PyTorch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "bench.h"
#include "tests/scale.h"

typedef struct {
    const char *name;
    int pairs, pairs_on_device;
    const char *sizes;
} workload;

static const workload workloads[] = {
    /* the same sizes as in peer.py */
    { "demo", 128, 128, "32/4:w128l4h4+w128l3h4c16v2048:e128:quick_gelu" },
    { "demo192", 128, 128, "32/4:w192l6h3+w128l3h4c16v2048:e128:quick_gelu" },
    { "tiny8m", 16, 1024, "224/16:w256l10+w256l3:e512:quick_gelu" },
    { "vitb32", 16, 1024, "224/32:w768l12+w512l12:e512:quick_gelu" },
    { "vitb16", 8, 512, "224/16:w768l12+w512l12:e512:quick_gelu" },
    { "rn50", 8, 256, "224/r4:w64l3.4.6.3+w512l12:e1024:quick_gelu" },
    { "try", 4, 4, "16/8:w32l2h2+w32l2h2c12v640:e32:quick_gelu" }, /* of the scripts */
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads, PLANNED = 3 };

static pith_device device = PITH_CPU;
static bool bf16;

static clip_config config_of(const workload *w)
{
    clip_config c;
    clip_config_named(&c, w->sizes);
    return c;
}

/* ---- measurements ---------------------------------------------------------------------------- */

/* Flops of products, 2mnk each, that a step cannot do without, forward and twice as many backward,
 * with nothing computed again; the pictures themselves have no gradient. */
static double flops_needed(const clip_config *c, int pairs, int tokens)
{
    const double n = pairs, pixels = 3. * c->image_size * c->image_size,
                 patches = clip_is_resnet(c) ? 0 : 2 * pixels * c->vision.width;
    return n * (3 * clip_count(c, tokens / n).flops_pair - patches) + 3 * 2 * n * n * c->embed;
}

/* MB of the arena and of all that lies in the store: weights, moments, and on a device the batch.
 */
static double planned(const pith_plan *p, const pith_store *s)
{
    double bytes = (double)pith_plan_statistics(p).arena;
    for (int i = 0; i < pith_store_count(s); i++)
        bytes += (double)pith_tensor_bytes(pith_store_at(s, i));
    return bytes / (1 << 20);
}

static double peak(size_t left)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return device == PITH_CPU ? (double)usage.ru_maxrss / 1024
                              : (double)(left - device_left(device)) / (1 << 20);
}

static void measure(const workload *w, bool real, int steps)
{
    const clip_config c = config_of(w);
    const int pairs = device == PITH_CPU ? w->pairs : w->pairs_on_device;
    int *lengths = malloc((size_t)pairs * sizeof *lengths), tokens = 0;
    for (int b = 0; b < pairs; b++) tokens += lengths[b] = real ? 5 + below(11) : c.context;
    const size_t left = device_left(device);
    pith_store *store = pith_store_new_on(device);
    step s = step_new(store, &c, pairs, tokens, plain_loss, bf16);
    feed_pictures(s.plan, &c, &s.in);
    feed_captions(s.plan, &c, &s.in, lengths);
    double *times = malloc((size_t)steps * sizeof *times);
    for (int i = -2; i < steps; i++) {
        const double start = pith_seconds();
        pith_run(s.plan);
        pith_scalar(s.plan, s.loss); /* a device may be late */
        if (i >= 0) times[i] = 1e3 * (pith_seconds() - start);
    }
    const double taken = peak(left);
    pith_time_plan(s.plan, true);
    pith_run(s.plan);
    pith_run(s.plan);
    qsort(times, (size_t)steps, sizeof *times, ascending);
    const double median = times[steps / 2];
    printf("%s\tours%s%s\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f%%\t%.0f\t%.4g\n", w->name,
           real ? "-real" : "", bf16 ? "-bf16" : "", times[0], median, 1e3 * pairs / median, taken,
           100 * pith_gemm_share(s.plan), planned(s.plan, store),
           1e-12 * flops_needed(&c, pairs, tokens));
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
        step s = step_new(store, &c, w->pairs, w->pairs * c.context, plain_loss, false);
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

/* Takes the options off; how many arguments are left. */
static int take_options(int count, char **arguments)
{
    int taken = 0;
    for (; count - taken > 2; taken += 2) {
        const char *name = arguments[1 + taken], *value = arguments[2 + taken];
        if (!strcmp(name, "--device") && !strcmp(value, "cuda")) device = PITH_CUDA;
        else if (!strcmp(name, "--precision") && !strcmp(value, "bf16")) bf16 = true;
        else break;
    }
    for (int k = 1; k + taken < count; k++) arguments[k] = arguments[k + taken];
    return count - taken;
}

int main(int count, char **arguments)
{
    if (count == 2 && !strcmp(arguments[1], "plan")) return measure_planning(), measure_growth(), 0;
    if (count == 4 && !strcmp(arguments[1], "models"))
        return measure_models(arguments[2], arguments[3]), 0;
    if (count == 5 && !strcmp(arguments[1], "near") && atoi(arguments[2]) >= 512 &&
        atoi(arguments[3]) > 0 && atoi(arguments[4]) > 0)
        return measure_neighbours(atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4])), 0;
    count = take_options(count, arguments);
    const int times = count == 4 ? atoi(arguments[3]) : 0;
    if (times > 0 && !strcmp(arguments[1], "product") && atoi(arguments[2]) > 0)
        return measure_product(device, bf16, atoi(arguments[2]), times), print_versions(), 0;
    for (int i = 0; i < WORKLOADS && times > 0; i++)
        if (!strcmp(arguments[1], workloads[i].name))
            return measure(&workloads[i], !strcmp(arguments[2], "real"), times), 0;
    fprintf(stderr,
            "usage: bench plan | bench models MODEL STUDENT | bench near ROWS WIDTH ROUNDS | "
            "bench [--device cuda] [--precision bf16] demo|demo192|tiny8m|vitb32|vitb16|rn50|try "
            "full|real STEPS | bench [--device cuda] [--precision bf16] product N RUNS\n");
    return 1;
}
