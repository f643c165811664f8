/* cublaslt.cpp: stands in for cuBLASLt. It refuses what the library would, checks what the library
 * cannot (that an algorithm is used for what it was chosen for, where addresses lie and how they
 * are aligned, who overlaps whom), and puts the work, cublaslt_product.cpp, on the stream. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "blas_control.h"
#include "control.h"
#include "stand_in.h"

size_t emulator_blas_version = 130100, emulator_blas_workspace;
int emulator_blas_refuses_bias, emulator_blas_asked, emulator_blas_parts, emulator_blas_epilogue;
int emulator_blas_handles; /* one at most: there is one device */

/* ---- descriptors ---- */

static_assert(sizeof(operation) <= sizeof(cublasLtMatmulDescOpaque_t), "");
static_assert(sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "");
static_assert(sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "");
static_assert(sizeof(choice) <= sizeof(cublasLtMatmulAlgo_t), "");
static const char *const letters[FOUR] = { "A", "B", "C", "D" };

static char complaint[300];
static cublasStatus_t wrong(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(complaint, sizeof complaint, format, list);
    va_end(list);
    return CUBLAS_STATUS_INVALID_VALUE;
}

size_t cublasLtGetVersion(void) { return emulator_blas_version; }
const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_INVALID_VALUE      ? complaint
           : status == CUBLAS_STATUS_EXECUTION_FAILED ? emulator_error()
           : status == CUBLAS_STATUS_NOT_SUPPORTED    ? "not supported"
                                                      : "cublasLt failed";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    if (emulator_blas_handles++) return wrong("a second handle of one device");
    *handle = (cublasLtHandle_t)&emulator_blas_handles;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    if (handle != (cublasLtHandle_t)&emulator_blas_handles || !emulator_blas_handles--)
        return wrong("no handle");
    return CUBLAS_STATUS_SUCCESS;
}

template <class Opaque, class Inside> static cublasStatus_t make(Opaque **at, const Inside &inside)
{
    *at = (Opaque *)calloc(1, sizeof **at);
    if (!*at) return CUBLAS_STATUS_ALLOC_FAILED;
    memcpy(*at, &inside, sizeof inside);
    return CUBLAS_STATUS_SUCCESS;
}
template <class Opaque> static cublasStatus_t unmake(Opaque *at)
{
    free(at);
    return CUBLAS_STATUS_SUCCESS;
}
template <class T> static cublasStatus_t put(T *to, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof *to)
        return wrong("an attribute of %zu bytes is given %zu", sizeof *to, bytes);
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *at, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    return make(at, operation{ compute, scale, {}, CUBLASLT_EPILOGUE_DEFAULT, NULL });
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t at) { return unmake(at); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t at,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    operation *o = (operation *)at;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return put(&o->transposed[A], value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return put(&o->transposed[B], value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return put(&o->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return put(&o->bias, value, bytes);
    }
    return wrong("attribute %d of an operation", attribute);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *at, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t leading)
{
    return make(at, layout{ type, 1, rows, columns, leading, 0 });
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t at) { return unmake(at); }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t at,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes)
{
    layout *l = (layout *)at;
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return put(&l->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return put(&l->step, value, bytes);
    }
    return wrong("attribute %d of a layout", attribute);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *at)
{
    return make(at, preference{ 0, 7, { 256, 256, 256, 256 } });
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t at) { return unmake(at); }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t at,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    preference *p = (preference *)at;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return put(&p->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return put(&p->schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return put(&p->align[A], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return put(&p->align[B], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return put(&p->align[C], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return put(&p->align[D], value, bytes);
    }
    return wrong("attribute %d of a preference", attribute);
}

/* ---- a product, all of it ---- */

static cublasStatus_t read_problem(problem *p, cublasLtHandle_t handle, cublasLtMatmulDesc_t o,
                                   cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                   cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
{
    if (handle != (cublasLtHandle_t)&emulator_blas_handles || !emulator_blas_handles)
        return wrong("no handle");
    if (!o || !a || !b || !c || !d) return wrong("a descriptor is NULL");
    const cublasLtMatrixLayout_t from[FOUR] = { a, b, c, d };
    p->o = *(const operation *)o;
    for (int i = 0; i < FOUR; i++) p->x[i] = *(const layout *)from[i];
    const layout *x = p->x;
    const int ta = p->o.transposed[A], tb = p->o.transposed[B];
    if (ta >> 1 || tb >> 1) return wrong("transposes %d and %d", ta, tb);
    p->m = ta ? x[A].columns : x[A].rows;
    p->k = ta ? x[A].rows : x[A].columns;
    p->n = tb ? x[B].rows : x[B].columns;
    if ((tb ? x[B].columns : x[B].rows) != p->k) return wrong("inner sizes differ");
    if (x[D].rows != p->m || x[D].columns != p->n) return wrong("D is not of A's and B's sizes");
    if (memcmp(&x[C], &x[D], sizeof *x)) return wrong("C and D differ");
    for (int i = 0; i < FOUR; i++) {
        if (!x[i].rows || !x[i].columns) return wrong("%s is empty", letters[i]);
        if (x[i].leading < (int64_t)x[i].rows) return wrong("columns of %s overlap", letters[i]);
        if (x[i].batch < 1 || x[i].batch != x[D].batch) return wrong("batches differ");
        if (x[i].step < 0) return wrong("%s goes backwards", letters[i]);
    }
    if (x[D].batch > 1 && x[D].step < x[D].leading * (int64_t)x[D].columns)
        return wrong("results of a batch overlap");
    const int32_t factor = x[A].type, compute = p->o.compute;
    const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (x[B].type != factor || p->o.scale != CUDA_R_32F ||
        (compute != CUBLAS_COMPUTE_32F && !tf32) ||
        (factor == CUDA_R_32F ? x[D].type != CUDA_R_32F : factor != CUDA_R_16BF || tf32))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p->o.epilogue != CUBLASLT_EPILOGUE_DEFAULT && p->o.epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p->o.epilogue == CUBLASLT_EPILOGUE_BIAS && !p->o.bias) return wrong("no address of a bias");
    return CUBLAS_STATUS_SUCCESS;
}

/* Of all but the bias's address. */
static uint64_t mark_of(const problem *p)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const auto add = [&hash](uint64_t x) {
        hash = (hash ^ x) * 0x100000001b3u, hash ^= hash >> 31;
    };
    add((uint64_t)p->o.compute), add(p->o.epilogue);
    add((uint64_t)p->o.transposed[A] * 2 + (uint64_t)p->o.transposed[B]);
    for (const layout &x : p->x) {
        add((uint64_t)x.type), add((uint64_t)x.batch), add(x.rows), add(x.columns);
        add((uint64_t)x.leading), add((uint64_t)x.step);
    }
    return hash;
}

/* The most that is known to divide an address, 16 bytes at most: what vectors of four want. */
static uint32_t aligned_to(uint64_t a) { return (uint32_t)((a | 16) & -(a | 16)); }

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t asked, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *count)
{
    problem p;
    const preference *f = (const preference *)asked;
    const cublasStatus_t status = read_problem(&p, handle, operation, a, b, c, d);
    emulator_blas_asked++;
    *count = 0;
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (wanted < 2 || !f) return wrong("no preference, or fewer than two results are asked for");
    if (f->schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE)
        return wrong("parts may be added in any order");
    if (f->schemes & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE && p.x[D].type != CUDA_R_32F)
        return wrong("parts may be rounded to bf16");
    if (p.o.epilogue == CUBLASLT_EPILOGUE_BIAS && emulator_blas_refuses_bias)
        return emulator_blas_refuses_bias == 1 ? CUBLAS_STATUS_SUCCESS
                                               : CUBLAS_STATUS_NOT_SUPPORTED;
    choice chosen = { mark_of(&p), {}, aligned_to((uint64_t)(uintptr_t)p.o.bias), 1, 0 };
    for (int i = 0; i < FOUR; i++) {
        const uint64_t bytes = width(p.x[i].type);
        if (f->align[i] < bytes) return wrong("%s is aligned to %u", letters[i], f->align[i]);
        chosen.align[i] = aligned_to(f->align[i] | (uint64_t)p.x[i].leading * bytes |
                                     (uint64_t)p.x[i].step * bytes);
    }
    const size_t room = 3 * (size_t)p.x[D].batch * p.m * p.n * sizeof(float);
    if (p.k >= 64 && f->schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE && room <= f->workspace)
        chosen.parts = 3, chosen.workspace = room;
    memset(results, 0, 2 * sizeof *results);
    results[0].state = CUBLAS_STATUS_NOT_SUPPORTED; /* one that turned out not to fit */
    memcpy(&results[1].algo, &chosen, sizeof chosen);
    results[1].workspaceSize = chosen.workspace;
    *count = 2;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- launches ---- */

struct range {
    const char *name;
    uintptr_t from, to;
};
static range range_of(const char *name, const void *p, const layout *x)
{
    const size_t elements = (size_t)(x->batch - 1) * (size_t)x->step +
                            (x->columns - 1) * (size_t)x->leading + x->rows;
    return { name, (uintptr_t)p, (uintptr_t)p + elements * width(x->type) };
}
static bool overlap(range a, range b) { return a.from < b.to && b.from < a.to; }

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t layout_a,
                              const void *b, cublasLtMatrixLayout_t layout_b, const void *beta,
                              const void *c, cublasLtMatrixLayout_t layout_c, void *d,
                              cublasLtMatrixLayout_t layout_d, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    work w = {};
    problem *p = &w.p;
    const cublasStatus_t status = read_problem(p, handle, operation, layout_a, layout_b, layout_c,
                                               layout_d);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (!algo || !alpha || !beta) return wrong("no algorithm, alpha or beta");
    memcpy(&w.chosen, algo, sizeof w.chosen);
    if (w.chosen.problem != mark_of(p)) return wrong("the algorithm is that of another product");
    const void *const at[FOUR] = { a, b, c, d };
    for (int i = 0; i < FOUR; i++)
        if (!at[i] || (uintptr_t)at[i] % w.chosen.align[i])
            return wrong("%s at %p is not aligned to %u", letters[i], at[i], w.chosen.align[i]);
    const bool biased = p->o.epilogue == CUBLASLT_EPILOGUE_BIAS;
    if (biased && (uintptr_t)p->o.bias % w.chosen.align_bias)
        return wrong("the bias at %p is not aligned to %u", p->o.bias, w.chosen.align_bias);
    if (workspace_bytes < w.chosen.workspace) return wrong("too little workspace");
    if (workspace_bytes && (!workspace || (uintptr_t)workspace % 256))
        return wrong("the workspace at %p is not aligned to 256", workspace);
    const range result = range_of("D", d, &p->x[D]),
                room = { "the workspace", (uintptr_t)workspace,
                         (uintptr_t)workspace + workspace_bytes },
                others[] = { range_of("A", a, &p->x[A]),
                             range_of("B", b, &p->x[B]),
                             { "the bias", (uintptr_t)p->o.bias,
                               (uintptr_t)p->o.bias + biased * p->m * width(p->x[D].type) } };
    for (const range &other : others)
        if (overlap(result, other) || overlap(room, other))
            return wrong("%s is written over", other.name);
    if (overlap(result, room) || (c != d && overlap(result, range_of("C", c, &p->x[C]))))
        return wrong("the result and the workspace, or C, overlap");
    for (int i = 0; i < FOUR; i++) w.in[i] = (const char *)at[i];
    w.c = (char *)d;
    w.parts = w.chosen.workspace ? (float *)workspace : NULL;
    w.alpha = *(const float *)alpha, w.beta = *(const float *)beta;
    emulator_blas_workspace = w.chosen.workspace, emulator_blas_parts = w.chosen.parts;
    emulator_blas_epilogue = (int)p->o.epilogue;
    return PITH_ENQUEUE(cublaslt_product, dim3(1), dim3(1), 0, stream, w) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
