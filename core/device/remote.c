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
    void *there = b->get(bytes, false);
    if (there) p->constants[p->n_constants++] = there;
    else pith_raise("no memory for a constant of a plan: %zu bytes", bytes);
    if (!there || !b->write(there, data, bytes)) p->failed = true;
    return there;
}

/* ---- chains ---- */

/* Equal chains, as those of equal layers, are one kernel: it is named after its source. */
bool pith_compile_chains(pith_plan *p)
{
    const size_t most = (size_t)p->n_steps + 1;
    if (!p->store->on->stream || p->like || !pith_has_chains(p)) return true;
    char(*name)[24] = pith_room_get(most, sizeof *name),
    **names = pith_room_get(most, sizeof *names);
    int *which = pith_room_get(most, sizeof *which), n = 0;
    void **kernels = pith_room_get(most, sizeof *kernels);
    char *source = NULL;
    size_t size;
    FILE *f = open_memstream(&source, &size);
    for (int k = 0; f && k < p->n_steps; k++) {
        if (!p->steps[k].chain) continue;
        char *chain = pith_chain_source(&p->steps[k]);
        if (!chain) return fclose(f), free(source), false;
        snprintf(name[n], sizeof *name, "chain_%016llx", (unsigned long long)pith_hash(chain, 0));
        for (which[k] = 0; strcmp(name[which[k]], name[n]) != 0;) which[k]++;
        if (which[k] == n) {
            fprintf(f, "PITH_CHAIN(%s%s", name[n], chain);
            names[n] = name[n];
            n++;
        }
        free(chain);
    }
    if (!f || fclose(f))
        return free(source), pith_raise("no memory for the source of a plan's chains");
    const bool good = !n || p->store->on->compile(source, n, names, kernels);
    for (int k = 0; k < p->n_steps && good; k++)
        if (p->steps[k].chain) p->steps[k].kernel = kernels[which[k]];
    free(source);
    return good;
}

/* ---- what a step touches ---- */

void pith_name_memory(const pith_plan *p, const pith_planned *s, void *const *memory)
{
    const pith_backend *on = p->store->on;
    if (!on->may_touch) return;
    on->may_touch(NULL, 0, false);
    for (int k = 0; k < s->n_in; k++)
        on->may_touch(memory[k], pith_bytes(p->graph->nodes[s->in[k]]), false);
    for (int k = 0; k < s->n_out; k++)
        on->may_touch(memory[s->n_in + k], pith_bytes(p->graph->nodes[s->out[k]]), true);
    if (s->scratch) on->may_touch(p->store->arena + s->scratch_offset, s->scratch, true);
}

/* ---- runs ---- */

static bool upload_inputs(const pith_plan *p)
{
    bool good = true;
    for (int id = 0; id < p->n && good; id++) {
        const node *n = p->graph->nodes[id];
        const pith_place *x = &p->places[id];
        if (p->live[id] && n->op == &pith_op_input && x->kind == PITH_ARENA)
            good = p->store->on->write(p->store->arena + x->offset, x->pointer, pith_bytes(n));
    }
    return good;
}

static void forget(pith_plan *p)
{
    if (p->recording) p->store->on->forget(p->recording);
    p->recording = NULL;
}

static bool note(pith_plan *p)
{
    const pith_backend *on = p->store->on;
    if (!on->begin()) return false;
    const bool good = pith_run_steps(p);
    p->recording = on->end(good);
    if (!good) return false;
    p->recorded_in = p->store->arena_size;
    p->not_repeatable = !p->recording;
    return p->recording ? on->replay(p->recording) : on->stream() && pith_run_steps(p);
}

/* A recording holds addresses: where the arena has grown since, and so lies elsewhere, it is made
 * anew. */
static bool run(pith_plan *p)
{
    if (!p->store->on->stream() || !upload_inputs(p)) return false;
    if (p->recorded_in != p->store->arena_size) forget(p);
    if (p->check_finite || p->timing || p->not_repeatable || !p->latest) return pith_run_steps(p);
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
}
