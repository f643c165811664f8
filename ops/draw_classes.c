/* ops/draw_classes.c: some of many classes for one step: those of the batch, and others at random,
 * every set of others as likely as any. What is drawn depends on the stream's key, the step and the
 * labels and on nothing else, so any number of threads, a resumed run and a recomputed region draw
 * the same. Time and memory are those of the labels and of the classes drawn, however many there
 * are to draw from. */
#include "attributes.h"
#include "slots.h"

static bool draw_shape(node *n)
{
    const draw_attr *a = n->attr;
    if (!pith_want(n, 0, PITH_I32, 1) || !pith_want(n, 1, PITH_I32, 0)) return false;
    const int *labels = n->in[0]->dim, least = *labels < a->k ? *labels : a->k;
    if (a->k < 1) return pith_fail(n, "%d classes, expected at least 1", a->k);
    if (a->count < least || a->count > a->k)
        return pith_fail(n, "%d of %d classes for %d labels, expected from %d to %d", a->count,
                         a->k, *labels, least, a->k);
    return pith_shape(n, PITH_I32, 1, &a->count) && pith_more_result(n, 1, PITH_I32, 1, labels);
}

/* Ascending, by byte after byte from the lowest on; none is negative or above `most`. `spare` has
 * room for as many. */
static void sort(int *x, int *spare, size_t n, int most)
{
    for (int shift = 0; shift < 32 && most >> shift; shift += 8) {
        size_t start[257] = { 0 };
        for (size_t i = 0; i < n; i++) start[(x[i] >> shift & 255) + 1]++;
        for (int k = 0; k < 256; k++) start[k + 1] += start[k];
        for (size_t i = 0; i < n; i++) spare[start[x[i] >> shift & 255]++] = x[i];
        memcpy(x, spare, n * sizeof *x);
    }
}

/* Where x stands in an ascending list; -1 if it does not. */
static int place_of(int x, const int *list, int n)
{
    int low = 0, high = n;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (list[middle] < x) low = middle + 1;
        else high = middle;
    }
    return low < n && list[low] == x ? low : -1;
}

/* The different labels that are classes, ascending; returns how many. */
static int take_labels(const int *labels, int n, int k, int *own, int *spare)
{
    int valid = 0, different = 0;
    for (int i = 0; i < n; i++)
        if (labels[i] >= 0 && labels[i] < k) own[valid++] = labels[i];
    sort(own, spare, (size_t)valid, k - 1);
    for (int i = 0; i < valid; i++)
        if (!i || own[i] != own[i - 1]) own[different++] = own[i];
    return different;
}

/* Puts x into the table; false if it is there already. */
static bool put(int x, int *slot, size_t slots)
{
    size_t k = first_slot(x, slots);
    while (slot[k] >= 0 && slot[k] != x) k = next_slot(k, slots);
    if (slot[k] == x) return false;
    slot[k] = x;
    return true;
}

/* A number in [0, n), the element-th of the step. */
static int random_below(int n, uint64_t key, uint64_t step, int element)
{
    uint32_t w[4];
    pith_philox(key, (uint64_t)element, step, w);
    return (int)(((uint64_t)w[0] * (uint32_t)n + ((uint64_t)w[1] * (uint32_t)n >> 32)) >> 32);
}

/* `count` different numbers in [0, n): the j-th is random below n - count + j + 1, or, where that
 * is taken, the largest of these (Floyd; Bentley, "A sample of brilliance", 1987). */
static void draw(int n, int count, uint64_t key, uint64_t step, int *drawn, int *slot, size_t slots)
{
    for (size_t i = 0; i < slots; i++) slot[i] = -1;
    for (int j = 0; j < count; j++) {
        const int largest = n - count + j;
        int x = random_below(largest + 1, key, step, j);
        if (!put(x, slot, slots)) put(x = largest, slot, slots);
        drawn[j] = x;
    }
}

static size_t draw_scratch(const node *n)
{
    const size_t labels = (size_t)n->in[0]->dim[0], count = (size_t)n->dim[0];
    return (labels + count + (labels > count ? labels : count) + slots_for(n->dim[0])) *
           sizeof(int);
}

static bool draw_cpu(const pith_call *call)
{
    const node *n = call->n;
    const draw_attr *a = n->attr;
    const int *labels = call->in[0], rows = n->in[0]->dim[0];
    const uint64_t key = whole_key(a->key), step = (uint64_t)*(const int *)call->in[1];
    const size_t slots = slots_for(n->dim[0]);
    int *ids = call->out[0], *at = call->out[1];
    int *slot = call->scratch, *own = slot + slots, *drawn = own + rows, *spare = drawn + a->count;
    const int labelled = take_labels(labels, rows, a->k, own, spare), others = a->count - labelled;
    draw(a->k - labelled, others, key, step, drawn, slot, slots);
    sort(drawn, spare, (size_t)others, a->k - 1);
    int before = 0; /* labels; other number x is class x + before */
    for (int i = 0; i < others; i++) {
        for (; before < labelled && own[before] <= drawn[i] + before; before++)
            ids[i + before] = own[before];
        ids[i + before] = drawn[i] + before;
    }
    for (; before < labelled; before++) ids[others + before] = own[before];
    for (int i = 0; i < rows; i++) at[i] = place_of(labels[i], ids, a->count);
    return true;
}

static node *draw_example(pith_graph *g, int i)
{
    if (i == 0) return pith_draw_classes(pith_sample_ids(g, 40, 5), 40, 9);
    if (i == 1) /* labels outside, and all classes */
        return pith_draw_classes(pith_sample_ids(g, 9, 8), 6, 6);
    return NULL;
}

PITH_ON_CUDA_WITH_SCRATCH(draw_classes);
const pith_op pith_op_draw_classes = { "draw_classes",
                                       .attr_size = sizeof(draw_attr),
                                       .shape = draw_shape,
                                       .cpu = draw_cpu,
                                       .cuda = draw_classes_cuda,
                                       .cuda_scratch = draw_classes_cuda_scratch,
                                       .scratch = draw_scratch,
                                       .results = 2,
                                       .flags = PITH_DISTINCT,
                                       .no_grad = "it draws whole numbers",
                                       .example = draw_example };

node *pith_draw_classes_(const char *at, node *labels, int k, int count)
{
    if (!labels || pith_poisoned(labels))
        return pith_make1(at, &pith_op_draw_classes, labels, NULL);
    const uint64_t key = pith_stream_key(labels->graph);
    const draw_attr attr = { { (uint32_t)key, (uint32_t)(key >> 32) }, k, count };
    return pith_make2(at, &pith_op_draw_classes, labels, pith_step(labels->graph), &attr);
}
