/* test_train_files.c: what training leaves on disk: checkpoints that are damaged, lying or cut off
 * by a full disk, and a teacher's stored rows. */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests.h"
#include "train/train.h"

static void there(const char *name, bool wanted)
{
    if ((access(path_of("%s", name), F_OK) == 0) != wanted)
        fail_msg("%s is %s", name, wanted ? "missing" : "still there");
}

static int entries(const char *directory)
{
    int n = 0;
    DIR *d = opendir(directory);
    while (d && readdir(d)) n++;
    closedir(d);
    return n - 2;
}

/* ---- checkpoints ---- */

enum { SIZE = 500 };

static pith_store *store_of(double value)
{
    static const int dim = SIZE;
    pith_store *s = pith_store_new();
    const int count = (int)value;
    real w[SIZE];
    for (int i = 0; i < SIZE; i++) w[i] = (real)(value + i);
    assert_true(pith_tensor_write(pith_store_add(s, "w", PITH_WEIGHT, PITH_F32, 1, &dim), w));
    assert_true(
        pith_tensor_write(pith_store_add(s, "count", PITH_STATE, PITH_I32, 0, NULL), &count));
    return s;
}

static bool save(int64_t step, const char *json)
{
    pith_store *s = store_of((double)step);
    json_t *state = json_loads(json, 0, NULL);
    const bool good = pith_checkpoint_save(place, step, 2, s, state);
    json_decref(state);
    pith_store_free(s);
    return good;
}

/* The step that is found, -1 for none; log: what was told meanwhile. */
static int64_t load(char **log)
{
    static char text[2000];
    int64_t step;
    json_t *state;
    pith_store *s = pith_store_new();
    FILE *f = fmemopen(text, sizeof text, "w");
    const bool good = pith_checkpoint_load(place, s, &step, &state, f);
    fclose(f);
    *log = text;
    if (good) {
        assert_string_equal(json_string_value(json_object_get(state, "name")), "value");
        assert_true(((real *)stored(s, "w"))[7] == (real)(step + 7));
        assert_int_equal(*(int *)stored(s, "count"), step);
        assert_int_equal(pith_store_find(s, "count")->kind, PITH_STATE);
        json_decref(state);
    } else assert_null(state);
    pith_store_free(s);
    return good ? step : -1;
}

static void patch(const char *path, long at, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "rb+");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* Makes state.json agree with weights that were changed: the next check must find them out. */
static void own_up(int step)
{
    uint64_t hash;
    char text[4000] = "", digits[17];
    assert_true(pith_hash_file(path_of("step-%d/weights.safetensors", step), &hash));
    FILE *f = fopen(path_of("step-%d/state.json", step), "rb+");
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    char *at = strstr(text, "\"hash\": \"");
    assert_non_null(at);
    memcpy(at + 9, pith_hash_text(hash, digits), 16);
    rewind(f);
    fputs(text, f);
    fclose(f);
}

static void checkpoints(void **state)
{
    (void)state;
    char *log, link[64] = "";
    assert_int_equal(load(&log), -1);
    said("there is no checkpoint");
    assert_true(save(3, "{\"name\": \"value\"}") && save(6, "{\"name\": \"value\"}") &&
                save(12, "{\"name\": \"value\"}"));
    there("step-3", false);
    assert_int_equal(entries(place), 3);
    assert_int_equal(readlink(path_of("latest"), link, sizeof link - 1), 7);
    assert_string_equal(link, "step-12");
    assert_int_equal(load(&log), 12);
    assert_string_equal(log, "");
    /* killed before the link */
    assert_int_equal(unlink(path_of("latest")) + symlink("step-6", path_of("latest")), 0);
    assert_int_equal(load(&log), 12);
    assert_int_equal(readlink(path_of("latest"), link, sizeof link - 1), 7);
    assert_string_equal(link, "step-12");
    assert_int_equal(mkdir(path_of("step-20.tmp"), 0777), 0); /* a save that was killed */
    assert_true(pith_write_file(path_of("step-20.tmp/weights.safetensors"), "x", 1));
    assert_true(pith_write_file(path_of("step-notes"), "mine", 4));
    assert_int_equal(load(&log), 12);
    assert_true(save(12, "{\"name\": \"value\"}"));
    there("step-20.tmp", false);
    there("step-notes", true);
    assert_int_equal(unlink(path_of("step-notes")), 0);
}

static void damaged(void **state)
{
    (void)state;
    char *log;
    assert_int_equal(truncate(path_of("step-12/weights.safetensors"), 1000), 0);
    assert_int_equal(load(&log), 6);
    assert_non_null(strstr(log, "step-12 is damaged: weights.safetensors has 1000 bytes of "));
    assert_non_null(strstr(log, "going back to step-6\n"));
    patch(path_of("step-6/weights.safetensors"), -30, "\1", 1);
    assert_int_equal(load(&log), -1);
    said(
        "step-12 is damaged, and no other checkpoint is whole: weights.safetensors has 1000 bytes");
    assert_true(save(6, "{\"name\": \"value\"}")); /* as a run does that went back behind 12 */
    there("step-12", false);
    assert_int_equal(load(&log), 6);
    patch(path_of("step-6/state.json"), 0, "[", 1);
    assert_int_equal(load(&log), -1);
    said("state.json cannot be read");
    assert_true(save(6, "{\"name\": \"value\"}"));
    const unsigned char length[8] = { 255, 255, 255 };
    patch(path_of("step-6/weights.safetensors"), 0, length, 8);
    own_up(6);
    assert_int_equal(load(&log), -1);
    said("step-6/weights.safetensors: no safetensors file, or cut off");
}

static void not_finite(void **state)
{
    (void)state;
    char *log;
    const real nan = (real)NAN;
    pith_store *s = store_of(7);
    json_t *empty = json_object();
    assert_true(save(6, "{\"name\": \"value\"}"));
    assert_true(pith_tensor_write_part(pith_store_find(s, "w"), 40, 1, &nan));
    assert_false(pith_checkpoint_save(place, 7, 2, s, empty));
    json_decref(empty);
    said("step-7: tensor w holds nan at element 40");
    assert_int_equal(load(&log), 6);
    patch(path_of("step-6/weights.safetensors"), -4 - (long)sizeof nan, &nan, sizeof nan);
    own_up(6);
    assert_int_equal(load(&log), -1);
    said("step-6: tensor w holds nan at element 499");
    pith_store_free(s);
}

/* A limit on the size of files stands for a full disk. */
static void full_disk(void **state)
{
    (void)state;
    char *log, json[9000] = "{\"name\": \"value\", \"long\": \"";
    struct rlimit before;
    assert_true(save(6, "{\"name\": \"value\"}"));
    memset(json + strlen(json), 'x', 8000);
    strcat(json, "\"}");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    for (int k = 0; k < 2; k++) { /* for the weights, then for state.json alone */
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ k ? 6000 : 1000, before.rlim_max });
        const bool good = save(9, json);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_false(good);
        said(k ? "step-9: cannot be written: " : "step-9.weights: cannot be written: ");
        assert_int_equal(entries(place), 2);
        assert_int_equal(load(&log), 6);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_true(save(9, json));
}

/* ---- stored embeddings ---- */

typedef struct {
    int calls, fail_at;
} teacher;

static bool embed(void *context, int view, int first, int count, pith_real *rows)
{
    teacher *t = context;
    if (t->calls++ == t->fail_at) return pith_raise("the teacher fell ill");
    for (int k = 0; k < count; k++)
        for (int i = 0; i < 3; i++) rows[3 * k + i] = (real)(100 * view + first + k + 0.25 * i);
    return true;
}

static pith_pack *pack_of(const char *name, int first)
{
    pith_packer *p = pith_packer_new(path_of("%s", name), 2);
    for (int i = 0; i < 12; i++) {
        const uint8_t rgb[12] = { (uint8_t)(first + i) };
        assert_true(pith_packer_add(p, rgb, "words", "drawn", i % 3 == 2 ? "valid" : "train", -1));
    }
    assert_true(pith_packer_finish(p));
    return pith_pack_open(path_of("%s", name));
}

static void flip_byte(const char *path, long from_end)
{
    FILE *f = fopen(path, "r+b");
    assert_true(f && fseek(f, from_end, SEEK_END) == 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, from_end, SEEK_END), 0);
    assert_int_equal(fputc(c ^ 1, f), c ^ 1);
    assert_int_equal(fclose(f), 0);
}

static void embeddings(void **state)
{
    (void)state;
    pith_pack *pack = pack_of("pack", 0), *other = pack_of("other", 1);
    pith_dataset *dataset = pith_pack_dataset(pack, PITH_TRAIN, 2),
                 *others = pith_pack_dataset(other, PITH_TRAIN, 2);
    pith_embeddings_key key = {
        .dataset = dataset, .teacher = 0xabc, .views = 2, .captions = 2, .batch = 3, .width = 3
    };
    char path[256];
    strcpy(path, path_of("rows.safetensors"));
    teacher t = { 0, 4 }; /* 8 pairs: 3 batches of each view, 3 of each captions */
    assert_false(pith_embeddings_write(path, &key, embed, &t));
    said("the teacher fell ill");
    assert_null(pith_embeddings_open(path, &key));
    said("rows.safetensors: No such file");
    t = (teacher){ 0, -1 };
    assert_true(pith_embeddings_write(path, &key, embed, &t));
    assert_int_equal(t.calls, 8);
    there("rows.safetensors.part", false);
    pith_embeddings *e = pith_embeddings_open(path, &key);
    if (!e) fail_msg("%s", pith_error());
    int index[4] = { 7, 0, 4, 3 };
    int drawn[8] = { 0, 1, 1, 0, 1, 1, 0, 1 }; /* of each pair's first and second caption */
    real image[12], text[12], synthetic[12];
    const pith_host_batch b = { .rows = 4, .pairs = 4, .index = index, .view = 1, .drawn = drawn };
    pith_embeddings_gather(e, &b, image, text, synthetic);
    for (int k = 0; k < 4; k++) { /* the fake teacher's captions are its views -1 and -2 */
        assert_true(image[3 * k + 2] == (real)(100 + index[k] + 0.5));
        assert_true(text[3 * k + 1] == (real)(-100 * (1 + drawn[k]) + index[k] + 0.25));
        assert_true(synthetic[3 * k] == (real)(-100 * (1 + drawn[4 + k]) + index[k]));
    }
    pith_embeddings_close(e);
    pith_store *s = pith_store_new();
    assert_true(pith_store_load(s, path)); /* a file like any other */
    assert_int_equal(pith_store_find(s, "image")->dim[0], 16);
    assert_int_equal(pith_store_find(s, "text")->dim[0], 16);
    pith_store_free(s);
    pith_embeddings_key wrong = key;
    wrong.teacher = 0xdef;
    assert_null(pith_embeddings_open(path, &wrong));
    said("made by a teacher with the hash 0000000000000abc, found one with the hash "
         "0000000000000def");
    wrong = key;
    wrong.dataset = others;
    assert_null(pith_embeddings_open(path, &wrong));
    said("made from data with the hash ");
    wrong = key;
    wrong.views = 1;
    assert_null(pith_embeddings_open(path, &wrong));
    said("made with 2 views and 2 captions of the split \"train\", expected 1 and 2 of");
    wrong = key;
    wrong.captions = 1;
    assert_null(pith_embeddings_open(path, &wrong));
    said(
        "made with 2 views and 2 captions of the split \"train\", expected 2 and 1 of \"train\" in "
        "rows of 3");
    flip_byte(path, -9); /* the last row of the captions */
    assert_null(pith_embeddings_open(path, &key));
    said("rows.safetensors: is damaged: its rows are not those that were written");
    flip_byte(path, -9);
    pith_embeddings_close(pith_embeddings_open(path, &key));
    assert_int_equal(truncate(path, 500), 0);
    assert_null(pith_embeddings_open(path, &key));
    said("rows.safetensors: ");
    pith_dataset_close(dataset);
    pith_dataset_close(others);
    pith_pack_close(pack);
    pith_pack_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints), cmocka_unit_test(damaged),    cmocka_unit_test(not_finite),
        cmocka_unit_test(full_disk),   cmocka_unit_test(embeddings),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
