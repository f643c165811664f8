/* test_device_graphs.c: the trainings of the papers on a device of its own, beside the CPU; that
 * whatever can be trained can be planned there; without NVRTC and without cuBLASLt; and the bytes
 * that are taken beside those that were planned. */
#include <sys/wait.h>
#include "device_training.h"
#ifdef PITH_EMULATED
#include "cuda/blas.h"
#endif

static void trainings_agree(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < sizeof papers_trained / sizeof *papers_trained; k++)
        agree(&papers_trained[k]);
}

#ifdef PITH_EMULATED
/* Buffers as they are taken: in units of 256 bytes. */
static size_t taken(size_t bytes) { return (bytes + 255) / 256 * 256; }

/* What the planner says a plan wants on the device, beside what is taken there: of a large one,
 * which has a slab alone, exactly; running it takes nothing more, and all is given back. */
static void bytes_as_planned(void **unused)
{
    (void)unused;
    const size_t before = emulator_in_use();
    pith_store *store = store_on_device();
    pith_graph *g = pith_graph_new(store, 1);
    pith_node *w = pith_param(g, "w", PITH_NORMAL, 1, 5 << 20);
    const size_t weights = emulator_in_use() - before;
    assert_int_equal(weights, taken(pith_size(w) * sizeof(float)));
    pith_node *outputs[] = { pith_softmax(pith_reshape(w, 5120, 1024)), pith_exp(w) };
    pith_plan *p = pith_plan_new(g, 2, outputs, NULL);
    if (!p) fail_msg("%s", pith_error());
    const size_t arena = pith_plan_statistics(p).arena, all = emulator_in_use() - before;
    print_message("planned are %zu bytes, taken %zu\n", arena, all - weights);
    assert_true(arena > (size_t)16 << 20);
    assert_int_equal(all - weights, taken(arena));
    emulator_shadow = false;
    for (int k = 0; k < 3; k++) assert_true(pith_run(p)); /* one by one, noted, repeated */
    assert_int_equal(emulator_in_use() - before, all);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(store);
    assert_int_equal(emulator_in_use(), before);
}

/* A CLIP whose arena has a slab alone in either precision: in bf16 less is planned, and less is
 * taken. */
static void bf16_takes_less(void **unused)
{
    (void)unused;
    static const subject s = { .model = "224/16:w128l4h2+w64l2h1c16v100:e32", .loss = "clip" };
    size_t arena[2];
    emulator_guard = false; /* it takes most of the time, and nothing is run */
    for (int bf16 = 0; bf16 < 2; bf16++) {
        training t = build(store_on_device(), &s);
        const size_t before = emulator_in_use();
        t.plan = pith_plan_new(t.g, t.n_outputs, t.outputs, &(pith_plan_options){ .bf16 = bf16 });
        if (!t.plan) fail_msg("%s", pith_error());
        arena[bf16] = pith_plan_statistics(t.plan).arena;
        assert_int_equal(emulator_in_use() - before, taken(arena[bf16]));
        end(&t);
    }
    emulator_guard = true;
    print_message("a CLIP in bf16 takes %zu bytes, in f32 %zu\n", arena[1], arena[0]);
    assert_true(arena[1] > (size_t)16 << 20 && (double)arena[1] < 0.8 * (double)arena[0]);
}

/* ---- in processes of their own: which libraries there are is found out once ---- */

static const subject a_clip = { .name = "a CLIP", .model = VIT, .loss = "clip" };

static const char *tried;
static void give_up(const char *message, void *unused)
{
    (void)unused;
    fprintf(stderr, "%s: %s\n", tried, message);
    _exit(1);
}

/* Before OpenMP's threads are there, which no fork has. Every error ends the process, and is seen
 * here. */
static void in_a_process(void (*f)(const char *), const char *nvrtc)
{
    int status;
    pith_store_free(store_on_device());
    const pid_t child = fork();
    if (child == 0) {
        pith_on_error(give_up, NULL);
        emulator_nvrtc = nvrtc;
        f(path_of("unfused"));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status) fail_msg("without NVRTC: status %x", (unsigned)status);
}

static void must(bool good, const char *what)
{
    if (!good) give_up(what, NULL);
}

static void train_unfused(const char *path)
{
    const subject *s = &a_clip;
    tried = "unfused";
    training t = prepare(pith_store_new_on(PITH_CUDA), s, false);
    must(pith_plan_statistics(t.plan).fused == 0, "chains without a compiler");
    must(try_run(&t), "a step that is not finite");
    must(pith_store_save(t.store, path, PITH_ANY), "");
    put_bytes(path_of("losses"), t.losses, sizeof t.losses);
}

/* Where NVRTC is not there, or is not what it should be, nothing is said, and the training is that
 * of chains, but for how their numbers are rounded. */
static void without_nvrtc(void **unused)
{
    (void)unused;
    static const char *const files[] = { "libnvrtc-not-here.so", "libm.so.6" };
    double losses[2][STEPS];
    pith_store *unfused[2];
    for (int k = 0; k < 2; k++) {
        size_t size;
        in_a_process(train_unfused, files[k]);
        char *bytes = slurp(path_of("losses"), &size);
        memcpy(losses[k], bytes, sizeof losses[k]);
        free(bytes);
        unfused[k] = pith_store_new();
        if (!pith_store_load(unfused[k], path_of("unfused"))) fail_msg("%s", pith_error());
    }
    training t = train(store_on_device(), &a_clip);
    const char *where = "";
    assert_true(pith_plan_statistics(t.plan).fused > 100);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < STEPS; i++)
            if (!(fabs(losses[k][i] - t.losses[i]) <= 1e-6 * t.losses[i]))
                fail_msg("without %s: the loss of step %d is %.8g, with it %.8g", files[k], i,
                         losses[k][i], t.losses[i]);
        const double worst = compare_stores(t.store, unfused[k], &where);
        if (!(worst <= 2e-6)) fail_msg("without %s: %s is off by %g", files[k], where, worst);
        print_message("without %s: weights within %.1e\n", files[k], worst);
        pith_store_free(unfused[k]);
    }
    end(&t);
}

/* ---- all that can be trained is planned ---- */

static int planned;
static void plan(subject s)
{
    emulator_guard = false; /* it takes most of the time, and nothing is run */
    s.name = tried = s.loss;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        s.bf16 = bf16;
        training t = prepare(pith_store_new_on(PITH_CUDA), &s, false);
        must(t.plan, "there is no plan");
        end(&t);
        planned++;
    }
}

/* Each loss of the table, each of its options set to what it is not by default. */
static void plan_losses(const char *unused)
{
    (void)unused;
    static const char *const more[] = { "cluster:margin=0.3,true=1", "cluster:rate=0.5,kl=0",
                                        "clip@0-0.5+2*affinity@0.5-1" };
    for (const pith_loss_entry *e = pith_losses; e->name; e++) {
        plan((subject){ .model = VIT, .loss = e->name });
        for (const char *at = e->options; at && *at; at = strstr(at, "; ")) {
            char key[32], loss[80];
            double usual;
            at += strspn(at, "; ");
            if (sscanf(at, "%31[a-z_]=%lf", key, &usual) != 2) continue; /* of a meaning */
            snprintf(loss, sizeof loss, "%s:%s=%g", e->name, key, usual == 1 ? 0.5 : 1);
            plan((subject){ .model = VIT, .loss = loss });
        }
    }
    for (size_t k = 0; k < sizeof more / sizeof *more; k++)
        plan((subject){ .model = VIT, .loss = more[k] });
    must(planned >= 80, "so few");
}

/* Whatever the notation of sizes can say, and each optimizer. */
static void plan_models(const char *unused)
{
    (void)unused;
    static const char *const models[] = {
        VIT ":quick_gelu",
        "15/5:w15l1h3f7m1+w9l1h3f5c7v41b1:e5",
        "8/4:w16l2h2s1+w16l2h2p2c8v40:e8",
        "32/r1:w4l1.2.1.1+w16l1h2c8v40:e8",
        "32/r2:w4l1.1.1.1+w16l1h2c8v40:e8:quick_gelu",
        "32/r4:w4l1.1.1.2+w16l1h2c8v40:e8",
    };
    for (size_t k = 0; k < sizeof models / sizeof *models; k++)
        for (int second = 0; second < 2; second++)
            plan((subject){ .model = models[k], .loss = second ? "clip+slip" : "clip" });
    plan((subject){ .model = "16/4:w16l1h2+w16l1h2c8v40:e8", .loss = "clip+slip", .masked = 0.5 });
    plan((subject){ .model = VIT, .loss = "clip", .pruned = VIT });
    plan((subject){ .model = VIT, .loss = "clip", .sgd = true, .ema = 0.9 });
    plan((subject){ .model = VIT, .loss = "clip+cluster", .sgd = true, .ema = 0.9 });
}

static void everything_is_planned(void **unused)
{
    (void)unused;
    in_a_process(plan_losses, "libnvrtc-not-here.so");
    in_a_process(plan_models, "libnvrtc-not-here.so");
}

/* ---- without cuBLASLt there are no products, and no plan ---- */

static void without_cublaslt(void **unused)
{
    (void)unused;
    static const char *const files[][2] = {
        { "libcublasLt-not-here.so", "matrix products on CUDA want cuBLASLt 12 or later: there is "
                                     "no libcublasLt.so.13 or libcublasLt.so.12 among the "
                                     "libraries here" },
        { "libm.so.6", "matrix products on CUDA want cuBLASLt 12 or later: the one here has no "
                       "cublasLtGetVersion" },
    };
    pith_cuda_blas_close();
    pith_on_error(count_reports, NULL);
    for (int k = 0; k < 2; k++) {
        reports = 0;
        emulator_cublaslt = files[k][0];
        training t = prepare(store_on_device(), &a_clip, false);
        assert_null(t.plan);
        assert_int_equal(reports, 1);
        assert_string_equal(pith_error(), files[k][1]);
        end(&t);
    }
    pith_on_error(test_handler, NULL);
    emulator_cublaslt = NULL;
    training t = prepare(store_on_device(), &a_clip, false);
    assert_non_null(t.plan);
    end(&t);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef PITH_EMULATED
        cmocka_unit_test(everything_is_planned), /* first: NVRTC is not there yet */
        cmocka_unit_test(without_nvrtc),         cmocka_unit_test(without_cublaslt),
        cmocka_unit_test(bytes_as_planned),      cmocka_unit_test(bf16_takes_less),
#endif
        cmocka_unit_test(trainings_agree),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
