/* test_clusters.c: files of clusters: there and back, and files that lie. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(of_other_data),
        cmocka_unit_test(not_written),    cmocka_unit_test(lies),
        cmocka_unit_test(every_byte),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
