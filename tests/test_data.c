/* test_data.c: pictures, tokens, packed sets and batches: against Pillow and CLIP, there and back, and with bad input. */
#include <dirent.h>
#include <unistd.h>
#include "tests.h"
#include "core/data/data.h"

#define GOLDEN "tests/golden/data/"
static char folder[64], path[256], other[256];
static const double zero[3] = { 0, 0, 0 }, one[3] = { 1, 1, 1 };
static const pith_augment strong = { .crop = 0.5, .aspect = 0.3, .flip = 0.5, .shift = 0.1, .rotate = 15, .zoom = 0.2,
    .brightness = 0.3, .contrast = 0.3, .saturation = 0.3, .channel = 0.1, .blur = 1, .noise = 0.05 };

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pith-data-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (const struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(d);
    return rmdir(folder);
}

static const char *in_folder(const char *name, char *out)
{
    snprintf(out, 256, "%s/%s", folder, name);
    return out;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char file[256];
    FILE *f = fopen(in_folder(name, file), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static char *read_file(const char *file, size_t *size)
{
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

static void write_text(const char *name, const char *text) { write_file(name, text, strlen(text)); }
static void expect_error(const char *part) { assert_non_null(strstr(pith_error(), part)); }

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
    static const char *const names[] = { "rgb", "rgba", "la", "l", "bit", "palette", "wide", "interlaced" };
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
        assert_memory_equal(p.rgba, t->data, size);
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
    static const struct { const char *name; int size; } views[] = {
        { "rgb", 32 }, { "rgb", 16 }, { "rgba", 24 }, { "l", 33 }, { "palette", 20 } };
    pith_store *s = golden_pictures();
    uint8_t *out = malloc(100000), *rgb = malloc(100000);
    char name[64];
    pith_picture p;
    assert_true(pith_picture_read(&p, GOLDEN "rgb.png"));
    for (int k = 0; k < p.width * p.height; k++) memcpy(rgb + 3 * k, p.rgba + 4 * k, 3);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        snprintf(name, sizeof name, "resize.%dx%d", sizes[k][0], sizes[k][1]);
        assert_true(pith_resize(rgb, p.width, p.height, out, sizes[k][0], sizes[k][1]));
        assert_in_range(apart(out, golden(s, name)->data, 3 * (size_t)(sizes[k][0] * sizes[k][1])), 0, 1);
    }
    pith_picture_free(&p);
    for (size_t k = 0; k < sizeof views / sizeof *views; k++) {
        snprintf(path, sizeof path, GOLDEN "%s.png", views[k].name);
        snprintf(name, sizeof name, "view.%s.%d", views[k].name, views[k].size);
        assert_true(pith_picture_read(&p, path));
        assert_true(pith_preprocess(&p, views[k].size, out));
        assert_in_range(apart(out, golden(s, name)->data, 3 * (size_t)(views[k].size * views[k].size)), 0, 1);
        pith_picture_free(&p);
    }
    free(out);
    free(rgb);
    pith_store_free(s);
}

static void refuses_bad_pictures(void **state)
{
    (void)state;
    pith_picture p;
    size_t size;
    char *bytes = read_file(GOLDEN "rgb.png", &size);
    assert_false(pith_picture_read(&p, "/nowhere/picture.png"));
    expect_error("/nowhere/picture.png: No such file");
    write_text("text.png", "I am no picture at all");
    assert_false(pith_picture_read(&p, in_folder("text.png", path)));
    expect_error("is not a PNG picture");
    for (size_t cut = 8; cut < size; cut += size / 9) {
        write_file("cut.png", bytes, cut);
        assert_false(pith_picture_read(&p, in_folder("cut.png", path)));
        expect_error("cut.png: is damaged or no whole PNG picture");
    }
    /* a header that claims 60,000 x 60,000 pixels, with its right checksum */
    memcpy(bytes + 16, "\0\0\xEA\x60\0\0\xEA\x60", 8);
    memcpy(bytes + 29, "\x8C\xD6\x96\x24", 4);
    write_file("huge.png", bytes, size);
    assert_false(pith_picture_read(&p, in_folder("huge.png", path)));
    expect_error("huge.png: is damaged");
    free(bytes);
}

/* ---- tokens ---- */

static pith_tokenizer *clip_tokenizer(void)
{
    const char *file = getenv("PITH_CLIP_VOCAB");
    if (!file) file = "../shared/data/bpe_simple_vocab_16e6.txt.gz";
    if (access(file, R_OK) != 0) {
        printf("skipped: CLIP's merges file is not at %s; name it in PITH_CLIP_VOCAB\n", file);
        skip();
    }
    pith_tokenizer *t = pith_tokenizer_read(file);
    assert_non_null(t);
    return t;
}

static void encodes_as_clip(void **state)
{
    (void)state;
    pith_tokenizer *t = clip_tokenizer();
    FILE *f = fopen(GOLDEN "tokens.txt", "r");
    char line[4096];
    int ids[77], lines = 0;
    assert_int_equal(pith_tokenizer_size(t), 49408);
    for (; fgets(line, sizeof line, f); lines++) {
        line[strcspn(line, "\n")] = 0;
        const int n = pith_encode(t, strchr(line, '|') + 1, 77, ids);
        char *at = line;
        for (int k = 0; k < n; k++) assert_int_equal(ids[k], strtol(at, &at, 10));
        assert_int_equal(*at, '|');
    }
    assert_in_range(lines, 20, 100);
    fclose(f);
    pith_tokenizer_free(t);
}

static const char *const captions[] = { "a red circle", "a red square", "a blue circle", "two red circles", "Köln" };

static void learns_merges(void **state)
{
    (void)state;
    pith_tokenizer *a = pith_tokenizer_train(5, captions, 12), *b;
    int x[16], y[16];
    assert_int_equal(pith_tokenizer_size(a), 512 + 12 + 2);
    for (int k = 0; k < 2; k++) {
        assert_true(pith_tokenizer_write(a, in_folder(k ? "own.txt" : "own.txt.gz", path)));
        assert_non_null(b = pith_tokenizer_read(path));
        assert_int_equal(pith_tokenizer_size(b), pith_tokenizer_size(a));
        for (int i = 0; i < 5; i++) {
            const int n = pith_encode(a, captions[i], 16, x);
            assert_int_equal(pith_encode(b, captions[i], 16, y), n);
            assert_memory_equal(x, y, sizeof(int) * (size_t)n);
        }
        pith_tokenizer_free(b);
    }
    assert_int_equal(pith_encode(a, "", 16, x), 2);
    assert_int_equal(x[0], 524);
    assert_int_equal(x[1], 525);
    assert_int_equal(pith_encode(a, "a red circle", 4, x), 4);      /* cut: its last is the end */
    assert_int_equal(x[3], 525);
    assert_int_equal(pith_encode(a, "a red circle", 1, x), 0);
    expect_error("no room for start and end");
    pith_tokenizer_free(a);
    a = pith_tokenizer_train(5, captions, 1000);                    /* fewer: pairs seen once teach nothing */
    assert_in_range(pith_tokenizer_size(a), 515, 600);
    pith_tokenizer_free(a);
}

static void refuses_bad_vocabularies(void **state)
{
    (void)state;
    static const struct { const char *text, *error; } bad[] = {
        { "", "found an empty one" },
        { "{\"model\": 1}", "expected a merges file whose first line names its #version, found \"{" },
        { "#version: 0.2\ni n\nlonely\n", "bad.txt:3: expected a merge, two symbols" },
        { "#version: 0.2\ni n\na b c\n", "bad.txt:3: expected a merge" },
        { "#version: 0.2\nin g\n", "bad.txt:2: no earlier line makes the symbol \"in\"" },
        { "#version: 0.2\ni n\ni n\n", "bad.txt:3: the merge \"i n\" stands in an earlier line too" },
        { "#version: 0.2\na b\nb c\nab c\na bc\n", "bad.txt:5: an earlier line makes the symbol" },
        { "\"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\n", "CLIP's file has at least 48894 merges, this one only 1" },
    };
    assert_null(pith_tokenizer_read("/nowhere/merges.txt.gz"));
    expect_error("/nowhere/merges.txt.gz: No such file");
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        write_text("bad.txt", bad[k].text);
        assert_null(pith_tokenizer_read(in_folder("bad.txt", path)));
        expect_error(bad[k].error);
    }
    size_t size;
    pith_tokenizer *t = pith_tokenizer_train(5, captions, 30);
    assert_true(pith_tokenizer_write(t, in_folder("cut.txt.gz", path)));
    char *bytes = read_file(path, &size);
    write_file("cut.txt.gz", bytes, size - 20);
    assert_null(pith_tokenizer_read(path));
    expect_error("cut.txt.gz: cannot be read to its end");
    free(bytes);
    pith_tokenizer_free(t);
}

/* ---- packed sets ---- */

static void packs_a_folder(void **state)
{
    (void)state;
    size_t size;
    char *rgb = read_file(GOLDEN "rgb.png", &size);
    write_file("one.png", rgb, size);
    write_file("cut.png", rgb, size / 2);
    free(rgb);
    char *alpha = read_file(GOLDEN "rgba.png", &size);
    write_file("two.png", alpha, size);
    free(alpha);
    write_text("captions.tsv", "gone.png\ta lost one\ncut.png\thalf\none.png\tfirst\ttest\t3\ntwo.png\tsecond\none.png\t \n");
    pith_pack_report r;
    pith_pack *p = pith_data_open(folder, in_folder("set.pack", path), 16, 1, &r);
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
    assert_int_equal(p->pixels[0], 255);                    /* upright: white left and right of it */
    assert_int_equal(pith_pack_split(p, "test"), PITH_TEST);
    assert_int_equal(pith_pack_split(p, "other"), -1);
    const uint64_t hash = p->hash;
    pith_pack_close(p);
    assert_non_null(p = pith_data_open(path, "/nowhere/x", 99, 0, &r));
    assert_int_equal(p->size, 16);
    pith_pack_close(p);

    write_text("list.jsonl", "{\"file\": \"one.png\", \"caption\": \"first\", \"split\": \"test\", \"label\": 3}\n"
                             "{\"file_name\": \"two.png\", \"text\": \"second\", \"split\": \"valid\"}\n");
    assert_true(pith_pack_folder(in_folder("list.jsonl", path), in_folder("set.pack", other), 16, 0, &r));
    assert_non_null(p = pith_pack_open(other));
    assert_true(p->hash == hash);                           /* the same content, however it was named */
    pith_pack_close(p);

    unlink(in_folder("captions.tsv", path));
    write_text("one.txt", "first\nfr.utf8=premier\n");
    assert_true(pith_pack_folder(folder, other, 16, 0, &r));
    assert_int_equal(r.read, 1);
    assert_int_equal(r.empty_caption, 2);
}

static void refuses_bad_folders(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *error; } bad[] = {
        { "a.tsv", "gone.png\twords\n", "a.tsv: no usable picture: 1 missing, 0 unreadable, 0 without a caption; the first: gone" },
        { "b.tsv", "x.png\twords\ttrain\tseven\n", "b.tsv:1: expected a label that is a whole number, found \"seven\"" },
        { "c.jsonl", "{\"file\": \"x.png\"", "c.jsonl:1: no JSON" },
        { "d.jsonl", "{\"caption\": \"x\"}", "d.jsonl:1: expected an object with \"file\" and \"caption\"" },
        { "e.tsv", "", "e.tsv: there is no picture with a caption" },
        { "f.pdf", "x", "f.pdf: expected a folder or a manifest" },
    };
    pith_pack_report r;
    in_folder("none.pack", other);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        write_text(bad[k].name, bad[k].text);
        assert_false(pith_pack_folder(in_folder(bad[k].name, path), other, 16, 0, &r));
        expect_error(bad[k].error);
        assert_int_not_equal(access(other, F_OK), 0);
    }
    assert_false(pith_pack_folder("/nowhere", other, 16, 0, &r));
    expect_error("/nowhere: No such file");
    assert_false(pith_pack_shapes(in_folder("x.pack", other), 0, 10, 1));
    expect_error("pictures of side 0 cannot be packed");
}

/* What stands in the header may be anything: whatever is changed, the file is refused in a sentence or read within it. */
static void refuses_lying_packs(void **state)
{
    (void)state;
    size_t size;
    assert_true(pith_pack_shapes(in_folder("set.pack", path), 8, 9, 1));
    char *bytes = read_file(path, &size), *header = strdup(bytes + 8), file[256];
    in_folder("lie.pack", file);
    static const size_t cuts[] = { 1, 7, 8, 100, 4096, 4097, 5000 };
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        write_file("lie.pack", bytes, cuts[k]);
        assert_null(pith_pack_open(file));
        expect_error("lie.pack: ");
    }
    static const char *const lies[][3] = {
        { "pith-pack", "pith-pock", "its header does not say so" },
        { "\"U8\"", "\"U9\"", "tensor pixels: expected U8" },
        { "[9,3,8,8]", "[8,3,8,8]", "its shape does not fit its 1728 bytes" },
        { "[9,3,8,8]", "[9,3,4,8]", "its shape does not fit" },
        { "[0,1728]", "[0,9999]", "lies outside the file" },
        { "[0,1728]", "[-1,172]", "lies outside the file" },
        { "\"split\"", "\"splat\"", "it has no tensor split" },
        { "train\\nvalid\\ntest\\ncombination", "train\\nvalid_ntest__combination", "but there are 2 splits" },
        { "{", "[", "its header is no JSON" },
    };
    for (size_t k = 0; k < sizeof lies / sizeof *lies; k++) {
        char *at = strstr(header, lies[k][0]);
        assert_non_null(at);
        const size_t place = 8 + (size_t)(at - header), n = strlen(lies[k][0]);
        memcpy(bytes + place, lies[k][1], n);
        write_file("lie.pack", bytes, size);
        memcpy(bytes + place, lies[k][0], n);
        pith_pack *p = pith_pack_open(file);
        pith_pack_close(p);
        assert_null(p);
        expect_error(lies[k][2]);
    }
    for (uint64_t k = 0; k < 3000; k++) {                       /* one byte at a time, at random */
        const size_t place = (size_t)(pith_uniform_at(1, 0, k) * (k % 2 ? 700 : (double)size));
        const char before = bytes[place];
        bytes[place] = (char)(pith_uniform_at(1, 1, k) * 256);
        write_file("lie.pack", bytes, size);
        bytes[place] = before;
        pith_pack *p = pith_pack_open(file);
        size_t seen = 0;
        for (int i = 0; p && i < p->count; i++) seen += strlen(p->caption[i]) + strlen(p->source[i]);
        assert_true(seen < size);
        pith_pack_close(p);
    }
    free(bytes);
    free(header);
}
