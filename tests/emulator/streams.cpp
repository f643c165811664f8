/* streams.cpp: streams, and events in them. A stream does nothing until somebody waits: so what a
 * program reads without having waited is not there yet. */
#include "streams.h"
#include <stdlib.h>
#include <time.h>

namespace emulator
{
CUstream_st streams[MOST_STREAMS] = { { true, true, NULL, NULL, 0, 0, NULL, 0, false } };

task *new_task(task_kind kind, size_t closure_bytes)
{
    task *t = (task *)calloc(1, sizeof(task) + closure_bytes);
    t->kind = kind;
    return t;
}

static void release_event(cudaEvent_t e)
{
    if (e && !--e->references) free(e);
}

void free_tasks(task *t)
{
    while (t) {
        task *next = t->next;
        may_release(t->launch.allowed);
        release_event(t->event);
        emulator_graph_release(t->graph);
        free(t->staged);
        free(t);
        t = next;
    }
}

cudaStream_t stream_of(cudaStream_t s)
{
    if (!s || s == cudaStreamLegacy) return &streams[0];
    for (int k = 1; k < MOST_STREAMS; k++)
        if (s == &streams[k] && s->lives) return s;
    return NULL;
}

static void append(cudaStream_t s, task *t)
{
    if (!s->first) s->end = &s->first;
    *s->end = t, s->end = &t->next;
    t->number = ++s->queued;
}

static void append_wait(cudaStream_t s, cudaStream_t other, uint64_t until)
{
    if (other->done >= until) return;
    task *t = new_task(WAIT, 0);
    t->other = other, t->until = until;
    append(s, t);
}

void spoil(const task *t)
{
    for (const task *k = t->kind == GRAPH ? t->graph->first : NULL; k; k = k->next) spoil(k);
    if (t->kind == COPY && !in_heap(t->to)) memset(t->to, 0xcb, t->bytes);
}

cudaError_t enqueue(cudaStream_t s, task *t)
{
    if (s->capture) {
        if (s->capture->invalid) {
            free_tasks(t);
            return failed(cudaErrorStreamCaptureInvalidated);
        }
        *s->capture->end = t, s->capture->end = &t->next;
        t->number = s->captured_last = ++s->capture->count;
        s->joined = false;
        return cudaSuccess;
    }
    /* The legacy stream and the blocking ones wait for each other. */
    if (s == &streams[0]) {
        if (const cudaError_t e = legacy_is_free(s)) {
            free_tasks(t);
            return e;
        }
        for (int k = 1; k < MOST_STREAMS; k++)
            if (streams[k].lives && streams[k].blocking)
                append_wait(s, &streams[k], streams[k].queued);
    } else if (s->blocking) append_wait(s, &streams[0], streams[0].queued);
    append(s, t);
    spoil(t);
    return cudaSuccess;
}

/* ---- running ---- */

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cudaError_t run_copy(const task *t)
{
    const void *from = t->staged ? t->staged : t->from;
    const bool to_device = in_heap(t->to), from_device = in_heap(from);
    if ((to_device && !region_of(t->to, t->bytes)) || (from_device && !region_of(from, t->bytes))) {
        tell(NULL, "a copy or a fill of memory that was freed");
        return cudaErrorIllegalAddress;
    }
    if (t->kind == FILL) memset(t->to, t->value, t->bytes);
    else memmove(t->to, from, t->bytes);
    if (from_device && to_device) memory_copied(t->to, from, t->bytes);
    else if (to_device) memory_wrote(t->to, t->bytes);
    return cudaSuccess;
}

static cudaError_t run_task(const task *t)
{
    switch (t->kind) {
    case KERNEL: {
        const cudaError_t due = error_due("launch");
        if (due) tell(NULL, "%s: ends with error %d, as the test wants", t->launch.name, due);
        return due ? due : run_kernel(&t->launch);
    }
    case COPY:
    case FILL: return run_copy(t);
    case WAIT: return run_until(t->other, t->until);
    case STAMP: t->event->seconds = seconds_now(); return cudaSuccess;
    case GRAPH:
        for (const task *k = t->graph->first; k; k = k->next)
            if (const cudaError_t e = run_task(k)) return e;
        return cudaSuccess;
    }
    return cudaErrorUnknown;
}

/* After an error nothing more is run. */
static void drop_everything(void)
{
    for (CUstream_st &s : streams) {
        free_tasks(s.first);
        s.first = NULL, s.done = s.queued;
    }
}

cudaError_t run_until(cudaStream_t s, uint64_t number)
{
    if (s->done < number && !device_error) {
        memory_open();
        while (s->done < number && !device_error) {
            task *t = s->first;
            s->first = t->next;
            t->next = NULL;
            const cudaError_t e = run_task(t);
            s->done = t->number;
            free_tasks(t);
            if (e && !device_error) device_error = e;
        }
        memory_close();
    }
    if (device_error) drop_everything();
    return device_error ? failed(device_error) : cudaSuccess;
}

cudaError_t run_everything(void)
{
    for (CUstream_st &s : streams)
        if (const cudaError_t e = run_until(&s, s.queued)) return e;
    return cudaSuccess;
}

void streams_reset(void)
{
    drop_everything();
    for (CUstream_st &s : streams) {
        emulator_graph_release(s.capture);
        s.capture = NULL;
        s.lives = &s == &streams[0];
    }
}
} // namespace emulator
using namespace emulator;

static bool wrong_launch(dim3 grid, dim3 block)
{
    return !grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 ||
           grid.z > 65535 || !block.x || !block.y || !block.z || block.x > 1024 || block.y > 1024 ||
           block.z > 64 || block.x * block.y * block.z > 1024;
}

cudaError_t emulator_launch(const char *name, const void *kernel, dim3 grid, dim3 block,
                            size_t shared, cudaStream_t stream, void (*call)(void *closure),
                            const void *closure, size_t bytes)
{
    EMULATOR_CALL(cudaLaunchKernel);
    if (wrong_launch(grid, block)) return failed(cudaErrorInvalidConfiguration);
    if (shared > shared_allowed(kernel)) return failed(cudaErrorInvalidValue);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    task *t = new_task(KERNEL, bytes);
    memcpy(t->closure, closure, bytes);
    t->launch = { name, kernel, grid, block, shared, call, t->closure, may_now() };
    return enqueue(stream, t);
}

extern "C" {
int emulator_waiting(void)
{
    int count = 0;
    for (const CUstream_st &s : streams)
        for (const task *t = s.first; t; t = t->next) count++;
    return count;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    EMULATOR_CALL(cudaStreamCreateWithFlags);
    if (!stream || flags > cudaStreamNonBlocking) return failed(cudaErrorInvalidValue);
    for (int k = 1; k < MOST_STREAMS; k++)
        if (!streams[k].lives && !streams[k].first) {
            /* Its numbers go on: events may name them. */
            streams[k].lives = true, streams[k].blocking = !flags;
            *stream = &streams[k];
            return cudaSuccess;
        }
    return failed(cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    EMULATOR_CALL(cudaStreamDestroy);
    if (!stream || !stream_of(stream) || stream == cudaStreamLegacy)
        return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture) {
        stream->capture->invalid = true;
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    const cudaError_t e = run_until(stream, stream->queued);
    stream->lives = false;
    return e;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    EMULATOR_CALL(cudaStreamQuery);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    return stream->done == stream->queued ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    EMULATOR_CALL(cudaStreamSynchronize);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture) {
        stream->capture->invalid = true;
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    if (stream == &streams[0]) {
        if (const cudaError_t e = legacy_is_free(stream)) return e;
        for (int k = 1; k < MOST_STREAMS; k++)
            if (streams[k].blocking)
                if (const cudaError_t e = run_until(&streams[k], streams[k].queued)) return e;
    }
    return run_until(stream, stream->queued);
}

cudaError_t cudaDeviceSynchronize(void)
{
    EMULATOR_CALL(cudaDeviceSynchronize);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    return run_everything();
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    EMULATOR_CALL(cudaEventCreateWithFlags);
    if (!event || flags > 7) return failed(cudaErrorInvalidValue);
    *event = (cudaEvent_t)calloc(1, sizeof **event);
    (*event)->references = 1;
    (*event)->timing = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    EMULATOR_CALL(cudaEventDestroy);
    if (!event) return failed(cudaErrorInvalidResourceHandle);
    release_event(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    EMULATOR_CALL(cudaEventRecord);
    if (!event || !(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture) {
        if (stream->capture->invalid) return failed(cudaErrorStreamCaptureInvalidated);
        event->stream = stream, event->number = stream->capture->count;
        event->captured = stream->capture->serial;
        return cudaSuccess;
    }
    task *t = new_task(STAMP, 0);
    t->event = event, event->references++;
    if (const cudaError_t e = enqueue(stream, t)) return e;
    event->stream = stream, event->number = stream->queued, event->captured = 0;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    EMULATOR_CALL(cudaEventSynchronize);
    if (!event) return failed(cudaErrorInvalidResourceHandle);
    if (event->captured) {
        for (CUstream_st &s : streams)
            if (s.capture && s.capture->serial == event->captured) s.capture->invalid = true;
        return failed(cudaErrorCapturedEvent);
    }
    return event->stream ? run_until(event->stream, event->number) : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    EMULATOR_CALL(cudaEventElapsedTime);
    if (!from || !to || !from->timing || !to->timing || !from->stream || !to->stream)
        return failed(cudaErrorInvalidResourceHandle);
    if (from->captured || to->captured) return failed(cudaErrorCapturedEvent);
    if (from->stream->done < from->number || to->stream->done < to->number)
        return failed(cudaErrorNotReady);
    *milliseconds = (float)(1e3 * (to->seconds - from->seconds));
    return cudaSuccess;
}
}
