/* test_data.c: pictures and packed sets: against Pillow, there and back, and with bad input. */
#include <zlib.h>
#include "tests.h"
#include "core/data/data.h"
#include "core/files/files.h"

#define GOLDEN "tests/golden/data/"
static char path[256], other[256];

static const char *in_folder(const char *name, char *out)
{
    return strcpy(out, path_of("%s", name));
}
static void write_text(const char *name, const char *text)
{
    put_bytes(path_of("%s", name), text, strlen(text));
}

/* ---- pictures ---- */

static int apart(const uint8_t *a, const uint8_t *b, size_t n)
{
    int worst = 0;
    for (size_t k = 0; k < n; k++) worst = abs(a[k] - b[k]) > worst ? abs(a[k] - b[k]) : worst;
    return worst;
}

static const pith_tensor *golden(pith_store *s, const char *name)
{
    const pith_tensor *t = pith_store_find(s, name);
    assert_non_null(t);
    return t;
}

static pith_store *golden_pictures(void)
{
    pith_store *s = pith_store_new();
    assert_true(pith_store_load(s, GOLDEN "data.safetensors"));
    return s;
}

static void reads_every_png(void **state)
{
    (void)state;
    static const char *const names[] = { "rgb", "rgba",    "la",   "l",
                                         "bit", "palette", "wide", "interlaced" };
    pith_store *s = golden_pictures();
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char name[64];
        pith_picture p, q;
        snprintf(path, sizeof path, GOLDEN "%s.png", names[k]);
        snprintf(name, sizeof name, "read.%s", names[k]);
        const pith_tensor *t = golden(s, name);
        assert_true(pith_picture_read(&p, path));
        assert_int_equal(p.height, t->dim[0]);
        assert_int_equal(p.width, t->dim[1]);
        const size_t size = 4 * (size_t)p.width * (size_t)p.height;
        assert_memory_equal(p.rgba, elements(t), size);
        assert_true(pith_picture_write(&p, in_folder("again.png", path)));
        assert_true(pith_picture_read(&q, path));
        assert_memory_equal(p.rgba, q.rgba, size);
        pith_picture_free(&p);
        pith_picture_free(&q);
    }
    pith_store_free(s);
}

static void resizes_as_pillow(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 32, 32 }, { 17, 90 }, { 100, 7 }, { 61, 20 }, { 1, 1 } };
    static const struct {
        const char *name;
        int size;
    } views[] = { { "rgb", 32 }, { "rgb", 16 }, { "rgba", 24 }, { "l", 33 }, { "palette", 20 } };
    pith_store *s = golden_pictures();
    uint8_t *out = malloc(100000), *rgb = malloc(100000);
    char name[64];
    pith_picture p;
    assert_true(pith_picture_read(&p, GOLDEN "rgb.png"));
    for (int k = 0; k < p.width * p.height; k++) memcpy(rgb + 3 * k, p.rgba + 4 * k, 3);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        snprintf(name, sizeof name, "resize.%dx%d", sizes[k][0], sizes[k][1]);
        assert_true(pith_resize(rgb, p.width, p.height, out, sizes[k][0], sizes[k][1]));
        assert_in_range(
            apart(out, elements(golden(s, name)), 3 * (size_t)(sizes[k][0] * sizes[k][1])), 0, 1);
    }
    pith_picture_free(&p);
    for (size_t k = 0; k < sizeof views / sizeof *views; k++) {
        snprintf(path, sizeof path, GOLDEN "%s.png", views[k].name);
        snprintf(name, sizeof name, "view.%s.%d", views[k].name, views[k].size);
        assert_true(pith_picture_read(&p, path));
        assert_true(pith_preprocess(&p, views[k].size, out));
        assert_in_range(apart(out, elements(golden(s, name)),
                              3 * (size_t)(views[k].size * views[k].size)),
                        0, 1);
        pith_picture_free(&p);
    }
    free(out);
    free(rgb);
    pith_store_free(s);
}

/* A JPEG is known by its content, is opaque, and refuses to be cut off. */
static void reads_jpeg(void **state)
{
    (void)state;
    pith_picture p;
    size_t size;
    char *bytes = slurp("tests/pictures/blue.jpg", &size);
    put_bytes(path_of("no-name"), bytes, size);
    assert_true(pith_picture_read(&p, in_folder("no-name", path)));
    assert_true(p.width == 72 && p.height == 48);
    const uint8_t *centre = p.rgba + 4 * (24 * 72 + 36), *corner = p.rgba + 4 * (2 * 72 + 2);
    static const int blue[4] = { 30, 60, 220, 255 };
    for (int c = 0; c < 4; c++) {
        assert_true(abs(centre[c] - blue[c]) <= 4);
        assert_true(corner[c] >= 251);
    }
    pith_picture_free(&p);
    for (size_t cut = 20; cut < size; cut += size / 7) {
        put_bytes(path_of("cut.jpg"), bytes, cut);
        assert_false(pith_picture_read(&p, in_folder("cut.jpg", path)));
        said("cut.jpg: is damaged or no whole JPEG picture");
    }
    pith_limit_pictures(1000);
    assert_false(pith_picture_read(&p, in_folder("no-name", path)));
    said("more than 1000 are not read");
    pith_limit_pictures(64000000);
    free(bytes);
}

static void refuses_bad_pictures(void **state)
{
    (void)state;
    pith_picture p;
    size_t size;
    char *bytes = slurp(GOLDEN "rgb.png", &size);
    assert_false(pith_picture_read(&p, "/nowhere/picture.png"));
    said("/nowhere/picture.png: No such file");
    write_text("text.png", "I am no picture at all");
    assert_false(pith_picture_read(&p, in_folder("text.png", path)));
    said("is neither a PNG nor a JPEG picture");
    for (size_t cut = 8; cut < size; cut += size / 9) {
        put_bytes(path_of("cut.png"), bytes, cut);
        assert_false(pith_picture_read(&p, in_folder("cut.png", path)));
        said("cut.png: is damaged or no whole PNG picture");
    }
    /* a header that claims 60,000 x 60,000 pixels, with its right checksum */
    memcpy(bytes + 16, "\0\0\xEA\x60\0\0\xEA\x60", 8);
    const uint32_t sum = (uint32_t)crc32(0, (const Bytef *)bytes + 12, 17);
    for (int k = 0; k < 4; k++) bytes[29 + k] = (char)(sum >> (24 - 8 * k));
    put_bytes(path_of("huge.png"), bytes, size);
    assert_false(pith_picture_read(&p, in_folder("huge.png", path)));
    said("huge.png: has 60000 x 60000 pixels, more than 64000000 are not read");
    free(bytes);
}

/* ---- packed sets ---- */

static void packs_a_folder(void **state)
{
    (void)state;
    size_t size;
    char *rgb = slurp(GOLDEN "rgb.png", &size);
    put_bytes(path_of("one.png"), rgb, size);
    put_bytes(path_of("cut.png"), rgb, size / 2);
    free(rgb);
    char *alpha = slurp(GOLDEN "rgba.png", &size);
    put_bytes(path_of("two.png"), alpha, size);
    free(alpha);
    write_text("captions.tsv",
               "gone.png\ta lost "
               "one\ncut.png\thalf\none.png\tfirst\ttest\t3\ntwo.png\tsecond\none.png\t \n");
    pith_pack_report r = { 0 };
    pith_pack *p = pith_data_open(place, in_folder("set.pack", path), 16, 1, &r);
    assert_non_null(p);
    assert_int_equal(r.read, 2);
    assert_int_equal(r.missing, 1);
    assert_int_equal(r.unreadable, 1);
    assert_int_equal(r.empty_caption, 1);
    assert_string_equal(r.first_bad, "gone.png: No such file or directory");
    assert_int_equal(p->count, 2);
    assert_string_equal(p->caption[1], "second");
    assert_string_equal(p->source[0], "one.png");
    assert_int_equal(p->split[0], PITH_TEST);
    assert_int_equal(p->split[1], PITH_VALID);
    assert_int_equal(p->label[0], 3);
    assert_int_equal(p->label[1], -1);
    assert_int_equal(p->pixels[0], 255); /* upright: white left and right of it */
    assert_int_equal(pith_pack_split(p, "test"), PITH_TEST);
    assert_int_equal(pith_pack_split(p, "other"), -1);
    const uint64_t hash = p->hash;
    pith_pack_close(p);
    assert_non_null(p = pith_data_open(path, "/nowhere/x", 99, 0, &r));
    assert_int_equal(p->size, 16);
    pith_pack_close(p);

    write_text(
        "list.jsonl",
        "{\"file\": \"one.png\", \"caption\": \"first\", \"split\": \"test\", \"label\": 3}\n"
        "{\"file_name\": \"two.png\", \"text\": \"second\", \"split\": \"valid\"}\n");
    assert_true(
        pith_pack_folder(in_folder("list.jsonl", path), in_folder("set.pack", other), 16, 0, &r));
    assert_non_null(p = pith_pack_open(other));
    assert_true(p->hash == hash); /* the same content, however it was named */
    pith_pack_close(p);

    unlink(in_folder("captions.tsv", path));
    write_text("one.txt", "first\nfr.utf8=premier\n");
    assert_true(pith_pack_folder(place, other, 16, 0, &r));
    assert_int_equal(r.read, 1);
    assert_int_equal(r.empty_caption, 2);
    write_text("one.txt", "\xEF\xBB\xBF"
                          "first\r\n"); /* as Windows writes it */
    write_text("two.txt", "\xEF\xBB\xBF");
    assert_true(pith_pack_folder(place, other, 16, 0, &r));
    assert_int_equal(r.read, 1);
    assert_int_equal(r.empty_caption, 2);
    assert_non_null(p = pith_pack_open(other));
    assert_string_equal(p->caption[0], "first");
    pith_pack_close(p);
}

static void refuses_bad_folders(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error;
    } bad[] = {
        { "a.tsv", "gone.png\twords\n",
          "a.tsv: no usable picture: 1 missing, 0 unreadable, 0 without a caption; the first: g" },
        { "b.tsv", "x.png\twords\ttrain\tseven\n",
          "1 unreadable, 0 without a caption; the first: x.png: line 1: \"seven\" is no label" },
        { "c.jsonl", "{\"file\": \"x.png\"", "the first: : line 1 is not JSON" },
        { "d.jsonl", "{\"caption\": \"x\"}",
          "line 1: expected an object with \"file\" and \"caption\"" },
        { "e.tsv", "", "e.tsv: there is no picture with a caption" },
        { "f.pdf", "x", "f.pdf: expected a folder or a manifest" },
    };
    pith_pack_report r = { 0 };
    in_folder("none.pack", other);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        write_text(bad[k].name, bad[k].text);
        assert_false(pith_pack_folder(in_folder(bad[k].name, path), other, 16, 0, &r));
        said(bad[k].error);
        assert_int_not_equal(access(other, F_OK), 0);
    }
    assert_false(pith_pack_folder("/nowhere", other, 16, 0, &r));
    said("/nowhere: No such file");
    assert_false(pith_pack_shapes(in_folder("x.pack", other), 0, 10, 1));
    said("the side of pictures is 0, expected 1 to 4096");
}

/* What stands in the header may be anything: whatever is changed, the file is refused in a sentence
 * or read within it. */
static void refuses_lying_packs(void **state)
{
    (void)state;
    size_t size;
    assert_true(pith_pack_shapes(in_folder("set.pack", path), 8, 40, 1));
    char *bytes = slurp(path, &size), *header = strdup(bytes + 8), file[256];
    in_folder("lie.pack", file);
    static const size_t cuts[] = { 1, 7, 8, 100, 4096, 4097, 5000 };
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        put_bytes(path_of("lie.pack"), bytes, cuts[k]);
        assert_null(pith_pack_open(file));
        said("lie.pack: ");
    }
    static const char *const lies[][3] = {
        { "pith-pack", "pith-pock", "its header does not say that it is one" },
        { "\"U8\"", "\"U9\"", "tensor pixels has type U9, which pith cannot read" },
        { "[40,3,8,8]", "[39,3,8,8]", "its shape does not fit its 7680 bytes" },
        { "[40,3,8,8]", "[40,3,4,8]", "its shape does not fit" },
        { "[0,7680]", "[0,9e9] ", "lies outside the file" },
        { "[0,7680]", "[9,7]   ", "lies outside the file" },
        { "[0,7680]", "[-1,768]", "lies outside the file" },
        { "\"split\"", "\"splat\"", "it has no tensor split" },
        { "\\ntest\\ncombination", "_ntest__combination", "but there are 2 splits" },
        { "{", "[", "its header is not a JSON object" },
    };
    for (size_t k = 0; k < sizeof lies / sizeof *lies; k++) {
        char *at = strstr(header, lies[k][0]);
        if (!at) fail_msg("no %s in the header", lies[k][0]);
        const size_t at_byte = 8 + (size_t)(at - header), n = strlen(lies[k][0]);
        memcpy(bytes + at_byte, lies[k][1], n);
        put_bytes(path_of("lie.pack"), bytes, size);
        memcpy(bytes + at_byte, lies[k][0], n);
        pith_pack *p = pith_pack_open(file);
        pith_pack_close(p);
        assert_null(p);
        said(lies[k][2]);
    }
    static const int labels[] = { -2, PITH_MOST_LABEL + 1, INT32_MIN, INT32_MAX };
    int first, last;
    pith_file *set = pith_file_open(path);
    assert_non_null(set);
    const pith_entry *label = pith_file_find(set, "label"), *begin = pith_file_at(set, 0);
    uint64_t length;
    memcpy(&length, bytes, sizeof length);
    char *at_label = bytes + 8 + length + (label->data - begin->data);
    const size_t at_last = label->bytes - sizeof last;
    memcpy(&first, at_label, sizeof first);
    memcpy(&last, at_label + at_last, sizeof last);
    pith_file_close(set);
    for (size_t k = 0; k < 2 + sizeof labels / sizeof *labels; k++) { /* the first two are right */
        const int lie = k < 2 ? k ? PITH_MOST_LABEL : -1 : labels[k - 2];
        memcpy(k % 2 ? at_label : at_label + at_last, &lie, sizeof lie);
        put_bytes(path_of("lie.pack"), bytes, size);
        memcpy(at_label, &first, sizeof first);
        memcpy(at_label + at_last, &last, sizeof last);
        pith_pack *p = pith_pack_open(file);
        pith_pack_close(p);
        if ((p != NULL) != (k < 2)) fail_msg("a label of %d: %s", lie, p ? "taken" : "refused");
        if (k < 2) continue;
        char wanted[80];
        snprintf(wanted, sizeof wanted, "the label of pair %d is %d, expected -1 to 999999",
                 k % 2 ? 0 : 39, lie);
        said(wanted);
    }
    for (uint64_t k = 0; k < 3000; k++) { /* one byte at a time, at random */
        const size_t at_byte = (size_t)(pith_uniform_at(1, 0, k) * (k % 2 ? 700 : (double)size));
        const char before = bytes[at_byte];
        bytes[at_byte] = (char)(pith_uniform_at(1, 1, k) * 256);
        put_bytes(path_of("lie.pack"), bytes, size);
        bytes[at_byte] = before;
        pith_pack *p = pith_pack_open(file);
        size_t seen = 0;
        for (int i = 0; p && i < p->count; i++)
            seen += strlen(p->caption[i]) + strlen(p->source[i]);
        assert_true(seen < 20 * size);
        pith_pack_close(p);
    }
    free(bytes);
    free(header);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        TEST(reads_every_png),      TEST(resizes_as_pillow), TEST(reads_jpeg),
        TEST(refuses_bad_pictures), TEST(packs_a_folder),    TEST(refuses_bad_folders),
        TEST(refuses_lying_packs),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
