/* masks.h: what the tests of masks share. */
#ifndef PITH_TESTS_MASKS_H
#define PITH_TESTS_MASKS_H
#include "tests.h"
#include "models/parts.h"
#include "train/optim.h"

#define IN_DOUBLE (sizeof(pith_real) == 8)
#define TOLERANCE (IN_DOUBLE ? 1e-9 : 2e-5)

static inline void close_to(double a, double b, double tolerance, const char *what)
{
    if (!(fabs(a - b) <= tolerance * fmax(1, fabs(b))))
        fail_msg("%s: %.9g is not %.9g", what, a, b);
}

static inline double logistic(double x) { return 1 / (1 + exp(-x)); }

static inline void write_all(pith_store *s, const char *name, double mean, double deviation)
{
    pith_tensor *t = pith_store_find(s, name);
    if (!t) fail_msg("no tensor %s", name);
    pith_real *x = elements(t);
    for (size_t i = 0; i < pith_tensor_size(t); i++)
        x[i] = (pith_real)(mean + deviation * pith_normal_at(pith_hash(name, 7), 0, i));
    assert_true(pith_tensor_write(t, x));
}

static inline clip_config named(const char *name)
{
    clip_config c;
    if (!clip_config_named(&c, name)) fail_msg("%s", pith_error());
    return c;
}

/* 3.6's R of a tower whose logits lie in the store. */
static inline double expected_loops(pith_store *s, const clip_tower *t, const char *tower,
                                    int original)
{
    double hidden = 0, heads = 0, units = 0;
    char name[64];
    for (int i = -1; i < t->layers; i++)
        for (int what = 0; what < 2; what++) {
            const int n = i < 0 ? (what ? 0 : t->width) : what ? t->ffn[i] : t->heads[i];
            if (!n) continue;
            if (i < 0) snprintf(name, sizeof name, "mask.%s.hidden", tower);
            else snprintf(name, sizeof name, "mask.%s.%d.%s", tower, i, what ? "ffn" : "heads");
            const pith_real *g = stored(s, name);
            for (int k = 0; k < n; k++) {
                const double q = fmin(logistic((double)g[k] + 2.0 / 3 * log(11)), 1 - 1e-6);
                if (i < 0) hidden += q;
                else if (what) units += q;
                else heads += q;
            }
        }
    const double d = t->head_width;
    return (4 * d + 4 * d / original) * hidden * heads + 2 * hidden * units;
}

static inline void stir_masks(pith_store *s, double mean, double deviation)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        const char *name = pith_store_at(s, k)->name;
        if (!strncmp(name, "mask.", 5) && pith_store_at(s, k)->ndim)
            write_all(s, name, mean, deviation);
    }
}
#endif
