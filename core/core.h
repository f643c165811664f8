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

typedef pith_real real;
typedef pith_node node;

/* Flags of an op. */
enum {
    /* result 0 may lie where input 0 lay, if sizes agree and nobody reads that input later */
    PITH_INPLACE = 1,
    PITH_ALIAS = 2,     /* no step: result 0 is input 0's memory from element attr.i[0] on */
    PITH_DISTINCT = 4,  /* never merged with an equal node nor folded: random numbers, assigns */
    PITH_LEAF = 8,      /* no inputs and no kernel: its memory comes from outside */
    PITH_NO_VALUE = 16, /* takes part in order only */
    PITH_GEMM = 32,     /* its time is that of the library's matrix product */
};

typedef void pith_kernel(const node *n, const void *const *in, void *const *out, void *scratch);

/* A pointwise op: one line of ops/pointwise.def. The fuser sees nothing else of it. */
typedef struct {
    /* `count` elements; out may be one of in */
    void (*tile)(int count, real *out, const real *const *in);
    const char *text; /* the expression itself, in a, b, c */
} pith_pointwise;

struct pith_op {
    const char *name;
    /* Sets n->dtype and dims from inputs and attributes, or returns pith_fail(n, ...). For further
     * results: pith_more_result. */
    bool (*shape)(node *n);
    /* dy[k]: the cotangent of result k, NULL where none arrived. Fill dx[k], one an input, NULL
     * beforehand and for no gradient. Return false to have the gradient taken from `lower` instead.
     * dx[k] may have any shape that broadcasting made of in[k]: the walk undoes it. */
    bool (*grad)(node *n, node *const *dy, node **dx);
    /* The meaning of a fused op as a composition of other ops: fill out[k] for each result. */
    void (*lower)(node *n, node **out);
    /* The sum of n nodes of this op, all of one shape, as few nodes. Asked of by the walk where
     * many of them arrive at one place; NULL: they are added one by one. */
    node *(*join)(int n, node *const *terms);
    pith_kernel *cpu;
    size_t (*scratch)(const node *n); /* bytes the kernel wants beside its inputs and outputs */
    const pith_pointwise *pointwise;
    double (*flops)(const node *n); /* of the matrix products inside, if any */
    unsigned flags;
    int results;         /* 0 means 1 */
    const char *no_grad; /* why there is no gradient, where there is none */
    /* Small instances away from kinks: a node for i = 0, 1, ... and then NULL. */
    node *(*example)(pith_graph *g, int i);
};

/* ---- making nodes ---------------------------------------------------------------------------- */

/* Appends a node and its further results. `at` NULL: the place is taken from the node whose
 * gradient is being made. */
node *pith_make(const char *at, const pith_op *op, pith_graph *g, int n_in, node *const *in,
                const pith_attr *attr);
/* attr may be NULL */
node *pith_make1(const char *at, const pith_op *op, node *a, const pith_attr *attr);
node *pith_make2(const char *at, const pith_op *op, node *a, node *b, const pith_attr *attr);
node *pith_make3(const char *at, const pith_op *op, node *a, node *b, node *c,
                 const pith_attr *attr);

/* For shape rules: reports "file:line: op: message" with the inputs and the call trail, poisons n,
 * returns false. */
bool pith_fail(node *n, const char *format, ...);
bool pith_like(node *n, const node *a); /* n gets a's dtype and shape; returns true */
bool pith_shape(node *n, pith_dtype dtype, int ndim, const int *dim);
/* result k >= 1 */
bool pith_more_result(node *n, int k, pith_dtype dtype, int ndim, const int *dim);
/* checks an input; ndim < 0: at least -ndim axes */
bool pith_want(node *n, int input, pith_dtype dtype, int ndim);
/* counted from the end if negative; -1 after pith_fail */
int pith_axis(node *n, int axis, int ndim);

void *pith_alloc(pith_graph *g, size_t size); /* zeroed, 64-byte aligned, freed with the graph */
/* a text that lives as long as the graph */
const char *pith_keep(pith_graph *g, const char *format, ...);

/* ---- reading nodes --------------------------------------------------------------------------- */

bool pith_same_shape(const node *a, const node *b);
size_t pith_width(pith_dtype dtype); /* bytes an element */
size_t pith_bytes(const node *n);
size_t pith_rows(const node *n); /* product of all dims but the last; last axis: pith_columns */
size_t pith_columns(const node *n);
const char *pith_shape_text(const node *n, char text[96]); /* "(8, 512)"; returns text */
bool pith_poisoned(const node *n);

/* Expand to a's shape, unless it has it already. */
node *pith_expand_like(node *n, const node *a);
/* Undo broadcasting: sum n down to a's shape. */
node *pith_reduce_like(node *n, const node *a);
node *pith_reshape_dims(const char *at, node *a, int ndim, const int *dim);
node *pith_expand_dims(const char *at, node *a, int ndim, const int *dim);
/* data NULL: zeros */
node *pith_const_dims(const char *at, pith_graph *g, pith_dtype dtype, const void *data, int ndim,
                      const int *dim);
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
    pith_op_assign, pith_op_group, pith_op_expand, pith_op_detach;

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
#define CAST(a, dtype) pith_cast_(NULL, a, dtype)
#define MATMUL(a, b) pith_matmul_(NULL, a, b)
#define MATMUL_NT(a, b) pith_matmul_nt_(NULL, a, b)
#define MATMUL_TN(a, b) pith_matmul_tn_(NULL, a, b)
#define RESHAPE_LIKE(a, b) pith_reshape_dims(NULL, a, (b)->ndim, (b)->dim)
/* (..., n) -> (..., n, 1): what a reduction over the last axis took away. */
node *pith_keep_axis(node *a, int axis);
#define KEEP(a, axis) pith_keep_axis(a, axis)

/* ---- numbers --------------------------------------------------------------------------------- */

/* Elementary functions on real: libm's in the double build; in float, polynomials whose error is
 * stated in ops/functions.h. */

/* Matrix product on row-major memory (ops/gemm.c): c (m, n) = op(a) op(b) [+ c if `add`]; lda etc.
 * are row strides. */
void pith_gemm(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
               int ldb, real *c, int ldc, bool add);
/* The same, by the calling thread alone: for use inside a parallel region. */
void pith_gemm_block(bool ta, bool tb, int m, int n, int k, const real *a, int lda, const real *b,
                     int ldb, real *c, int ldc, bool add);
const char *pith_gemm_library(void);

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
uint64_t pith_stream_key(pith_graph *g);             /* the key of the scope's next random op */
#endif
