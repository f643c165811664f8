/* check_loss.c: pith check of a loss: it is built on a random batch that has everything a loss may
 * ask for, and its gradient by all that it reads is compared with central differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "scratch.h"

enum {
    B = 6,     /* pairs of the batch */
    D = 8,     /* width of their rows */
    WIDE = 10, /* width of the towers */
    N = 9,     /* samples of the training data */
    K = 7      /* clusters */
};

/* Random rows (B, width), put into the list of leaves; those that the loss does not read are taken
 * out again by drop_unread. */
static node *rows(pith_graph *g, check_leaves *l, int width, const char *name)
{
    node *n = pith_sample(g, -1, 1, B, width);
    check_vary(l, n, NULL, name);
    return n;
}

static node *teacher_rows(pith_graph *g, int width)
{
    return pith_detach(pith_normalize(pith_sample(g, -1, 1, B, width)));
}

static pith_view second_view(const pith_batch *b)
{
    check_leaves *l = (check_leaves *)(uintptr_t)b->inputs;
    pith_view v = { .image_raw = rows(b->graph, l, D, "second image"),
                    .image_features = rows(b->graph, l, WIDE, "second image features") };
    v.image = pith_normalize(v.image_raw);
    return v;
}

static pith_batch make_batch(pith_graph *g, check_leaves *l, int teachers)
{
    static const int caption_id[B] = { 0, 1, 2, 3, 2, 5 }, label[B] = { 0, 1, 2, 0, 1, 2 },
                     cluster[B] = { 4, 0, 6, 4, -1, 2 }, index[B] = { 3, 0, 8, 4, 7, 1 }, epoch = 2;
    pith_batch b = pith_batch_new(g);
    b.image = pith_normalize(b.image_raw = rows(g, l, D, "image"));
    b.text = pith_normalize(b.text_raw = rows(g, l, D, "text"));
    node *logit_scale = pith_sample(g, 1, 2);
    check_vary(l, logit_scale, NULL, "ln scale");
    b.scale = pith_exp(logit_scale);
    b.image_features = rows(g, l, WIDE, "image features");
    b.text_features = rows(g, l, WIDE, "text features");
    b.synthetic_text = pith_normalize(b.synthetic_text_raw = rows(g, l, D, "synthetic text"));
    b.synthetic_text_features = rows(g, l, WIDE, "synthetic text features");
    for (int k = 0; k < teachers; k++) {
        const int width = D + 2 * k;
        pith_teacher *teacher = pith_add_teacher(&b, width);
        teacher->image = teacher_rows(g, width);
        teacher->text = teacher_rows(g, width);
        teacher->synthetic_text = teacher_rows(g, width);
        teacher->scale = pith_const(g, 5 + k);
        teacher->bias = pith_const(g, -1 - k);
    }
    b.caption_id = pith_const_array(g, PITH_I32, caption_id, B);
    b.label = pith_const_array(g, PITH_I32, label, B);
    b.cluster = pith_const_array(g, PITH_I32, cluster, B);
    b.centroids = pith_detach(pith_sample(g, -1, 1, K, D));
    b.index = pith_const_array(g, PITH_I32, index, B);
    b.samples = N;
    b.progress = pith_const(g, 0.5);
    b.epoch = pith_const_dims(PITH_HERE, g, PITH_I32, &epoch, 0, NULL);
    b.make_view = second_view;
    b.inputs = l;
    return b;
}

/* Takes out the leaves that the loss does not read, but for the first `always`: if it reads no
 * picture, no text or no scale, the report shall say so. */
static void drop_unread(check_leaves *l, const node *loss, int always)
{
    bool reached[CHECK_MOST];
    const int n = l->n;
    pith_depends_on(loss, n, l->leaf, reached);
    l->n = 0;
    for (int k = 0; k < n; k++)
        if (k < always || reached[k]) check_vary(l, l->leaf[k], l->tensor[k], l->name[k]);
}

typedef struct {
    bool *seen;
    int n;
    node *at[CHECK_MOST];
} detached_list;

/* Finds what is detached below n and depends on a leaf. */
static void find_detached(node *n, const check_leaves *l, detached_list *list)
{
    extern const pith_op pith_op_detach;
    bool varies[CHECK_MOST], any = false;
    if (list->seen[n->id]) return;
    list->seen[n->id] = true;
    for (int k = 0; k < n->n_in; k++) find_detached(n->in[k], l, list);
    if (n->op != &pith_op_detach || n->dtype != PITH_F32) return;
    pith_depends_on(n, l->n, l->leaf, varies);
    for (int k = 0; k < l->n; k++) any |= varies[k];
    if (any && list->n == CHECK_MOST) pith_raise("more than %d values are detached", CHECK_MOST);
    if (any) list->at[list->n++] = n;
}

/* A constant with the value that n has after a run. */
static node *frozen(const pith_plan *p, const node *n)
{
    real *x = check_copy_value(p, n);
    node *c = pith_const_dims(PITH_HERE, n->graph, PITH_F32, x, n->ndim, n->dim);
    free(x);
    return c;
}

/* The loss with all that is detached held fixed, to be varied near here: to it is added what takes
 * away the slopes that each detached d(x) gives it, its gradient by d, as it is here, times
 * d(here) - d(x). */
static node *with_detached_held(node *loss, const check_leaves *l)
{
    detached_list list = { .seen = room((size_t)loss->id + 1) };
    node *out[2 * CHECK_MOST], *y = loss;
    find_detached(loss, l, &list);
    free(list.seen);
    const int n = list.n;
    if (!n) return loss;
    pith_grad(loss, n, list.at, out);
    memcpy(out + n, list.at, sizeof *out * (size_t)n);
    pith_plan *p = pith_plan_new(loss->graph, 2 * n, out, &common_plan);
    pith_run(p);
    for (int k = 0; k < n; k++)
        y = pith_add(y, pith_dot(frozen(p, out[k]),
                                 pith_sub(frozen(p, out[n + k]), list.at[k]->in[0])));
    pith_plan_free(p);
    return y;
}

/* Is it a number, and does it have a slope? */
static bool is_sensible(node *loss, int n, node *const *gradient)
{
    bool any = false;
    node *out[CHECK_MOST + 1] = { loss };
    memcpy(out + 1, gradient, sizeof *out * (size_t)n);
    pith_plan *p = pith_plan_new(loss->graph, n + 1, out, NULL);
    pith_run(p);
    const double value = pith_scalar(p, loss);
    for (int k = 0; k < n && !any; k++) {
        real *x = check_copy_value(p, gradient[k]);
        for (size_t i = 0; i < pith_size(gradient[k]); i++) any |= x[i] != 0;
        free(x);
    }
    pith_plan_free(p);
    if (!isfinite(value))
        printf("    it is %g, expected a number: PITH_NAN=1 tells where\n", value);
    if (!any) printf("    its gradient is 0: it depends on nothing that is trained\n");
    return any && isfinite(value);
}

/* With as many teachers as there can be, or with none: then a loss may be without sense, which is
 * no mistake of its gradient. */
static bool check_with(const char *text, const pith_loss_spec *spec, int teachers)
{
    check_leaves l = { 0 };
    node *gradient[CHECK_MOST], **params;
    double error[CHECK_MOST];
    int kinks[CHECK_MOST];
    bool reached[CHECK_MOST], good = true;
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, (uint64_t)common_seed);
    pith_set_training(g, true);
    const pith_batch b = make_batch(g, &l, teachers);
    if (!teachers) pith_on_error(keep_quiet, NULL);
    node *loss = pith_loss_build(spec, &b);
    pith_on_error(NULL, NULL);
    if (!loss || pith_graph_error(g)) {
        const bool wants_one = strstr(pith_error(), "has no teacher") ||
                               strstr(pith_error(), "needs a teacher");
        printf("loss %s without a teacher: %s\n", text, pith_error());
        pith_graph_free(g);
        pith_store_free(s);
        return wants_one;
    }
    drop_unread(&l, loss, 3);
    const int n = pith_params(g, &params);
    for (int k = 0; k < n; k++)
        check_vary(&l, params[k], pith_store_find(s, params[k]->name), params[k]->name);
    pith_grad(loss, l.n, l.leaf, gradient);
    pith_depends_on(loss, l.n, l.leaf, reached);
    check_gradient(g, with_detached_held(loss, &l), &l, gradient, error, kinks);
    printf("loss %s, %d pairs of width %d with %d teachers\n", text, B, D, teachers);
    good = is_sensible(loss, l.n, gradient);
    for (int k = 0; k < l.n; k++) {
        const bool agrees = error[k] <= CHECK_ALLOWED;
        good &= agrees;
        char near[64] = "";
        if (kinks[k]) snprintf(near, sizeof near, " (%d of its elements near a kink)", kinks[k]);
        check_print(l.name[k], error[k], agrees,
                    reached[k] ? near : " (the loss does not depend on it)");
    }
    pith_graph_free(g);
    pith_store_free(s);
    return good;
}

bool check_loss(const char *text)
{
    pith_loss_spec *spec = pith_loss_parse(text, scratch_directory());
    const bool with = check_with(text, spec, PITH_MOST_TEACHERS),
               without = check_with(text, spec, 0);
    pith_loss_free(spec);
    return with && without;
}
