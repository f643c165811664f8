/* test_dtypes.c: i32 is computed as i32, alone and in fused chains; nothing is converted unasked;
 * what is no dtype is told at every door. */
#include "tests.h"

enum { BIG = 1 << 24 }; /* BIG + 1 is the first whole number that f32 does not hold */

/* ---- values against plain C ---- */

static int value_i32(pith_graph *g, node *y)
{
    assert_null(pith_graph_error(g));
    assert_int_equal(y->dtype, PITH_I32);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_non_null(p);
    assert_true(pith_run(p));
    const int x = *(const int *)value_of(p, y);
    pith_plan_free(p);
    return x;
}

static double value_f32(pith_graph *g, node *y)
{
    assert_null(pith_graph_error(g));
    assert_int_equal(y->dtype, PITH_F32);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_non_null(p);
    assert_true(pith_run(p));
    const double x = pith_scalar(p, y);
    pith_plan_free(p);
    return x;
}

/* States, not constants, so that nothing is folded; their values are set here. */
static node *number(world *w, int x)
{
    char name[32];
    snprintf(name, sizeof name, "n%d", pith_graph_size(w->g));
    return pith_state(w->g, name, PITH_I32, PITH_CONSTANT, x);
}

static void exact_beyond_f32(void **state)
{
    world *w = *state;
    node *a = number(w, BIG), *b = number(w, BIG + 1);
    assert_int_equal(value_i32(w->g, pith_add_scalar(a, 1)), BIG + 1);
    assert_int_equal(value_i32(w->g, pith_sub(b, a)), 1);
    assert_int_equal(value_i32(w->g, pith_maximum(a, b)), BIG + 1);
    assert_int_equal(value_i32(w->g, pith_minimum(pith_neg(a), pith_neg(b))), -BIG - 1);
    assert_int_equal(value_i32(w->g, pith_mul_scalar(b, 3)), 3 * (BIG + 1));
    assert_int_equal(value_i32(w->g, pith_abs(pith_neg(b))), BIG + 1);
    assert_int_equal(value_i32(w->g, pith_sign(pith_neg(b))), -1);
    assert_int_equal(value_i32(w->g, pith_square(number(w, -46340))), 46340 * 46340);
    assert_int_equal(value_i32(w->g, pith_where(pith_less(a, b), b, a)), BIG + 1);
    assert_true(value_f32(w->g, pith_equal(a, b)) == 0);
    assert_true(value_f32(w->g, pith_equal(b, b)) == 1);
    assert_true(value_f32(w->g, pith_less(a, b)) == 1);
    assert_true(value_f32(w->g, pith_less(b, a)) == 0);
    node *rows = pith_expand(b, 2, 3), *out = pith_reshape(rows, 6);
    pith_plan *p = pith_plan_new(w->g, 1, &out, NULL);
    assert_true(pith_run(p));
    for (int i = 0; i < 6; i++) assert_int_equal(((const int *)value_of(p, out))[i], BIG + 1);
    pith_plan_free(p);
}

/* Bytes are selected, repeated and copied as they are, in one chain with others. */
static void bytes_pass(void **state)
{
    world *w = *state;
    const uint8_t high[3] = { 255, 128, 7 };
    const int number[3] = { 1, 5, 1 };
    node *bytes = pith_state(w->g, "bytes", PITH_U8, PITH_CONSTANT, 0, 3),
         *i = pith_input(w->g, "i", PITH_I32, 3),
         *two = pith_state(w->g, "two", PITH_U8, PITH_CONSTANT, 2);
    node *y =
        pith_where(pith_equal(i, pith_expand(pith_const_scalar(PITH_HERE, w->g, PITH_I32, 1), 3)),
                   pith_copy(bytes), pith_expand(two, 3));
    assert_int_equal(y->dtype, PITH_U8);
    pith_tensor_write(pith_tensor_of(bytes), high);
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    assert_true(pith_feed(p, i, number) && pith_run(p));
    const uint8_t *found = value_of(p, y);
    assert_int_equal(found[0], 255);
    assert_int_equal(found[1], 2);
    assert_int_equal(found[2], 7);
    pith_plan_free(p);
}

static void wraps_around(void **state)
{
    world *w = *state;
    node *most = number(w, INT32_MAX), *least = number(w, INT32_MIN);
    assert_int_equal(value_i32(w->g, pith_add_scalar(most, 1)), INT32_MIN);
    assert_int_equal(value_i32(w->g, pith_sub(least, number(w, 1))), INT32_MAX);
    assert_int_equal(value_i32(w->g, pith_neg(least)), INT32_MIN);
    assert_int_equal(value_i32(w->g, pith_abs(least)), INT32_MIN);
    assert_int_equal(value_i32(w->g, pith_square(number(w, 65536))), 0);
    assert_int_equal(value_i32(w->g, pith_mul(most, most)), 1);
    assert_int_equal(value_i32(w->g, pith_sign(least)), -1);
    assert_int_equal(value_i32(w->g, pith_minimum(most, least)), INT32_MIN);
    assert_int_equal(value_i32(w->g, pith_maximum(most, least)), INT32_MAX);
    assert_true(value_f32(w->g, pith_less(least, most)) == 1);
    assert_true(value_f32(w->g, pith_less(most, least)) == 0);
    assert_true(value_f32(w->g, pith_equal(pith_neg(least), least)) == 1);
    assert_true(value_f32(w->g, pith_equal(most, least)) == 0);
}

static void casts(void **state)
{
    world *w = *state;
    static const real x[6] = { (real)2.9, (real)-2.9, (real)300, (real)3e9, (real)-3e9, (real)NAN };
    static const int whole[6] = { 2, -2, 300, INT32_MAX, INT32_MIN, INT32_MIN };
    static const uint8_t bytes[6] = { 2, 0, 255, 255, 0, 0 };
    node *a = pith_input(w->g, "a", PITH_F32, 6);
    node *out[2] = { pith_cast(a, PITH_I32), pith_cast(a, PITH_U8) };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    pith_feed(p, a, x);
    assert_true(pith_run(p));
    assert_memory_equal(value_of(p, out[0]), whole, sizeof whole);
    assert_memory_equal(value_of(p, out[1]), bytes, sizeof bytes);
    assert_true(*(const uint8_t *)value_of(p, out[1]) == 2);
    pith_plan_free(p);
}

/* ---- chains ---- */

/* i32 and f32 members of one chain, i32 read repeated along rows and along columns, an i32 leaf
 * written by the chain that still reads it, i32 and f32 results that are kept; more than one tile
 * of it. Planned, unplanned, and in plain C. */
static void fused_chains(void **state)
{
    enum { ROWS = 70, COLUMNS = 45, SIZE = ROWS * COLUMNS };
    world *w = *state;
    node *x = pith_input(w->g, "x", PITH_F32, ROWS, COLUMNS);
    node *row = pith_input(w->g, "row", PITH_I32, COLUMNS);
    node *column = pith_input(w->g, "column", PITH_I32, ROWS, 1);
    node *count = pith_state(w->g, "count", PITH_I32, PITH_CONSTANT, BIG, ROWS, COLUMNS);
    node *mask = pith_equal(pith_square(row), column);
    node *masked = pith_mul(mask, x);
    node *next = pith_add(count, pith_where(mask, row, pith_neg(column)));
    node *grown = pith_sub(pith_mul_scalar(next, 5), count); /* reads the leaf after next is made */
    node *late = pith_where(pith_less(grown, next), masked, pith_neg(masked));
    node *out[4] = { masked, pith_assign(count, next), grown, late };

    static real data[SIZE];
    int row_data[COLUMNS], column_data[ROWS];
    for (int i = 0; i < SIZE; i++) data[i] = (real)(i % 101 - 50) / 8;
    for (int c = 0; c < COLUMNS; c++) row_data[c] = c % 7 - 3;
    for (int r = 0; r < ROWS; r++) column_data[r] = r % 5 == 4 ? INT32_MAX / 2 : r % 5;

    int *leaf = pith_data(pith_store_find(w->s, "count"));
    for (int unplanned = 0; unplanned < 2; unplanned++) {
        pith_plan *p = pith_plan_new(w->g, 4, out, &(pith_plan_options){ .unplanned = unplanned });
        assert_non_null(p);
        /* one chain, and one each for what has the shape of row and of column */
        assert_int_equal(pith_plan_statistics(p).steps == 3, !unplanned);
        pith_feed(p, x, data);
        pith_feed(p, row, row_data);
        pith_feed(p, column, column_data);
        for (int i = 0; i < SIZE; i++) leaf[i] = BIG + i;
        assert_true(pith_run(p));
        const real *shown = value_of(p, out[0]), *last = value_of(p, out[3]);
        const int *five_times = value_of(p, out[2]);
        for (int i = 0; i < SIZE; i++) {
            const int a = row_data[i % COLUMNS], b = column_data[i / COLUMNS], old = BIG + i;
            const bool same = a * a == b;
            const int new = (int)((uint32_t)old + (uint32_t)(same ? a : -b));
            const int five = (int)(5 * (uint32_t)new - (uint32_t)old);
            const real kept = same ? data[i] : 0;
            assert_int_equal(leaf[i], new);
            assert_int_equal(five_times[i], five);
            assert_true(shown[i] == kept);
            assert_true(last[i] == (five < new ? kept : -kept));
        }
        pith_plan_free(p);
    }
}

/* Elements of two widths in the double build: a comparison must not write its result over the
 * narrower numbers that it has yet to read. */
static void widths_in_a_chain(void **state)
{
    enum { SIZE = 600 };
    world *w = *state;
    node *a = pith_input(w->g, "a", PITH_I32, SIZE), *b = pith_add_scalar(pith_neg(a), 9);
    node *y = pith_add(pith_less(b, pith_mul(b, b)), pith_equal(b, pith_square(b)));
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    int data[SIZE];
    for (int i = 0; i < SIZE; i++) data[i] = i % 17;
    pith_feed(p, a, data);
    assert_true(pith_run(p));
    for (int i = 0; i < SIZE; i++) {
        const int x = 9 - data[i];
        assert_true(((const real *)value_of(p, y))[i] == (x < x * x) + (x == x * x));
    }
    pith_plan_free(p);
}

/* ---- gradients ---- */

/* Everybody's first loss: labels compared, as they are. */
static void labels_in_a_loss(void **state)
{
    world *w = *state;
    static const int labels[4] = { BIG, BIG + 1, BIG, 5 };
    node *x = pith_param(w->g, "x", PITH_CONSTANT, 2, 4, 4), *d;
    node *label = pith_const_array(w->g, PITH_I32, labels, 4);
    node *same = pith_equal(pith_reshape(label, -1, 1), label);
    assert_true(pith_grad(pith_sum(pith_mul(same, pith_square(x)), PITH_ALL), 1, &x, &d));
    pith_plan *p = pith_plan_new(w->g, 1, &d, NULL);
    assert_true(pith_run(p));
    for (int i = 0; i < 16; i++)
        assert_true(((const real *)value_of(p, d))[i] == (labels[i / 4] == labels[i % 4]) * 4);
    pith_plan_free(p);
}

static void through_where(void **state)
{
    world *w = *state;
    static const int condition[3] = { 0, BIG + 1, -1 };
    node *x[2] = { pith_param(w->g, "a", PITH_CONSTANT, 3, 3),
                   pith_param(w->g, "b", PITH_CONSTANT, 5, 3) };
    node *c = pith_const_array(w->g, PITH_I32, condition, 3), *d[3];
    node *y = pith_sum(pith_square(pith_where(c, x[0], x[1])), PITH_ALL);
    node *wrt[3] = { x[0], x[1], c };
    assert_true(pith_grad(y, 3, wrt, d));
    pith_plan *p = pith_plan_new(w->g, 3, d, NULL);
    assert_true(pith_run(p));
    for (int i = 0; i < 3; i++) {
        assert_true(((const real *)value_of(p, d[0]))[i] == (condition[i] ? 6 : 0));
        assert_true(((const real *)value_of(p, d[1]))[i] == (condition[i] ? 0 : 10));
        assert_true(((const real *)value_of(p, d[2]))[i] == 0); /* i32 carries none */
    }
    pith_plan_free(p);
}

/* ---- what is told ---- */

static pith_graph *fresh(world *w)
{
    pith_graph_free(w->g);
    return w->g = pith_graph_new(w->s, 0);
}

static void told(world *w, const node *bad, const char *text)
{
    assert_true(pith_poisoned(bad));
    said("tests/test_dtypes.c:");
    said(text);
    fresh(w);
}

static void mixed_dtypes(void **state)
{
    world *w = *state;
    node *i = pith_input(w->g, "i", PITH_I32, 3), *f = pith_input(w->g, "f", PITH_F32, 3);
    node *bad = pith_add(f, i);
    said("input 1 (3,) i32 from ");
    told(w, bad, "add: inputs are (f32, i32), expected (f32, f32) or (i32, i32)");
    bad = pith_equal(pith_input(w->g, "i", PITH_I32), pith_const(w->g, 1));
    told(w, bad, "equal: inputs are (i32, f32), expected (f32, f32) or (i32, i32)");
    bad = pith_exp(pith_input(w->g, "i", PITH_I32));
    told(w, bad, "exp: input is i32, expected f32");
    bad = pith_div(pith_input(w->g, "i", PITH_I32), pith_input(w->g, "j", PITH_I32));
    told(w, bad, "div: inputs are (i32, i32), expected (f32, f32)");
    bad = pith_neg(pith_input(w->g, "u", PITH_U8));
    told(w, bad, "neg: input is u8, expected f32 or i32");
    bad = pith_where(pith_const(w->g, 1), pith_const(w->g, 1), pith_input(w->g, "i", PITH_I32));
    told(w, bad,
         "where: inputs are (f32, f32, i32), expected (f32, f32, f32) or "
         "(i32, f32, f32) or (f32, i32, i32) or (i32, i32, i32) or (f32, u8, u8) or "
         "(i32, u8, u8)");
}

static void numbers_an_i32_cannot_be(void **state)
{
    world *w = *state;
    told(w, pith_mul_scalar(pith_input(w->g, "i", PITH_I32), 0.5),
         "0.5 cannot be i32, expected a whole number from -2147483648 to 2147483647");
    told(w, pith_add_scalar(pith_input(w->g, "i", PITH_I32), 2147483648.0),
         "2147483648 cannot be i32");
    told(w, pith_add_scalar(pith_input(w->g, "i", PITH_I32), (double)NAN), "nan cannot be i32");
    told(w, pith_state(w->g, "half", PITH_I32, PITH_CONSTANT, 1.5, 2), "1.5 cannot be i32");
    told(w, pith_state(w->g, "half", PITH_U8, PITH_CONSTANT, 256, 2),
         "256 cannot be u8, expected a whole number from 0 to 255");
    assert_null(pith_store_find(w->s, "half"));
    assert_false(pith_poisoned(pith_state(w->g, "all", PITH_U8, PITH_CONSTANT, 255, 700)));
    const uint8_t *all = stored(w->s, "all");
    for (int i = 0; i < 700; i++) assert_int_equal(all[i], 255);
}

static void no_dtype(void **state)
{
    world *w = *state;
    static const real zero;
    const pith_dtype seven = (pith_dtype)7, next = (pith_dtype)(PITH_U8 + 1);
    told(w, pith_input(w->g, "x", seven, 2),
         "input: 7 is no dtype of graphs, expected PITH_F32, PITH_I32 or PITH_U8");
    told(w, pith_input(w->g, "x", next, 2), "input: 3 is no dtype");
    told(w, pith_state(w->g, "x", seven, PITH_CONSTANT, 0, 2), "state: 7 is no dtype");
    told(w, pith_const_array(w->g, seven, &zero, 1), "const: 7 is no dtype");
    told(w, pith_cast(pith_const(w->g, 1), seven), "cast: 7 is no dtype");
    assert_null(pith_store_add(w->s, "x", PITH_WEIGHT, seven, 0, NULL));
    said("x has dtype 7, expected PITH_F32, PITH_I32 or PITH_U8");
    assert_null(pith_store_find(w->s, "x"));
}

/* check_finite looks at floating-point numbers only: these bits would be a NaN, also two of them
 * one of a double. */
static void not_a_nan(void **state)
{
    world *w = *state;
    const int bits[2] = { 0x7ff80000, 0x7ff80000 };
    node *x = pith_input(w->g, "x", PITH_I32, 2), *y = pith_add_scalar(x, 0),
         *bad = pith_log(pith_neg(pith_exp(pith_input(w->g, "f", PITH_F32))));
    const pith_plan_options o = { .check_finite = true };
    pith_plan *p = pith_plan_new(w->g, 1, &y, &o), *q = pith_plan_new(w->g, 1, &bad, &o);
    assert_true(pith_feed(p, x, bits) && pith_run(p));
    assert_memory_equal(value_of(p, y), bits, sizeof bits);
    const real one = 1;
    assert_true(pith_feed(q, pith_plan_input(q, "f"), &one));
    assert_false(pith_run(q));
    said("log makes ");
    pith_plan_free(p);
    pith_plan_free(q);
}

static void printed(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *i = pith_input(g, "i", PITH_I32), *x = pith_input(g, "x", PITH_F32);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    pith_print(f, pith_sub(pith_mul_scalar(pith_add_scalar(i, 7), -2), pith_sub(i, i)), 9);
    pith_print(f, pith_div(x, pith_mul(x, pith_neg(pith_square(x)))), 9);
    pith_print(f, pith_less(i, pith_add(i, i)), 1);
    fclose(f);
    assert_non_null(strstr(text, "(i + 7) * -2 - (i - i)\n"));
    assert_non_null(strstr(text, "x / (x * -square(x))\n"));
    assert_non_null(strstr(text, "less(i, add#"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(exact_beyond_f32), WITH_WORLD(bytes_pass),
        WITH_WORLD(wraps_around),     WITH_WORLD(casts),
        WITH_WORLD(fused_chains),     WITH_WORLD(widths_in_a_chain),
        WITH_WORLD(labels_in_a_loss), WITH_WORLD(through_where),
        WITH_WORLD(mixed_dtypes),     WITH_WORLD(numbers_an_i32_cannot_be),
        WITH_WORLD(no_dtype),         WITH_WORLD(not_a_nan),
        WITH_WORLD(printed),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
