/* memory.cpp: the device's memory, pinned memory of the host, and what a step named. An address is
 * not given out twice before a reset, so that what was freed is found out. */
#include "machine.h"
#include <stdlib.h>
#include <sys/mman.h>

bool emulator_guard = true;

namespace emulator
{
enum { PAGE = 4096, ALIGNED = 256 };
char *heap;
size_t heap_bytes = (size_t)1 << 40;
static char *heap_next;
static region *regions; /* by address */
static int regions_in_use, region_room;
static size_t total = (size_t)16 << 30, in_use, largest;

struct pinned {
    char *from, *to;
};
static pinned *pins;
static int pin_count, pin_room;

/* ---- regions ---- */

size_t memory_total(void) { return total; }
int region_count(void) { return regions_in_use; }
region *region_at(int i) { return &regions[i]; }

region *region_of(const void *p, size_t bytes)
{
    int low = 0, high = regions_in_use;
    while (low < high) {
        const int middle = (low + high) / 2;
        if ((const char *)p < regions[middle].to) high = middle;
        else low = middle + 1;
    }
    region *r = &regions[low];
    const bool there = low < regions_in_use && (const char *)p >= r->from &&
                       bytes <= (size_t)(r->to - (const char *)p);
    return there ? r : NULL;
}

static int opened;

static void protect(const region *r, int how)
{
    char *page = (char *)((uintptr_t)r->from & ~(uintptr_t)(PAGE - 1));
    mprotect(page, (size_t)(r->to - page), how);
}

void memory_open(void)
{
    if (!opened++ && emulator_guard)
        for (int k = 0; k < regions_in_use; k++) protect(&regions[k], PROT_READ | PROT_WRITE);
}

void memory_close(void)
{
    if (!--opened && emulator_guard)
        for (int k = 0; k < regions_in_use; k++) protect(&regions[k], PROT_NONE);
}

static void *get(size_t bytes)
{
    while (!heap_next) {
        heap = (char *)mmap(NULL, heap_bytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (heap == MAP_FAILED) heap_bytes /= 2;
        else heap_next = heap;
    }
    /* Aligned as much as CUDA promises and no more, and with a page of nobody's behind it. */
    const size_t room = (ALIGNED + bytes + 2 * PAGE - 1) & ~(size_t)(PAGE - 1);
    if (bytes > total - in_use || room > (size_t)(heap + heap_bytes - heap_next)) return NULL;
    char *p = heap_next + ALIGNED;
    cell *cells = (cell *)calloc(bytes / 4 + 1, sizeof(cell));
    if (!cells || mprotect(heap_next, room - PAGE, PROT_READ | PROT_WRITE)) {
        free(cells);
        return NULL;
    }
    heap_next += room;
    if (regions_in_use == region_room)
        regions = (region *)realloc(regions, (size_t)(region_room += 256) * sizeof(region));
    memset(p, 0xff, bytes); /* NaN */
    regions[regions_in_use++] = { p, p + bytes, cells };
    if (!opened && emulator_guard) protect(&regions[regions_in_use - 1], PROT_NONE);
    in_use += bytes;
    if (in_use > largest) largest = in_use;
    return p;
}

static void let_go(region *r)
{
    char *page = (char *)((uintptr_t)r->from & ~(uintptr_t)(PAGE - 1));
    madvise(page, (size_t)(r->to - page), MADV_DONTNEED);
    protect(r, PROT_NONE);
    in_use -= (size_t)(r->to - r->from);
    free(r->cells);
    regions_in_use--;
    memmove(r, r + 1, (size_t)(regions + regions_in_use - r) * sizeof *r);
}

void memory_wrote(void *to, size_t bytes)
{
    const region *r = region_of(to, bytes);
    if (!r) return;
    size_t o = (size_t)((char *)to - r->from);
    for (const size_t end = o + bytes; o < end;)
        if (o % 4 || end - o < 4) {
            r->cells[o / 4].write.more |= 1u << o % 4 & 15;
            o++;
        } else {
            r->cells[o / 4].write.more = 15;
            o += 4;
        }
}

void memory_copied(void *to, const void *from, size_t bytes)
{
    const region *a = region_of(from, bytes), *b = region_of(to, bytes);
    size_t i = (size_t)((const char *)from - a->from), o = (size_t)((char *)to - b->from);
    for (const size_t end = o + bytes; o < end;) {
        const unsigned there = a->cells[i / 4].write.more;
        stamp *s = &b->cells[o / 4].write;
        if (i % 4 || o % 4 || end - o < 4) {
            const unsigned others = s->more & ~(1u << o % 4);
            s->more = (others | (there >> i % 4 & 1) << o % 4) & 15;
            o++, i++;
        } else {
            s->more = there & 15;
            o += 4, i += 4;
        }
    }
}

bool is_pinned(const void *p)
{
    for (int k = 0; k < pin_count; k++)
        if ((const char *)p >= pins[k].from && (const char *)p < pins[k].to) return true;
    return false;
}

/* ---- what a step named ---- */

static may *named;

void may_release(may *m)
{
    if (!m || --m->references) return;
    free(m->ranges);
    free(m);
}

may *may_now(void)
{
    if (named) named->references++;
    return named;
}

void memory_reset(void)
{
    while (regions_in_use) let_go(&regions[regions_in_use - 1]);
    emulator_may_anything();
    heap_next = heap;
    largest = 0, total = (size_t)16 << 30;
}
} // namespace emulator
using namespace emulator;

extern "C" {
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    EMULATOR_CALL(cudaMalloc);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (!p) return failed(cudaErrorInvalidValue);
    *p = NULL;
    if (!bytes) return cudaSuccess;
    *p = get(bytes);
    return *p ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *p)
{
    EMULATOR_CALL(cudaFree);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (!p) return cudaSuccess;
    if (const cudaError_t e = run_everything()) return e;
    region *r = region_of(p, 1);
    if (!r || r->from != p) return failed(cudaErrorInvalidValue);
    let_go(r);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    EMULATOR_CALL(cudaMallocHost);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (!p) return failed(cudaErrorInvalidValue);
    *p = NULL;
    if (!bytes) return cudaSuccess;
    void *made = aligned_alloc(PAGE, (bytes + PAGE - 1) & ~(size_t)(PAGE - 1));
    if (!made) return failed(cudaErrorMemoryAllocation);
    if (pin_count == pin_room)
        pins = (pinned *)realloc(pins, (size_t)(pin_room += 64) * sizeof(pinned));
    memset(made, 0xff, bytes);
    pins[pin_count++] = { (char *)made, (char *)made + bytes };
    *p = made;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    EMULATOR_CALL(cudaFreeHost);
    if (const cudaError_t e = unsafe_while_capturing()) return e;
    if (!p) return cudaSuccess;
    if (const cudaError_t e = run_everything()) return e;
    int k = 0;
    while (k < pin_count && pins[k].from != p) k++;
    if (k == pin_count) return failed(cudaErrorInvalidValue);
    pins[k] = pins[--pin_count];
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
    EMULATOR_CALL(cudaMemGetInfo);
    *free_bytes = total - in_use, *all = total;
    return cudaSuccess;
}

void *emulator_get(size_t bytes) { return get(bytes ? bytes : 1); }

void emulator_free_all(void)
{
    run_everything();
    while (regions_in_use) let_go(&regions[regions_in_use - 1]);
}

void emulator_write(void *device, const void *host, size_t bytes)
{
    memory_open();
    memcpy(device, host, bytes);
    memory_wrote(device, bytes);
    memory_close();
}

void emulator_read(void *host, const void *device, size_t bytes)
{
    memory_open();
    memcpy(host, device, bytes);
    memory_close();
}

void emulator_memory(size_t bytes) { total = bytes; }
size_t emulator_in_use(void) { return in_use; }
size_t emulator_largest(void) { return largest; }

void emulator_may_anything(void)
{
    may_release(named);
    named = NULL;
}

void emulator_may(const void *p, size_t bytes, bool write)
{
    /* Launches that wait keep the set as it was. */
    may *m = named;
    if (!m || !bytes || m->references > 1) {
        m = (may *)calloc(1, sizeof *m);
        m->references = 1;
        if (named && bytes) {
            m->count = m->room = named->count;
            m->ranges = (range *)malloc((size_t)m->room * sizeof(range) + 1);
            memcpy(m->ranges, named->ranges, (size_t)m->count * sizeof(range));
        }
        may_release(named);
        named = m;
    }
    if (!bytes) return;
    if (m->count == m->room)
        m->ranges = (range *)realloc(m->ranges, (size_t)(m->room += 16) * sizeof(range));
    m->ranges[m->count++] = { (char *)p, (char *)p + bytes, write };
}
}
