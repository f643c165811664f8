/* device_training.h: whole trainings of tiny models on a device of its own, beside the CPU: what is
 * trained, the batch, and how near both come. Without a GPU the device is the emulated one; in a
 * build with CUDA on a machine without a GPU there is nothing to test. */
#ifndef PITH_TESTS_DEVICE_TRAINING_H
#define PITH_TESTS_DEVICE_TRAINING_H
#include "subjects.h"
#ifdef PITH_EMULATED
#include "emulator/control.h"
#else
static bool emulator_shadow;
#endif

static inline pith_store *store_on_device(void)
{
    pith_store *s = pith_store_new_on(PITH_CUDA);
    if (!s) {
        print_message("skipped: %s\n", pith_error());
        skip();
    }
    return s;
}

/* ---- the batch: the same random numbers for every plan, by the names of its inputs ---- */

static inline unsigned draw(uint64_t *state, unsigned below)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return (unsigned)(*state % below);
}

/* Rows of unit length, but of pictures. With most other numbers an activation of the ResNet lies
 * within rounding of a ReLU's kink: then the CPU's own training changes by as much as 5 % of a
 * weight if pictures change by 1e-7; with these by 1e-5. */
static inline void fill_reals(const pith_node *n, real *x)
{
    const size_t size = pith_size(n), width = n->ndim == 2 ? (size_t)n->dim[1] : 0;
    uint64_t state = 88172645463325253u + pith_hash(n->name, 0) % 1000;
    for (size_t i = 0; i < size; i++) x[i] = (real)draw(&state, 2000) / 1000 - 1;
    for (size_t i = 0; width && i < size; i += width) {
        double sum = 0;
        for (size_t k = 0; k < width; k++) sum += (double)(x[i + k] * x[i + k]);
        for (size_t k = 0; k < width; k++) x[i + k] /= (real)sqrt(sum);
    }
}

/* Captions of several lengths. One picture has no cluster, two have the same. */
static inline const int *find_ints(const char *name, int vocabulary)
{
    static int ids[PAIRS * LONGEST], positions[PAIRS * LONGEST], offsets[PAIRS + 1], last[PAIRS];
    static const int cluster[PAIRS] = { 3, 17, -1, 3, 8, 29 }, count[PAIRS] = { 0, 1, 2, 3, 4, 5 };
    uint64_t state = 88172645463325252u;
    for (int p = 0, at = 0; p < PAIRS; p++) {
        const int length = 2 + (int)draw(&state, LONGEST - 1);
        for (int k = 0; k < length; k++, at++) {
            ids[at] = k + 1 < length ? (int)draw(&state, (unsigned)vocabulary - 2) : vocabulary - 1;
            positions[at] = k;
        }
        offsets[p + 1] = at;
        last[p] = at - 1;
    }
    return !strcmp(name, "ids")         ? ids
           : !strcmp(name, "positions") ? positions
           : !strcmp(name, "offsets")   ? offsets
           : !strcmp(name, "last")      ? last
           : !strcmp(name, "cluster")   ? cluster
                                        : count;
}

static inline void feed(const training *t, int vocabulary)
{
    enum { MOST = 10 };
    static real room[MOST][PAIRS * 3 * 32 * 32];
    const pith_node *const *inputs;
    const int n = pith_plan_inputs(t->plan, &inputs);
    for (int k = 0, used = 0; k < n; k++)
        if (inputs[k]->dtype == PITH_I32) {
            pith_feed(t->plan, inputs[k], find_ints(inputs[k]->name, vocabulary));
        } else {
            assert_true(used < MOST && pith_size(inputs[k]) <= PAIRS * 3 * 32 * 32);
            fill_reals(inputs[k], room[used]);
            pith_feed(t->plan, inputs[k], room[used++]);
        }
}

/* Ready to run; without a plan after an error. */
static inline training prepare(pith_store *store, const subject *s, bool check_finite)
{
    training t = build(store, s);
    t.plan = pith_plan_new(t.g, t.n_outputs, t.outputs,
                           &(pith_plan_options){ .check_finite = check_finite, .bf16 = s->bf16 });
    if (t.plan) feed(&t, s->model ? config_of(s->model).vocabulary : 0);
    return t;
}

/* All steps; false after an error. */
static inline bool try_run(training *t)
{
    for (int k = 0; k < STEPS; k++) {
        /* one by one, and what is repeated; more would take most of the time */
        emulator_shadow = k == 0 || k == 2;
        pith_feed(t->plan, pith_step(t->g), &k);
        if (!pith_run(t->plan) || isnan(t->losses[k] = pith_scalar(t->plan, t->loss))) return false;
    }
    return true;
}

static inline void run(training *t)
{
    if (!try_run(t)) fail_msg("%s", pith_error());
}

static inline training train(pith_store *store, const subject *s)
{
    training t = prepare(store, s, false);
    if (!t.plan) fail_msg("%s: %s", s->name, pith_error());
    run(&t);
    return t;
}

static inline void end(training *t)
{
    pith_plan_free(t->plan);
    pith_graph_free(t->g);
    pith_store_free(t->store);
}

/* ---- how near both come ---- */

/* Largest difference of the two stores' weights and states, beside the largest number of that
 * tensor; of what the optimizer remembers what comes of it is compared. */
static inline double compare_stores(pith_store *a, pith_store *b, const char **where)
{
    double worst = 0;
    for (int k = 0; k < pith_store_count(a); k++) {
        pith_tensor *x = pith_store_at(a, k), *y = pith_store_find(b, x->name);
        if (x->dtype != PITH_F32 || strstr(x->name, ".m/") || strstr(x->name, ".v/")) continue;
        const real *p = elements(x), *q = elements(y);
        double largest = 1e-3, error = 0;
        for (size_t i = 0; i < pith_tensor_size(x); i++) {
            largest = fmax(largest, fabs((double)p[i]));
            error = fmax(error, fabs((double)p[i] - (double)q[i]));
        }
        if (error / largest > worst) worst = error / largest, *where = x->name;
    }
    return worst;
}

static inline void agree(const subject *s)
{
    training there = train(store_on_device(), s), here = train(pith_store_new(), s);
    const char *where = "";
    for (int i = 0; i < STEPS; i++)
        if (!(fabs(there.losses[i] - here.losses[i]) <=
              (s->bf16 ? 0x1p-8 * here.losses[0] : 1e-5 * (i + 1) * fmax(1, here.losses[i]))))
            fail_msg("%s: the loss of step %d is %.8g, on the CPU %.8g", s->name, i,
                     there.losses[i], here.losses[i]);
    const double worst = compare_stores(there.store, here.store, &where);
    if (!(worst <= s->tolerance)) fail_msg("%s: %s is off by %g", s->name, where, worst);
    print_message("%s: losses %.6f to %.6f, weights after %d steps within %.1e\n", s->name,
                  here.losses[0], here.losses[STEPS - 1], STEPS, worst);
    end(&there);
    end(&here);
}
#endif
