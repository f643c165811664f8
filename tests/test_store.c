/* test_store.c: safetensors in and out: round trips, types from elsewhere, and files that lie. */
#include "tests.h"

static char path[256];

static int setup(void **state)
{
    if (make_place(state)) return -1;
    strcpy(path, path_of("w.safetensors"));
    return 0;
}

static void write_file(const char *header, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    const uint64_t length = strlen(header);
    assert_int_equal(fwrite(&length, 8, 1, f), 1);
    fputs(header, f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void round_trip(void **state)
{
    (void)state;
    pith_store *a = pith_store_new(), *b = pith_store_new();
    const int dim[2] = { 3, 5 };
    const int n = -9;
    real x[15];
    pith_store_add(a, "countdown", PITH_WEIGHT, PITH_U8, 1, dim);
    for (int i = 0; i < 15; i++) x[i] = (real)(i / 7.0);
    assert_true(pith_tensor_write(pith_store_add(a, "w", PITH_WEIGHT, PITH_F32, 2, dim), x));
    assert_true(pith_tensor_write(pith_store_add(a, "count", PITH_STATE, PITH_I32, 0, NULL), &n));
    assert_true(pith_store_save(a, path, PITH_ANY));
    assert_true(pith_store_load(b, path));
    assert_int_equal(pith_store_count(b), 3);
    assert_memory_equal(stored(b, "w"), x, 15 * sizeof *x);
    assert_int_equal(*(int *)stored(b, "count"), -9);
    assert_int_equal(pith_store_find(b, "count")->kind, PITH_STATE);
    assert_int_equal(pith_store_find(b, "countdown")->kind, PITH_WEIGHT);
    pith_store_free(b);
    b = pith_store_new();
    assert_true(pith_store_save(a, path, PITH_WEIGHT));
    assert_true(pith_store_load(b, path));
    assert_null(pith_store_find(b, "count"));
    pith_store_free(a);
    pith_store_free(b);
}

/* Sizes that are no multiple of the buffer that files are converted and written through. */
static void large_tensors(void **state)
{
    (void)state;
    enum { SIZE = 40001 };
    static const int dim = SIZE;
    static real x[SIZE];
    static uint16_t brain[SIZE];
    static int64_t wide[SIZE];
    pith_store *a = pith_store_new(), *b = pith_store_new();
    for (int i = 0; i < SIZE; i++) {
        const float f = (float)(i % 251);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        x[i] = (real)f;
        brain[i] = (uint16_t)(bits >> 16);
        wide[i] = i;
    }
    assert_true(pith_tensor_write(pith_store_add(a, "w", PITH_WEIGHT, PITH_F32, 1, &dim), x));
    assert_true(pith_store_save(a, path, PITH_ANY) && pith_store_load(b, path));
    assert_memory_equal(stored(b, "w"), x, sizeof x);
    write_file("{\"w\":{\"dtype\":\"BF16\",\"shape\":[40001],\"data_offsets\":[0,80002]}}", brain,
               sizeof brain);
    memset(x, 0, sizeof x);
    assert_true(pith_tensor_write(pith_store_find(b, "w"), x) && pith_store_load(b, path));
    assert_memory_equal(stored(b, "w"), stored(a, "w"), sizeof x);
    const char *header =
        "{\"n\":{\"dtype\":\"I64\",\"shape\":[40001],\"data_offsets\":[0,320008]}}";
    write_file(header, wide, sizeof wide);
    assert_true(pith_store_load(b, path));
    const int *n = stored(b, "n");
    for (int i = 0; i < SIZE; i++) assert_int_equal(n[i], i);
    wide[SIZE - 1] = (int64_t)1 << 40;
    write_file(header, wide, sizeof wide);
    assert_false(pith_store_load(b, path));
    said("tensor n holds a number that does not fit i32");
    pith_store_free(a);
    pith_store_free(b);
}

static void elements_in_and_out(void **state)
{
    (void)state;
    static const int dim[2] = { 2, 3 };
    static const uint8_t bytes[6] = { 1, 2, 3, 4, 5, 6 };
    uint8_t back[8] = { [5] = 70, [6] = 77, [7] = 78 };
    real x[6] = { 0, 1, 2, 3, 4, 5 }, part[2] = { 9, 9 };
    pith_store *s = pith_store_new();
    assert_int_equal(pith_store_device(s), PITH_CPU);
    pith_tensor *w = pith_store_add(s, "w", PITH_WEIGHT, PITH_F32, 2, dim),
                *u = pith_store_add(s, "u", PITH_STATE, PITH_U8, 2, dim),
                *v = pith_store_add(s, "v", PITH_WEIGHT, PITH_F32, 1, &dim[1]);
    assert_int_equal(pith_tensor_bytes(w), 6 * sizeof(real));
    assert_int_equal(pith_tensor_bytes(u), 6);
    const uint64_t first = w->version;
    assert_true(pith_tensor_write(w, x) && w->version == first + 1);
    assert_true(pith_tensor_write_part(w, 4, 2, part) && w->version == first + 2);
    assert_true(pith_tensor_read(w, x) && pith_tensor_read_part(w, 3, 2, part));
    assert_true(x[3] == 3 && x[4] == 9 && x[5] == 9 && part[0] == 3 && part[1] == 9);
    assert_true(pith_tensor_write(u, bytes) && pith_tensor_read(u, back));
    assert_memory_equal(back, ((const uint8_t[8]){ 1, 2, 3, 4, 5, 6, 77, 78 }), 8);
    assert_true(pith_tensor_read_part(u, 2, 3, back) && back[0] == 3 && back[2] == 5);
    assert_true(pith_tensor_read_part(u, 6, 0, back));

    assert_false(pith_tensor_read_part(w, 5, 2, part));
    said("pith_tensor_read_part: w has 6 elements, asked for are 2 from element 5 on");
    assert_false(pith_tensor_write_part(w, 1, SIZE_MAX, part));
    said("pith_tensor_write_part: w has 6 elements");
    assert_false(pith_tensor_read(pith_store_find(s, "none"), x));
    said("pith_tensor_read: the tensor is NULL");
    assert_false(pith_tensor_write(w, NULL));
    said("pith_tensor_write: w: the host's memory is NULL");
    assert_false(pith_tensor_copy(w, u));
    said("pith_tensor_copy: w and u differ in size or type");
    assert_false(pith_tensor_copy(w, v));
    said("w and v differ in size or type");
    assert_false(pith_tensor_copy(NULL, v));
    said("the tensor to copy to is NULL");
    assert_true(w->version == first + 2);

    assert_int_equal(pith_tensor_not_finite(w), -1);
    assert_int_equal(pith_tensor_not_finite(u), -1);
    part[0] = (real)-INFINITY;
    assert_true(pith_tensor_write_part(v, 1, 1, part));
    assert_int_equal(pith_tensor_not_finite(v), 1);
    pith_tensor *to = pith_store_add(s, "to", PITH_WEIGHT, PITH_F32, 1, &dim[1]);
    assert_true(pith_tensor_copy(to, v) && to->version == 1);
    assert_memory_equal(elements(to), elements(v), 3 * sizeof(real));
    assert_true(pith_store_save(s, path, PITH_ANY));
    const uint64_t before = w->version;
    assert_true(pith_store_load(s, path) && w->version == before + 1);
    pith_store_free(s);
}

static void other_types(void **state)
{
    (void)state;
    const unsigned char data[] = { 0, 0x3c, 0,    0xc0, 0x80, 0x3f, 0, 0, 0, 0, 0,
                                   0, 0xf8, 0x3f, 7,    0,    0,    0, 0, 0, 0, 0 };
    write_file("{\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
               "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[4,6]},"
               "\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[6,14]},"
               "\"l\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[14,22]}}",
               data, sizeof data);
    pith_store *s = pith_store_new();
    assert_true(pith_store_load(s, path));
    const real *h = stored(s, "h");
    assert_true(h[0] == 1 && h[1] == -2);
    assert_true(*(real *)stored(s, "b") == 1);
    assert_true(*(real *)stored(s, "d") == (real)1.5);
    assert_int_equal(*(int *)stored(s, "l"), 7);
    pith_store_free(s);
}

static void refused(const char *header, size_t size, const char *wanted)
{
    static const char zeros[64];
    write_file(header, zeros, size);
    pith_store *s = pith_store_new();
    assert_false(pith_store_load(s, path));
    if (!strstr(pith_error(), wanted)) fail_msg("said \"%s\", not \"%s\"", pith_error(), wanted);
    assert_non_null(strstr(pith_error(), path));
    pith_store_free(s);
}

static void lying_files(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8,
            "tensor w lies outside the file's 8 bytes");
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}}", 16,
            "tensor w: its shape does not fit its 16 bytes");
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[2147483647,2147483647,2147483647],"
            "\"data_offsets\":[0,16]}}",
            16, "shape does not fit");
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", 16,
            "shape does not fit");
    refused("{\"w\":{\"dtype\":\"C64\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16,
            "tensor w has type C64");
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 16,
            "tensor w lies outside");
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            "\"v\":{\"dtype\":\"F32\",\"shape\":[1],"
            "\"data_offsets\":[2,6]}}",
            16, "overlap");
    refused("{\"w\":3}", 16, "tensor w has type (none)");
    refused("[]", 0, "not a JSON object");
    refused("{\"w\":", 0, "not a JSON object");
    refused("{\"\\u001b[31mw\\u0007\":3}", 0, "tensor ?[31mw? has type (none)");
    refused("{\"w\":{},\"w\":{}}", 0, "not a JSON object: duplicate");
    FILE *f = fopen(path, "wb");
    fputs("\xff\xff\xff\xff\xff\xff\xff\x7f{}", f);
    fclose(f);
    pith_store *s = pith_store_new();
    assert_false(pith_store_load(s, path));
    assert_non_null(strstr(pith_error(), "no safetensors file, or cut off"));
    f = fopen(path, "wb");
    fputs("abc", f);
    fclose(f);
    assert_false(pith_store_load(s, path));
    assert_non_null(strstr(pith_error(), "not a safetensors file: 3 bytes"));
    assert_false(pith_store_load(s, "/no/such/file"));
    assert_string_equal(pith_error(), "/no/such/file: No such file or directory");
    pith_store_free(s);
}

/* The search for "" in a list of names would not move on. */
static void a_nameless_tensor_is_refused(void **state)
{
    (void)state;
    static const char *const lists[] = { "", "\\n", "count", "\\n\\ncount\\n" };
    char header[512];
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        snprintf(header, sizeof header,
                 "{\"__metadata__\":{\"states\":\"%s\",\"undecided\":\"%s\"},"
                 "\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                 lists[k], lists[3 - k]);
        write_file(header, header, 4);
        pith_store *s = pith_store_new();
        alarm(10); /* ends a program that searches for ever */
        assert_false(pith_store_load(s, path));
        alarm(0);
        said("a tensor is called \"\", expected a name");
        pith_store_free(s);
    }
}

static void failed_save_leaves_the_old(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    const int dim[1] = { 4 };
    pith_store_add(s, "w", PITH_WEIGHT, PITH_F32, 1, dim);
    assert_false(pith_store_save(s, "/no/such/folder/w.safetensors", PITH_ANY));
    assert_non_null(strstr(pith_error(), "cannot be written"));
    pith_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, setup, remove_place),
        cmocka_unit_test_setup_teardown(large_tensors, setup, remove_place),
        cmocka_unit_test_setup_teardown(elements_in_and_out, setup, remove_place),
        cmocka_unit_test_setup_teardown(other_types, setup, remove_place),
        cmocka_unit_test_setup_teardown(lying_files, setup, remove_place),
        cmocka_unit_test_setup_teardown(a_nameless_tensor_is_refused, setup, remove_place),
        cmocka_unit_test_setup_teardown(failed_save_leaves_the_old, setup, remove_place),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
