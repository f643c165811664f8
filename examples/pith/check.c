/* check.c: pith check: a loss, or the ops of a file, held against central differences.
 *
 * Differences are of fourth order. In double they agree to 1e-7. In float a loss of size 1 is
 * rounded to 1e-7, which a step of 0.01 turns into 1e-5 of slope: 1e-3 is allowed, enough to see a
 * wrong sign, factor or term. The error is |a - b| beside the largest slope or the value, whichever
 * is larger. */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include "command.h"
#include "core.h"
#include "scratch.h"

enum { MOST = 256 }; /* leaves of an instance */
static const bool is_double = sizeof(real) == 8;
#define STEP (is_double ? 1.6e-4 : 1e-2)
#define ALLOWED (is_double ? 1e-7 : 1e-3)
#define ALLOWED_SECOND (is_double ? 1e-6 : 1e-2)
#define ALLOWED_LOWERED (is_double ? 1e-12 : 1e-5)

/* What is varied: samples, whose numbers lie in the graph, and params, a tensor of the store each.
 */
typedef struct {
    int n;
    node *leaf[MOST];
    pith_tensor *tensor[MOST]; /* NULL for a sample */
    const char *name[MOST];
} leaves;

static void vary(leaves *l, node *leaf, pith_tensor *tensor, const char *name)
{
    if (l->n == MOST) pith_raise("more than %d leaves to vary", MOST);
    l->leaf[l->n] = leaf;
    l->tensor[l->n] = tensor;
    l->name[l->n++] = name;
}

static real *sample_values(const node *sample)
{
    return (real *)(uintptr_t)pith_sample_data(sample);
}

static real get_element(const leaves *l, int k, size_t i)
{
    real x = 0;
    if (!l->tensor[k]) return sample_values(l->leaf[k])[i];
    pith_tensor_read_part(l->tensor[k], i, 1, &x);
    return x;
}

static void set_element(const leaves *l, int k, size_t i, real x)
{
    if (l->tensor[k]) pith_tensor_write_part(l->tensor[k], i, 1, &x);
    else sample_values(l->leaf[k])[i] = x;
}

/* d y / d leaf k by differences of the plan's value, against `rule`, element by element. */
static double leaf_error(pith_plan *value, const node *y, const leaves *l, int leaf,
                         const real *rule)
{
    static const double side[4] = { 1, -1, 2, -2 };
    double error = 0, largest = 1e-30, f[4];
    for (size_t i = 0; i < pith_size(l->leaf[leaf]); i++) {
        const real old = get_element(l, leaf, i);
        for (int k = 0; k < 4; k++) {
            set_element(l, leaf, i, (real)((double)old + side[k] * STEP));
            pith_run(value);
            f[k] = pith_scalar(value, y);
        }
        set_element(l, leaf, i, old);
        const double slope = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * STEP),
                     off = fabs(slope - (double)rule[i]);
        if (!(off <= error)) error = off; /* a NaN stays */
        largest = fmax(largest, fmax(fabs(slope), fabs(f[0])));
    }
    return error / largest;
}

static real *copy_value(const pith_plan *p, const node *n)
{
    real *copy = malloc(sizeof *copy * pith_size(n));
    pith_value(p, n, copy); /* which tells where there is no memory */
    return copy;
}

/* The worst over all leaves; `each`, if given, gets the errors one by one. */
static double gradient_error(pith_graph *g, node *y, const leaves *l, node *const *gradient,
                             double *each)
{
    pith_plan *value = pith_plan_new(g, 1, &y, &common_plan),
              *rules = pith_plan_new(g, l->n, gradient, &common_plan);
    real *rule[MOST];
    double worst = 0;
    pith_run(rules);
    for (int k = 0; k < l->n; k++) rule[k] = copy_value(rules, gradient[k]);
    for (int k = 0; k < l->n; k++) {
        const double error = leaf_error(value, y, l, k, rule[k]);
        if (!(error <= worst)) worst = error;
        if (each) each[k] = error;
        free(rule[k]);
    }
    pith_plan_free(value);
    pith_plan_free(rules);
    return worst;
}

/* ---- a loss ---- */

enum { B = 6, D = 8, WIDE = 10, N = 9 }; /* pairs, their width, the towers', samples of the data */

/* Rows (B, width) that are varied if the loss turns out to read them. */
static node *rows(pith_graph *g, leaves *l, int width, const char *name)
{
    node *n = pith_sample(g, -1, 1, B, width);
    vary(l, n, NULL, name);
    return n;
}

static pith_view second_view(const pith_batch *b)
{
    leaves *l = (leaves *)(uintptr_t)b->inputs;
    pith_view v = { .image_raw = rows(b->graph, l, D, "second image"),
                    .image_features = rows(b->graph, l, WIDE, "second image features") };
    v.image = pith_normalize(v.image_raw);
    return v;
}

static pith_batch make_batch(pith_graph *g, leaves *l)
{
    static const int caption_id[B] = { 0, 1, 2, 3, 2, 5 }, label[B] = { 0, 1, 2, 0, 1, 2 },
                     index[B] = { 3, 0, 8, 4, 7, 1 }, epoch = 2;
    pith_batch b = pith_batch_new(g);
    b.image = pith_normalize(b.image_raw = rows(g, l, D, "image"));
    b.text = pith_normalize(b.text_raw = rows(g, l, D, "text"));
    node *logit_scale = pith_sample(g, 1, 2);
    vary(l, logit_scale, NULL, "ln scale");
    b.scale = pith_exp(logit_scale);
    b.image_features = rows(g, l, WIDE, "image features");
    b.text_features = rows(g, l, WIDE, "text features");
    b.synthetic_text = pith_normalize(b.synthetic_text_raw = rows(g, l, D, "synthetic text"));
    pith_teacher *teacher = pith_add_teacher(&b, D);
    teacher->image = pith_detach(pith_normalize(pith_sample(g, -1, 1, B, D)));
    teacher->text = pith_detach(pith_normalize(pith_sample(g, -1, 1, B, D)));
    teacher->scale = pith_const(g, 5);
    b.caption_id = pith_const_array(g, PITH_I32, caption_id, B);
    b.label = pith_const_array(g, PITH_I32, label, B);
    b.index = pith_const_array(g, PITH_I32, index, B);
    b.samples = N;
    b.progress = pith_const(g, 0.5);
    b.epoch = pith_const_dims(PITH_HERE, g, PITH_I32, &epoch, 0, NULL);
    b.make_view = second_view;
    b.inputs = l;
    return b;
}

/* Leaves that the loss does not read are not worth a line, but for the first `always`. */
static void drop_unread(leaves *l, const node *loss, int always)
{
    bool reached[MOST];
    const int n = l->n;
    pith_depends_on(loss, n, l->leaf, reached);
    l->n = 0;
    for (int k = 0; k < n; k++)
        if (k < always || reached[k]) vary(l, l->leaf[k], l->tensor[k], l->name[k]);
}

static bool check_loss(const char *text)
{
    leaves l = { 0 };
    node *gradient[MOST], **params;
    double error[MOST];
    bool reached[MOST], good = true;
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, (uint64_t)common_seed);
    pith_set_training(g, true);
    const pith_batch b = make_batch(g, &l);
    pith_loss_spec *spec = pith_loss_parse(text, scratch_directory());
    node *loss = pith_loss_build(spec, &b);
    drop_unread(&l, loss, 3);
    const int n = pith_params(g, &params);
    for (int k = 0; k < n; k++)
        vary(&l, params[k], pith_store_find(s, params[k]->name), params[k]->name);
    pith_grad(loss, l.n, l.leaf, gradient);
    pith_depends_on(loss, l.n, l.leaf, reached);
    gradient_error(g, loss, &l, gradient, error);
    printf("loss %s, %d pairs of width %d with a teacher\n", text, B, D);
    for (int k = 0; k < l.n; k++) {
        const bool agrees = error[k] <= ALLOWED;
        good &= agrees;
        printf("    %-32s error %.1e  %s%s\n", l.name[k], error[k], agrees ? "agrees" : "DIFFERS",
               reached[k] ? "" : " (the loss does not depend on it)");
    }
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
    return good;
}

/* ---- ops ---- */

/* Sum over the nodes of their dot product with random cotangents. A plain sum would be blind to
 * softmax. */
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

/* What y is made of: its samples go into l; returns the last node of `op`. */
static node *look_through(node *y, const pith_op *op, leaves *l)
{
    const int size = pith_graph_size(y->graph);
    node **stack = malloc(sizeof *stack * (size_t)size), *found = NULL;
    bool *seen = calloc((size_t)size, sizeof *seen);
    int depth = 0;
    if (!stack || !seen) pith_raise("no memory to look through an example");
    seen[y->id] = true;
    for (stack[depth++] = y; depth;) {
        node *m = stack[--depth];
        if (m->op == &pith_op_input && m->attr && m->dtype == PITH_F32) vary(l, m, NULL, m->name);
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
        real *a = copy_value(p, both[k]), *b = copy_value(p, both[n + k]);
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

/* The i-th example of an op; false when there is none. */
static bool check_example(const pith_op *op, int i, op_errors *e)
{
    leaves l = { 0 };
    node *result[8], *gradient[MOST], *gradient2[MOST];
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
        raise_to(&e->first, gradient_error(g, scalar, &l, gradient, NULL));
        node *scalar2 = project(g, gradient, l.n);
        pith_grad(scalar2, l.n, l.leaf, gradient2);
        raise_to(&e->second, gradient_error(g, scalar2, &l, gradient2, NULL));
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
        return printf("op %s: no gradient and no reason for it\n", op->name), false;
    while (check_example(op, e.examples, &e)) continue;
    printf("op %s, %d examples\n", op->name, e.examples);
    const bool first = e.first <= ALLOWED, second = e.second <= ALLOWED_SECOND,
               lowered = e.lowered <= ALLOWED_LOWERED;
    if (op->no_grad) printf("    no gradient: %s\n", op->no_grad);
    else {
        printf("    %-32s error %.1e  %s\n", "gradient", e.first, first ? "agrees" : "DIFFERS");
        printf("    %-32s error %.1e  %s\n", "gradient of the gradient", e.second,
               second ? "agrees" : "DIFFERS");
    }
    if (op->lower)
        printf("    %-32s error %.1e  %s\n", "kernel against its lowering", e.lowered,
               lowered ? "agrees" : "DIFFERS");
    return e.examples > 0 && first && second && lowered;
}

/* ---- the file ---- */

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t room = 0;
    FILE *f = fopen(path, "r");
    if (!f) pith_raise("%s: %s", path, strerror(errno));
    if (getdelim(&text, &room, 0, f) < 0) pith_raise("%s: is empty", path);
    fclose(f);
    return text;
}

/* The descriptors that a file defines, "pith_op_NAME =", as "&pith_op_NAME, ...". */
static size_t find_ops(const char *text, char *list, size_t room)
{
    size_t used = 0;
    *list = 0;
    for (const char *p = text; (p = strstr(p, "pith_op_"));) {
        size_t n = 0;
        while (isalnum((unsigned char)p[n]) || p[n] == '_') n++;
        const char *next = p + n + strspn(p + n, " \t\n");
        if (*next == '=' && next[1] != '=')
            used += (size_t)snprintf(list + used, room - used, "&%.*s, ", (int)n, p);
        if (used >= room) pith_raise("a file with so many ops cannot be checked");
        p += n;
    }
    return used;
}

/* The ops are reached through a page that takes in the user's and hands out a list in the place of
 * its loss. */
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

/* Beside the program in float there may be one in double, which sees more. */
static void prefer_double(char **argv)
{
    char path[PATH_MAX + 16];
    const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
    if (n <= 0 || is_double) return;
    path[n] = 0;
    strcpy(strrchr(path, '/'), "/double/pith");
    execv(path, (char *[]){ path, argv[0], argv[1], NULL });
}

int command_check(int argc, char **argv)
{
    static const option options[] = { END_OF_OPTIONS };
    parse_options(options, "FILE.c",
                  "Checks the gradient of a loss (a file with a function loss, or whatever --loss "
                  "takes) or of the ops of a\n"
                  "file (pith_op_NAME, by their examples) against central differences: in double "
                  "where build/double/pith\n"
                  "was built (make V=double build/double/pith), else in float with a wider "
                  "tolerance. Exits with 1 if they differ.",
                  1, 1, argc, argv);
    const char *path = argv[1];
    const size_t size = strlen(path);
    char list[4096] = "",
         *text = size > 2 && !strcmp(path + size - 2, ".c") ? read_text(path) : NULL;
    bool good = true;
    prefer_double(argv);
    if (text && find_ops(text, list, sizeof list)) {
        const pith_op *const *ops = load_ops(path, list);
        for (int k = 0; ops[k]; k++) good &= check_op(ops[k]);
    }
    if (!*list || strstr(text, "*loss(")) good &= check_loss(path);
    printf("in %s: errors beside the largest slope or value, allowed %.0e\n",
           is_double ? "double" : "float", ALLOWED);
    free(text);
    return !good;
}
