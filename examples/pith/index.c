/* index.c: computes the unit rows of pictures in files and folders. Rows that were computed before
 * are used again as long as the files have not changed. */
#include "index.h"
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 256 };

static void add_file(picture_index *x, const char *path, const struct stat *info)
{
    char stamp[4096 + 64];
    x->file = realloc(x->file, sizeof *x->file * (size_t)(x->n + 1));
    x->stamp = realloc(x->stamp, sizeof *x->stamp * (size_t)(x->n + 1));
    snprintf(stamp, sizeof stamp, "%lld %lld.%09ld %s", (long long)info->st_size,
             (long long)info->st_mtim.tv_sec, info->st_mtim.tv_nsec, path);
    if (x->file) x->file[x->n] = strdup(path);
    if (x->stamp) x->stamp[x->n] = strdup(stamp);
    if (!x->file || !x->stamp || !x->file[x->n] || !x->stamp[x->n])
        pith_raise("no memory for a list of pictures");
    x->n++;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

void index_add(picture_index *x, const char *path)
{
    struct stat info;
    if (stat(path, &info)) pith_raise("%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        add_file(x, path, &info);
        return;
    }
    char *start[] = { (char *)(uintptr_t)path, NULL };
    /* links to folders are not followed, since they may lead anywhere */
    FTS *walk = fts_open(start, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    if (!walk) pith_raise("%s: %s", path, strerror(errno));
    for (FTSENT *e; (e = fts_read(walk));) {
        if (e->fts_info == FTS_D && e->fts_level > 0 && e->fts_name[0] == '.')
            fts_set(walk, e, FTS_SKIP);
        if ((e->fts_info == FTS_F || e->fts_info == FTS_SL) && e->fts_name[0] != '.' &&
            !strchr(e->fts_path, '\n') && pith_is_picture_name(e->fts_name) &&
            stat(e->fts_accpath, &info) == 0 && S_ISREG(info.st_mode))
            add_file(x, e->fts_path, &info);
    }
    fts_close(walk);
}

void index_free(picture_index *x)
{
    for (int k = 0; k < x->n; k++) free(x->file[k]), free(x->stamp[k]);
    free(x->file);
    free(x->stamp);
    free(x->rows);
    *x = (picture_index){ 0 };
}

/* ---- rows ---- */

typedef struct {
    const char *stamp;
    size_t size;
    const pith_real *row;
} cached_row;

static int by_stamp(const void *a, const void *b)
{
    const cached_row *x = a, *y = b;
    const int order = memcmp(x->stamp, y->stamp, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

typedef struct {
    int n;
    cached_row *list;
    char *stamps;
    pith_real *rows;
} cached_index;

/* The rows of an index file, sorted by stamp; none if it is missing, damaged, of another width, or
 * holds what is no number. */
static cached_index read_cache(const char *cache, int width)
{
    cached_index x = { 0 };
    if (!cache || access(cache, F_OK)) return x;
    pith_store *s = pith_store_new();
    pith_on_error(keep_quiet, NULL);
    const bool whole = pith_store_load(s, cache);
    pith_on_error(NULL, NULL);
    const pith_tensor *rows = pith_store_find(s, "image_embeds"),
                      *files = pith_store_find(s, "image_files");
    const bool good = rows && files && rows->dtype == PITH_F32 && rows->ndim == 2 &&
                      rows->dim[1] == width && files->dtype == PITH_U8 &&
                      pith_tensor_not_finite(rows) < 0;
    if (!whole) fprintf(stderr, "%s; made anew\n", pith_error());
    else if (!good) fprintf(stderr, "%s: holds no rows of pictures; made anew\n", cache);
    if (whole && good) {
        x.list = room(sizeof *x.list * (size_t)rows->dim[0]);
        x.rows = tensor_values(rows);
        x.stamps = tensor_values(files);
        const char *text = x.stamps, *end = text + pith_tensor_size(files);
        for (const char *line;
             x.n < rows->dim[0] && (line = memchr(text, '\n', (size_t)(end - text)));
             text = line + 1, x.n++)
            x.list[x.n] = (cached_row){ text, (size_t)(line - text),
                                        x.rows + (size_t)x.n * (size_t)width };
        qsort(x.list, (size_t)x.n, sizeof *x.list, by_stamp);
    }
    pith_store_free(s);
    return x;
}

/* Reads a picture. One that cannot be read is named on stderr and is no error. */
static bool readable(const model *m, const char *path, uint8_t *pixels)
{
    pith_picture p;
    char why[256];
    if (!pith_picture_try(&p, path, why))
        return fprintf(stderr, "%s: %s; left out\n", plain(path), why), false;
    make_view(&m->config, &p, pixels);
    pith_picture_free(&p);
    return true;
}

/* Computes the rows of the n pictures in `wanted`. Those that cannot be read get an empty name. */
static void encode_block(picture_index *x, const model *m, const int *wanted, int n,
                         uint8_t *pixels, pith_real *rows)
{
    const size_t picture = 3 * (size_t)m->config.image_size * (size_t)m->config.image_size,
                 width = (size_t)x->width;
    int read = 0, *from = room(sizeof *from * (size_t)n);
    for (int k = 0; k < n; k++) {
        if (readable(m, x->file[wanted[k]], pixels + picture * (size_t)read))
            from[read++] = wanted[k];
        else *x->file[wanted[k]] = 0;
    }
    if (read) encode_pictures(&m->config, m->store, read, NULL, m->config.image_size, pixels, rows);
    for (int k = 0; k < read; k++)
        memcpy(x->rows + width * (size_t)from[k], rows + width * (size_t)k, sizeof *rows * width);
    free(from);
}

static void drop_nameless(picture_index *x)
{
    const size_t width = (size_t)x->width;
    int to = 0;
    for (int k = 0; k < x->n; k++) {
        if (!*x->file[k]) {
            free(x->file[k]), free(x->stamp[k]);
            continue;
        }
        memmove(x->rows + width * (size_t)to, x->rows + width * (size_t)k, sizeof *x->rows * width);
        x->file[to] = x->file[k];
        x->stamp[to++] = x->stamp[k];
    }
    x->n = to;
}

int index_encode(picture_index *x, const model *m, const char *cache)
{
    const size_t width = (size_t)m->config.embed, side = (size_t)m->config.image_size;
    const cached_index old = read_cache(cache, (int)width);
    int wanted = 0;
    x->width = (int)width;
    x->rows = room(sizeof *x->rows * (size_t)x->n * width);
    int *list = room(sizeof *list * ((size_t)x->n + 1));
    uint8_t *pixels = room(BLOCK * 3 * side * side);
    pith_real *rows = room(BLOCK * width * sizeof *rows);
    for (int k = 0; k < x->n; k++) {
        const cached_row key = { x->stamp[k], strlen(x->stamp[k]), NULL };
        const cached_row *found = old.n
                                      ? bsearch(&key, old.list, (size_t)old.n, sizeof key, by_stamp)
                                      : NULL;
        if (found) memcpy(x->rows + width * (size_t)k, found->row, sizeof *rows * width);
        else list[wanted++] = k;
    }
    for (int k = 0; k < wanted; k += BLOCK)
        encode_block(x, m, list + k, wanted - k < BLOCK ? wanted - k : BLOCK, pixels, rows);
    const int before = x->n;
    drop_nameless(x);
    wanted -= before - x->n;
    free(old.list);
    free(old.stamps);
    free(old.rows);
    free(list);
    free(pixels);
    free(rows);
    return wanted;
}

void index_put_lines(pith_store *s, const char *name, int n, char *const *line)
{
    size_t size = 0;
    for (int k = 0; k < n; k++) size += strlen(line[k]) + 1;
    const int bytes = (int)size;
    if (size > INT32_MAX) pith_raise("%s: %zu bytes are too many for one tensor", name, size);
    char *text = room(size + 1), *end = text;
    for (int k = 0; k < n; k++) end += sprintf(end, "%s\n", line[k]);
    pith_tensor_write(pith_store_add(s, name, PITH_WEIGHT, PITH_U8, 1, &bytes), text);
    free(text);
}

void index_put(const picture_index *x, pith_store *s)
{
    const int dim[2] = { x->n, x->width };
    if (!x->n) return;
    pith_tensor_write(pith_store_add(s, "image_embeds", PITH_WEIGHT, PITH_F32, 2, dim), x->rows);
    index_put_lines(s, "image_files", x->n, x->stamp);
}
