/* chains.c: chains on a device that compiles them. Equal chains, as those of equal layers, are one
 * kernel. Chains that stand one after the other and do not touch what another writes, as those
 * that update the params, are started together where they are equal: one launch for many tensors.
 */
#include <stdlib.h>
#include "inside.h"

enum { LONGEST = 256 }; /* chains that are looked at together */

/* ---- which chains may be started together ---- */

typedef struct {
    uintptr_t from, to;
    bool in_arena; /* whose address may change */
} extent;

static extent extent_of(const pith_plan *p, int id)
{
    const pith_place *x = &p->places[id];
    const bool in_arena = x->kind == PITH_ARENA;
    const uintptr_t from = (in_arena ? 0 : (uintptr_t)x->pointer) + x->offset;
    return (extent){ from, from + pith_bytes(p->graph->nodes[id]), in_arena };
}

/* Does `a` write what `b` reads or writes? */
static bool disturbs(const pith_plan *p, const pith_planned *a, const pith_planned *b)
{
    for (int i = 0; i < a->n_out; i++) {
        const extent written = extent_of(p, a->out[i]);
        for (int k = 0; k < b->n_in + b->n_out; k++) {
            const extent x = extent_of(p, k < b->n_in ? b->in[k] : b->out[k - b->n_in]);
            if (x.in_arena == written.in_arena && x.from < written.to && written.from < x.to)
                return true;
        }
    }
    return false;
}

/* Where the chains from step `begin` on end that may run in any order. */
static int end_of_run(const pith_plan *p, int begin)
{
    for (int end = begin + 1; end < p->n_steps; end++) {
        if (end - begin == LONGEST || !p->steps[end].chain) return end;
        for (int k = begin; k < end; k++)
            if (disturbs(p, &p->steps[k], &p->steps[end]) ||
                disturbs(p, &p->steps[end], &p->steps[k]))
                return end;
    }
    return p->n_steps;
}

/* Of the steps of a run, which[k] says which kernel is whose. jobs: of each kernel, the most chains
 * that one launch starts. */
static void choose_leaders(pith_plan *p, int begin, int end, const int *which, int *jobs)
{
    for (int k = begin; k < end; k++) {
        pith_planned *s = &p->steps[k];
        int count = 1, leader = k;
        for (int j = k - 1; j >= begin && leader == k; j--)
            if (which[j] == which[k]) leader = p->steps[j].leader;
        for (int j = leader; j < k; j++)
            count += which[j] == which[k] && p->steps[j].leader == leader;
        if (pith_job_size(s->n_in + s->n_out) * (size_t)count > PITH_LAUNCH_BYTES)
            leader = k, count = 1;
        s->leader = leader;
        p->steps[leader].last = k;
        if (count > jobs[which[k]]) jobs[which[k]] = count;
    }
}

/* ---- kernels ---- */

bool pith_compile_chains(pith_plan *p)
{
    const size_t most = (size_t)p->n_steps + 1;
    if (!p->store->on->stream || p->like || !pith_has_chains(p)) return true;
    char **bodies = pith_room_get(most, sizeof *bodies);
    int *which = pith_room_get(most, sizeof *which), *jobs = pith_room_get(most, sizeof *jobs),
        *memory = pith_room_get(most, sizeof *memory), n = 0;
    void **kernels = pith_room_get(most, sizeof *kernels);
    bool good = true;
    for (int k = 0; k < p->n_steps && good; k++) {
        pith_planned *s = &p->steps[k];
        if (!s->chain) continue;
        char *body = pith_chain_source(s);
        if (!(good = body)) break;
        while (which[k] < n && strcmp(bodies[which[k]], body) != 0) which[k]++;
        if (which[k] < n) {
            free(body);
            continue;
        }
        memory[n] = s->n_in + s->n_out;
        bodies[n++] = body;
    }
    for (int begin = 0, end; begin < p->n_steps && good; begin = end) {
        end = p->steps[begin].chain ? end_of_run(p, begin) : begin + 1;
        if (p->steps[begin].chain) choose_leaders(p, begin, end, which, jobs);
    }
    char *source = NULL;
    size_t size;
    FILE *f = open_memstream(&source, &size);
    for (int k = 0; k < n; k++) {
        if (f) fprintf(f, "PITH_CHAIN(chain_%d, %d, %d)%s", k, memory[k], jobs[k], bodies[k]);
        free(bodies[k]);
    }
    if (!f || fclose(f)) good = pith_raise("no memory for the source of a plan's chains");
    good = good && (!n || p->store->on->compile(source, n, kernels));
    for (int k = 0; k < p->n_steps && good; k++)
        if (p->steps[k].chain) p->steps[k].kernel = kernels[which[k]];
    free(source);
    return good;
}

/* ---- runs ---- */

/* Where steps are watched one by one, each starts alone. */
bool pith_start_chain(const pith_plan *p, const pith_planned *s, const pith_call *call)
{
    const bool alone = p->timing || p->check_finite;
    const int n = s->n_in + s->n_out, at = (int)(s - p->steps);
    if (!alone && s->leader != at) return true;
    const int last = alone ? at : s->last;
    pith_job *jobs = calloc((size_t)(last - at) + 1, sizeof *jobs);
    void **places = calloc((size_t)(last - at) + 1, sizeof *places * (size_t)n), **to = places;
    bool good = (jobs && places) || pith_raise("no memory to run %s", s->n->op->name);
    int count = 0;
    for (int k = at; good && k <= last; k++) {
        const pith_planned *other = &p->steps[k];
        if (!other->chain || (!alone && other->leader != at)) continue;
        for (int i = 0; i < n; i++)
            to[i] = pith_memory_of(p, i < s->n_in ? other->in[i] : other->out[i - s->n_in]);
        pith_name_memory(p, other, to);
        jobs[count++] = (pith_job){ to, other->chain->count };
        to += n;
    }
    good = good && p->store->on->launch(call, s->kernel, count, jobs, n);
    free(jobs);
    free(places);
    return good;
}
