/* curate.c: the training pairs of a set and their halves, rows of its pictures, and files beside
 * it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "files/files.h"

int *training_pairs(const pith_pack *pack, const char *data, int *n)
{
    int *index = room(sizeof *index * (size_t)pack->count);
    *n = 0;
    for (int i = 0; i < pack->count; i++)
        if (pack->split[i] == PITH_TRAIN) index[(*n)++] = i;
    if (!*n) pith_raise("%s: the split \"train\" has no pairs", data);
    return index;
}

/* The lowest bit of FNV-1a knows the lowest bits of the bytes alone, so a higher one. */
bool is_second_half(const char *caption)
{
    return pith_hash_bytes(PITH_HASH, caption, strlen(caption)) >> 32 & 1;
}

pith_real *picture_rows(const model *m, const char *directory, const pith_pack *pack, int n,
                        const int *index)
{
    const size_t width = (size_t)m->config.embed;
    pith_real *rows = room(sizeof *rows * (size_t)n * width);
    encode_pictures(&m->config, m->store, n, index, pack->size, pack->pixels, rows);
    for (size_t k = 0; k < (size_t)n * width; k++)
        if (!isfinite(rows[k])) {
            const int i = (int)(k / width);
            pith_raise("%s: its embedding of %s holds a NaN or an infinity", directory,
                       plain(pack->source[index ? index[i] : i]));
        }
    return rows;
}

void name_beside(char path[4096], const char *out, const char *ending)
{
    size_t size = strlen(out);
    if (size > 5 && !strcmp(out + size - 5, ".pack")) size -= 5;
    snprintf(path, 4096, "%.*s%s", (int)size, out, ending);
}

void sheet_open(sheet *s)
{
    *s = (sheet){ 0 };
    if (!(s->f = open_memstream(&s->text, &s->size))) pith_raise("no memory for a table");
}

void sheet_write(sheet *s, const char *path)
{
    if (fclose(s->f)) pith_raise("no memory to write %s", path);
    pith_write_file(path, s->text, s->size);
    free(s->text);
}

void put_column(FILE *f, const char *text)
{
    char *copy = strdup(text);
    if (!copy) pith_raise("no memory for a caption");
    pith_make_plain(copy, 0);
    fputs(copy, f);
    free(copy);
}
