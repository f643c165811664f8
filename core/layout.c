/* layout.c: where every value lies. A value lives from the step that makes it to the last step that
 * reads it; a result may take over the memory of an input that dies there; what remains is packed
 * into one arena (arena.c). */
#include "inside.h"

size_t pith_padded(const pith_plan *p, size_t bytes)
{
    const size_t step = p->store->on->alignment;
    return (bytes + step - 1) / step * step;
}

/* ---- lifetimes ---- */

static int new_block(pith_plan *p, size_t size, int first)
{
    p->blocks[p->n_blocks] =
        (pith_memory){ .size = pith_padded(p, size), .first = first, .last = first };
    return p->n_blocks++;
}

static void place_leaves(pith_plan *p)
{
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        pith_place *x = &p->places[id];
        *x = (pith_place){ .source = -1, .block = -1 };
        if (p->canonical[id] != id) continue;
        const pith_tensor *t = pith_is_stored(n) ? pith_leaf_of(n)->tensor : pith_written(p, id);
        if (p->folded[id] || n->op == &pith_op_const) {
            x->kind = PITH_FIXED;
            x->pointer = !p->live[id] ? NULL
                                      : pith_uploaded(p, p->folded[id] ? p->folded[id] : n->attr,
                                                      pith_bytes(n));
        } else if (t) { /* a leaf, or what writes one */
            if (pith_store_behind(t)->on != p->store->on)
                p->failed = !pith_raise("%s: %s lies on another device than the plan's store",
                                        n->at, t->name);
            x->kind = PITH_FIXED;
            x->pointer = pith_data(t);
        } else if (n->op == &pith_op_input) {
            x->kind = PITH_FED;
            x->source = id;
            if (!p->store->on->stream || !p->live[id]) continue;
            /* copied there before the first step */
            *x = (pith_place){ .kind = PITH_ARENA,
                               .source = -1,
                               .block = new_block(p, pith_bytes(n), 0) };
        }
    }
}

/* An alias lies in its input's memory, at an offset. It is placed when it is first read: by then
 * its input has a place. */
static void place_alias(pith_plan *p, const node *n)
{
    pith_place *x = &p->places[n->id];
    if (!(n->op->flags & PITH_ALIAS) || x->kind != PITH_NOWHERE) return;
    const node *base = pith_source(p, n->in[0]);
    place_alias(p, base);
    *x = p->places[base->id];
    x->offset += pith_alias_offset(n);
}

/* May output k of the step lie where input i lies? Yes if nobody reads the input's memory after
 * this step, if both have the same size, and if no other input of the step lies there too. In a
 * chain the input must have been read for the last time by the instruction that makes the output.
 */
static bool can_reuse(const pith_plan *p, const pith_planned *s, int k, int i, int step)
{
    const node *a = p->graph->nodes[s->in[i]], *o = p->graph->nodes[s->out[k]];
    const int block = p->places[a->id].block;
    if (block < 0 || p->places[a->id].offset || p->blocks[block].last != step ||
        p->blocks[block].size != pith_padded(p, pith_bytes(o)))
        return false;
    if (pith_bytes(a) != pith_bytes(o) || a->dtype != o->dtype) return false;
    for (int other = 0; other < s->n_in; other++)
        if (other != i && p->places[s->in[other]].block == block) return false;
    if (!s->chain) return k == 0 && i == 0 && s->n->op->flags & PITH_INPLACE;
    return pith_same_shape(a, s->n) && s->chain->last_read[i] <= s->chain->made[k];
}

static void place_outputs(pith_plan *p, pith_planned *s, int step)
{
    for (int k = 0; k < s->n_out; k++) {
        pith_place *x = &p->places[s->out[k]];
        if (x->kind == PITH_FIXED) continue;
        x->kind = PITH_ARENA;
        for (int i = 0; i < s->n_in && p->flags & PITH_REUSE && x->block < 0; i++) {
            bool taken = !can_reuse(p, s, k, i, step);
            for (int before = 0; before < k && !taken; before++)
                taken = p->places[s->out[before]].block == p->places[s->in[i]].block;
            if (!taken) x->block = p->places[s->in[i]].block;
        }
        if (x->block < 0) x->block = new_block(p, pith_bytes(p->graph->nodes[s->out[k]]), step);
    }
}

/* For every node that memory is named after, the last step that reads that memory, itself or
 * through an alias; n_steps for outputs of the plan, which stay to the end. */
static int *last_reads(const pith_plan *p)
{
    int *last = pith_room_get((size_t)p->n + 1, sizeof *last);
    memset(last, -1, sizeof *last * ((size_t)p->n + 1));
    for (int step = 0; step < p->n_steps; step++)
        for (int i = 0; i < p->steps[step].n_in; i++) {
            const node *n = p->graph->nodes[p->steps[step].in[i]];
            last[pith_memory_root(p, n)->id] = step;
        }
    for (int k = 0; k < p->n_outputs; k++)
        last[pith_memory_root(p, p->outputs[k])->id] = p->n_steps;
    return last;
}

static void live_ranges(pith_plan *p)
{
    int *last = last_reads(p);
    for (int id = 0; id < p->n; id++) /* what is fed to a device of its own */
        if (p->places[id].block >= 0 && last[id] > 0)
            p->blocks[p->places[id].block].last = last[id];
    for (int step = 0; step < p->n_steps; step++) {
        pith_planned *s = &p->steps[step];
        for (int i = 0; i < s->n_in; i++) {
            place_alias(p, p->graph->nodes[s->in[i]]);
            assert(p->places[s->in[i]].kind != PITH_NOWHERE);
        }
        place_outputs(p, s, step);
        for (int k = 0; k < s->n_out; k++) {
            const int block = p->places[s->out[k]].block;
            if (block < 0) continue;
            p->blocks[block].last = last[s->out[k]] > step ? last[s->out[k]] : step;
        }
        if (s->scratch) s->scratch_block = new_block(p, s->scratch, step);
    }
    for (int k = 0; k < p->n_outputs; k++) place_alias(p, pith_source(p, p->outputs[k]));
    pith_room_return(last);
}

void pith_lay_out(pith_plan *p)
{
    size_t most = 1;
    for (int k = 0; k < p->n_steps; k++) most += (size_t)p->steps[k].n_out + 1;
    for (int id = 0; id < p->n; id++) most += p->graph->nodes[id]->op == &pith_op_input;
    p->places = pith_room_get((size_t)p->n + 1, sizeof *p->places);
    p->blocks = pith_room_get(most, sizeof *p->blocks);
    place_leaves(p);
    live_ranges(p);
    if (p->flags & PITH_ARENA_SHARED) p->arena = pith_arena_pack(p->blocks, p->n_blocks);
    else
        for (int k = 0; k < p->n_blocks; k++)
            p->blocks[k].offset = p->arena, p->arena += p->blocks[k].size;
    for (int id = 0; id < p->n; id++)
        if (p->places[id].block >= 0) p->places[id].offset += p->blocks[p->places[id].block].offset;
    for (int k = 0; k < p->n_steps; k++)
        if (p->steps[k].scratch)
            p->steps[k].scratch_offset = p->blocks[p->steps[k].scratch_block].offset;
}
