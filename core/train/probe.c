/* probe.c: what a linear layer can read from frozen features: ridge regression in closed form, as
 * the public code of Scaling (Down) CLIP's authors does it for few-shot classification
 * (big_vision).
 *
 *     x = ((features - mean) / (deviation + 1e-5), 100),   y = 1 for the class, -1 for all others
 *     W = (X^T X + 2^10 I)^-1 X^T Y
 *
 * mean and deviation are those of the training rows; the constant 100 makes a bias that the penalty
 * hardly touches. What the features are is the caller's: theirs are the tower's, before the
 * projection; those of pith eval are the unit rows behind it, which are compared with captions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "train.h"

static const double PENALTY = 1024, CONSTANT = 100;

/* Rows as the regression takes them, (n, width + 1). */
static pith_real *whitened(const pith_probe *p, int n, const pith_real *x)
{
    const size_t width = (size_t)p->width, wide = width + 1;
    pith_real *rows = malloc(sizeof *rows * wide * (size_t)(n + 1));
    for (size_t i = 0; rows && i < (size_t)n; i++) {
        for (size_t d = 0; d < width; d++)
            rows[i * wide + d] = (x[i * width + d] - p->mean[d]) / p->deviation[d];
        rows[i * wide + width] = (pith_real)CONSTANT;
    }
    return rows;
}

static void measure_features(pith_probe *p, int n, const pith_real *x)
{
    for (int d = 0; d < p->width; d++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++) sum += (double)x[(size_t)i * (size_t)p->width + (size_t)d];
        for (int i = 0; i < n; i++) {
            const double off = (double)x[(size_t)i * (size_t)p->width + (size_t)d] - sum / n;
            squares += off * off;
        }
        p->mean[d] = (pith_real)(sum / n);
        p->deviation[d] = (pith_real)(sqrt(squares / n) + 1e-5);
    }
}

/* a (n, n) = L L^T, of which L takes the lower half; a is positive definite, for it has a ridge. */
static void decompose(int n, double *a)
{
    for (int j = 0; j < n; j++) {
        double *row = a + (size_t)j * (size_t)n;
        for (int k = 0; k < j; k++) row[j] -= row[k] * row[k];
        row[j] = sqrt(row[j]);
#pragma omp parallel for schedule(static)
        for (int i = j + 1; i < n; i++) {
            double *below = a + (size_t)i * (size_t)n;
            for (int k = 0; k < j; k++) below[j] -= below[k] * row[k];
            below[j] /= row[j];
        }
    }
}

/* Solves L L^T w = b in place. */
static void solve(int n, const double *l, double *b)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) b[i] -= l[(size_t)i * (size_t)n + (size_t)k] * b[k];
        b[i] /= l[(size_t)i * (size_t)n + (size_t)i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) b[i] -= l[(size_t)k * (size_t)n + (size_t)i] * b[k];
        b[i] /= l[(size_t)i * (size_t)n + (size_t)i];
    }
}

static void fit(pith_probe *p, int n, const pith_real *x, const int *label, double *a, double *b)
{
    const int wide = p->width + 1;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < wide; r++)
        for (int i = 0; i < n; i++) {
            const pith_real *row = x + (size_t)i * (size_t)wide;
            for (int c = 0; c <= r; c++)
                a[(size_t)r * (size_t)wide + (size_t)c] += (double)row[r] * (double)row[c];
        }
    for (int r = 0; r < wide; r++) a[(size_t)r * (size_t)wide + (size_t)r] += PENALTY;
    decompose(wide, a);
#pragma omp parallel for schedule(static)
    for (int k = 0; k < p->classes; k++) {
        double *w = b + (size_t)k * (size_t)wide;
        for (int i = 0; i < n; i++)
            for (int c = 0; c < wide; c++)
                w[c] += (label[i] == k ? 1 : -1) * (double)x[(size_t)i * (size_t)wide + (size_t)c];
        solve(wide, a, w);
        for (int c = 0; c < wide; c++)
            p->rows[(size_t)k * (size_t)wide + (size_t)c] = (pith_real)w[c];
    }
}

pith_probe pith_probe_fit(int n, int width, const pith_real *x, const int *label, int classes)
{
    const size_t wide = (size_t)width + 1;
    pith_probe p = { .width = width, .classes = classes };
    pith_real *room = calloc(wide * (size_t)(classes + 2), sizeof *room);
    double *a = calloc(wide * wide + wide * (size_t)classes, sizeof *a);
    p.mean = room, p.deviation = room + wide, p.rows = room + 2 * wide;
    if (room && n) measure_features(&p, n, x);
    pith_real *rows = room ? whitened(&p, n, x) : NULL;
    if (a && rows) fit(&p, n, rows, label, a, a + wide * wide);
    else pith_raise("no memory for a probe of %d classes on features of width %d", classes, width);
    free(a);
    free(rows);
    return p;
}

pith_classified pith_probe_measure(const pith_probe *p, int n, const pith_real *x, const int *label)
{
    pith_real *rows = p->mean ? whitened(p, n, x) : NULL;
    pith_classified z = { .classes = p->classes };
    if (rows) z = pith_measure_classes(n, p->width + 1, rows, label, p->classes, p->rows);
    free(rows);
    return z;
}

void pith_probe_free(pith_probe *p)
{
    free(p->mean);
    *p = (pith_probe){ 0 };
}
