/* chain.c: one chain of pointwise ops as a small program over tiles: which op reads what, in which
 * order, and how to run it. */
#include "inside.h"

#define TILE 512 /* elements: all tiles of a chain stay in the first-level cache */

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

/* How a smaller tensor repeats over the chain's shape: neighbouring axes with the same behaviour
 * are one. */
static pith_operand broadcast(const node *a, const node *shape, int slot)
{
    pith_operand o = { .kind = PITH_BROADCAST, .slot = slot };
    size_t stride[PITH_MAX_DIMS], run = 1;
    for (int k = shape->ndim - 1; k >= 0; k--) {
        const int d = k - (shape->ndim - a->ndim), size = d >= 0 ? a->dim[d] : 1;
        stride[k] = size > 1 ? run : 0;
        run *= (size_t)size;
    }
    for (int k = 0; k < shape->ndim; k++) {
        if (shape->dim[k] == 1) continue;
        const size_t outer = o.n ? o.stride[o.n - 1] : 0;
        const bool same = o.n && (stride[k] ? outer == stride[k] * (size_t)shape->dim[k] : !outer);
        if (!same) o.dim[o.n++] = 1;
        o.dim[o.n - 1] *= shape->dim[k];
        o.stride[o.n - 1] = stride[k];
    }
    return o;
}

/* The place of n among the members, -1 if it is none. */
static int member_index(const builder *b, const node *n)
{
    if (!b->p || b->p->group[n->id] < 0 || b->p->group[n->id] != b->p->group[b->s->n->id])
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
    int slot = 0;
    while (slot < s->n_in && s->in[slot] != n->id) slot++;
    for (int k = 0; k < b->c->n_operands && slot < s->n_in; k++)
        if (b->c->operands[k].kind <= PITH_BROADCAST && b->c->operands[k].slot == slot) return k;
    s->in[slot] = n->id;
    if (slot == s->n_in) s->n_in++;
    if (pith_same_shape(n, b->shape))
        return add_operand(b, (pith_operand){ .kind = PITH_FULL, .slot = slot });
    return add_operand(b, broadcast(n, b->shape, slot));
}

static int input_operand(builder *b, const node *in)
{
    const node *n = b->p ? pith_source(b->p, in) : in;
    const int member = member_index(b, n);
    return member >= 0 ? b->operand_of[member] : from_memory(b, n);
}

/* An output is written straight to memory, unless it overwrites a leaf that a later instruction
 * still reads: then at the tile's end. */
static void add_member(builder *b, const node *n, int member, bool stored)
{
    pith_chain *c = b->c;
    const int first = n->op == &pith_op_expand ? input_operand(b, n->in[0]) : -1;
    if (first >= 0 && !stored) { /* a repeated read needs no instruction */
        b->operand_of[member] = first;
        return;
    }
    pith_instruction *i = &c->instructions[c->n_instructions];
    *i = (pith_instruction){ .op = n->op->pointwise, .n_in = n->n_in };
    for (int k = 0; k < n->n_in; k++) {
        i->in[k] = input_operand(b, n->in[k]);
        if (c->operands[i->in[k]].kind == PITH_FULL)
            c->last_read[c->operands[i->in[k]].slot] = c->n_instructions;
    }
    pith_operand out = { .kind = PITH_TILE, .slot = -1 };
    if (stored) {
        out = (pith_operand){ .kind = PITH_OUTPUT, .slot = b->s->n_out };
        c->made[b->s->n_out] = c->n_instructions;
        b->s->out[b->s->n_out++] = n->id;
    }
    i->out = b->operand_of[member] = add_operand(b, out);
    c->n_instructions++;
}

static void delay_overwrites(builder *b)
{
    pith_chain *c = b->c;
    for (int k = 0; k < b->s->n_out && b->p; k++) {
        const int assign = b->p->store_to[b->s->out[k]];
        if (assign < 0) continue;
        const int leaf = b->p->canonical[b->p->graph->nodes[assign]->in[0]->id];
        for (int slot = 0; slot < b->s->n_in; slot++)
            if (b->s->in[slot] == leaf && c->last_read[slot] > c->made[k]) {
                const int operand = c->instructions[c->made[k]].out;
                c->operands[operand] = (pith_operand){ .kind = PITH_TILE, .slot = -1 };
                c->late[c->n_late++] = (pith_late){ operand, k };
            }
    }
}

/* Tiles are registers: a tile is free again after its last use. Repeated inputs keep one of their
 * own. */
static void assign_tiles(pith_chain *c)
{
    int *last = malloc(sizeof *last * (size_t)(c->n_operands + 1)),
        *owner = malloc(sizeof *owner * (size_t)(c->n_operands + 1));
    memset(last, -1, sizeof *last * (size_t)(c->n_operands + 1));
    for (int i = 0; i < c->n_instructions; i++)
        for (int k = 0; k < c->instructions[i].n_in; k++) last[c->instructions[i].in[k]] = i;
    for (int k = 0; k < c->n_late; k++) last[c->late[k].operand] = c->n_instructions;
    for (int k = 0; k < c->n_operands; k++)
        if (c->operands[k].kind == PITH_BROADCAST) {
            owner[c->tiles] = k;
            last[k] = c->n_instructions;
            c->operands[k].tile = c->tiles++;
        }
    for (int i = 0; i < c->n_instructions; i++) {
        const int o = c->instructions[i].out;
        if (c->operands[o].kind != PITH_TILE) continue;
        int tile = 0;
        while (tile < c->tiles && last[owner[tile]] > i) tile++;
        if (tile == c->tiles) c->tiles++;
        owner[tile] = o;
        c->operands[o].tile = tile;
    }
    free(last);
    free(owner);
}

pith_chain *pith_chain_new(const pith_plan *p, pith_planned *s)
{
    const size_t members = p ? (size_t)s->n_members : 1;
    pith_chain *c = calloc(1, sizeof *c);
    builder b = { p, s, c, s->n, calloc(members, sizeof(int)) };
    c->count = pith_size(s->n);
    c->instructions = calloc(members, sizeof *c->instructions);
    c->operands = calloc(4 * members, sizeof *c->operands);
    c->late = calloc(members, sizeof *c->late);
    c->last_read = calloc(4 * members, sizeof *c->last_read);
    c->made = c->last_read + 3 * members;
    s->in = calloc(4 * members, sizeof *s->in);
    s->out = s->in + 3 * members;
    for (int m = 0; m < (int)members; m++) {
        const node *n = p ? p->graph->nodes[p->members[s->first_member + m]] : s->n;
        add_member(&b, n, m, !p || p->stored[n->id]);
    }
    delay_overwrites(&b);
    assign_tiles(c);
    free(b.operand_of);
    return c;
}

void pith_chain_free(pith_chain *c)
{
    if (!c) return;
    free(c->instructions);
    free(c->operands);
    free(c->late);
    free(c->last_read);
    free(c);
}

/* ---- running ---- */

/* Elements start .. start+count of a repeated tensor, as a pointer into it where they lie together,
 * else copied to `tile`. */
static const real *repeat(const pith_operand *o, const real *x, size_t start, int count, real *tile)
{
    const size_t run = (size_t)o->dim[o->n - 1], step = o->stride[o->n - 1];
    size_t row = start / run, column = start % run;
    for (int done = 0; done < count; row++, column = 0) {
        size_t place = 0, rest = row;
        for (int k = o->n - 2; k >= 0; k--) {
            place += rest % (size_t)o->dim[k] * o->stride[k];
            rest /= (size_t)o->dim[k];
        }
        const int left = count - done, n = run - column < (size_t)left ? (int)(run - column) : left;
        if (step && n == count) return x + place + column;
        if (step) memcpy(tile + done, x + place + column, sizeof(real) * (size_t)n);
        else
            for (int i = 0; i < n; i++) tile[done + i] = x[place];
        done += n;
    }
    return tile;
}

static bool is_single(const pith_operand *o) { return o->n == 0 || (o->n == 1 && !o->stride[0]); }

static void run_tile(const pith_chain *c, const void *const *in, void *const *out, real *tiles,
                     size_t start)
{
    const int count = c->count - start < TILE ? (int)(c->count - start) : TILE;
    const real *at[PITH_MOST_OPERANDS];
    for (int k = 0; k < c->n_operands; k++) {
        const pith_operand *o = &c->operands[k];
        real *tile = tiles + (size_t)o->tile * TILE;
        if (o->kind == PITH_FULL) at[k] = (const real *)in[o->slot] + start;
        else if (o->kind == PITH_OUTPUT) at[k] = (real *)out[o->slot] + start;
        else if (o->kind == PITH_TILE || is_single(o)) at[k] = tile;
        else at[k] = repeat(o, in[o->slot], start, count, tile);
    }
    for (int i = 0; i < c->n_instructions; i++) {
        const pith_instruction *s = &c->instructions[i];
        const real *arguments[3] = { at[s->in[0]], s->n_in > 1 ? at[s->in[1]] : NULL,
                                     s->n_in > 2 ? at[s->in[2]] : NULL };
        s->op->tile(count, (real *)(uintptr_t)at[s->out], arguments);
    }
    for (int k = 0; k < c->n_late; k++)
        memcpy((real *)out[c->late[k].out] + start, at[c->late[k].operand],
               sizeof(real) * (size_t)count);
}

void pith_chain_run(const pith_chain *c, const void *const *in, void *const *out)
{
    const int64_t tiles = (int64_t)((c->count + TILE - 1) / TILE);
#pragma omp parallel if (c->count > PITH_SMALL)
    {
        /* of stack: at most PITH_MOST_OPERANDS tiles, a megabyte */
        real memory[(c->tiles + 1) * TILE];
        for (int k = 0; k < c->n_operands; k++) { /* single numbers are spread once */
            const pith_operand *o = &c->operands[k];
            if (o->kind == PITH_BROADCAST && is_single(o))
                for (int i = 0; i < TILE; i++)
                    memory[(size_t)o->tile * TILE + (size_t)i] = *(const real *)in[o->slot];
        }
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tiles; t++) run_tile(c, in, out, memory, (size_t)t * TILE);
    }
}
