/* test_misuse.c: every public function called wrongly. It says so once, with the place or its own
 * name, and nothing crashes, then or later. */
#include <ctype.h>
#include <limits.h>
#include "tests.h"
#include "train/optim.h"

/* ---- what the arguments are drawn from ---- */

enum { NODES = 48, ROUNDS = 300, SEQUENCES = 10000, LENGTH = 12 };

typedef struct {
    uint64_t draws;
    pith_store *store;
    pith_graph *g, *other, *failed;
    pith_plan *plan;
    node *nodes[NODES];
    int n_nodes, count;
    node *lists[8][3], *out[3];
    int n_lists;
    bool reached[3];
    char name[2001];
    double data[64];
    FILE *nowhere;
} hand;

static int draw(hand *h, int below)
{
    uint32_t x[4];
    pith_philox(11, h->draws++, 0, x);
    return (int)(x[0] % (uint32_t)below);
}

static void give(hand *h, node *n) { h->nodes[h->n_nodes++] = n; }

/* Values of every kind first, then what may not be used. */
static void make_nodes(hand *h)
{
    static const int numbers[3] = { 0, 2, 3 };
    pith_graph *g = h->g;
    h->n_nodes = 0;
    node *x = pith_input(g, "x", PITH_F32, 3);
    give(h, x);
    give(h, pith_const(g, 2));
    give(h, pith_input(g, "matrix", PITH_F32, 3, 3));
    give(h, pith_const_array(g, PITH_I32, numbers, 3));
    give(h, pith_const_array(g, PITH_U8, numbers, 3));
    give(h, pith_param(g, "param", PITH_NORMAL, 1, 3));
    give(h, pith_param(g, "table", PITH_NORMAL, 1, 4, 3));
    give(h, pith_state(g, "state", PITH_F32, PITH_CONSTANT, 0, 3));
    give(h, pith_gather_rows(h->nodes[6], h->nodes[3]));
    give(h, pith_layer_norm(x, x, x));
    give(h, pith_result(h->nodes[9], 1));
    give(h, pith_sum(pith_square(x), PITH_ALL));
    give(h, pith_sample(g, -1, 1, 3, 3, 1, 3));
    give(h, pith_row_gradient(1, &h->nodes[8], &h->nodes[3], 4));
    node *written = pith_state(g, "written", PITH_F32, PITH_CONSTANT, 0, 3);
    give(h, pith_assign(written, x));
    h->plan = pith_plan_new(g, 2, (node *[]){ x, h->nodes[11] }, NULL);
    give(h, written);
    give(h, pith_group(1, &h->nodes[14]));
    give(h, pith_missing(g, "what is missing"));
    give(h, pith_const(h->other, 1));
    give(h, pith_const(h->failed, 1));
    give(h, NULL);
}

static void take_hand(hand *h)
{
    h->store = pith_store_new();
    h->g = pith_graph_new(h->store, 0);
    h->other = pith_graph_new(h->store, 0);
    h->failed = pith_graph_new(h->store, 0);
    h->n_lists = 0;
    pith_refuse(h->failed, "failed before");
    make_nodes(h);
    assert_non_null(h->plan);
    assert_null(pith_graph_error(h->g));
    reports = 0;
}

static void put_back(hand *h)
{
    pith_plan_free(h->plan);
    pith_graph_free(h->g);
    pith_graph_free(h->other);
    pith_graph_free(h->failed);
    pith_store_free(h->store);
}

/* Half of the nodes are usual ones, so that one wrong argument stands beside right ones. */
static node *a_node(hand *h) { return h->nodes[draw(h, draw(h, 2) ? 4 : h->n_nodes)]; }

static pith_graph *a_graph(hand *h)
{
    const int k = draw(h, 4);
    return k == 0 ? NULL : k == 1 ? h->failed : h->g;
}

/* At most three nodes, or no list at all; what is counted may be fewer. */
static node **a_list(hand *h)
{
    node **list = h->lists[h->n_lists++];
    for (int k = 0; k < 3; k++) list[k] = a_node(h);
    return draw(h, 6) ? list : NULL;
}

static int a_count(hand *h) { return draw(h, 5) - 1; }

static int an_int(hand *h)
{
    static const int numbers[] = { -1, 0, 1, 2, 3, -7, INT_MAX, INT_MIN };
    return numbers[draw(h, 8)];
}

static double a_real(hand *h)
{
    const double numbers[] = { 1, 0, 0.5, -1, NAN, -INFINITY, 1e300 };
    return numbers[draw(h, 7)];
}

static pith_dtype a_dtype(hand *h)
{
    static const int dtypes[] = { PITH_F32, PITH_I32, PITH_U8, 7, -1 };
    return (pith_dtype)dtypes[draw(h, 5)];
}

static const char *a_name(hand *h)
{
    const int k = draw(h, 4);
    memset(h->name, 'a', sizeof h->name - 1);
    return k == 0 ? NULL : k == 1 ? "" : k == 2 ? "name" : h->name;
}

static pith_tensor *a_tensor(hand *h)
{
    const int k = draw(h, 3);
    return k ? pith_store_find(h->store, k == 1 ? "param" : "state") : NULL;
}

static node *a_body(node *x, void *context)
{
    (void)context;
    return pith_square(x);
}

#define N a_node(h)
#define A a_list(h)
#define G a_graph(h)
#define P (draw(h, 3) ? h->plan : NULL)
#define S (draw(h, 3) ? h->store : NULL)
#define T a_tensor(h)
#define I an_int(h)
#define X a_real(h)
#define D a_dtype(h)
#define NAME a_name(h)
#define COUNT a_count(h)
#define DATA (draw(h, 3) ? h->data : NULL)
#define SMALL (draw(h, 5) - 1)
#define AXES (draw(h, 5) - 1)
#define INIT ((pith_init)(draw(h, 5) - 1))
#define NO_FILE (draw(h, 2) ? "/nowhere/file" : NULL)

#define CALL(name, expression)                                                                     \
    static node *try_##name(hand *h) { return (void)h, (void)(expression), h->nodes[0]; }
#define NODE(name, expression)                                                                     \
    static node *try_##name(hand *h) { return (void)h, (expression); }
#include "misuse_calls.def"
#undef CALL
#undef NODE
#define CALL(name, expression) { #name, try_##name },
#define NODE CALL
static const struct {
    const char *name;
    node *(*call)(hand *h);
} calls[] = {
#include "misuse_calls.def"
};
enum { CALLS = sizeof calls / sizeof *calls };

/* ---- tests ---- */

/* One call reports at most once, and says what failed: the function, the place, or the file. */
static node *call_once(hand *h, int k)
{
    reports = 0;
    node *n = calls[k].call(h);
    h->n_lists = 0;
    const char *said = pith_error();
    if (reports > 1) fail_msg("%s reports %d times, last \"%s\"", calls[k].name, reports, said);
    if (reports && !strstr(said, calls[k].name) && !strstr(said, "tests/") &&
        !strstr(said, "No such file"))
        fail_msg("%s: \"%s\" says neither what failed nor where", calls[k].name, said);
    if (!n && strcmp(calls[k].name, "pith_failed") && strcmp(calls[k].name, "pith_pending") &&
        strcmp(calls[k].name, "pith_latest_write") && strcmp(calls[k].name, "pith_leave") &&
        strcmp(calls[k].name, "pith_commit"))
        fail_msg("%s returns NULL", calls[k].name);
    return n;
}

static void every_function(void **state)
{
    (void)state;
    static hand h;
    h.nowhere = fopen("/dev/null", "w");
    assert_non_null(h.nowhere);
    for (int k = 0; k < CALLS; k++)
        for (int round = 0; round < ROUNDS; round++) {
            h.draws = (uint64_t)k << 32 | (uint64_t)round << 12;
            take_hand(&h);
            call_once(&h, k);
            pith_plan_free(pith_plan_new(h.g, 1, &h.nodes[11], NULL));
            pith_square(h.nodes[0]);
            put_back(&h);
        }
    fclose(h.nowhere);
}

/* Plans and runs the latest three nodes, where the graph has not failed and is small. */
static void run_latest(hand *h)
{
    static const double zeros[4096];
    const int size = pith_graph_size(h->g);
    if (pith_graph_error(h->g)) return;
    for (int id = 0; id < size; id++)
        if (pith_bytes(h->g->nodes[id]) > sizeof zeros) return;
    pith_plan *p = pith_plan_new(h->g, 3, h->nodes + h->n_nodes - 3, NULL);
    const node *const *inputs;
    const int n = p ? pith_plan_inputs(p, &inputs) : 0;
    for (int k = 0; k < n; k++) assert_true(pith_feed(p, inputs[k], zeros));
    if (p) pith_run(p);
    pith_plan_free(p);
}

/* Several calls, each of which may use what the ones before it returned, a gradient, and a run. */
static void sequences(void **state)
{
    (void)state;
    static hand h;
    h.nowhere = fopen("/dev/null", "w");
    assert_non_null(h.nowhere);
    for (int round = 0; round < SEQUENCES; round++) {
        h.draws = (uint64_t)round << 16 | 1ull << 60;
        take_hand(&h);
        for (int k = 0; k < LENGTH && !pith_graph_error(h.g); k++) {
            node *n = call_once(&h, draw(&h, CALLS));
            if (n && n->graph == h.g) give(&h, n);
        }
        pith_grad(pith_sum(h.nodes[h.n_nodes - 1], PITH_ALL), 1, h.nodes, h.out);
        run_latest(&h);
        put_back(&h);
    }
    fclose(h.nowhere);
}

/* Is every function that the header declares among the calls? */
static void find_in_calls(const char *path)
{
    size_t size;
    char *text = slurp(path, &size);
    for (const char *at = text; (at = strstr(at, "pith_")); at++) {
        char name[64];
        size_t n = 0;
        while (n < 63 && (isalnum((unsigned char)at[n]) || at[n] == '_')) name[n] = at[n], n++;
        name[n] = 0;
        if (at[n] != '(' || (at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '_')))
            continue;
        if (n && name[n - 1] == '_') name[n - 1] = 0; /* behind a macro of the same name */
        static const char *const others[] = { "pith_die",   "pith_on_error", "pith_error",
                                              "pith_raise", "pith_handler",  "pith_body" };
        bool found = false;
        for (int k = 0; k < CALLS && !found; k++) found = !strcmp(calls[k].name, name);
        for (int k = 0; k < 6 && !found; k++) found = !strcmp(others[k], name);
        if (!found) fail_msg("%s of %s is not in tests/misuse_calls.def", name, path);
    }
    free(text);
}

static void none_is_forgotten(void **state)
{
    (void)state;
    find_in_calls("core/pith.h");
    find_in_calls("core/pith_ops.h");
    find_in_calls("core/device/pith_device.h");
    find_in_calls("core/train/optim.h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_forgotten),
        cmocka_unit_test(every_function),
        cmocka_unit_test(sequences),
    };
    return cmocka_run_group_tests(tests, counting, NULL);
}
