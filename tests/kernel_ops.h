/* kernel_ops.h: the ops that test_kernels.c tries: all that have a kernel for CUDA, or, with
 * OP=name, one of them; and whether each is tried enough. */
#ifndef PITH_TESTS_KERNEL_OPS_H
#define PITH_TESTS_KERNEL_OPS_H
#include "tests.h"
#include "ops_list.h"

static bool is_wanted(const pith_op *op)
{
    const char *only = getenv("OP");
    return op->cuda && (!only || strcmp(only, op->name) == 0);
}

/* Where OP is no such op, or has no kernel, nothing would run, and all would pass. */
static bool any_is_wanted(void)
{
    const pith_op *const *op = every_op;
    while (*op && !is_wanted(*op)) op++;
    if (!*op) fprintf(stderr, "no op %s with a kernel for CUDA\n", getenv("OP"));
    return *op;
}

/* Examples are small, often of one block; what is not pointwise depends on where blocks end. */
static void every_op_has_odd_sizes(void **state)
{
    (void)state;
#define ODD(op_name, ...) &pith_op_##op_name,
    static const pith_op *const has[] = { &pith_op_write_rows, /* in `writes` */
#include "odd_sizes.def"
                                          NULL };
#undef ODD
    for (const pith_op *const *op = every_op; *op; op++) {
        int k = 0;
        while (has[k] && has[k] != *op) k++;
        if (is_wanted(*op) && !(*op)->pointwise && !has[k])
            fail_msg("%s has no line in odd_sizes.def", (*op)->name);
    }
}
#endif
