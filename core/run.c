/* run.c: running a plan: feed, one kernel after the other, read. Pointers are found anew each run,
 * since inputs may be fed from elsewhere and the arena may have grown. */
#include <time.h>
#include "inside.h"

void *pith_memory_of(const pith_plan *p, int id)
{
    const pith_place *x = &p->places[id];
    if (x->kind == PITH_ARENA) return p->store->arena + x->offset;
    const char *base = x->kind == PITH_FED ? p->places[x->source].pointer : x->pointer;
    return base ? (char *)(uintptr_t)base + x->offset : NULL;
}

/* The node of the plan for one of the user's graph, which a plan in bf16 is not made of; NULL where
 * there is none. */
static const node *standing(const pith_plan *p, const node *n)
{
    if (!n || n->graph == p->graph) return n && n->id < p->n ? n : NULL;
    return n->graph == p->rounded.of && n->id < p->rounded.n ? p->rounded.stands[n->id] : NULL;
}

bool pith_feed(pith_plan *p, const node *input, const void *data)
{
    if (!pith_given(p, "pith_feed", "plan")) return false;
    if (!input || (input->graph != p->graph && input->graph != p->rounded.of) ||
        input->op != &pith_op_input)
        return pith_raise("pith_feed: this is not an input of the plan's graph");
    if (!data) return pith_raise("pith_feed: the data of input %s is NULL", input->name);
    if (!(input = standing(p, input))) return true;
    p->places[input->id].pointer = data;
    p->places[input->id].fresh = true;
    p->places[input->id].ahead = false;
    return true;
}

/* Found once: plans are run often, and graphs are long. */
int pith_plan_inputs(const pith_plan *plan, const node *const **inputs)
{
    pith_plan *p = (pith_plan *)(uintptr_t)plan;
    *inputs = NULL;
    if (!pith_given(p, "pith_plan_inputs", "plan")) return 0;
    if (!p->inputs) {
        pith_graph *g = p->rounded.graph ? p->rounded.of : p->graph;
        int n = 0;
        for (int id = 0; id < p->n; id++)
            n += p->live[id] && p->graph->nodes[id]->op == &pith_op_input;
        p->inputs = pith_alloc(g, sizeof *p->inputs * ((size_t)n + 1));
        if (!p->inputs) return 0;
        for (int id = 0; id < g->n; id++) {
            const node *x = standing(p, g->nodes[id]);
            if (x && p->live[x->id] && x->op == &pith_op_input && !x->attr)
                p->inputs[p->n_inputs++] = g->nodes[id];
        }
    }
    *inputs = p->inputs;
    return p->n_inputs;
}

const node *pith_plan_input(const pith_plan *p, const char *name)
{
    const node *const *inputs;
    if (!pith_given(p, "pith_plan_input", "plan") || !pith_given(name, "pith_plan_input", "name"))
        return NULL;
    const int n = pith_plan_inputs(p, &inputs);
    for (int k = 0; k < n; k++)
        if (strcmp(inputs[k]->name, name) == 0) return inputs[k];
    return NULL;
}

static bool check_finite(const pith_plan *p, const pith_planned *s)
{
    char shape[96];
    bool good = true;
    for (int k = 0; k < s->n_out && good; k++) {
        const node *n = p->graph->nodes[s->out[k]];
        void *copied;
        const char *x = pith_on_host(p->store->on, pith_memory_of(p, s->out[k]), pith_bytes(n),
                                     &copied);
        const int64_t i = x ? pith_first_not_finite(n->dtype, pith_size(n), x) : -1;
        good = x && i < 0;
        if (i >= 0)
            pith_raise("%s: %s makes %g at element %lld of %s%s", n->at, n->op->name,
                       pith_dtype_read(n->dtype, x + (size_t)i * pith_width(n->dtype)),
                       (long long)i, pith_shape_text(n, shape),
                       n->origin ? " in the backward pass" : "");
        free(copied);
    }
    return good;
}

double pith_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

pith_tensor *pith_written(const pith_plan *p, int id)
{
    const node *n = p->graph->nodes[id];
    if (p->store_to[id] >= 0) n = p->graph->nodes[p->store_to[id]];
    return n->op->flags & PITH_WRITE ? pith_leaf_of(pith_written_leaf(n))->tensor : NULL;
}

static bool run_step(const pith_plan *p, const pith_planned *s)
{
    const int n = s->n_in + s->n_out;
    void *few[32], **memory = n > 32 ? malloc(sizeof *memory * (size_t)n) : few;
    const void **in = (const void **)memory;
    void **out = memory + s->n_in;
    bool good = memory || pith_raise("no memory to run %s", s->n->op->name);
    for (int k = 0; good && k < s->n_in; k++) in[k] = pith_memory_of(p, s->in[k]);
    for (int k = 0; good && k < s->n_out; k++) out[k] = pith_memory_of(p, s->out[k]);
    const pith_backend *on = p->store->on;
    const pith_call call = { .n = s->n,
                             .in = in,
                             .out = out,
                             .scratch = s->scratch ? p->store->arena + s->scratch_offset : NULL,
                             .prepared = s->prepared ? s->prepared->object : NULL,
                             .stream = on->stream ? on->stream() : NULL };
    if (good && on->may_touch) on->may_touch(NULL, 0, false), pith_name_memory(p, s, memory);
    if (good && s->kernel) good = pith_start_chain(p, s, &call);
    else if (good && s->chain) pith_chain_run(s->chain, in, out);
    else if (good) good = pith_kernel_of(p, s->n->op)(&call);
    if (memory != few) free(memory);
    return good;
}

/* Every input is known before the first step, so that a forgotten one tears nothing. */
static bool find_inputs(pith_plan *p)
{
    static const int zero;
    for (int id = 0; id < p->n; id++) {
        const node *n = p->graph->nodes[id];
        if (n->op != &pith_op_input || !p->live[id] || p->places[id].pointer) continue;
        if (n == p->graph->step) p->places[id].pointer = &zero;
        else if (n->attr) p->places[id].pointer = n->attr; /* a sample brings its own */
        else return pith_raise("%s: input %s was not fed", n->at, n->name);
    }
    return true;
}

/* What the step wrote has another version now; where the step failed, the tensor may hold anything.
 */
void pith_note_writes(const pith_plan *p, const pith_planned *s)
{
    for (int k = 0; k < s->n_out; k++) {
        pith_tensor *t = pith_written(p, s->out[k]);
        if (t) t->version++;
    }
}

static void tear(const pith_plan *p, int steps)
{
    for (int k = 0; k < steps; k++)
        for (int o = 0; o < p->steps[k].n_out; o++) {
            const pith_tensor *t = pith_written(p, p->steps[k].out[o]);
            if (t) pith_store_behind(t)->torn = true;
        }
}

bool pith_run_steps(pith_plan *p)
{
    const bool watched = p->timing || p->check_finite;
    for (int k = 0; k < p->n_steps; k++) {
        pith_planned *s = &p->steps[k];
        const double start = p->timing ? pith_seconds() : 0;
        const bool good = run_step(p, s) && (!watched || p->store->on->wait(s->n));
        if (p->timing) s->seconds += pith_seconds() - start;
        pith_note_writes(p, s);
        if (good && !(p->check_finite && !check_finite(p, s))) continue;
        tear(p, k + 1);
        return false;
    }
    p->timed_runs += p->timing;
    return true;
}

bool pith_run(pith_plan *p)
{
    if (!pith_given(p, "pith_run", "plan")) return false;
    pith_store *s = p->store;
    if (!pith_plan_is_whole(p) || !pith_store_take(s)) return false;
    bool good = find_inputs(p) && pith_store_reserve(s, p->arena);
    if (good) {
        sigset_t held;
        s->runs++;
        pith_hold_signals(&held, p->stats.gemm_flops > 0);
        good = s->on->stream ? pith_run_remote(p) : pith_run_steps(p);
        pith_release_signals(&held);
        /* what a run that ended midway has left is nobody's value */
        p->latest = good ? s->runs : 0;
    }
    pith_store_let_go(s);
    return good;
}

/* ---- reading ---- */

/* What lies in the arena is kept to the end of a run for outputs alone. */
static bool stays(const pith_plan *p, const node *n)
{
    if (p->places[n->id].kind != PITH_ARENA || !(p->flags & PITH_ARENA_SHARED)) return true;
    for (int k = 0; k < p->n_outputs; k++)
        if (pith_source(p, p->outputs[k]) == n) return true;
    return false;
}

/* Where the latest run left the value; NULL after an error, which names `function`. */
static const void *find_value(const char *function, const pith_plan *p, const node *output)
{
    if (!pith_given(p, function, "plan")) return NULL;
    const node *n = standing(p, output);
    if (!n || !p->live[p->canonical[n->id]])
        return pith_raise("%s: this node is not part of the plan", function), NULL;
    if (!p->latest) return pith_raise("%s: the plan has not run to its end", function), NULL;
    const int id = pith_source(p, n)->id;
    if (p->places[id].kind == PITH_NOWHERE || !stays(p, p->graph->nodes[id]) ||
        n->dtype != output->dtype)
        return pith_raise("%s: this node is not an output of the plan", function), NULL;
    if (p->places[id].kind == PITH_ARENA && p->latest != p->store->runs)
        return pith_raise("%s: another plan of the store has run or was made since, and its values "
                          "lie where this one's did",
                          function),
               NULL;
    return pith_memory_of(p, id);
}

bool pith_value(const pith_plan *p, const node *output, void *to)
{
    const void *x = find_value("pith_value", p, output);
    if (!x) return false;
    if (!to) return pith_raise("pith_value: the memory to copy to is NULL");
    return p->store->on->read(to, x, pith_bytes(output));
}

double pith_scalar(const pith_plan *p, const node *output)
{
    char shape[96];
    const void *x = find_value("pith_scalar", p, output);
    if (!x) return (double)NAN;
    if (pith_size(output) != 1)
        return pith_raise("pith_scalar: this node, made at %s, has shape %s, not one element",
                          output->at, pith_shape_text(output, shape)),
               (double)NAN;
    double number; /* of any dtype */
    if (!p->store->on->read(&number, x, pith_width(output->dtype))) return (double)NAN;
    return pith_dtype_read(output->dtype, &number);
}
