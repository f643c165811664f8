/* test_golden_losses.c: losses with several teachers and of clusters, SLIP, blocks without a
 * skip, and masked ones, against PyTorch in float64 (tests/golden/make_losses.py): values and
 * gradients. The double build within 1e-9; the float build within 1e-5, its gradients within 1e-4.
 */
#include "tests.h"
#include "losses/losses.h"
#include "models/parts.h"

static const bool is_double = sizeof(real) == 8;

static pith_store *load(const char *path)
{
    pith_store *s = pith_store_new();
    if (!pith_store_load(s, path)) fail_msg("%s", pith_error());
    return s;
}

static void equal(const char *what, const char *part, pith_store *want, const real *found,
                  double allowed)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", what, part);
    const pith_tensor *t = pith_store_find(want, name);
    if (!t) fail_msg("no golden %s", name);
    const real *wanted = elements(t);
    double largest = 1;
    for (size_t i = 0; i < pith_tensor_size(t); i++)
        largest = fmax(largest, fabs((double)wanted[i]));
    for (size_t i = 0; i < pith_tensor_size(t); i++)
        if (!(fabs((double)found[i] - (double)wanted[i]) <= (is_double ? 1e-9 : allowed) * largest))
            fail_msg("%s[%zu]: %.12g, PyTorch %.12g", name, i, (double)found[i], (double)wanted[i]);
}

static pith_node *constant(pith_graph *g, pith_store *s, const char *name)
{
    const pith_tensor *t = pith_store_find(s, name);
    return pith_const_array(g, PITH_F32, elements(t), t->dim[0], t->dim[1]);
}

static void losses(void **state)
{
    (void)state;
    static const char *const names[] = { "clip",       "affinity", "affinity:logits=1",
                                         "relational", "feature",  "pair:shift=1" };
    pith_store *golden = load("tests/golden/losses.safetensors");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        pith_store *s = load("tests/golden/losses.safetensors");
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b = pith_batch_new(g);
        pith_node *rows[] = { pith_param(g, "image", PITH_CONSTANT, 0, 6, 5),
                              pith_param(g, "text", PITH_CONSTANT, 0, 6, 5) };
        b.image = pith_normalize(b.image_raw = rows[0]);
        b.text = pith_normalize(b.text_raw = rows[1]);
        b.scale = pith_const(g, 6);
        for (int i = 0; i < 2; i++) {
            pith_teacher *t = pith_add_teacher(&b, i ? 7 : 5);
            t->image = constant(g, golden, i ? "teachers.1.image" : "teachers.0.image");
            t->text = constant(g, golden, i ? "teachers.1.text" : "teachers.0.text");
            t->scale = pith_const(g, 3 + 4 * i);
        }
        pith_loss_spec *spec = pith_loss_parse(names[k], ".");
        pith_node *out[3] = { pith_loss_build(spec, &b) };
        assert_true(out[0] && pith_grad(out[0], 2, rows, out + 1));
        pith_plan *p = pith_plan_new(g, 3, out, NULL);
        if (!p || !pith_run(p)) fail_msg("%s", pith_error());
        equal(names[k], "loss", golden, value_of(p, out[0]), 1e-5);
        equal(names[k], "grad.image", golden, value_of(p, out[1]), 1e-4);
        equal(names[k], "grad.text", golden, value_of(p, out[2]), 1e-4);
        pith_plan_free(p);
        pith_loss_free(spec);
        pith_graph_free(g);
        pith_store_free(s);
    }
    pith_store_free(golden);
}

/* Which golden tensor a param of a loss of clusters is. */
static const char *golden_name(const char *param)
{
    static const char *const pairs[][2] = {
        { "image.weight", "weight" }, { "image.bias", "bias" }, { "text.weight", "text_weight" },
        { "text.bias", "text_bias" }, { "classes", "classes" }, { "scale", "t" },
    };
    const char *own = strncmp(param, "loss.", 5) ? param : strchr(param + 5, '.') + 1;
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++)
        if (!strcmp(own, pairs[k][0])) return pairs[k][1];
    return own;
}

static void clusters(void **state)
{
    (void)state;
    static const char *const names[] = { "cluster",
                                         "cluster:softmax=0.5,kl=2",
                                         "cluster:margin=0.3",
                                         "cluster:margin=0.3,true=1",
                                         "cluster:cosface=0.2,scale=16",
                                         "cluster:tau=0.1,teacher_tau=0.05",
                                         "cluster:frozen=1",
                                         "cluster:shared=1",
                                         "instance",
                                         "instance:sum=1",
                                         "instance:scale=6" };
    static const int cluster[6] = { 4, 0, 8, 4, -1, 2 };
    pith_store *golden = load("tests/golden/clusters.safetensors");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b = pith_batch_new(g);
        b.image = pith_normalize(b.image_raw = pith_param(g, "image", PITH_CONSTANT, 0, 6, 5));
        b.text = pith_normalize(b.text_raw = pith_param(g, "text", PITH_CONSTANT, 0, 6, 5));
        b.cluster = pith_const_array(g, PITH_I32, cluster, 6);
        b.centroids = constant(g, golden, "centroids");
        pith_teacher *t = pith_add_teacher(&b, 7);
        t->image = constant(g, golden, "teacher");
        t->text = constant(g, golden, "teacher_text");
        t->scale = pith_const(g, 1);
        pith_loss_spec *spec = pith_loss_parse(names[k], ".");
        pith_node *out[9] = { pith_loss_build(spec, &b) }, **params;
        const int n = pith_params(g, &params);
        for (int i = 0; i < n; i++)
            assert_true(pith_tensor_copy(pith_store_find(s, params[i]->name),
                                         pith_store_find(golden, golden_name(params[i]->name))));
        assert_true(out[0] && pith_grad(out[0], n, params, out + 1));
        pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
        if (!p) fail_msg("%s", pith_error());
        pith_feed(p, pith_step(g), &(int){ 0 });
        assert_true(pith_run(p));
        equal(names[k], "loss", golden, value_of(p, out[0]), 1e-5);
        int compared = 0;
        for (int i = 0; i < n; i++) {
            char part[64], whole[128];
            snprintf(part, sizeof part, "grad.%s", golden_name(params[i]->name));
            snprintf(whole, sizeof whole, "%s.%s", names[k], part);
            if (!pith_store_find(golden, whole)) continue; /* the loss does not read it */
            equal(names[k], part, golden, value_of(p, out[1 + i]), 1e-4);
            compared++;
        }
        assert_int_equal(compared, n - !strncmp(names[k], "cluster", 7)); /* no captions */
        pith_plan_free(p);
        pith_loss_free(spec);
        pith_graph_free(g);
        pith_store_free(s);
    }
    pith_store_free(golden);
}

/* SLIP's term, CLIP's, and both together, by all that they read: with the views exchanged, too. */
static pith_view golden_view(const pith_batch *b) { return *(const pith_view *)b->inputs; }

static void slip(void **state)
{
    (void)state;
    static const char *const names[] = { "clip", "slip", "clip+0.7*slip", "slip" };
    pith_store *golden = load("tests/golden/slip.safetensors");
    for (int k = 0; k < 4; k++) {
        char text[64];
        pith_store *s = load("tests/golden/slip.safetensors");
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b = pith_batch_new(g);
        pith_node *one = pith_param(g, "features", PITH_CONSTANT, 0, 6, 4),
                  *two = pith_param(g, "second", PITH_CONSTANT, 0, 6, 4), **params, *out[32];
        const pith_view view = { .image_features = k == 3 ? one : two };
        b.image_features = k == 3 ? two : one;
        b.image_raw = pith_matmul(one, pith_param(g, "projection", PITH_CONSTANT, 0, 4, 5));
        b.image = pith_normalize(b.image_raw);
        b.text = pith_normalize(pith_param(g, "text", PITH_CONSTANT, 0, 6, 5));
        b.scale = pith_const(g, 6);
        b.make_view = golden_view;
        b.inputs = &view;
        snprintf(text, sizeof text, "%s%s", names[k], k ? ":hidden=8,out=5" : "");
        pith_loss_spec *spec = pith_loss_parse(text, ".");
        out[0] = pith_loss_build(spec, &b);
        const int n = pith_params(g, &params);
        assert_int_equal(n, k ? 14 : 4);
        assert_true(out[0] && pith_grad(out[0], n, params, out + 1));
        pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
        if (!p || !pith_run(p)) fail_msg("%s", pith_error());
        equal(names[k], "loss", golden, value_of(p, out[0]), 1e-5);
        for (int i = 0; i < n; i++) {
            char part[64];
            snprintf(part, sizeof part, "grad.%s", params[i]->name);
            equal(names[k], part, golden, value_of(p, out[1 + i]), 1e-4);
        }
        pith_plan_free(p);
        pith_loss_free(spec);
        pith_graph_free(g);
        pith_store_free(s);
    }
    pith_store_free(golden);
}

static void blocks(void **state)
{
    (void)state;
    enum { D = 12, ROWS = 10 };
    static const char *const names[] = { "sas", "sas_causal", "sas_p", "sas_p_causal" };
    static const int bounds[] = { 0, 5, 10 };
    for (int k = 0; k < 4; k++) {
        pith_store *golden = load("tests/golden/blocks.safetensors");
        pith_graph *g = pith_graph_new(golden, 1);
        const clip_tower t = { .width = D,
                               .layers = 1,
                               .head_width = 4,
                               .heads = { 3 },
                               .ffn = { 20 },
                               .block = { k < 2 ? CLIP_SAS : CLIP_SAS_P } };
        pith_node *x = pith_param(g, "x", PITH_CONSTANT, 0, ROWS, D), **params, *out[32];
        pith_node *offsets = pith_const_array(g, PITH_I32, bounds, 3);
        out[0] = clip_shaped_block(g, &t, 0, false, NULL, x, offsets, NULL, k % 2);
        const int n = pith_params(g, &params);
        assert_int_equal(n, k < 2 ? 17 : 14);
        pith_node *y = pith_dot(out[0], constant(g, golden, "cotangent"));
        assert_true(pith_grad(y, n, params, out + 1));
        pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
        if (!p || !pith_run(p)) fail_msg("%s", pith_error());
        equal(names[k], "y", golden, value_of(p, out[0]), 1e-5);
        for (int i = 0; i < n; i++) {
            char part[64];
            snprintf(part, sizeof part, "grad.%s", params[i]->name);
            equal(names[k], part, golden, value_of(p, out[1 + i]), 1e-4);
        }
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(golden);
    }
}

/* Here masks multiply weights; there they multiply what flows. */
static void masked_blocks(void **state)
{
    (void)state;
    enum { D = 12, H = 3, F = 20, PICTURES = 2, ROWS = 10 };
    static const int bounds[] = { 0, 5, 10 }, first[] = { 0, 5 };
    pith_store *golden = load("tests/golden/masks.safetensors");
    pith_graph *g = pith_graph_new(golden, 1);
    clip_masks m = { .hidden.z = pith_param(g, "z.hidden", PITH_CONSTANT, 0, D) };
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "z.heads.%d", i);
        m.heads[i].z = pith_param(g, name, PITH_CONSTANT, 0, H);
        snprintf(name, sizeof name, "z.ffn.%d", i);
        m.ffn[i].z = pith_param(g, name, PITH_CONSTANT, 0, F);
    }
    const clip_tower t = {
        .width = D, .layers = 2, .head_width = 4, .heads = { H, H }, .ffn = { F, F }, .masks = &m
    };
    pith_node **params, *out[32];
    out[0] = clip_blocks(g, &t, false, constant(g, golden, "x"),
                         pith_const_array(g, PITH_I32, bounds, PICTURES + 1),
                         pith_const_array(g, PITH_I32, first, PICTURES), false,
                         (clip_initial){ 0 });
    const int n = pith_params(g, &params);
    assert_int_equal(n, 5 + 2 * 12);
    pith_node *y = pith_dot(out[0], constant(g, golden, "cotangent"));
    assert_true(pith_grad(y, n, params, out + 1));
    pith_plan *p = pith_plan_new(g, n + 1, out, NULL);
    if (!p || !pith_run(p)) fail_msg("%s", pith_error());
    equal("masked", "y", golden, value_of(p, out[0]), 1e-5);
    for (int i = 0; i < n; i++) {
        char part[64];
        snprintf(part, sizeof part, "grad.%s", params[i]->name);
        equal("masked", part, golden, value_of(p, out[1 + i]), 1e-4);
    }
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(losses), cmocka_unit_test(clusters),
                                        cmocka_unit_test(slip), cmocka_unit_test(blocks),
                                        cmocka_unit_test(masked_blocks) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
