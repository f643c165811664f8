/* check_ops.c: pith check of the ops that a file defines: the gradient of each, the gradient of
 * that gradient, and its kernel against its lowering, by the op's own examples. */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include "check.h"
#include "scratch.h"

#define ALLOWED_SECOND (check_is_double ? 1e-6 : 1e-2)
#define ALLOWED_LOWERED (check_is_double ? 1e-12 : 1e-5)

/* One scalar of all results: the sum of their dot products with random cotangents. A plain sum
 * would not do: that of a softmax is always 1, whatever its gradient says. */
static node *project(pith_graph *g, node *const *list, int n)
{
    node *sum = NULL;
    for (int k = 0; k < n; k++) {
        if (list[k]->dtype != PITH_F32) continue;
        node *c = pith_sample(g, -1, 1, (int)pith_size(list[k]));
        node *term = pith_dot(list[k], RESHAPE_LIKE(c, list[k]));
        sum = sum ? pith_add(sum, term) : term;
    }
    return sum;
}

/* Walks through all that y is made of and puts the samples into l; returns the last node of `op`,
 * NULL if there is none. */
static node *look_through(node *y, const pith_op *op, check_leaves *l)
{
    const int size = pith_graph_size(y->graph);
    node **stack = malloc(sizeof *stack * (size_t)size), *found = NULL;
    bool *seen = calloc((size_t)size, sizeof *seen);
    int depth = 0;
    if (!stack || !seen) pith_raise("no memory to look through an example");
    seen[y->id] = true;
    for (stack[depth++] = y; depth;) {
        node *m = stack[--depth];
        if (m->op == &pith_op_input && m->attr && m->dtype == PITH_F32)
            check_vary(l, m, NULL, m->name);
        if (m->op == op && (!found || m->id > found->id)) found = m;
        for (int k = 0; k < m->n_in; k++) {
            if (seen[m->in[k]->id]) continue;
            seen[m->in[k]->id] = true;
            stack[depth++] = m->in[k];
        }
    }
    free(stack);
    free(seen);
    return found;
}

static double lowering_error(pith_graph *g, node *self)
{
    node *both[16] = { NULL };
    const int n = self->op->results ? self->op->results : 1;
    double worst = 0;
    self->op->lower(self, both);
    for (int k = 0; k < n; k++) both[n + k] = pith_result(self, k);
    pith_plan *p = pith_plan_new(g, 2 * n, both, &common_plan);
    pith_run(p);
    for (int k = 0; k < n; k++) {
        double error = 0, largest = 1;
        real *a = check_copy_value(p, both[k]), *b = check_copy_value(p, both[n + k]);
        for (size_t i = 0; i < pith_size(both[k]); i++) {
            const double off = fabs((double)a[i] - (double)b[i]);
            if (!(off <= error)) error = off;
            largest = fmax(largest, fabs((double)a[i]));
        }
        if (!(error / largest <= worst)) worst = error / largest;
        free(a);
        free(b);
    }
    pith_plan_free(p);
    return worst;
}

typedef struct {
    int examples;
    double first, second, lowered;
} op_errors;

static void raise_to(double *worst, double error)
{
    if (!(error <= *worst)) *worst = error;
}

/* Checks the i-th example of an op; false when there is none. */
static bool check_example(const pith_op *op, int i, op_errors *e)
{
    check_leaves l = { 0 };
    node *result[8], *gradient[CHECK_MOST], *gradient2[CHECK_MOST];
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, (uint64_t)common_seed);
    pith_set_training(g, true);
    node *y = op->example(g, i), *self = y ? look_through(y, op, &l) : NULL;
    if (y && !self) pith_raise("%s: example %d has no %s in it", op->name, i, op->name);
    if (y && op->lower) raise_to(&e->lowered, lowering_error(g, self));
    if (y && !op->no_grad && l.n) {
        const int n = y->op->results ? y->op->results : 1;
        for (int k = 0; k < n; k++) result[k] = pith_result(y, k);
        node *scalar = project(g, result, n);
        pith_grad(scalar, l.n, l.leaf, gradient);
        raise_to(&e->first, check_gradient(g, scalar, &l, gradient, NULL, NULL));
        node *scalar2 = project(g, gradient, l.n);
        pith_grad(scalar2, l.n, l.leaf, gradient2);
        raise_to(&e->second, check_gradient(g, scalar2, &l, gradient2, NULL, NULL));
    }
    pith_graph_free(g);
    pith_store_free(s);
    e->examples += y != NULL;
    return y != NULL;
}

static bool check_op(const pith_op *op)
{
    op_errors e = { 0 };
    if (!op->example) return printf("op %s: no example to check it by\n", op->name), false;
    if (!op->grad && !op->lower && !op->no_grad)
        return printf("op %s: it has neither .grad nor .lower, and .no_grad does not say why\n",
                      op->name),
               false;
    while (check_example(op, e.examples, &e)) continue;
    printf("op %s, %d example%s\n", op->name, e.examples, e.examples == 1 ? "" : "s");
    const bool first = e.first <= CHECK_ALLOWED, second = e.second <= ALLOWED_SECOND,
               lowered = e.lowered <= ALLOWED_LOWERED;
    if (op->no_grad) printf("    no gradient: %s\n", op->no_grad);
    else {
        check_print("gradient", e.first, first, "");
        check_print("gradient of the gradient", e.second, second, "");
    }
    if (op->lower) check_print("kernel against its lowering", e.lowered, lowered, "");
    return e.examples > 0 && first && second && lowered;
}

/* ---- the file ---- */

size_t check_find_ops(const char *text, char *list, size_t room)
{
    size_t used = 0;
    *list = 0;
    for (const char *p = text; (p = strstr(p, "pith_op_"));) {
        size_t n = 0;
        while (isalnum((unsigned char)p[n]) || p[n] == '_') n++;
        const char *next = p + n + strspn(p + n, " \t\n");
        if (*next == '=' && next[1] != '=')
            used += (size_t)snprintf(list + used, room - used, "&%.*s, ", (int)n, p);
        if (used >= room) pith_raise("the file defines too many ops to be checked at once");
        p += n;
    }
    return used;
}

/* The ops of the list, from the file compiled; ends with NULL. The file is compiled as a loss is:
 * inside a page written here, whose function `loss` returns the list of ops instead. */
static const pith_op *const *load_ops(const char *path, const char *list)
{
    char whole[PATH_MAX], page[4200];
    const char *name;
    Dl_info mine, theirs;
    if (!realpath(path, whole)) pith_raise("%s: %s", path, strerror(errno));
    snprintf(page, sizeof page, "%s/ops.c", scratch_directory());
    FILE *f = fopen(page, "w");
    if (!f) pith_raise("%s: cannot be written: %s", page, strerror(errno));
    fprintf(f,
            "#define loss own_loss_\n#include \"%s\"\n#undef loss\n#include \"loss.h\"\n"
            "static const pith_op *const list_[] = { %s0 };\n"
            "pith_node *loss(const pith_batch *b) { (void)b; return (pith_node *)list_; }\n",
            whole, list);
    fclose(f);
    pith_loss *function = pith_loss_load(page, scratch_directory(), &name);
    unlink(page);
    const pith_op *const *ops = (const pith_op *const *)(const void *)function(NULL);
    for (int k = 0; ops[k]; k++)
        if (dladdr(ops, &mine) && dladdr(ops[k], &theirs) && mine.dli_fbase != theirs.dli_fbase)
            pith_raise("%s: the program has an op %s of its own: give this one another name", path,
                       ops[k]->name);
    return ops;
}

bool check_ops(const char *path, const char *list)
{
    const pith_op *const *ops = load_ops(path, list);
    bool good = true;
    for (int k = 0; ops[k]; k++) good &= check_op(ops[k]);
    return good;
}
