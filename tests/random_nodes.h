/* random_nodes.h: the ops that random_graph.h draws from. Each function adds a node or a few to the
 * pool, or none where what it picked does not fit. */

static void add_smooth(random_graph *r)
{
    node *a = pick(r);
    switch (draw(r, 15)) {
    case 0: keep(r, pith_neg(a)); break;
    case 1: keep(r, pith_square(a)); break;
    case 2: keep(r, pith_sin(a)); break;
    case 3: keep(r, pith_cos(a)); break;
    case 4: keep(r, pith_tanh(a)); break;
    case 5: keep(r, pith_erf(a)); break;
    case 6: keep(r, pith_sigmoid(a)); break;
    case 7: keep(r, pith_softplus(a)); break;
    case 8: keep(r, pith_gelu(a)); break;
    case 9: keep(r, pith_quick_gelu(a)); break;
    case 10: keep(r, pith_exp(a)); break;
    case 11: keep(r, pith_mul_scalar(a, 0.5 * (draw(r, 7) - 3))); break;
    case 12: keep(r, pith_add_scalar(a, 0.5 * (draw(r, 7) - 3))); break;
    case 13: keep(r, pith_exp(pith_neg(pith_square(a)))); break;
    default: keep(r, pith_transpose(pick_axes(r, 2, 4))); break;
    }
}

static void add_half_line(random_graph *r) /* ops that want inputs away from 0 */
{
    node *a = pick(r);
    if (!above(r, a, 0.3)) a = pith_add_scalar(pith_square(a), 0.5);
    switch (draw(r, 5)) {
    case 0: keep(r, pith_sqrt(a)); break;
    case 1: keep(r, pith_rsqrt(a)); break;
    case 2: keep(r, pith_log(a)); break;
    case 3: keep(r, pith_reciprocal(a)); break;
    default: keep(r, pith_div(partner(r, a), a)); break;
    }
}

static void add_binary(random_graph *r)
{
    node *a = pick(r), *b = partner(r, a);
    if (draw(r, 2)) {
        node *swap = a;
        a = b, b = swap;
    }
    switch (draw(r, 4)) {
    case 0: keep(r, pith_add(a, b)); break;
    case 1: keep(r, pith_sub(a, b)); break;
    default: keep(r, pith_mul(a, b)); break;
    }
}

static void add_kinked(random_graph *r)
{
    node *a = pick(r), *b = partner(r, a), *c;
    switch (draw(r, 7)) {
    case 0:
        if (clear(r, a)) keep(r, pith_relu(a));
        break;
    case 1:
        if (clear(r, a)) keep(r, pith_abs(a));
        break;
    case 2:
        if (clear(r, a)) keep(r, pith_mul(pith_sign(a), b));
        break;
    case 3:
        if (clear(r, pith_sub(a, b))) keep(r, pith_minimum(a, b));
        break;
    case 4:
        if (clear(r, pith_sub(a, b))) keep(r, pith_maximum(a, b));
        break;
    case 5:
        if (clear(r, pith_sub(a, b))) keep(r, pith_mul(pith_equal(a, b), a));
        break;
    default:
        if (!clear(r, pith_sub(a, b))) break;
        c = pith_less(a, b);
        keep(r, pith_where(c, pith_sin(a), partner(r, c)));
        break;
    }
}

/* The largest along one axis, where the second largest is well below. */
static void add_max(random_graph *r)
{
    node *a = pick_axes(r, 1, 4);
    const int axis = draw(r, a->ndim);
    node *most = pith_max(a, axis);
    node *near_most = pith_less(pith_add_scalar(pith_keep_axis(most, axis), -CLEAR), a);
    double low, high;
    if (range(r, pith_sum(near_most, axis), &low, &high) && low == 1 && high == 1) keep(r, most);
}

static void add_reduction(random_graph *r)
{
    node *a = pick_axes(r, 1, 4);
    const int i = draw(r, a->ndim), j = (i + 1) % a->ndim;
    switch (draw(r, 7)) {
    case 0: keep(r, pith_sum(a, i)); break;
    case 1: keep(r, pith_mean(a, i)); break;
    case 2: keep(r, a->ndim > 1 ? pith_sum(a, i, j) : pith_sum(a, PITH_ALL)); break;
    case 3: keep(r, a->ndim > 1 ? pith_mean(a, j, i) : pith_mean(a, PITH_ALL)); break;
    case 4: keep(r, pith_log_sum_exp(a)); break;
    case 5: keep(r, pith_sub(a, pith_keep_axis(pith_mean(a, i), i))); break;
    default: keep(r, pith_mul_scalar(pith_dot(a, a), 1 / (double)pith_size(a))); break;
    }
}

static node *permuted(random_graph *r, node *a)
{
    int p[4] = { 0, 1, 2, 3 };
    for (int k = a->ndim - 1; k > 0; k--) {
        const int other = draw(r, k + 1), swap = p[k];
        p[k] = p[other], p[other] = swap;
    }
    return a->ndim == 2   ? pith_permute(a, p[0], p[1])
           : a->ndim == 3 ? pith_permute(a, p[0], p[1], p[2])
                          : pith_permute(a, p[0], p[1], p[2], p[3]);
}

/* Flat, or with two neighbouring axes joined, or with an axis of 1 more. */
static node *reshaped(random_graph *r, node *a)
{
    int d[5], n = 0;
    if (draw(r, 3) == 0 || a->ndim == 0) return pith_reshape(a, -1);
    const int at = draw(r, a->ndim);
    const bool join = a->ndim == 4 || (at + 1 < a->ndim && draw(r, 2));
    for (int k = 0; k < a->ndim; k++) {
        if (k == at && !join) d[n++] = 1;
        if (k == at + 1 && join) d[n - 1] *= a->dim[k];
        else d[n++] = a->dim[k];
    }
    return pith_reshape_dims(PITH_HERE, a, n, d);
}

static node *sliced(random_graph *r, node *a)
{
    const int axis = draw(r, 2) ? 0 : draw(r, a->ndim), start = draw(r, a->dim[axis]);
    return pith_slice(a, axis, start, start + 1 + draw(r, a->dim[axis] - start));
}

static node *rolled(random_graph *r, node *a, int axis)
{
    const int n = a->dim[axis], k = n > 1 ? 1 + draw(r, n - 1) : 0;
    if (!k) return pith_neg(a);
    node *both[2] = { pith_slice(a, axis, k, n), pith_slice(a, axis, 0, k) };
    return pith_concat(2, both, axis);
}

static node *repeated(random_graph *r, node *a)
{
    int d[4] = { 1 + draw(r, 3) };
    for (int k = 0; k < a->ndim; k++) d[k + 1] = a->dim[k];
    return pith_expand_dims(PITH_HERE, a, a->ndim + 1, d);
}

static void add_shape(random_graph *r)
{
    node *a = pick_axes(r, 1, 4), *list[3];
    switch (draw(r, 7)) {
    case 0: keep(r, permuted(r, pick_axes(r, 2, 4))); break;
    case 1: keep(r, reshaped(r, a)); break;
    case 2: keep(r, sliced(r, a)); break;
    case 3: keep(r, sliced(r, reshaped(r, sliced(r, a)))); break;
    case 4: keep(r, rolled(r, a, draw(r, a->ndim))); break;
    case 5:
        list[0] = a, list[1] = pith_tanh(a), list[2] = a;
        keep(r, pith_concat(2 + draw(r, 2), list, draw(r, a->ndim)));
        break;
    default: keep(r, repeated(r, pick_axes(r, 0, 3))); break;
    }
}

static void add_rows(random_graph *r) /* gather and its adjoint; now and then ids outside */
{
    node *a = pick_axes(r, 1, 3);
    const int count = 1 + draw(r, 5);
    if (draw(r, 2)) keep(r, pith_gather(a, new_ids(r, count, a->dim[0] + draw(r, 2))));
    else keep(r, pith_scatter_add(a, new_ids(r, a->dim[0], count + draw(r, 2)), count));
}

static void add_product(random_graph *r)
{
    node *a = pick_axes(r, 2, 4), *y;
    const int k = a->dim[a->ndim - 1], m = a->dim[a->ndim - 2], n = r->size[draw(r, 4)];
    switch (draw(r, 7)) {
    case 0: y = pith_matmul(a, new_leaf(r, 2, (int[]){ k, n })); break;
    case 1: y = pith_matmul_nt(a, new_leaf(r, 2, (int[]){ n, k })); break;
    case 2:
        a = pick_axes(r, 2, 2);
        y = pith_matmul_tn(a, new_leaf(r, 2, (int[]){ a->dim[0], n }));
        break;
    case 3: y = pith_matmul_nt(a, pith_sin(a)); break;
    case 4: y = pith_matmul(a, pith_transpose(a)); break;
    case 5: y = pith_linear(a, new_leaf(r, 2, (int[]){ n, k }), NULL); break;
    default: y = pith_linear(a, new_leaf(r, 2, (int[]){ n, k }), new_leaf(r, 1, &n)); break;
    }
    keep(r, pith_mul_scalar(y, 1 / sqrt((double)(k > m ? k : m))));
}

/* Convolutions, and what they are used with: a norm over all rows. */
static void add_pictures(random_graph *r)
{
    node *a = pick_axes(r, 2, 4), *centred;
    const int columns = a->dim[a->ndim - 1];
    if (draw(r, 2)) {
        const int n = r->size[draw(r, 4)], dim[] = { -1, a->dim[a->ndim - 2], 1, columns };
        const int kernel[] = { n, 1 + draw(r, 2), 1 + draw(r, 3), columns };
        node *x = pith_reshape_dims(PITH_HERE, a, 4, dim), *w = new_leaf(r, 4, kernel);
        keep(r, pith_mul_scalar(pith_convolution(x, w, 1 + draw(r, 2), 1), 0.5));
        return;
    }
    a = pith_reshape(a, -1, columns);
    centred = pith_sub(a, pith_mean(a, 0));
    if (!above(r, pith_mean(pith_square(centred), 0), 0.05)) return;
    node *y = pith_batch_norm(a, new_leaf(r, 1, &columns), new_leaf(r, 1, &columns));
    keep(r, y);
    if (draw(r, 3) == 0) keep(r, pith_result(y, 1 + draw(r, 2)));
}

static void add_rows_op(random_graph *r) /* over the last axis */
{
    node *a = pick_axes(r, 1, 4), *centred, *y;
    const int columns = a->dim[a->ndim - 1];
    switch (draw(r, 4)) {
    case 0: keep(r, pith_softmax(a)); break;
    case 1:
        if (above(r, pith_sum(pith_square(a), -1), 0.1)) keep(r, pith_normalize(a));
        break;
    default:
        centred = pith_sub(a, pith_keep_axis(pith_mean(a, -1), -1));
        if (columns < 2 || !above(r, pith_mean(pith_square(centred), -1), 0.05)) break;
        y = pith_layer_norm(a, new_leaf(r, 1, &columns), new_leaf(r, 1, &columns));
        keep(r, y);
        if (draw(r, 3) == 0) keep(r, pith_result(y, 1 + draw(r, 2)));
        break;
    }
}

static void add_cross_entropy(random_graph *r)
{
    node *a = pick_axes(r, 2, 2);
    if (draw(r, 2)) keep(r, pith_cross_entropy(a, new_ids(r, a->dim[0], a->dim[1])));
    else keep(r, pith_soft_cross_entropy(a, new_leaf(r, 2, a->dim)));
}

/* Rising offsets into n rows, as an input: some rows may lie in no segment. */
static node *new_offsets(random_graph *r, int segments, int n)
{
    node *x = pith_input(r->g, next_name(r, "offsets"), PITH_I32, segments + 1);
    int *data = pith_alloc(r->g, pith_bytes(x)), at = draw(r, 2) && n > segments ? 1 : 0;
    for (int s = 0; s <= segments; s++) {
        data[s] = at;
        const int room = n - at - (segments - s - 1);
        if (s < segments) at += 1 + draw(r, room > 0 ? room : 1);
    }
    return feed(r, x, data);
}

static void add_attention(random_graph *r)
{
    node *a = pick_axes(r, 2, 2), *y;
    const int n = a->dim[0], k = a->dim[1], heads = 1 + draw(r, 2), width = 1 + draw(r, 3);
    const int segments = 1 + draw(r, n < 3 ? n : 3);
    const bool pooled = draw(r, 2);
    const int parts = pooled ? 2 : 3, columns = parts * heads * width;
    node *x = pith_linear(a, new_leaf(r, 2, (int[]){ columns, k }), NULL);
    x = pith_reshape(x, n, parts, heads, width);
    node *offsets = new_offsets(r, segments, n);
    if (pooled)
        y = pith_pooled_attention(new_leaf(r, 3, (int[]){ segments, heads, width }), x, offsets);
    else y = pith_attention(x, offsets, draw(r, 2));
    keep(r, y);
    if (!pooled && draw(r, 3) == 0) keep(r, pith_result(y, 1));
}

static void add_random(random_graph *r)
{
    node *a = pick(r);
    if (draw(r, 2)) keep(r, pith_dropout(a, 0.3));
    else {
        const int size = (int)pith_size(a);
        node *noise = draw(r, 2) ? pith_normal(r->g, size) : pith_uniform(r->g, size);
        keep(r, pith_add(a, pith_reshape_dims(PITH_HERE, noise, a->ndim, a->dim)));
    }
}

static void add_constants(random_graph *r) /* to be folded */
{
    node *a = pick(r), *c = new_constant(r, a->ndim, a->dim);
    keep(r, pith_mul(a, pith_add_scalar(pith_sin(pith_reshape_dims(PITH_HERE, c, a->ndim, a->dim)),
                                        0.5)));
}

static void add_twins(random_graph *r) /* the same thing twice */
{
    node *a = pick(r), *b = partner(r, a);
    node *one = pith_sin(pith_mul(a, b)), *two = pith_sin(pith_mul(a, b));
    keep(r, pith_add(pith_mul(one, two), two));
    if (draw(r, 2)) keep(r, two);
}

static void add_chain(random_graph *r)
{
    node *a = pick(r);
    for (int k = 4 + draw(r, 16); k > 0; k--) {
        node *b = partner(r, a);
        a = draw(r, 3) ? pith_tanh(pith_add(a, b)) : pith_sin(pith_mul(a, b));
        if (draw(r, 6) == 0) keep(r, a);
    }
    keep(r, a);
}

/* Of a region; the same nodes each time it is called. */
static node *region(node *x, void *context)
{
    random_graph *r = context;
    const int k = x->dim[x->ndim - 1];
    node *w = new_param(r, 2, (int[]){ k, k });
    for (int i = 1 + draw(r, 3); i > 0; i--) {
        x = pith_mul_scalar(pith_matmul_nt(x, w), 1 / sqrt((double)k));
        x = draw(r, 2) ? pith_gelu(x) : pith_softmax(pith_mul(x, x));
    }
    return draw(r, 2) ? pith_dropout(x, 0.2) : x;
}

static void add_region(random_graph *r)
{
    node *x = pick_axes(r, 2, 3);
    keep(r, r->recompute ? pith_recompute(region, x, r) : region(x, r));
}

/* The gradient of one node by another, made part of the graph. */
static void add_gradient(random_graph *r)
{
    node *y = pick(r), *by = pick(r), *gradient;
    if (by->id > y->id) return;
    node *c = new_constant(r, y->ndim, y->dim);
    if (!pith_grad(pith_dot(y, c), 1, &by, &gradient)) bad(r, NULL, "%s", pith_error());
    keep(r, gradient);
}

static void (*const additions[])(random_graph *r) = {
    add_smooth,    add_smooth, add_half_line, add_binary, add_binary,        add_kinked,
    add_max,       add_shape,  add_shape,     add_shape,  add_reduction,     add_reduction,
    add_product,   add_rows,   add_rows_op,   add_random, add_cross_entropy, add_attention,
    add_constants, add_twins,  add_chain,     add_region, add_gradient,      add_pictures,
};
