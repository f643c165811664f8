/* host.c: the CPU as a device: its memory is the program's own, and all work is done at once. */
#include <stdlib.h>
#include <sys/sysinfo.h>
#include "inside.h"

size_t pith_memory_size(void)
{
    struct sysinfo machine;
    if (sysinfo(&machine)) return SIZE_MAX;
    return ((size_t)machine.totalram + (size_t)machine.totalswap) * machine.mem_unit;
}

/* The system promises more memory than it has and ends the program when it is written to, so what
 * is beyond the machine's is refused here. */
static void *allocate(size_t bytes, bool zeros)
{
    const size_t size = (bytes ? bytes : 1) + 63;
    void *p = bytes <= pith_memory_size() ? aligned_alloc(64, size / 64 * 64) : NULL;
    return p && zeros ? memset(p, 0, bytes) : p;
}

void *pith_aligned(size_t bytes)
{
    void *p = allocate(bytes, true);
    return p ? p : (pith_raise("no memory: %zu bytes were asked for", bytes), NULL);
}

static bool copy(void *to, const void *from, size_t bytes) { return memcpy(to, from, bytes), true; }
static bool wait(const node *n) { return (void)n, true; }

static const pith_backend host = { .alignment = 64,
                                   .allocate = allocate,
                                   .release = free,
                                   .free_bytes = pith_memory_size,
                                   .write = copy,
                                   .read = copy,
                                   .copy = copy,
                                   .wait = wait };

static const pith_backend *find_backend(pith_device device, const char **why)
{
    *why = "device: expected a value of pith_device";
    if (device == PITH_CPU) return &host;
    if (device != PITH_CUDA) return NULL;
#ifdef PITH_WITH_CUDA
    return pith_cuda(why);
#else
    *why = "no CUDA device: this pith was built without CUDA (make cuda)";
    return NULL;
#endif
}

const pith_backend *pith_backend_of(pith_device device)
{
    const char *why;
    const pith_backend *b = find_backend(device, &why);
    return b ? b : (pith_raise("pith_store_new_on: %s", why), NULL);
}

pith_device_bytes pith_store_bytes(const pith_store *s)
{
    pith_device_bytes b = { 0 };
    if (!pith_given(s, "pith_store_bytes", "store")) return b;
    for (int k = 0; k < s->n; k++) b.tensors += pith_tensor_bytes(s->tensors[k]);
    b.values = s->arena_size;
    const size_t taken = s->on->stream ? s->on->taken() : 0, own = b.tensors + b.values;
    b.others = taken > own ? taken - own : 0;
    return b;
}

const char *pith_not_compiled(pith_device device)
{
    const char *why;
    const pith_backend *b = find_backend(device, &why);
    return b && b->not_compiled ? b->not_compiled() : NULL;
}

const char *pith_no_device(pith_device device)
{
    const char *why;
    return find_backend(device, &why) ? NULL : why;
}

const void *pith_on_host(const pith_backend *b, const void *data, size_t bytes, void **copy_to_free)
{
    *copy_to_free = NULL;
    if (b == &host) return data;
    *copy_to_free = malloc(bytes);
    if (!*copy_to_free) return pith_raise("no memory: %zu bytes were asked for", bytes), NULL;
    return b->read(*copy_to_free, data, bytes) ? *copy_to_free : NULL;
}
