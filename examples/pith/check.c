/* check.c: pith check: a loss, or the ops of a file, compared with central differences. The
 * command, and the differences themselves. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "check.h"

void check_vary(check_leaves *l, node *leaf, pith_tensor *tensor, const char *name)
{
    if (l->n == CHECK_MOST)
        pith_raise("there are more than %d inputs and parameters to vary", CHECK_MOST);
    l->leaf[l->n] = leaf;
    l->tensor[l->n] = tensor;
    l->name[l->n++] = name;
}

static real *sample_values(const node *sample)
{
    return (real *)(uintptr_t)pith_sample_data(sample);
}

static real get_element(const check_leaves *l, int k, size_t i)
{
    real x = 0;
    if (!l->tensor[k]) return sample_values(l->leaf[k])[i];
    pith_tensor_read_part(l->tensor[k], i, 1, &x);
    return x;
}

static void set_element(const check_leaves *l, int k, size_t i, real x)
{
    if (l->tensor[k]) pith_tensor_write_part(l->tensor[k], i, 1, &x);
    else sample_values(l->leaf[k])[i] = x;
}

/* The slope of y along element i of a leaf; *at: about the value of y. */
static double slope_of(pith_plan *value, const node *y, const check_leaves *l, int leaf, size_t i,
                       double step, double *at)
{
    static const double side[4] = { 1, -1, 2, -2 };
    double f[4];
    const real old = get_element(l, leaf, i);
    for (int k = 0; k < 4; k++) {
        set_element(l, leaf, i, (real)((double)old + side[k] * step));
        pith_run(value);
        f[k] = pith_scalar(value, y);
    }
    set_element(l, leaf, i, old);
    *at = f[0];
    return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * step);
}

/* Where the slopes to both sides of an element differ there is a kink at it, and every slope
 * between them is right: how far `rule` is from those. Elsewhere -1. */
static double off_at_kink(pith_plan *value, const node *y, const check_leaves *l, int leaf,
                          size_t i, double rule, double largest)
{
    const double step = CHECK_STEP / 16;
    double f[3];
    const real old = get_element(l, leaf, i);
    for (int k = 0; k < 3; k++) {
        set_element(l, leaf, i, (real)((double)old + (k - 1) * step));
        pith_run(value);
        f[k] = pith_scalar(value, y);
    }
    set_element(l, leaf, i, old);
    const double a = (f[1] - f[0]) / step, b = (f[2] - f[1]) / step;
    if (!(fabs(a - b) > 0.01 * largest)) return -1;
    return fmax(0, fmax(fmin(a, b) - rule, rule - fmax(a, b)));
}

/* The error of one leaf: the slope along each of its elements, by differences of the plan's value
 * y, against the gradient in `rule`. */
static double leaf_error(pith_plan *value, const node *y, const check_leaves *l, int leaf,
                         const real *rule, int *kinks)
{
    double error = 0, largest = 1e-30;
    for (size_t i = 0; i < pith_size(l->leaf[leaf]); i++) {
        double at, finer, slope = slope_of(value, y, l, leaf, i, CHECK_STEP, &at);
        largest = fmax(largest, fmax(fabs(slope), fabs(at)));
        double off = fabs(slope - (double)rule[i]);
        /* A smaller step that says something else: there is a kink within the larger one. */
        if (!(off <= CHECK_ALLOWED * largest)) {
            finer = slope_of(value, y, l, leaf, i, CHECK_STEP / 16, &at);
            const bool kink = fabs(finer - slope) > CHECK_ALLOWED * largest;
            const double there = off_at_kink(value, y, l, leaf, i, (double)rule[i], largest);
            *kinks += kink || there >= 0;
            if (there >= 0) off = there;
            else if (kink) off = fabs(finer - (double)rule[i]);
        }
        if (!(off <= error)) error = off; /* a NaN stays */
    }
    return error / largest;
}

real *check_copy_value(const pith_plan *p, const node *n)
{
    real *copy = malloc(sizeof *copy * pith_size(n));
    pith_value(p, n, copy); /* raises the error if malloc failed */
    return copy;
}

double check_gradient(pith_graph *g, node *y, const check_leaves *l, node *const *gradient,
                      double *errors, int *kinks)
{
    pith_plan *value = pith_plan_new(g, 1, &y, &common_plan),
              *rules = pith_plan_new(g, l->n, gradient, &common_plan);
    real *rule[CHECK_MOST];
    double worst = 0;
    pith_run(rules);
    for (int k = 0; k < l->n; k++) rule[k] = check_copy_value(rules, gradient[k]);
    for (int k = 0; k < l->n; k++) {
        int near = 0;
        const double error = leaf_error(value, y, l, k, rule[k], &near);
        if (kinks) kinks[k] = near;
        if (!(error <= worst)) worst = error;
        if (errors) errors[k] = error;
        free(rule[k]);
    }
    pith_plan_free(value);
    pith_plan_free(rules);
    return worst;
}

void check_print(const char *what, double error, bool agrees, const char *remark)
{
    printf("    %-32s error %.1e  %s%s\n", what, error, agrees ? "agrees" : "DIFFERS", remark);
}

/* ---- the command ---- */

/* Goes on as the program's twin in double, in which smaller mistakes are seen and right losses are
 * not taken for wrong ones. It is built where it is missing or older than this program; where that
 * fails, the check goes on in float. */
static void prefer_double(char **argv)
{
    static char twin[] = PITH_ROOT "/build/double/pith";
    struct stat own, other;
    char seed[32], threads[32];
    if (check_is_double || stat("/proc/self/exe", &own)) return;
    if (stat(twin, &other) || other.st_mtime < own.st_mtime) {
        const double start = pith_seconds();
        fprintf(stderr, "building this program in double, once ...\n");
        if (system("make -s -C '" PITH_ROOT "' V=double build/double/pith >/dev/null")) {
            fprintf(stderr, "it cannot be built: going on in float\n");
            return;
        }
        fprintf(stderr, "built in %.0f s\n", pith_seconds() - start);
        /* make leaves a program that is up to date its old time: so it is not asked again */
        (void)!utimensat(AT_FDCWD, twin, NULL, 0);
    }
    snprintf(seed, sizeof seed, "%lld", (long long)common_seed);
    snprintf(threads, sizeof threads, "%lld", (long long)common_threads);
    execv(twin,
          (char *[]){ twin, argv[0], "--seed", seed, "--threads", threads, "--", argv[1], NULL });
}

static const char *checked; /* the file */

/* Of an op's shape rule, gradient rule or kernel; a loss's own crash is told by losses/file.c. */
static void crashed(int number)
{
    alarm(5); /* if the program can no longer end by itself */
    fprintf(stderr, "%s crashed: %s\n", checked, strsignal(number));
    exit(1);
}

static void tell_crashes(const char *file)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    static char stack[1 << 16];
    const stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
    const struct sigaction action = { .sa_handler = crashed,
                                      .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };
    checked = file;
    sigaltstack(&own, NULL);
    for (size_t k = 0; k < sizeof signals / sizeof *signals; k++)
        sigaction(signals[k], &action, NULL);
}

int command_check(int argc, char **argv)
{
    static const option options[] = { END_OF_OPTIONS };
    parse_options(options, "FILE.c",
                  "Checks the gradient of a loss (a file with a function loss, or whatever --loss "
                  "takes) or of the ops of a\n"
                  "file (pith_op_NAME, by their examples) against central differences, in double: "
                  "by build/double/pith,\n"
                  "which is built once if need be. What is detached is held fixed. Exits with 1 if "
                  "they differ.",
                  1, 1, argc, argv);
    const char *path = argv[1];
    char list[4096] = "", *file = pith_loss_file(path, 0), /* one, and no sum of terms */
                              *text = file && !strcmp(file, path) ? pith_read_text(path) : NULL;
    bool good = true;
    prefer_double(argv);
    tell_crashes(path);
    if (text && check_find_ops(text, list, sizeof list)) good &= check_ops(path, list);
    if (text && !*list && !strstr(text, "loss("))
        pith_raise(
            "%s: it has neither a loss, pith_node *loss(const pith_batch *b), nor an op that "
            "is not static, pith_op_NAME = ...",
            path);
    if (!*list || strstr(text, "*loss(")) good &= check_loss(path);
    printf("in %s: errors beside the largest slope or value, allowed %.0e\n",
           check_is_double ? "double" : "float", CHECK_ALLOWED);
    free(text);
    free(file);
    return !good;
}
