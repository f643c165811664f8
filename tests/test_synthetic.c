/* test_synthetic.c: captions written by a machine, in packs and lists. With the path of a pack,
 * checks the synthetic captions of that pack. */
#include <ctype.h>
#include "synthetic.h"
#include "core/core.h"
#include "core/files/files.h"

/* ---- packs ---- */

static void packs_keep_them(void **state)
{
    (void)state;
    assert_int_equal(pack->synthetic_start[40], 10 * (0 + 1 + 2 + 3));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(pack->synthetic_start[i + 1] - pack->synthetic_start[i], i % 4);
        assert_string_equal(train->record(train, i, 0).caption, pack->caption[i]);
        for (int c = 1; c <= i % 4; c++)
            assert_ptr_equal(train->record(train, i, c).caption,
                             pack->synthetic[pack->synthetic_start[i] + c - 1]);
        assert_null(train->record(train, i, 1 + i % 4).caption);
    }
    assert_string_equal(train->record(train, 6, 2).caption, "synthetic 2 of 6 and more words");
    assert_int_equal(pith_dataset_captions(train), 4);
    assert_true(pith_pack_check(pack, "set"));
    pith_pack *plain = pith_pack_open(path_of("plain"));
    pith_dataset *s = pith_pack_dataset(plain, PITH_TRAIN, 4);
    assert_int_equal(pith_dataset_captions(s), 1);
    assert_null(s->record(s, 39, 1).caption);
    assert_true(plain->hash != pack->hash); /* they count in the hash */
    pith_dataset_close(s);
    pith_pack_close(plain);
    pith_packer *p = pith_packer_new(path_of("early"), 4);
    assert_false(pith_packer_add_synthetic(p, "words"));
    said("early: a synthetic caption comes after its pair");
    pith_packer_drop(p);
}

/* Where the bytes of a tensor begin in the file. */
static size_t bytes_of(const char *path, const char *name, const char *file_bytes)
{
    uint64_t head;
    memcpy(&head, file_bytes, sizeof head);
    pith_file *f = pith_file_open(path);
    const pith_entry *e = pith_file_find(f, name), *first = pith_file_at(f, 0);
    const size_t at = 8 + (size_t)head + (size_t)(e->data - first->data);
    pith_file_close(f);
    return at;
}

static void lying_packs_are_refused(void **state)
{
    (void)state;
    char file[256];
    size_t size;
    strcpy(file, path_of("lie"));
    char *bytes = slurp(path_of("set"), &size);
    const size_t pair = bytes_of(path_of("set"), "synthetic_pair", bytes),
                 offset = bytes_of(path_of("set"), "synthetic_offsets", bytes),
                 text = bytes_of(path_of("set"), "synthetic", bytes);
    const struct {
        size_t at, bytes;
        int64_t value;
        const char *error;
    } lies[] = {
        { pair, 4, -1, "lie: synthetic_pair: entry 0 is -1, but there are 40 pairs" },
        { pair + 4 * 59, 4, 40, "lie: synthetic_pair: entry 59 is 40, but there are 40 pairs" },
        { pair + 4 * 58, 4, 38, "lie: synthetic_pair: entry 58 is 38, after 39" },
        { offset, 8, -5, "lie: synthetic_offsets: entry 0 does not lie inside synthetic" },
        { offset + 8, 8, 0, "lie: synthetic_offsets: entry 0 does not lie inside synthetic" },
        { offset + 8 * 60, 8, 1 << 20, "lie: synthetic_offsets: entry 59 does not lie inside" },
        { offset + 8, 8, 5, "lie: synthetic_offsets: entry 0 does not lie inside synthetic" },
    };
    for (size_t k = 0; k < sizeof lies / sizeof *lies; k++) {
        char before[8];
        memcpy(before, bytes + lies[k].at, 8);
        memcpy(bytes + lies[k].at, &lies[k].value, lies[k].bytes);
        put_bytes(file, bytes, size);
        memcpy(bytes + lies[k].at, before, 8);
        assert_null(pith_pack_open(file));
        said(lies[k].error);
    }
    static const char *const names[][3] = {
        { "\"synthetic_pair\"", "\"synthetic_fair\"", "it has no tensor synthetic_pair" },
        { "\"synthetic_offsets\"", "\"synthetic_offsetz\"", "it has no tensor synthetic_offsets" },
        { "[61]", "[ 6]", "its shape does not fit" },
    };
    char *header = strdup(bytes + 8);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char *at = bytes + 8 + (strstr(header, names[k][0]) - header);
        memcpy(at, names[k][1], strlen(names[k][1]));
        put_bytes(file, bytes, size);
        memcpy(at, names[k][0], strlen(names[k][0]));
        assert_null(pith_pack_open(file));
        said(names[k][2]);
    }
    free(header);
    bytes[text] ^= 1; /* another word: opened, but not as it was written */
    put_bytes(file, bytes, size);
    pith_pack *p = pith_pack_open(file);
    assert_non_null(p);
    assert_false(pith_pack_check(p, "lie"));
    said("lie: is damaged");
    pith_pack_close(p);
    bytes[text] ^= 1;
    int32_t one = 2; /* the first synthetic caption is of another pair: so it is not as written */
    memcpy(bytes + pair, &one, 4);
    put_bytes(file, bytes, size);
    assert_non_null(p = pith_pack_open(file));
    assert_false(pith_pack_check(p, "lie"));
    pith_pack_close(p);
    one = 1;
    memcpy(bytes + pair, &one, 4);
    for (uint64_t k = 0; k < 3000; k++) { /* one byte at a time, at random */
        const size_t head = 4096,
                     at = k % 2 ? (size_t)(pith_uniform_at(2, 0, k) * 1200)
                                : head + (size_t)(pith_uniform_at(2, 0, k) * (double)(size - head));
        const char before = bytes[at];
        bytes[at] = (char)(pith_uniform_at(2, 1, k) * 256);
        put_bytes(file, bytes, size);
        bytes[at] = before;
        size_t seen = 0;
        p = pith_pack_open(file);
        for (int i = 0; p && i < p->synthetic_start[p->count]; i++) seen += strlen(p->synthetic[i]);
        assert_true(seen < 90 * size);
        pith_pack_close(p);
    }
    free(bytes);
}

static void lists_name_them(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; /* NULL: as below */
    } lists[] = {
        { "a.tsv", "x.png\town\ttrain\t7\tone\ttwo\t\nx.png\tother\ttrain\t7\n", NULL },
        { "b.tsv",
          "file\tcaption\tsplit\tlabel\tsynthetic\nx.png\town\ttrain\t7\t\tone\ttwo\n"
          "x.png\tother\ttrain\t7\t\t",
          NULL },
        { "c.jsonl",
          "{\"file\": \"x.png\", \"caption\": \"own\", \"split\": \"train\", \"label\": 7, "
          "\"synthetic\": [\"one\", \"two\"]}\n"
          "{\"file\": \"x.png\", \"caption\": \"other\", \"split\": \"train\", \"label\": 7, "
          "\"synthetic\": []}\n",
          NULL },
        { "d.tsv", "x.png\town\t\t\tone\t \n", "x.png: line 1: a synthetic caption is blank" },
        { "e.jsonl", "{\"file\": \"x.png\", \"caption\": \"own\", \"synthetic\": \"one\"}",
          "x.png: line 1: expected a list of texts, none of them blank, as \"synthetic\"" },
        { "f.jsonl", "{\"file\": \"x.png\", \"caption\": \"own\", \"synthetic\": [\"one\", 2]}",
          "line 1: expected a list of texts, none of them blank, as \"synthetic\"" },
        { "g.jsonl", "{\"file\": \"x.png\", \"caption\": \"own\", \"synthetic\": [\" \"]}",
          "line 1: expected a list of texts, none of them blank, as \"synthetic\"" },
        { "h.tsv", "x.png\town\twith a tab\t7\tone", "is there a tab in its caption?" },
    };
    size_t size;
    uint64_t hash = 0;
    char *picture = slurp("tests/golden/data/rgb.png", &size);
    put_bytes(path_of("x.png"), picture, size);
    free(picture);
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        pith_pack_report r = { 0 };
        put_bytes(path_of("%s", lists[k].name), lists[k].text, strlen(lists[k].text));
        const bool good = pith_pack_folder(path_of("%s", lists[k].name), path_of("listed"), 8, 0,
                                           &r);
        assert_int_equal(good, !lists[k].error);
        if (!good) {
            said(lists[k].error);
            continue;
        }
        pith_pack *p = pith_pack_open(path_of("listed"));
        assert_int_equal(p->count, 2);
        assert_int_equal(p->synthetic_start[1], 2);
        assert_int_equal(p->synthetic_start[2], 2);
        assert_string_equal(p->synthetic[0], "one");
        assert_string_equal(p->synthetic[1], "two");
        assert_true(!hash || hash == p->hash);
        hash = p->hash;
        pith_pack_close(p);
    }
}

/* ---- what a synthetic caption may be ---- */

/* As bare words in small letters. */
static void bare(char *to, const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (isalnum(c) || c > 127) to[n++] = (char)tolower(c);
        else if (n && to[n - 1] != ' ') to[n++] = ' ';
    }
    to[n - (n && to[n - 1] == ' ')] = 0;
}

/* Each training pair has at least three; none is its own caption, another of its own, or the
 * caption of a pair that is not trained on. */
static void check_words(const pith_pack *p)
{
    char text[4096], other[4096];
    pith_table held = { 0 };
    int count = 0;
    for (int i = 0; i < p->count; i++) {
        bare(text, p->caption[i]);
        if (p->split[i] != PITH_TRAIN) assert_true(pith_table_add(&held, text, strlen(text)) >= 0);
    }
    const int all = held.count;
    for (int i = 0; i < p->count; i++) {
        const int first = p->synthetic_start[i], n = p->synthetic_start[i + 1] - first;
        if (p->split[i] == PITH_TRAIN ? n < 3 : n != 0)
            fail_msg("\"%s\" has %d synthetic captions", p->caption[i], n);
        for (int k = 0; k < n; k++) {
            bare(text, p->synthetic[first + k]);
            assert_true(pith_table_add(&held, text, strlen(text)) >= 0);
            const int known = held.count;
            for (int j = -1; j < k; j++) {
                bare(other, j < 0 ? p->caption[i] : p->synthetic[first + j]);
                if (!strcmp(text, other)) fail_msg("\"%s\" twice, of %s", text, p->caption[i]);
            }
            assert_int_equal(held.count, known);
            count++;
        }
    }
    for (int i = 0; i < p->synthetic_start[p->count]; i++) {
        bare(text, p->synthetic[i]);
        if (pith_table_add(&held, text, strlen(text)) < all)
            fail_msg("\"%s\" is the caption of a pair that is not trained on", p->synthetic[i]);
    }
    printf("%d synthetic captions, as they should be\n", count);
    pith_table_free(&held);
}

static void shapes_have_them(void **state)
{
    (void)state;
    assert_true(pith_pack_shapes(path_of("shapes"), 8, 2000, 1));
    pith_pack *p = pith_pack_open(path_of("shapes"));
    check_words(p);
    pith_pack_close(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_keep_them),
        cmocka_unit_test(lying_packs_are_refused),
        cmocka_unit_test(lists_name_them),
        cmocka_unit_test(shapes_have_them),
    };
    if (argc == 2 && (pack = pith_pack_open(argv[1]))) return check_words(pack), 0;
    return argc == 2 ? 1 : cmocka_run_group_tests(tests, setup, teardown);
}
