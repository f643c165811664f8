/* index.h: the pictures of files and folders, and their unit rows. */
#ifndef PITH_INDEX_H
#define PITH_INDEX_H
#include "command.h"

typedef struct {
    int n, width;
    char **file;     /* as it was found: "photos/a/1.png" */
    char **stamp;    /* "SIZE TIME FILE": what changes when a file does */
    pith_real *rows; /* (n, width) */
} picture_index;

/* a PNG file, or a folder: all PNG files below it, by name */
void index_add(picture_index *x, const char *path);
/* Fills the rows; those in `cache`, an index saved before, are taken from there where file and
 * stamp agree. cache may be NULL or missing. A picture that cannot be read is left out with a line
 * on stderr, unless `strict`. Returns how many were computed. */
int index_encode(picture_index *x, const model *m, const char *cache, bool strict);
/* n lines as one tensor of bytes, each with its newline */
void index_put_lines(pith_store *s, const char *name, int n, char *const *line);
/* image_embeds (n, width) and image_files, a stamp a line */
void index_put(const picture_index *x, pith_store *s);
void index_free(picture_index *x);
#endif
