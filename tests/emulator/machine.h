/* machine.h: what the emulator's own pages know of each other. They are compiled without hooks. */
#ifndef EMULATOR_MACHINE_H
#define EMULATOR_MACHINE_H
#define EMULATOR_INSIDE
#include "emulator.h"
#include "control.h"

void emulator_unlock(const int *);
namespace emulator
{
enum {
    MOST_THREADS = 1024,
    LANES = 32,
    MOST_WARPS = MOST_THREADS / LANES,
    DYNAMIC_SHARED = 227 << 10, /* at most, where it was asked for; */
    STATIC_SHARED = 48 << 10,   /* and without asking */
};

/* ---- fibres.cpp ---- */

/* Number of the thread that runs, in its block; -1: the host. One system thread runs kernels at a
 * time, and others may look meanwhile. */
extern __thread int current __attribute__((tls_model("initial-exec")));
extern int block_threads; /* of the block that runs */
/* Stacks of all fibres, and of the one that runs. */
extern char *stacks, *own_stack;
extern const size_t STACK_BYTES, STACKS_BYTES;

struct may;
struct kernel_launch {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t shared;
    void (*call)(void *closure);
    void *closure;
    may *allowed; /* NULL: anything */
};
cudaError_t run_kernel(const kernel_launch *l);
unsigned block_serial(void); /* of the block that runs: each has another one */

/* Ends the kernel that runs; `site`: an address in the code that did it, 0 if unknown. */
[[noreturn]] void kernel_fault(cudaError_t error, const void *site, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Keeps the first message until it is taken. */
void tell(const void *site, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- shadow.cpp ---- */

/* Who used a word last, and when. */
struct stamp {
    uint32_t time; /* grows with every block and barrier */
    uint32_t who : 11, warp_time : 13, bytes : 4, more : 4;
};
/* The shadow of a word of 4 bytes. write.more: which bytes were ever written; read.more: below. */
struct cell {
    stamp write, read;
};
enum { ON_ITS_WAY = 1, BY_ATOMIC = 2 };

void shadow_launch(const kernel_launch *l);
void shadow_block(void);
void shadow_barrier(void);
void shadow_warp_barrier(int warp);
enum touch_kind { READ, WRITE, ATOMIC };
void touch(const void *p, size_t bytes, touch_kind kind, const void *site);
/* Words that an asynchronous copy will write; and that it has written. */
void shadow_expect(void *p, size_t bytes, const void *site);
void shadow_arrive(void *p, size_t bytes);

/* ---- traffic.cpp ---- */

extern bool traffic_counts;
void traffic_launch(const kernel_launch *l);
void traffic_block(void);
void traffic_touch(const void *p, size_t bytes, touch_kind kind, const void *site);

/* ---- memory.cpp ---- */

struct region {
    char *from, *to;
    cell *cells;
};
extern char *heap;
extern size_t heap_bytes;
static inline bool in_heap(const void *p) { return (size_t)((const char *)p - heap) < heap_bytes; }
size_t memory_total(void);
int region_count(void);
region *region_at(int i);
region *region_of(const void *p, size_t bytes); /* NULL: not all in one buffer that lives */
bool is_pinned(const void *p);
void memory_wrote(void *to, size_t bytes);
void memory_copied(void *to, const void *from, size_t bytes);
void memory_open(void); /* lets this system thread touch device memory, until as many closes */
void memory_close(void);
void memory_reset(void);

/* What a step named. */
struct range {
    char *from, *to;
    bool write;
};
struct may {
    int references, count, room;
    range *ranges;
};
may *may_now(void); /* with one more reference; NULL: anything */
void may_release(may *m);

/* ---- streams.cpp ---- */

cudaError_t run_everything(void); /* until every stream is empty */
void streams_reset(void);
/* While this thread captures: makes the capture invalid, and returns the error. */
cudaError_t unsafe_while_capturing(void);

/* ---- runtime.cpp ---- */

size_t shared_allowed(const void *kernel); /* dynamic, at its launches */

extern cudaError_t device_error; /* sticky: every later call returns it */
cudaError_t failed(cudaError_t error);
cudaError_t error_due(const char *function); /* was this call told to fail? */
/* To be called first in each function of the runtime: it is counted, may be told to fail, fails
 * after a sticky error, and holds the lock until it returns. */
void lock(void);
#define EMULATOR_LOCKED()                                                                          \
    const int locked __attribute__((cleanup(emulator_unlock))) = (emulator::lock(), 0);            \
    (void)locked
#define EMULATOR_CALL(function)                                                                    \
    EMULATOR_LOCKED();                                                                             \
    if (const cudaError_t due = emulator::error_due(#function)) return emulator::failed(due)
} // namespace emulator
#endif
