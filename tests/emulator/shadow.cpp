/* shadow.cpp: of every word that a kernel may touch, which bytes were ever written, and who read
 * and wrote it last. Pages of kernels are compiled with -fsanitize=thread and linked without the
 * sanitizer: the hooks which that puts before every access are answered here. */
#include "machine.h"
#include <stdio.h>
#include <stdlib.h>

unsigned char emulator_dynamic[emulator::DYNAMIC_SHARED] __attribute__((aligned(1024)));
bool emulator_shadow = true;

extern "C" {
__attribute__((weak)) extern char __start_emulator_constant[], __stop_emulator_constant[];
/* Between them lie constants that the compiler laid down for local arrays. */
__attribute__((weak)) extern char etext[], __init_array_start[];
}

namespace emulator
{
/* ---- time ---- */

/* All that runs has a time, which grows with every block and every barrier. */
static uint32_t now = 1, launch_began, block_began;
static uint16_t warp_times[MOST_WARPS]; /* grow with every barrier of the warp */
enum { SEVERAL_LANES = MOST_THREADS, SEVERAL_WARPS = SEVERAL_LANES + MOST_WARPS };

/* May what is stamped have happened before, after or while the thread that runs does its work? */
static inline bool unordered(stamp s)
{
    if (s.time < launch_began) return false;
    if (s.time < block_began) return true; /* in another block */
    if (s.time < now || s.who == (unsigned)current) return false;
    const unsigned warp = (unsigned)current / LANES,
                   its = s.who < MOST_THREADS ? s.who / LANES : s.who - SEVERAL_LANES;
    return its != warp || s.warp_time == (warp_times[warp] & 0x1fff);
}

static inline void put(stamp *s, unsigned bytes)
{
    s->time = now, s->who = (unsigned)current & 0x7ff;
    s->warp_time = warp_times[current / LANES] & 0x1fff, s->bytes = bytes & 15;
}

/* Adds a read, or an atomic write, to those that are stamped already. */
static void add(stamp *s, unsigned bytes)
{
    if (!(s->bytes & bytes) || !unordered(*s)) {
        const unsigned same = s->time == now && s->who == (unsigned)current ? s->bytes : 0u;
        put(s, bytes | same);
    } else if (s->time >= block_began) {
        const unsigned warp = (unsigned)current / LANES,
                       its = s->who < MOST_THREADS ? s->who / LANES : s->who - SEVERAL_LANES;
        bytes |= s->bytes;
        const bool warps = s->who == SEVERAL_WARPS || its != warp;
        put(s, bytes);
        s->who = (warps ? (unsigned)SEVERAL_WARPS : SEVERAL_LANES + warp) & 0x7ff;
    } /* in another block: nothing is worse */
}

void shadow_barrier(void) { now++; }
void shadow_warp_barrier(int warp) { warp_times[warp]++; }

/* ---- where a kernel may go ---- */

struct span {
    const char *from, *to;
    const char *base; /* what cells[0] is of */
    cell *cells;
    bool writable;
};
enum { MOST_ARRAYS = 32, GAP = 128 };
static cell dynamic_cells[DYNAMIC_SHARED / 4];
/* Arrays of a size known to the compiler, at least GAP bytes of nobody's around each. */
static unsigned char arrays[STATIC_SHARED + (MOST_ARRAYS + 1) * 2 * GAP]
    __attribute__((aligned(1024)));
static cell array_cells[sizeof arrays / 4];
static int array_count;
static size_t array_bytes, array_next, dynamic_bytes, most_bytes;
/* Of the launch: dynamic shared memory, arrays, and then buffers or what the step named. */
static span *spans;
static int span_count, span_room;
enum { SITES = 1024 };
static uint16_t latest[SITES]; /* span of the access that last came from a site like this one */
static inline uint16_t *latest_at(const void *site) { return &latest[(uintptr_t)site % SITES]; }

static void add_span(span s)
{
    if (span_count == span_room)
        spans = (span *)realloc(spans, (size_t)(span_room += 256) * sizeof(span));
    spans[span_count++] = s;
}

void shadow_launch(const kernel_launch *l)
{
    launch_began = block_began = ++now;
    dynamic_bytes = l->shared;
    most_bytes = shared_allowed(l->kernel) > STATIC_SHARED ? DYNAMIC_SHARED : STATIC_SHARED;
    span_count = 0;
    add_span({ (char *)emulator_dynamic, (char *)emulator_dynamic + l->shared,
               (char *)emulator_dynamic, dynamic_cells, true });
    for (int k = 0; k < MOST_ARRAYS; k++) add_span({});
    for (int k = 0; !l->allowed && k < region_count(); k++) {
        const region *r = region_at(k);
        add_span({ r->from, r->to, r->from, r->cells, true });
    }
    for (int k = 0; l->allowed && k < l->allowed->count; k++) {
        const range *named = &l->allowed->ranges[k];
        const region *r = region_of(named->from, (size_t)(named->to - named->from));
        if (r) add_span({ named->from, named->to, r->from, r->cells, named->write });
    }
    memset(latest, 0, sizeof latest);
    traffic_launch(l);
}

static void fresh(unsigned char *p, cell *cells, size_t bytes)
{
    if (!emulator_shadow) return;
    memset(p, 0xff, bytes);
    memset(cells, 0, (bytes + 3) / 4 * sizeof *cells);
}

void shadow_block(void)
{
    block_began = ++now;
    for (int k = 0; k < array_count; k++) spans[1 + k] = {};
    array_count = 0, array_bytes = 0, array_next = GAP;
    fresh(emulator_dynamic, dynamic_cells, dynamic_bytes);
    traffic_block();
}

} // namespace emulator
using namespace emulator;

void *emulator_array(emulator_slot *slot, size_t bytes)
{
    if (slot->block == block_began) return slot->at;
    array_bytes += (bytes + 15) & ~(size_t)15;
    if (array_count == MOST_ARRAYS || array_bytes > STATIC_SHARED ||
        array_bytes + dynamic_bytes > most_bytes)
        kernel_fault(cudaErrorLaunchFailure, __builtin_return_address(0),
                     "%zu bytes of shared memory, %zu of them in arrays",
                     array_bytes + dynamic_bytes, array_bytes);
    const size_t at = array_next;
    array_next += (bytes + 2 * GAP - 1) & ~(size_t)(GAP - 1);
    slot->block = block_began, slot->at = arrays + at;
    const char *from = (char *)arrays + at;
    spans[1 + array_count++] = { from, from + bytes, (char *)arrays, array_cells, true };
    fresh(arrays + at, array_cells + at / 4, bytes);
    return slot->at;
}

/* ---- an access ---- */

namespace emulator
{
static const char *owner(stamp s, char *text, size_t room)
{
    if (s.time < block_began) return "another block";
    if (s.who >= MOST_THREADS) return "other threads";
    snprintf(text, room, "thread %u", s.who);
    return text;
}

/* The span of an access; NULL where nothing is to be watched. Tells why there is none. */
__attribute__((noinline)) static const span *find(const char *p, size_t bytes, touch_kind kind,
                                                  const void *site)
{
    for (int k = 0; k < span_count; k++)
        if (p >= spans[k].from && p + bytes <= spans[k].to && (kind == READ || spans[k].writable)) {
            *latest_at(site) = (uint16_t)k;
            return &spans[k];
        }
    if (kind == READ && ((p >= __start_emulator_constant && p < __stop_emulator_constant) ||
                         (p >= etext && p < __init_array_start)))
        return NULL;
    if ((size_t)(p - (char *)&blockIdx) < sizeof blockIdx ||
        (size_t)(p - (char *)&blockDim) < sizeof blockDim ||
        (size_t)(p - (char *)&gridDim) < sizeof gridDim ||
        (size_t)(p - (char *)&threadIdx) < sizeof threadIdx)
        return NULL;
    const char *does = kind == READ ? "reads" : "writes", *where;
    if (in_heap(p))
        where = !region_of(p, 1)       ? "outside every buffer"
                : !region_of(p, bytes) ? "past the end of a buffer"
                                       : "what the step did not name";
    else if ((size_t)(p - (char *)arrays) < sizeof arrays) where = "outside every shared array";
    else if ((size_t)(p - (char *)emulator_dynamic) < sizeof emulator_dynamic)
        where = "past the end of the shared memory that the launch has";
    else if ((size_t)(p - stacks) < STACKS_BYTES) where = "another thread's own memory";
    else where = "memory of the host";
    kernel_fault(cudaErrorIllegalAddress, site, "%s %s", does, where);
}

/* What is wrong with it? Not called where nothing is. */
__attribute__((cold, noinline)) static void complain(const cell *c, unsigned bytes, touch_kind kind,
                                                     const void *site)
{
    char text[32];
    const char *does = kind == READ ? "reads" : "writes";
    if (c->read.more & ON_ITS_WAY)
        kernel_fault(cudaErrorLaunchFailure, site,
                     "touches what a copy that was not waited for will write");
    if (kind != WRITE && (c->write.more & bytes) != bytes)
        kernel_fault(cudaErrorLaunchFailure, site, "reads what was never written");
    if ((c->write.bytes & bytes) && unordered(c->write))
        kernel_fault(cudaErrorLaunchFailure, site, "race: %s what %s wrote", does,
                     owner(c->write, text, sizeof text));
    kernel_fault(cudaErrorLaunchFailure, site, "race: writes what %s read",
                 owner(c->read, text, sizeof text));
}

__attribute__((always_inline)) static inline void look(cell *c, unsigned bytes, touch_kind kind,
                                                       const void *site)
{
    const bool both_atomic = kind == ATOMIC && c->read.more & BY_ATOMIC;
    if ((c->read.more & ON_ITS_WAY) || (kind != WRITE && (c->write.more & bytes) != bytes) ||
        ((c->write.bytes & bytes) && !both_atomic && unordered(c->write)) ||
        (kind != READ && (c->read.bytes & bytes) && unordered(c->read)))
        complain(c, bytes, kind, site);
    if (kind == READ) {
        add(&c->read, bytes);
        return;
    }
    if (both_atomic) add(&c->write, bytes);
    else put(&c->write, bytes);
    c->write.more |= bytes & 15;
    c->read.more = kind == ATOMIC ? BY_ATOMIC : 0;
}

static inline cell *cell_of(const char *p, size_t bytes, touch_kind kind, const void *site)
{
    const span *s = &spans[*latest_at(site)];
    if (p < s->from || p + bytes > s->to || (kind != READ && !s->writable))
        s = find(p, bytes, kind, site);
    return s ? &s->cells[(p - s->base) / 4] : NULL;
}

__attribute__((cold, noinline)) static void host_touched(const void *p, const void *site)
{
    if (!in_heap(p)) return;
    tell(site, "the host touches memory of the device");
    if (emulator_guard) fprintf(stderr, "%s\n", emulator_error()); /* for now it ends */
}

static size_t asked; /* bytes, since emulator_asked */

__attribute__((always_inline)) static inline void watch(const void *address, size_t bytes,
                                                        touch_kind kind, const void *site)
{
    const char *p = (const char *)address;
    if (__builtin_expect(current < 0, 0)) return host_touched(p, site);
    if (!emulator_shadow || (size_t)(p - own_stack) < STACK_BYTES) return;
    if (in_heap(p)) {
        asked += bytes;
        if (__builtin_expect(traffic_counts, 0)) traffic_touch(p, bytes, kind, site);
    }
    cell *c = cell_of(p, bytes, kind, site);
    if (!c) return;
    if (bytes % 4 == 0 && (uintptr_t)p % 4 == 0) {
        for (size_t k = 0; k < bytes / 4; k++) look(&c[k], 15, kind, site);
        return;
    }
    for (size_t o = (uintptr_t)p & 3, end = o + bytes; o < end; o = (o & ~(size_t)3) + 4, c++) {
        const size_t first = o & 3, left = end - (o & ~(size_t)3);
        look(c, 15u >> (left < 4 ? 4 - left : 0) & 15u << first, kind, site);
    }
}

void touch(const void *p, size_t bytes, touch_kind kind, const void *site)
{
    watch(p, bytes, kind, site);
}

void shadow_expect(void *p, size_t bytes, const void *site)
{
    touch(p, bytes, WRITE, site);
    if (!emulator_shadow) return;
    cell *c = cell_of((char *)p, bytes, WRITE, site);
    for (size_t k = 0; k < bytes / 4; k++) c[k].read.more = ON_ITS_WAY;
}

void shadow_arrive(void *p, size_t bytes)
{
    if (!emulator_shadow) return;
    cell *c = cell_of((char *)p, bytes, WRITE, NULL);
    for (size_t k = 0; k < bytes / 4; k++) {
        c[k].read.more = 0;
        put(&c[k].write, 15);
    }
}

__attribute__((always_inline)) static inline void aligned(const void *p, size_t bytes,
                                                          touch_kind kind, const void *site)
{
    if ((uintptr_t)p % bytes && current >= 0 && emulator_shadow)
        kernel_fault(cudaErrorMisalignedAddress, site, "an address that is no multiple of %zu",
                     bytes);
    watch(p, bytes, kind, site);
}
} // namespace emulator

size_t emulator_asked(void)
{
    const size_t bytes = asked;
    asked = 0;
    return bytes;
}

void emulator_atomic(void *p, size_t bytes, const void *site) { aligned(p, bytes, ATOMIC, site); }

/* ---- the sanitizer's hooks ---- */

#define HERE __builtin_return_address(0)
#define HOOKS(n)                                                                                   \
    void __tsan_read##n(void *p) { aligned(p, n, READ, HERE); }                                    \
    void __tsan_write##n(void *p) { aligned(p, n, WRITE, HERE); }                                  \
    void __tsan_unaligned_read##n(void *p) { touch(p, n, READ, HERE); }                            \
    void __tsan_unaligned_write##n(void *p) { touch(p, n, WRITE, HERE); }
#define ALL_HOOKS HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
extern "C" {
ALL_HOOKS
void __tsan_read_range(void *p, size_t bytes) { touch(p, bytes, READ, HERE); }
void __tsan_write_range(void *p, size_t bytes) { touch(p, bytes, WRITE, HERE); }
void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_vptr_update(void *, void *) {}
/* clang's name for what the compiler makes of assignments */
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    touch(from, bytes, READ, HERE), touch(to, bytes, WRITE, HERE);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    touch(from, bytes, READ, HERE), touch(to, bytes, WRITE, HERE);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes)
{
    touch(to, bytes, WRITE, HERE);
    return memset(to, value, bytes);
}
}
