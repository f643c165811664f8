/* run.c: running a plan: feed, one kernel after the other, read. Pointers are found anew each run,
 * since inputs may be fed from elsewhere and the arena may have grown. */
#include <time.h>
#include "inside.h"

static void *memory_of(const pith_plan *p, int id)
{
    const pith_place *x = &p->places[id];
    if (x->kind == PITH_ARENA) return p->store->arena + x->offset;
    const char *base = x->kind == PITH_FED ? p->places[x->source].pointer : x->pointer;
    return base ? (char *)(uintptr_t)base + x->offset : NULL;
}

bool pith_feed(pith_plan *p, const node *input, const void *data)
{
    if (!input || input->graph != p->graph || input->op != &pith_op_input)
        return pith_raise("pith_feed: this is not an input of the plan's graph");
    if (input->id < p->n) p->places[input->id].pointer = data;
    return true;
}

/* The first element that is not finite, or -1. */
static int64_t not_finite(const node *n, const void *data)
{
    const real *x = data;
    for (size_t i = 0; n->dtype == PITH_F32 && i < pith_size(n); i++)
        if (!isfinite(x[i])) return (int64_t)i;
    return -1;
}

static bool check_finite(const pith_plan *p, const pith_planned *s)
{
    char shape[96];
    for (int k = 0; k < s->n_out; k++) {
        const node *n = p->graph->nodes[s->out[k]];
        const int64_t i = not_finite(n, memory_of(p, s->out[k]));
        if (i >= 0)
            return pith_raise("%s: %s makes %g at element %lld of %s%s", n->at, n->op->name,
                              (double)((real *)memory_of(p, s->out[k]))[i], (long long)i,
                              pith_shape_text(n, shape),
                              n->backward ? " in the backward pass" : "");
    }
    return true;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_step(const pith_plan *p, const pith_planned *s)
{
    const void *small_in[16];
    void *small_out[16];
    const bool large = s->n_in > 16 || s->n_out > 16;
    const void **in = large ? malloc(sizeof *in * (size_t)(s->n_in + 1)) : small_in;
    void **out = large ? malloc(sizeof *out * (size_t)(s->n_out + 1)) : small_out;
    for (int k = 0; k < s->n_in; k++) in[k] = memory_of(p, s->in[k]);
    for (int k = 0; k < s->n_out; k++) out[k] = memory_of(p, s->out[k]);
    if (s->chain) pith_chain_run(s->chain, in, out);
    else s->n->op->cpu(s->n, in, out, s->scratch ? p->store->arena + s->scratch_offset : NULL);
    if (large) free(in), free(out);
}

bool pith_run(pith_plan *p)
{
    static const int zero;
    if (p->store->arena_size < p->arena && !pith_store_reserve(p->store, p->arena)) return false;
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        if (n->op != &pith_op_input || !p->live[id] || p->places[id].pointer) continue;
        if (n == p->graph->step) p->places[id].pointer = &zero;
        else if (n->attr.p) p->places[id].pointer = n->attr.p; /* a sample brings its own */
        else return pith_raise("%s: input %s was not fed", n->at, n->name);
    }
    const bool check = getenv("PITH_NAN") != NULL;
    for (int k = 0; k < p->n_steps; k++) {
        const double start = p->timing ? now() : 0;
        run_step(p, &p->steps[k]);
        if (p->timing) p->steps[k].seconds += now() - start;
        if (check && !check_finite(p, &p->steps[k])) return false;
    }
    p->runs += p->timing;
    return true;
}

/* What lies in the arena is kept to the end of a run for outputs alone. */
static bool stays(const pith_plan *p, const node *n)
{
    for (int k = 0; k < p->n_outputs; k++)
        if (pith_source(p, p->outputs[k]) == n) return true;
    return p->places[n->id].kind != PITH_ARENA;
}

const void *pith_value(const pith_plan *p, const node *output)
{
    if (!output || output->graph != p->graph || output->id >= p->n ||
        !p->live[p->canonical[output->id]])
        return pith_raise("pith_value: this node is not part of the plan"), NULL;
    const int id = pith_source(p, output)->id;
    if (p->places[id].kind == PITH_NOWHERE || !stays(p, p->graph->nodes[id]))
        return pith_raise("pith_value: this node is not an output of the plan"), NULL;
    return memory_of(p, id);
}

double pith_scalar(const pith_plan *p, const node *output)
{
    const void *x = pith_value(p, output);
    return x ? pith_dtype_read(output->dtype, x) : (double)NAN;
}

bool pith_evaluate(const node *n, const void *const *in, void *out)
{
    if (!n->op->pointwise) {
        void *outs[1] = { out }, *scratch = NULL;
        const size_t size = n->op->scratch ? n->op->scratch(n) : 0;
        if (!n->op->cpu || (size && !(scratch = pith_aligned(size)))) return false;
        n->op->cpu(n, in, outs, scratch);
        free(scratch);
        return true;
    }
    pith_planned s = { .n = n };
    pith_chain *c = pith_chain_new(NULL, &s);
    const void *ordered[3];
    for (int slot = 0; slot < s.n_in; slot++) /* an input named twice has one slot */
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k]->id == s.in[slot]) ordered[slot] = in[k];
    pith_chain_run(c, ordered, &out);
    pith_chain_free(c);
    free(s.in);
    return true;
}
