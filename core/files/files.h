/* files.h: files that are whole or not there, safetensors files, and what a run does with names and
 * hashes. Stores are read and written by pith_store_load and pith_store_save (pith.h).
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_FILES_H
#define PITH_FILES_H
#include "pith.h"

/* ---- files that are whole or not there ------------------------------------------------------- */

/* `path` is written as path.tmp between the two calls, then synced and renamed; where `good` is
 * false (errno says why) or anything fails, it is removed. The ints are 0 or an errno, and nothing
 * is raised: the caller may have to tidy up first. */
FILE *pith_begin_file(const char *path);                 /* NULL and errno */
int pith_end_file(FILE *f, const char *path, bool good); /* f may be NULL */
/* both; pith_write_file raises, too */
int pith_put_file(const char *path, const void *data, size_t size);
int pith_sync(const char *path); /* fsync of a file or directory */

/* ---- safetensors files, mapped into memory --------------------------------------------------- */

/* Every entry was checked: it lies inside the file, overlaps no other, and its shape fits its
 * bytes. */
typedef struct {
    const char *name, *type;
    int ndim;
    int64_t dim[PITH_MAX_DIMS];
    const uint8_t *data;
    size_t bytes;
} pith_entry;
typedef struct pith_file pith_file;
pith_file *pith_file_open(const char *path);
void pith_file_close(pith_file *f);
int pith_file_count(const pith_file *f);
const pith_entry *pith_file_at(const pith_file *f, int i);              /* in order of place */
const pith_entry *pith_file_find(const pith_file *f, const char *name); /* NULL if there is none */
/* of __metadata__; NULL if there is none */
const char *pith_file_meta(const pith_file *f, const char *key);

/* ---- names, removal and hashes ----------------------------------------------------------------
 */

#define PITH_PATH 4096
/* A name too long to fit is cut, and the call it is given to fails with a reason of its own. */
void pith_path(char path[PITH_PATH], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A file, or a directory of files. */
void pith_remove_all(const char *path);
int pith_hash_bytes_of(const char *path, uint64_t *hash, int64_t *bytes); /* 0 or an errno */
bool pith_hash_file(const char *path, uint64_t *hash);
#endif
