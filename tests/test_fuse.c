/* test_fuse.c: that a fused model is the masked one, whatever is left out as a whole, and that what
 * is counted is what is cut. */
#include "masks.h"

static void stir_weights(pith_store *s)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        const char *name = pith_store_at(s, k)->name;
        if (!strncmp(name, "mask.", 5)) continue;
        const bool norm = strstr(name, "ln_") && strstr(name, "weight");
        write_all(s, name, norm ? 1 : 0, 0.3);
    }
}

typedef struct {
    pith_graph *g;
    clip_config c;
    clip_masks masks[2];
    clip_inputs in;
    pith_node *out[2];
    pith_plan *p;
} scene;

static void embed(scene *w, pith_store *s, const clip_config *c, bool masked)
{
    enum { B = 2, TOKENS = 9 };
    static pith_real pixels[B * 3 * 8 * 8];
    static const int ids[TOKENS] = { 3, 1, 4, 10, 5, 9, 2, 6, 10 },
                     positions[TOKENS] = { 0, 1, 2, 3, 0, 1, 2, 3, 4 },
                     offsets[B + 1] = { 0, 4, 9 }, last[B] = { 3, 8 };
    for (int k = 0; k < B * 3 * 64; k++) pixels[k] = (pith_real)pith_normal_at(4, 0, (uint64_t)k);
    w->g = pith_graph_new(s, 3);
    w->c = *c;
    if (masked) clip_mask_towers(w->g, &w->c, w->masks);
    w->in = clip_inputs_new(w->g, &w->c, B, TOKENS);
    const pith_batch b = clip_batch(w->g, &w->c, &w->in);
    w->out[0] = b.image;
    w->out[1] = b.text;
    w->p = pith_plan_new(w->g, 2, w->out, NULL);
    if (!w->p) fail_msg("%s", pith_error());
    pith_feed(w->p, w->in.pixels, pixels);
    pith_feed(w->p, w->in.ids, ids);
    pith_feed(w->p, w->in.positions, positions);
    pith_feed(w->p, w->in.offsets, offsets);
    pith_feed(w->p, w->in.last, last);
    if (!pith_run(w->p)) fail_msg("%s", pith_error());
}

static void drop(scene *w)
{
    pith_plan_free(w->p);
    pith_graph_free(w->g);
}

static const char sizes[] = "8/4:w24l3h3f20+w16l3h4f10c6v11:e8";

/* A store with stirred weights and masks, of which those called `dead` leave nothing. */
static pith_store *masked_store(const clip_config *c, int n, const char *const *dead)
{
    pith_store *s = pith_store_new();
    scene w;
    embed(&w, s, c, true);
    drop(&w);
    stir_weights(s);
    stir_masks(s, 0.5, 2.5);
    for (int k = 0; k < n; k++) write_all(s, dead[k], -9, 0.01);
    return s;
}

static void fused_is_masked(void **state)
{
    (void)state;
    static const char *const dead[][8] = {
        { NULL },
        { "mask.image.1.heads", "mask.text.1.heads" },
        { "mask.image.1.ffn", "mask.text.1.ffn" },
        { "mask.image.1.heads", "mask.image.1.ffn", "mask.text.1.heads", "mask.text.1.ffn" },
        { "mask.image.0.heads", "mask.text.0.heads", "mask.image.0.ffn", "mask.text.0.ffn" },
        { "mask.image.2.heads", "mask.text.2.heads", "mask.image.2.ffn", "mask.text.1.ffn" },
        { "mask.image.0.heads", "mask.image.1.heads", "mask.image.2.heads", "mask.text.0.heads",
          "mask.text.1.heads", "mask.text.2.heads", "mask.text.0.ffn" },
    };
    const clip_config c = named(sizes);
    for (size_t k = 0; k < sizeof dead / sizeof *dead; k++) {
        int n = 0;
        while (dead[k][n]) n++;
        pith_store *s = masked_store(&c, n, dead[k]), *smaller = pith_store_new();
        clip_config fused;
        if (!clip_fuse(&c, s, &fused, smaller)) fail_msg("%s", pith_error());
        assert_true(fused.vision.width < 24 && fused.text.width < 16);
        scene a, b;
        embed(&a, s, &c, true);
        embed(&b, smaller, &fused, false);
        for (int tower = 0; tower < 2; tower++) {
            const pith_real *x = value_of(a.p, a.out[tower]), *y = value_of(b.p, b.out[tower]);
            for (int i = 0; i < 2 * 8; i++)
                close_to((double)x[i], (double)y[i], IN_DOUBLE ? 1e-12 : 1e-5,
                         tower ? "text" : "image");
        }
        drop(&a);
        drop(&b);
        /* and nothing but the list's tensors */
        clip_tensor *list;
        assert_int_equal(clip_tensors(&fused, &list), pith_store_count(smaller));
        free(list);
        pith_store_free(smaller);
        pith_store_free(s);
    }
}

/* With every chance 0 or 1, R counts the weights that are cut out exactly; biases only nearly. */
static void what_is_counted_is_what_is_cut(void **state)
{
    (void)state;
    const clip_config c = named(sizes);
    pith_store *s = masked_store(&c, 0, NULL), *smaller = pith_store_new();
    stir_masks(s, 0, 1e6);
    clip_config fused;
    if (!clip_fuse(&c, s, &fused, smaller)) fail_msg("%s", pith_error());
    const clip_tower *towers[] = { &fused.vision, &fused.text };
    const char *names[] = { "image", "text" };
    for (int k = 0; k < 2; k++) {
        const clip_tower *t = towers[k];
        const int original = k ? 16 : 24;
        double weights = 0, biases = 0, heads = 0;
        for (int i = 0; i < pith_store_count(smaller); i++) {
            const pith_tensor *x = pith_store_at(smaller, i);
            if ((strstr(x->name, "visual.") == NULL) != k || !strstr(x->name, "resblocks") ||
                strstr(x->name, "ln_"))
                continue;
            *(x->ndim == 2 ? &weights : &biases) += (double)pith_tensor_size(x);
        }
        for (int i = 0; i < t->layers; i++) heads += t->heads[i];
        const double R = expected_loops(s, k ? &c.text : &c.vision, names[k], original);
        close_to(R - 4.0 * t->head_width / original * t->width * heads, weights, 1e-5, "weights");
        close_to(clip_prunable(t), weights + biases, 0, "what is left of P");
    }
    pith_store_free(smaller);
    pith_store_free(s);
}

static void only_pre_norm_blocks_are_pruned(void **state)
{
    (void)state;
    const clip_config c = named("8/4:w16l4h2s2+w12l3h3c6v11:e5");
    assert_false(clip_can_be_pruned(&c));
    said("block 2 of the image tower has no skip around attention");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_is_masked),
        cmocka_unit_test(what_is_counted_is_what_is_cut),
        cmocka_unit_test(only_pre_norm_blocks_are_pruned),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
