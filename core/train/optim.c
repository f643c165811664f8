/* optim.c: optimizers are compositions of nodes: for each param a few pointwise nodes, which the
 * planner fuses into one pass over memory, and a write. Whole writes are guarded by where(ok, new,
 * old), those of rows by the op's own `ok`. A product with ok would not do: 0 times NaN is NaN. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "optim.h"

typedef pith_node node;

/* The state that an optimizer keeps for a param, named "adamw.m/" and the param's name. */
static node *state_for(const node *param, const char *prefix)
{
    char name[1100];
    snprintf(name, sizeof name, "%s%s", prefix, param->name);
    pith_scope_root(param->graph);
    node *state = pith_state_like(param->graph, name, param);
    pith_unscope(param->graph);
    return state;
}

/* Which part of a leaf an optimizer reads and writes: all of it, or the rows that were drawn. */
typedef struct {
    node *ids; /* NULL: all */
    node *ok;
} part;

static node *read_part(const part *p, node *leaf)
{
    return p->ids ? pith_gather(leaf, p->ids) : leaf;
}

static node *write_part(const part *p, node *leaf, node *value)
{
    if (p->ids) return pith_write_rows(leaf, p->ids, value, p->ok);
    return pith_assign(leaf, p->ok ? pith_where(p->ok, value, leaf) : value);
}

static part part_of(node *gradient, node *ok)
{
    return (part){ pith_is_row_gradient(gradient) ? pith_result(gradient, 1) : NULL, ok };
}

static node *write_param(const part *p, node *param, node *value)
{
    const pith_training training = pith_training_of(param);
    if (isfinite(training.low)) value = pith_maximum(value, pith_const(param->graph, training.low));
    if (isfinite(training.high))
        value = pith_minimum(value, pith_const(param->graph, training.high));
    return write_part(p, param, value);
}

static node *blend(node *old, node *new, double share) /* old + share (new - old) */
{
    return pith_add(old, pith_mul_scalar(pith_sub(new, old), share));
}

static node *one_minus(node *a) { return pith_sub(pith_const(a->graph, 1), a); }

/* False after saying that `ok`, where there is one, is no scalar without axes. */
static bool is_scalar(const char *at, const char *who, pith_graph *g, const node *ok)
{
    if (ok && pith_failed(g, ok)) return false;
    if (ok && ok->ndim)
        pith_refuse(g, "%s: %s: ok, made at %s, has axes: expected a scalar", at, who, ok->at);
    return !ok || !ok->ndim;
}

/* The poisoned node where the arguments of an optimizer are wrong, else NULL: there must be n
 * params, each with a gradient of its shape. */
static node *find_mistake(const char *at, const char *who, int n, node *const *params,
                          node *const *gradients, const node *lr, const node *ok)
{
    if (!lr) return pith_refuse(NULL, "%s: %s: the learning rate is NULL", at, who);
    pith_graph *g = lr->graph;
    node *failed = pith_failed(g, lr);
    if (failed) return failed;
    if (pith_size(lr) != 1)
        return pith_refuse(g, "%s: %s: the learning rate, made at %s, is no scalar", at, who,
                           lr->at);
    if (!is_scalar(at, who, g, ok)) return pith_failed(g, NULL);
    if (n < 1) return pith_refuse(g, "%s: %s: expected at least 1 param, found %d", at, who, n);
    if (!params || !gradients)
        return pith_refuse(g, "%s: %s: the array of %s is NULL", at, who,
                           params ? "gradients" : "params");
    for (int k = 0; k < n; k++) {
        node *p = params[k], *d = gradients[k];
        if (!p || !d)
            return pith_refuse(g, "%s: %s: the %s of pair %d is NULL", at, who,
                               p ? "gradient" : "param", k);
        if (pith_failed(g, p) || pith_failed(g, d)) return pith_failed(g, NULL);
        const int rows = pith_is_row_gradient(d); /* its first axis counts the drawn ones */
        if (!pith_is_param(p))
            return pith_refuse(g, "%s: %s: node %d is not a param but was made at %s", at, who, k,
                               p->at);
        if (!pith_training_of(p).trained)
            return pith_refuse(g, "%s: %s: %s is frozen: an optimizer would train it", at, who,
                               p->name);
        if (rows && pith_rows_of(d) != p->dim[0])
            return pith_refuse(g,
                               "%s: %s: the gradient of %s is by rows of a table of %d, found "
                               "one of %d",
                               at, who, p->name, pith_rows_of(d), p->dim[0]);
        if (p->ndim != d->ndim ||
            memcmp(p->dim + rows, d->dim + rows, sizeof *p->dim * (size_t)(p->ndim - rows)))
            return pith_refuse(g, "%s: %s: the gradient of %s has another shape than the param", at,
                               who, p->name);
    }
    return NULL;
}

/* Before a param is written: it must be the first time, or it is named twice in one list. */
static void expect_unwritten(const char *at, const char *who, node *param)
{
    const node *write = pith_latest_write(param);
    if (write != param)
        pith_refuse(param->graph, "%s: %s: %s is written at %s already", at, who, param->name,
                    write->trail ? write->trail->at : write->at);
}

/* The learning rate of a param: its own, or a multiple of the others'. */
static node *lr_of(const pith_training *t, node *lr)
{
    if (t->own_lr) lr = t->own_lr;
    return t->lr_scale == 1 ? lr : pith_mul_scalar(lr, t->lr_scale);
}

/* What all params of a step share: the bias corrections of m, a divisor, and sqrt(v), a factor. */
typedef struct {
    node *lr, *correction, *root_correction;
    pith_adamw_options o;
} adamw_factors;

/* The three writes of one param, or of the rows of it that were drawn. */
static void adamw_param(const adamw_factors *f, node *param, node *gradient, node *ok,
                        node *writes[3])
{
    const pith_training training = pith_training_of(param);
    const pith_adamw_options o = f->o;
    const part p = part_of(gradient, ok);
    node *m = state_for(param, "adamw.m/"), *v = state_for(param, "adamw.v/");
    node *old = read_part(&p, param);
    node *m1 = blend(read_part(&p, m), gradient, 1 - o.beta1),
         *v1 = blend(read_part(&p, v), pith_square(gradient), 1 - o.beta2);
    node *lr = lr_of(&training, f->lr);
    node *change = pith_mul(
        pith_div(lr, f->correction),
        pith_div(m1, pith_add_scalar(pith_mul(pith_sqrt(v1), f->root_correction), o.epsilon)));
    if (training.weight_decay && o.weight_decay != 0) /* also what ascends is decayed */
        old = pith_mul(old, one_minus(pith_mul_scalar(lr, training.lr_scale < 0 ? -o.weight_decay
                                                                                : o.weight_decay)));
    writes[0] = write_part(&p, m, m1);
    writes[1] = write_part(&p, v, v1);
    writes[2] = write_param(&p, param, pith_sub(old, change));
}

static node *adamw(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                   pith_adamw_options o, node *ok)
{
    pith_graph *g = lr->graph;
    node **writes = malloc(sizeof *writes * (size_t)(3 * n + 1));
    if (!writes) return pith_refuse(g, "no memory for an optimizer");
    pith_scope_root(g);
    node *count = pith_state(g, "adamw.count", PITH_F32, PITH_CONSTANT, 0);
    pith_unscope(g);
    expect_unwritten(at, "pith_adamw", count);
    node *t = pith_add_scalar(count, 1);
    const adamw_factors factors = {
        .lr = lr,
        .correction = one_minus(pith_exp(pith_mul_scalar(t, log(o.beta1)))),
        .root_correction = pith_rsqrt(one_minus(pith_exp(pith_mul_scalar(t, log(o.beta2))))),
        .o = o
    };
    for (int k = 0; k < n; k++) {
        expect_unwritten(at, "pith_adamw", params[k]);
        adamw_param(&factors, params[k], gradients[k], ok, writes + 3 * k);
    }
    writes[3 * n] = write_part(&(part){ .ok = ok }, count, t);
    node *all = pith_group(3 * n + 1, writes);
    free(writes);
    return all;
}

node *pith_adamw_(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                  pith_adamw_options o, node *ok)
{
    node *failed = find_mistake(at, "pith_adamw", n, params, gradients, lr, ok);
    if (failed) return failed;
    if (!(o.beta1 >= 0 && (pith_real)o.beta1 < 1 && o.beta2 >= 0 && (pith_real)o.beta2 < 1 &&
          o.epsilon >= 0 && isfinite(o.epsilon) && isfinite(o.weight_decay)))
        return pith_refuse(lr->graph,
                           "%s: pith_adamw: beta1 %g, beta2 %g, epsilon %g, weight_decay %g, "
                           "expected betas in [0, 1), epsilon at least 0, and numbers",
                           at, o.beta1, o.beta2, o.epsilon, o.weight_decay);
    pith_enter(lr->graph, "pith_adamw", at);
    return pith_leave(lr->graph, adamw(at, n, params, gradients, lr, o, ok));
}

static node *sgd(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                 double momentum, double weight_decay, node *ok)
{
    node **writes = malloc(sizeof *writes * (size_t)(2 * n));
    int w = 0;
    if (!writes) return pith_refuse(lr->graph, "no memory for an optimizer");
    for (int k = 0; k < n; k++) {
        expect_unwritten(at, "pith_sgd", params[k]);
        const pith_training training = pith_training_of(params[k]);
        const part p = part_of(gradients[k], ok);
        node *d = gradients[k], *old = read_part(&p, params[k]);
        if (weight_decay != 0 && training.weight_decay)
            d = pith_add(d, pith_mul_scalar(old,
                                            training.lr_scale < 0 ? -weight_decay : weight_decay));
        if (momentum != 0) {
            node *m = state_for(params[k], "sgd.m/");
            d = pith_add(pith_mul_scalar(read_part(&p, m), momentum), d);
            writes[w++] = write_part(&p, m, d);
        }
        node *change = pith_mul(lr_of(&training, lr), d);
        writes[w++] = write_param(&p, params[k], pith_sub(old, change));
    }
    node *all = pith_group(w, writes);
    free(writes);
    return all;
}

node *pith_sgd_(const char *at, int n, node *const *params, node *const *gradients, node *lr,
                double momentum, double weight_decay, node *ok)
{
    node *failed = find_mistake(at, "pith_sgd", n, params, gradients, lr, ok);
    if (failed) return failed;
    if (!isfinite(momentum) || !isfinite(weight_decay))
        return pith_refuse(lr->graph,
                           "%s: pith_sgd: momentum %g, weight_decay %g, expected numbers", at,
                           momentum, weight_decay);
    pith_enter(lr->graph, "pith_sgd", at);
    return pith_leave(lr->graph, sgd(at, n, params, gradients, lr, momentum, weight_decay, ok));
}

/* The state "ema/NAME" of a param. When it is made it starts at the param's present value. */
static node *average_of(node *param)
{
    pith_store *store = pith_store_of(param->graph);
    const int before = pith_store_count(store);
    node *mean = state_for(param, "ema/");
    const bool fresh = pith_store_count(store) > before;
    pith_tensor *average = fresh ? pith_tensor_of(mean) : NULL;
    if (average && !pith_tensor_copy(average, pith_tensor_of(param)))
        return pith_refuse(param->graph, "%s has no first average", param->name);
    return mean;
}

static node *ema(node *updated, double decay, node *ok)
{
    node **writes = malloc(sizeof *writes * (size_t)(updated->n_in + 1));
    int w = 0;
    if (!writes) return pith_refuse(updated->graph, "no memory for averages");
    for (int k = 0; k < updated->n_in; k++) {
        node *written = updated->in[k], *param = written->in[0];
        if (!pith_is_param(param)) continue; /* the state of an optimizer */
        const bool rows = written->n_in > 2; /* pith_write_rows: table, ids, rows */
        const part p = { rows ? written->in[1] : NULL, ok };
        node *mean = average_of(param), *now = rows ? written->in[2] : written;
        writes[w++] = write_part(&p, mean, blend(read_part(&p, mean), now, 1 - decay));
    }
    writes[w++] = updated;
    node *all = pith_group(w, writes);
    free(writes);
    return all;
}

/* Is this what an optimizer returns: a group of writes, of params among others? */
static bool is_update(const node *n)
{
    bool writes = true, params = false;
    for (int k = 0; k < n->n_in && writes; k++) {
        writes = pith_is_write(n->in[k]);
        params = params || (writes && pith_is_param(n->in[k]->in[0]));
    }
    return writes && params;
}

node *pith_ema_(const char *at, node *updated, double decay, node *ok)
{
    if (!updated) return pith_refuse(NULL, "%s: pith_ema: what is updated is NULL", at);
    if (pith_graph_error(updated->graph)) return pith_failed(updated->graph, updated);
    if (!is_update(updated))
        return pith_refuse(updated->graph,
                           "%s: pith_ema: expected what an optimizer returned, found a node made "
                           "at %s",
                           at, updated->at);
    if (!(decay >= 0 && decay <= 1))
        return pith_refuse(updated->graph, "%s: pith_ema: a decay of %g, expected 0 to 1", at,
                           decay);
    if (!is_scalar(at, "pith_ema", updated->graph, ok)) return pith_failed(updated->graph, NULL);
    pith_enter(updated->graph, "pith_ema", at);
    return pith_leave(updated->graph, ema(updated, decay, ok));
}

/* factor times a gradient; of a gradient by rows it makes a gradient by rows. */
static node *scaled(node *gradient, node *factor)
{
    node *rows = pith_mul(gradient, factor);
    if (!pith_is_row_gradient(gradient)) return rows;
    node *ids = pith_result(gradient, 1);
    return pith_row_gradient(1, &rows, &ids, pith_rows_of(gradient));
}

bool pith_clip_norm_(const char *at, int n, node **gradients, double limit, node **norm)
{
    node *sum = NULL;
    if (!norm) return pith_refuse(NULL, "%s: pith_clip_norm: the norm is NULL", at), false;
    *norm = NULL;
    for (int k = 0; k < n && !*norm; k++) {
        const node *d = gradients ? gradients[k] : NULL;
        if (pith_is_missing(d))
            *norm = pith_refuse(NULL, "%s: pith_clip_norm: gradient %d is %s", at, k,
                                d ? d->name : "NULL");
    }
    if (n < 1) *norm = pith_refuse(NULL, "%s: pith_clip_norm: there are no gradients", at);
    if (*norm) return false;
    pith_graph *g = gradients[0]->graph;
    if (!(limit >= 0)) {
        *norm = pith_refuse(g, "%s: pith_clip_norm: a limit of %g, expected 0 or more", at, limit);
        return false;
    }
    pith_enter(g, "pith_clip_norm", at);
    for (int k = 0; k < n && (!k || !pith_graph_error(g)); k++) { /* of another graph: told once */
        node *square = pith_dot(gradients[k], gradients[k]);
        sum = sum ? pith_add(sum, square) : square;
    }
    *norm = pith_sqrt(sum);
    if (limit > 0) {
        node *factor = pith_minimum(pith_const(g, 1),
                                    pith_div(pith_const(g, limit), pith_add_scalar(*norm, 1e-6)));
        for (int k = 0; k < n; k++) gradients[k] = scaled(gradients[k], factor);
    }
    pith_leave(g, NULL);
    return !pith_graph_error(g);
}
