/* index.h: the pictures of files and folders, and their unit rows. */
#ifndef PITH_INDEX_H
#define PITH_INDEX_H
#include "command.h"
#include "files/files.h"

typedef struct {
    int n, width;
    char **file;     /* path as it was found: "photos/a/1.png" */
    char **stamp;    /* "SIZE TIME PATH", which differs if the file was changed */
    pith_real *rows; /* (n, width) */
} picture_index;

/* Adds a picture, or all PNG and JPEG files in a folder and its subfolders, sorted by name. */
void index_add(picture_index *x, const char *path);
/* Fills the rows. cache: an index file that was saved before (or NULL, or a path where there is
 * none), from which the rows of unchanged files are taken. A picture that cannot be read is left
 * out with a line on stderr. Returns how many rows were computed. */
int index_encode(picture_index *x, const model *m, const char *cache);
/* Puts n lines, each with its newline, into the store as one tensor of bytes. */
void index_put_lines(pith_store *s, const char *name, int n, char *const *line);
/* Puts image_embeds (n, width) and image_files, one stamp in each line, into the store. */
void index_put(const picture_index *x, pith_store *s);
void index_free(picture_index *x);
#endif
