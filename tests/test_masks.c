/* test_masks.c: masks that learn what to keep, against plain loops: samples, norms and the
 * constraint with their gradients; and that a constraint is met. */
#include "masks.h"
#include "train/optim.h"

static pith_plan *run(pith_graph *g, int n, pith_node **out)
{
    pith_plan *p = pith_plan_new(g, n, out, NULL);
    if (!p || !pith_run(p)) fail_msg("%s", pith_error());
    return p;
}

/* ---- one mask ---- */

static void samples_are_hard_concrete(void **state)
{
    (void)state;
    enum { N = 20000 };
    const double logits[] = { -3, -1, 0, 2, 4.6 };
    for (int k = 0; k < 5; k++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, (uint64_t)k);
        pith_node *all = pith_expand(pith_const(g, logits[k]), N), *z = clip_mask_sample(all),
                  *u = NULL;
        for (int i = 0; i < pith_graph_size(g); i++)
            if (!strcmp(pith_graph_node(g, i)->op->name, "uniform")) u = pith_graph_node(g, i);
        assert_non_null(u);
        pith_node *q = clip_mask_expected(all);
        pith_plan *p = run(g, 3, (pith_node *[]){ z, u, q });
        const pith_real *found = value_of(p, z), *drawn = value_of(p, u), *chance = value_of(p, q);
        int dead = 0, whole = 0;
        for (int i = 0; i < N; i++) {
            const double v = 1e-6 + (1 - 2e-6) * (double)drawn[i];
            const double y = logistic((log(v) - log(1 - v) + logits[k]) * 1.5);
            close_to((double)found[i], fmin(fmax(1.2 * y - 0.1, 0), 1), IN_DOUBLE ? 1e-9 : 3e-6,
                     "z");
            dead += found[i] == 0;
            whole += found[i] == 1;
        }
        const double alive = logistic(logits[k] + 2.0 / 3 * log(11)),
                     one = logistic(logits[k] - 2.0 / 3 * log(11));
        close_to((double)chance[0], fmin(alive, 1 - 1e-6), 1e-6, "q");
        if (fabs(1 - alive - (double)dead / N) > 0.012 || fabs(one - (double)whole / N) > 0.012)
            fail_msg("of %d samples %d are 0 and %d are 1, expected shares of %.3f and %.3f", N,
                     dead, whole, 1 - alive, one);
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

static void evaluation_keeps_the_expected_number(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    const int n = 6;
    pith_tensor *t = pith_store_add(s, "logits", PITH_WEIGHT, PITH_F32, 1, &n);
    const pith_real mixed[] = { 4, -4, 0.5f, -4, -4, 4 }, low[] = { -9, -8, -7, -9, -9, -9 };
    pith_real z[6];
    assert_true(pith_tensor_write(t, mixed) && clip_mask_decide(t, 0, z));
    /* the sum of q is 0.9963 + 0.083 + 0.8908 + 0.083 + 0.083 + 0.9963: 3 stay */
    for (int k = 0; k < n; k++)
        close_to((double)z[k], k == 0 || k == 2 || k == 5 ? logistic(1.2 * (double)mixed[k]) : 0,
                 1e-6, "z");
    assert_true(pith_tensor_write(t, low) && clip_mask_decide(t, 0, z));
    for (int k = 0; k < n; k++) assert_true(z[k] == 0);
    assert_true(clip_mask_decide(t, 1, z));
    for (int k = 0; k < n; k++) assert_true((z[k] == 0) == (k != 2));
    pith_store_free(s);
}

/* ---- the norm ---- */

enum { ROWS = 3, D = 7 };

static double norm_loops(const double x[ROWS][D], const double *gain, const double *bias,
                         const double *hidden, const double w[ROWS][D])
{
    double sum = 0;
    for (int r = 0; r < ROWS; r++) {
        double n = 0, mean = 0, variance = 0;
        for (int k = 0; k < D; k++)
            if (hidden[k] != 0) mean += x[r][k], n++;
        mean /= n;
        for (int k = 0; k < D; k++)
            if (hidden[k] != 0) variance += (x[r][k] - mean) * (x[r][k] - mean) / n;
        for (int k = 0; k < D; k++)
            if (hidden[k] != 0)
                sum += w[r][k] * ((x[r][k] - mean) / sqrt(variance + 1e-5) * gain[k] + bias[k]);
    }
    return sum;
}

static void norms_leave_out_dead_channels(void **state)
{
    (void)state;
    const double hidden[D] = { 0.9, 0, 1, 0.3, 0, 0.7, 1 };
    double x[ROWS][D], w[ROWS][D], gain[D], bias[D];
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < D; k++) {
            x[r][k] = hidden[k] != 0 ? 0.2 * r + (double)pith_normal_at(1, 0, (uint64_t)(r * D + k))
                                     : 0;
            w[r][k] = (double)pith_normal_at(2, 0, (uint64_t)(r * D + k));
        }
    for (int k = 0; k < D; k++) {
        gain[k] = 1 + 0.1 * k;
        bias[k] = 0.5 - 0.2 * k;
    }
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_real values[4][ROWS * D];
    for (int k = 0; k < ROWS * D; k++) {
        values[0][k] = (pith_real)x[k / D][k % D];
        values[1][k] = (pith_real)w[k / D][k % D];
    }
    pith_node *in[3] = { pith_const_array(g, PITH_F32, values[0], ROWS, D), NULL, NULL };
    for (int k = 0; k < D; k++) {
        values[2][k] = (pith_real)gain[k];
        values[3][k] = (pith_real)bias[k];
    }
    in[1] = pith_const_array(g, PITH_F32, values[2], D);
    in[2] = pith_const_array(g, PITH_F32, values[3], D);
    for (int k = 0; k < D; k++) values[2][k] = (pith_real)hidden[k];
    pith_node *y = clip_masked_norm(in[0], in[1], in[2],
                                    pith_const_array(g, PITH_F32, values[2], D));
    pith_node *sum = pith_dot(y, pith_const_array(g, PITH_F32, values[1], ROWS, D)),
              *out[5] = { sum };
    assert_true(pith_grad(sum, 3, in, out + 1));
    out[4] = y;
    pith_plan *p = run(g, 5, out);
    close_to(pith_scalar(p, sum), norm_loops(x, gain, bias, hidden, w), TOLERANCE, "norm");
    const pith_real *rows = value_of(p, y);
    for (int r = 0; r < ROWS; r++) assert_true(rows[r * D + 1] == 0 && rows[r * D + 4] == 0);
    for (int which = 0; which < 3; which++) {
        const pith_real *found = value_of(p, out[1 + which]);
        double *at = which == 0 ? x[0] : which == 1 ? gain : bias;
        for (int k = 0; k < (which ? D : ROWS * D); k++) {
            if (hidden[k % D] == 0) continue;
            const double kept = at[k], h = 1e-5;
            at[k] = kept + h;
            const double up = norm_loops(x, gain, bias, hidden, w);
            at[k] = kept - h;
            const double down = norm_loops(x, gain, bias, hidden, w);
            at[k] = kept;
            close_to((double)found[k], (up - down) / (2 * h), IN_DOUBLE ? 1e-7 : 1e-4, "gradient");
        }
    }
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
}

/* ---- the constraint ---- */

static const clip_sparsity options = {
    .keep = 0.4, .start = 1, .ramp = 10, .first = 5, .mask_rate = 0.1, .multiplier_rate = 0.02
};

static void the_constraint_is_the_papers(void **state)
{
    (void)state;
    const clip_config c = named("8/4:w16l3h2f24+w12l2h3c6v11:e5");
    for (int kind = 0; kind < 6; kind++) { /* total or a tower; hinge met, hinge not met, signed */
        clip_sparsity o = options;
        o.each_tower = kind / 3;
        o.is_signed = kind % 3 == 2;
        pith_store *s = pith_store_new();
        for (int round = 0; round < 2; round++) {
            pith_graph *g = pith_graph_new(s, 1);
            clip_config masked = c;
            clip_masks masks[2];
            pith_set_training(g, true);
            clip_mask_towers(g, &masked, masks);
            pith_node *y = clip_sparsity_loss(g, &masked, &c, &o);
            if (!round) {
                pith_graph_free(g);
                stir_masks(s, kind % 3 ? 0.7 : -3, 1);
                continue;
            }
            pith_node **params, *out[32] = { y };
            const int n = pith_params(g, &params);
            assert_true(pith_grad(y, n, params, out + 1));
            pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
            const int step = 5 + 4; /* 0.4 of the ramp: 1 - 0.4 * 0.6 is wanted */
            pith_feed(p, pith_step(g), &step);
            assert_true(pith_run(p));
            const double P[] = { 3 * (4 * 256 + 64 + 2 * 16 * 24 + 24 + 16),
                                 2 * (12 * 144 + 9 * 12) };
            close_to(clip_prunable(&c.vision), P[0], 0, "P");
            close_to(clip_prunable(&c.text), P[1], 0, "P");
            const double h = 1e-4;
            for (int k = -1; k < n; k++) { /* the value, then the gradient by the first entry */
                double value[2] = { 0, 0 };
                for (int side = 0; side < 2; side++) {
                    pith_tensor *t = k < 0 ? NULL : pith_tensor_of(params[k]);
                    pith_real x, moved;
                    if (t) pith_tensor_read_part(t, 0, 1, &x);
                    moved = t ? (pith_real)((double)x + (side ? -h : h)) : 0;
                    if (t) pith_tensor_write_part(t, 0, 1, &moved);
                    const double R[] = { expected_loops(s, &c.vision, "image", 16),
                                         expected_loops(s, &c.text, "text", 12) };
                    for (int tower = 0; tower < (o.each_tower ? 2 : 1); tower++) {
                        const char *names[] = { "image", "text" };
                        char l1[32], l2[32];
                        snprintf(l1, 32, "mask.%s.l1", o.each_tower ? names[tower] : "both");
                        snprintf(l2, 32, "mask.%s.l2", o.each_tower ? names[tower] : "both");
                        const double kept = o.each_tower ? R[tower] / P[tower]
                                                         : (R[0] + R[1]) / (P[0] + P[1]);
                        double v = kept - 0.76;
                        if (!o.is_signed) v = fmax(v, 0);
                        value[side] += (double)*(pith_real *)stored(s, l1) * v +
                                       (double)*(pith_real *)stored(s, l2) * v * v;
                    }
                    if (t) pith_tensor_write_part(t, 0, 1, &x);
                }
                if (k < 0) close_to(pith_scalar(p, y), value[0], TOLERANCE, "constraint");
                else if (IN_DOUBLE)
                    close_to((double)*(pith_real *)value_of(p, out[k + 1]),
                             (value[0] - value[1]) / (2 * h), 1e-6, params[k]->name);
                if (k < 0 && kind % 3 == 0) assert_true(value[0] == 0);
                if (k < 0 && kind % 3 == 1) assert_true(value[0] > 0.1);
            }
            pith_plan_free(p);
            pith_graph_free(g);
        }
        pith_store_free(s);
    }
}

/* ---- the constraint is met: logits alone, in the sizes of ViT-B/32 ---- */

/* What is left of a tower when its masks are decided. */
static double cut_out(pith_store *s, const clip_tower *t, const char *tower)
{
    clip_tower out = *t;
    char name[64];
    for (int i = -1; i < t->layers; i++)
        for (int what = 0; what < (i < 0 ? 1 : 2); what++) {
            static pith_real z[4096];
            const int n = i < 0 ? t->width : what ? t->ffn[i] : t->heads[i];
            int *left = i < 0 ? &out.width : what ? &out.ffn[i] : &out.heads[i];
            if (i < 0) snprintf(name, sizeof name, "mask.%s.hidden", tower);
            else snprintf(name, sizeof name, "mask.%s.%d.%s", tower, i, what ? "ffn" : "heads");
            assert_true(clip_mask_decide(pith_store_find(s, name), i < 0, z));
            *left = 0;
            for (int k = 0; k < n; k++) *left += z[k] > 0;
        }
    return clip_prunable(&out);
}

static double met(bool is_signed, double keep)
{
    const clip_config c = named("vit-b-32");
    clip_config masked = c;
    clip_masks masks[2];
    enum { STEPS = 3000 };
    const double rate = 0.02;
    const clip_sparsity o = { .keep = keep,
                              .start = 1,
                              .ramp = STEPS / 3.0,
                              .mask_rate = rate,
                              .multiplier_rate = rate,
                              .is_signed = is_signed };
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_set_training(g, true);
    clip_mask_towers(g, &masked, masks);
    pith_node *y = clip_sparsity_loss(g, &masked, &c, &o), **params, *d[64], **nodes, *kept = NULL;
    const int n = pith_params(g, &params);
    const char *const *names;
    for (int k = pith_watched(g, &nodes, &names) - 1; k >= 0; k--)
        if (!strcmp(names[k], "kept.both")) kept = nodes[k];
    assert_true(pith_gradients(y, n, params, d));
    pith_node *all = pith_adamw(n, params, d, pith_const(g, 1e-3),
                                (pith_adamw_options){ 0.9, 0.98, 1e-6, 0 }, NULL);
    pith_plan *p = pith_plan_new(g, 2, (pith_node *[]){ kept, all }, NULL);
    if (!p) fail_msg("%s", pith_error());
    for (int step = 0; step <= STEPS; step++) {
        pith_feed(p, pith_step(g), &step);
        assert_true(pith_run(p));
    }
    const double found = pith_scalar(p, kept);
    const double cut = (cut_out(s, &c.vision, "image") + cut_out(s, &c.text, "text")) /
                       (clip_prunable(&c.vision) + clip_prunable(&c.text));
    /* half a head of each layer, 64 of 768 and 512 channels wide, may be rounded away */
    if (fabs(cut - keep) > 0.01 + 0.5 * 12 * 4 * 64 * (768 + 512) / 122821632.0)
        fail_msg("cut out %.4f, expected %.2f", cut, keep);
    const double multiplier = (double)*(pith_real *)stored(s, "mask.both.l1");
    assert_true(is_signed || (multiplier > 10 && multiplier <= 10 + rate * (STEPS + 1) + 1e-3));
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return found;
}

static void the_target_is_reached(void **state)
{
    (void)state;
#ifdef PITH_SLOW
    enum { CASES = 1 }; /* two minutes less */
#else
    enum { CASES = 4 };
#endif
    for (int k = 0; k < CASES; k++) {
        const double keep = k % 2 ? 0.25 : 0.5, found = met(k / 2, keep);
        print_message("%s, %.2f: %.4f\n", k / 2 ? "signed" : "hinge", keep, found);
        if (k < 2 && found > keep) fail_msg("kept %.4f, more than %.2f", found, keep);
        if (fabs(found - keep) > 0.01) fail_msg("kept %.4f, expected %.2f", found, keep);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_hard_concrete),
        cmocka_unit_test(evaluation_keeps_the_expected_number),
        cmocka_unit_test(norms_leave_out_dead_channels),
        cmocka_unit_test(the_constraint_is_the_papers),
        cmocka_unit_test(the_target_is_reached),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
