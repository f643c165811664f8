/* embeddings.c: a teacher's rows, computed once. The header of the file is a function of what was embedded and how, so a file
 * is checked by making its header again; rows follow in order, so a pass cut off goes on from the file's own length. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

struct pith_embeddings {
    void *map;
    size_t size;
    const float *image, *text;          /* (views * n, width), (n, width) */
    int n, width, views, pairs;
    int *row;                           /* place in the pack -> row, (pairs) */
};

static int count_of(const pith_embeddings_key *key)
{
    int n = 0;
    for (int i = 0; i < key->pack->count; i++) n += key->pack->split[i] == key->split;
    return n;
}

/* The eight bytes of length and the JSON, padded so that rows begin at a multiple of eight. Freed by the caller. */
static char *make_header(const pith_embeddings_key *key, int batch, size_t *size)
{
    char data[17], teacher[17], views[16], size_text[16];
    const int n = count_of(key);
    const json_int_t images = (json_int_t)key->views * n, row = 4 * key->width;
    snprintf(data, sizeof data, "%016" PRIx64, key->pack->hash);
    snprintf(teacher, sizeof teacher, "%016" PRIx64, key->teacher);
    snprintf(views, sizeof views, "%d", key->views);
    snprintf(size_text, sizeof size_text, "%d", batch);
    json_t *header = json_pack(
        "{s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}, s:{s:s, s:[I, i], s:[I, I]}, s:{s:s, s:[i, i], s:[I, I]}}", "__metadata__",
        "format", "pt", "kind", "pith-embeddings", "data", data, "split", key->pack->split_name[key->split], "teacher", teacher,
        "views", views, "batch", size_text, "image", "dtype", "F32", "shape", images, key->width, "data_offsets", (json_int_t)0,
        images * row, "text", "dtype", "F32", "shape", n, key->width, "data_offsets", images * row, (images + n) * row);
    char *json = json_dumps(header, JSON_COMPACT);
    const size_t length = json ? (strlen(json) + 7) / 8 * 8 : 0;
    char *text = json ? malloc(length + 9) : NULL;
    if (text) {
        for (int k = 0; k < 8; k++) text[k] = (char)(length >> 8 * k & 255);
        snprintf(text + 8, length + 1, "%-*s", (int)length, json);
    } else pith_raise("no memory for a header of stored embeddings");
    free(json);
    json_decref(header);
    *size = length + 8;
    return text;
}

/* ---- writing ---- */

typedef struct {
    const pith_embeddings_key *key;
    int n, *index;                      /* places in the pack, (n) */
    int batches;                        /* of one view */
    FILE *file;
    pith_real *rows;                    /* (batch, width) */
    float *out;
} writer;

/* The bytes that batches 0 .. j-1 take; the captions' come after those of the last view. */
static size_t bytes_before(const writer *w, int64_t j)
{
    return (size_t)(j / w->batches * w->n + j % w->batches * w->key->batch) * (size_t)w->key->width * sizeof(float);
}

static bool write_batch(writer *w, int64_t j, pith_embed_batch *embed, void *context)
{
    const pith_embeddings_key *key = w->key;
    const int view = (int)(j / w->batches), first = (int)(j % w->batches) * key->batch;
    const int count = w->n - first < key->batch ? w->n - first : key->batch;
    const size_t size = (size_t)count * (size_t)key->width;
    if (!embed(context, view == key->views ? -1 : view, count, w->index + first, w->rows)) return false;
    for (size_t i = 0; i < size; i++) w->out[i] = (float)w->rows[i];
    errno = 0;
    return (fwrite(w->out, sizeof *w->out, size, w->file) == size && fflush(w->file) == 0 && fsync(fileno(w->file)) == 0) ||
           pith_raise("stored embeddings cannot be written: %s", strerror(errno));
}

/* How many batches an earlier pass has left in the file; it is then open behind them. -1 after an error. */
static int64_t open_part(writer *w, const char *part)
{
    size_t size;
    struct stat info;
    char *header = make_header(w->key, w->key->batch, &size), *found = malloc(size + 1);
    int64_t done = 0;
    w->file = header && found ? fopen(part, "rb+") : NULL;
    if (!w->file && header && found) w->file = fopen(part, "wb+");
    bool good = w->file && fstat(fileno(w->file), &info) == 0;
    if (good && fread(found, 1, size, w->file) == size && memcmp(found, header, size) == 0) {
        const int64_t all = (w->key->views + 1) * (int64_t)w->batches;
        while (done < all && size + bytes_before(w, done + 1) <= (size_t)info.st_size) done++;
        good = ftruncate(fileno(w->file), (off_t)(size + bytes_before(w, done))) == 0;
    } else if (good)
        good = ftruncate(fileno(w->file), 0) == 0 && fseeko(w->file, 0, SEEK_SET) == 0 &&
               fwrite(header, 1, size, w->file) == size;
    good = good && fseeko(w->file, 0, SEEK_END) == 0;
    if (!good && header) pith_raise("%s: cannot be written: %s", part, strerror(errno));
    free(header);
    free(found);
    return good ? done : -1;
}

static bool write_all(writer *w, const char *part, pith_embed_batch *embed, void *context)
{
    const int64_t all = (w->key->views + 1) * (int64_t)w->batches, done = open_part(w, part);
    bool good = done >= 0;
    for (int64_t j = done; good && j < all; j++) good = write_batch(w, j, embed, context);
    if (w->file && fclose(w->file) && good) good = pith_raise("%s: cannot be written: %s", part, strerror(errno));
    return good;
}

bool pith_embeddings_write(const char *path, const pith_embeddings_key *key, pith_embed_batch *embed, void *context)
{
    char part[PITH_PATH], directory[PITH_PATH];
    if (access(path, F_OK) == 0) return true;
    const size_t room = (size_t)key->batch * (size_t)key->width;
    writer w = { .key = key, .n = count_of(key), .index = malloc(sizeof(int) * ((size_t)key->pack->count + 1)),
                 .rows = malloc(room * sizeof *w.rows), .out = malloc(room * sizeof *w.out) };
    bool good = (w.index && w.rows && w.out) || pith_raise("%s: no memory", path);
    if (good && !w.n) good = pith_raise("%s: there is no pair in this part of the data", path);
    for (int i = 0, k = 0; good && i < key->pack->count; i++)
        if (key->pack->split[i] == key->split) w.index[k++] = i;
    w.batches = (w.n + key->batch - 1) / key->batch;
    pith_path(part, "%s.part", path);
    pith_path(directory, "%s", path);
    good = good && write_all(&w, part, embed, context);
    if (good && (rename(part, path) || pith_sync(dirname(directory))))
        good = pith_raise("%s: cannot be written: %s", path, strerror(errno));
    free(w.index);
    free(w.rows);
    free(w.out);
    return good;
}

/* ---- reading ---- */

static const char *text_of(const json_t *meta, const char *key)
{
    const char *text = json_string_value(json_object_get(meta, key));
    return text ? text : "(nothing)";
}

/* Where the rows begin, 0 after an error. */
static size_t check_header(const char *path, const char *map, size_t size, const pith_embeddings_key *key)
{
    char data[17], teacher[17];
    size_t length = 0;
    for (int k = 7; size >= 8 && k >= 0; k--) length = length << 8 | (unsigned char)map[k];
    json_error_t error;
    json_t *header = size >= 8 && length <= size - 8 ? json_loadb(map + 8, length, 0, &error) : NULL;
    const json_t *meta = json_object_get(header, "__metadata__");
    snprintf(data, sizeof data, "%016" PRIx64, key->pack->hash);
    snprintf(teacher, sizeof teacher, "%016" PRIx64, key->teacher);
    size_t expected;
    char *wanted = make_header(key, atoi(text_of(meta, "batch")), &expected);
    bool good = wanted != NULL;
    if (good && strcmp(text_of(meta, "kind"), "pith-embeddings"))
        good = pith_raise("%s: this is not a file of stored embeddings", path);
    else if (good && strcmp(text_of(meta, "data"), data))
        good = pith_raise("%s: made from the data %s, these are the data %s", path, text_of(meta, "data"), data);
    else if (good && strcmp(text_of(meta, "teacher"), teacher))
        good = pith_raise("%s: made by the teacher %s, this is the teacher %s", path, text_of(meta, "teacher"), teacher);
    else if (good && (length + 8 != expected || memcmp(map, wanted, expected)))
        good = pith_raise("%s: made with %s views of \"%s\", wanted are %d views of \"%s\" in rows of %d", path,
                          text_of(meta, "views"), text_of(meta, "split"), key->views,
                          key->pack->split_name[key->split], key->width);
    const size_t rows = (size_t)(key->views + 1) * (size_t)count_of(key) * (size_t)key->width * sizeof(float);
    if (good && size != expected + rows)
        good = pith_raise("%s: %zu bytes were expected, the file has %zu", path, expected + rows, size);
    free(wanted);
    json_decref(header);
    return good ? expected : 0;
}

pith_embeddings *pith_embeddings_open(const char *path, const pith_embeddings_key *key)
{
    struct stat info;
    const int f = open(path, O_RDONLY);
    pith_embeddings *e = calloc(1, sizeof *e);
    const bool known = f >= 0 && fstat(f, &info) == 0;
    void *map = known && info.st_size > 0 ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, f, 0) : MAP_FAILED;
    const int why = known && !info.st_size ? ENODATA : errno;
    if (f >= 0) close(f);
    if (!e || map == MAP_FAILED) return free(e), pith_raise("%s: %s", path, strerror(why)), NULL;
    *e = (pith_embeddings){ .map = map, .size = (size_t)info.st_size, .n = count_of(key), .width = key->width,
                            .views = key->views, .pairs = key->pack->count };
    const size_t start = check_header(path, map, e->size, key);
    e->row = start ? malloc(sizeof *e->row * (size_t)e->pairs) : NULL;
    if (!e->row) return pith_embeddings_close(e), NULL;
    e->image = (const float *)((const char *)map + start);
    e->text = e->image + (size_t)e->views * (size_t)e->n * (size_t)e->width;
    for (int i = 0, k = 0; i < e->pairs; i++) e->row[i] = key->pack->split[i] == key->split ? k++ : -1;
    return e;
}

void pith_embeddings_close(pith_embeddings *e)
{
    if (!e) return;
    munmap(e->map, e->size);
    free(e->row);
    free(e);
}

void pith_embeddings_gather(const pith_embeddings *e, const pith_minibatch *b, pith_real *image, pith_real *text)
{
    const size_t width = (size_t)e->width, view = (size_t)(b->view % e->views) * (size_t)e->n;
    for (int k = 0; k < b->pairs; k++) {
        assert(e->row[b->index[k]] >= 0);
        const size_t row = (size_t)e->row[b->index[k]], to = (size_t)k * width;
        for (size_t i = 0; image && i < width; i++) image[to + i] = (pith_real)e->image[(view + row) * width + i];
        for (size_t i = 0; text && i < width; i++) text[to + i] = (pith_real)e->text[row * width + i];
    }
}
