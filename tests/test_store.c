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
    real *x = pith_store_add(a, "w", PITH_WEIGHT, PITH_F32, 2, dim)->data;
    int *n = pith_store_add(a, "count", PITH_STATE, PITH_I32, 0, NULL)->data;
    pith_store_add(a, "countdown", PITH_WEIGHT, PITH_U8, 1, dim);
    for (int i = 0; i < 15; i++) x[i] = (real)(i / 7.0);
    *n = -9;
    assert_true(pith_store_save(a, path, PITH_ANY));
    assert_true(pith_store_load(b, path));
    assert_int_equal(pith_store_count(b), 3);
    assert_memory_equal(pith_store_find(b, "w")->data, x, 15 * sizeof *x);
    assert_int_equal(*(int *)pith_store_find(b, "count")->data, -9);
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
    const real *h = pith_store_find(s, "h")->data;
    assert_true(h[0] == 1 && h[1] == -2);
    assert_true(*(real *)pith_store_find(s, "b")->data == 1);
    assert_true(*(real *)pith_store_find(s, "d")->data == (real)1.5);
    assert_int_equal(*(int *)pith_store_find(s, "l")->data, 7);
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
    refused("{\"w\":{},\"w\":{}}", 0, "not a JSON object: duplicate");
    FILE *f = fopen(path, "wb");
    fputs("\xff\xff\xff\xff\xff\xff\xff\x7f{}", f);
    fclose(f);
    pith_store *s = pith_store_new();
    assert_false(pith_store_load(s, path));
    assert_non_null(strstr(pith_error(), "its header claims 9223372036854775807 bytes"));
    f = fopen(path, "wb");
    fputs("abc", f);
    fclose(f);
    assert_false(pith_store_load(s, path));
    assert_non_null(strstr(pith_error(), "not a safetensors file: 3 bytes"));
    assert_false(pith_store_load(s, "/no/such/file"));
    assert_string_equal(pith_error(), "/no/such/file: No such file or directory");
    pith_store_free(s);
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
        cmocka_unit_test_setup_teardown(other_types, setup, remove_place),
        cmocka_unit_test_setup_teardown(lying_files, setup, remove_place),
        cmocka_unit_test_setup_teardown(failed_save_leaves_the_old, setup, remove_place),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
