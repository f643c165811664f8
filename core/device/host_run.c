/* host_run.c: how the CPU runs chains, a tile after the other, and one op alone, for folding. */
#include "inside.h"

#define TILE 512 /* elements: the tiles of a usual chain stay in the first-level cache */

/* One number `count` times. */
static void fill(char *to, const char *number, size_t bytes, size_t count)
{
    if (bytes == sizeof(uint32_t)) {
        uint32_t x;
        memcpy(&x, number, sizeof x);
        for (size_t i = 0; i < count; i++) ((uint32_t *)(void *)to)[i] = x;
    } else {
        for (size_t i = 0; i < count; i++) memcpy(to + i * bytes, number, bytes);
    }
}

/* Elements start .. start+count of a repeated tensor, as a pointer into it where they lie together,
 * else copied to `tile`. */
static const char *repeat(const pith_operand *o, const char *x, size_t start, size_t count,
                          char *tile)
{
    const pith_repeat *r = &o->repeat;
    const size_t run = r->dim[r->n - 1], step = r->stride[r->n - 1];
    size_t row = start / run, column = start % run;
    for (size_t done = 0; done < count; row++, column = 0) {
        size_t place = 0, rest = row;
        for (int k = r->n - 2; k >= 0; k--) {
            place += rest % r->dim[k] * r->stride[k];
            rest /= r->dim[k];
        }
        const size_t left = count - done, n = run - column < left ? run - column : left;
        const char *from = x + (place + (step ? column : 0)) * o->bytes;
        if (step && n == count) return from;
        if (step) memcpy(tile + done * o->bytes, from, n * o->bytes);
        else fill(tile + done * o->bytes, from, o->bytes, n);
        done += n;
    }
    return tile;
}

static bool is_single(const pith_operand *o)
{
    return o->repeat.n == 0 || (o->repeat.n == 1 && !o->repeat.stride[0]);
}

/* What a tile takes in memory: TILE elements of the widest dtype that chains work on. */
#define TILE_BYTES (TILE * sizeof(real))
_Static_assert(sizeof(real) >= sizeof(int), "a tile has room for either dtype");

static const char *locate(const pith_operand *o, const void *const *in, void *const *out,
                          char *tiles, size_t start, size_t count)
{
    char *tile = tiles + (size_t)o->tile * TILE_BYTES;
    if (o->kind == PITH_FULL) return (const char *)in[o->slot] + start * o->bytes;
    if (o->kind == PITH_OUTPUT) return (char *)out[o->slot] + start * o->bytes;
    if (o->kind == PITH_TILE || is_single(o)) return tile;
    return repeat(o, in[o->slot], start, count, tile);
}

static void run_tile(const pith_chain *c, const void *const *in, void *const *out, char *tiles,
                     size_t start)
{
    const size_t count = c->count - start < TILE ? c->count - start : TILE;
    const char *at[PITH_MOST_OPERANDS];
    for (int k = 0; k < c->n_operands; k++)
        at[k] = locate(&c->operands[k], in, out, tiles, start, count);
    for (int i = 0; i < c->n_instructions; i++) {
        const pith_instruction *s = &c->instructions[i];
        const void *arguments[3] = { at[s->in[0]], s->n_in > 1 ? at[s->in[1]] : NULL,
                                     s->n_in > 2 ? at[s->in[2]] : NULL };
        s->form->tile((int)count, (void *)(uintptr_t)at[s->out], arguments);
    }
    for (int k = 0; k < c->n_late; k++) {
        const size_t bytes = c->operands[c->late[k].operand].bytes;
        memcpy((char *)out[c->late[k].out] + start * bytes, at[c->late[k].operand], count * bytes);
    }
}

void pith_chain_run(const pith_chain *c, const void *const *in, void *const *out)
{
    const int64_t tiles = (int64_t)((c->count + TILE - 1) / TILE);
#pragma omp parallel if (c->count > PITH_SMALL)
    {
        /* of stack: at most PITH_MOST_OPERANDS tiles, half a megabyte, in double a whole one */
        real memory[(size_t)(c->tiles + 1) * TILE];
        char *all = (char *)memory;
        for (int k = 0; k < c->n_operands; k++) { /* single numbers are spread once */
            const pith_operand *o = &c->operands[k];
            if (o->kind == PITH_BROADCAST && is_single(o))
                fill(all + (size_t)o->tile * TILE_BYTES, in[o->slot], o->bytes, TILE);
        }
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tiles; t++) run_tile(c, in, out, all, (size_t)t * TILE);
    }
}

/* ---- one op alone ---- */

static bool evaluate_op(const node *n, const void *const *in, void *out)
{
    const pith_op *op = n->op;
    const size_t size = op->scratch ? op->scratch(n) : 0;
    void *scratch = size ? pith_aligned(size) : NULL;
    const pith_call call = { .n = n, .in = in, .out = &out, .scratch = scratch };
    sigset_t held;
    pith_hold_signals(&held, op->flops != NULL);
    const bool good = (!size || scratch) && op->cpu(&call);
    pith_release_signals(&held);
    free(scratch);
    return good;
}

bool pith_evaluate(const node *n, const void *const *in, void *out)
{
    if (!n->op->pointwise) return evaluate_op(n, in, out);
    pith_planned s = { .n = n };
    pith_chain *c = pith_chain_new(NULL, &s);
    const void *ordered[3];
    for (int slot = 0; slot < s.n_in; slot++) /* an input named twice has one slot */
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k]->id == s.in[slot]) ordered[slot] = in[k];
    pith_chain_run(c, ordered, &out);
    pith_chain_free(c);
    pith_room_return(s.in);
    return true;
}
