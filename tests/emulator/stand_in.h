/* stand_in.h: what the two pages of the stand-in for cuBLASLt share. */
#ifndef EMULATOR_STAND_IN_H
#define EMULATOR_STAND_IN_H
#include "emulator.h"
#include <cublasLt.h>

namespace stand_in
{
/* What is inside the library's opaque descriptors. */
struct operation {
    int32_t compute, scale, transposed[2];
    uint32_t epilogue;
    const void *bias;
};
struct layout {
    int32_t type, batch;
    uint64_t rows, columns;
    int64_t leading, step;
};
enum { A, B, C, D, FOUR };
struct preference {
    uint64_t workspace;
    uint32_t schemes, align[FOUR];
};
/* What an algorithm was chosen for, and what it wants. */
struct choice {
    uint64_t problem;
    uint32_t align[FOUR], align_bias;
    int parts; /* of k */
    size_t workspace;
};

/* A product, all that is told of it. */
struct problem {
    operation o;
    layout x[FOUR];
    uint64_t m, n, k; /* D (m, n) by columns */
};

struct work {
    problem p;
    choice chosen;
    const char *in[FOUR]; /* A, B, C; D is c */
    char *c;
    float *parts;
    float alpha, beta;
};

static inline size_t width(int32_t type) { return type == CUDA_R_16BF ? 2 : 4; }
__global__ void cublaslt_product(work w);
} // namespace stand_in
using namespace stand_in;
#endif
