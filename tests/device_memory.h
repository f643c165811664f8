/* device_memory.h: what tests want of the device whose kernels they launch themselves. The emulated
 * one is asked past the engine, so that it knows what nobody has written; a GPU by way of the
 * engine's own functions. There everything is NaNs at first, a few more than asked for: what a
 * kernel leaves out is a wrong result, and what it writes past the end is seen. */
#ifndef PITH_TESTS_DEVICE_MEMORY_H
#define PITH_TESTS_DEVICE_MEMORY_H
#include "tests.h"
#include "device/device.h"

#ifdef PITH_EMULATED
#include "emulator/control.h"
enum { ORDERS = 4 }; /* of threads, for device_order */
static inline const char *device_missing(void) { return NULL; }
static inline void device_order(int order) { emulator_order = order; }
static inline void *device_get(size_t bytes) { return emulator_get(bytes); }
static inline void device_free_all(void) { emulator_free_all(); }
static inline bool device_wait(void) { return emulator_wait(); }
static inline const char *device_error(void) { return emulator_error(); }
static inline void *device_stream(void) { return NULL; }
static inline bool device_takes_bf16(void) { return true; }
static inline void device_write(void *to, const void *host, size_t bytes)
{
    emulator_write(to, host, bytes);
}
static inline void device_read(void *host, const void *from, size_t bytes)
{
    emulator_read(host, from, bytes);
}
#else

enum { ORDERS = 1, BEHIND = 256, MOST_PIECES = 512 };
static const pith_backend *gpu;
static struct {
    char *from;
    size_t bytes;
} pieces[MOST_PIECES];
static int n_pieces;

/* NULL, or why nothing can be launched here. */
static inline const char *device_missing(void)
{
    const char *why;
    gpu = pith_cuda(&why);
    return gpu ? NULL : why;
}

static inline void device_order(int order) { (void)order; } /* the device has its own */
static inline bool device_wait(void) { return gpu->wait(NULL); }
static inline const char *device_error(void) { return pith_error(); }
static inline void *device_stream(void) { return gpu->stream(); }
static inline bool device_takes_bf16(void) { return gpu->takes_bf16(); }

static inline void device_write(void *to, const void *host, size_t bytes)
{
    if (!gpu->write(to, host, bytes)) fail_msg("%s", pith_error());
}

static inline void device_read(void *host, const void *from, size_t bytes)
{
    if (!gpu->read(host, from, bytes)) fail_msg("%s", pith_error());
}

static inline void *device_get(size_t bytes)
{
    assert_true(n_pieces < MOST_PIECES);
    char *p = gpu->allocate(bytes + BEHIND, false), *nans = malloc(bytes + BEHIND);
    if (!p) fail_msg("the device has no %zu bytes: %s", bytes, pith_error());
    pieces[n_pieces].from = p, pieces[n_pieces++].bytes = bytes;
    memset(nans, 0xff, bytes + BEHIND);
    device_write(p, nans, bytes + BEHIND);
    free(nans);
    return p;
}

static inline void device_free_all(void)
{
    unsigned char behind[BEHIND];
    int broken = 0;
    for (int k = 0; k < n_pieces; k++) {
        device_read(behind, pieces[k].from + pieces[k].bytes, BEHIND);
        for (int i = 0; i < BEHIND; i++) broken += behind[i] != 0xff;
        gpu->release(pieces[k].from);
    }
    n_pieces = 0;
    if (broken) fail_msg("%d bytes were written past the end of what they belong to", broken);
}
#endif
#endif
