/* random.c: counter-based random numbers (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011)
 * and the keys that name their streams. Nothing is kept between draws, so any thread, rank or replay draws the same. */
#include "inside.h"

void pith_philox(uint64_t key, uint64_t low, uint64_t high, uint32_t out[4])
{
    uint32_t c[4] = { (uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high, (uint32_t)(high >> 32) };
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t next[4] = { (uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                                   (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a };
        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

/* 24 bits, so that float and double builds and every device agree exactly. */
static double unit(uint32_t x) { return (x >> 8) * 0x1p-24; }

double pith_uniform_at(uint64_t key, uint64_t step, uint64_t element)
{
    uint32_t x[4];
    pith_philox(key, element, step, x);
    return unit(x[0]);
}

double pith_normal_at(uint64_t key, uint64_t step, uint64_t element)        /* Box and Muller */
{
    uint32_t x[4];
    pith_philox(key, element, step, x);
    const double radius = sqrt(-2 * log(unit(x[0]) + 0x1p-25));
    return radius * cos(6.283185307179586476925 * unit(x[1]));
}

uint64_t pith_hash(const char *text, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ (seed * 0x9E3779B97F4A7C15u);
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h ^ (h >> 29);
}

/* Scope and ordinal, not node ids, which move when somebody adds a probe. */
uint64_t pith_stream_key(pith_graph *g)
{
    pith_ordinal *o = g->ordinals;
    while (o && strcmp(o->scope, g->scope)) o = o->next;
    if (!o) {
        o = pith_alloc(g, sizeof *o);
        *o = (pith_ordinal){ g->scope, 0, g->ordinals };
        g->ordinals = o;
    }
    return pith_hash(pith_keep(g, "%s#%d", g->scope, o->count++), g->seed);
}

node *pith_step(pith_graph *g)
{
    if (!g->step) {
        const int segment = g->segment;
        g->segment = 0;                 /* shared by everybody, so it belongs to no recomputed segment */
        g->step = pith_make("step", &pith_op_input, g, 0, NULL, NULL);
        g->step->name = "step";
        pith_shape(g->step, PITH_I32, 0, NULL);
        g->segment = segment;
    }
    return g->step;
}

/* ---- samples for examples: inputs, so that nothing is folded ---- */

static node *sample(pith_graph *g, pith_dtype dtype, int ndim, const int *dim)
{
    node *n = pith_make("sample", &pith_op_input, g, 0, NULL, NULL);
    n->name = pith_keep(g, "sample%d", g->samples++);
    if (!pith_shape(n, dtype, ndim, dim)) return n;
    n->attr.p = pith_alloc(g, pith_bytes(n));
    return n;
}

node *pith_sample(pith_graph *g, double low, double high, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(high, dim, ndim);
    node *n = sample(g, PITH_F32, ndim, dim);
    real *x = (real *)(uintptr_t)n->attr.p;
    const uint64_t key = pith_hash(n->name, g->seed);
    for (size_t i = 0; x && i < pith_size(n); i++) {
        const double u = pith_uniform_at(key, 0, i);
        x[i] = (real)(low <= PITH_AWAY ? (u < 0.5 ? -0.2 - 2 * u : 2 * u - 0.8) : low + (high - low) * u);
    }
    return n;
}

node *pith_sample_ids(pith_graph *g, int below, ...)
{
    int dim[PITH_MAX_DIMS], ndim;
    PITH_DIMS(below, dim, ndim);
    node *n = sample(g, PITH_I32, ndim, dim);
    int *x = (int *)(uintptr_t)n->attr.p;
    const uint64_t key = pith_hash(n->name, g->seed);
    for (size_t i = 0; x && i < pith_size(n); i++) x[i] = (int)(pith_uniform_at(key, 0, i) * below);
    return n;
}

const void *pith_sample_data(const node *n) { return n->attr.p; }
