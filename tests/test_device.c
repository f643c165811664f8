/* test_device.c: whole training graphs on a device of its own, beside the CPU: the same losses and
 * the same weights within rounding, step after step (more of them: test_device_graphs.c);
 * recordings repeat what single steps do, bit for bit. Without a GPU the device is the emulated
 * one; in a build with CUDA on a machine without a GPU there is nothing to test. */
#include <pthread.h>
#include <sys/wait.h>
#include "device_training.h"

static void trainings_agree(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < sizeof models_trained / sizeof *models_trained; k++)
        agree(&models_trained[k]);
}

/* Single steps, as a plan that is timed runs them, and the recording: the same bits. */
static void repeated_as_one(void **unused)
{
    (void)unused;
    training once = train(store_on_device(), &models_trained[0]),
             again = train(store_on_device(), &models_trained[0]);
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
    training t = train(store_on_device(), &models_trained[0]);
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
    *t = prepare(store_on_device(), &models_trained[0], false);
    run(t);
    return NULL;
}

/* Trainings of two stores from two threads, each with the bits of one alone. */
static void two_at_once(void **unused)
{
    (void)unused;
    training alone = train(store_on_device(), &models_trained[0]), two[2];
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
    enum {
        ANY,
        WATCHED,
        NOTED
    } run; /* each step waited for; from the second run on, a recording */
    /* the second: by a run after that, whether a file could be saved, and how often the device was
       asked for anything from then on; NULL: all goes well */
    const char *said, *said_later;
} fault;

static int told;
static void count_told(const char *message, void *context) { (void)message, (void)context, told++; }

/* In a process of its own, for a device that is lost stays lost. */
static void try_fault(const fault *f, int to)
{
    char text[600], path[] = "/tmp/pith-lost-device-XXXXXX";
    training t = prepare(store_on_device(), &models_trained[0], f->run == WATCHED);
    pith_on_error(count_told, NULL);
    if (f->run == NOTED && !pith_run(t.plan)) abort();
    if (t.plan) emulator_fail(f->function, f->nth, f->error);
    const bool good = t.plan && try_run(&t);
    const char *why = told ? pith_error() : good ? pith_not_repeated(t.plan) : NULL;
    int size = snprintf(text, sizeof text, "%d %d %.250s", good, told, why ? why : "");
    if (!good) {
        told = 0;
        const long calls = emulator_calls(NULL);
        const bool later = t.plan && try_run(&t);
        close(mkstemp(path));
        const bool saved = pith_store_save(t.store, path, PITH_WEIGHT);
        end(&t);
        size += snprintf(text + size, sizeof text - (size_t)size, "\n%d %d %ld %.250s", later,
                         saved, emulator_calls(NULL) - calls, pith_error());
    }
    unlink(path);
    if (write(to, text, (size_t)size) != size) abort();
    _exit(0);
}

static void faults(void **unused)
{
    (void)unused;
    static const fault list[] = {
        { "a kernel that cannot be started", "cudaLaunchKernel", 5, 1, ANY,
          "0 1 models/|the kernel cannot be started: invalid argument", NULL },
        { "the same while it is noted", "cudaLaunchKernel", 5, 1, NOTED,
          "0 1 models/|the kernel cannot be started: invalid argument", NULL },
        { "a kernel that is started on a lost device", "cudaLaunchKernel", 5, 719, ANY,
          "0 1 CUDA: the device is lost at models/|, or before: unspecified launch failure",
          "0 0 0 the CUDA device is lost: models/" },
        { "the same while it is noted", "cudaLaunchKernel", 5, 719, NOTED,
          "0 1 CUDA: the device is lost at models/|, or before: unspecified launch failure",
          "0 0 0 the CUDA device is lost: models/" },
        { "a kernel that fails", "launch", 40, 700, ANY,
          "0 1 CUDA: waiting for the device: an illegal memory access was encountered",
          "0 0 0 the CUDA device is lost: waiting for the device: an illegal memory access" },
        { "the same, watched", "launch", 40, 700, WATCHED,
          "0 1 CUDA: models/|: an illegal memory access was encountered",
          "0 0 0 the CUDA device is lost: models/" },
        { "a copy that fails", "cudaMemcpyAsync", 3, 719, ANY,
          "0 1 CUDA: a copy to the device: unspecified launch failure",
          "0 0 0 the CUDA device is lost: a copy to the device" },
        { "a copy that cannot be waited for", "cudaEventRecord", 3, 719, ANY,
          "0 1 CUDA: a copy to the device: unspecified launch failure",
          "0 0 0 the CUDA device is lost: a copy to the device" },
        { "a copy back that fails", "cudaMemcpyAsync", 6, 719, ANY,
          "0 1 CUDA: a copy from the device: unspecified launch failure",
          "0 0 0 the CUDA device is lost: a copy from the device" },
        { "a run that cannot be noted", "cudaStreamBeginCapture", 1, 801, ANY,
          "1 0 operation not supported", NULL },
        { "the same on a lost device", "cudaStreamBeginCapture", 1, 719, ANY,
          "0 1 the CUDA device is lost: a recording: unspecified launch failure",
          "0 0 0 the CUDA device is lost: a recording" },
        { "a run that cannot be recorded", "cudaGraphInstantiate", 1, 801, ANY,
          "1 0 operation not supported", NULL },
        { "the same on a lost device", "cudaGraphInstantiate", 1, 719, ANY,
          "0 1 the CUDA device is lost: a recording: unspecified launch failure",
          "0 0 0 the CUDA device is lost: a recording" },
        { "a recording that fails", "cudaGraphLaunch", 2, 719, ANY, "0 1 CUDA: a run: unspecified",
          "0 0 0 the CUDA device is lost: a run" },
    };
    /* its chains, once */
    training compiled = prepare(store_on_device(), &models_trained[0], false);
    end(&compiled);
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
}

/* Where a second copy of what is fed has no room, it is brought when it is run. */
static void no_room_ahead(void **unused)
{
    (void)unused;
    enum { N = 5 << 20 }; /* more than half a slab: it has one of its own */
    pith_store *store = store_on_device();
    pith_graph *g = pith_graph_new(store, 1);
    pith_node *x = pith_input(g, "x", PITH_F32, N), *y = pith_max(x, PITH_ALL);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    real *data = calloc(N, sizeof *data);
    emulator_shadow = false;
    emulator_memory(emulator_in_use());
    for (int k = 0; k < 4; k++) {
        data[k] = (real)(k + 1);
        assert_true(pith_feed(p, x, data) && pith_prefetch(p) && pith_run(p));
        assert_true(pith_scalar(p, y) == k + 1);
    }
    emulator_shadow = true;
    emulator_memory((size_t)16 << 30);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
    free(data);
}

/* Tensors that lie elsewhere than the plan cannot be reached. */
static void two_devices(void **unused)
{
    (void)unused;
    pith_store *store[2] = { store_on_device(), pith_store_new() };
    for (int k = 0; k < 2; k++) {
        pith_graph *g = pith_graph_new(store[k], 1);
        pith_use_store(g, store[1 - k], "teacher", true);
        pith_node *w = pith_param(g, "w", PITH_CONSTANT, 1, 100);
        pith_leave_store(g);
        pith_node *y = pith_sum(w, PITH_ALL);
        assert_null(pith_plan_new(g, 1, &y, NULL));
        assert_non_null(strstr(pith_error(), "w lies on another device than the plan's store"));
        pith_graph_free(g);
    }
    for (int k = 0; k < 2; k++) pith_store_free(store[k]);
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
    said("no memory for large, which has 67108864 bytes, and ");
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
        cmocka_unit_test(too_small),       cmocka_unit_test(no_room_ahead),
        cmocka_unit_test(two_devices),
#endif
        cmocka_unit_test(trainings_agree), cmocka_unit_test(repeated_as_one),
        cmocka_unit_test(versions_rise),   cmocka_unit_test(two_at_once),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
