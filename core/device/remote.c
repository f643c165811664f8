/* remote.c: plans whose memory lies on a device of its own. What they are fed is copied there
 * before each run, what is constant when they are made. The first run does one step after the
 * other; the second notes them, and all further runs repeat what was noted as one. */
#include <pthread.h>
#include <stdlib.h>
#include "inside.h"

/* ---- constants ---- */

const void *pith_uploaded(pith_plan *p, const void *data, size_t bytes)
{
    const pith_backend *b = p->store->on;
    if (!b->stream || p->like) return data;
    void *there = b->allocate(bytes, false);
    if (there) p->constants[p->n_constants++] = there;
    else pith_raise("no memory for a constant of a plan: %zu bytes", bytes);
    if (!there || !b->write(there, data, bytes)) p->failed = true;
    return there;
}

/* ---- what a step touches ---- */

void pith_name_memory(const pith_plan *p, const pith_planned *s, void *const *memory)
{
    const pith_backend *on = p->store->on;
    if (!on->may_touch) return;
    for (int k = 0; k < s->n_in; k++)
        on->may_touch(memory[k], pith_bytes(p->graph->nodes[s->in[k]]), false);
    for (int k = 0; k < s->n_out; k++)
        on->may_touch(memory[s->n_in + k], pith_bytes(p->graph->nodes[s->out[k]]), true);
    if (s->scratch) on->may_touch(p->store->arena + s->scratch_offset, s->scratch, true);
}

/* ---- what a plan is fed ---- */

/* With `ahead` to a place beside the arena, in which other plans run; else to where it is read. */
static bool bring_inputs(pith_plan *p, bool ahead)
{
    const pith_backend *on = p->store->on;
    bool good = true;
    size_t beside = 0;
    for (int id = 0; id < p->n && good; id++) {
        const node *n = p->graph->nodes[id];
        pith_place *x = &p->places[id];
        if (!p->live[id] || n->op != &pith_op_input || x->kind != PITH_ARENA) continue;
        const size_t bytes = pith_bytes(n);
        if (ahead) good = !x->fresh || on->send(p->ahead + beside, x->pointer, bytes);
        else if (x->ahead) good = on->take(p->store->arena + x->offset, p->ahead + beside, bytes);
        else good = on->write(p->store->arena + x->offset, x->pointer, bytes);
        x->ahead = good && ahead && x->fresh;
        x->fresh = x->fresh && ahead;
        beside += pith_padded(p, bytes);
    }
    return good;
}

bool pith_prefetch(pith_plan *p)
{
    if (!pith_given(p, "pith_prefetch", "plan")) return false;
    if (!p->store->on->stream || p->no_room_ahead) return true;
    size_t bytes = 0;
    for (int id = 0; id < p->n; id++)
        if (p->graph->nodes[id]->op == &pith_op_input)
            bytes += pith_padded(p, pith_bytes(p->graph->nodes[id]));
    if (!p->ahead) p->ahead = p->store->on->allocate(bytes, false);
    p->no_room_ahead = !p->ahead;
    return p->no_room_ahead || bring_inputs(p, true);
}

/* ---- runs ---- */

const char *pith_not_repeated(const pith_plan *p)
{
    return pith_given(p, "pith_not_repeated", "plan") && *p->not_repeated ? p->not_repeated : NULL;
}

static void forget(pith_plan *p)
{
    if (p->recording) p->store->on->free_recording(p->recording);
    p->recording = NULL;
}

static bool note(pith_plan *p)
{
    const pith_backend *on = p->store->on;
    if (!on->begin_capture(p->not_repeated, sizeof p->not_repeated))
        return on->stream() && pith_run_steps(p);
    const bool good = pith_run_steps(p);
    p->recording = on->end_capture(good, p->not_repeated, sizeof p->not_repeated);
    if (!good) return false;
    p->recorded_in = p->store->arena;
    return p->recording ? on->replay(p->recording) : on->stream() && pith_run_steps(p);
}

/* A recording holds addresses: where the arena has grown since, and so lies elsewhere, it is made
 * anew. */
static bool run(pith_plan *p)
{
    if (!p->store->on->stream() || !bring_inputs(p, false)) return false;
    if (p->recorded_in != p->store->arena) forget(p);
    if (p->check_finite || p->timing || *p->not_repeated || !p->latest) return pith_run_steps(p);
    if (!p->recording) return note(p);
    for (int k = 0; k < p->n_steps; k++) pith_note_writes(p, &p->steps[k]);
    return p->store->on->replay(p->recording);
}

/* A device has one stream: what is recorded there is one plan's. */
bool pith_run_remote(pith_plan *p)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one);
    const bool good = run(p);
    pthread_mutex_unlock(&one);
    return good;
}

void pith_forget_remote(pith_plan *p)
{
    forget(p);
    for (int k = 0; k < p->n_constants; k++) p->store->on->release(p->constants[k]);
    p->store->on->release(p->ahead);
}
