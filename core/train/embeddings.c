/* embeddings.c: a teacher's embeddings, computed once and stored. The header of the file follows
 * from the key alone (data, teacher, views, sizes), and the rows stand in a fixed order. So an
 * interrupted pass is recognised by its header, and how far it came by the length of the file. When
 * all rows stand, their hash is put behind them. */
#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

struct pith_embeddings {
    pith_file *file;
    const float *image, *text; /* (views * n, width), (captions * n, width) */
    int n, width, views, captions;
};

/* What stands before the rows; the caller frees it. */
static char *make_header(const pith_embeddings_key *key, size_t *size)
{
    char data[17], teacher[17], views[16], batch[16], captions[16];
    const int64_t n = key->dataset->count;
    const pith_entry entries[] = {
        { .name = "image", .type = "F32", .ndim = 2, .dim = { key->views * n, key->width } },
        { .name = "text", .type = "F32", .ndim = 2, .dim = { key->captions * n, key->width } },
        { .name = "hash", .type = "U8", .ndim = 1, .dim = { 8 } },
    };
    /* files of one caption do not say so */
    const char *meta[] = { "kind",
                           "pith-embeddings",
                           "data",
                           data,
                           "split",
                           key->dataset->split,
                           "teacher",
                           teacher,
                           "views",
                           views,
                           "batch",
                           batch,
                           key->captions > 1 ? "captions" : NULL,
                           captions,
                           NULL };
    pith_hash_text(key->dataset->hash, data);
    pith_hash_text(key->teacher, teacher);
    snprintf(views, sizeof views, "%d", key->views);
    snprintf(batch, sizeof batch, "%d", key->batch);
    snprintf(captions, sizeof captions, "%d", key->captions);
    *size = 0;
    char *head = pith_file_head(sizeof entries / sizeof *entries, entries, meta, false, size);
    if (!head) pith_raise("no memory for a header of stored embeddings");
    return head;
}

/* ---- writing ---- */

typedef struct {
    const pith_embeddings_key *key;
    int n, batches; /* samples; batches that one view takes */
    FILE *file;
    pith_real *rows; /* (batch, width) */
    float *out;
} writer;

static int64_t batches_of(const writer *w)
{
    return ((int64_t)w->key->views + w->key->captions) * w->batches;
}

/* The bytes of the rows of batches 0 .. j-1. The batches of all views come first, then those of the
 * captions. */
static size_t bytes_before(const writer *w, int64_t j)
{
    return (size_t)(j / w->batches * w->n + j % w->batches * w->key->batch) *
           (size_t)w->key->width * sizeof(float);
}

static bool write_batch(writer *w, int64_t j, pith_embed_batch *embed, void *context)
{
    const pith_embeddings_key *key = w->key;
    const int view = (int)(j / w->batches), first = (int)(j % w->batches) * key->batch;
    const int count = w->n - first < key->batch ? w->n - first : key->batch;
    const size_t size = (size_t)count * (size_t)key->width;
    const int which = view < key->views ? view : key->views - view - 1;
    if (!embed(context, which, first, count, w->rows)) return false;
    for (size_t i = 0; i < size; i++) w->out[i] = (float)w->rows[i];
    errno = 0;
    return (fwrite(w->out, sizeof *w->out, size, w->file) == size && fflush(w->file) == 0 &&
            fsync(fileno(w->file)) == 0) ||
           pith_raise("stored embeddings cannot be written: %s", strerror(errno));
}

/* Opens the file, new or of an interrupted pass, at the place where the next row belongs. Returns
 * how many batches it holds already, -1 after an error. */
static int64_t open_part(writer *w, const char *part)
{
    size_t size;
    struct stat info;
    char *header = make_header(w->key, &size), *found = malloc(size + 1);
    int64_t done = 0;
    w->file = header && found ? pith_open_own(part) : NULL;
    const bool busy = w->file && flock(fileno(w->file), LOCK_EX | LOCK_NB);
    bool good = w->file && !busy && fstat(fileno(w->file), &info) == 0;
    if (good && fread(found, 1, size, w->file) == size && memcmp(found, header, size) == 0) {
        const int64_t all = batches_of(w);
        while (done < all && size + bytes_before(w, done + 1) <= (size_t)info.st_size) done++;
        good = ftruncate(fileno(w->file), (off_t)(size + bytes_before(w, done))) == 0;
    } else if (good)
        good = ftruncate(fileno(w->file), 0) == 0 && fseeko(w->file, 0, SEEK_SET) == 0 &&
               fwrite(header, 1, size, w->file) == size;
    good = good && fseeko(w->file, 0, SEEK_END) == 0;
    if (busy) pith_raise("%s: another process writes it", part);
    else if (!good && header) pith_raise("%s: cannot be written: %s", part, strerror(errno));
    free(header);
    free(found);
    return good ? done : -1;
}

static uint64_t hash_of_rows(const pith_file *f)
{
    uint64_t hash = PITH_HASH;
    for (int k = 0; k < 2; k++) {
        const pith_entry *rows = pith_file_find(f, k ? "text" : "image");
        hash = pith_hash_bytes(hash, rows->data, rows->bytes);
    }
    return hash;
}

static bool append(FILE *f, uint64_t hash)
{
    return fwrite(&hash, sizeof hash, 1, f) == 1 && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

/* The rows are read back from the file, for an earlier process may have written some. */
static bool write_hash(const writer *w, const char *part)
{
    errno = 0;
    bool good = append(w->file, 0);
    pith_file *f = good ? pith_file_open(part) : NULL;
    if (good && !f) return false;
    good = good && fseeko(w->file, -8, SEEK_END) == 0 && append(w->file, hash_of_rows(f));
    pith_file_close(f);
    return good || pith_raise("%s: cannot be written: %s", part, strerror(errno));
}

static bool write_all(writer *w, const char *part, pith_embed_batch *embed, void *context)
{
    const int64_t all = batches_of(w), done = open_part(w, part);
    bool good = done >= 0;
    for (int64_t j = done; good && j < all; j++) good = write_batch(w, j, embed, context);
    good = good && write_hash(w, part);
    if (w->file && fclose(w->file) && good)
        good = pith_raise("%s: cannot be written: %s", part, strerror(errno));
    return good;
}

bool pith_embeddings_write(const char *path, const pith_embeddings_key *key,
                           pith_embed_batch *embed, void *context)
{
    char part[PITH_PATH], directory[PITH_PATH];
    if (access(path, F_OK) == 0) return true;
    const size_t room = (size_t)key->batch * (size_t)key->width;
    writer w = { .key = key,
                 .n = key->dataset->count,
                 .rows = malloc(room * sizeof *w.rows),
                 .out = malloc(room * sizeof *w.out) };
    bool good = (w.rows && w.out) || pith_raise("%s: no memory", path);
    if (good && !w.n) good = pith_raise("%s: the split has no pairs", path);
    w.batches = (w.n + key->batch - 1) / key->batch;
    pith_path(part, "%s.part", path);
    pith_path(directory, "%s", path);
    good = good && write_all(&w, part, embed, context);
    if (good && (rename(part, path) || pith_sync(dirname(directory))))
        good = pith_raise("%s: cannot be written: %s", path, strerror(errno));
    free(w.rows);
    free(w.out);
    return good;
}

/* ---- reading ---- */

static const char *text_of(const pith_file *f, const char *key)
{
    const char *text = pith_file_meta(f, key);
    return text ? text : "(nothing)";
}

static bool is_rows(const pith_entry *e, int64_t rows, int width)
{
    return e && !strcmp(e->type, "F32") && e->ndim == 2 && e->dim[0] == rows && e->dim[1] == width;
}

static bool check(const char *path, const pith_file *f, const pith_embeddings_key *key)
{
    char data[17], teacher[17];
    const char *split = key->dataset->split;
    const int n = key->dataset->count;
    const char *captions = pith_file_meta(f, "captions");
    pith_hash_text(key->dataset->hash, data);
    pith_hash_text(key->teacher, teacher);
    if (strcmp(text_of(f, "kind"), "pith-embeddings"))
        return pith_raise("%s: this is not a file of stored embeddings", path);
    if (strcmp(text_of(f, "data"), data))
        return pith_raise("%s: made from data with the hash %s, found data with the hash %s", path,
                          text_of(f, "data"), data);
    if (strcmp(text_of(f, "teacher"), teacher))
        return pith_raise("%s: made by a teacher with the hash %s, found one with the hash %s",
                          path, text_of(f, "teacher"), teacher);
    const pith_entry *hash = pith_file_find(f, "hash");
    if (!hash || strcmp(hash->type, "U8") || hash->bytes != 8)
        return pith_raise("%s: holds no hash of its rows; remove it, and they are computed anew",
                          path);
    if (!captions) captions = "1";
    if (!(atoi(text_of(f, "views")) == key->views && atoi(captions) == key->captions &&
          !strcmp(text_of(f, "split"), split) &&
          is_rows(pith_file_find(f, "image"), (int64_t)key->views * n, key->width) &&
          is_rows(pith_file_find(f, "text"), (int64_t)key->captions * n, key->width)))
        return pith_raise("%s: made with %s views and %s captions of the split \"%s\", expected %d "
                          "and %d of \"%s\" in rows of %d",
                          path, text_of(f, "views"), captions, text_of(f, "split"), key->views,
                          key->captions, split, key->width);
    const uint64_t found = hash_of_rows(f);
    return memcmp(hash->data, &found, 8) == 0 ||
           pith_raise("%s: is damaged: its rows are not those that were written; remove it, and "
                      "they are computed anew",
                      path);
}

pith_embeddings *pith_embeddings_open(const char *path, const pith_embeddings_key *key)
{
    pith_file *f = pith_file_open(path);
    pith_embeddings *e = f && check(path, f, key) ? calloc(1, sizeof *e) : NULL;
    if (!e) return pith_file_close(f), NULL;
    *e = (pith_embeddings){ .file = f,
                            .n = key->dataset->count,
                            .width = key->width,
                            .views = key->views,
                            .captions = key->captions,
                            .image = (const float *)(const void *)pith_file_find(f, "image")->data,
                            .text = (const float *)(const void *)pith_file_find(f, "text")->data };
    return e;
}

void pith_embeddings_close(pith_embeddings *e)
{
    if (!e) return;
    pith_file_close(e->file);
    free(e);
}

/* Copies the row of each pair's sample out of `entries` blocks of rows, each of all samples: of the
 * batch's view, or, where each has its own, of block own[k]. */
static void gather(const pith_embeddings *e, const float *rows, int entries,
                   const pith_host_batch *b, const int *own, pith_real *out)
{
    const size_t width = (size_t)e->width;
    for (int k = 0; out && k < b->pairs; k++) {
        const int entry = own ? own[k] : b->view % entries;
        assert(b->index[k] >= 0 && b->index[k] < e->n && entry >= 0 && entry < entries);
        const float *row = rows + ((size_t)entry * (size_t)e->n + (size_t)b->index[k]) * width;
        for (size_t i = 0; i < width; i++) out[(size_t)k * width + i] = (pith_real)row[i];
    }
}

void pith_embeddings_gather(const pith_embeddings *e, const pith_host_batch *b, pith_real *image,
                            pith_real *text, pith_real *synthetic)
{
    gather(e, e->image, e->views, b, NULL, image);
    gather(e, e->text, e->captions, b, b->drawn, text);
    gather(e, e->text, e->captions, b, b->drawn + b->rows, synthetic);
}
