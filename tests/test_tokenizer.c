/* test_tokenizer.c: byte pair merges: against CLIP, learned, there and back, and bad files. */
#include "tests.h"
#include "core/data/data.h"

static char plain[64], packed[64];

static int setup(void **state)
{
    if (make_place(state)) return -1;
    strcpy(plain, path_of("merges.txt"));
    strcpy(packed, path_of("merges.txt.gz"));
    return 0;
}

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
    FILE *f = fopen("tests/golden/data/tokens.txt", "r");
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

static const char *const captions[] = { "a red circle", "a red square", "a blue circle",
                                        "two red circles", "Köln" };

static void learns_merges(void **state)
{
    (void)state;
    pith_tokenizer *a = pith_tokenizer_train(5, captions, 6), *b;
    int x[16], y[16];
    assert_int_equal(pith_tokenizer_size(a), 512 + 6 + 2);
    for (int k = 0; k < 2; k++) {
        assert_true(pith_tokenizer_write(a, k ? plain : packed));
        assert_non_null(b = pith_tokenizer_read(k ? plain : packed));
        assert_int_equal(pith_tokenizer_size(b), pith_tokenizer_size(a));
        for (int i = 0; i < 5; i++) {
            const int n = pith_encode(a, captions[i], 16, x);
            assert_int_equal(pith_encode(b, captions[i], 16, y), n);
            assert_memory_equal(x, y, sizeof(int) * (size_t)n);
        }
        pith_tokenizer_free(b);
    }
    assert_int_equal(pith_encode(a, "", 16, x), 2);
    assert_int_equal(x[0], 518);
    assert_int_equal(x[1], 519);
    assert_int_equal(pith_encode(a, "a red circle", 4, x), 4); /* cut: its last is the end */
    assert_int_equal(x[3], 519);
    assert_int_equal(pith_encode(a, "a red circle", 1, x), 0);
    assert_non_null(strstr(pith_error(), "no room for start and end"));
    pith_tokenizer_free(a);
    a = pith_tokenizer_train(5, captions, 1000); /* fewer: pairs seen once teach nothing */
    assert_in_range(pith_tokenizer_size(a), 515, 600);
    pith_tokenizer_free(a);
}

static void refuses_bad_vocabularies(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        { "", "found an empty one" },
        { "{\"model\": 1}", "a merges file whose first line names its #version, found \"{" },
        { "#version: 0.2\ni n\nlonely\n", ".txt:3: expected a merge, two symbols" },
        { "#version: 0.2\ni n\na b c\n", ".txt:3: expected a merge" },
        { "#version: 0.2\nin g\n", ".txt:2: no earlier line makes the symbol \"in\"" },
        { "#version: 0.2\ni n\ni n\n", ".txt:3: the merge \"i n\" stands in an earlier line" },
        { "#version: 0.2\na b\nb c\nab c\na bc\n", ".txt:5: an earlier line makes the symbol" },
        { "\"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\n",
          "CLIP's file has at least 48894 merges, this one only 1" },
    };
    assert_null(pith_tokenizer_read("/nowhere/merges.txt.gz"));
    assert_non_null(strstr(pith_error(), "/nowhere/merges.txt.gz: No such file"));
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        put_bytes(plain, bad[k].text, strlen(bad[k].text));
        assert_null(pith_tokenizer_read(plain));
        assert_non_null(strstr(pith_error(), bad[k].error));
    }
    char bytes[4096];
    pith_tokenizer *t = pith_tokenizer_train(5, captions, 30);
    assert_true(pith_tokenizer_write(t, packed));
    FILE *f = fopen(packed, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    put_bytes(packed, bytes, size - 20);
    assert_null(pith_tokenizer_read(packed));
    assert_non_null(strstr(pith_error(), ".txt.gz: cannot be read to its end"));
    pith_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_as_clip),
        cmocka_unit_test(learns_merges),
        cmocka_unit_test(refuses_bad_vocabularies),
    };
    pith_on_error(test_handler, NULL);
    return cmocka_run_group_tests(tests, setup, remove_place);
}
