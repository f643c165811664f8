/* test_device.c: whole training graphs on a device of its own, beside the CPU: the same losses and
 * the same weights within rounding, step after step; recordings repeat what single steps do, bit
 * for bit. Without a GPU the device is the emulated one; in a build with CUDA on a machine without
 * a GPU there is nothing to test. */
#include <pthread.h>
#include <sys/wait.h>
#include "tests.h"
#include "losses/losses.h"
#include "models/models.h"
#include "train/optim.h"
#ifdef PITH_EMULATED
#include "emulator/control.h"
#else
static bool emulator_shadow;
#endif

enum { PAIRS = 6, STEPS = 10, LONGEST = 5, MOST_TENSORS = 400 };

/* One training, on one device. */
typedef struct {
    pith_store *store;
    pith_graph *g;
    pith_plan *plan;
    pith_node *loss;
    double losses[STEPS];
} training;

typedef struct {
    const char *name, *model;
    double masked;    /* share of patches left out, as in FLIP */
    double tolerance; /* of weights, a share of the tensor's largest */
    bool bf16;
} subject;

static pith_store *store_on_device(void)
{
    pith_store *s = pith_store_new_on(PITH_CUDA);
    if (!s) {
        print_message("skipped: %s\n", pith_error());
        skip();
    }
    return s;
}

static uint64_t state = 88172645463325252u;
static unsigned draw(unsigned below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state % below);
}

static void feed(const training *t, const clip_config *c, const clip_inputs *in)
{
    static float pixels[PAIRS * 3 * 32 * 32];
    static int ids[PAIRS * LONGEST], positions[PAIRS * LONGEST], offsets[PAIRS + 1], last[PAIRS];
    state = 88172645463325252u;
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++)
        pixels[i] = (float)draw(2000) / 1000 - 1;
    for (int p = 0, at = 0; p < PAIRS; p++) {
        const int length = 2 + (int)draw(LONGEST - 1);
        for (int k = 0; k < length; k++, at++) {
            ids[at] = k + 1 < length ? (int)draw((unsigned)c->vocabulary - 2) : c->vocabulary - 1;
            positions[at] = k;
        }
        offsets[p + 1] = at;
        last[p] = at - 1;
    }
    pith_feed(t->plan, in->pixels, pixels);
    pith_feed(t->plan, in->ids, ids);
    pith_feed(t->plan, in->positions, positions);
    pith_feed(t->plan, in->offsets, offsets);
    pith_feed(t->plan, in->last, last);
}

/* All steps; false after an error. */
static bool try_run(training *t)
{
    for (int k = 0; k < STEPS; k++) {
        emulator_shadow = k == 0; /* it takes most of the time */
        if (!pith_run(t->plan) || isnan(t->losses[k] = pith_scalar(t->plan, t->loss))) return false;
    }
    return true;
}

static void run(training *t)
{
    if (!try_run(t)) fail_msg("%s", pith_error());
}

/* Ready to run; without a plan after an error. */
static training prepare(pith_store *store, const subject *s, bool check_finite)
{
    training t = { .store = store, .g = pith_graph_new(store, 3) };
    clip_config c;
    if (!clip_config_named(&c, s->model)) fail_msg("%s", pith_error());
    pith_set_training(t.g, true);
    clip_inputs in = clip_inputs_new(t.g, &c, PAIRS, PAIRS * LONGEST);
    in.masked = s->masked;
    const pith_batch batch = clip_batch(t.g, &c, &in);
    t.loss = clip_loss(&batch);
    pith_node **params, *norm;
    const int n = pith_params(t.g, &params);
    pith_node **gradients = malloc((size_t)n * sizeof *gradients);
    assert_true(pith_gradients(t.loss, n, params, gradients));
    assert_true(pith_clip_norm(n, gradients, 1, &norm));
    pith_node *ok = pith_step_ok(norm), *states = pith_commit(t.g, ok);
    pith_node *update = pith_adamw(n, params, gradients, pith_const(t.g, 1e-3),
                                   (pith_adamw_options){ 0.9, 0.98, 1e-3, 0.1 }, ok);
    free(gradients);
    pith_node *outputs[] = { t.loss, update, states };
    t.plan = pith_plan_new(t.g, states ? 3 : 2, outputs,
                           &(pith_plan_options){ .check_finite = check_finite, .bf16 = s->bf16 });
    if (t.plan) feed(&t, &c, &in);
    return t;
}

static training train(pith_store *store, const subject *s)
{
    training t = prepare(store, s, false);
    if (!t.plan) fail_msg("%s", pith_error());
    run(&t);
    return t;
}

static void end(training *t)
{
    pith_plan_free(t->plan);
    pith_graph_free(t->g);
    pith_store_free(t->store);
}

/* Largest difference of the two stores' weights, beside the largest weight of that tensor. */
static double compare_stores(pith_store *a, pith_store *b, const char **where)
{
    double worst = 0;
    for (int k = 0; k < pith_store_count(a); k++) {
        pith_tensor *x = pith_store_at(a, k), *y = pith_store_find(b, x->name);
        if (x->dtype != PITH_F32 || x->kind != PITH_WEIGHT) continue;
        const float *p = elements(x), *q = elements(y);
        double largest = 1e-3, error = 0;
        for (size_t i = 0; i < pith_tensor_size(x); i++) {
            largest = fmax(largest, fabs((double)p[i]));
            error = fmax(error, fabs((double)p[i] - (double)q[i]));
        }
        if (error / largest > worst) worst = error / largest, *where = x->name;
    }
    return worst;
}

static const subject subjects[] = {
    { "a CLIP", "8/4:w16l2h2+w16l2h2c8v40:e8", 0, 2e-5, false },
    { "SAS-P blocks", "8/4:w16l2h2s2+w16l2h2c8v40:e8", 0, 2e-5, false },
    { "masked patches", "16/4:w16l2h2+w16l2h2c8v40:e8", 0.5, 2e-5, false },
    { "a ResNet", "32/r1:w4l1.1.1.1+w16l2h2c8v40:e8", 0, 2e-5, false },
    /* sums in another order may round to the next bf16, a 256th away */
    { "a CLIP in bf16", "8/4:w16l2h2+w16l2h2c8v40:e8", 0, 0x1p-8, true },
    /* whose many norms make much of it: what AdamW makes of that is not compared */
    { "a ResNet in bf16", "32/r1:w4l1.1.1.1+w16l2h2c8v40:e8", 0, INFINITY, true },
};

static void trainings_agree(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < sizeof subjects / sizeof *subjects; k++) {
        const subject *s = &subjects[k];
        training there = train(store_on_device(), s), here = train(pith_store_new(), s);
        const char *where = "";
        for (int i = 0; i < STEPS; i++)
            if (!(fabs(there.losses[i] - here.losses[i]) <=
                  (s->bf16 ? 0x1p-8 * here.losses[0] : 1e-5 * (i + 1))))
                fail_msg("%s: the loss of step %d is %.8g, on the CPU %.8g", s->name, i,
                         there.losses[i], here.losses[i]);
        const double worst = compare_stores(there.store, here.store, &where);
        if (!(worst <= s->tolerance)) fail_msg("%s: %s is off by %g", s->name, where, worst);
        print_message("%s: losses %.6f to %.6f, weights after %d steps within %.1e\n", s->name,
                      here.losses[0], here.losses[STEPS - 1], STEPS, worst);
        end(&there);
        end(&here);
    }
}

/* Single steps, as a plan that is timed runs them, and the recording: the same bits. */
static void repeated_as_one(void **unused)
{
    (void)unused;
    training once = train(store_on_device(), &subjects[0]),
             again = train(store_on_device(), &subjects[0]);
    const char *where = "";
    assert_memory_equal(once.losses, again.losses, sizeof once.losses);
    assert_true(compare_stores(once.store, again.store, &where) == 0);
    pith_time_plan(again.plan, true);
    run(&once);
    run(&again);
    assert_memory_equal(once.losses, again.losses, sizeof once.losses);
    assert_true(compare_stores(once.store, again.store, &where) == 0);
    end(&once);
    end(&again);
}

/* Every run raises what it writes, also one that repeats a recording. */
static void versions_rise(void **unused)
{
    (void)unused;
    training t = train(store_on_device(), &subjects[0]);
    pith_node **params;
    assert_true(pith_params(t.g, &params) > 0);
    const pith_tensor *weight = pith_tensor_of(params[0]);
    for (int k = 0; k < 3; k++) {
        const uint64_t before = weight->version;
        assert_true(pith_run(t.plan));
        assert_true(weight->version == before + 1);
    }
    end(&t);
}

static void *train_one(void *loss)
{
    training *t = loss;
    *t = prepare(store_on_device(), &subjects[0], false);
    run(t);
    return NULL;
}

/* Trainings of two stores from two threads, each with the bits of one alone. */
static void two_at_once(void **unused)
{
    (void)unused;
    training alone = train(store_on_device(), &subjects[0]), two[2];
    pthread_t thread[2];
    const char *where = "";
    for (int k = 0; k < 2; k++)
        assert_int_equal(pthread_create(&thread[k], NULL, train_one, &two[k]), 0);
    for (int k = 0; k < 2; k++) pthread_join(thread[k], NULL);
    for (int k = 0; k < 2; k++) {
        assert_memory_equal(two[k].losses, alone.losses, sizeof alone.losses);
        assert_true(compare_stores(two[k].store, alone.store, &where) == 0);
        end(&two[k]);
    }
    end(&alone);
}

#ifdef PITH_EMULATED
/* ---- what can go wrong on a device: told in one sentence, and what is lost stays lost ---- */

typedef struct {
    const char *what, *function; /* whose nth call fails */
    int nth, error;
    bool check_finite;
    const char *said, *said_later; /* the second: by a run after that; NULL: it goes well */
} fault;

static int told;
static void count_told(const char *message, void *context) { (void)message, (void)context, told++; }

/* In a process of its own, for a device that is lost stays lost. */
static void try_fault(const fault *f, int to)
{
    char text[600], path[] = "/tmp/pith-lost-device-XXXXXX";
    training t = prepare(store_on_device(), &subjects[0], f->check_finite);
    pith_on_error(count_told, NULL);
    if (t.plan) emulator_fail(f->function, f->nth, f->error);
    const bool good = t.plan && try_run(&t);
    int size = snprintf(text, sizeof text, "%d %d %.250s", good, told, told ? pith_error() : "");
    if (!good) {
        told = 0;
        const bool later = t.plan && try_run(&t);
        close(mkstemp(path));
        const bool saved = pith_store_save(t.store, path, PITH_WEIGHT);
        size += snprintf(text + size, sizeof text - (size_t)size, "\n%d %d %.250s", later, saved,
                         pith_error());
    }
    unlink(path);
    if (write(to, text, (size_t)size) != size) abort();
    _exit(0);
}

static void faults(void **unused)
{
    (void)unused;
    static const fault list[] = {
        { "a kernel that cannot be started", "cudaLaunchKernel", 5, 1, false,
          "0 1 models/|the kernel cannot be started: invalid argument", NULL },
        { "a kernel that fails", "launch", 40, 700, false,
          "0 1 CUDA: waiting for the device: an illegal memory access was encountered",
          "0 0 the CUDA device is lost: waiting for the device: an illegal memory access" },
        { "the same, watched", "launch", 40, 700, true,
          "0 1 CUDA: models/|: an illegal memory access was encountered",
          "0 0 the CUDA device is lost: models/" },
        { "a copy that fails", "cudaMemcpyAsync", 3, 719, false,
          "0 1 CUDA: a copy to the device: unspecified launch failure",
          "0 0 the CUDA device is lost: a copy to the device" },
        { "a run that cannot be recorded", "cudaGraphInstantiate", 1, 801, false,
          "1 1 CUDA: the steps of a plan cannot be repeated as one (operation not supported), "
          "and run one by one",
          NULL },
        { "a recording that fails", "cudaGraphLaunch", 2, 719, false,
          "0 1 CUDA: a run: unspecified", "0 0 the CUDA device is lost: a run" },
    };
    training compiled = prepare(store_on_device(), &subjects[0], false); /* its chains, once */
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        int ends[2];
        char text[600] = "";
        assert_int_equal(pipe(ends), 0);
        const pid_t child = fork();
        if (child == 0) try_fault(&list[k], ends[1]);
        close(ends[1]);
        const ssize_t size = read(ends[0], text, sizeof text - 1);
        close(ends[0]);
        waitpid(child, NULL, 0);
        char *later = strchr(text, '\n');
        if (later) *later++ = 0;
        /* before and after a place in the sources */
        char first[300], *rest;
        snprintf(first, sizeof first, "%s", list[k].said);
        if ((rest = strchr(first, '|'))) *rest++ = 0;
        if (size <= 0 || strncmp(text, first, strlen(first)) || (rest && !strstr(text, rest)))
            fail_msg("%s: \"%s\" was told, not \"%s\"", list[k].what, text, list[k].said);
        if (list[k].said_later &&
            (!later || strncmp(later, list[k].said_later, strlen(list[k].said_later))))
            fail_msg("%s: later \"%s\" was told, not \"%s\"", list[k].what, later ? later : "",
                     list[k].said_later);
    }
    end(&compiled);
}

/* A plan beyond the device's memory is refused, with what it wants and what there is. */
static void too_small(void **unused)
{
    (void)unused;
    pith_store *store = store_on_device();
    pith_graph *g = pith_graph_new(store, 1);
    pith_node *x = pith_input(g, "x", PITH_F32, 1 << 20);
    pith_node *y = pith_sum(pith_softmax(pith_exp(x)), PITH_ALL);
    emulator_memory(emulator_in_use() + (1 << 22));
    assert_null(pith_plan_new(g, 1, &y, NULL));
    said("no memory for a plan: it wants 4195584 bytes, and 4194304 can be had");
    assert_null(pith_store_add(store, "large", PITH_WEIGHT, PITH_F32, 1, (int[]){ 1 << 24 }));
    said("no memory for large, which has 67108864 bytes");
    emulator_memory((size_t)16 << 30);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_non_null(p);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef PITH_EMULATED
        cmocka_unit_test(faults), /* before OpenMP's threads are there, which no fork has */
        cmocka_unit_test(too_small),
#endif
        cmocka_unit_test(trainings_agree), cmocka_unit_test(repeated_as_one),
        cmocka_unit_test(versions_rise),   cmocka_unit_test(two_at_once),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
