/* test_resnet.c: CLIP's ModifiedResNet against OpenCLIP (tests/golden/README.md), in training with
 * its running figures and outside; its names, sizes, files and inheritance; what refuses it. */
#include "tests.h"
#include "models/models.h"
#include "train/optim.h"

#define FOLDER "tests/golden/"
enum { B = 3, SIDE = 64, PIXELS = B * 3 * SIDE * SIDE, EMBED = 6 };

/* make_resnet.py's inputs. */
static const real *sines(double step, int n)
{
    real *x = copy_room(sizeof *x * (size_t)n);
    for (int k = 0; k < n; k++) x[k] = (real)sin(step * k);
    return x;
}

static pith_store *loaded(clip_config *c)
{
    pith_store *s = pith_store_new();
    if (!clip_load(c, s, FOLDER "openclip-resnet")) fail_msg("%s", pith_error());
    return s;
}

/* Within so much of the largest element of what is wanted. The gradient of a key's bias is 0 but
 * for rounding. */
static void alike(const real *got, const pith_tensor *want, double tolerance)
{
    const real *x = elements(want);
    const size_t n = pith_tensor_size(want);
    double most = 0, worst = 0;
    for (size_t k = 0; k < n; k++) {
        most = fmax(most, fabs((double)x[k]));
        worst = fmax(worst, fabs((double)(got[k] - x[k])));
    }
    if (!(worst <= tolerance * (most + 0.01)))
        fail_msg("%s: %g away, of %g", want->name, worst, most);
}

static void figures_are(pith_store *s, pith_store *want, const char *prefix)
{
    const size_t length = strlen(prefix);
    int count = 0;
    for (int k = 0; k < pith_store_count(want); k++) {
        const pith_tensor *t = pith_store_at(want, k);
        if (strncmp(t->name, prefix, length)) continue;
        const char *name = t->name + length;
        count++;
        if (t->dtype == PITH_F32) alike(stored(s, name), t, 1e-5);
        else assert_int_equal(*(int *)stored(s, name), *(int *)elements(t));
    }
    assert_int_equal(count, 3 * 22);
}

/* A training step on one view or two, which changes nothing but the running figures. */
static void train(pith_store *s, const clip_config *c, pith_store *want, bool twice)
{
    pith_graph *g = pith_graph_new(s, 0);
    pith_set_training(g, true);
    node *pixels = pith_input(g, "pixels", PITH_F32, B, 3, SIDE, SIDE),
         *more = pith_input(g, "more", PITH_F32, B, 3, SIDE, SIDE),
         *image = clip_image(g, c, pixels);
    if (twice) clip_image(g, c, more);
    node *loss = pith_dot(image, pith_const_array(g, PITH_F32, sines(1, B * EMBED), B, EMBED));
    node **params, *out[256];
    const int n = pith_params(g, &params);
    assert_true(n < 200 && pith_grad(loss, n, params, out));
    out[n] = image;
    out[n + 1] = pith_commit(g, NULL);
    pith_plan *p = pith_plan_new(g, n + 2, out, NULL);
    if (!p) fail_msg("%s", pith_error());
    pith_feed(p, pixels, sines(0.37, PIXELS));
    if (twice) pith_feed(p, more, sines(0.53, PIXELS));
    assert_true(pith_run(p));
    alike(value_of(p, image), pith_store_find(want, "trained"), 1e-5);
    for (int k = 0; k < n; k++) {
        char name[96];
        snprintf(name, sizeof name, "grad.%s", params[k]->name);
        const pith_tensor *t = pith_store_find(want, name);
        if (!t) fail_msg("no %s", name);
        alike(value_of(p, out[k]), t, 1e-4);
    }
    figures_are(s, want, twice ? "twice." : "once.");
    pith_plan_free(p);
    pith_graph_free(g);
}

static void it_is_openclips(void **state)
{
    (void)state;
    pith_store *want = pith_store_new();
    assert_true(pith_store_load(want, FOLDER "resnet.safetensors"));
    for (int twice = 0; twice < 2; twice++) {
        clip_config c;
        pith_store *s = loaded(&c);
        pith_graph *g = pith_graph_new(s, 0);
        node *pixels = pith_input(g, "pixels", PITH_F32, B, 3, SIDE, SIDE),
             *image = clip_image(g, &c, pixels);
        pith_plan *p = pith_plan_new(g, 1, &image, NULL);
        pith_feed(p, pixels, sines(0.37, PIXELS));
        assert_true(pith_run(p));
        alike(value_of(p, image), pith_store_find(want, "evaluated"), 1e-5);
        pith_plan_free(p);
        pith_graph_free(g);
        train(s, &c, want, twice);
        pith_store_free(s);
    }
    pith_store_free(want);
}

/* A frozen model in a graph that trains is evaluated, and its figures stay. */
static void a_teacher_is_evaluated(void **state)
{
    (void)state;
    clip_config c;
    pith_store *s = pith_store_new(), *teacher = loaded(&c), *want = pith_store_new();
    assert_true(pith_store_load(want, FOLDER "resnet.safetensors"));
    pith_graph *g = pith_graph_new(s, 0);
    pith_set_training(g, true);
    pith_use_store(g, teacher, "", true);
    node *pixels = pith_input(g, "pixels", PITH_F32, B, 3, SIDE, SIDE),
         *image = clip_image(g, &c, pixels), **updates;
    pith_leave_store(g);
    assert_int_equal(pith_updates(g, &updates), 0);
    pith_plan *p = pith_plan_new(g, 1, &image, NULL);
    pith_feed(p, pixels, sines(0.37, PIXELS));
    assert_true(pith_run(p));
    alike(value_of(p, image), pith_store_find(want, "evaluated"), 1e-5);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    pith_store_free(teacher);
    pith_store_free(want);
}

/* ---- sizes ---- */

static clip_config named(const char *name)
{
    clip_config c;
    if (!clip_config_named(&c, name)) fail_msg("%s", pith_error());
    return c;
}

static pith_store *made(const clip_config *c, uint64_t seed)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, seed);
    const clip_inputs in = clip_inputs_new(g, c, 2, 6);
    clip_batch(g, c, &in);
    if (pith_graph_error(g)) fail_msg("%s", pith_graph_error(g));
    pith_graph_free(g);
    return s;
}

static void counts_are_the_papers(void **state)
{
    (void)state;
    const clip_config c = named("rn50-quickgelu");
    const clip_cost cost = clip_count(&c, 77);
    assert_true(cost.parameters == 102007137 && cost.vision_parameters == 38316896);
    const clip_config larger = named("rn101");
    assert_true(clip_count(&larger, 77).vision_parameters == 56259936);
}

#define STRIDE_1 "16/r1:w4l1.2.1.1+w8l2h2c6v11:e5"
#define STRIDE_2 "32/r2:w2l1.1.1.2+w8l2h2c6v11:e5"
#define STRIDE_4 "64/r4:w4l2.1.1.1+w8l2h2c6v11:e5:quick_gelu"

static void lists_and_work_are_the_graphs(void **state)
{
    (void)state;
    const char *names[] = { STRIDE_1, STRIDE_2, STRIDE_4 };
    for (int k = 0; k < 3; k++) {
        const clip_config c = named(names[k]);
        assert_int_equal(c.image_size / c.patch, 2);
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        const clip_inputs in = clip_inputs_new(g, &c, 3, 12);
        pith_batch b = clip_batch(g, &c, &in);
        pith_plan *p = pith_plan_new(g, 2, (node *[]){ b.image_raw, b.text_raw }, NULL);
        if (!p) fail_msg("%s", pith_error());
        const double found = pith_plan_statistics(p).gemm_flops,
                     wanted = 3 * clip_count(&c, 4).flops_pair;
        if (fabs(found - wanted) > 0.5)
            fail_msg("the plan counts %.0f, clip_count %.0f", found, wanted);
        clip_tensor *list;
        const int n = clip_tensors(&c, &list);
        assert_int_equal(n, pith_store_count(s));
        for (int i = 0; i < n; i++) {
            const pith_tensor *t = pith_store_find(s, list[i].name);
            if (!t) fail_msg("the graph has no %s", list[i].name);
            assert_int_equal(t->kind, list[i].kind);
            assert_int_equal(t->dtype, list[i].dtype);
            assert_int_equal(t->ndim, list[i].ndim);
            assert_memory_equal(t->dim, list[i].dim, sizeof(int) * (size_t)t->ndim);
        }
        free(list);
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

static void initial_values_are_clips(void **state)
{
    (void)state;
    const clip_config c = named("16/r1:w16l1.1.1.1+w8l2h2c6v11:e5");
    pith_store *s = made(&c, 1);
    static const struct {
        const char *name;
        double deviation; /* about 0 */
    } rules[] = {
        { "visual.conv2.weight", 1 / 14.69693846 }, /* 1 / sqrt(3 * 8 * 9) */
        { "visual.layer4.0.conv1.weight", 1 / 27.71281292 },
        { "visual.layer2.0.bn3.weight", 0 },
        { "visual.layer2.0.bn2.weight", 1 },
        { "visual.layer2.0.downsample.1.weight", 1 },
        { "visual.bn3.weight", 1 },
        { "visual.bn3.running_var", 1 },
        { "visual.bn3.running_mean", 0 },
        { "visual.attnpool.positional_embedding", 1 / 22.627417 },
        { "visual.attnpool.k_proj.weight", 1 / 22.627417 },
        { "visual.attnpool.c_proj.weight", 1 / 22.627417 },
        { "visual.attnpool.v_proj.bias", 1 / 39.19183588 },
    };
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        const real *x = stored(s, rules[k].name);
        const size_t n = pith_tensor_size(pith_store_find(s, rules[k].name));
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)(x[i] * x[i]);
        const double found = sqrt(sum / (double)n), slack = 4 / sqrt(2.0 * (double)n);
        if (fabs(found - rules[k].deviation) > slack * rules[k].deviation)
            fail_msg("%s deviates by %.4f, the rule says %.4f", rules[k].name, found,
                     rules[k].deviation);
    }
    pith_store_free(s);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } bad[] = {
        { "32/r3:w4l1.1.1.1+w8l2h2:e5", "stem stride is 3, expected 4, 2 or 1" },
        { "32/r8:w4l1.1.1.1+w8l2h2:e5", "stem stride is 8, expected 1 to 4" },
        { "32/r1:w4l1.1.1+w8l2h2:e5", "expected \".\": a ResNet has four stages, at \"+w8" },
        { "32/r1:w4+w8l2h2:e5", "expected the blocks of a ResNet's stages" },
        { "32/r1:l1.1.1.1+w8l2h2:e5", "expected a width" },
        { "32/r1:w3l1.1.1.1+w8l2h2:e5", "a ResNet of width 3 has 96 channels at last" },
        { "32/r1:w4l1.1.1.99+w8l2h2:e5", "blocks of stage 4 is 99, expected 1 to 64" },
        { "32/r1:w4l1.1.1.1h4+w8l2h2:e5", "expected \"+\" and the text tower at \"h4" },
        { "36/r1:w4l1.1.1.1+w8l2h2:e5",
          "image size 36 is not a multiple of what a ResNet divides it by, 8" },
    };
    clip_config c;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        if (clip_config_named(&c, bad[k].name)) fail_msg("%s was taken", bad[k].name);
        said(bad[k].says);
    }
}

/* ---- files ---- */

static void models_survive_the_disk(void **state)
{
    (void)state;
    static const char *const names[] = { STRIDE_1, STRIDE_2, STRIDE_4 };
    for (int k = 0; k < 3; k++) {
        clip_config c = named(names[k]), back = { 0 };
        pith_store *s = made(&c, 2), *t = pith_store_new();
        const int batches = 41;
        assert_true(
            pith_tensor_write(pith_store_find(s, "visual.bn1.num_batches_tracked"), &batches));
        if (!clip_save(&c, s, path_of("model")) || !clip_load(&back, t, path_of("model")))
            fail_msg("%s", pith_error());
        assert_memory_equal(&c.vision, &back.vision, sizeof c.vision);
        assert_memory_equal(&c.resnet, &back.resnet, sizeof c.resnet);
        assert_int_equal(c.patch, back.patch);
        assert_int_equal(pith_store_count(s), pith_store_count(t));
        for (int i = 0; i < pith_store_count(s); i++) {
            const pith_tensor *a = pith_store_at(s, i), *b = pith_store_find(t, a->name);
            assert_non_null(b);
            assert_int_equal(a->kind, b->kind);
            assert_memory_equal(elements(a), elements(b), pith_tensor_bytes(a));
        }
        pith_store_free(s);
        pith_store_free(t);
        size_t size;
        char *text = slurp(path_of("model/open_clip_config.json"), &size);
        assert_int_equal(strstr(text, "stem_stride") != NULL,
                         k < 2); /* OpenCLIP knows no such key */
        free(text);
    }
}

static void config_says(const char *vision, const char *says)
{
    char text[512];
    clip_config c;
    const int n =
        snprintf(text, sizeof text,
                 "{\"model_cfg\": {\"embed_dim\": 5, \"vision_cfg\": {\"image_size\": 64, %s}, "
                 "\"text_cfg\": {}}}",
                 vision);
    put_bytes(path_of("open_clip_config.json"), text, (size_t)n);
    assert_false(clip_config_read(&c, place));
    said(says);
}

static void bad_configs_are_refused(void **state)
{
    (void)state;
    config_says("\"layers\": [1, 2, 3]",
                "vision_cfg.layers is [1,2,3], expected a list of 4 numbers");
    config_says("\"layers\": [1, 2, 3.5, 1]", "expected four whole numbers");
    config_says("\"layers\": [1, 0, 3, 1]", "blocks of stage 2 is 0, expected 1 to 64");
    config_says("\"layers\": [1, 1, 1, 1], \"stem_stride\": 0",
                "vision_cfg.stem_stride is 0, expected 4, 2 or 1");
    config_says("\"layers\": [1, 1, 1, 1], \"head_width\": 48", "do not split into heads of 48");
    config_says("\"layers\": 3, \"stem_stride\": 1",
                "vision_cfg.stem_stride is 1, and the image tower is no ResNet");
}

/* ---- inheritance, and what refuses a ResNet ---- */

static double element(pith_store *s, const char *name, int i)
{
    return (double)((const real *)stored(s, name))[i];
}

static void the_first_part_is_inherited(void **state)
{
    (void)state;
    const clip_config student = named("16/r1:w4l1.2.1.1+w8l2h2c6v11:e5"),
                      teacher = named("16/r1:w8l2.4.1.2+w16l4h4c6v11:e5");
    pith_store *s = made(&student, 1), *t = made(&teacher, 2);
    static const char *const figures[] = { "visual.layer2.2.bn1.running_mean",
                                           "visual.layer2.2.bn1.running_var" };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 16; i++) {
            const real x = (real)(k + i);
            assert_true(pith_tensor_write_part(pith_store_find(t, figures[k]), (size_t)i, 1, &x));
        }
    const int batches = 7;
    assert_true(pith_tensor_write(pith_store_find(t, "visual.bn1.num_batches_tracked"), &batches));
    if (!clip_inherit(&student, s, &teacher, t, false)) fail_msg("%s", pith_error());
    /* (8, 8, 3, 3) out of (16, 16, 3, 3): element (2, 3, 1, 2) */
    assert_true(element(s, "visual.layer2.1.conv2.weight", ((2 * 8 + 3) * 3 + 1) * 3 + 2) ==
                element(t, "visual.layer2.2.conv2.weight", ((2 * 16 + 3) * 3 + 1) * 3 + 2));
    assert_true(element(s, "visual.layer2.1.bn1.running_mean", 5) == 5 &&
                element(s, "visual.layer2.1.bn1.running_var", 5) == 6);
    assert_int_equal(*(int *)stored(s, "visual.bn1.num_batches_tracked"), 7);
    assert_true(element(s, "visual.attnpool.q_proj.weight", 3 * 128 + 70) ==
                element(t, "visual.attnpool.q_proj.weight", 3 * 256 + 70));
    pith_store_free(s);
    pith_store_free(t);
}

static void what_cannot_be_is_told(void **state)
{
    (void)state;
    const clip_config student = named("16/r1:w4l1.2.1.1+w8l2h2c6v11:e5"),
                      shallow = named("16/r1:w8l2.1.1.2+w16l4h4c6v11:e5"),
                      vit = named("16/8:w64l2+w16l4h4c6v11:e5"),
                      narrow = named("16/r1:w2l1.2.1.1+w8l2h2c6v11:e5");
    pith_store *s = pith_store_new(), *t = made(&narrow, 1);
    clip_config out;
    assert_false(clip_inherit(&student, s, &shallow, s, false));
    said("the student's image tower is r1:w4l1.2.1.1, the teacher's r1:w8l2.1.1.2");
    assert_false(clip_inherit(&student, s, &vit, s, false));
    said("the student's image tower is r1:w4l1.2.1.1, the teacher's a ViT");
    assert_false(clip_inherit(&student, s, &narrow, t, false));
    said("of the student's visual.conv1.weight is 2, of the teacher's visual.conv1.weight only 1");
    assert_false(clip_can_be_pruned(&student));
    said("the image tower is a ResNet, which cannot be pruned");
    assert_false(clip_with_sasp(&student, 1, &out));
    said("the image tower is a ResNet, whose blocks cannot be SAS-P");
    pith_store_free(s);
    pith_store_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_openclips),
        cmocka_unit_test(a_teacher_is_evaluated),
        cmocka_unit_test(counts_are_the_papers),
        cmocka_unit_test(lists_and_work_are_the_graphs),
        cmocka_unit_test(initial_values_are_clips),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(models_survive_the_disk),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(the_first_part_is_inherited),
        cmocka_unit_test(what_cannot_be_is_told),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
