/* random_subject.h: what test_random.c looks at: a random graph, a loss of it with gradients of
 * first and second order, and outputs and writes for a plan. */
#ifndef PITH_RANDOM_SUBJECT_H
#define PITH_RANDOM_SUBJECT_H
#include "random_graph.h"

enum { MOST_OUTPUTS = 40 };

typedef struct {
    random_graph r;
    node *loss, *gradient[MOST_LEAVES], *loss2, *gradient2[MOST_LEAVES];
    /* First what reads what was written, then `n_old` that read leaves as they were before; last
     * the group of writes, which has no value. */
    node *output[MOST_OUTPUTS];
    int n_outputs, n_old;
} subject;

/* ---- building ---- */

/* Enough for several threads, and for more than one tile of a chain. */
static bool is_large(const random_graph *r) { return r->seed % 6 == 0; }

static void draw_sizes(random_graph *r)
{
    const bool large = is_large(r);
    for (int k = 0; k < 4; k++) r->size[k] = 1 + draw(r, 5);
    if (large) r->size[1] = 100 + draw(r, 60), r->size[2] = 150 + draw(r, 60);
    r->most_elements = large ? 40000 : 400;
}

/* The dot product of each with constants, added. */
static node *projected(random_graph *r, node *const *list, int n)
{
    node *sum = NULL;
    for (int k = 0; k < n; k++) {
        node *c = new_constant(r, list[k]->ndim, list[k]->dim);
        node *term = pith_mul_scalar(pith_dot(list[k], c), 1 / sqrt((double)pith_size(list[k])));
        sum = sum ? pith_add(sum, term) : term;
    }
    return sum;
}

static void output(subject *t, node *n)
{
    if (t->n_outputs < MOST_OUTPUTS - 1) t->output[t->n_outputs++] = n;
}

/* A new value for a state: its own numbers moved about, read through aliases, or an alias of
 * something else, or a mixture. */
static node *next_value(random_graph *r, node *s)
{
    const int kind = draw(r, 5), rows = s->ndim > 0 ? s->dim[0] : 1;
    if (kind == 0 && s->ndim > 0) return rolled(r, s, 0);
    if (kind == 1 && s->ndim > 1)
        return pith_reshape_dims(PITH_HERE, pith_transpose(pith_reshape(s, s->dim[0], -1)), s->ndim,
                                 s->dim);
    if (kind == 2)
        for (int k = 0; k < 6; k++) {
            node *other = pick(r);
            if (pith_size(other) != pith_size(s)) continue;
            bool of_state = false;
            for (int i = 0; i < r->n_states; i++) of_state |= pith_root(other) == r->states[i];
            if (!of_state) return pith_reshape_dims(PITH_HERE, other, s->ndim, s->dim);
        }
    if (kind == 3 && s->ndim > 0) { /* all rows with one of them, which is overwritten too */
        const int k = draw(r, rows);
        return pith_tanh(pith_add(s, pith_slice(s, 0, k, k + 1)));
    }
    node *mean = pith_mean(pick(r), PITH_ALL);
    return pith_add(pith_mul_scalar(s, 0.9), pith_mul_scalar(mean, 0.1));
}

/* Puts a write off to the end of the step: of the whole state, once or twice, or of some rows, some
 * of them twice and some outside. */
static void draw_update(random_graph *r, node *s, node *value)
{
    if (s->ndim > 0 && s->dtype == PITH_F32 && draw(r, 2)) {
        const int ids[3] = { draw(r, s->dim[0]), draw(r, s->dim[0] + 2) - 1, draw(r, s->dim[0]) };
        node *which = pith_const_array(r->g, PITH_I32, ids, 3);
        pith_update_rows(s, which, pith_gather(value, which));
        if (draw(r, 2)) pith_update_rows(s, which, pith_sin(pith_gather(s, which)));
        return;
    }
    pith_update(s, value);
    if (draw(r, 2)) pith_update(s, pith_mul_scalar(pith_pending(s), 0.5));
}

static void draw_writes(subject *t)
{
    random_graph *r = &t->r;
    node *writes[MOST_STATES + 2], **params, *step[MOST_LEAVES], *value[MOST_STATES];
    int n = 0;
    const int n_params = pith_params(r->g, &params);
    const bool train = n_params > 0 && draw(r, 3);
    if (train && !pith_grad(t->loss, n_params, params, step)) bad(&t->r, NULL, "%s", pith_error());
    for (int k = 0; k < r->n_states; k++) value[k] = next_value(r, r->states[k]);
    for (int k = 0; k < r->n_states; k++) {
        const int kind = draw(r, 5);
        if (kind == 0) continue;
        if (kind < 3) {
            draw_update(r, r->states[k], value[k]);
            continue;
        }
        writes[n] = pith_assign(r->states[k], value[k]);
        if (draw(r, 2)) output(t, writes[n]);
        if (draw(r, 2)) output(t, pith_sum(pith_sin(writes[n]), PITH_ALL));
        n++;
    }
    node *ok = draw(r, 2) ? pith_is_finite(t->loss) : NULL;
    node *commit = pith_commit(r->g, ok);
    if (commit) writes[n++] = commit;
    if (train) {
        node *lr = pith_const(r->g, 0.01);
        writes[n++] = draw(r, 2) ? pith_sgd(n_params, params, step, lr, 0.9, 0.1, ok)
                                 : pith_adamw(n_params, params, step, lr,
                                              (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.2 }, ok);
    }
    if (n == 0) writes[n++] = t->loss;
    t->output[t->n_outputs++] = pith_group(n, writes);
}

/* Is n's memory that of a leaf that the graph writes? Such an output is refused. */
static bool is_written(const node *n)
{
    const node *root = pith_root(n);
    return pith_is_stored(root) && pith_leaf_of(root)->written;
}

static subject *build(uint64_t seed, bool recompute, pith_store *store, pith_store *other)
{
    subject *t = calloc(1, sizeof *t);
    random_graph *r = &t->r;
    *r = (random_graph){ .seed = seed, .recompute = recompute, .store = store, .other = other };
    r->g = pith_graph_new(store, seed);
    pith_set_training(r->g, true);
    draw_sizes(r);
    keep(r, new_input(r, 2, r->size));
    if (is_large(r)) keep(r, new_state(r, 2, r->size + 1));
    for (int k = 1 + draw(r, 3); k > 0; k--) some_leaf(r, draw(r, 4));
    for (int k = 4 + draw(r, 20); k > 0; k--)
        additions[draw(r, (int)(sizeof additions / sizeof *additions))](r);
    node *some[4];
    for (int k = 0; k < 4; k++) some[k] = pick(r);
    t->loss = projected(r, some, 4);
    if (!pith_grad(t->loss, r->n_varied, r->varied, t->gradient))
        bad(&t->r, NULL, "%s", pith_error());
    t->loss2 = projected(r, t->gradient, r->n_varied);
    if (!pith_grad(t->loss2, r->n_varied, r->varied, t->gradient2))
        bad(&t->r, NULL, "%s", pith_error());
    node *candidate[MOST_OUTPUTS];
    int n = 0;
    candidate[n++] = t->loss;
    candidate[n++] = t->loss2;
    for (int k = 0; k < 8; k++) candidate[n++] = pick(r);
    for (int k = 0; k < 4; k++) candidate[n++] = reshaped(r, pick(r));
    for (int k = 0; k < 4; k++) candidate[n++] = sliced(r, pick_axes(r, 1, 4));
    for (int k = 0; k < 6 && k < r->n_varied; k++) {
        candidate[n++] = t->gradient[draw(r, r->n_varied)];
        candidate[n++] = t->gradient2[draw(r, r->n_varied)];
    }
    for (int k = 0; k < n; k++) /* a copy is an output whatever is written */
        if (pith_is_stored(pith_root(candidate[k])) && draw(r, 2))
            candidate[k] = pith_copy(candidate[k]);
    draw_writes(t);
    node *writes = t->output[--t->n_outputs];
    const int n_new = t->n_outputs;
    for (int k = 0; k < n; k++)
        if (!is_written(candidate[k])) output(t, candidate[k]);
    t->n_old = t->n_outputs - n_new;
    t->output[t->n_outputs++] = writes;
    if (pith_graph_error(r->g)) bad(r, NULL, "%s", pith_graph_error(r->g));
    return t;
}

static void end(subject *t)
{
    pith_graph_free(t->r.g);
    free(t);
}
#endif
