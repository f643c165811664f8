/* streams.h: what waits in a stream, for streams.cpp and capture.cpp. */
#ifndef EMULATOR_STREAMS_H
#define EMULATOR_STREAMS_H
#include "machine.h"
#include <pthread.h>

namespace emulator
{
enum task_kind { KERNEL, COPY, FILL, WAIT, STAMP, GRAPH };
/* A launch, copy, ... with all it needs, by value. */
struct task {
    task *next;
    uint64_t number; /* in its stream */
    task_kind kind;
    kernel_launch launch;
    void *to; /* of a copy or a fill */
    const void *from;
    void *staged; /* NULL, or the copy that was made at once of memory that is not pinned */
    size_t bytes;
    int value;
    cudaStream_t other; /* to wait until it has done number `until` */
    uint64_t until;
    cudaEvent_t event;
    cudaGraph_t graph;
    unsigned char closure[] __attribute__((aligned(16)));
};
task *new_task(task_kind kind, size_t closure_bytes);
void free_tasks(task *t);
/* Takes the task: into the stream's queue, or into the graph that it captures. */
cudaError_t enqueue(cudaStream_t s, task *t);
/* Copies to the host spoil it until they have been waited for. */
void spoil(const task *t);
cudaStream_t stream_of(cudaStream_t s); /* NULL: there is none of this name */
cudaError_t run_until(cudaStream_t s, uint64_t number);
cudaError_t legacy_is_free(cudaStream_t s);

enum { MOST_STREAMS = 64 };
extern struct CUstream_st streams[MOST_STREAMS]; /* streams[0]: the legacy one */
} // namespace emulator

struct CUstream_st {
    bool lives, blocking;
    emulator::task *first, **end;
    uint64_t queued, done;  /* numbers of the last task put here, and of the last one run */
    cudaGraph_t capture;    /* into which tasks go, or NULL */
    uint64_t captured_last; /* number in the capture of the last task from here */
    bool joined;            /* the capture waits for all that is captured here */
};

struct CUgraph_st {
    int references;
    unsigned serial; /* of the capture */
    emulator::task *first, **end;
    uint64_t count;
    cudaStream_t origin;
    cudaStreamCaptureMode mode;
    pthread_t thread;
    bool capturing, invalid;
};

struct CUgraphExec_st {
    cudaGraph_t graph;
};

struct CUevent_st {
    int references;
    bool timing;
    cudaStream_t stream; /* where it was recorded last; NULL: nowhere */
    uint64_t number;     /* after which task of it, or of the capture */
    unsigned captured;   /* serial of the capture it was recorded in, or 0 */
    double seconds;      /* when it happened */
};
void emulator_graph_release(cudaGraph_t g);
#endif
