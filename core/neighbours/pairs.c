/* pairs.c: every near pair, where they are few enough for a list. */
#include "parts.h"

typedef struct {
    pith_search search;
    int width;
    const pith_real *rows;
    pith_edge *edge;
    size_t used, room;
    bool full; /* there was no memory for more */
} list;

static bool make_room(list *l, size_t more)
{
    if (l->used + more <= l->room) return true;
    const size_t room = 2 * l->room + more + 1024;
    pith_edge *wider = realloc(l->edge, room * sizeof *wider);
    if (!wider) return false;
    l->edge = wider;
    l->room = room;
    return true;
}

static void take(pith_search *s, int i, int count, const pith_near *near)
{
    list *l = (list *)s;
    const size_t width = (size_t)l->width;
    pith_edge found[PITH_BLOCK];
    size_t n = 0;
    for (int k = 0; k < count; k++) {
        const int j = near[k].column;
        const double squared = pith_squared_distance(l->width, l->rows + (size_t)i * width,
                                                     l->rows + (size_t)j * width);
        found[n] = (pith_edge){ sqrt(squared), i, j };
        n += found[n].distance < s->below;
    }
    if (!n) return;
#pragma omp critical(pith_near_pairs)
    {
        if (!make_room(l, n)) l->full = true;
        else {
            memcpy(l->edge + l->used, found, n * sizeof *found);
            l->used += n;
        }
    }
}

static bool between(pith_search *s)
{
    const list *l = (list *)s;
    return !l->full || pith_raise("no memory for more than %zu near pairs", l->used);
}

int64_t pith_near_pairs(int n, int width, const pith_real *rows, double distance, pith_edge **edges)
{
    list l = { { .below = distance, .take = take, .between = between },
               .width = width,
               .rows = rows };
    *edges = NULL;
    if (n < 1 || width < 1 || !(distance >= 0))
        return pith_raise("pairs of %d rows of %d nearer than %g: expected at least 1, 1 and 0", n,
                          width, distance),
               -1;
    if (!pith_search_run(&l.search, n, width, rows)) return free(l.edge), -1;
    if (l.used) qsort(l.edge, l.used, sizeof *l.edge, pith_edge_order);
    *edges = l.edge;
    return (int64_t)l.used;
}
