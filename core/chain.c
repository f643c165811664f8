/* chain.c: one chain of pointwise ops as a small program over tiles: which op reads what, in which
 * order. device/host_run.c runs it. */
#include "inside.h"

const pith_form *pith_form_of(const node *n)
{
    const pith_pointwise *op = n->op->pointwise;
    for (int f = 0; f < op->n_forms; f++) {
        bool fits = true;
        for (int k = 0; k < n->n_in; k++) fits &= op->forms[f].in[k] == n->in[k]->dtype;
        if (fits) return &op->forms[f];
    }
    return NULL;
}

/* ---- building ---- */

typedef struct {
    const pith_plan *p;
    pith_planned *s;
    pith_chain *c;
    const node *shape;
    int *operand_of; /* by member */
} builder;

static int add_operand(builder *b, pith_operand o)
{
    b->c->operands[b->c->n_operands] = o;
    return b->c->n_operands++;
}

/* Neighbouring axes with the same behaviour are one. */
pith_repeat pith_repeat_of(const node *a, const node *over)
{
    pith_repeat r = { .n = 0 };
    size_t stride[PITH_MAX_DIMS], run = 1;
    for (int k = over->ndim - 1; k >= 0; k--) {
        const int d = k - (over->ndim - a->ndim), size = d >= 0 ? a->dim[d] : 1;
        stride[k] = size > 1 ? run : 0;
        run *= (size_t)size;
    }
    for (int k = 0; k < over->ndim; k++) {
        const size_t size = (size_t)over->dim[k];
        if (size == 1) continue;
        const size_t outer = r.n ? r.stride[r.n - 1] : 0;
        const bool same = r.n && (stride[k] ? outer == stride[k] * size : !outer);
        if (!same) r.dim[r.n++] = 1;
        r.dim[r.n - 1] *= size;
        r.stride[r.n - 1] = stride[k];
    }
    return r;
}

/* The place of n among the members, -1 if it is none. */
static int member_index(const builder *b, const node *n)
{
    if (!b->p || b->p->chain[n->id] < 0 || b->p->chain[n->id] != b->p->chain[b->s->n->id])
        return -1;
    const int *m = b->p->members + b->s->first_member;
    int low = 0, high = b->s->n_members - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (m[middle] < n->id) low = middle + 1;
        else high = middle;
    }
    return low;
}

static int from_memory(builder *b, const node *n)
{
    pith_planned *s = b->s;
    for (int k = 0; k < b->c->n_operands; k++) {
        const pith_operand *o = &b->c->operands[k];
        const bool is_input = o->kind == PITH_FULL || o->kind == PITH_BROADCAST;
        if (is_input && s->in[o->slot] == n->id) return k;
    }
    const int slot = s->n_in++;
    s->in[slot] = n->id;
    const bool full = pith_same_shape(n, b->shape);
    return add_operand(b, (pith_operand){ .kind = full ? PITH_FULL : PITH_BROADCAST,
                                          .slot = slot,
                                          .bytes = pith_width(n->dtype),
                                          .repeat = pith_repeat_of(n, b->shape) });
}

static int input_operand(builder *b, const node *in)
{
    const node *n = b->p ? pith_source(b->p, in) : in;
    const int member = member_index(b, n);
    return member >= 0 ? b->operand_of[member] : from_memory(b, n);
}

/* Where n's value goes: to an output of the step if it is stored, else to a tile only. */
static int result_operand(builder *b, const node *n, bool stored)
{
    pith_operand o = { .kind = PITH_TILE, .slot = -1, .bytes = pith_width(n->dtype) };
    if (stored) {
        o.kind = PITH_OUTPUT;
        o.slot = b->s->n_out++;
        b->s->out[o.slot] = n->id;
        b->c->made[o.slot] = b->c->n_instructions;
    }
    return add_operand(b, o);
}

static void add_instruction(builder *b, const node *n, int member, bool stored)
{
    pith_chain *c = b->c;
    pith_instruction *instruction = &c->instructions[c->n_instructions];
    instruction->form = pith_form_of(n);
    instruction->n_in = n->n_in;
    for (int k = 0; k < n->n_in; k++) {
        const int in = input_operand(b, n->in[k]);
        if (c->operands[in].kind == PITH_FULL)
            c->last_read[c->operands[in].slot] = c->n_instructions;
        instruction->in[k] = in;
    }
    instruction->out = result_operand(b, n, stored);
    b->operand_of[member] = instruction->out;
    c->n_instructions++;
}

/* An expand that only other members read needs no instruction: they read its input repeated. */
static void add_member(builder *b, const node *n, int member, bool stored)
{
    if (n->op == &pith_op_expand && !stored) b->operand_of[member] = input_operand(b, n->in[0]);
    else add_instruction(b, n, member, stored);
}

/* The input of the step that is the leaf which output k overwrites; -1 if there is none. */
static int overwritten_input(const builder *b, int k)
{
    const pith_plan *p = b->p;
    const int assign = p->store_to[b->s->out[k]];
    if (assign < 0) return -1;
    const int leaf = p->canonical[p->graph->nodes[assign]->in[0]->id];
    for (int slot = 0; slot < b->s->n_in; slot++)
        if (b->s->in[slot] == leaf) return slot;
    return -1;
}

/* Outputs are written straight to memory. But where an output overwrites a leaf that a later
 * instruction still reads, it stays in a tile and is copied to memory at the tile's end. */
static void delay_overwrites(builder *b)
{
    pith_chain *c = b->c;
    for (int k = 0; k < b->s->n_out && b->p; k++) {
        const int slot = overwritten_input(b, k);
        if (slot < 0 || c->last_read[slot] <= c->made[k]) continue;
        const int operand = c->instructions[c->made[k]].out;
        c->operands[operand].kind = PITH_TILE;
        c->operands[operand].slot = -1;
        c->late[c->n_late++] = (pith_late){ operand, k };
    }
}

/* Fills last[operand]: the instruction that reads it last. Repeated inputs are spread before the
 * instructions run, and stay; what is copied at the end stays till then. */
static void last_uses(const pith_chain *c, int *last)
{
    for (int o = 0; o < c->n_operands; o++)
        last[o] = c->operands[o].kind == PITH_BROADCAST ? c->n_instructions : -1;
    for (int i = 0; i < c->n_instructions; i++)
        for (int k = 0; k < c->instructions[i].n_in; k++) {
            const int o = c->instructions[i].in[k];
            if (last[o] < i) last[o] = i;
        }
    for (int k = 0; k < c->n_late; k++) last[c->late[k].operand] = c->n_instructions;
}

/* Tiles are registers: a tile is free again after its last use. An instruction may write over a
 * tile that it reads itself, element by element, so only where both have elements of one width. */
static void assign_tiles(pith_chain *c)
{
    int *last = pith_room_get((size_t)(c->n_operands + 1), sizeof *last),
        *owner = pith_room_get((size_t)(c->n_operands + 1), sizeof *owner);
    last_uses(c, last);
    for (int o = 0; o < c->n_operands; o++)
        if (c->operands[o].kind == PITH_BROADCAST) {
            owner[c->tiles] = o;
            c->operands[o].tile = c->tiles++;
        }
    for (int i = 0; i < c->n_instructions; i++) {
        const int o = c->instructions[i].out;
        if (c->operands[o].kind != PITH_TILE) continue;
        int tile = 0;
        for (; tile < c->tiles; tile++) {
            const int before = owner[tile];
            const bool same_width = c->operands[before].bytes == c->operands[o].bytes;
            if (last[before] < i || (last[before] == i && same_width)) break;
        }
        if (tile == c->tiles) c->tiles++;
        owner[tile] = o;
        c->operands[o].tile = tile;
    }
    pith_room_return(last);
    pith_room_return(owner);
}

pith_chain *pith_chain_new(const pith_plan *p, pith_planned *s)
{
    const size_t members = p ? (size_t)s->n_members : 1;
    pith_chain *c = pith_room_get(1, sizeof *c);
    builder b = { p, s, c, s->n, pith_room_get(members, sizeof(int)) };
    c->count = pith_size(s->n);
    c->instructions = pith_room_get(members, sizeof *c->instructions);
    c->operands = pith_room_get(4 * members, sizeof *c->operands);
    c->late = pith_room_get(members, sizeof *c->late);
    c->last_read = pith_room_get(4 * members, sizeof *c->last_read);
    c->made = c->last_read + 3 * members;
    s->in = pith_room_get(4 * members, sizeof *s->in);
    s->out = s->in + 3 * members;
    for (int m = 0; m < (int)members; m++) {
        const node *n = p ? p->graph->nodes[p->members[s->first_member + m]] : s->n;
        add_member(&b, n, m, !p || p->in_memory[n->id]);
    }
    delay_overwrites(&b);
    assign_tiles(c);
    pith_room_return(b.operand_of);
    return c;
}

void pith_chain_free(pith_chain *c)
{
    if (!c) return;
    pith_room_return(c->instructions);
    pith_room_return(c->operands);
    pith_room_return(c->late);
    pith_room_return(c->last_read);
    pith_room_return(c);
}
