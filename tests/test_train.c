/* test_train.c: the loop on a small task: wherever it is cut off, by Ctrl-C or by kill -9, it ends
 * with the same bits. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "colours.h"
#ifdef PITH_EMULATED
#include "emulator/control.h"
#endif

static const char *self;

/* ---- a run of the colours ---- */

typedef struct {
    int stop_at, bad_from, bad_noted, steps, before, whole;
    bool resume, still; /* still: a learning rate of 0 */
    FILE *log;
    uint64_t seed;
    const char *pack;
} how;

static pith_store *store; /* of the latest training */

static bool train(const char *where, how h, scene *w, pith_train_result *result)
{
    char directory[256];
    strcpy(directory, path_of("%s", where));
    pith_pack *pack = pith_pack_open(h.pack ? h.pack : path_of("pack"));
    assert_non_null(pack);
    pith_tokenizer *tokenizer = pith_tokenizer_train(3, pack->caption, 4);
    pith_store_free(store);
    *w = (scene){ .store = store = new_store(),
                  .stop_at = h.stop_at,
                  .bad_from = h.bad_from,
                  .bad_noted = h.bad_noted };
    const pith_task task = { w, colour_loss, colour_fetch, colour_evaluate, colour_export };
    pith_dataset *dataset = pith_pack_dataset(pack, PITH_TRAIN, SIDE);
    assert_non_null(dataset);
    const pith_loader_options data = { .dataset = dataset,
                                       .tokenizer = tokenizer,
                                       .batch = BATCH,
                                       .context = 20,
                                       .mean = { 0.5, 0.5, 0.5 },
                                       .std = { 0.5, 0.5, 0.5 },
                                       .augment = { .brightness = 0.1, .flip = 0.5 },
                                       .seed = 5,
                                       .shuffle = true,
                                       .threads = 1 };
    const pith_train_options options = {
        .directory = directory,
        .steps = h.steps ? h.steps : STEPS,
        .warmup = 5,
        .lr = h.still ? 0 : 0.01,
        .before = h.before,
        .whole = h.whole,
        .weight_decay = 0.1,
        .beta1 = 0.9,
        .beta2 = 0.98,
        .epsilon = 1e-6,
        .clip_norm = 1,
        .ema = 0.9,
        .evaluate_every = 10,
        .save_every = 4,
        .keep = 2,
        .seed = h.seed ? h.seed : 9,
        .resume = h.resume,
        .record = "{\"command\": \"train\"}",
        .log = h.log,
    };
    const bool good = pith_train(&task, w->store, &data, &options, result);
    pith_tokenizer_free(tokenizer);
    pith_dataset_close(dataset);
    pith_pack_close(pack);
    return good;
}

static const how plain = { .stop_at = -1, .bad_from = -1 };

/* ---- what a run left ---- */

/* Times are cut out of the lines of metrics.jsonl. */
static char *timeless(const char *directory)
{
    size_t size;
    char *text = slurp(path_of("%s/metrics.jsonl", directory), &size), *to = text;
    for (const char *from = text; *from;) {
        if (strncmp(from, "\"seconds\":", 10) == 0)
            for (from += 10; strchr("0123456789.e+-", *from);) from++;
        else *to++ = *from++;
    }
    *to = 0;
    return text;
}

static void same_file(const char *a, const char *b)
{
    size_t m, n;
    char *x = slurp(a, &m), *y = slurp(b, &n);
    if (m != n) fail_msg("%s has %zu bytes, %s has %zu", a, m, b, n);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void same_runs(const char *a, const char *b)
{
    same_file(path_of("%s/latest/weights.safetensors", a),
              path_of("%s/latest/weights.safetensors", b));
    same_file(path_of("%s/model.safetensors", a), path_of("%s/model.safetensors", b));
    same_file(path_of("%s/best/model.safetensors", a), path_of("%s/best/model.safetensors", b));
    char *x = timeless(a), *y = timeless(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* ---- tests ---- */

static void rates(void **state)
{
    (void)state;
    near(pith_lr(PITH_COSINE, 2, 0, 4, 100), 0.5);
    near(pith_lr(PITH_COSINE, 2, 3, 4, 100), 2);
    near(pith_lr(PITH_COSINE, 2, 4, 4, 100), 2);
    near(pith_lr(PITH_COSINE, 2, 52, 4, 100), 1);
    assert_true(pith_lr(PITH_COSINE, 2, 99, 4, 100) < 0.001);
    near(pith_lr(PITH_COSINE, 2, 100, 4, 100), 0);
    near(pith_lr(PITH_CONSTANT_LR, 2, 1, 4, 100), 1);
    near(pith_lr(PITH_CONSTANT_LR, 2, 99, 4, 100), 2);
    near(pith_lr(PITH_COSINE, 2, 0, 0, 10), 2);
    near(pith_lr(PITH_COSINE, 2, 10, 10, 10), 0); /* nothing but warm-up */
}

/* The run that all others are compared with. */
static void learns(void **state)
{
    (void)state;
    scene w;
    pith_train_result r;
    char *log = NULL;
    size_t size;
    how h = plain;
    h.log = open_memstream(&log, &size);
    if (!train("whole", h, &w, &r)) fail_msg("%s", pith_error());
    fclose(h.log);
    assert_int_equal(r.steps, STEPS);
    assert_false(r.interrupted);
    assert_true(r.loss < 0.9); /* it starts at log(3) = 1.0986 */
    assert_true(w.n_sizes > 1);
    assert_non_null(strstr(log, "not trained, since the loss does not reach it: idle\n"));
    assert_null(strstr(strstr(log, "idle") + 1, "idle"));
    assert_non_null(strstr(log, "10/40  loss"));
    const real *idle = stored(w.store, "idle");
    assert_true(idle[0] == 1 && idle[1] == 1);
    char *lines = timeless("whole");
    assert_non_null(strstr(lines, "\"activity\":"));
    assert_non_null(strstr(lines, "{\"step\":40,\"figure\":"));
    char *json = slurp(path_of("whole/run.json"), &size);
    assert_non_null(strstr(json, "\"command\": \"train\""));
    assert_non_null(strstr(json, "\"hash\""));
    assert_int_equal(access(path_of("whole/step-36/state.json"), F_OK), 0);
    assert_int_equal(access(path_of("whole/step-32"), F_OK), -1);
    assert_false(train("whole", plain, &w, &r));
    said("holds a run already");
    free(json);
    free(lines);
    free(log);
}

static void goes_on(void **state)
{
    (void)state;
    static const int stops[] = { 0, 3, 9, 20, 38 };
    for (int k = 0; k < 5; k++) {
        char kept[256], *log = NULL;
        size_t size;
        snprintf(kept, sizeof kept, "cut-%d", stops[k]);
        scene w;
        pith_train_result r;
        how h = plain;
        h.stop_at = stops[k];
        h.log = open_memstream(&log, &size);
        assert_true(train(kept, h, &w, &r));
        fclose(h.log);
        assert_true(r.interrupted);
        assert_int_equal(r.steps, stops[k] + 1);
        assert_non_null(strstr(strstr(log, "which is saved in "), path_of("%s", kept)));
        free(log);
        h = plain;
        h.resume = true;
        if (!train(kept, h, &w, &r)) fail_msg("%s", pith_error());
        assert_int_equal(w.steps, STEPS - stops[k] - 1);
        same_runs(kept, "whole");
        assert_true(train(kept, h, &w, &r)); /* a run that is complete stays as it is */
        assert_int_equal(w.steps, 0);
        same_runs(kept, "whole");
    }
}

static double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Starts a run, or goes on with it, and kills it after `seconds` (0: never). True if it came to its
 * end. */
static bool live(const char *directory, double seconds)
{
    int status;
    const pid_t child = fork();
    if (!child) {
        /* threads do not survive a fork: begin anew */
        execl(self, self, "--run", place, directory, (char *)NULL);
        _exit(127);
    }
    if (seconds > 0) {
        nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds,
                                      .tv_nsec = (long)(1e9 * fmod(seconds, 1)) },
                  NULL);
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return !WIFSIGNALED(status);
}

/* Kills within the time that a run takes; whenever one comes to its end, another begins. */
static void survives_kills(void **state)
{
    (void)state;
    char directory[256];
    int kills = 0, ends = 0;
    const double begin = clock_now();
    strcpy(directory, "killed-0");
    assert_true(live(directory, 0));
    const double whole = clock_now() - begin;
    for (uint64_t k = 0; kills < 20 || ends == 0; k++) {
        snprintf(directory, sizeof directory, "killed-%d", ends + 1);
        if (!live(directory, kills < 20
                                 ? 0.001 + whole * pith_uniform_at((uint64_t)(1e6 * begin), 0, k)
                                 : 0)) {
            kills++;
            continue;
        }
        same_runs(directory, "whole");
        ends++;
    }
}

/* A later stage goes on with the batches, random numbers and progress of the ones before: where
 * nothing is learned, its losses are those of one long run. */
static void stages_go_on(void **state)
{
    (void)state;
    scene w;
    pith_train_result whole, part, first;
    how h = plain;
    h.still = true, h.steps = 8;
    assert_true(train("still", h, &w, &whole));
    h.steps = 3;
    assert_true(train("still-first", h, &w, &first));
    h.before = 5, h.whole = 8;
    assert_true(train("still-part", h, &w, &part));
    assert_true(part.loss == whole.loss && first.loss != whole.loss);
}

static void skips_what_is_not_finite(void **state)
{
    (void)state;
    scene w;
    pith_train_result r;
    how h = plain;
    h.bad_from = 3;
    h.steps = 10;
    assert_true(train("some-bad", h, &w, &r));
    assert_int_equal(r.skipped, 7);
    near((double)*(const real *)stored(w.store, "adamw.count"), 3);
    h.steps = 200;
    assert_false(train("all-bad", h, &w, &r));
    said("step 103: 100 steps in a row had no finite gradient");
    h = plain; /* finite gradients, but what a state is to become is not */
    h.bad_noted = 4;
    h.steps = 10;
    assert_true(train("bad-update", h, &w, &r));
    assert_int_equal(r.skipped, 4);
    near((double)*(const real *)stored(w.store, "adamw.count"), 6);
    near((double)*(const real *)stored(w.store, "noted"), 1);
}

static void refuses_another_run(void **state)
{
    (void)state;
    scene w;
    pith_train_result r;
    how h = plain;
    h.resume = true;
    h.seed = 10;
    assert_false(train("whole", h, &w, &r));
    said("its checkpoint has seed 9, this run has 10");
    h.seed = 9;
    h.steps = 30;
    assert_false(train("whole", h, &w, &r));
    said("is of step 40, but the run has 30 steps");
    char other[256];
    strcpy(other, path_of("other-pack"));
    pith_packer *p = pith_packer_new(other, SIDE);
    uint8_t rgb[3 * SIDE * SIDE] = { 0 };
    for (int i = 0; i < BATCH; i++)
        assert_true(pith_packer_add(p, rgb, i % 2 ? "x" : "y", "drawn", "train", 0));
    assert_true(pith_packer_finish(p));
    h = plain;
    h.steps = -1;
    assert_false(train("empty", h, &w, &r));
    said("a training of -1 steps: expected at least 1");
    h = plain;
    h.resume = true;
    h.pack = other;
    assert_false(train("whole", h, &w, &r));
    said("its checkpoint was trained on data with the hash ");
    h.pack = NULL;
    assert_false(train("nowhere", h, &w, &r));
    said("there is no checkpoint");
}

static int setup(void **state)
{
    if (make_place(state)) return -1;
    make_pack(path_of("pack"));
    return 0;
}

static int teardown(void **state)
{
    pith_store_free(store);
    return remove_place(state);
}

int main(int argc, char **argv)
{
    self = argv[0];
#ifdef PITH_EMULATED
    emulator_shadow = false; /* kernels are watched elsewhere */
#endif
    if (argc == 4 && strcmp(argv[1], "--run") == 0) { /* what survives_kills starts and kills */
        scene w;
        pith_train_result r;
        how h = plain;
        snprintf(place, sizeof place, "%s", argv[2]);
        h.resume = pith_checkpoint_exists(path_of("%s", argv[3]));
        const bool good = train(argv[3], h, &w, &r);
        pith_store_free(store);
        return !good;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(learns),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(survives_kills),
        cmocka_unit_test(stages_go_on),
        cmocka_unit_test(skips_what_is_not_finite),
        cmocka_unit_test(refuses_another_run),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
