/* search.c: looks at all pairs of rows, block against block. A first test by cosines, which the
 * compiler makes vectors of, throws nearly all away; those near enough, and those that rounding may
 * have put beyond, are told. */
#include "parts.h"

/* What a product of two rows, and their lengths that are not quite 1, can change in a squared
 * distance: |a|^2 + |b|^2 - 2 a b is read as 2 - 2 a b. */
static double most_error(int n, int width, const pith_real *rows)
{
    const double unit = sizeof(pith_real) == 4 ? 0x1p-24 : 0x1p-53;
    double most = 0;
    for (int i = 0; i < n; i++) {
        const pith_real *row = rows + (size_t)i * (size_t)width;
        double squares = 0;
        for (int k = 0; k < width; k++) squares += (double)row[k] * (double)row[k];
        most = fmax(most, fabs(squares - 1));
    }
    return 2 * most + 2 * (1 + most) * (width + 2) * unit;
}

/* Those of `count` cosines, from column `first` on, that are above `least`. */
static int above(int first, int count, const pith_real *cosine, pith_real least, pith_near *near)
{
    enum { STEP = 64 };
    int n = 0;
    for (int at = 0; at < count; at += STEP) {
        const int end = at + STEP < count ? at + STEP : count;
        int any = 0;
        for (int k = at; k < end; k++) any |= cosine[k] >= least;
        for (int k = at; any && k < end; k++)
            if (cosine[k] >= least) near[n++] = (pith_near){ first + k, cosine[k] };
    }
    return n;
}

static void scan(pith_search *s, int i, int first, int count, const pith_real *cosine)
{
    pith_near near[PITH_BLOCK];
    const double least = 1 - (s->below * s->below + s->error) / 2;
    /* the nearest number below, where this type does not hold it */
    const int n = above(first, count, cosine, (pith_real)(least - fabs(least) * 1e-7), near);
    if (n) s->take(s, i, n, near);
}

/* The blocks at i and j, whose pairs inside a run of `known` rows have been looked at already. */
static bool look(pith_search *s, pith_products *p, int n, const pith_real *rows, int i, int j,
                 int known)
{
    const int side = p->rows, n_i = n - i < side ? n - i : side, n_j = n - j < side ? n - j : side;
    const pith_real *cosine = pith_products_of(p, rows + (size_t)i * (size_t)p->width, n_i,
                                               rows + (size_t)j * (size_t)p->width, n_j);
    if (!cosine) return false;
#pragma omp parallel for schedule(static)
    for (int k = 0; k < n_i; k++) {
        /* of each pair the greater column */
        const int skipped = i != j ? 0 : known ? (k / known + 1) * known : k + 1;
        if (skipped < n_j)
            scan(s, i + k, j + skipped, n_j - skipped, cosine + (size_t)k * (size_t)side + skipped);
    }
    return s->between(s);
}

/* Every row is first compared with a few others, which costs little: a search whose `below` becomes
 * less knows then what is far before it meets most of the pairs. */
bool pith_search_run(pith_search *s, int n, int width, const pith_real *rows)
{
    enum { FEW = 64 };
    pith_products few = { 0 }, p = { 0 };
    const int side = n < PITH_BLOCK ? n : PITH_BLOCK, known = n < FEW ? 0 : FEW;
    if (!pith_check_rows(n, width, rows, true)) return false;
    s->error = most_error(n, width, rows);
    bool good = !known || pith_products_open(&few, known, known, width);
    for (int i = 0; good && known && i < n; i += known) good = look(s, &few, n, rows, i, i, 0);
    pith_products_close(&few);
    good = good && pith_products_open(&p, side, side, width);
    for (int i = 0; good && i < n; i += side)
        for (int j = i; good && j < n; j += side) good = look(s, &p, n, rows, i, j, known);
    pith_products_close(&p);
    return good;
}
