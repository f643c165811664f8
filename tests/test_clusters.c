/* test_clusters.c: what is made of a packed set: parts of it, and files of clusters, there and
 * back, and files that lie. */
#include "tests.h"
#include "core/data/data.h"
#include "core/files/files.h"

static const int cluster[5] = { 1, 0, 2, 1, 1 };
static const float centroids[6] = { 1, 0, 0, 1, -1, 0.5f };
static const pith_clusters made = { 5, 3, 2, cluster, centroids, 0 };
enum { DATA = 0x1234, MODEL = 0x5678 };

static const char *written(void)
{
    const char *path = path_of("a.clusters");
    assert_true(pith_clusters_write(path, &made, DATA, MODEL));
    return path;
}

static void there_and_back(void **state)
{
    (void)state;
    const char *path = written();
    pith_clusters *c = pith_clusters_open(path, DATA), *again = pith_clusters_open(path, DATA);
    assert_non_null(c);
    assert_int_equal(c->count, 5);
    assert_int_equal(c->k, 3);
    assert_int_equal(c->width, 2);
    assert_memory_equal(c->cluster, cluster, sizeof cluster);
    assert_memory_equal(c->centroids, centroids, sizeof centroids);
    assert_true(c->hash == again->hash && c->hash);
    pith_clusters_close(again);
    const int other[5] = { 1, 0, 2, 1, 0 };
    pith_clusters changed = made;
    changed.cluster = other;
    assert_true(pith_clusters_write(path, &changed, DATA, MODEL));
    again = pith_clusters_open(path, DATA);
    assert_true(c->hash != again->hash);
    pith_clusters_close(again);
    pith_clusters_close(c);
    pith_clusters_close(NULL);
}

static void refused(const char *path, const char *what)
{
    assert_null(pith_clusters_open(path, DATA));
    said(what);
    said(path);
}

static void of_other_data(void **state)
{
    (void)state;
    const char *path = written();
    assert_null(pith_clusters_open(path, 0xABCD));
    said("clusters of data with the hash 0000000000001234, found data with the hash "
         "000000000000abcd");
    assert_null(pith_clusters_open(path_of("none"), DATA));
    said("No such file");
}

static void not_written(void **state)
{
    (void)state;
    int wrong[5] = { 1, 0, 3, 1, 1 };
    float nan[6] = { 1, 0, 0, NAN, -1, 0.5f };
    pith_clusters c = made;
    c.cluster = wrong;
    assert_false(pith_clusters_write(path_of("no"), &c, DATA, MODEL));
    said("the cluster of pair 2 is 3, but there are 3");
    c = made;
    c.centroids = nan;
    assert_false(pith_clusters_write(path_of("no"), &c, DATA, MODEL));
    said("centroid 1 holds a NaN");
    assert_int_equal(access(path_of("no"), F_OK), -1);
}

/* A file as a forger writes it: any tensors, any hash, any bytes. */
static const char *forged(const char *kind, const char *hash, pith_entry a, pith_entry b,
                          const void *numbers, const void *rows)
{
    const pith_entry entries[] = { a, b };
    const char *meta[] = { "kind", kind, "data", "0000000000001234", "hash", hash, NULL };
    size_t size = 0, bytes = 4 * (size_t)(a.dim[0] * (a.ndim > 1 ? a.dim[1] : 1));
    const size_t more = 4 * (size_t)(b.dim[0] * (b.ndim > 1 ? b.dim[1] : 1));
    char *head = pith_file_head(2, entries, meta, false, &size), *whole = NULL;
    assert_non_null(head);
    whole = realloc(head, size + bytes + more);
    memcpy(whole + size, numbers, bytes);
    memcpy(whole + size + bytes, rows, more);
    const char *path = path_of("forged");
    put_bytes(path, whole, size + bytes + more);
    free(whole);
    return path;
}

static void lies(void **state)
{
    (void)state;
    static const char kind[] = "pith-clusters", zero[] = "0000000000000000";
    const int low[5] = { 1, -1, 2, 1, 1 }, high[5] = { 1, 0, 2, 1, 3 };
    const float infinite[6] = { 1, 0, 0, 1, -1, INFINITY };
    const pith_entry a = { .name = "cluster", .type = "I32", .ndim = 1, .dim = { 5 } },
                     b = { .name = "centroids", .type = "F32", .ndim = 2, .dim = { 3, 2 } };
    pith_entry typed = a, flat = b, whole = b, named = a;
    typed.type = "F32";
    flat.ndim = 1;
    flat.dim[0] = 6;
    whole.type = "I32";
    named.name = "clusters";
    refused(forged(kind, zero, a, b, cluster, centroids), "is damaged: its content has the hash");
    refused(forged("pith-pack", zero, a, b, cluster, centroids), "not a file of clusters");
    refused(forged(kind, zero, a, b, low, centroids), "the cluster of pair 1 is -1");
    refused(forged(kind, zero, a, b, high, centroids), "the cluster of pair 4 is 3");
    refused(forged(kind, zero, a, b, cluster, infinite), "centroid 2 holds a NaN or an infinity");
    refused(forged(kind, zero, typed, b, cluster, centroids), "expected a tensor cluster");
    refused(forged(kind, zero, named, b, cluster, centroids), "expected a tensor cluster");
    refused(forged(kind, zero, a, flat, cluster, centroids), "expected a tensor centroids");
    refused(forged(kind, zero, a, whole, cluster, centroids), "expected a tensor centroids");
}

/* Any byte changed, any end cut off: refused, or, where nothing that counts was changed, read. */
static void every_byte(void **state)
{
    (void)state;
    size_t size;
    const char *path = written();
    char *bytes = slurp(path, &size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x41;
        put_bytes(path_of("b"), bytes, size);
        pith_clusters *c = pith_clusters_open(path_of("b"), DATA);
        if (c) assert_memory_equal(c->cluster, cluster, sizeof cluster);
        if (c) assert_memory_equal(c->centroids, centroids, sizeof centroids);
        pith_clusters_close(c);
        bytes[i] ^= 0x41;
        put_bytes(path_of("b"), bytes, i);
        assert_null(pith_clusters_open(path_of("b"), DATA));
    }
    free(bytes);
}

/* ---- parts of a set ---- */

/* Has pair k of q the picture of pair i of p, and the captions of pair `words`? */
static void same_picture_and_words(const pith_pack *q, int k, const pith_pack *p, int i, int words)
{
    const size_t planes = 3 * (size_t)p->size * (size_t)p->size;
    const int n = p->synthetic_start[words + 1] - p->synthetic_start[words];
    assert_memory_equal(q->pixels + planes * (size_t)k, p->pixels + planes * (size_t)i, planes);
    assert_string_equal(q->caption[k], p->caption[words]);
    assert_int_equal(q->synthetic_start[k + 1] - q->synthetic_start[k], n);
    for (int c = 0; c < n; c++)
        assert_string_equal(q->synthetic[q->synthetic_start[k] + c],
                            p->synthetic[p->synthetic_start[words] + c]);
}

static void keeps_what_belongs_to_a_pair(void **state)
{
    (void)state;
    enum { SIZE = 8 };
    const char *all = path_of("all.pack"), *some = path_of("some.pack");
    assert_true(pith_pack_shapes(all, SIZE, 90, 4));
    pith_pack *p = pith_pack_open(all);
    bool keep[90], none[90] = { false };
    for (int i = 0; i < 90; i++) keep[i] = i % 3 != 1;
    assert_true(pith_pack_keep(p, keep, some));
    pith_pack *q = pith_pack_open(some);
    assert_true(pith_pack_check(q, some));
    assert_int_equal(q->count, 60);
    for (int i = 0, k = 0; i < 90; i++) {
        if (!keep[i]) continue;
        same_picture_and_words(q, k, p, i, i);
        assert_string_equal(q->source[k], p->source[i]);
        assert_string_equal(q->split_name[q->split[k]], p->split_name[p->split[i]]);
        assert_int_equal(q->label[k], p->label[i]);
        k++;
    }
    pith_pack_close(q);
    assert_false(pith_pack_keep(p, none, path_of("none.pack")));
    said("none.pack: there is no pair to pack");
    assert_int_equal(access(path_of("none.pack"), F_OK), -1);
    assert_false(pith_pack_keep(p, keep, path_of("no/folder.pack")));
    pith_pack_close(p);
}

static void exchanges_captions_and_repeats(void **state)
{
    (void)state;
    enum { SIZE = 8 };
    static const pith_chosen list[] = { { 7, 7, 0, NULL, false },
                                        { 2, 5, 0, NULL, true },
                                        { 2, 5, 12, NULL, false },
                                        { 5, 2, 0, "another", false } };
    const char *all = path_of("all.pack"), *made_of = path_of("made.pack");
    char source[64];
    assert_true(pith_pack_shapes(all, SIZE, 90, 4));
    pith_pack *p = pith_pack_open(all);
    assert_true(pith_pack_choose(p, 4, list, made_of));
    pith_pack *q = pith_pack_open(made_of);
    assert_true(pith_pack_check(q, made_of));
    assert_int_equal(q->count, 4);
    for (int k = 0; k < 4; k++) {
        const int i = list[k].pair, words = list[k].caption;
        same_picture_and_words(q, k, p, i, words);
        snprintf(source, sizeof source, k == 2 ? "%s#12" : "%s", p->source[i]);
        assert_string_equal(q->source[k], source);
        assert_string_equal(q->split_name[q->split[k]],
                            k == 3 ? "another" : p->split_name[p->split[i]]);
        assert_true(p->label[i] >= 0);
        assert_int_equal(q->label[k], k == 1 ? -1 : p->label[i]);
    }
    pith_pack_close(q);
    pith_pack_close(p);
}

/* All are there; those of a subset come in the same order; every place is as likely as any. */
static void random_orders(void **state)
{
    (void)state;
    enum { N = 100, SEEDS = 2000 };
    int order[N], again[N], even[N / 2], seen[N] = { 0 }, tenth[10] = { 0 }, equal = 0;
    for (int i = 0; i < N; i++) order[i] = again[N - 1 - i] = i;
    for (int i = 0; i < N / 2; i++) even[i] = 2 * i;
    assert_true(pith_random_order(N, order, "a", 1));
    assert_true(pith_random_order(N, again, "a", 1));
    assert_memory_equal(order, again, sizeof order);
    assert_true(pith_random_order(N / 2, even, "a", 1));
    for (int i = 0, k = 0; i < N; i++) {
        seen[order[i]]++;
        if (order[i] % 2 == 0) assert_int_equal(even[k++], order[i]);
    }
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    assert_true(pith_random_order(N, again, "b", 1));
    for (int i = 0; i < N; i++) equal += order[i] == again[i];
    assert_true(equal < 10);
    for (int seed = 0; seed < SEEDS; seed++) {
        assert_true(pith_random_order(N, order, "a", (uint64_t)seed));
        for (int k = 0; k < N; k++)
            if (order[k] == 17) tenth[k / 10]++;
    }
    for (int k = 0; k < 10; k++) assert_in_range(tenth[k], 140, 260); /* 200, 4.5 deviations */
    assert_true(pith_random_order(0, order, "a", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(of_other_data),
        cmocka_unit_test(not_written),
        cmocka_unit_test(lies),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(keeps_what_belongs_to_a_pair),
        cmocka_unit_test(exchanges_captions_and_repeats),
        cmocka_unit_test(random_orders),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
