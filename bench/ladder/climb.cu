/* climb.cu: makes an op's inputs, lets the CPU compute it, runs each rung on the device, compares
 * and times. */
#include <stdlib.h>
#include "cuda/launch.h"
#include "device/device.h"
#include "ladder.h"

enum { MOST_INPUTS = 4, MOST_RESULTS = 3, ROUNDS = 5, LAUNCHES = 10 };

/* An op on its inputs, and copies of them on the device. */
typedef struct {
    const pith_backend *device;
    pith_store *store;
    pith_graph *g;
    node *n;
    pith_plan *plan;
    int results;
    float *right[MOST_RESULTS], *made; /* by the CPU; by the device, one at a time */
    void *in[MOST_INPUTS], *out[MOST_RESULTS];
} trial;

bool page_launch(const pith_call *call) { return call->n->op->cuda(call); }

size_t page_scratch(const node *n) { return n->op->cuda_scratch ? n->op->cuda_scratch(n) : 0; }

double entries(const int *size) { return (double)size[0] * size[1]; }

static void *room_on(const pith_backend *device, size_t bytes)
{
    void *p = device->allocate(bytes, false);
    if (!p) pith_raise("the device has no room for %zu bytes", bytes);
    return p;
}

/* What the CPU makes of it; inputs are copied to the device as the plan has them. */
static bool begin(trial *t, const ladder *l, const int *size)
{
    t->store = pith_store_new();
    t->g = t->store ? pith_graph_new(t->store, 7) : NULL;
    if (!t->g) return false;
    t->n = l->make(t->g, size);
    if (!t->n || pith_graph_error(t->g)) return false;
    t->results = t->n->op->results ? t->n->op->results : 1;
    node *wanted[MOST_RESULTS];
    size_t largest = 0;
    for (int k = 0; k < t->results; k++) wanted[k] = pith_result(t->n, k);
    pith_plan_options options = {};
    options.unplanned = true; /* so that inputs can be read */
    t->plan = pith_plan_new(t->g, t->results, wanted, &options);
    if (!t->plan || !pith_run(t->plan)) return false;
    for (int k = 0; k < t->results; k++) {
        const size_t bytes = pith_bytes(wanted[k]);
        largest = bytes > largest ? bytes : largest;
        t->right[k] = (float *)malloc(bytes);
        t->out[k] = room_on(t->device, bytes);
        if (!t->right[k] || !t->out[k] || !pith_value(t->plan, wanted[k], t->right[k]))
            return false;
    }
    for (int k = 0; k < t->n->n_in; k++) {
        const size_t bytes = pith_bytes(t->n->in[k]);
        void *copy = malloc(bytes);
        t->in[k] = room_on(t->device, bytes);
        const bool good = copy && t->in[k] && pith_value(t->plan, t->n->in[k], copy) &&
                          t->device->write(t->in[k], copy, bytes);
        free(copy);
        if (!good) return false;
    }
    t->made = (float *)malloc(largest);
    return t->made != NULL;
}

static void end(trial *t)
{
    for (int k = 0; k < MOST_INPUTS; k++) t->device->release(t->in[k]);
    for (int k = 0; k < MOST_RESULTS; k++) t->device->release(t->out[k]), free(t->right[k]);
    free(t->made);
    pith_plan_free(t->plan);
    pith_graph_free(t->g);
    pith_store_free(t->store);
}

static double largest_difference(const float *made, const float *right, size_t count)
{
    double error = 0, largest = 1e-30;
    for (size_t i = 0; i < count; i++) {
        const double difference = fabs((double)made[i] - (double)right[i]);
        if (!(difference <= error)) error = isnan(difference) ? INFINITY : difference;
        largest = fmax(largest, fabs((double)right[i]));
    }
    return error / largest;
}

#ifdef PITH_EMULATE
extern "C" size_t emulator_asked(void); /* control.h */
#else
static size_t emulator_asked(void) { return 0; }
#endif

static bool check(trial *t, const rung *r, const pith_call *call, finding *found)
{
    /* NaN, so that what a rung leaves out is not there from the rung before */
    for (int k = 0; k < t->results; k++)
        if (cudaMemsetAsync(t->out[k], 0xff, pith_bytes(pith_result(t->n, k)),
                            (cudaStream_t)call->stream) != cudaSuccess)
            return pith_raise("results cannot be filled with NaN");
    emulator_asked();
    if (!r->launch(call) || !t->device->wait(t->n)) return false;
    found->asked = (double)emulator_asked();
    found->error = 0;
    for (int k = 0; k < t->results; k++) {
        const node *y = pith_result(t->n, k);
        if (!t->device->read(t->made, t->out[k], pith_bytes(y))) return false;
        found->error = fmax(found->error, largest_difference(t->made, t->right[k], pith_size(y)));
    }
    return true;
}

/* Seconds of one of several launches or copies: of all rounds the least, since what else happens on
 * a machine only ever adds time. Two events lie in the stream before and behind a round's. The
 * check, or the first round, has brought code and clocks up. */
static double least_seconds(const pith_backend *device, const rung *r, const pith_call *call,
                            void *to, size_t bytes)
{
    const cudaStream_t stream = (cudaStream_t)device->stream();
    cudaEvent_t before, behind;
    float least = INFINITY, milliseconds = 0;
    if (cudaEventCreate(&before) != cudaSuccess || cudaEventCreate(&behind) != cudaSuccess)
        return pith_raise("events cannot be made"), 0;
    bool good = true;
    for (int round = 0; round < ROUNDS && good; round++) {
        good = cudaEventRecord(before, stream) == cudaSuccess;
        for (int k = 0; k < LAUNCHES && good; k++)
            good = r ? r->launch(call) : device->copy(to, (char *)to + bytes, bytes);
        good = good && cudaEventRecord(behind, stream) == cudaSuccess && device->wait(NULL) &&
               cudaEventElapsedTime(&milliseconds, before, behind) == cudaSuccess;
        if (good && milliseconds < least) least = milliseconds;
    }
    cudaEventDestroy(before), cudaEventDestroy(behind);
    return good ? (double)least / 1000 / LAUNCHES : (pith_raise("a rung cannot be timed"), 0);
}

/* Of the emulated device: a rung that goes beyond its tensors is told. */
static void name_memory(const trial *t, const pith_call *call, size_t scratch)
{
    if (!t->device->may_touch) return;
    t->device->may_touch(NULL, 0, false);
    for (int k = 0; k < t->n->n_in; k++)
        t->device->may_touch(t->in[k], pith_bytes(t->n->in[k]), false);
    for (int k = 0; k < t->results; k++)
        t->device->may_touch(t->out[k], pith_bytes(pith_result(t->n, k)), true);
    if (scratch) t->device->may_touch(call->scratch, scratch, true);
}

static bool climb_one(trial *t, const rung *r, bool timed, finding *found)
{
    const size_t bytes = r->scratch ? r->scratch(t->n) : 0;
    pith_call call = {};
    call.n = t->n, call.in = t->in, call.out = t->out, call.stream = t->device->stream();
    if (bytes && !(call.scratch = room_on(t->device, bytes))) return false;
    name_memory(t, &call, bytes);
    bool good = check(t, r, &call, found);
    if (good && timed) {
        found->seconds = least_seconds(t->device, r, &call, NULL, 0);
        good = found->seconds > 0;
    }
    t->device->release(call.scratch);
    return good;
}

bool climb(const ladder *l, const int *size, bool timed, finding *found)
{
    trial t = {};
    t.device = pith_backend_of(PITH_CUDA);
    if (!t.device) return false;
    bool good = begin(&t, l, size);
    for (int k = 0; good && k < MOST_RUNGS && l->rungs[k].name; k++)
        good = climb_one(&t, &l->rungs[k], timed, &found[k]);
    end(&t);
    return good;
}

/* 256 MiB each way: more than any cache holds. */
double copy_rate(void)
{
    const size_t bytes = (size_t)256 << 20;
    const pith_backend *device = pith_backend_of(PITH_CUDA);
    void *both = device ? room_on(device, 2 * bytes) : NULL;
    const double seconds = both ? least_seconds(device, NULL, NULL, both, bytes) : 0;
    if (device) device->release(both);
    return seconds > 0 ? 2 * (double)bytes / seconds : 0;
}
