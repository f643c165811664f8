/* products.c: products of blocks of rows, by a plan of pith_matmul_nt, and what is asked of rows
 * before and after. */
#include "parts.h"

static pith_device device = PITH_CPU;
void pith_multiply_on(pith_device d) { device = d; }

bool pith_products_open(pith_products *p, int rows, int columns, int width)
{
    *p = (pith_products){ .rows = rows, .columns = columns, .width = width };
    const size_t w = (size_t)width;
    p->value = malloc(sizeof *p->value * (size_t)rows * (size_t)columns);
    p->room_a = calloc((size_t)rows * w, sizeof *p->room_a);
    p->room_b = calloc((size_t)columns * w, sizeof *p->room_b);
    if (!p->value || !p->room_a || !p->room_b)
        return pith_raise("no memory for products of %d rows with %d", rows, columns);
    p->store = pith_store_new_on(device);
    p->graph = pith_graph_new(p->store, 0);
    p->a = pith_input(p->graph, "a", PITH_F32, rows, width);
    p->b = pith_input(p->graph, "b", PITH_F32, columns, width);
    p->product = pith_matmul_nt(p->a, p->b);
    p->plan = pith_plan_new(p->graph, 1, &p->product, NULL);
    return p->plan != NULL;
}

void pith_products_close(pith_products *p)
{
    pith_plan_free(p->plan);
    pith_graph_free(p->graph);
    pith_store_free(p->store);
    free(p->value);
    free(p->room_a);
    free(p->room_b);
}

/* A block that is not full is fed from a copy, behind which stand rows of an earlier one. */
static bool feed(const pith_products *p, const pith_node *input, pith_real *room, int full,
                 const pith_real *rows, int n)
{
    if (n == full) return pith_feed(p->plan, input, rows);
    memcpy(room, rows, sizeof *rows * (size_t)n * (size_t)p->width);
    return pith_feed(p->plan, input, room);
}

const pith_real *pith_products_of(pith_products *p, const pith_real *a, int n_a, const pith_real *b,
                                  int n_b)
{
    const bool good = feed(p, p->a, p->room_a, p->rows, a, n_a) &&
                      feed(p, p->b, p->room_b, p->columns, b, n_b) && pith_run(p->plan) &&
                      pith_value(p->plan, p->product, p->value);
    return good ? p->value : NULL;
}

/* Eight sums side by side, so that the compiler can use vectors. */
double pith_squared_distance(int width, const pith_real *a, const pith_real *b)
{
    double sum[8] = { 0 }, rest = 0;
    int k = 0;
    for (; k + 8 <= width; k += 8)
        for (int i = 0; i < 8; i++) {
            const double d = (double)a[k + i] - (double)b[k + i];
            sum[i] += d * d;
        }
    for (; k < width; k++) {
        const double d = (double)a[k] - (double)b[k];
        rest += d * d;
    }
    for (int i = 0; i < 8; i++) rest += sum[i];
    return rest;
}

bool pith_check_rows(int n, int width, const pith_real *rows, bool unit)
{
    for (int i = 0; i < n; i++) {
        const pith_real *row = rows + (size_t)i * (size_t)width;
        double squares = 0;
        for (int k = 0; k < width; k++) squares += (double)row[k] * (double)row[k];
        if (!isfinite(squares)) return pith_raise("row %d holds a NaN or an infinity", i);
        if (unit && fabs(squares - 1) > 1e-3)
            return pith_raise("row %d has the length %.6g, expected 1", i, sqrt(squares));
    }
    return true;
}
