/* test_contract.c: what the engine and an op's kernel promise each other: what is prepared once
 * a plan, what a kernel that fails leaves behind, who may run when, and the versions of tensors. */
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "tests.h"
#include "train/train.h"

/* ---- an op that prepares: it multiplies by the length of its input ---- */

enum { OWN_SCRATCH = 100, PREPARED_SCRATCH = 1000 };
static int prepared, released, refused; /* refused: which preparation fails, counted from 1 */

static bool longer_shape(node *n) { return pith_like(n, n->in[0]); }

static bool longer_prepare(const node *n, pith_prepared *p)
{
    if (++prepared == refused) return pith_raise("longer cannot be prepared");
    int *length = malloc(sizeof *length);
    *length = (int)pith_size(n);
    *p = (pith_prepared){ .object = length, .scratch = PREPARED_SCRATCH };
    return true;
}

static void longer_release(void *object)
{
    released++;
    free(object);
}

static size_t longer_scratch(const node *n)
{
    (void)n;
    return OWN_SCRATCH;
}

static bool longer_cpu(const pith_call *call)
{
    const int *length = call->prepared;
    const real *x = call->in[0];
    real *y = call->out[0];
    memset(call->scratch, 0x55, OWN_SCRATCH + PREPARED_SCRATCH); /* all of it is ours */
    for (size_t i = 0; i < pith_size(call->n); i++) y[i] = x[i] * (real)*length;
    return true;
}

static const pith_op op_longer = { "longer",
                                   .shape = longer_shape,
                                   .prepare = longer_prepare,
                                   .release = longer_release,
                                   .scratch = longer_scratch,
                                   .cpu = longer_cpu,
                                   .no_grad = "it is a test" };

static node *longer(node *a) { return pith_make1(PITH_HERE, &op_longer, a, NULL); }

static void prepared_once(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *x = pith_input(g, "x", PITH_F32, 200), *y = longer(longer(x));
    real data[200];
    for (int i = 0; i < 200; i++) data[i] = (real)i;
    prepared = released = refused = 0;
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_int_equal(prepared, 2);
    assert_true(pith_plan_statistics(p).arena >= OWN_SCRATCH + PREPARED_SCRATCH);
    assert_true(pith_feed(p, x, data) && pith_run(p) && pith_run(p));
    assert_int_equal(prepared, 2);
    assert_int_equal(released, 0);
    const real *found = value_of(p, y);
    for (int i = 0; i < 200; i++) near((double)found[i], 40000 * i);
    pith_plan_free(p);
    assert_int_equal(prepared, 2);
    assert_int_equal(released, 2);
}

/* An op that prepares is no constant: it keeps what it made ready for its own step. */
static void not_folded(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    static const real data[3] = { 1, 2, 5 };
    node *y = longer(pith_const_array(g, PITH_F32, data, 3));
    prepared = released = refused = 0;
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_int_equal(pith_plan_statistics(p).folded, 0);
    assert_true(prepared == 1 && released == 0 && pith_run(p));
    const real *found = value_of(p, y);
    for (int i = 0; i < 3; i++) near((double)found[i], 3 * (double)data[i]);
    pith_plan_free(p);
    assert_int_equal(released, prepared);
}

static void not_prepared(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *y = longer(longer(pith_input(g, "x", PITH_F32, 3)));
    prepared = released = 0;
    refused = 2;
    assert_null(pith_plan_new(g, 1, &y, NULL));
    said("longer cannot be prepared");
    assert_int_equal(prepared, 2);
    assert_int_equal(released, 1); /* what had been prepared before */
}

/* ---- an op that fails when told to ---- */

static bool failing;

static bool pass_cpu(const pith_call *call)
{
    if (failing) return pith_raise("the kernel of pass gave up");
    memcpy(call->out[0], call->in[0], pith_bytes(call->n));
    return true;
}

static const pith_op op_pass = { "pass", .shape = longer_shape, .cpu = pass_cpu,
                                 .no_grad = "it is a test" };

static node *pass(node *a) { return pith_make1(PITH_HERE, &op_pass, a, NULL); }

/* A constant that cannot be computed is told once, and there is no plan. */
static void fails_while_folded(void **state)
{
    world *w = *state;
    node *y = pass(pith_const(w->g, 1));
    pith_on_error(count_reports, NULL);
    reports = 0;
    failing = true;
    assert_null(pith_plan_new(w->g, 1, &y, NULL));
    failing = false;
    assert_int_equal(reports, 1);
    said("the kernel of pass gave up");
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    failing = true; /* statistics compute no constant anew */
    assert_int_equal(pith_plan_statistics(p).folded, 1);
    assert_int_equal(reports, 1);
    failing = false;
    pith_plan_free(p);
    quiet(state);
}

static const char midway[] = "a run of this store ended midway";

static void torn_store(void **state)
{
    world *w = *state;
    char *file = strdup(path_of("whole.safetensors"));
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 1, 3),
         *x = pith_input(w->g, "x", PITH_F32, 3);
    node *written = pith_assign(s, x), *out[] = { written, pass(x) };
    static const real data[3] = { 1, 2, 3 };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    pith_feed(p, x, data);
    assert_true(pith_store_save(w->s, file, PITH_ANY));
    failing = true;
    assert_false(pith_run(p));
    said("the kernel of pass gave up");
    failing = false;
    assert_false(pith_run(p));
    said(midway);
    assert_false(pith_store_save(w->s, file, PITH_ANY));
    said(midway);
    json_t *state_of_run = json_object();
    assert_false(pith_checkpoint_save(place, 1, 1, w->s, state_of_run));
    said(midway);
    assert_false(pith_checkpoint_exists(place));
    assert_false(pith_store_load(w->s, path_of("none.safetensors"))); /* mends nothing */
    assert_false(pith_run(p));
    said(midway);
    pith_store *none = pith_store_new(); /* nor does a file without its tensors */
    assert_true(pith_store_save(none, path_of("other.safetensors"), PITH_ANY));
    assert_true(pith_store_load(w->s, path_of("other.safetensors")));
    pith_store_free(none);
    assert_false(pith_run(p));
    said(midway);
    assert_true(pith_store_load(w->s, file));
    near((double)*(const real *)stored(w->s, "s"), 1);
    assert_true(pith_run(p) && pith_store_save(w->s, file, PITH_ANY));
    assert_true(pith_checkpoint_save(place, 1, 1, w->s, state_of_run));
    json_decref(state_of_run);
    pith_plan_free(p);
    free(file);
}

/* Torn is the store that was written, of whoever else reads it too; not the plan's own. */
static void torn_other_store(void **state)
{
    world *w = *state;
    pith_store *other = pith_store_new();
    pith_use_store(w->g, other, "", false);
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 1, 3);
    pith_leave_store(w->g);
    node *x = pith_input(w->g, "x", PITH_F32, 3), *out[] = { pith_assign(s, x), pass(x) };
    static const real data[3] = { 1, 2, 3 };
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    pith_feed(p, x, data);
    failing = true;
    assert_false(pith_run(p));
    failing = false;
    assert_false(pith_value(p, out[1], (real[3]){ 0 }));
    said("the plan has not run to its end");
    assert_true(pith_store_is_whole(w->s));
    assert_false(pith_store_save(other, path_of("other.safetensors"), PITH_ANY));
    said(midway);
    pith_graph *g = pith_graph_new(w->s, 0); /* another graph that reads it, another plan */
    pith_use_store(g, other, "", true);
    node *y = pith_exp(pith_state(g, "s", PITH_F32, PITH_CONSTANT, 1, 3));
    pith_plan *q = pith_plan_new(g, 1, &y, NULL);
    assert_false(pith_run(q));
    said(midway);
    pith_plan_free(q);
    pith_graph_free(g);
    pith_plan_free(p);
    pith_graph_free(w->g);
    w->g = pith_graph_new(w->s, 0);
    pith_store_free(other);
}

/* What failed before anything was written has torn nothing. */
static void untorn_store(void **state)
{
    world *w = *state;
    node *s = pith_state(w->g, "s", PITH_F32, PITH_CONSTANT, 1, 3),
         *x = pith_input(w->g, "x", PITH_F32, 3);
    node *written = pith_assign(s, pass(x));
    static const real data[3] = { 1, 2, 3 };
    pith_plan *p = pith_plan_new(w->g, 1, &written, NULL);
    pith_feed(p, x, data);
    failing = true;
    assert_false(pith_run(p));
    failing = false;
    assert_true(pith_run(p));
    assert_memory_equal(stored(w->s, "s"), data, sizeof data);
    pith_plan_free(p);
}

/* ---- two plans at once ---- */

static atomic_bool inside, leave;

static bool wait_cpu(const pith_call *call)
{
    memcpy(call->out[0], call->in[0], pith_bytes(call->n));
    for (inside = true; !leave;) sched_yield();
    return true;
}

static const pith_op op_wait = { "wait", .shape = longer_shape, .cpu = wait_cpu,
                                 .no_grad = "it is a test" };

static void *run_in_thread(void *plan) { return pith_run(plan) ? plan : NULL; }

static void one_at_a_time(void **state)
{
    world *w = *state;
    static const real data[3] = { 1, 2, 3 };
    node *x = pith_input(w->g, "x", PITH_F32, 3), *y = pith_exp(x);
    node *slow = pith_make1(PITH_HERE, &op_wait, x, NULL);
    pith_plan *a = pith_plan_new(w->g, 1, &slow, NULL), *b = pith_plan_new(w->g, 1, &y, NULL);
    pith_feed(a, x, data);
    pith_feed(b, x, data);
    inside = leave = false;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_in_thread, a), 0);
    while (!inside) sched_yield();
    const bool ran = pith_run(b);
    node *large = pith_sin(pith_expand(x, 100000, 3)); /* wants more memory than there is */
    const pith_plan *c = pith_plan_new(w->g, 1, &large, NULL);
    leave = true;
    void *result;
    pthread_join(thread, &result);
    assert_false(ran);
    assert_null(c);
    said("a plan of this store is running: two plans of one store never run at once");
    assert_ptr_equal(result, a);
    assert_true(pith_run(b));
    pith_plan_free(a);
    pith_plan_free(b);
}

/* ---- versions ---- */

static void versions(void **state)
{
    world *w = *state;
    const char *file = path_of("versions.safetensors");
    node *counter = pith_state(w->g, "counter", PITH_F32, PITH_CONSTANT, 1),
         *read = pith_exp(counter);
    node *other = pith_state(w->g, "other", PITH_F32, PITH_CONSTANT, 1);
    node *write = pith_assign(counter, pith_add_scalar(counter, 1));
    node *copy = pith_assign(other, read);
    const pith_tensor *t = pith_store_find(w->s, "counter"), *o = pith_store_find(w->s, "other");
    pith_plan *reads = pith_plan_new(w->g, 1, &read, NULL),
              *writes = pith_plan_new(w->g, 1, &write, NULL),
              *copies = pith_plan_new(w->g, 1, &copy, NULL);
    uint64_t was = t->version, other_was = o->version;
    assert_true(pith_run(reads));
    assert_true(t->version == was);
    assert_true(pith_run(writes) && t->version > was && o->version == other_was);
    was = t->version;
    assert_true(pith_run(writes) && t->version > was);
    was = t->version;
    assert_true(pith_run(copies) && t->version == was && o->version > other_was);
    assert_true(pith_store_save(w->s, file, PITH_ANY) && t->version == was);
    assert_true(pith_store_load(w->s, file) && t->version > was);
    pith_graph *g = pith_graph_new(w->s, 0); /* by rows */
    node *state_again = pith_state(g, "rows", PITH_F32, PITH_CONSTANT, 1, 3, 2);
    node *rows = pith_write_rows(state_again, pith_const_array(g, PITH_I32, ((int[]){ 1 }), 1),
                                 pith_sample(g, 0, 1, 1, 2), NULL);
    pith_plan *by_rows = pith_plan_new(g, 1, &rows, NULL);
    was = pith_tensor_of(state_again)->version;
    assert_true(pith_run(by_rows) && pith_tensor_of(state_again)->version > was);
    pith_plan_free(by_rows);
    pith_graph_free(g);
    pith_plan_free(reads);
    pith_plan_free(writes);
    pith_plan_free(copies);
}

/* ---- bytes moved ---- */

/* A step that gathers rows, and one that adds rows into a table, differ by the table they write. */
static size_t moved(world *w, int rows, bool scatter)
{
    node *ids = pith_input(w->g, "ids", PITH_I32, 5);
    node *y = scatter ? pith_scatter_add(pith_input(w->g, "rows", PITH_F32, 5, 8), ids, rows)
                      : pith_gather(pith_input(w->g, "table", PITH_F32, rows, 8), ids);
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    const size_t bytes = pith_plan_statistics(p).moved;
    pith_plan_free(p);
    return bytes;
}

static void bytes_moved(void **state)
{
    const size_t rows = 5 * 8 * sizeof(real), ids = 5 * sizeof(int);
    assert_int_equal(moved(*state, 10, false), 2 * rows + ids);
    assert_int_equal(moved(*state, 100000, false), 2 * rows + ids);
    assert_int_equal(moved(*state, 1000, true), 3 * rows + ids + 1000 * 8 * sizeof(real));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(prepared_once),      WITH_WORLD(not_folded),    WITH_WORLD(not_prepared),
        WITH_WORLD(fails_while_folded), WITH_WORLD(torn_store),    WITH_WORLD(torn_other_store),
        WITH_WORLD(untorn_store),       WITH_WORLD(one_at_a_time), WITH_WORLD(versions),
        WITH_WORLD(bytes_moved),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
