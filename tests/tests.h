/* tests.h: what the test programs share. */
#ifndef PITH_TESTS_H
#define PITH_TESTS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "core.h"
#include "inside.h"
#include <cmocka.h>

static inline int pith_results_of(const pith_op *op) { return pith_results(op); }
static inline node *pith_graph_node(pith_graph *g, int id) { return g->nodes[id]; }

/* The node of an op in a graph that was made as one of its examples. */
static inline node *the_op(pith_graph *g, const pith_op *op)
{
    node *found = NULL;
    for (int id = 0; id < pith_graph_size(g); id++)
        if (g->nodes[id]->op == op) found = g->nodes[id];
    if (!found) fail_msg("an example of %s has no %s in it", op->name, op->name);
    return found;
}

static inline void near(double a, double b)
{
    if (!(fabs(a - b) < 1e-12)) fail_msg("%.17g is not %.17g", a, b);
}

static inline bool on_device(void) { return getenv("TEST_DEVICE") != NULL; }

/* On the CPU, or, with TEST_DEVICE=cuda, on that device. */
static inline pith_store *new_store(void)
{
    const char *name = getenv("TEST_DEVICE");
    pith_store *s = pith_store_new_on(name && strcmp(name, "cuda") == 0 ? PITH_CUDA : PITH_CPU);
    if (!s) fail_msg("%s", pith_error());
    return s;
}

/* ---- copies of what lies in a store or plan: the latest 64 live ---- */

static inline void *copy_room(size_t bytes)
{
    static void *rooms[64];
    static int next;
    void **room = &rooms[next++ % 64];
    free(*room);
    return *room = malloc(bytes);
}

static inline void *elements(const pith_tensor *t)
{
    void *copy = copy_room(pith_tensor_bytes(t));
    if (!pith_tensor_read(t, copy)) fail_msg("%s", pith_error());
    return copy;
}

static inline void *stored(pith_store *s, const char *name)
{
    const pith_tensor *t = pith_store_find(s, name);
    if (!t) fail_msg("no tensor %s", name);
    return elements(t);
}

static inline void *value_of(const pith_plan *p, const node *n)
{
    void *copy = copy_room(pith_bytes(n));
    if (!pith_value(p, n, copy)) fail_msg("%s", pith_error());
    return copy;
}

/* ---- errors: kept for pith_error(), not printed ---- */

static inline void test_handler(const char *message, void *context)
{
    (void)message, (void)context;
}

static inline int quiet(void **state) /* a group's setup */
{
    (void)state;
    pith_on_error(test_handler, NULL);
    return 0;
}

static inline void said(const char *part)
{
    if (!strstr(pith_error(), part))
        fail_msg("the error is \"%s\", not \"%s\"", pith_error(), part);
}

/* ---- errors counted: each mistake is to be told once ---- */

static int reports;

static inline void count_reports(const char *message, void *context)
{
    (void)context;
    if (!*message) fail_msg("an empty report");
    reports++;
}

static inline int counting(void **state) /* a group's setup */
{
    (void)state;
    pith_on_error(count_reports, NULL);
    reports = 0;
    return 0;
}

/* ---- a graph and its store, for one test ---- */

typedef struct {
    pith_store *s;
    pith_graph *g;
} world;

static inline int make_world(void **state)
{
    world *w = malloc(sizeof *w);
    w->s = new_store();
    w->g = pith_graph_new(w->s, 3);
    *state = w;
    return 0;
}

static inline int free_world(void **state)
{
    world *w = *state;
    pith_graph_free(w->g);
    pith_store_free(w->s);
    free(w);
    return 0;
}
#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, make_world, free_world)

/* Element i of a tensor of the world's store. */
static inline double stored_number(const world *w, const char *name, int i)
{
    return (double)((const real *)stored(w->s, name))[i];
}

/* ---- a folder of the program's own, removed with what is in it ---- */

static char place[32];

static inline const char *path_of(const char *format, ...)
{
    static char paths[16][256];
    static int next;
    char *path = paths[next++ % 16];
    va_list list;
    va_start(list, format);
    const int n = snprintf(path, 256, "%s/", place);
    vsnprintf(path + n, 256 - (size_t)n, format, list);
    va_end(list);
    return path;
}

static inline int make_place(void **state) /* a group's setup and teardown */
{
    strcpy(place, "/tmp/pith-test-XXXXXX");
    return mkdtemp(place) ? quiet(state) : -1;
}

static inline int remove_place(void **state)
{
    (void)state;
    char command[80];
    snprintf(command, sizeof command, "rm -r %s", place);
    return system(command);
}

static inline void put_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* A zero follows what was read; the caller frees it. */
static inline char *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *text = calloc(1, *size + 1);
    assert_int_equal(fread(text, 1, *size, f), *size);
    fclose(f);
    return text;
}
#endif
