/* 12_kernel.c: an op's kernel for a GPU, written and taken apart on a machine that has none.
 *
 * What one learns here: what a kernel is, on the page beside this one, 12_smooth.cu, which wants to
 * be read first; how an op gets it; and that its mistakes, which a GPU would answer with other
 * numbers now and then, or with silence, are found on any laptop. The library that this lesson is
 * linked with has an emulated device (tests/emulator/): the page is compiled as plain C++, its
 * threads run one after the other in an order that we choose, and every access is watched.
 *
 *     make build/12_kernel && build/12_kernel */
#include <core.h>
#include "tests/emulator/control.h"

enum { ROWS = 3, NARROW = 100, WIDE = 300, STEPS = 100 };

/* ---- the op: as in 04_op.c, and a launcher --------------------------------------------------- */

static node *smooth(const char *at, node *a);

static bool smooth_shape(node *n)
{
    return pith_want(n, 0, PITH_F32, -1) && pith_like(n, n->in[0]);
}

/* x[i] takes part in y[i-1], y[i] and y[i+1], a third in each: the same op again. */
static bool smooth_grad(node *n, node *const *dy, node **dx)
{
    (void)n;
    dx[0] = smooth(NULL, dy[0]);
    return true;
}

/* What the kernel is compared with: nothing to be clever about. */
static bool smooth_cpu(const pith_call *call)
{
    const size_t rows = pith_rows(call->n), columns = pith_columns(call->n);
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + r * columns;
        real *y = (real *)call->out[0] + r * columns;
        for (size_t i = 0; i < columns; i++)
            y[i] = ((i > 0 ? x[i - 1] : 0) + x[i] + (i + 1 < columns ? x[i + 1] : 0)) / 3;
    }
    return true;
}

/* Declares smooth_cuda. Where pith is built without CUDA it is NULL, and the op the CPU's alone. */
PITH_ON_CUDA(smooth);

/* Not PITH_INPLACE: a thread writes y[i], and the next tile still wants x[i]. */
static const pith_op op_smooth = { "smooth", .shape = smooth_shape, .grad = smooth_grad,
                                   .cpu = smooth_cpu, .cuda = smooth_cuda };

static node *smooth(const char *at, node *a) { return pith_make1(at, &op_smooth, a, NULL); }

/* ---- a kernel alone -------------------------------------------------------------------------- */

/* What is wrong with a kernel? One launch, with no engine around it, on rows of so many columns, in
 * one order of the threads: 0 as they are numbered, 1 backwards, else mixed. NULL: the emulator had
 * nothing to say, and the numbers are those of the CPU, to the bit. */
static const char *fault(pith_kernel *launcher, int columns, int order)
{
    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, 0);
    const node *y = smooth(PITH_HERE, pith_sample(g, -1, 1, ROWS, columns));
    const void *x = pith_sample_data(y->in[0]);
    real right[ROWS * WIDE], made[ROWS * WIDE];
    smooth_cpu(&(pith_call){ .n = y, .in = &x, .out = (void *[]){ right } });

    void *from = emulator_get(pith_bytes(y)), *to = emulator_get(pith_bytes(y));
    emulator_write(from, x, pith_bytes(y));
    emulator_order = order;
    const pith_call call = { .n = y, .in = (const void *[]){ from }, .out = &to };
    const char *wrong = !launcher(&call)   ? pith_error()     /* it is in the queue, */
                        : !emulator_wait() ? emulator_error() /* and has run only now */
                                           : NULL;
    emulator_read(made, to, pith_bytes(y));
    if (!wrong && memcmp(made, right, pith_bytes(y)) != 0) wrong = "other numbers than the CPU's";
    emulator_free_all();
    pith_graph_free(g);
    pith_store_free(store);
    return wrong;
}

/* A line for each part, with paths from the root of the tree on. */
static void show(const char *report)
{
    for (const char *p = report; *p; p++) {
        if (strncmp(p, PITH_ROOT "/", sizeof PITH_ROOT) == 0) p += sizeof PITH_ROOT;
        if (strncmp(p, ", at ", 5) == 0 || strncmp(p, ", last ", 7) == 0) p++, printf(",\n   ");
        putchar(*p);
    }
    printf("\n");
}

static bool is_right(void)
{
    const char *wrong = NULL;
    for (int columns = 1; columns <= WIDE && !wrong; columns++)
        wrong = fault(smooth_cuda, columns, columns % 3);
    printf("the right kernel, rows of 1 to %d columns, threads in three orders:\n  ", WIDE);
    show(wrong ? wrong : "the CPU's numbers, to the bit");
    return !wrong;
}

/* ---- the same with a mistake ----------------------------------------------------------------- */

PITH_ON_CUDA(read_too_early);
PITH_ON_CUDA(filled_too_early);
PITH_ON_CUDA(one_too_far);

/* A kernel, and what the emulator must tell of it; NULL: nothing. */
static const struct {
    const char *name;
    pith_kernel *launcher;
    int columns, order;
    bool watched; /* false: numbers are compared and nothing else */
    const char *told, *lesson;
} trials[] = {
    { "no barrier before the tile is read", read_too_early_cuda, WIDE, 0, true,
      "reads what was never written",
      "The first thread has fetched its own numbers, and wants its neighbours', which have not "
      "run." },
    { "the same, threads backwards", read_too_early_cuda, NARROW, 1, true,
      "race: reads what thread",
      "Now its neighbours have fetched theirs. That is luck, and a race: no barrier makes it so." },
    { "the same, backwards, and nobody watches", read_too_early_cuda, NARROW, 1, false, NULL,
      "All numbers are right, so a test that compares numbers finds nothing." },
    { "no barrier before the tile is filled again", filled_too_early_cuda, NARROW, 0, true, NULL,
      "It is right: a row of one tile fills it once. So always try a row that does not fit." },
    { "the same on longer rows", filled_too_early_cuda, WIDE, 0, true,
      "race: writes what thread 127",
      "Thread 0 fetches the next tile's number to where thread 127, in another warp, reads one of\n"
      "this tile. This time it had read before; on a GPU, as the warps happen to run." },
    { "one column too far", one_too_far_cuda, WIDE, 0, true, "reads outside every buffer",
      "In other rows that is the next row's first number: a wrong one, inside the buffer. Behind\n"
      "the last row nothing is ours; a GPU would most often read what lies there, and not tell." },
};

static bool are_told(void)
{
    bool all = true;
    for (size_t k = 0; k < sizeof trials / sizeof *trials; k++) {
        const char *told = trials[k].told;
        emulator_shadow = trials[k].watched;
        const char *wrong = fault(trials[k].launcher, trials[k].columns, trials[k].order);
        printf("\n%s, rows of %d:\n  ", trials[k].name, trials[k].columns);
        show(wrong ? wrong : "nothing is told");
        const bool as_expected = told ? wrong && strstr(wrong, told) : !wrong;
        printf("%s\n", as_expected ? trials[k].lesson : "THAT IS NOT WHAT WAS PLANTED");
        all = all && as_expected;
    }
    return all;
}

/* ---- the right one in a graph ---------------------------------------------------------------- */

/* Which signal, smoothed, is a sine? Found by descent, all of it on the device that the store lies
 * on: the kernel runs for the loss, and once more for its gradient. */
static void fit(pith_device device, double *losses)
{
    pith_store *store = pith_store_new_on(device);
    pith_graph *g = pith_graph_new(store, 1);
    node *signal = pith_param(g, "signal", PITH_CONSTANT, 0, ROWS, WIDE), *gradient;
    real sine[WIDE];
    for (int i = 0; i < WIDE; i++) sine[i] = (real)sin(0.1 * i);
    node *wanted = pith_const_array(g, PITH_F32, sine, WIDE);
    node *loss = pith_mean(pith_square(pith_sub(smooth(PITH_HERE, signal), wanted)), PITH_ALL);
    pith_grad(loss, 1, &signal, &gradient);
    node *next = pith_sub(signal, pith_mul_scalar(gradient, 0.4 * ROWS * WIDE));
    node *outputs[] = { loss, pith_assign(signal, next) };
    pith_plan *plan = pith_plan_new(g, 2, outputs, NULL);
    for (int k = 0; k <= STEPS; k++)
        losses[k] = pith_run(plan) ? pith_scalar(plan, loss) : (double)NAN;
    pith_plan_free(plan);
    pith_graph_free(g);
    pith_store_free(store);
}

static bool fits(void)
{
    double here[STEPS + 1], there[STEPS + 1], apart = 0;
    fit(PITH_CPU, here);
    fit(PITH_CUDA, there);
    printf("\nIn a graph, with a gradient:\n  step   loss on the CPU   on the device\n");
    for (int k = 0; k <= STEPS; k++) {
        if (k % 20 == 0) printf("%6d %17.8f %15.8f\n", k, here[k], there[k]);
        apart = fmax(apart, isnan(there[k]) ? INFINITY : fabs(here[k] - there[k]));
    }
    printf("at most %.1e apart\n", apart);
    return apart < 1e-6 && there[STEPS] < 1e-3;
}

int main(void)
{
    const bool right = is_right(), told = are_told(), fitted = fits();
    return right && told && fitted ? 0 : 1;
}

/* ---- two exercises ---------------------------------------------------------------------------
 *
 * Both are one line in smooth_rows, in 12_smooth.cu; then make build/12_kernel && build/12_kernel.
 *
 * 1. Take the first barrier out. The program fails, and its first lines tell
 *        smooth_rows: block (2, 0, 0) thread (0, 0, 0): race: reads what thread 1 wrote
 *    and the line. Why not "what was never written", as above? Put it back and take the second one
 *    out: "race: writes what thread 127 read". What is the narrowest row on which that is told?
 *
 * 2. Threads without a column have nothing to average. Before that line let them go:
 *        if (first + (int)threadIdx.x >= columns) return;
 *    "a barrier waits for threads that have ended (127 of 128)", on a row of one column. Devices
 *    since Volta go on without them; the emulator wants every thread of the block at every barrier.
 */
