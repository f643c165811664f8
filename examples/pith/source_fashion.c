/* source_fashion.c: the source "fashion": Fashion-MNIST, grey photos of clothes of 28 x 28 pixels,
 * 60,000 to train on and 10,000 to test with.
 *
 * A caption is the name of one of ten classes, which is also the label: this is supervision by
 * classes, no open vocabulary. "test" is the set's own. 4 % of the others, by a hash of their
 * number, are "valid": a hash of the caption would hold out whole classes. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "command.h"
#include "files/files.h"
#include "source.h"

#define FOLDER "usr/share/datasets/fashion-mnist"
enum { SIDE = 28, MOST = 70000 };
static const char *const class_name[] = { "t-shirt or top", "trousers", "pullover",
                                          "dress",          "coat",     "sandal",
                                          "shirt",          "sneaker",  "bag",
                                          "ankle boot" };

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The bytes of an IDX file of `count` items of `bytes` bytes each: behind the header, which has
 * `dims` sizes. */
static uint8_t *read_idx(const char *debs, const char *name, unsigned dims, size_t bytes,
                         int *count)
{
    char path[4096];
    uint8_t head[16];
    snprintf(path, sizeof path, "%s/" FOLDER "/%s", debs, name);
    gzFile f = gzopen(path, "r");
    if (!f)
        pith_raise("%s: cannot be read: is the package dataset-fashion-mnist another than Debian "
                   "12's?",
                   path);
    const unsigned size = 4 + 4 * dims;
    const bool good = gzread(f, head, size) == (int)size && big_endian(head) == 0x800 + dims &&
                      big_endian(head + 4) <= MOST &&
                      (dims == 1 ||
                       (big_endian(head + 8) == SIDE && big_endian(head + 12) == SIDE));
    if (!good) pith_raise("%s: not the IDX file that was expected", path);
    *count = (int)big_endian(head + 4);
    const size_t all = (size_t)*count * bytes;
    uint8_t *data = room(all);
    if (gzread(f, data, (unsigned)all) != (int)all)
        pith_raise("%s: ends too early: expected %d items", path, *count);
    gzclose(f);
    return data;
}

static void add_set(corpus *c, const char *debs, const char *file, const char *set)
{
    enum { AREA = SIDE * SIDE };
    char name[64], source[64];
    uint8_t rgba[4 * AREA];
    const pith_picture p = { SIDE, SIDE, rgba };
    int count, labels;
    snprintf(name, sizeof name, "%s-images-idx3-ubyte.gz", file);
    uint8_t *pixels = read_idx(debs, name, 3, AREA, &count);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte.gz", file);
    uint8_t *label = read_idx(debs, name, 1, 1, &labels);
    if (labels != count) pith_raise("%s: %d labels for %d pictures", name, labels, count);
    for (int i = 0; i < count; i++) {
        if (label[i] > 9) pith_raise("%s: label %d, expected 0 to 9", name, label[i]);
        for (size_t k = 0; k < sizeof rgba; k++)
            rgba[k] = k % 4 == 3 ? 255 : pixels[(size_t)i * AREA + k / 4];
        snprintf(source, sizeof source, "fashion/%s/%d", set, i);
        const char *split = !strcmp(set, "test") ? set : per_mille(source) < 40 ? "valid" : set;
        corpus_add(c, &p, class_name[label[i]], source, split, label[i]);
    }
    free(label);
    free(pixels);
}

void read_fashion(corpus *c, const char *debs)
{
    add_set(c, debs, "train", "train");
    add_set(c, debs, "t10k", "test");
}
