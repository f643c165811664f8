/* arena.c: packing. Blocks of memory, each alive for a range of steps, get offsets so that what is
 * alive at the same time does not overlap, and the whole is hardly larger than what is alive at the
 * busiest step. Nothing here knows what lies in the blocks. */
#include "inside.h"

size_t pith_arena_bound(const pith_memory *blocks, int n, int *peak)
{
    int end = 0;
    for (int k = 0; k < n; k++) end = blocks[k].last > end ? blocks[k].last : end;
    size_t *change = calloc((size_t)end + 2, sizeof *change), live = 0, most = 0;
    for (int k = 0; k < n; k++) {
        change[blocks[k].first] += blocks[k].size;
        change[blocks[k].last + 1] -= blocks[k].size; /* wraps and back: unsigned sums are exact */
    }
    for (int step = 0; step <= end; step++) {
        live += change[step];
        if (live > most) most = live, *peak = step;
    }
    free(change);
    return most;
}

static size_t end_of(const pith_memory *blocks, int n)
{
    size_t end = 0;
    for (int k = 0; k < n; k++)
        if (blocks[k].offset + blocks[k].size > end) end = blocks[k].offset + blocks[k].size;
    return end;
}

static bool is_alive(const pith_memory *b, int step) { return b->first <= step && b->last >= step; }

typedef struct {
    double key;
    int block;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : x->block - y->block;
}

/* ---- a row of segments, taken or free; the free ones are a treap by (size, offset) ---- */

typedef struct {
    size_t offset, size;
    int before, after; /* neighbours in memory, 0 for none: segment 0 stands for nothing */
    int left, right;   /* in the treap */
    bool free;
} segment;
typedef struct {
    segment *s;
    int n, root, last;
} row;

static bool less(const segment *a, const segment *b)
{
    return a->size != b->size ? a->size < b->size : a->offset < b->offset;
}

/* Which of two is nearer the root of the treap: as good as random, and the same in every run. */
static uint32_t priority(int k)
{
    return (uint32_t)k * 0x9E3779B9u ^ (uint32_t)k * 0x85EBCA6Bu >> 7;
}

static int merged(segment *s, int a, int b) /* everything in a is less than everything in b */
{
    if (!a || !b) return a ? a : b;
    if (priority(a) > priority(b)) return s[a].right = merged(s, s[a].right, b), a;
    return s[b].left = merged(s, a, s[b].left), b;
}

static void split(segment *s, int t, const segment *at, int *below, int *rest)
{
    if (!t) *below = *rest = 0;
    else if (less(&s[t], at)) split(s, s[t].right, at, &s[t].right, rest), *below = t;
    else split(s, s[t].left, at, below, &s[t].left), *rest = t;
}

static void set_free(row *r, int k)
{
    int below, rest;
    split(r->s, r->root, &r->s[k], &below, &rest);
    r->s[k].free = true;
    r->s[k].left = r->s[k].right = 0;
    r->root = merged(r->s, merged(r->s, below, k), rest);
}

static void set_taken(row *r, int k)
{
    const segment next = { .size = r->s[k].size, .offset = r->s[k].offset + 1 };
    int below, rest, self;
    split(r->s, r->root, &r->s[k], &below, &rest);
    split(r->s, rest, &next, &self, &rest);
    r->s[k].free = false;
    r->root = merged(r->s, below, rest);
}

/* A new segment behind k. */
static int insert_after(row *r, int k, size_t size)
{
    const int new = ++r->n, after = r->s[k].after;
    r->s[new] = (segment){
        .offset = k ? r->s[k].offset + r->s[k].size : 0, .size = size, .before = k, .after = after
    };
    if (k) r->s[k].after = new;
    if (after) r->s[after].before = new;
    return new;
}

/* The smallest free segment that holds `size`, cut to it. The last one is endless. */
static int take(row *r, size_t size)
{
    int best = 0;
    for (int t = r->root; t;)
        if (r->s[t].size >= size) best = t, t = r->s[t].left;
        else t = r->s[t].right;
    set_taken(r, best);
    const size_t rest = r->s[best].size - size;
    r->s[best].size = size;
    if (rest) set_free(r, insert_after(r, best, rest));
    return best;
}

/* Free again, and one with its free neighbours. */
static void release(row *r, int k)
{
    segment *s = r->s;
    for (int other = s[k].after, side = 0; side < 2; side++, other = s[k].before) {
        if (!other || !s[other].free) continue;
        set_taken(r, other);
        s[k].size += s[other].size;
        if (side) s[k].offset = s[other].offset, s[k].before = s[other].before;
        else s[k].after = s[other].after;
        if (s[k].before) s[s[k].before].after = k;
        if (s[k].after) s[s[k].after].before = k;
    }
    set_free(r, k);
}

/* ---- best fit, outward from the busiest step ---- */

/* A block as seen from the peak: alive from `from` to `to` steps away from it. */
typedef struct {
    int from, to, block;
} life;

static int by_from(const void *a, const void *b)
{
    const life *x = a, *y = b;
    return x->from != y->from ? (x->from > y->from) - (x->from < y->from) : x->block - y->block;
}

static int by_to(const void *a, const void *b)
{
    const life *x = a, *y = b;
    return x->to != y->to ? (x->to > y->to) - (x->to < y->to) : x->block - y->block;
}

/* One side of the peak. What is alive at the peak (`stack`, from 0 on) has its place; walking away
 * from the peak, it is given back when its time is over, and the other blocks are taken. */
static void pack_side(pith_memory *blocks, int n, const int *stack, int stacked, int peak, int sign)
{
    life *come = malloc(sizeof *come * (size_t)(n + 1)), *go = malloc(sizeof *go * (size_t)(n + 1));
    int *held = malloc(sizeof *held * (size_t)(n + 1)), count = 0, coming = 0;
    row r = { .s = malloc(sizeof *r.s * (size_t)(2 * n + 2)) };
    r.s[0] = (segment){ 0 };
    int top = 0;
    for (int k = 0; k < stacked; k++)
        held[stack[k]] = top = insert_after(&r, top, blocks[stack[k]].size);
    set_free(&r, insert_after(&r, top, SIZE_MAX / 2));
    for (int k = 0; k < n; k++) {
        const int away[2] = { sign * (blocks[k].first - peak), sign * (blocks[k].last - peak) };
        const life l = { sign > 0 ? away[0] : away[1], sign > 0 ? away[1] : away[0], k };
        if (l.to < 0) continue; /* on the other side */
        go[count++] = l;
        if (l.from > 0) come[coming++] = l;
    }
    qsort(go, (size_t)count, sizeof *go, by_to);
    qsort(come, (size_t)coming, sizeof *come, by_from);
    for (int k = 0, gone = 0; k < coming; k++) {
        while (go[gone].to < come[k].from) release(&r, held[go[gone++].block]);
        const int place = take(&r, blocks[come[k].block].size);
        held[come[k].block] = place;
        blocks[come[k].block].offset = r.s[place].offset;
    }
    free(come);
    free(go);
    free(held);
    free(r.s);
}

/* Orders of what is alive at the peak, from the lowest up. In a training step what is born first
 * mostly dies last: then the stack of births shrinks from its top on both sides. */
enum { BY_DEATH, BY_BIRTH, BY_BOTH, BY_SIZE, STACKS };

static int64_t stack_key(const pith_memory *b, int order)
{
    return order == BY_DEATH   ? -b->last
           : order == BY_BIRTH ? b->first
           : order == BY_BOTH  ? (int64_t)-b->first - b->last
                               : -(int64_t)b->size;
}

/* What is alive at the peak is stacked without a gap; from there best fit in order of time,
 * forwards and backwards: in n log n. */
static size_t pack_outward(pith_memory *blocks, int n, int peak, int order)
{
    keyed *at_peak = malloc(sizeof *at_peak * (size_t)(n + 1));
    int *stack = malloc(sizeof *stack * (size_t)(n + 1)), stacked = 0;
    for (int k = 0; k < n; k++)
        if (is_alive(&blocks[k], peak))
            at_peak[stacked++] = (keyed){ (double)stack_key(&blocks[k], order), k };
    qsort(at_peak, (size_t)stacked, sizeof *at_peak, by_key);
    size_t offset = 0;
    for (int k = 0; k < stacked; k++) {
        stack[k] = at_peak[k].block;
        blocks[stack[k]].offset = offset;
        offset += blocks[stack[k]].size;
    }
    pack_side(blocks, n, stack, stacked, peak, 1);
    pack_side(blocks, n, stack, stacked, peak, -1);
    free(at_peak);
    free(stack);
    return end_of(blocks, n);
}

/* ---- search: for small plans, again and again ---- */

/* Each block, in this order, at the lowest place that is free all its life. Returns the place in
 * the order of the first that would end above `limit`, n if there is none. `placed` is room for n
 * ids, kept sorted by offset. */
static int place_in_order(pith_memory *blocks, int n, const int *order, size_t limit, int *placed,
                          int64_t *work)
{
    for (int count = 0; count < n; count++) {
        pith_memory *b = &blocks[order[count]];
        size_t offset = 0;
        int at = 0;
        for (; at < count; at++) {
            const pith_memory *other = &blocks[placed[at]];
            if (other->last < b->first || other->first > b->last) continue;
            if (other->offset >= offset + b->size) break;
            if (other->offset + other->size > offset) offset = other->offset + other->size;
        }
        *work += at + 1;
        if (offset + b->size > limit) return count;
        b->offset = offset;
        while (at > 0 && blocks[placed[at - 1]].offset > offset) at--;
        memmove(placed + at + 1, placed + at, sizeof *placed * (size_t)(count - at));
        placed[at] = order[count];
    }
    return n;
}

typedef struct {
    pith_memory *blocks;
    int n, peak;
    size_t bound, end, *offset; /* `end` and the offsets: of the best packing yet */
} packing;

static void keep_if_better(packing *p, size_t end)
{
    if (end >= p->end) return;
    p->end = end;
    for (int k = 0; k < p->n; k++) p->offset[k] = p->blocks[k].offset;
}

/* Within half a per cent of the bound; after some search, one and a half are enough. */
static bool is_tight(const packing *p, int rounds)
{
    return p->end <= p->bound + p->bound / (rounds ? 64 : 200);
}

/* What to begin with: the best packing from its lowest block up; what is alive at the peak, and of
 * that the longest or the largest first. */
enum { FROM_THE_BEST, LONGEST, LARGEST, STARTS };

static void start_order(const packing *p, int start, int *order)
{
    keyed *keys = malloc(sizeof *keys * (size_t)p->n);
    for (int k = 0; k < p->n; k++) {
        const pith_memory *b = &p->blocks[k];
        const double late = is_alive(b, p->peak) ? 0 : 1e15, length = b->last - b->first;
        keys[k] = (keyed){ start == FROM_THE_BEST ? (double)p->offset[k]
                           : start == LONGEST     ? late - length
                                                  : late - (double)b->size,
                           k };
    }
    qsort(keys, (size_t)p->n, sizeof *keys, by_key);
    for (int k = 0; k < p->n; k++) order[k] = keys[k].block;
    free(keys);
}

/* Some blocks change places; the same ones in every run. */
static void shuffle(int *order, int n, int round, int start)
{
    for (int k = 0; k < 1 + n / 32; k++) {
        const uint64_t at = (uint64_t)(round * STARTS + start);
        const int i = (int)(pith_uniform_at(1, at, 2 * (uint64_t)k) * n),
                  j = (int)(pith_uniform_at(1, at, 2 * (uint64_t)k + 1) * n), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

#define MOST_WORK 200000000 /* blocks looked at: about half a second */
#define TRIES 50            /* from one start */
#define ROUNDS 100

/* Whenever a block does not end below the best packing yet, it chooses earlier in the next try: in
 * every other round before all others. */
static void search(packing *p)
{
    int *order = malloc(sizeof *order * (size_t)p->n), *room = malloc(sizeof *room * (size_t)p->n);
    int64_t work = 0;
    for (int round = 0; round < ROUNDS && work < MOST_WORK && !is_tight(p, round); round++)
        for (int start = 0; start < STARTS; start++) {
            start_order(p, start, order);
            if (round > 1) shuffle(order, p->n, round, start);
            for (int try = 0; try < TRIES && work < MOST_WORK && !is_tight(p, round); try++) {
                const int stuck = place_in_order(p->blocks, p->n, order, p->end - 1, room, &work);
                if (stuck == p->n) {
                    keep_if_better(p, end_of(p->blocks, p->n));
                    continue;
                }
                const double share = pith_uniform_at(2, (uint64_t)round, (uint64_t)try);
                const int first = order[stuck], to = round % 2 ? (int)(share * stuck) : 0;
                memmove(order + to + 1, order + to, sizeof *order * (size_t)(stuck - to));
                order[to] = first;
            }
        }
    free(order);
    free(room);
}

#define MOST_SEARCHED 12000 /* blocks: one try takes time in their square */

size_t pith_arena_pack(pith_memory *blocks, int n)
{
    if (!n) return 0;
    packing p = { .blocks = blocks, .n = n, .end = SIZE_MAX };
    p.bound = pith_arena_bound(blocks, n, &p.peak);
    p.offset = malloc(sizeof *p.offset * (size_t)n);
    for (int order = 0; order < STACKS && !is_tight(&p, 0); order++)
        keep_if_better(&p, pack_outward(blocks, n, p.peak, order));
    if (n <= MOST_SEARCHED) search(&p);
    for (int k = 0; k < n; k++) blocks[k].offset = p.offset[k];
    free(p.offset);
    return p.end;
}
