/* test_sizes.c: sizes at which 32 bits, or memory, end: refused with the caller's line, or right.
 */
#include <sys/mman.h>
#include "tests.h"

/* The error begins with a line of the statement that `line` belongs to. */
static void told_at(int line)
{
    int told = 0;
    sscanf(pith_error(), "tests/test_sizes.c:%d: ", &told);
    if (abs(told - line) > 3) fail_msg("line %d is told, not %d: %s", told, line, pith_error());
}

/* The expression, in a graph g of its own, is refused at the line it stands in. */
#define REFUSED(part, expression)                                                                  \
    do {                                                                                           \
        pith_store *store = pith_store_new();                                                      \
        pith_graph *g = pith_graph_new(store, 0);                                                  \
        node *n = (expression);                                                                    \
        assert_true(n &&pith_poisoned(n));                                                         \
        said(part);                                                                                \
        told_at(__LINE__);                                                                         \
        pith_graph_free(g);                                                                        \
        pith_store_free(store);                                                                    \
    } while (0)

static node *numbers(pith_graph *g, int a, int b, int c, int d)
{
    return pith_input(g, "x", PITH_F32, a, b, c, d);
}

static void shapes(void **state)
{
    (void)state;
    REFUSED("expand: (65536, 65536, 65536, 65536) has more bytes than memory has addresses",
            pith_expand(numbers(g, 1, 1, 1, 1), 65536, 65536, 65536, 65536));
    REFUSED("expand: (65536, 65536, 65536, 16384) has more bytes than memory has addresses",
            pith_expand(numbers(g, 1, 1, 1, 1), 65536, 65536, 65536, 16384));
    node *part[4];
    REFUSED("concat: axis 0 would have size 4294967300, the largest is 2147483647",
            (part[0] = part[1] = part[2] = part[3] = pith_input(g, "x", PITH_U8, 1073741825),
             pith_concat(4, part, 0)));
    REFUSED("reshape: axis 0 would have size 4294967296, the largest is 2147483647",
            pith_reshape(numbers(g, 65536, 65536, 1, 1), -1, 1));
    REFUSED("reshape: (1, 65536, 65536, 65536) has more bytes than memory has addresses",
            pith_reshape(numbers(g, 1, 1, 1, 1), -1, 65536, 65536, 65536));
}

static void products(void **state)
{
    REFUSED("matmul: input 0 has 4294967296 rows in all, at most 2147483647 are allowed",
            pith_matmul(numbers(g, 65536, 65536, 1, 2), pith_input(g, "w", PITH_F32, 2, 3)));
    REFUSED("linear: input 0 has 4294967296 rows in all, at most 2147483647 are allowed",
            pith_linear(numbers(g, 65536, 65536, 1, 2), pith_input(g, "w", PITH_F32, 3, 2),
                        pith_input(g, "b", PITH_F32, 3)));
    pith_graph *g = ((world *)*state)->g;
    node *batch = numbers(g, 65536, 65536, 1, 2), *y = pith_matmul_nt(batch, batch);
    near(y->op->flops(y), 4 * 65536. * 65536.);
    node *wide = pith_matmul_tn(pith_input(g, "a", PITH_F32, 2048, 1),
                                pith_input(g, "b", PITH_F32, 2048, 1100000000));
    assert_int_equal(wide->op->scratch(wide), 0); /* more columns than rows: not cut */
}

static void attention_widths(void **state)
{
    (void)state;
    const char *part = "attention: heads have width 13421800, at most 1048576 is allowed";
    REFUSED(part, pith_attention(numbers(g, 2, 3, 1, 13421800),
                                 pith_input(g, "offsets", PITH_I32, 2), false));
    REFUSED(part, pith_pooled_attention(pith_input(g, "q", PITH_F32, 1, 1, 13421800),
                                        numbers(g, 2, 2, 1, 13421800),
                                        pith_input(g, "offsets", PITH_I32, 2)));
    REFUSED("attention: input 0 has 1100000000 rows, at most 1073741824 are allowed",
            pith_attention(numbers(g, 1100000000, 3, 1, 1), pith_input(g, "offsets", PITH_I32, 2),
                           false));
}

static int errors;
static void count_errors(const char *message, void *context)
{
    (void)message, (void)context;
    errors++;
}

/* More than any machine has, and less than a shape may have. */
static void beyond_memory(void **state)
{
    const int many = 1 << 22;
    static const real number;
    REFUSED("const: no memory for", pith_const_array(g, PITH_F32, &number, many, many));
    REFUSED("const: (2147483647, 2147483647, 2147483647) has more bytes",
            pith_const_array(g, PITH_F32, &number, 2147483647, 2147483647, 2147483647));
    errors = 0;
    pith_on_error(count_errors, NULL);
    REFUSED("param: no memory for w, which has", pith_param(g, "w", PITH_CONSTANT, 0, many, many));
    assert_int_equal(errors, 1);
    pith_on_error(test_handler, NULL);
    pith_store *s = ((world *)*state)->s;
    assert_null(pith_store_add(s, "t", PITH_WEIGHT, PITH_F32, 2, (int[]){ many, many }));
    said("no memory for t, which has");
    const int most[] = { 2147483647, 2147483647, 2147483647 };
    assert_null(pith_store_add(s, "t", PITH_WEIGHT, PITH_F32, 3, most));
    said("no memory for t: it has more bytes than can be counted");
    assert_int_equal(pith_store_count(s), 0);
}

/* Memory of which only the pages touched exist. */
static unsigned char *sparse(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) skip();
    return p;
}

static void far_bytes(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    const size_t row = (size_t)1 << 30;
    node *x = pith_input(g, "x", PITH_U8, 3, 1 << 30);
    node *last = pith_slice(pith_slice(x, 0, 2, 3), 1, (1 << 30) - 4, 1 << 30);
    node *sum = pith_sum(pith_cast(last, PITH_F32), PITH_ALL), *out[] = { last, sum };
    pith_plan *p = pith_plan_new(g, 2, out, NULL);
    unsigned char *memory = sparse(3 * row);
    memory[3 * row - 1] = 7;
    assert_true(pith_feed(p, x, memory) && pith_run(p));
    assert_memory_equal(value_of(p, last), memory + 3 * row - 4, 4);
    near(pith_scalar(p, sum), 7);
    pith_plan_free(p);
    munmap(memory, 3 * row);
}

static void far_rows(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    enum { ROWS = 1000000, COLUMNS = 4096 };
    const size_t bytes = (size_t)ROWS * COLUMNS * sizeof(real);
    const int id = ROWS - 1;
    node *table = pith_input(g, "table", PITH_F32, ROWS, COLUMNS);
    node *last = pith_slice(table, 0, ROWS - 1, ROWS), *ids = pith_input(g, "ids", PITH_I32, 1);
    node *cut = pith_slice(table, 1, COLUMNS - 1, COLUMNS); /* no alias: a column */
    node *out[] = { last, pith_sum(last, PITH_ALL), pith_sum(pith_gather(table, ids), PITH_ALL) };
    pith_plan *p = pith_plan_new(g, 3, out, NULL);
    real *memory = (real *)(void *)sparse(bytes);
    memory[(size_t)ROWS * COLUMNS - 1] = 7;
    assert_true(pith_feed(p, table, memory) && pith_feed(p, ids, &id) && pith_run(p));
    assert_memory_equal(value_of(p, last), memory + (size_t)(ROWS - 1) * COLUMNS,
                        COLUMNS * sizeof(real));
    near(pith_scalar(p, out[1]), 7);
    near(pith_scalar(p, out[2]), 7);
    pith_plan_free(p);
    assert_int_equal(cut->op->moved(cut), 2 * ROWS * sizeof(real));
    munmap(memory, bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(shapes),        WITH_WORLD(products),  WITH_WORLD(attention_widths),
        WITH_WORLD(beyond_memory), WITH_WORLD(far_bytes), WITH_WORLD(far_rows),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
