/* test_sasp.c: models whose last blocks have no skip: their sizes in notation and config, what they
 * inherit, and that all below the first such block takes no memory for a backward pass. */
#include "tests.h"
#include "losses/losses.h"
#include "models/models.h"
#include "train/optim.h"

static clip_config named(const char *name)
{
    clip_config c;
    if (!clip_config_named(&c, name)) fail_msg("%s", pith_error());
    return c;
}

static clip_config sasp(const clip_config *c, int count)
{
    clip_config out;
    if (!clip_with_sasp(c, count, &out)) fail_msg("%s", pith_error());
    return out;
}

static void notation_and_config_agree(void **state)
{
    (void)state;
    const clip_config c = named("8/4:w16l4h2s2+w12l3h3p1c6v11:e5");
    const clip_block vision[] = { CLIP_PRE_NORM, CLIP_PRE_NORM, CLIP_SAS_P, CLIP_SAS_P };
    assert_memory_equal(c.vision.block, vision, sizeof vision);
    assert_true(c.vision.shared_query_key && !c.text.shared_query_key);
    assert_true(c.text.block[1] == CLIP_PRE_NORM && c.text.block[2] == CLIP_SAS_P);
    clip_config mixed = c, back;
    mixed.text.block[0] = CLIP_SAS;
    char folder[] = "/tmp/pith-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    if (!clip_config_write(&mixed, folder) || !clip_config_read(&back, folder))
        fail_msg("%s", pith_error());
    assert_memory_equal(&back.vision, &mixed.vision, sizeof back.vision);
    assert_memory_equal(&back.text, &mixed.text, sizeof back.text);
    snprintf(path, sizeof path, "%s/open_clip_config.json", folder);
    unlink(path);
    rmdir(folder);
    clip_config wrong;
    assert_false(clip_config_named(&wrong, "8/4:w16l2h2s3+w12l3h3c6v11:e5"));
    said("3 of the last blocks of the image tower are to be SAS-P, it has 2");
    assert_false(clip_config_named(&wrong, "8/4:w16l2h2s1p1+w12l3h3c6v11:e5"));
    assert_false(clip_with_sasp(&c, 4, &wrong));
    said("4 of the last blocks are to be SAS-P, the text tower has 3");
}

/* ---- inheriting ---- */

static pith_store *trained(const clip_config *c)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 3);
    const clip_inputs in = clip_inputs_new(g, c, 2, 5);
    clip_batch(g, c, &in);
    for (int k = 0; k < pith_store_count(s); k++) {
        pith_tensor *t = pith_store_at(s, k);
        pith_real *x = elements(t);
        for (size_t i = 0; i < pith_tensor_size(t); i++)
            x[i] = (pith_real)pith_normal_at((uint64_t)k, 1, i);
        assert_true(pith_tensor_write(t, x));
    }
    pith_graph_free(g);
    return s;
}

/* Are `count` elements of a, from its element `first` on, those of b from its element `other` on?
 */
static void equal(pith_store *s, const char *a, size_t first, pith_store *t, const char *b,
                  size_t other, size_t count)
{
    const pith_real *x = stored(s, a), *y = stored(t, b);
    assert_memory_equal(x + first, y + other, sizeof *x * count);
}

static void blocks_inherit_what_they_replace(void **state)
{
    (void)state;
    enum { D = 16, W = 12 };
    const clip_config teacher = named("8/4:w16l4h2+w12l3h3c6v11:e5"), c = sasp(&teacher, 2);
    pith_store *t = trained(&teacher);
    for (int replaced = 0; replaced < 2; replaced++) {
        pith_store *s = pith_store_new();
        if (!clip_inherit(&c, s, &teacher, t, replaced)) fail_msg("%s", pith_error());
        const char *below = "visual.transformer.resblocks.1.attn.in_proj_weight",
                   *mlp = "visual.transformer.resblocks.3.mlp.c_fc.weight";
        equal(s, below, 0, t, below, 0, 3 * D * D);
        equal(s, "visual.ln_post.bias", 0, t, "visual.ln_post.bias", 0, D);
        assert_int_equal(pith_store_find(s, mlp) != NULL, replaced);
        assert_int_equal(pith_store_find(s, "transformer.attn.k_proj.bias") != NULL, replaced);
        if (replaced) {
            equal(s, mlp, 0, t, mlp, 0, 4 * D * D);
            equal(s, "transformer.resblocks.2.ln_1.bias", 0, t, "transformer.resblocks.2.ln_1.bias",
                  0, W);
            equal(s, "transformer.attn.q_proj.weight", 0, t,
                  "transformer.resblocks.2.attn.in_proj_weight", 0, W * W);
            equal(s, "transformer.attn.k_proj.weight", 0, t,
                  "transformer.resblocks.2.attn.in_proj_weight", W * W, W * W);
            equal(s, "visual.transformer.attn.k_proj.bias", 0, t,
                  "visual.transformer.resblocks.3.attn.in_proj_bias", D, D);
            const pith_real *gains = stored(s, "transformer.resblocks.1.attn.gains");
            for (int k = 0; k < 9; k++) assert_true(gains[k] == (k < 3));
        }
        pith_graph *g = pith_graph_new(s, 1); /* what is missing begins anew */
        const clip_inputs in = clip_inputs_new(g, &c, 2, 5);
        clip_batch(g, &c, &in);
        if (pith_graph_error(g)) fail_msg("%s", pith_graph_error(g));
        pith_graph_free(g);
        pith_store_free(s);
    }
    pith_store_free(t);
}

/* ---- memory ---- */

static size_t planned_bytes(const clip_config *teacher, pith_store *t, int count)
{
    const clip_config c = sasp(teacher, count);
    pith_store *s = pith_store_new();
    assert_true(clip_inherit(&c, s, teacher, t, false));
    assert_true(clip_freeze_skips(&c, s));
    pith_graph *g = pith_graph_new(s, 1);
    const clip_inputs in = clip_inputs_new(g, &c, 16, 80);
    const pith_batch b = clip_batch(g, &c, &in);
    pith_node *loss = clip_loss(&b), **params, *gradients[128];
    const int n = pith_params(g, &params);
    for (int k = 0; k < n; k++)
        assert_true(strstr(params[k]->name, "transformer.attn.") ||
                    strstr(params[k]->name, "resblocks."));
    assert_true(n > 0 && n <= 128 && pith_gradients(loss, n, params, gradients));
    pith_node *all = pith_sgd(n, params, gradients, pith_const(g, 0.1), 0, 0, NULL);
    pith_plan *p = pith_plan_new(g, 1, &all, NULL);
    if (!p) fail_msg("%s", pith_error());
    const size_t bytes = pith_plan_statistics(p).arena;
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    return bytes;
}

static void frozen_blocks_take_no_memory(void **state)
{
    (void)state;
    const clip_config teacher = named("16/4:w32l4h2+w32l4h2c8v40:e16");
    pith_store *t = trained(&teacher);
    const size_t all = planned_bytes(&teacher, t, 4), half = planned_bytes(&teacher, t, CLIP_HALF),
                 one = planned_bytes(&teacher, t, 1);
    printf("planned bytes with all, half and one block trained: %zu, %zu, %zu\n", all, half, one);
    assert_true(all > half && half > one);
    pith_store_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notation_and_config_agree),
        cmocka_unit_test(blocks_inherit_what_they_replace),
        cmocka_unit_test(frozen_blocks_take_no_memory),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
