/* core.h: for authors of ops. An op is one page in ops/: its shape rule, gradient rule, CPU kernel,
 * descriptor and examples.
 *
 * There is no enum, no switch and no registry: a node points at its constant descriptor, and the
 * linker is the registry. ops/README.md shows a whole page. */
#ifndef PITH_CORE_H
#define PITH_CORE_H
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include "pith.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef pith_real real;
typedef pith_node node;

/* Flags of an op. */
enum {
    PITH_INPLACE = 1,   /* result 0 may lie where input 0 lay, if sizes agree and nobody reads that
                           input later */
    PITH_ALIAS = 2,     /* no step: result 0 lies in input 0's memory, from element .offset on */
    PITH_DISTINCT = 4,  /* never merged with an equal node nor folded: random numbers, writes */
    PITH_LEAF = 8,      /* its memory comes from outside: fed, stored or constant */
    PITH_NO_VALUE = 16, /* takes part in order only */
    PITH_GEMM = 32,     /* its time is that of the library's matrix product */
    PITH_PART = 64,     /* a further result of another op, whose step makes it */
    PITH_WRITE = 128,   /* result 0 is input 0 itself, a stored leaf, which the kernel writes */
    PITH_MOVES = 256,   /* it moves elements of any dtype, and computes nothing */
};

/* Declares the struct of an op's attributes: PITH_ATTRIBUTES(cast_attr, pith_dtype to;). A node
 * keeps a copy, equal nodes are found by comparing its bytes, and so padding is an error of the
 * compiler (gcc's). A pointer among them means the very thing it points at. */
#define PITH_ATTRIBUTES(name, ...)                                                                 \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic error \"-Wpadded\"") typedef struct {   \
        __VA_ARGS__                                                                                \
    } name;                                                                                        \
    _Pragma("GCC diagnostic pop")

/* What a kernel gets. Pointers are to memory of the device that the plan's store lives on. */
typedef struct {
    const node *n;
    const void *const *in; /* one per input */
    void *const *out;      /* one a result */
    void *scratch;         /* as many bytes as the op asked for */
    const void *prepared;  /* what its .prepare made; NULL without one */
    void *stream;          /* of the device, NULL on the CPU */
} pith_call;
typedef bool pith_kernel(const pith_call *call); /* false after pith_raise: the run ends there */

/* What an op makes ready for its kernel. */
typedef struct {
    void *object;   /* not changed any more: several runs and threads may read it */
    size_t scratch; /* bytes the kernel wants, beside those of .scratch */
} pith_prepared;

/* Declares NAME_cuda, the launcher of an op's kernel in cuda/, for a descriptor's .cuda: one that
 * nobody wrote is an error of the linker. Built without CUDA nobody writes any, and a weak function
 * without a body has the address NULL. The second also declares NAME_cuda_scratch. */
#ifdef PITH_WITH_CUDA
#define PITH_ELSEWHERE
#else
#define PITH_ELSEWHERE __attribute__((weak))
#endif
#define PITH_ON_CUDA(name) PITH_ELSEWHERE pith_kernel name##_cuda
#define PITH_ON_CUDA_WITH_SCRATCH(name)                                                            \
    PITH_ON_CUDA(name);                                                                            \
    PITH_ELSEWHERE size_t name##_cuda_scratch(const node *n)

/* Computes `count` elements of a pointwise op; out may be one of in. */
typedef void pith_tile(int count, void *out, const void *const *in);

/* One combination of dtypes that a pointwise op takes, what it then gives, and how. */
typedef struct {
    pith_dtype in[3], out;
    pith_tile *tile;
    /* The expression itself, in a, b, c: source for devices. pith_print writes that of the first
     * form, "a + b" and "-a" as they stand, anything longer as name(a, b). */
    const char *text;
} pith_form;

/* A pointwise op: one line of ops/pointwise.def. The fuser sees nothing else of it. */
typedef struct {
    const pith_form *forms;
    int n_forms;
} pith_pointwise;

enum { PITH_MOST_RESULTS = 8 };

struct pith_op {
    const char *name;
    size_t attr_size; /* of what a node of this op keeps in n->attr: sizeof its PITH_ATTRIBUTES */
    /* Sets n->dtype and dims from inputs and attributes, or returns pith_fail(n, ...). It may
     * rewrite the attributes: what means the same should be the same bytes. For further results:
     * pith_more_result. */
    bool (*shape)(node *n);
    /* dy[k]: the cotangent of result k, NULL where none arrived. Fill dx[k], one per input, NULL
     * beforehand and for no gradient. Return false to have the gradient taken from `lower` instead.
     * dx[k] may have any shape that broadcasting made of in[k]: the walk undoes it. */
    bool (*grad)(node *n, node *const *dy, node **dx);
    /* The meaning of a fused op as a composition of other ops: fill out[k] for each result. */
    void (*lower)(node *n, node **out);
    /* The sum of n nodes of this op, all of one shape, in fewer nodes than n - 1 additions. The
     * gradient walk asks for it where many of them are cotangents of one node. NULL: they are added
     * one by one. */
    node *(*join)(int n, node *const *terms);
    pith_kernel *cpu, *cuda; /* cuda: its launcher, see PITH_ON_CUDA */
    /* bytes the kernels want beside their inputs and outputs; SIZE_MAX after pith_raise */
    size_t (*scratch)(const node *n), (*cuda_scratch)(const node *n);
    /* Called once a plan, before its memory is laid out: it sees shapes and no addresses. What it
     * makes may be shared by nodes of equal shape, under a lock of the op's own; `release` lets it
     * go with the plan. False after pith_raise. */
    bool (*prepare)(const node *n, pith_prepared *p);
    void (*release)(void *object);
    size_t (*offset)(const node *n); /* of an alias, in elements; NULL: 0 */
    /* Bytes a run reads and writes, where that is not all of its inputs and results. */
    size_t (*moved)(const node *n);
    const pith_pointwise *pointwise;
    double (*flops)(const node *n); /* of the matrix products inside, if any */
    /* Which inputs and results may be bf16, a bit each, and which inputs are what the results are;
     * do kernels know it, the CPU's on this machine? PITH_MIXED: also what gives f32 of it. See
     * core/precision/. */
    struct {
        unsigned in, out, as_out;
    } bf16;
    bool (*cpu_bf16)(void);
    enum { PITH_ALIKE = 1, PITH_MIXED } cuda_bf16;
    unsigned flags;
    int results;         /* at most PITH_MOST_RESULTS; 0 means 1 */
    const char *no_grad; /* why there is no gradient, where there is none */
    /* Small instances away from kinks: a node for i = 0, 1, ... and then NULL. */
    node *(*example)(pith_graph *g, int i);
};

/* ---- making nodes ---------------------------------------------------------------------------- */

/* Appends a node and its further results. `at` NULL: the place is taken from the node whose
 * gradient is being made. */
node *pith_make(const char *at, const pith_op *op, pith_graph *g, int n_in, node *const *in,
                const void *attr);
/* attr may be NULL */
node *pith_make1(const char *at, const pith_op *op, node *a, const void *attr);
node *pith_make2(const char *at, const pith_op *op, node *a, node *b, const void *attr);
node *pith_make3(const char *at, const pith_op *op, node *a, node *b, node *c, const void *attr);

/* For shape rules: each returns false after an error. pith_fail makes one: it reports "file:line:
 * op: message" with the inputs and the call trail. */
bool pith_fail(node *n, const char *format, ...);
/* Give n a shape: dims of at least 1, at most 2^48 bytes, a dtype of the table. */
bool pith_shape(node *n, pith_dtype dtype, int ndim, const int *dim);
bool pith_like(node *n, const node *a); /* that of a */
/* The same for result k of an op with several, k >= 1. */
bool pith_more_result(node *n, int k, pith_dtype dtype, int ndim, const int *dim);
/* dim[axis] becomes `size`, a sum that may be more than an int holds: then it is an error. */
bool pith_dim(node *n, int axis, int64_t size, int *dim);
/* Is this input of the dtype and the number of axes expected? ndim < 0: at least -ndim axes. */
bool pith_want(node *n, int input, pith_dtype dtype, int ndim);
/* An axis counted from the end if it is negative; -1 after pith_fail. */
int pith_axis(node *n, int axis, int ndim);
/* For ops that write (PITH_WRITE): input 0 is a stored leaf, or what wrote it before; from now on
 * the leaf itself may not be read any more. */
bool pith_mark_written(node *n);
node *pith_written_leaf(const node *write); /* what it writes; a leaf itself: the leaf */
const node *pith_root(const node *n);       /* the node whose memory an alias lies in */
/* Are the rows of the dtype of `leaf` (V, ...), and of the shape of the ids and then of a row? */
bool pith_rows_fit(node *n, const node *leaf, const node *ids, const node *rows);

/* Zeroed, freed with the graph; 64-byte aligned, but up to 32 bytes only 16-byte aligned. */
void *pith_alloc(pith_graph *g, size_t size);
/* A text, as printf makes it, that lives as long as the graph. */
const char *pith_keep(pith_graph *g, const char *format, ...);

/* ---- reading nodes --------------------------------------------------------------------------- */

bool pith_same_shape(const node *a, const node *b);
size_t pith_bytes(const node *n);
size_t pith_rows(const node *n); /* product of all dims but the last; last axis: pith_columns */
size_t pith_columns(const node *n);
const char *pith_shape_text(const node *n, char text[96]); /* "(8, 512)"; returns text */
bool pith_poisoned(const node *n);
/* False after saying "pith_run: the plan is NULL". */
bool pith_given(const void *argument, const char *function, const char *what);
/* the form of a pointwise op that takes its inputs' dtypes; NULL if none does */
const pith_form *pith_form_of(const node *n);

/* How a tensor repeats over the larger shape of `over`: the axes that are left where neighbours
 * that behave alike are one, slowest first. n 0: a single element. */
typedef struct {
    int n;
    size_t dim[PITH_MAX_DIMS], stride[PITH_MAX_DIMS]; /* strides in elements, 0 where repeated */
} pith_repeat;
pith_repeat pith_repeat_of(const node *a, const node *over);

/* ---- nodes made by dims ---------------------------------------------------------------------- */

node *pith_expand_like(node *n, const node *a); /* to a's shape, unless it has it already */
node *pith_reduce_like(node *n, const node *a); /* undo broadcasting: sum n down to a's shape */
node *pith_reshape_dims(const char *at, node *a, int ndim, const int *dim);
node *pith_expand_dims(const char *at, node *a, int ndim, const int *dim);
/* data NULL: zeros */
node *pith_const_dims(const char *at, pith_graph *g, pith_dtype dtype, const void *data, int ndim,
                      const int *dim);
/* A scalar of any dtype; an error where the dtype does not hold the value (0.5 as an i32). */
node *pith_const_scalar(const char *at, pith_graph *g, pith_dtype dtype, double value);
/* `count` dims from a list that ends with PITH_END. */
#define PITH_DIMS(first_before, dim, count)                                                        \
    do {                                                                                           \
        va_list list_;                                                                             \
        va_start(list_, first_before);                                                             \
        (count) = 0;                                                                               \
        for (int d_; (d_ = va_arg(list_, int)) != PITH_END; (count)++)                             \
            if ((count) < PITH_MAX_DIMS) (dim)[(count)] = d_;                                      \
        va_end(list_);                                                                             \
    } while (0)

/* ---- stores ---------------------------------------------------------------------------------- */

/* For who reads and writes whole stores. A run that ended midway leaves its store torn: plans and
 * saving refuse it until it has been loaded again. */
bool pith_store_is_whole(const pith_store *s); /* false after saying so */
bool pith_store_settle(const pith_store *s); /* the same once its device has done all it was told */
void pith_store_mend(pith_store *s);         /* every tensor has been written anew */

/* ---- dtypes (dtype.c) ------------------------------------------------------------------------ */

/* A line of the table of dtypes. */
typedef struct {
    const char *name; /* "f32" */
    size_t bytes;     /* an element */
    const char *file; /* its name in safetensors files: "F32" */
    /* of integers, the smallest and the largest; both 0 for floating-point dtypes */
    double least, largest;
    void (*load)(const void *from, double *to, size_t count);
    /* integers: towards zero; what does not fit becomes the nearest that does, NaN the least */
    void (*store)(const double *from, void *to, size_t count);
} pith_dtype_info;
const pith_dtype_info *pith_dtype_find(pith_dtype dtype); /* NULL for what is no dtype */
bool pith_dtype_holds(pith_dtype dtype, double x);        /* may x be one of its numbers? */
double pith_dtype_read(pith_dtype dtype, const void *x);  /* the number at x */
/* the first of `size` elements that is NaN or infinite, or -1 */
int64_t pith_first_not_finite(pith_dtype dtype, size_t size, const void *data);

/* A type that safetensors files may hold, and the dtype it is read into. */
typedef struct {
    const char *name; /* "BF16" */
    size_t bytes;
    pith_dtype dtype;
    void (*load)(const void *from, double *to, size_t count);
} pith_file_type;
const pith_file_type *pith_file_type_find(const char *name); /* NULL if it is not read here */

/* ---- for examples and tests ------------------------------------------------------------------ */

/* An input of uniform numbers in [low, high], or, with PITH_AWAY as low, in +-[0.2, 1.2]; each one
 * of a graph has others. */
#define PITH_AWAY (-1e30)
#define pith_sample(g, low, ...) pith_sample_(g, low, __VA_ARGS__, PITH_END)
node *pith_sample_(pith_graph *g, double low, double high, ...);
#define pith_sample_ids(g, ...)                                                                    \
    pith_sample_ids_(g, __VA_ARGS__, PITH_END) /* i32 input in [0, below) */
node *pith_sample_ids_(pith_graph *g, int below, ...);
const void *pith_sample_data(const node *n); /* what to feed such an input */

/* ---- the structural few ops that core knows by name ------------------------------------------ */

extern const pith_op pith_op_input, pith_op_param, pith_op_state, pith_op_const, pith_op_result,
    pith_op_assign, pith_op_group, pith_op_update, pith_op_expand, pith_op_narrow, pith_op_widen;

/* ---- compositions, for rules: they take their place from the node at hand -------------------- */

#define ADD(a, b) pith_add_(NULL, a, b)
#define SUB(a, b) pith_sub_(NULL, a, b)
#define MUL(a, b) pith_mul_(NULL, a, b)
#define DIV(a, b) pith_div_(NULL, a, b)
#define NEG(a) pith_neg_(NULL, a)
#define EXP(a) pith_exp_(NULL, a)
#define LOG(a) pith_log_(NULL, a)
#define SQUARE(a) pith_square_(NULL, a)
#define RSQRT(a) pith_rsqrt_(NULL, a)
#define WHERE(c, a, b) pith_where_(NULL, c, a, b)
#define EQUAL(a, b) pith_equal_(NULL, a, b)
#define LESS(a, b) pith_less_(NULL, a, b)
#define SCALE(a, c) pith_mul_scalar_(NULL, a, c)
#define SHIFT(a, c) pith_add_scalar_(NULL, a, c)
#define SUM(a, ...) pith_sum_(NULL, a, __VA_ARGS__, PITH_END)
#define MAX(a, ...) pith_max_(NULL, a, __VA_ARGS__, PITH_END)
#define DETACH(a) pith_detach_(NULL, a)
#define MATMUL(a, b) pith_matmul_(NULL, a, b)
#define MATMUL_NT(a, b) pith_matmul_nt_(NULL, a, b)
#define MATMUL_TN(a, b) pith_matmul_tn_(NULL, a, b)
#define RESHAPE_LIKE(a, b) pith_reshape_dims(NULL, a, (b)->ndim, (b)->dim)
/* An axis of size 1 put in at `axis`, as a reduction over it took it away; -1: (..., n) ->
 * (..., n, 1). */
node *pith_keep_axis(node *a, int axis);
#define KEEP(a, axis) pith_keep_axis(a, axis)

/* ---- numbers --------------------------------------------------------------------------------- */

/* Matrix product on row-major memory (ops/gemm.c): c (m, n) = op(a) op(b) [+ c if `add`]; lda etc.
 * are row strides. */
void pith_gemm(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
               int ldb, real *c, int ldc, bool add);
/* The same, by the calling thread alone: for use inside a parallel region. */
void pith_gemm_block(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
                     int ldb, real *c, int ldc, bool add);

/* Kernels cut their work into blocks fixed by the shape, never by the number of threads, each
 * computed by one thread; partial sums are added in block order. So any number of threads gives the
 * same bits. Below this much work a kernel stays on one thread. */
#define PITH_SMALL 16384

/* Philox4x32-10 (random.c): four words from a 64-bit key and a 128-bit counter. */
void pith_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[4]);
/* element's number in [0, 1) */
double pith_uniform_at(uint64_t key, uint64_t step, uint64_t element);
double pith_normal_at(uint64_t key, uint64_t step, uint64_t element);
uint64_t pith_hash(const char *text, uint64_t seed); /* FNV-1a */
/* files/kept.c: what was made of the text `key`, maybe by another process; the caller frees it.
 * NULL: it is not there, which is no error. */
void *pith_kept_find(const char *key, size_t *size);
void pith_kept_add(const char *key, const void *made, size_t size);
uint64_t pith_stream_key(pith_graph *g); /* the key of the scope's next random op */
#ifdef __cplusplus
}
#endif
#endif
