/* forest.c: a minimum spanning forest of near pairs, in memory of O(n). Edges are gathered in a
 * buffer behind the forest so far; now and then both are sorted and Kruskal's algorithm makes the
 * next forest of them. Since every edge outside is the longest of a circle inside, nothing that is
 * thrown away is missed later. The order (distance, a, b) is strict, so that there is one forest,
 * whenever and in whatever order edges come. */
#include "parts.h"

/* The trees of Kruskal's union by size, without path compression: a row's way to the root, of at
 * most log2(n) steps, goes over edges that become longer, and where two ways meet stands the
 * longest edge on the path between them. */
typedef struct {
    pith_search search;
    int n, width, wanted, edges; /* edges: of the forest, at the buffer's front */
    const pith_real *rows;
    pith_edge *buffer;
    size_t used, room;
    int *parent, *size, *by; /* by: the edge that joined a row to its parent; INT32_MAX for roots */
} builder;

int pith_edge_order(const void *a, const void *b)
{
    const pith_edge *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->a != y->a ? (x->a < y->a ? -1 : 1) : (x->b > y->b) - (x->b < y->b);
}

/* The edge that a pair must be shorter than to be of use; NULL: nothing connects the two yet. */
static const pith_edge *longest_between(const builder *w, int a, int b)
{
    int edge = -1;
    while (a != b) {
        int *lower = w->by[a] <= w->by[b] ? &a : &b;
        if (w->by[*lower] == INT32_MAX) return NULL;
        edge = w->by[*lower];
        *lower = w->parent[*lower];
    }
    return &w->buffer[edge];
}

static void take(pith_search *s, int i, int count, const pith_near *near)
{
    builder *w = (builder *)s;
    const size_t width = (size_t)w->width;
    pith_edge found[PITH_BLOCK];
    size_t n = 0, at;
    for (int k = 0; k < count; k++) {
        const pith_edge *longest = longest_between(w, i, near[k].column);
        const double nearest = 2 - 2 * (double)near[k].cosine - s->error;
        if (longest && nearest > longest->distance * longest->distance * (1 + 1e-12)) continue;
        const pith_edge e = { sqrt(pith_squared_distance(w->width, w->rows + (size_t)i * width,
                                                         w->rows + (size_t)near[k].column * width)),
                              i, near[k].column };
        if (e.distance < s->below && (!longest || pith_edge_order(&e, longest) < 0)) found[n++] = e;
    }
#pragma omp atomic capture
    {
        at = w->used;
        w->used += n;
    }
    memcpy(w->buffer + at, found, n * sizeof *found);
}

static int root(const builder *w, int i)
{
    while (w->parent[i] != i) i = w->parent[i];
    return i;
}

static void kruskal(builder *w)
{
    qsort(w->buffer, w->used, sizeof *w->buffer, pith_edge_order);
    for (int i = 0; i < w->n; i++) w->parent[i] = i, w->size[i] = 1, w->by[i] = INT32_MAX;
    w->edges = 0;
    for (size_t k = 0; k < w->used && w->edges < w->n - 1; k++) {
        const pith_edge e = w->buffer[k];
        if (w->edges >= w->wanted && (!w->wanted || e.distance > w->buffer[w->wanted - 1].distance))
            break;
        int a = root(w, e.a), b = root(w, e.b);
        if (a == b) continue;
        if (w->size[a] < w->size[b]) {
            const int swapped = a;
            a = b, b = swapped;
        }
        w->parent[b] = a;
        w->size[a] += w->size[b];
        w->by[b] = w->edges;
        w->buffer[w->edges++] = e;
    }
    w->used = (size_t)w->edges;
    const bool whole = w->edges >= w->wanted || w->edges == w->n - 1;
    const double last = w->edges ? w->buffer[w->edges - 1].distance : 0;
    if (whole) w->search.below = fmin(w->search.below, nextafter(last, HUGE_VAL));
}

/* When enough has come that sorting it costs little for each edge, or the next block may not fit.
 */
static bool between(pith_search *s)
{
    builder *w = (builder *)s;
    const size_t block = (size_t)PITH_BLOCK * PITH_BLOCK, fresh = w->used - (size_t)w->edges;
    if (w->used + block > w->room || fresh > (size_t)w->edges + (size_t)w->n / 4 + 4096) kruskal(w);
    return true;
}

pith_forest *pith_forest_new(int n, int width, const pith_real *rows, double below, int wanted)
{
    builder w = { { .below = below, .take = take, .between = between },
                  .n = n,
                  .width = width,
                  .rows = rows,
                  .wanted = wanted,
                  .room = 2 * ((size_t)n + (size_t)PITH_BLOCK * PITH_BLOCK) };
    if (n < 1 || width < 1 || wanted < 0 || !(below >= 0))
        return pith_raise("a forest of %d rows of %d, %d edges below %g: expected at least 1, 1, 0 "
                          "and 0",
                          n, width, wanted, below),
               NULL;
    pith_forest *f = calloc(1, sizeof *f);
    w.buffer = malloc(w.room * sizeof *w.buffer);
    w.parent = malloc(3 * sizeof(int) * (size_t)n);
    bool good = (f && w.buffer && w.parent) || pith_raise("no memory to compare %d rows", n);
    if (good) {
        w.size = w.parent + n;
        w.by = w.size + n;
        kruskal(&w);
        good = pith_search_run(&w.search, n, width, rows);
    }
    if (good) {
        kruskal(&w);
        *f = (pith_forest){ n, w.edges, w.edges == n - 1 ? HUGE_VAL : w.search.below, w.buffer };
        pith_edge *fitted = realloc(w.buffer, (size_t)(w.edges + 1) * sizeof *fitted);
        if (fitted) f->edge = fitted;
    } else free(w.buffer), free(f);
    free(w.parent);
    return good ? f : NULL;
}

void pith_forest_free(pith_forest *f)
{
    if (!f) return;
    free(f->edge);
    free(f);
}

/* ---- what a forest tells ---- */

static int find(int *parent, int i)
{
    int top = i;
    while (parent[top] != top) top = parent[top];
    while (parent[i] != top) {
        const int next = parent[i];
        parent[i] = top, i = next;
    }
    return top;
}

int pith_forest_removed(const pith_forest *f, double beta)
{
    int low = 0, high = f->edges; /* the first edge that is not shorter */
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (f->edge[middle].distance < beta) low = middle + 1;
        else high = middle;
    }
    return low;
}

int pith_forest_groups(const pith_forest *f, double beta, int *group)
{
    const int edges = pith_forest_removed(f, beta);
    if (!(beta <= f->below))
        return pith_raise("this forest tells groups up to %.9g, found %.9g", f->below, beta), -1;
    int *parent = malloc(2 * sizeof *parent * (size_t)f->n), groups = 0;
    if (!parent) return pith_raise("no memory to group %d rows", f->n), -1;
    int *size = parent + f->n;
    for (int i = 0; i < f->n; i++) parent[i] = i, size[i] = 1;
    for (int k = 0; k < edges; k++) {
        const int a = find(parent, f->edge[k].a), b = find(parent, f->edge[k].b);
        const int larger = size[a] < size[b] ? b : a, lesser = larger == a ? b : a;
        parent[lesser] = larger;
        size[larger] += size[lesser];
    }
    for (int i = 0; i < f->n; i++) group[i] = -1;
    for (int i = 0; i < f->n; i++) { /* a root may come after its group's first row */
        const int top = find(parent, i);
        if (size[top] > 0) size[top] = -groups++;
        group[i] = -size[top];
    }
    free(parent);
    return groups;
}

double pith_forest_beta(const pith_forest *f, int removed, double *next)
{
    const int m = removed < 0 ? 0 : removed < f->edges ? removed : f->edges;
    const double beta = m < f->edges ? f->edge[m].distance
                        : m          ? nextafter(f->edge[m - 1].distance, HUGE_VAL)
                                     : 0;
    const int come = pith_forest_removed(f, beta);
    *next = come < f->edges ? nextafter(f->edge[come].distance, HUGE_VAL) : HUGE_VAL;
    return beta;
}
