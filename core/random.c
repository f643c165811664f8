/* random.c: the keys that name streams of random numbers (base/philox.c), and the input `step`,
 * which counts their draws. */
#include "inside.h"

/* Scope and ordinal, not node ids, which move when somebody adds a probe. */
uint64_t pith_stream_key(pith_graph *g)
{
    const uint64_t scope = pith_hash(g->scope, 0);
    int *count = pith_lookup_find(&g->ordinals, scope);
    if (!count) pith_lookup_add(g, &g->ordinals, scope, count = pith_alloc(g, sizeof *count));
    return pith_hash(pith_keep(g, "%s#%d", g->scope, (*count)++), g->seed);
}

node *pith_step(pith_graph *g)
{
    if (!g) return pith_null(NULL, "pith_step", "the graph");
    if (!g->step) {
        const int region = g->region;
        g->region = 0; /* shared by everybody, so it belongs to no recomputed region */
        g->step = pith_make("step", &pith_op_input, g, 0, NULL, NULL);
        g->region = region;
        if (pith_poisoned(g->step)) return g->step;
        g->step->name = "step";
        pith_shape(g->step, PITH_I32, 0, NULL);
    }
    return g->step;
}
