/* fibres.cpp: the threads of a block, one after the other on one system thread. Each has a stack of
 * its own from when it begins; it runs until it must wait, and the next one that may run is taken,
 * in an order that the test chooses. Blocks run one after the other. */
#include "machine.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx, blockDim, gridDim; /* of the thread that runs */
int emulator_order;

namespace emulator
{
/* No power of two, so that the tops of stacks do not compete for the same lines of the cache. */
const size_t STACK_BYTES = (64 << 10) + 1088, STACKS_BYTES = MOST_THREADS * STACK_BYTES;

enum thread_state { READY, AT_BARRIER, AT_WARP, ENDED };
struct thread {
    bool begun;
    thread_state state;
    uint3 index;
    char *stack;
#ifdef __x86_64__
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    int position; /* in the order */
    /* what it waits for */
    const char *file;
    int line;
    unsigned mask;
    emulator_exchange *exchange;
    void *mine;
};
static thread threads[MOST_THREADS];
static unsigned warp_waits[MOST_WARPS];   /* lanes that wait for others of their warp */
static int order[MOST_THREADS];           /* thread at each position */
static uint64_t ready[MOST_THREADS / 64]; /* bits of positions */
static int position;                      /* of the thread that runs */
static int ended, at_barrier, barrier_sum, barrier_result;

__thread int current = -1;
int block_threads;
char *stacks, *own_stack;
static char *free_stacks[MOST_THREADS];
static int free_stack_count;

static const kernel_launch *launched;
static cudaError_t outcome; /* of the launch that runs */
static unsigned blocks_run;

unsigned block_serial(void) { return blocks_run; }

/* ---- from one fibre to another ---- */

static void fibre(void);

#ifdef __x86_64__
static void *launcher_pointer;
/* Registers that a callee saves go to the old stack, and come from the new one. */
extern "C" void emulator_switch(void **save, void *load);
__asm__(".text\n.globl emulator_switch\nemulator_switch:\n"
        " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");

static void prepare(thread *t)
{
    void **top = (void **)((uintptr_t)(t->stack + STACK_BYTES) & ~(uintptr_t)15) - 2;
    top[0] = (void *)fibre; /* where `ret` goes */
    t->stack_pointer = top - 6;
}

static void jump(int from, int to)
{
    emulator_switch(from < 0 ? &launcher_pointer : &threads[from].stack_pointer,
                    to < 0 ? launcher_pointer : threads[to].stack_pointer);
}
#else
static ucontext_t launcher_context;
static void prepare(thread *t)
{
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&t->context, fibre, 0);
}

static void jump(int from, int to)
{
    swapcontext(from < 0 ? &launcher_context : &threads[from].context,
                to < 0 ? &launcher_context : &threads[to].context);
}
#endif

static void set_ready(int t)
{
    threads[t].state = READY;
    ready[threads[t].position / 64] |= (uint64_t)1 << threads[t].position % 64;
}

static void set_waiting(int t, thread_state state)
{
    threads[t].state = state;
    ready[threads[t].position / 64] &= ~((uint64_t)1 << threads[t].position % 64);
}

/* The next thread in the ring that may run; -1: none. */
static int next_ready(void)
{
    const int words = MOST_THREADS / 64, first = position + 1;
    uint64_t bits = ready[first / 64 % words] & ~(uint64_t)0 << first % 64;
    for (int k = 0; k <= words; bits = ready[(first / 64 + ++k) % words])
        if (bits) {
            position = (first / 64 + k) % words * 64 + __builtin_ctzll(bits);
            return order[position];
        }
    return -1;
}

static void become(int t)
{
    current = t;
    threadIdx = threads[t].index;
    own_stack = threads[t].stack;
}

static void go_to(int t)
{
    const int from = current;
    if (t == from) return;
    if (t < 0) {
        current = -1;
    } else {
        if (!threads[t].begun) {
            threads[t].begun = true;
            threads[t].stack = free_stacks[--free_stack_count];
            prepare(&threads[t]);
        }
        become(t);
    }
    jump(from, t);
}

/* A thread from beginning to end, and then, on the same stack, others that have not begun: where
 * nobody waits, a whole block runs without a switch. */
static void fibre(void)
{
    for (;;) {
        launched->call(launched->closure);
        set_waiting(current, ENDED);
        ended++;
        const int next = next_ready();
        char *const stack = threads[current].stack;
        if (next >= 0 && !threads[next].begun) {
            threads[next].begun = true;
            threads[next].stack = stack;
            become(next);
        } else {
            free_stacks[free_stack_count++] = stack;
            go_to(next);
        }
    }
}

/* What the thread that runs did. */
static void note(const void *site, const char *format, va_list a)
{
    char what[256], where[160] = "";
    vsnprintf(what, sizeof what, format, a);
    const thread *t = &threads[current];
    if (t->file) snprintf(where, sizeof where, ", last waited at %s:%d", t->file, t->line);
    tell(site, "%s: block (%u, %u, %u) thread (%u, %u, %u): %s%s", launched->name, blockIdx.x,
         blockIdx.y, blockIdx.z, t->index.x, t->index.y, t->index.z, what, where);
}

void kernel_fault(cudaError_t error, const void *site, const char *format, ...)
{
    va_list a;
    va_start(a, format);
    note(site, format, a);
    va_end(a);
    outcome = error;
    go_to(-1);
    abort(); /* a fibre that nobody goes on with */
}

/* ---- waiting ---- */

static void wait_at(const char *file, int line)
{
    threads[current].file = file, threads[current].line = line;
}

static bool same_place(const thread *a, const thread *b)
{
    return a->line == b->line && (a->file == b->file || strcmp(a->file, b->file) == 0);
}
} // namespace emulator
using namespace emulator;

int emulator_barrier(int value, const char *file, int line)
{
    const int me = current;
    wait_at(file, line);
    barrier_sum += value != 0;
    set_waiting(me, AT_BARRIER);
    if (++at_barrier < block_threads) {
        go_to(next_ready());
        return barrier_result;
    }
    for (int t = 0; t < block_threads; t++)
        if (!same_place(&threads[t], &threads[me]))
            kernel_fault(cudaErrorLaunchFailure, NULL,
                         "threads of a block wait at different barriers: thread %d at %s:%d", t,
                         threads[t].file, threads[t].line);
    for (int t = 0; t < block_threads; t++) set_ready(t);
    barrier_result = barrier_sum;
    at_barrier = barrier_sum = 0;
    shadow_barrier();
    return barrier_result;
}

void emulator_meet(emulator_exchange *exchange, unsigned mask, void *mine, const char *file,
                   int line)
{
    const int me = current, warp = me / LANES, first = warp * LANES;
    thread *const t = &threads[me];
    wait_at(file, line);
    t->mask = mask, t->exchange = exchange, t->mine = mine;
    if (!(mask >> (me - first) & 1))
        kernel_fault(cudaErrorLaunchFailure, NULL, "lane %d is not in its own mask, %#x",
                     me - first, mask);
    if (block_threads - first < LANES && mask >> (block_threads - first))
        kernel_fault(cudaErrorLaunchFailure, NULL,
                     "the mask, %#x, names lanes that the block has not", mask);
    warp_waits[warp] |= 1u << (me - first);
    if ((warp_waits[warp] & mask) != mask) {
        set_waiting(me, AT_WARP);
        go_to(next_ready());
        return;
    }
    void *lanes[LANES];
    for (int k = 0; k < LANES; k++) {
        lanes[k] = NULL;
        if (!(mask >> k & 1)) continue;
        const thread *other = &threads[first + k];
        if (other->mask != mask || other->exchange != exchange || !same_place(other, t))
            kernel_fault(cudaErrorLaunchFailure, NULL,
                         "lanes of a warp meet in different operations or with different masks: "
                         "lane %d, %#x, at %s:%d",
                         k, other->mask, other->file, other->line);
        lanes[k] = other->mine;
    }
    exchange(lanes, mask);
    for (int k = 0; k < LANES; k++)
        if (mask >> k & 1) set_ready(first + k);
    warp_waits[warp] &= ~mask;
}

void __trap() { kernel_fault(cudaErrorLaunchFailure, __builtin_return_address(0), "a trap"); }

/* ---- a launch ---- */

namespace emulator
{
static void choose_order(uint32_t seed)
{
    for (int t = 0; t < block_threads; t++)
        order[t] = emulator_order == 1 ? block_threads - 1 - t : t;
    for (int t = block_threads - 1; emulator_order > 1 && t > 0; t--) {
        seed = seed * 1664525u + 1013904223u;
        const int k = (int)((seed >> 8) % (unsigned)(t + 1)), other = order[t];
        order[t] = order[k], order[k] = other;
    }
    for (int t = 0; t < block_threads; t++) threads[order[t]].position = t;
}

static void stands_still(int t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void stands_still(int t, const char *format, ...)
{
    va_list a;
    va_start(a, format);
    current = t;
    note(NULL, format, a);
    current = -1;
    va_end(a);
    outcome = cudaErrorLaunchFailure;
}

/* Nobody can go on, and not all have ended: who waits, and for whom? */
static void explain_standstill(void)
{
    int t = 0;
    while (t < block_threads && threads[t].state != AT_WARP) t++;
    if (t == block_threads) {
        for (t = 0; threads[t].state == ENDED;) t++;
        stands_still(t, "a barrier waits for threads that have ended (%d of %d)", ended,
                     block_threads);
        return;
    }
    const unsigned missing = threads[t].mask & ~warp_waits[t / LANES];
    const int lane = __builtin_ctz(missing);
    const thread *other = &threads[t / LANES * LANES + lane];
    if (other->state == ENDED)
        stands_still(t, "a warp waits for its lane %d, which has ended", lane);
    else
        stands_still(t, "a warp waits for its lane %d, which waits at %s:%d", lane, other->file,
                     other->line);
}

static void run_block(const kernel_launch *l)
{
    blocks_run++;
    ended = at_barrier = barrier_sum = 0;
    memset(warp_waits, 0, sizeof warp_waits);
    memset(ready, 0, sizeof ready);
    shadow_block();
    choose_order(blocks_run);
    free_stack_count = 0;
    for (int t = block_threads - 1; t >= 0; t--) {
        const unsigned n = (unsigned)t;
        threads[t].begun = false;
        threads[t].index = { n % l->block.x, n / l->block.x % l->block.y,
                             n / l->block.x / l->block.y };
        threads[t].file = NULL;
        free_stacks[free_stack_count++] = stacks + (size_t)t * STACK_BYTES;
        set_ready(t);
    }
    position = MOST_THREADS - 1;
    go_to(next_ready());
    if (!outcome && ended < block_threads) explain_standstill();
}

cudaError_t run_kernel(const kernel_launch *l)
{
    if (!stacks)
        stacks = (char *)mmap(NULL, STACKS_BYTES, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) abort();
    launched = l, outcome = cudaSuccess;
    block_threads = (int)(l->block.x * l->block.y * l->block.z);
    blockDim = { l->block.x, l->block.y, l->block.z };
    gridDim = { l->grid.x, l->grid.y, l->grid.z };
    shadow_launch(l);
    const uint64_t blocks = (uint64_t)l->grid.x * l->grid.y * l->grid.z;
    const uint64_t stride = emulator_order < 2 || blocks % 7919 == 0 ? 1 : 7919;
    for (uint64_t i = 0; i < blocks && !outcome; i++) {
        const uint64_t b = emulator_order == 1 ? blocks - 1 - i : i * stride % blocks;
        blockIdx = { (unsigned)(b % l->grid.x), (unsigned)(b / l->grid.x % l->grid.y),
                     (unsigned)(b / l->grid.x / l->grid.y) };
        run_block(l);
    }
    return outcome;
}
} // namespace emulator
