/* test_model_files.c: models by name, their configs and weights on disk, and what a student
 * inherits: what is accepted, what is refused, and with which message. */
#include "uneven.h"

/* ---- names ---- */

static void counts_are_the_papers(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double image, without_embedding, all, gmacs;
    } known[] = {
        /* millions */
        { "vit-b-32", 87.85, 38.13, 151.28, 0 },
        { "vit-b-16", 86.19, 38.13, 149.62, 20.5 },
        { "tinyclip-61m-32", 61.41, 28.67, 115.38, 5.3 },
        { "tinyclip-40m-32", 39.69, 19.22, 84.21, 3.5 },
        { "tinyclip-39m-16", 38.59, 19.22, 83.10, 9.5 },
        { "tinyclip-8m-16", 8.28, 2.52, 23.45, 2.0 },
    };
    clip_config c;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        assert_true(clip_config_named(&c, known[k].name));
        const clip_cost cost = clip_count(&c, 77);
        const double embedding = (double)c.vocabulary * c.text.width;
        if (fabs(cost.vision_parameters / 1e6 - known[k].image) > 0.006 ||
            fabs(cost.parameters / 1e6 - known[k].all) > 0.006 ||
            fabs((cost.text_parameters - embedding) / 1e6 - known[k].without_embedding) > 0.006)
            fail_msg("%s: %.3f + %.3f, %.3f M", known[k].name, cost.vision_parameters / 1e6,
                     (cost.text_parameters - embedding) / 1e6, cost.parameters / 1e6);
        if (known[k].gmacs > 0 && fabs(cost.usual_flops_pair / 2e9 - known[k].gmacs) > 0.11)
            fail_msg("%s: %.2f G multiply-adds, the paper %.1f", known[k].name,
                     cost.usual_flops_pair / 2e9, known[k].gmacs);
    }
    assert_true(clip_config_named(&c, "vit-b-32-quickgelu"));
    assert_true(clip_count(&c, 77).parameters == 151277313 &&
                clip_count(&c, 77).vision_parameters == 87849216);
    assert_true(c.quick_gelu);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    clip_config c;
    const struct {
        const char *name, *says;
    } bad[] = {
        { "vit-b-64", "there is no model vit-b-64: expected demo-teacher" },
        { "32/8:w128l4h4", "expected \"+\" and the text tower at \"\"" },
        { "32/8:l4h4+w128l3h4:e128", "expected a width" },
        { "32/8:w128l4h3+w128l3h4:e128",
          "width 128 of the image tower does not split into 3 heads" },
        { "32/8:w96l4+w128l3h4:e128",
          "give the heads (h) of the image tower, since 64 does not divide its width 96" },
        { "30/8:w128l4h4+w128l3h4:e128", "image size 30 is not a multiple of patch size 8" },
        { "32/8:w128l99h4+w128l3h4:e128", "image tower's layers is 99, expected 1 to 64" },
        { "32/8:w128l4h4m2+w128l3h4:e128", "expected m1 in the image tower" },
        { "32/8:w128l4h4m1+w128l3h4s1b1:e128", "a block without a skip and a text tower without" },
        { "32/8:w128l4h4s4+w128l532h4s2:e128", "text tower's layers is 532, expected 1 to 64" },
        { "32/8:w128l4h4+w128l3h4:e128:gelu", "expected the end or \":quick_gelu\" at \":gelu\"" },
        { "16/8:w999999932l2h2+w32l2h2:e8", "expected a whole number from 1 to 1000000 at" },
        { "32/8:w128l4h4+w128l3h4:e0", "expected a whole number from 1 to 1000000 at \"0\"" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_false(clip_config_named(&c, bad[k].name));
        said(bad[k].says);
    }
}

/* ---- configs ---- */

static void configs_survive_the_disk(void **state)
{
    (void)state;
    const char *names[] = { "demo-student", "tinyclip-61m-32",
                            "8/4:w13l2h1f17m1+w26l1h2f31c9v50b1:e7:quick_gelu" };
    for (int k = 0; k <= 3; k++) {
        clip_config c = uneven(), back;
        if (k < 3) assert_true(clip_config_named(&c, names[k]));
        c.mean[1] = 0.25;
        assert_true(clip_config_write(&c, place));
        memset(&back, 0, sizeof back);
        if (!clip_config_read(&back, place)) fail_msg("%s", pith_error());
        assert_int_equal(c.embed, back.embed);
        assert_int_equal(c.quick_gelu, back.quick_gelu);
        assert_int_equal(c.mean_pooling, back.mean_pooling);
        assert_int_equal(c.bidirectional, back.bidirectional);
        assert_memory_equal(&c.vision, &back.vision, sizeof c.vision);
        assert_memory_equal(&c.text, &back.text, sizeof c.text);
        assert_int_equal(c.image_size, back.image_size);
        assert_int_equal(c.patch, back.patch);
        assert_int_equal(c.context, back.context);
        assert_int_equal(c.vocabulary, back.vocabulary);
        assert_memory_equal(c.mean, back.mean, sizeof c.mean);
        assert_memory_equal(c.std, back.std, sizeof c.std);
    }
}

static void write_text(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", place, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define CONFIG(model, vision, text, more)                                                          \
    "{\"model_cfg\": {\"embed_dim\": 512" model                                                    \
    ", \"vision_cfg\": {\"image_size\": 224, \"layers\": 12" vision                                \
    "}, \"text_cfg\": {\"width\": 512" text "}}" more "}"

static void configs_of_others(void **state)
{
    (void)state;
    clip_config c;
    write_text("open_clip_config.json",
               CONFIG(", \"init_logit_bias\": null, \"custom_text\": false",
                      ", \"width\": 1664, \"head_width\": 104, \"mlp_ratio\": 4.9231, "
                      "\"pool_type\": \"tok\", \"patch_dropout\": 0.0",
                      ", \"heads\": 4, \"layers\": 3, \"no_causal_mask\": false, \"eos_id\": 7",
                      ", \"preprocess_cfg\": {\"mean\": [0.5, 0.5, 0.5], \"interpolation\": "
                      "\"bicubic\", \"size\": [224, 224]}"));
    if (!clip_config_read(&c, place)) fail_msg("%s", pith_error());
    assert_int_equal(c.vision.ffn[3], 8192);
    assert_int_equal(c.vision.heads[3], 16);
    assert_int_equal(c.text.head_width, 128);
    assert_int_equal(c.text.layers, 3);
    assert_int_equal(c.vocabulary, 49408);
    assert_true(c.mean[0] == 0.5 && c.std[0] == 0.26862954 && !c.quick_gelu);

    const struct {
        const char *text, *says;
    } bad[] = {
        { CONFIG("", ", \"pool_type\": \"none\"", "", ""),
          "vision_cfg.pool_type is \"none\", expected \"tok\" or \"avg\"" },
        { CONFIG("", "", ", \"no_causal_mask\": true", ""), "text_cfg.no_causal_mask is true" },
        { CONFIG("", "", ", \"hf_model_name\": \"roberta\"", ""),
          "text_cfg.hf_model_name is \"roberta\"" },
        { CONFIG("", ", \"ls_init_value\": 0.1", "", ""), "vision_cfg.ls_init_value is 0.1" },
        { CONFIG(", \"init_logit_bias\": -10", "", "", ""), "model_cfg.init_logit_bias is -10" },
        { CONFIG("", ", \"colour\": 3", "", ""),
          "vision_cfg.colour is 3, a key that is not known here" },
        { CONFIG("", ", \"patch_size\": \"x\"", "", ""),
          "vision_cfg.patch_size is \"x\", expected a whole number" },
        { CONFIG("", ", \"patch_size\": [16, 14]", "", ""), "only square pictures" },
        { CONFIG("", "", ", \"heads\": 7", ""), "text_cfg. width 512 does not split into 7 heads" },
        { CONFIG("", "", ", \"layers\": 1000000000", ""),
          "text_cfg.layers is 1000000000, expected 1 to 64" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"resize_mode\": \"squash\"}"),
          "preprocess_cfg.resize_mode is \"squash\"" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"size\": 336}"),
          "preprocess_cfg.size is 336, vision_cfg.image_size 224" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"std\": [0.2, 0, 0.2]}"),
          "a std of 0, expected means of at most 1e6 and stds from 1e-6 to 1e6" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"std\": [0.2, 0.2, -0.2]}"),
          "a std of -0.2, expected" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"std\": [1e300, 1, 1]}"),
          "a std of 1e+300, expected" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"mean\": [0.5, 0.5, -1e300]}"),
          "a mean of -1e+300 and" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"mean\": [0.5, \"nan\", 0.5]}"),
          "preprocess_cfg.mean is [0.5,\"nan\",0.5], expected a list of 3 numbers" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"mean\": [0.5, NaN, 0.5]}"), "not JSON" },
        { CONFIG("", "", "", ", \"preprocess_cfg\": {\"mean\": [0.5, 1e999, 0.5]}"), "not JSON" },
        { CONFIG("", ", \"\\u001b[31mred\\u0007\": \"\\u001b[0m\"", "", ""),
          "vision_cfg.?[31mred? is \"\\u001B[0m\", a key that is not known here" },
        { "{\"model_cfg\": {\"vision_cfg\": {}, \"text_cfg\": {}}}", "embedding width is 0" },
        { "{\"vision_config\": {}}", "vision_config is {}, a key that is not known here" },
        { "{}", "model_cfg is missing" },
        { "[]", "the config is missing or not a JSON object" },
        { "{\"model_cfg\": ", "open_clip_config.json:1: not JSON" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        write_text("open_clip_config.json", bad[k].text);
        assert_false(clip_config_read(&c, place));
        said(bad[k].says);
        assert_null(strpbrk(pith_error(), "\n\033\007")); /* one sentence, and plain */
    }
    assert_false(clip_config_read(&c, "/nowhere"));
    said("/nowhere/open_clip_config.json: No such file");
}

/* ---- files ---- */

static pith_store *made(const clip_config *c, uint64_t seed)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, seed);
    const clip_inputs in = clip_inputs_new(g, c, 1, 2);
    clip_batch(g, c, &in);
    pith_graph_free(g);
    return s;
}

static void models_survive_the_disk(void **state)
{
    (void)state;
    clip_config c = uneven(), back;
    pith_store *s = made(&c, 1), *t = pith_store_new();
    const int extra = 3;
    pith_store_add(s, "loss.siglip.bias", PITH_WEIGHT, PITH_F32, 1, &extra);
    if (!clip_save(&c, s, place)) fail_msg("%s", pith_error());
    if (!clip_load(&back, t, place)) fail_msg("%s", pith_error());
    assert_int_equal(pith_store_count(t), pith_store_count(s) - 1);
    for (int k = 0; k < pith_store_count(t); k++) {
        const pith_tensor *a = pith_store_at(t, k), *b = pith_store_find(s, a->name);
        assert_memory_equal(elements(a), elements(b), sizeof(pith_real) * pith_tensor_size(b));
    }
    pith_store_free(s);
    pith_store_free(t);
}

/* What losses, optimizers and averages keep stays behind, of whatever kind; state of the model's
 * own goes along as state. Averages stand in where there are some, and the store itself is left
 * alone. */
static void exports_go_by_owner(void **state)
{
    (void)state;
    const clip_config c = uneven();
    clip_config back;
    const struct {
        const char *name;
        pith_kind kind;
        pith_real value;
    } more[] = {
        { "visual.running", PITH_STATE, 1 },      { "loss.bank.bank", PITH_STATE, 2 },
        { "loss.bank.gain", PITH_WEIGHT, 3 },     { "adamw.count", PITH_STATE, 4 },
        { "adamw.m/logit_scale", PITH_STATE, 5 }, { "sgd.m/logit_scale", PITH_STATE, 6 },
        { "ema/logit_scale", PITH_STATE, 7 },     { "ema/loss.bank.gain", PITH_STATE, 8 },
    };
    pith_store *s = made(&c, 1), *t = pith_store_new();
    const int weights = pith_store_count(s);
    for (int k = 0; k < 8; k++)
        assert_true(pith_tensor_write(
            pith_store_add(s, more[k].name, more[k].kind, PITH_F32, 0, NULL), &more[k].value));
    if (!clip_save(&c, s, place) || !clip_load(&back, t, place)) fail_msg("%s", pith_error());
    pith_store *plain = clip_own(&c, s, PITH_CPU, false),
               *averaged = clip_own(&c, s, PITH_CPU, true);
    pith_store *const all[3] = { t, plain, averaged };
    const real scale = *(const real *)stored(s, "logit_scale");
    for (int k = 0; k < 3; k++) {
        assert_int_equal(pith_store_count(all[k]), weights + 1);
        for (int i = 0; i < pith_store_count(all[k]); i++) {
            const pith_tensor *own = pith_store_at(all[k], i);
            assert_int_equal(own->kind,
                             strcmp(own->name, "visual.running") ? PITH_WEIGHT : PITH_STATE);
        }
        assert_true(*(const real *)stored(all[k], "visual.running") == 1);
        assert_true(*(const real *)stored(all[k], "logit_scale") == (k == 2 ? 7 : scale));
        pith_store_free(all[k]);
    }
    assert_int_equal(pith_store_count(s), weights + 8);
    pith_store_free(s);
}

static void load_says(const clip_config *c, pith_store *s, const char *says)
{
    char path[256];
    clip_config back;
    pith_store *t = pith_store_new();
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", place);
    assert_true(clip_config_write(c, place) && pith_store_save(s, path, PITH_WEIGHT));
    if (clip_load(&back, t, place)) fail_msg("accepted, expected: %s", says);
    said(says);
    pith_store_free(t);
    pith_store_free(s);
}

static void differences_are_named(void **state)
{
    (void)state;
    const clip_config c = uneven();
    clip_config deeper = c;
    deeper.vision.heads[1] = 1;
    load_says(&deeper, made(&c, 1),
              "6 tensors are missing: visual.transformer.resblocks.1.ln_1.weight, ");
    load_says(&c, made(&deeper, 1),
              "6 tensors are unexpected, since its config does not call for them: "
              "visual.transformer.resblocks.1.ln_1.weight, ");
    deeper = c;
    deeper.embed = 6;
    load_says(&deeper, made(&c, 1),
              "tensor visual.proj has shape (12, 5), its config calls for (12, 6)");
    pith_store *s = made(&c, 1);
    const pith_real nan = NAN;
    assert_true(pith_tensor_write_part(pith_store_find(s, "ln_final.bias"), 2, 1, &nan));
    load_says(&c, s, "tensor ln_final.bias holds NaN or infinity");

    pith_store *slip = made(&c, 1), *copy = pith_store_new();
    for (int k = 0; k < pith_store_count(slip); k++) {
        const pith_tensor *t = pith_store_at(slip, k);
        const char *name = strcmp(t->name, "visual.proj") ? t->name : "visual.prj";
        pith_tensor *to = pith_store_add(copy, name, PITH_WEIGHT, t->dtype, t->ndim, t->dim);
        assert_true(pith_tensor_copy(to, t));
    }
    pith_store_free(slip);
    load_says(&c, copy, "there is no tensor visual.proj, but a similar name, visual.prj");

    pith_store *empty = pith_store_new();
    assert_false(clip_save(&c, empty, place));
    said("cannot save: the store has no visual.class_embedding");
    pith_store_free(empty);
}

/* ---- inheritance ---- */

/* Initial norms and attention biases are all 1 and 0. */
static void stir(pith_store *s)
{
    for (int k = 0; k < pith_store_count(s); k++) {
        pith_tensor *t = pith_store_at(s, k);
        pith_real *x = elements(t);
        for (size_t i = 0; t->ndim && i < pith_tensor_size(t); i++)
            x[i] += (pith_real)(0.3 * sin((double)(i + 7 * (size_t)k)));
        assert_true(pith_tensor_write(t, x));
    }
}

static pith_real at(pith_store *s, const char *name, int row, int column)
{
    const pith_tensor *t = pith_store_find(s, name);
    if (!t) fail_msg("no tensor %s", name);
    return ((pith_real *)elements(t))[row * (t->ndim > 1 ? t->dim[t->ndim - 1] : 1) + column];
}

static void inheritance_takes_front_slices(void **state)
{
    (void)state;
    clip_config big, small, wrong;
    assert_true(clip_config_named(&big, "16/8:w16l5h4+w12l6h3c6v11:e10"));
    assert_true(clip_config_named(&small, "16/8:w8l2h2f20+w12l2h3c6v11:e10"));
    pith_store *t = made(&big, 1), *s = pith_store_new();
    stir(t);
    if (!clip_inherit(&small, s, &big, t, false)) fail_msg("%s", pith_error());
    clip_tensor *list;
    assert_int_equal(pith_store_count(s), clip_tensors(&small, &list));
    free(list);
#define SAME(name, r, c, from, from_r, from_c)                                                     \
    assert_true(at(s, name, r, c) == at(t, from, from_r, from_c))
    SAME("visual.class_embedding", 7, 0, "visual.class_embedding", 7, 0);
    SAME("visual.proj", 7, 9, "visual.proj", 7, 9);
    SAME("visual.conv1.weight", 7 * 24 + 23, 7, "visual.conv1.weight", 7 * 24 + 23, 7);
    SAME("visual.transformer.resblocks.1.mlp.c_fc.weight", 19, 7,
         "visual.transformer.resblocks.2.mlp.c_fc.weight", 19, 7);
    SAME("visual.transformer.resblocks.1.attn.out_proj.weight", 7, 7,
         "visual.transformer.resblocks.2.attn.out_proj.weight", 7, 7);
    /* two of four heads of width 4: query rows 0-7, keys from row 16, values from row 32 */
    SAME("visual.transformer.resblocks.1.attn.in_proj_weight", 7, 3,
         "visual.transformer.resblocks.2.attn.in_proj_weight", 7, 3);
    SAME("visual.transformer.resblocks.1.attn.in_proj_weight", 8, 3,
         "visual.transformer.resblocks.2.attn.in_proj_weight", 16, 3);
    SAME("visual.transformer.resblocks.1.attn.in_proj_weight", 23, 7,
         "visual.transformer.resblocks.2.attn.in_proj_weight", 39, 7);
    SAME("visual.transformer.resblocks.1.attn.in_proj_bias", 16, 0,
         "visual.transformer.resblocks.2.attn.in_proj_bias", 32, 0);
    SAME("transformer.resblocks.1.ln_1.weight", 11, 0, "transformer.resblocks.3.ln_1.weight", 11,
         0);
    SAME("token_embedding.weight", 10, 11, "token_embedding.weight", 10, 11);
    SAME("logit_scale", 0, 0, "logit_scale", 0, 0);

    const struct {
        const char *student, *says;
    } bad[] = {
        { "16/4:w8l2h2+w12l2h3c6v11:e10", "patch size is 4, the teacher's 8" },
        { "24/8:w8l2h2+w12l2h3c6v11:e10", "image size is 24, the teacher's 16" },
        { "16/8:w8l2h2+w12l2h3c6v12:e10", "vocabulary is 12, the teacher's 11" },
        { "16/8:w8l2h2+w12l2h3c7v11:e10", "context length is 7, the teacher's 6" },
        { "16/8:w8l2h2+w12l2h3c6v11:e8", "embedding width is 8, the teacher's 10" },
        { "16/8:w8l2h1+w12l2h3c6v11:e10", "image head width is 8, the teacher's 4" },
        { "16/8:w8l6h2+w12l2h3c6v11:e10", "depth (image 6, text 2) exceeds the teacher's (5, 6)" },
        { "16/8:w20l2h5+w12l2h3c6v11:e10",
          "axis 0 of the student's visual.class_embedding is 20, of the teacher's" },
        { "16/8:w8l2h2+w12l2h3c6v11:e10:quick_gelu",
          "activation (1 is QuickGELU) is 1, the teacher's 0" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        pith_store *none = pith_store_new();
        assert_true(clip_config_named(&wrong, bad[k].student));
        assert_false(clip_inherit(&wrong, none, &big, t, false));
        said(bad[k].says);
        pith_store_free(none);
    }
    pith_store_free(s);
    pith_store_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_papers),          cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(configs_survive_the_disk),       cmocka_unit_test(configs_of_others),
        cmocka_unit_test(models_survive_the_disk),        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(inheritance_takes_front_slices), cmocka_unit_test(exports_go_by_owner),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
