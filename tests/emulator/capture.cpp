/* capture.cpp: streams that capture, and the graphs they make. A graph holds tasks as they were put
 * on the stream, with the addresses they had, and runs them in that order. */
#include "streams.h"
#include <stdlib.h>

static unsigned captures;

void emulator_graph_release(cudaGraph_t g)
{
    if (!g || --g->references) return;
    emulator::free_tasks(g->first);
    free(g);
}

namespace emulator
{
cudaError_t unsafe_while_capturing(void)
{
    bool any = false;
    for (CUstream_st &s : streams) {
        const cudaGraph_t g = s.capture;
        if (!g || g->mode == cudaStreamCaptureModeRelaxed) continue;
        if (g->mode == cudaStreamCaptureModeThreadLocal &&
            !pthread_equal(g->thread, pthread_self()))
            continue;
        g->invalid = any = true;
    }
    return any ? failed(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

/* Work on the legacy stream would have to wait for the blocking streams that capture. */
cudaError_t legacy_is_free(cudaStream_t s)
{
    bool any = false;
    if (s != &streams[0]) return cudaSuccess;
    for (CUstream_st &other : streams)
        if (other.capture && other.blocking) other.capture->invalid = any = true;
    return any ? failed(cudaErrorStreamCaptureImplicit) : cudaSuccess;
}

static void leave_capture(cudaGraph_t g)
{
    for (CUstream_st &s : streams)
        if (s.capture == g) {
            s.capture = NULL;
            emulator_graph_release(g);
        }
}

static void join_capture(cudaStream_t s, cudaGraph_t g)
{
    s->capture = g, s->joined = false, s->captured_last = 0;
    g->references++;
}
} // namespace emulator
using namespace emulator;

extern "C" {
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    EMULATOR_CALL(cudaStreamBeginCapture);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    if (stream == &streams[0]) return failed(cudaErrorStreamCaptureUnsupported);
    if (stream->capture) return failed(cudaErrorIllegalState);
    cudaGraph_t g = (cudaGraph_t)calloc(1, sizeof *g);
    g->serial = ++captures;
    g->end = &g->first;
    g->origin = stream, g->mode = mode, g->thread = pthread_self();
    g->capturing = true;
    join_capture(stream, g);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    EMULATOR_LOCKED();
    const cudaError_t due = error_due("cudaStreamEndCapture"); /* it ends all the same */
    if (!graph) return failed(cudaErrorInvalidValue);
    *graph = NULL;
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    const cudaGraph_t g = stream->capture;
    if (!g) return failed(cudaErrorIllegalState);
    if (g->mode != cudaStreamCaptureModeRelaxed && !pthread_equal(g->thread, pthread_self()))
        return failed(cudaErrorStreamCaptureWrongThread);
    cudaError_t e = cudaSuccess;
    for (const CUstream_st &s : streams)
        if (s.capture == g && &s != stream && !s.joined) e = cudaErrorStreamCaptureUnjoined;
    if (g->origin != stream) e = cudaErrorStreamCaptureUnmatched;
    if (g->invalid) e = cudaErrorStreamCaptureInvalidated;
    if (due) e = due;
    if (!e) g->references++;
    g->capturing = false;
    leave_capture(g);
    if (e) return failed(e);
    *graph = g;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    EMULATOR_CALL(cudaStreamIsCapturing);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    if (const cudaError_t e = legacy_is_free(stream)) return e;
    *status = !stream->capture           ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    EMULATOR_CALL(cudaStreamWaitEvent);
    if (!event || !(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    if (flags) return failed(cudaErrorInvalidValue);
    if (!event->stream) return cudaSuccess;
    if (!event->captured) {
        if (stream->capture) {
            stream->capture->invalid = true;
            return failed(cudaErrorStreamCaptureIsolation);
        }
        if (event->stream->done >= event->number) return cudaSuccess;
        task *t = new_task(WAIT, 0);
        t->other = event->stream, t->until = event->number;
        return enqueue(stream, t);
    }
    const cudaGraph_t g = event->stream->capture;
    if (!g || g->serial != event->captured) return failed(cudaErrorCapturedEvent);
    if (stream == &streams[0]) {
        g->invalid = true;
        return failed(cudaErrorStreamCaptureImplicit);
    }
    if (stream->capture && stream->capture != g) {
        g->invalid = stream->capture->invalid = true;
        return failed(cudaErrorStreamCaptureMerge);
    }
    if (g->invalid) return failed(cudaErrorStreamCaptureInvalidated);
    if (!stream->capture) join_capture(stream, g);
    /* Has anything been captured in that stream since? */
    if (event->stream != stream && event->number >= event->stream->captured_last)
        event->stream->joined = true;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    EMULATOR_CALL(cudaGraphInstantiate);
    if (!exec || !graph) return failed(cudaErrorInvalidValue);
    *exec = (cudaGraphExec_t)malloc(sizeof **exec);
    (*exec)->graph = graph, graph->references++;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    EMULATOR_CALL(cudaGraphLaunch);
    if (!exec) return failed(cudaErrorInvalidValue);
    if (!(stream = stream_of(stream))) return failed(cudaErrorInvalidResourceHandle);
    task *t = new_task(GRAPH, 0);
    t->graph = exec->graph, t->graph->references++;
    return enqueue(stream, t);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    EMULATOR_CALL(cudaGraphExecDestroy);
    if (!exec) return failed(cudaErrorInvalidValue);
    emulator_graph_release(exec->graph);
    free(exec);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    EMULATOR_CALL(cudaGraphDestroy);
    if (!graph) return failed(cudaErrorInvalidValue);
    emulator_graph_release(graph);
    return cudaSuccess;
}
}
