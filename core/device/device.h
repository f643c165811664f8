/* device.h: what the engine asks of the device that a store's memory and the values of its plans
 * lie on. The CPU is one (host.c); cuda/device.cu is another. */
#ifndef PITH_DEVICE_H
#define PITH_DEVICE_H
#include "core.h"
#ifdef __cplusplus
extern "C" {
#endif

/* One of the chains that a launch starts: its memory and its elements. */
typedef struct {
    void *const *memory;
    size_t count;
} pith_job;
/* What a launch may be told, and what of that a job takes: pointers, a count, and a last block. */
enum { PITH_LAUNCH_BYTES = 4096 };
static inline size_t pith_job_size(int n_memory) { return 8 * (size_t)n_memory + 16; }

/* Functions that return bool give false after pith_raise. Work is done in the order in which it is
 * asked for; a device may be late with it, and then an error is told by a later call. */
typedef struct {
    size_t alignment; /* of what .allocate returns, and of blocks in an arena */
    /* Memory, zeros if asked for; NULL, with nothing said, where there is not so much. */
    void *(*allocate)(size_t bytes, bool zeros);
    void (*release)(void *memory); /* NULL is allowed */
    size_t (*free_bytes)(void);    /* about as many can still be allocated */
    /* To the device and from it: afterwards the host's memory may be used for something else. */
    bool (*write)(void *to, const void *host, size_t bytes);
    bool (*read)(void *host, const void *from, size_t bytes);
    bool (*copy)(void *to, const void *from, size_t bytes); /* inside the device */
    /* Until all is done. What goes wrong before is told here, as n's if there is one. */
    bool (*wait)(const node *n);

    /* The rest only where kernels run on another device than the host. */
    size_t (*taken)(void); /* bytes of its memory that anybody has */
    /* Kernels chain_0 and on from source, as chain_source.c writes it. Why there is no compiler:
     * then ops of chains run one by one; NULL: there is one. */
    const char *(*not_compiled)(void);
    bool (*compile)(const char *source, int n, void **kernels);
    bool (*launch)(const pith_call *call, const void *kernel, int n_jobs, const pith_job *jobs,
                   int n_memory);
    /* Of the emulated device alone, else NULL: adds to the memory that kernels launched from now on
     * may touch; bytes 0 empties that list. */
    void (*may_touch)(const void *p, size_t bytes, bool write);
    void *(*stream)(void); /* what kernels find in call->stream; NULL after an error: none works */
    bool (*takes_bf16)(void); /* do kernels? */
    /* .send is .write beside what the stream does; .take, on the stream, copies what was sent to
     * where kernels read it. What is sent next to the same place waits for that copy. */
    bool (*send)(void *to, const void *host, size_t bytes);
    bool (*take)(void *to, const void *sent, size_t bytes);
    /* Stream capture: from .begin_capture on what is asked for is recorded, not done; .end_capture
     * gives the recording, NULL where it is not wanted. False, or NULL, with `why`: it cannot be
     * recorded; without: the device is lost, which the next call tells. */
    bool (*begin_capture)(char *why, size_t size);
    void *(*end_capture)(bool wanted, char *why, size_t size);
    bool (*replay)(const void *recording); /* do all of it */
    void (*free_recording)(void *recording);
} pith_backend;

/* NULL after an error where this machine, or this build, has no such device. */
const pith_backend *pith_backend_of(pith_device device);
#ifdef PITH_WITH_CUDA
/* cuda/device.cu; NULL where there is none, and then *why says so. */
const pith_backend *pith_cuda(const char **why);
#endif
#ifdef __cplusplus
}
#endif
#endif
