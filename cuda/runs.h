/* runs.h: rows of bytes moved as they are, whatever their dtype: in units of 16, 4, 2 or 1 bytes,
 * the widest to which all addresses and steps are aligned. */
#ifndef PITH_RUNS_H
#define PITH_RUNS_H
#include "launch.h"

enum { RUN_THREADS = 256 };

/* The widest unit that divides what is given, sums or bitwise or of addresses and bytes. */
static inline size_t unit_of(size_t bits)
{
    return bits % 16 == 0 ? 16 : bits % 4 == 0 ? 4 : bits % 2 == 0 ? 2 : 1;
}
static inline size_t address(const void *p) { return (size_t)(uintptr_t)p; }

/* Threads for `rows` runs of `length` units: x goes along a run, a thread to a unit and at most
 * four of them; y goes from run to run, so that short runs share a block. */
typedef struct {
    dim3 grid, block;
} run_cut;

static inline run_cut cut_runs(size_t rows, size_t length)
{
    unsigned along = 1;
    while (along < length && along < RUN_THREADS) along *= 2;
    const size_t pieces = (length + 4 * along - 1) / (4 * along);
    run_cut cut;
    cut.block = dim3(along, RUN_THREADS / along);
    cut.grid = dim3(blocks_of(rows, RUN_THREADS / along),
                    pieces < 65535 ? (unsigned)pieces : 65535);
    return cut;
}

/* The same inside a kernel. */
#define RUN_ROW ((size_t)blockIdx.x * blockDim.y + threadIdx.y)
#define ALONG_RUN(k, length)                                                                       \
    for (size_t k = (size_t)blockIdx.y * blockDim.x + threadIdx.x; k < (length);                   \
         k += (size_t)gridDim.y * blockDim.x)

/* Launches kernel<T>(rows, length, ...), T an unsigned type of `unit` bytes. */
#define LAUNCH_RUNS(call, kernel, unit, rows, length, ...)                                         \
    ((unit) == 16  ? LAUNCH_RUNS_OF(uint4, call, kernel, rows, length, __VA_ARGS__)                \
     : (unit) == 4 ? LAUNCH_RUNS_OF(uint32_t, call, kernel, rows, length, __VA_ARGS__)             \
     : (unit) == 2 ? LAUNCH_RUNS_OF(uint16_t, call, kernel, rows, length, __VA_ARGS__)             \
                   : LAUNCH_RUNS_OF(uint8_t, call, kernel, rows, length, __VA_ARGS__))
#define LAUNCH_RUNS_OF(T, call, kernel, rows, length, ...)                                         \
    PITH_LAUNCH(call, kernel<T>, cut_runs(rows, length).grid, cut_runs(rows, length).block, 0,     \
                rows, length, __VA_ARGS__)

/* The sources lie from_step units apart, the destinations to_step. Both may be the same memory. */
template <class T>
static __global__ void copy_runs(size_t rows, size_t length, void *to, size_t to_step,
                                 const void *from, size_t from_step)
{
    const size_t row = RUN_ROW;
    if (row >= rows) return;
    ALONG_RUN(k, length)((T *)to)[row * to_step + k] = ((const T *)from)[row * from_step + k];
}

template <class T> static __global__ void clear_runs(size_t rows, size_t length, void *to)
{
    if (RUN_ROW >= rows) return;
    ALONG_RUN(k, length)((T *)to)[k] = T();
}

static inline bool clear(const pith_call *call, size_t bytes, void *to)
{
    const size_t unit = unit_of(address(to) | bytes);
    return LAUNCH_RUNS(call, clear_runs, unit, (size_t)1, bytes / unit, to);
}

/* `rows` runs of `bytes`; the steps are in bytes, too. */
static inline bool move_runs(const pith_call *call, size_t rows, size_t bytes, void *to,
                             size_t to_step, const void *from, size_t from_step)
{
    const size_t unit = unit_of(address(to) | address(from) | to_step | from_step | bytes);
    return LAUNCH_RUNS(call, copy_runs, unit, rows, bytes / unit, to, to_step / unit, from,
                       from_step / unit);
}
#endif
