/* blas.cu: matrix products through cuBLASLt, which is opened at run time: the program also starts
 * where there is none.
 *
 * The same bits every time. cuBLASLt promises them on GPUs of one kind, for one version, if the
 * workspace is the caller's own, as it is here. What could still differ is which way to make a
 * product is taken, so nothing is timed: it is the first that the library's heuristic names, asked
 * once for all equal products when a plan is made. Where k is cut into parts that are added later,
 * of the schemes documented
 *   INPLACE       adds the parts in the result itself, one at a time, but in no order that is
 *                 documented, and others have seen the last bits change: not allowed;
 *   COMPUTE_TYPE  lays them in the workspace as f32, and adds them in a step of its own: allowed;
 *   OUTPUT_TYPE   does the same in the type of the result: of f32 no gain over the former, and of
 *                 bf16 it rounds every part: not allowed.
 *
 * A bias is added in the product's own pass. Its gradient is not made there (BGRADA, BGRADB): it is
 * a sum over rows, a node as any other, which the planner merges, casts and places, and its order
 * of adding is known. TF32 is for who asks this door for it; no plan does. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <cublasLt.h>
#include "blas.h"
#include "launch.h"

enum { OLDEST = 120000, DEVICES = 16, RESULTS = 8, BLOCK = 256 };
static const size_t MOST_ROWS = 1024,  /* of blocks */
    MOST_WORKSPACE = (size_t)32 << 20; /* what NVIDIA advises for an H100 */

/* ---- the library ---- */

/* clang-format off */
#define FUNCTIONS(X)                                                                               \
    X(GetVersion) X(GetStatusString) X(Create) X(Destroy)                                          \
    X(MatmulDescCreate) X(MatmulDescDestroy) X(MatmulDescSetAttribute)                             \
    X(MatrixLayoutCreate) X(MatrixLayoutDestroy) X(MatrixLayoutSetAttribute)                       \
    X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy) X(MatmulPreferenceSetAttribute)           \
    X(MatmulAlgoGetHeuristic) X(Matmul)
/* clang-format on */

static struct {
    void *library;
#define DECLARED(name) decltype(&cublasLt##name) name;
    FUNCTIONS(DECLARED)
} blas;
static cublasLtHandle_t handles[DEVICES];                /* one a device */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all that is static here */
static __thread char why[256];                           /* the latest call failed */

static bool fails(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    return false;
}

static bool done(cublasStatus_t status, const char *name)
{
    return status == CUBLAS_STATUS_SUCCESS || fails("%s: %s", name, blas.GetStatusString(status));
}
#define DONE(name, ...) done(blas.name(__VA_ARGS__), "cublasLt" #name)

static bool find_functions(void)
{
#define FOUND(name)                                                                                \
    blas.name = (decltype(blas.name))dlsym(blas.library, "cublasLt" #name);                        \
    if (!blas.name)                                                                                \
        return fails("matrix products on CUDA want cuBLASLt 12 or later: the one here has no "     \
                     "cublasLt" #name);
    FUNCTIONS(FOUND)
    const size_t version = blas.GetVersion(), unit = version < 100000 ? 1000 : 10000;
    return version >= OLDEST || fails("matrix products on CUDA want cuBLASLt 12 or later: the one "
                                      "here is of version %zu.%zu",
                                      version / unit, version % unit / 100);
}

static bool open_library(void)
{
    const char *const names[] = {
#ifdef PITH_EMULATE
        emulator_cublaslt, /* NULL: the program itself, and so tests/emulator/cublaslt.cpp */
#else
        "libcublasLt.so.13",
        "libcublasLt.so.12",
        "libcublasLt.so",
#endif
    };
    if (blas.library) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names && !blas.library; i++)
        blas.library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!blas.library)
        return fails("matrix products on CUDA want cuBLASLt 12 or later: there is no "
                     "libcublasLt.so.13 or libcublasLt.so.12 among the libraries here");
    if (find_functions()) return true;
    dlclose(blas.library);
    blas.library = NULL;
    return false;
}

static int device_now(void)
{
    int device = 0;
    /* where there is none, cublasLtCreate says so */
    return cudaGetDevice(&device) == cudaSuccess ? device : 0;
}

static bool open_handle(int device)
{
    if (!open_library()) return false;
    if (device >= DEVICES) return fails("more than %d devices", DEVICES);
    return handles[device] || DONE(Create, &handles[device]);
}

/* ---- how a product is made ---- */

typedef struct way {
    struct way *next;
    pith_cuda_product p;
    int device;
    size_t version;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
    bool found; /* else the library cannot add the bias in the same pass */
} way;
static way *ways;

static void let_go(way *w)
{
    if (w->operation) blas.MatmulDescDestroy(w->operation);
    if (w->a) blas.MatrixLayoutDestroy(w->a);
    if (w->b) blas.MatrixLayoutDestroy(w->b);
    if (w->c) blas.MatrixLayoutDestroy(w->c);
    free(w);
}

static bool set_bias(const way *w, const void *bias)
{
    return DONE(MatmulDescSetAttribute, w->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                sizeof bias);
}

/* A matrix of `rows` times `columns` by rows, of which the library, for which all are by columns,
 * sees the transpose. */
static bool describe_matrix(cublasLtMatrixLayout_t *layout, cudaDataType_t type, int rows,
                            int columns, int leading, size_t batch, size_t step)
{
    const int32_t count = (int32_t)batch;
    const int64_t offset = (int64_t)step;
    return DONE(MatrixLayoutCreate, layout, type, (uint64_t)columns, (uint64_t)rows, leading) &&
           DONE(MatrixLayoutSetAttribute, *layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                sizeof count) &&
           DONE(MatrixLayoutSetAttribute, *layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                &offset, sizeof offset);
}

/* By columns c^T = op(b)^T op(a)^T is made, of the transposes that the library sees: so its first
 * factor is b and its second a, each with its own flag, and its rows are our columns: n of them,
 * as long as the bias. */
static bool describe(way *w)
{
    const product *s = &w->p.shape;
    const cudaDataType_t factor = w->p.factors == PITH_CUDA_BF16 ? CUDA_R_16BF : CUDA_R_32F,
                         result = w->p.result == PITH_CUDA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasComputeType_t compute = w->p.factors == PITH_CUDA_TF32
                                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                            : CUBLAS_COMPUTE_32F;
    const int32_t first = s->tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                  second = s->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint32_t epilogue = w->p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    if (s->batch > INT32_MAX) return fails("%zu products at once, at most 2^31 - 1", s->batch);
    return DONE(MatmulDescCreate, &w->operation, compute, CUDA_R_32F) &&
           DONE(MatmulDescSetAttribute, w->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                sizeof first) &&
           DONE(MatmulDescSetAttribute, w->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                sizeof second) &&
           DONE(MatmulDescSetAttribute, w->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                sizeof epilogue) &&
           /* nobody reads there yet: only how the address is aligned counts */
           (!w->p.bias || set_bias(w, (const void *)(uintptr_t)w->p.align_bias)) &&
           describe_matrix(&w->a, factor, s->ta ? s->k : s->m, s->ta ? s->m : s->k, s->lda,
                           s->batch, s->step_a) &&
           describe_matrix(&w->b, factor, s->tb ? s->n : s->k, s->tb ? s->k : s->n, s->ldb,
                           s->batch, s->step_b) &&
           describe_matrix(&w->c, result, s->m, s->n, s->ldc, s->batch, s->step_c);
}

static bool prefer(cublasLtMatmulPreference_t preference, const pith_cuda_product *p)
{
    const uint64_t most = MOST_WORKSPACE;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, /* or parts of k not at all */
        a = (uint32_t)p->align_b, b = (uint32_t)p->align_a, c = (uint32_t)p->align_c;
#define PREFER(attribute, value)                                                                   \
    DONE(MatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_##attribute, &value,       \
         sizeof value)
    return PREFER(MAX_WORKSPACE_BYTES, most) && PREFER(REDUCTION_SCHEME_MASK, schemes) &&
           PREFER(MIN_ALIGNMENT_A_BYTES, a) && PREFER(MIN_ALIGNMENT_B_BYTES, b) &&
           PREFER(MIN_ALIGNMENT_C_BYTES, c) && PREFER(MIN_ALIGNMENT_D_BYTES, c);
}

static bool choose(way *w)
{
    cublasLtMatmulHeuristicResult_t results[RESULTS];
    cublasLtMatmulPreference_t preference;
    int count = 0;
    if (!DONE(MatmulPreferenceCreate, &preference)) return false;
    bool good = prefer(preference, &w->p);
    if (good) {
        const cublasStatus_t status = blas.MatmulAlgoGetHeuristic(handles[w->device], w->operation,
                                                                  w->b, w->a, w->c, w->c,
                                                                  preference, RESULTS, results,
                                                                  &count);
        good = status == CUBLAS_STATUS_NOT_SUPPORTED ||
               done(status, "cublasLtMatmulAlgoGetHeuristic");
    }
    blas.MatmulPreferenceDestroy(preference);
    if (!good) return false;
    for (int i = 0; i < count && !w->found; i++) {
        if (results[i].state != CUBLAS_STATUS_SUCCESS) continue;
        w->found = true;
        w->algo = results[i].algo;
        w->workspace = results[i].workspaceSize;
    }
    return w->found || w->p.bias || fails("cuBLASLt has no way to make this product");
}

/* Found among those chosen before, or chosen now; NULL where there is none. */
static way *way_of(const pith_cuda_product *p)
{
    const int device = device_now();
    if (!open_handle(device)) return NULL;
    const size_t version = blas.GetVersion();
    for (way *w = ways; w; w = w->next)
        if (w->device == device && w->version == version && memcmp(&w->p, p, sizeof *p) == 0)
            return w;
    way *w = (way *)calloc(1, sizeof *w);
    if (!w) return fails("no memory for a product"), (way *)NULL;
    w->p = *p, w->device = device, w->version = version;
    if (!describe(w) || !choose(w)) return let_go(w), (way *)NULL;
    w->next = ways;
    return ways = w;
}

/* Where the library does not add a bias: to what is added when the bias lies in c already. */
static pith_cuda_product without_bias(const pith_cuda_product *p)
{
    pith_cuda_product q = *p;
    q.bias = q.align_bias = 0;
    q.add = 1;
    return q;
}

extern "C" size_t pith_cuda_product_scratch(const pith_cuda_product *p)
{
    pthread_mutex_lock(&lock);
    const way *w = way_of(p);
    if (w && !w->found) {
        const pith_cuda_product q = without_bias(p);
        w = way_of(&q);
    }
    const size_t bytes = w ? w->workspace : SIZE_MAX;
    pthread_mutex_unlock(&lock);
    if (!w) pith_raise("%s", why);
    return bytes;
}

/* ---- launches ---- */

/* A column a thread, many rows. */
template <class T>
static __global__ void __launch_bounds__(BLOCK)
    spread_bias(size_t rows, size_t columns, const T *bias, T *c)
{
    const size_t column = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (column >= columns) return;
    const T x = bias[column];
    for (size_t row = blockIdx.y; row < rows; row += gridDim.y) c[row * columns + column] = x;
}

static bool launch_bias(const pith_call *call, const pith_cuda_product *p, const void *bias,
                        void *c)
{
    const size_t rows = p->shape.batch * (size_t)p->shape.m, columns = (size_t)p->shape.n;
    const dim3 grid(blocks_of(columns, BLOCK), (unsigned)(rows < MOST_ROWS ? rows : MOST_ROWS));
    return p->result == PITH_CUDA_BF16 ? PITH_LAUNCH(call, spread_bias<bf16>, grid, BLOCK, 0, rows,
                                                     columns, (const bf16 *)bias, (bf16 *)c)
                                       : PITH_LAUNCH(call, spread_bias<float>, grid, BLOCK, 0, rows,
                                                     columns, (const float *)bias, (float *)c);
}

static bool launch(const pith_call *call, const way *w, const void *a, const void *b,
                   const void *bias, void *c)
{
    const float one = 1, beta = w->p.add ? 1 : 0;
    return (!w->p.bias || set_bias(w, bias)) &&
           DONE(Matmul, handles[w->device], w->operation, &one, b, w->b, a, w->a, &beta, c, w->c, c,
                w->c, &w->algo, w->workspace ? call->scratch : NULL, w->workspace,
                (cudaStream_t)call->stream);
}

extern "C" bool pith_cuda_multiply(const pith_call *call, const pith_cuda_product *p, const void *a,
                                   const void *b, const void *bias, void *c)
{
    pthread_mutex_lock(&lock); /* the bias's address stays in the descriptor until it is launched */
    const way *w = way_of(p);
    const bool found = w && w->found, good = w && (!found || launch(call, w, a, b, bias, c));
    pthread_mutex_unlock(&lock);
    if (!good) return pith_raise("%s: %s: %s", call->n->at, call->n->op->name, why);
    const pith_cuda_product q = without_bias(p);
    return found || (launch_bias(call, p, bias, c) && pith_cuda_multiply(call, &q, a, b, NULL, c));
}

/* ---- the rest of the door ---- */

static int alignment_of(const node *n)
{
    size_t offset = 0;
    for (; n->op->flags & PITH_ALIAS; n = n->in[0])
        if (n->op->offset) offset += n->op->offset(n) * pith_width(n->dtype);
    offset |= 256; /* every buffer's, and so at most that */
    return (int)(offset & -offset);
}

extern "C" pith_cuda_product pith_cuda_product_of(product shape, const node *a, const node *b,
                                                  const node *bias, pith_dtype result)
{
    pith_cuda_product p;
    p.shape = shape;
    p.factors = a->dtype == PITH_BF16 ? PITH_CUDA_BF16 : PITH_CUDA_F32;
    p.result = result == PITH_BF16 ? PITH_CUDA_BF16 : PITH_CUDA_F32;
    p.add = 0;
    p.bias = bias != NULL;
    p.align_a = alignment_of(a), p.align_b = alignment_of(b), p.align_c = 256;
    p.align_bias = bias ? alignment_of(bias) : 0;
    return p;
}

extern "C" size_t pith_cuda_blas_version(void)
{
    pthread_mutex_lock(&lock);
    const size_t version = open_library() ? blas.GetVersion() : 0;
    pthread_mutex_unlock(&lock);
    return version;
}

extern "C" void pith_cuda_blas_close(void)
{
    pthread_mutex_lock(&lock);
    for (way *w = ways, *next; w; w = next) next = w->next, let_go(w);
    ways = NULL;
    for (int i = 0; i < DEVICES; i++)
        if (handles[i]) blas.Destroy(handles[i]), handles[i] = NULL;
    if (blas.library) dlclose(blas.library);
    blas.library = NULL;
    pthread_mutex_unlock(&lock);
}
