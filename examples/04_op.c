/* 04_op.c: an op is one page: shape rule, gradient rule, meaning, kernel, examples.
 *
 * What one learns here: everything there is to an op, with the running sum as the example: y[j] =
 * x[0] + ... + x[j] over the last axis. Products and reductions could do the same, but with far
 * more work: the meaning below needs an array of (..., n, n), the kernel none. In the house the
 * page would be ops/cumsum.c, tested with all others.
 *
 * This is the one lesson that sees core.h, the header for authors of ops.
 *
 *     build/04_op */
#include <core.h>

static node *cumsum(const char *at, node *a, bool reverse);

/* Attributes: what a node of this op remembers beside its inputs. Two nodes are the same when
 * inputs and attributes are, to the byte. */
PITH_ATTRIBUTES(cumsum_attr, int reverse;)

static bool reversed(const node *n) { return ((const cumsum_attr *)n->attr)->reverse; }

/* Shape: what may come in, and what goes out. A refusal is one sentence; the library adds the
 * place and the inputs. */
static bool cumsum_shape(node *n)
{
    return pith_want(n, 0, PITH_F32, -1) && pith_like(n, n->in[0]);
}

/* Gradient: nodes, not numbers. dy[0] is the cotangent of y, dx[0] that of x. x[i] takes part in
 * y[i], y[i+1], ..., so its cotangent is their sum: the same op from the other end. As the rule is
 * graph, it has a gradient of its own. */
static bool cumsum_grad(node *n, node *const *dy, node **dx)
{
    dx[0] = cumsum(NULL, dy[0], !reversed(n)); /* NULL: the place is that of the op itself */
    return true;
}

/* Meaning: the same as a composition of other ops, by a matrix of zeros and ones. The kernel is
 * only speed; this is the specification it is compared with. (Without a gradient rule of its own
 * the op would get one from here.) */
static void cumsum_lower(node *n, node **out)
{
    const int count = n->dim[n->ndim - 1];
    node *i = pith_arange_(NULL, n->graph, count), *j = KEEP(i, -1);
    node *taken = reversed(n) ? LESS(j, SHIFT(i, 1)) : LESS(i, SHIFT(j, 1)); /* i <= j */
    out[0] = SUM(MUL(KEEP(n->in[0], -2), taken), -1);
}

/* Kernel: on `real`, as the library is built for float and for double. Work is cut by shape, a row
 * a thread at a time, and each row is added in one order, so any number of threads gives the same
 * bits. Small work stays on one thread. */
static bool cumsum_cpu(const pith_call *call)
{
    const node *n = call->n;
    const size_t rows = pith_rows(n), columns = pith_columns(n);
#pragma omp parallel for schedule(static) if (rows * columns > PITH_SMALL)
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)call->in[0] + r * columns;
        real *y = (real *)call->out[0] + r * columns, sum = 0;
        for (size_t k = 0; k < columns; k++) {
            const size_t i = reversed(n) ? columns - 1 - k : k;
            sum += x[i];
            y[i] = sum; /* x[i] has been read: y may lie where x lay (PITH_INPLACE) */
        }
    }
    return true;
}

/* Examples: small, away from kinks, one for each way through the code. The suite finds ops by the
 * linker and does with every example what main does below, and more. */
static node *cumsum_example(pith_graph *g, int i)
{
    return i == 0   ? cumsum(PITH_HERE, pith_sample(g, -1, 1, 2, 4), false)
           : i == 1 ? cumsum(PITH_HERE, pith_sample(g, -1, 1, 5), true)
                    : NULL;
}

static const pith_op op_cumsum = { "cumsum",
                                   .attr_size = sizeof(cumsum_attr),
                                   .shape = cumsum_shape,
                                   .grad = cumsum_grad,
                                   .lower = cumsum_lower,
                                   .cpu = cumsum_cpu,
                                   .flags = PITH_INPLACE,
                                   .example = cumsum_example };

static node *cumsum(const char *at, node *a, bool reverse)
{
    return pith_make1(at, &op_cumsum, a, &(cumsum_attr){ reverse });
}

/* Kernel against meaning, and rule against central differences of sum(c y^2), with an uneven c: a
 * plain sum is blind to many mistakes. */
static void check(int example)
{
    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, 0);
    node *y = op_cumsum.example(g, example), *x = y->in[0], *meaning, *gradient;
    op_cumsum.lower(y, &meaning);
    node *apart = pith_max(pith_abs(pith_sub(y, meaning)), PITH_ALL);
    node *c = pith_sample(g, -1, 1, (int)pith_columns(y));
    node *loss = pith_sum(pith_mul(c, pith_square(y)), PITH_ALL);
    pith_grad(loss, 1, &x, &gradient);
    printf("example %d\n  loss     = ", example);
    pith_print(stdout, loss, 9);
    printf("  gradient = ");
    pith_print(stdout, gradient, 9);
    real values[16], rules[16];
    memcpy(values, pith_sample_data(x), pith_bytes(x));
    pith_plan *plan = pith_plan_new(g, 3, (node *[]){ apart, loss, gradient }, NULL);
    pith_feed(plan, x, values); /* `c` is a sample too, and feeds itself */
    for (size_t i = 0; i < pith_size(x); i++) {
        const real old = values[i], h = (real)0.0625;
        pith_run(plan);
        pith_value(plan, gradient, rules);
        values[i] = old + h, pith_run(plan);
        const double above = pith_scalar(plan, loss);
        values[i] = old - h, pith_run(plan);
        const double slope = (above - pith_scalar(plan, loss)) / (2 * (double)h);
        values[i] = old;
        printf("  x[%zu]: rule %9.5f, differences %9.5f\n", i, (double)rules[i], slope);
    }
    printf("  kernel and meaning are at most %.1e apart\n", pith_scalar(plan, apart));
    pith_plan_free(plan);
    pith_graph_free(g);
    pith_store_free(store);
}

int main(void)
{
    for (int i = 0; i < 2; i++) check(i);
    return 0;
}
