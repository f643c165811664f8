/* pack_write.c: writes a packed set. Pixels go to the file as pairs are added; everything else is
 * kept in memory until the end, when all sizes are known and the header can be written in front.
 * README.md shows the layout, pack.c reads it. */
#include <errno.h>
#include "parts.h"

typedef struct {
    char *bytes;
    size_t used, room;
} buffer;

struct pith_packer {
    char *path;
    FILE *file;
    int size, count;
    uint8_t *planes;          /* one picture, channel by channel */
    buffer captions, sources; /* each text closed by a zero byte */
    buffer caption_offsets, source_offsets, split, label;
    buffer synthetic, synthetic_offsets, synthetic_pair;
    pith_table splits;
    uint64_t hash;
};

enum {
    HEADER = 4096
}; /* bytes in front of the pixels: enough for the names of some hundred splits */

static bool append(buffer *b, const void *bytes, size_t size)
{
    if (b->used + size > b->room) {
        const size_t room = 2 * (b->used + size) + 4096;
        char *wider = realloc(b->bytes, room);
        if (!wider) return false;
        b->bytes = wider;
        b->room = room;
    }
    memcpy(b->bytes + b->used, bytes, size);
    b->used += size;
    return true;
}

void pith_packer_drop(pith_packer *p)
{
    if (!p) return;
    if (p->file) pith_end_file(p->file, p->path, false);
    buffer *all[] = {
        &p->captions, &p->sources,   &p->caption_offsets,   &p->source_offsets, &p->split,
        &p->label,    &p->synthetic, &p->synthetic_offsets, &p->synthetic_pair,
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]->bytes);
    pith_table_free(&p->splits);
    free(p->planes);
    free(p->path);
    free(p);
}

pith_packer *pith_packer_new(const char *path, int size)
{
    static const char *const names[] = { "train", "valid", "test" };
    if (size < 1 || size > 4096)
        return pith_raise("%s: the side of pictures is %d, expected 1 to 4096", path, size), NULL;
    pith_packer *p = calloc(1, sizeof *p);
    const int64_t zero = 0;
    bool good = p != NULL;
    if (good) {
        p->size = size;
        p->hash = PITH_HASH;
        p->path = strdup(path);
        p->planes = malloc(3 * (size_t)size * (size_t)size);
        good = p->path && p->planes && append(&p->caption_offsets, &zero, sizeof zero) &&
               append(&p->source_offsets, &zero, sizeof zero) &&
               append(&p->synthetic_offsets, &zero, sizeof zero);
    }
    for (int k = 0; good && k < 3; k++)
        good = pith_table_add(&p->splits, names[k], strlen(names[k]) + 1) == k;
    if (!good) pith_raise("%s: no memory", path);
    else {
        p->file = pith_begin_file(path);
        good = p->file && fseek(p->file, HEADER, SEEK_SET) == 0;
        if (!good) pith_raise("%s: cannot be written: %s", path, pith_file_error(errno));
    }
    if (good) return p;
    pith_packer_drop(p);
    return NULL;
}

static bool append_text(buffer *texts, buffer *offsets, const char *text)
{
    if (!append(texts, text, strlen(text) + 1)) return false;
    const int64_t end = (int64_t)texts->used;
    return append(offsets, &end, sizeof end);
}

bool pith_packer_add(pith_packer *p, const uint8_t *rgb, const char *caption, const char *source,
                     const char *split, int label)
{
    const size_t plane = (size_t)p->size * (size_t)p->size;
    const int number = pith_table_add(&p->splits, split, strlen(split) + 1);
    for (size_t k = 0; k < plane; k++)
        for (size_t c = 0; c < 3; c++) p->planes[c * plane + k] = rgb[3 * k + c];
    if (!*split || strchr(split, '\n'))
        return pith_raise("%s: \"%s\" cannot be the name of a split", source, split);
    if (p->count == INT32_MAX)
        return pith_raise("%s: a set holds at most %d pairs", p->path, INT32_MAX);
    if (number < 0 || !append_text(&p->captions, &p->caption_offsets, caption) ||
        !append_text(&p->sources, &p->source_offsets, source) ||
        !append(&p->split, &number, sizeof number) || !append(&p->label, &label, sizeof label))
        return pith_raise("%s: no memory", p->path);
    if (fwrite(p->planes, 3, plane, p->file) != plane)
        return pith_raise("%s: cannot be written: %s", p->path, strerror(errno));
    p->hash = pith_hash_pair(p->hash, p->planes, 3 * plane, caption, source, split, label);
    p->count++;
    return true;
}

bool pith_packer_add_synthetic(pith_packer *p, const char *caption)
{
    const int pair = p->count - 1;
    if (pair < 0) return pith_raise("%s: a synthetic caption comes after its pair", p->path);
    if (p->synthetic_pair.used / sizeof pair == INT32_MAX - 1)
        return pith_raise("%s: a set holds at most %d synthetic captions", p->path, INT32_MAX - 1);
    p->hash = pith_hash_synthetic(p->hash, caption);
    return (append_text(&p->synthetic, &p->synthetic_offsets, caption) &&
            append(&p->synthetic_pair, &pair, sizeof pair)) ||
           pith_raise("%s: no memory", p->path);
}

/* ---- the end ---- */

static char *make_header(const pith_packer *p, size_t *size)
{
    char hash[17], side[16];
    const int64_t n = p->count, synthetic = (int64_t)(p->synthetic_pair.used / sizeof(int));
    const pith_entry entries[] = {
        { .name = "pixels", .type = "U8", .ndim = 4, .dim = { n, 3, p->size, p->size } },
        { .name = "captions", .type = "U8", .ndim = 1, .dim = { (int64_t)p->captions.used } },
        { .name = "caption_offsets", .type = "I64", .ndim = 1, .dim = { n + 1 } },
        { .name = "source_offsets", .type = "I64", .ndim = 1, .dim = { n + 1 } },
        { .name = "split", .type = "I32", .ndim = 1, .dim = { n } },
        { .name = "label", .type = "I32", .ndim = 1, .dim = { n } },
        { .name = "sources", .type = "U8", .ndim = 1, .dim = { (int64_t)p->sources.used } },
        { .name = "synthetic_offsets", .type = "I64", .ndim = 1, .dim = { synthetic + 1 } },
        { .name = "synthetic_pair", .type = "I32", .ndim = 1, .dim = { synthetic } },
        { .name = "synthetic", .type = "U8", .ndim = 1, .dim = { (int64_t)p->synthetic.used } },
    };
    const int count = (int)(sizeof entries / sizeof *entries) - (synthetic ? 0 : 3);
    buffer names = { 0 };
    bool good = true;
    for (int k = 0; good && k < p->splits.count; k++) {
        const char *name = pith_table_key(&p->splits, k, NULL);
        good = append(&names, name, strlen(name)) &&
               append(&names, k + 1 < p->splits.count ? "\n" : "", 1);
    }
    snprintf(side, sizeof side, "%d", p->size);
    pith_hash_text(p->hash, hash);
    const char *meta[] = { "kind", "pith-pack", "splits", names.bytes, "size",
                           side,   "hash",      hash,     NULL };
    char *head = good ? pith_file_head(count, entries, meta, false, size) : NULL;
    free(names.bytes);
    return head;
}

/* Writes all that comes after the pixels, and the header. Zeros are added to texts so that
 * the integers after them begin at a multiple of eight bytes. */
static bool write_rest(pith_packer *p)
{
    const size_t pixels = 3 * (size_t)p->count * (size_t)p->size * (size_t)p->size;
    if (!append(&p->captions, "\0\0\0\0\0\0\0", (8 - (pixels + p->captions.used) % 8) % 8))
        return false;
    if (p->synthetic_pair.used &&
        !append(&p->sources, "\0\0\0\0\0\0\0", (8 - p->sources.used % 8) % 8))
        return false;
    const buffer *parts[] = {
        &p->captions, &p->caption_offsets,   &p->source_offsets, &p->split,    &p->label,
        &p->sources,  &p->synthetic_offsets, &p->synthetic_pair, &p->synthetic
    };
    const size_t count = sizeof parts / sizeof *parts - (p->synthetic_pair.used ? 0 : 3);
    for (size_t k = 0; k < count; k++)
        if (fwrite(parts[k]->bytes, 1, parts[k]->used, p->file) != parts[k]->used) return false;
    size_t size = HEADER;
    char *head = make_header(p, &size);
    if (head && size > HEADER) errno = E2BIG;
    const bool good = head && size == HEADER && fseek(p->file, 0, SEEK_SET) == 0 &&
                      fwrite(head, 1, size, p->file) == size;
    free(head);
    return good;
}

bool pith_packer_finish(pith_packer *p)
{
    bool good = p->count > 0 || pith_raise("%s: there is no pair to pack", p->path);
    if (good) {
        errno = 0;
        const int why = pith_end_file(p->file, p->path, write_rest(p));
        p->file = NULL;
        good = !why || pith_raise("%s: cannot be written: %s", p->path, pith_file_error(why));
    }
    pith_packer_drop(p);
    return good;
}

/* ---- many pairs ---- */

enum { BLOCK = 256 };

static void list_bad(FILE *f, const pith_pair *s)
{
    char line[4096];
    snprintf(line, sizeof line, "%s: %s", s->source, s->why);
    pith_make_plain(line, 0);
    fprintf(f, "%s\n", line);
}

/* Adds the pairs of a block in order; those that cannot be used are counted. */
static bool add_block(pith_packer *p, const pith_pair *pairs, int n, pith_pack_report *report)
{
    bool good = true;
    for (int k = 0; good && k < n; k++) {
        const pith_pair *s = &pairs[k];
        if (s->state == PITH_GOOD) {
            good = pith_packer_add(p, s->rgb, s->caption, s->source, s->split, s->label);
            for (const char *const *c = s->synthetic; good && c && *c; c++)
                good = pith_packer_add_synthetic(p, *c);
            report->read++;
            continue;
        }
        if (s->state == PITH_NO_ROOM) return pith_raise("%s: no memory for it", s->source);
        report->missing += s->state == PITH_MISSING;
        report->unreadable += s->state == PITH_UNREADABLE;
        report->empty_caption += s->state == PITH_NO_CAPTION;
        if (report->list) list_bad(report->list, s);
        if (!*report->first_bad)
            snprintf(report->first_bad, sizeof report->first_bad, "%.120s: %.120s", s->source,
                     s->why);
    }
    return good;
}

int pith_pack_left_out(const pith_pack_report *report, char text[80])
{
    snprintf(text, 80, "%d missing, %d unreadable, %d without a caption", report->missing,
             report->unreadable, report->empty_caption);
    return report->missing + report->unreadable + report->empty_caption;
}

bool pith_pack_all(pith_packer *p, int size, int count, pith_maker *make, const void *context,
                   pith_pack_report *report)
{
    const size_t picture = 3 * (size_t)size * (size_t)size;
    pith_pair *pairs = malloc(BLOCK * sizeof *pairs);
    uint8_t *rgb = malloc(BLOCK * picture);
    bool good = (pairs && rgb) ||
                pith_raise("no memory to pack %d pictures of side %d", count, size);
    for (int at = 0; good && at < count; at += BLOCK) {
        const int n = count - at < BLOCK ? count - at : BLOCK;
#pragma omp parallel for schedule(static)
        for (int k = 0; k < n; k++) {
            pairs[k] = (pith_pair){ .rgb = rgb + picture * (size_t)k, .label = -1 };
            make(context, at + k, &pairs[k]);
        }
        good = add_block(p, pairs, n, report);
    }
    free(pairs);
    free(rgb);
    return good;
}
