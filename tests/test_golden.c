/* test_golden.c: a small CLIP against PyTorch and OpenCLIP (tests/golden/README.md tells how the
 * tensors were made): outputs, losses, every gradient, and ten AdamW steps. The double build within
 * 1e-8; the float build within 1e-4. */
#include "tests.h"
#include "train/optim.h"
#include "losses/losses.h"
#include "models/models.h"

#define FOLDER "tests/golden/"
enum { B = 6, T = 8 };
static const bool is_double = sizeof(real) == 8;

typedef struct {
    pith_store *weights, *teacher, *in, *want;
    pith_graph *g;
    clip_config config;
    clip_inputs inputs;
    pith_batch batch;
    node *loss, **params, **gradients;
    int n;
    real pixels[B * 3 * 16 * 16];
    int ids[B * T], positions[B * T], offsets[B + 1], last[B];
} golden;

static clip_config student_config(bool quick_gelu)
{
    clip_config c = clip_config_uniform(16, 4, 16, 2, 8, T, 40, 12, 2, 3, 12);
    for (int k = 0; k < 2; k++) c.vision.ffn[k] = 32, c.text.ffn[k] = 24;
    c.quick_gelu = quick_gelu;
    return c;
}

static clip_config teacher_config(void)
{
    clip_config c = clip_config_uniform(16, 8, 12, 1, 4, T, 40, 8, 1, 2, 10);
    c.vision.ffn[0] = 48;
    c.text.ffn[0] = 32;
    return c;
}

static pith_store *load(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    pith_store *s = pith_store_new();
    if (!pith_store_load(s, path)) fail_msg("%s", pith_error());
    return s;
}

/* Each caption is cut after its largest id, and the captions laid one after another. */
static int pack(golden *t)
{
    const int *ids = stored(t->config.bidirectional ? t->want : t->in, "input_ids");
    int n = 0;
    for (int b = 0; b < B; b++) {
        int end = 0;
        for (int k = 1; k < T; k++)
            if (ids[b * T + k] > ids[b * T + end]) end = k;
        t->offsets[b] = n;
        for (int k = 0; k <= end; k++, n++) t->ids[n] = ids[b * T + k], t->positions[n] = k;
        t->last[b] = n - 1;
    }
    return t->offsets[B] = n;
}

static void feed(const golden *t, pith_plan *p)
{
    pith_feed(p, t->inputs.pixels, t->pixels);
    pith_feed(p, t->inputs.ids, t->ids);
    pith_feed(p, t->inputs.positions, t->positions);
    pith_feed(p, t->inputs.offsets, t->offsets);
    pith_feed(p, t->inputs.last, t->last);
}

/* `spec` NULL: InfoNCE by hand, else as the command line says it. */
static golden begin(const char *expected, const char *spec, bool quick_gelu)
{
    golden t = { .weights = load("student"),
                 .teacher = load("teacher"),
                 .in = load("inputs"),
                 .want = load(expected),
                 .config = student_config(quick_gelu) };
    const pith_tensor *pixels = pith_store_find(t.in, "pixel_values");
    assert_int_equal(pith_tensor_bytes(pixels), sizeof t.pixels);
    assert_true(pith_tensor_read(pixels, t.pixels));
    t.config.mean_pooling = t.config.bidirectional = pith_store_find(t.want, "input_ids") != NULL;
    t.g = pith_graph_new(t.weights, 0);
    t.inputs = clip_inputs_new(t.g, &t.config, B, pack(&t));
    t.batch = clip_batch(t.g, &t.config, &t.inputs);
    const clip_config teacher = teacher_config();
    pith_use_store(t.g, t.teacher, "", true);
    const pith_batch other = clip_batch(t.g, &teacher, &t.inputs);
    pith_leave_store(t.g);
    pith_teacher *one = pith_add_teacher(&t.batch, teacher.embed);
    one->image = pith_detach(other.image);
    one->text = pith_detach(other.text);
    one->scale = pith_detach(other.scale);
    pith_loss_spec *parsed = pith_loss_parse(spec, "build");
    assert_non_null(parsed);
    t.loss = pith_loss_build(parsed, &t.batch);
    pith_loss_free(parsed);
    t.n = pith_params(t.g, &t.params);
    t.gradients = calloc((size_t)t.n, sizeof *t.gradients);
    assert_true(pith_grad(t.loss, t.n, t.params, t.gradients));
    assert_null(pith_graph_error(t.g));
    return t;
}

static void end(golden *t)
{
    pith_graph_free(t->g);
    pith_store_free(t->weights);
    pith_store_free(t->teacher);
    pith_store_free(t->in);
    pith_store_free(t->want);
    free(t->gradients);
}

static double largest(const real *x, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

/* |a - b| within `tolerance` times `scale`. */
static void close_to(const char *name, const real *a, const real *b, size_t n, double scale,
                     double tolerance)
{
    double error = 0;
    for (size_t i = 0; i < n; i++) error = fmax(error, fabs((double)(a[i] - b[i])));
    if (!(error <= tolerance * scale))
        fail_msg("%s is off by %g, allowed %g", name, error, tolerance * scale);
}

static void check_outputs(golden *t, pith_plan *p, node *const *out, const char *const *names,
                          int n)
{
    for (int k = 0; k < n; k++) {
        const pith_tensor *want = pith_store_find(t->want, names[k]);
        assert_non_null(want);
        close_to(names[k], value_of(p, out[k]), elements(want), pith_tensor_size(want),
                 fmax(1, largest(elements(want), pith_tensor_size(want))), is_double ? 1e-8 : 1e-4);
    }
}

/* A gradient's scale is the larger of its own largest entry and a thousandth of the model's: a key
 * bias has an exactly zero gradient. */
static void check_gradients(golden *t, pith_plan *p)
{
    double model = 0;
    char name[300];
    for (int k = 0; k < pith_store_count(t->want); k++) {
        const pith_tensor *x = pith_store_at(t->want, k);
        if (strncmp(x->name, "grad.", 5) == 0)
            model = fmax(model, largest(elements(x), pith_tensor_size(x)));
    }
    int seen = 0;
    for (int k = 0; k < t->n; k++) {
        snprintf(name, sizeof name, "grad.%s", t->params[k]->name);
        const pith_tensor *want = pith_store_find(t->want, name);
        if (!want) fail_msg("%s has no golden gradient", name);
        assert_int_equal(pith_tensor_size(want), pith_size(t->gradients[k]));
        const double scale = fmax(largest(elements(want), pith_tensor_size(want)), model / 1000);
        close_to(name, value_of(p, t->gradients[k]), elements(want), pith_tensor_size(want), scale,
                 is_double ? 1e-8 : 1e-4);
        seen++;
    }
    for (int k = 0; k < pith_store_count(t->want); k++)
        seen -= strncmp(pith_store_at(t->want, k)->name, "grad.", 5) == 0;
    assert_int_equal(seen, 0);
}

static void compare(const char *expected, const char *spec, bool quick_gelu)
{
    golden t = begin(expected, spec, quick_gelu);
    node *out[128] = { t.batch.image, t.batch.text,
                       pith_mul(pith_matmul_nt(t.batch.image, t.batch.text), t.batch.scale),
                       t.loss };
    const char *names[4] = { "image_embeds", "text_embeds", "logits_per_image", "loss" };
    for (int k = 0; k < t.n; k++) out[4 + k] = t.gradients[k];
    if (strcmp(expected, "affinity50") == 0) names[2] = NULL;
    pith_plan *p = pith_plan_new(t.g, 4 + t.n, out, NULL);
    assert_non_null(p);
    feed(&t, p);
    assert_true(pith_run(p));
    check_outputs(&t, p, out, names, names[2] ? 3 : 2);
    check_outputs(&t, p, out + 3, names + 3, 1);
    check_gradients(&t, p);
    pith_plan_free(p);
    end(&t);
}

static void infonce(void **state) { (void)state, compare("infonce", "clip", false); }
static void affinity(void **state) { (void)state, compare("affinity", "affinity", false); }
static void affinity_scale_50(void **state)
{
    (void)state, compare("affinity50", "affinity:scale=50", false);
}
static void pooling(void **state) { (void)state, compare("pooling", "clip", false); }
static void quick_gelu(void **state) { (void)state, compare("quick_gelu", "clip", true); }

/* Ten steps; parameters are compared in double only, since Adam turns the rounding of a zero
 * gradient into full steps. */
static void train(const char *expected, const char *spec)
{
    golden t = begin(expected, spec, false);
    const pith_adamw_options o = { 0.9, 0.98, 1e-6, 0.2 };
    node *out[2] = { t.loss,
                     pith_adamw(t.n, t.params, t.gradients, pith_const(t.g, 1e-3), o, NULL) };
    pith_plan *p = pith_plan_new(t.g, 2, out, NULL);
    assert_non_null(p);
    feed(&t, p);
    const real *losses = stored(t.want, "step_losses");
    for (int k = 0; k < 10; k++) {
        assert_true(pith_run(p));
        const real loss = (real)pith_scalar(p, t.loss);
        close_to("a step's loss", &loss, &losses[k], 1, 1, is_double ? 1e-8 : 1e-4);
    }
    for (int k = 0; k < t.n && is_double; k++) {
        char name[300];
        snprintf(name, sizeof name, "after.%s", t.params[k]->name);
        const pith_tensor *want = pith_store_find(t.want, name),
                          *have = pith_store_find(t.weights, t.params[k]->name);
        assert_non_null(want);
        close_to(name, elements(have), elements(want), pith_tensor_size(want), 1, 1e-8);
    }
    pith_plan_free(p);
    end(&t);
}

static void ten_steps_infonce(void **state) { (void)state, train("infonce", "clip"); }
static void ten_steps_affinity(void **state) { (void)state, train("affinity", "affinity"); }

#ifndef PITH_DOUBLE
/* The program itself on a model that OpenCLIP wrote: embeddings, logits, loss and every gradient.
 */
static void run_command(const char *loss, const char *options)
{
    char command[512], name[300];
    snprintf(command, sizeof command,
             "%s run " FOLDER "openclip " FOLDER
             "openclip-in.safetensors build/openclip-out.safetensors "
             "--grad %s >build/openclip-run.log 2>&1",
             getenv("PITH") ? getenv("PITH") : "build/pith", options);
    if (system(command)) fail_msg("failed, see build/openclip-run.log: %s", command);
    pith_store *want = load("openclip-out"), *have = pith_store_new();
    assert_true(pith_store_load(have, "build/openclip-out.safetensors"));
    double model = 0;
    int gradients = 0;
    for (int k = 0; k < pith_store_count(want); k++) {
        const pith_tensor *x = pith_store_at(want, k);
        if (strstr(x->name, loss) == x->name && strstr(x->name, ".grad."))
            model = fmax(model, largest(elements(x), pith_tensor_size(x)));
    }
    for (int k = 0; k < pith_store_count(have); k++) {
        const pith_tensor *x = pith_store_at(have, k);
        const bool gradient = strncmp(x->name, "grad.", 5) == 0,
                   of_loss = gradient || strcmp(x->name, "loss") == 0;
        snprintf(name, sizeof name, "%s%s%s", of_loss ? loss : "", of_loss ? "." : "", x->name);
        const pith_tensor *y = pith_store_find(want, name);
        if (!y) fail_msg("OpenCLIP has no %s", name);
        const size_t n = pith_tensor_size(y);
        assert_int_equal(pith_tensor_size(x), n);
        const double own = largest(elements(y), n);
        close_to(name, elements(x), elements(y), n,
                 gradient ? fmax(own, model / 1000) : fmax(own, 1), 1e-4);
        gradients += gradient;
    }
    for (int k = 0; k < pith_store_count(want); k++) {
        snprintf(name, sizeof name, "%s.grad.", loss);
        gradients -= strncmp(pith_store_at(want, k)->name, name, strlen(name)) == 0;
    }
    assert_int_equal(gradients, 0);
    pith_store_free(want);
    pith_store_free(have);
}

static void run_infonce(void **state) { (void)state, run_command("infonce", "--loss clip"); }
static void run_affinity(void **state)
{
    (void)state;
    run_command("affinity", "--loss affinity --teacher " FOLDER "openclip-teacher");
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infonce),
        cmocka_unit_test(affinity),
        cmocka_unit_test(affinity_scale_50),
        cmocka_unit_test(quick_gelu),
        cmocka_unit_test(pooling),
        cmocka_unit_test(ten_steps_infonce),
        cmocka_unit_test(ten_steps_affinity),
#ifndef PITH_DOUBLE
        cmocka_unit_test(run_infonce),
        cmocka_unit_test(run_affinity),
#endif
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
