/* planted.h: launchers of planted.cu; they return the error of the launch. */
#ifndef EMULATOR_PLANTED_H
#define EMULATOR_PLANTED_H
#include <stdbool.h>
#include <stddef.h>
enum mistake {
    NONE,
    NO_BARRIER,
    NO_BARRIER_IN_LOOP,
    NO_WAIT,
    NO_WAIT_FOR_LATEST,
    NOT_TRANSPOSED,
    SWAPPED
};
#ifdef __cplusplus
extern "C" {
#endif
extern const bool planted_alignment; /* does the compiler tell what is misaligned? */
int planted_block_sums(void *stream, int mistake, int blocks, const float *x, float *sums);
int planted_shifted(void *stream, int from, int to, int n, const float *x, float *y);
int planted_plus_one(void *stream, int n, const float *x, float *y);
int planted_dynamic(void *stream, size_t asked, size_t shared, int n, float *y);
int planted_product(void *stream, int mistake, const void *a, const void *b, float *d);
int planted_counted(void *stream, unsigned *counts, int *largest, unsigned long long *any);
int planted_moved(void *stream, int kind, int operand, int width, float *y);
int planted_launch(void *stream, unsigned blocks, unsigned threads, float *y);
float planted_host_read(const float *device);
int planted(void *stream, const char *name, float *x, float *y);
#ifdef __cplusplus
}
#endif
#endif
