/* arena.c: packing. Blocks of memory, each alive for a range of steps, get offsets so that what is
 * alive at the same time does not overlap, and the whole is hardly larger than what is alive at the
 * busiest step. Nothing here knows what lies in the blocks. */
#include "inside.h"

size_t pith_arena_bound(const pith_memory *blocks, int n, int *peak)
{
    int end = 0;
    for (int k = 0; k < n; k++) end = blocks[k].last > end ? blocks[k].last : end;
    size_t *change = pith_room_get((size_t)end + 2, sizeof *change), live = 0, most = 0;
    for (int k = 0; k < n; k++) {
        change[blocks[k].first] += blocks[k].size;
        change[blocks[k].last + 1] -= blocks[k].size; /* wraps and back: unsigned sums are exact */
    }
    for (int step = 0; step <= end; step++) {
        live += change[step];
        if (live > most) most = live, *peak = step;
    }
    pith_room_return(change);
    return most;
}

static size_t end_of(const pith_memory *blocks, int n)
{
    size_t end = 0;
    for (int k = 0; k < n; k++)
        if (blocks[k].offset + blocks[k].size > end) end = blocks[k].offset + blocks[k].size;
    return end;
}

typedef struct {
    double key;
    int block;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : x->block - y->block;
}

/* ---- a row of stretches, which covers all memory ---- */

/* Stretch k is the memory of block k, taken, or free since the block's time was over. Stretch n,
 * the last one, is free and endless; its `after` is the first one. */
typedef struct {
    size_t offset, size;
    int before, after; /* neighbours in memory */
    int at;            /* in the list of free ones, or -1: taken */
} stretch;
typedef struct {
    stretch *s;
    int n, *free, n_free;
} row;

static void set_free(row *r, int k)
{
    r->s[k].at = r->n_free;
    r->free[r->n_free++] = k;
}

static row row_new(int n)
{
    row r = { .s = pith_room_get((size_t)(n + 1), sizeof *r.s), .n = n };
    r.free = pith_room_get((size_t)(n + 1), sizeof *r.free);
    r.s[n] = (stretch){ .size = SIZE_MAX / 2, .before = n, .after = n };
    set_free(&r, n);
    return r;
}

/* Stretch k goes, and the one after it begins where k did: k's memory is part of it now. */
static void join_next(row *r, int k)
{
    stretch *gone = &r->s[k], *next = &r->s[gone->after];
    if (gone->at >= 0) {
        const int other = r->free[--r->n_free];
        r->free[gone->at] = other;
        r->s[other].at = gone->at;
    }
    next->offset = gone->offset;
    next->size += gone->size;
    next->before = gone->before;
    r->s[gone->before].after = gone->after;
}

/* The first bytes of the free stretch `from` become stretch k. */
static void cut(row *r, int k, size_t size, int from)
{
    stretch *s = &r->s[from];
    r->s[k] = (stretch){ s->offset, size, s->before, from, -1 };
    r->s[s->before].after = k;
    s->before = k;
    s->offset += size;
    s->size -= size;
    if (!s->size) join_next(r, from);
}

#define MOST_LOOKED_AT 1000 /* so that the time of a plan grows as its size, whatever is free */

/* Stretch k is cut off the smallest free one that holds it, the lowest of several. */
static void take(row *r, int k, size_t size)
{
    const stretch *best = &r->s[r->n];
    const int oldest = r->n_free > MOST_LOOKED_AT ? r->n_free - MOST_LOOKED_AT : 0;
    for (int i = oldest; i < r->n_free; i++) {
        const stretch *s = &r->s[r->free[i]];
        if (s->size >= size &&
            (s->size < best->size || (s->size == best->size && s->offset < best->offset)))
            best = s;
    }
    cut(r, k, size, (int)(best - r->s));
}

/* Free again, and one with its free neighbours. */
static void release(row *r, int k)
{
    const int before = r->s[k].before, after = r->s[k].after;
    if (r->s[after].at >= 0) join_next(r, k);
    else set_free(r, k);
    if (before != r->n && r->s[before].at >= 0) join_next(r, before);
}

/* ---- best fit, outward from the busiest step ---- */

/* One side of the peak. What is alive at the peak (`stack`, from 0 on) has its place; walking away
 * from the peak, it is given back when its time is over, and the other blocks are taken. */
static void pack_side(pith_memory *blocks, int n, const keyed *stack, int stacked, int peak,
                      int sign)
{
    keyed *events = pith_room_get((size_t)(2 * n), sizeof *events);
    row r = row_new(n);
    for (int k = 0; k < stacked; k++) cut(&r, stack[k].block, blocks[stack[k].block].size, n);
    int count = 0;
    for (int k = 0; k < n; k++) { /* alive from `from` to `to` steps away from the peak */
        const int first = sign * (blocks[k].first - peak), last = sign * (blocks[k].last - peak),
                  from = sign > 0 ? first : last, to = sign > 0 ? last : first;
        if (from > 0) events[count++] = (keyed){ from, k };
        if (to >= 0) events[count++] = (keyed){ to + 0.5, k }; /* after those that come at `to` */
    }
    qsort(events, (size_t)count, sizeof *events, by_key);
    for (int e = 0; e < count; e++) {
        const int k = events[e].block;
        const bool is_over = events[e].key != floor(events[e].key); /* the half step */
        if (is_over) {
            release(&r, k);
            continue;
        }
        take(&r, k, blocks[k].size);
        blocks[k].offset = r.s[k].offset;
    }
    pith_room_return(events);
    pith_room_return(r.s);
    pith_room_return(r.free);
}

/* Orders of what is alive at the peak, from the lowest up. In a training step what is born first
 * mostly dies last: then the stack of births shrinks from its top on both sides. */
enum { BY_DEATH, BY_BIRTH, BY_BOTH, BY_SIZE, STACKS };

static double stack_key(const pith_memory *b, int order)
{
    return order == BY_DEATH   ? -b->last
           : order == BY_BIRTH ? b->first
           : order == BY_BOTH  ? -(double)b->first - b->last
                               : -(double)b->size;
}

/* What is alive at the peak is stacked without a gap; from there best fit in order of time,
 * forwards and backwards: in n log n. */
static void pack_outward(pith_memory *blocks, int n, int peak, int order)
{
    keyed *stack = pith_room_get((size_t)n, sizeof *stack);
    int stacked = 0;
    for (int k = 0; k < n; k++)
        if (blocks[k].first <= peak && blocks[k].last >= peak)
            stack[stacked++] = (keyed){ stack_key(&blocks[k], order), k };
    qsort(stack, (size_t)stacked, sizeof *stack, by_key);
    size_t offset = 0;
    for (int k = 0; k < stacked; k++) {
        blocks[stack[k].block].offset = offset;
        offset += blocks[stack[k].block].size;
    }
    pack_side(blocks, n, stack, stacked, peak, 1);
    pack_side(blocks, n, stack, stacked, peak, -1);
    pith_room_return(stack);
}

/* ---- search: for small plans, again and again ---- */

/* Each block, in this order, at the lowest place that is free all its life. Returns the place in
 * the order of the first that would end above `limit`, n if there is none. `placed` is room for n
 * blocks, kept sorted by offset. */
static int place_in_order(pith_memory *blocks, int n, const int *order, size_t limit,
                          pith_memory *placed, int64_t *work)
{
    for (int count = 0; count < n; count++) {
        pith_memory *b = &blocks[order[count]];
        size_t offset = 0;
        int at = 0;
        for (; at < count; at++) {
            const pith_memory *other = &placed[at];
            if (other->last < b->first || other->first > b->last) continue;
            if (other->offset >= offset + b->size) break;
            if (other->offset + other->size > offset) offset = other->offset + other->size;
        }
        *work += at + 1;
        if (offset + b->size > limit) return count;
        b->offset = offset;
        while (at > 0 && placed[at - 1].offset > offset) at--;
        memmove(placed + at + 1, placed + at, sizeof *placed * (size_t)(count - at));
        placed[at] = *b;
    }
    return n;
}

typedef struct {
    pith_memory *blocks;
    int n, peak;
    size_t bound, end, *offset; /* `end` and the offsets: of the best packing yet */
} packing;

static void keep_if_better(packing *p)
{
    const size_t end = end_of(p->blocks, p->n);
    if (end >= p->end) return;
    p->end = end;
    for (int k = 0; k < p->n; k++) p->offset[k] = p->blocks[k].offset;
}

/* Within half a per cent of the bound; after some search, one and a half are enough. */
static bool is_tight(const packing *p, bool searched)
{
    return p->end <= p->bound + p->bound / (searched ? 64 : 200);
}

/* A packing outward, from its lowest block up. After the first of each kind some blocks change
 * places; the same ones in every run. */
static void start_order(packing *p, int start, int *order)
{
    keyed *keys = pith_room_get((size_t)p->n, sizeof *keys);
    pack_outward(p->blocks, p->n, p->peak, start % STACKS);
    for (int k = 0; k < p->n; k++) keys[k] = (keyed){ (double)p->blocks[k].offset, k };
    qsort(keys, (size_t)p->n, sizeof *keys, by_key);
    for (int k = 0; k < p->n; k++) order[k] = keys[k].block;
    pith_room_return(keys);
    for (int k = 0; k < 1 + p->n / 32 && start >= STACKS; k++) {
        const int i = (int)(pith_uniform_at(1, (uint64_t)start, 2 * (uint64_t)k) * p->n),
                  j = (int)(pith_uniform_at(1, (uint64_t)start, 2 * (uint64_t)k + 1) * p->n),
                  kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

#define MOST_WORK 800000000 /* blocks looked at: less than a second */
#define STARTS 200
#define TRIES 250 /* from one start, without a better packing */

/* Whenever a block does not end below the best packing yet, by a thousandth of the bound, it
 * chooses before all others in the next try. */
static void search(packing *p)
{
    int *order = pith_room_get((size_t)p->n, sizeof *order);
    pith_memory *room = pith_room_get((size_t)p->n, sizeof *room);
    int64_t work = 0;
    for (int start = 0; start < STARTS && work < MOST_WORK; start++) {
        const bool searched = start >= STACKS;
        if (is_tight(p, searched)) break;
        start_order(p, start, order);
        for (int try = 0; try < TRIES && work < MOST_WORK && !is_tight(p, searched); try++) {
            const size_t limit = p->end - 1 - p->bound / 1000;
            const int stuck = place_in_order(p->blocks, p->n, order, limit, room, &work);
            if (stuck == p->n) {
                keep_if_better(p);
                try = 0;
                continue;
            }
            const int first = order[stuck];
            memmove(order + 1, order, sizeof *order * (size_t)stuck);
            order[0] = first;
        }
    }
    pith_room_return(order);
    pith_room_return(room);
}

#define MOST_SEARCHED 12000 /* blocks: one try takes time in their square */

size_t pith_arena_pack(pith_memory *blocks, int n)
{
    if (!n) return 0;
    packing p = { .blocks = blocks, .n = n, .end = SIZE_MAX };
    p.bound = pith_arena_bound(blocks, n, &p.peak);
    p.offset = pith_room_get((size_t)n, sizeof *p.offset);
    for (int order = 0; order < STACKS && !is_tight(&p, false); order++) {
        pack_outward(blocks, n, p.peak, order);
        keep_if_better(&p);
    }
    if (n <= MOST_SEARCHED) search(&p);
    for (int k = 0; k < n; k++) blocks[k].offset = p.offset[k];
    pith_room_return(p.offset);
    return p.end;
}
