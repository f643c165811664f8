/* files.h: files that are written completely or not at all, safetensors files, and paths and hashes
 * of files. Stores are read and written by pith_store_load and pith_store_save (pith.h).
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_FILES_H
#define PITH_FILES_H
#include "pith.h"

/* ---- files that are written completely or not at all ----------------------------------------- */

/* Between the two calls the caller writes to a file that is new and has no name yet (or, where the
 * file system has no such files, path.PID.tmp): nothing is written through a link, and a killed
 * process leaves nothing. What is there already and is no file is refused. pith_end_file brings it
 * to the disk and renames it to `path`; if `good` is false, which errno explains, or if anything
 * fails, it removes it. Functions that return an int return 0 or an errno and raise no error, so
 * that the caller can clean up before it raises one. */
FILE *pith_begin_file(const char *path);                 /* NULL after an error, with errno set */
int pith_end_file(FILE *f, const char *path, bool good); /* f may be NULL */
/* Writes a whole text and a newline. pith_write_text (pith.h) does the same and raises errors. */
int pith_put_text(const char *path, const char *text);
/* A file of somebody else's, to be read: no FIFO, on which one would wait, and no device, which
 * might not end: NULL, with errno set. */
FILE *pith_open_regular(const char *path);
const char *pith_file_error(int why); /* of that errno, in words */
/* The next line of such a text, without its end, and the first, number 1, without a byte order
 * mark; it lies in `room`. NULL at the end, and where *good is false after an error: a longer one.
 */
enum { PITH_LINE = 1 << 16 };
char *pith_next_line(FILE *f, const char *path, int number, char room[PITH_LINE], bool *good);
/* A file in a run's directory, which may be a stranger's, opened for reading and writing, made if
 * need be. A link is not followed, what has another name elsewhere is copied first, and what is no
 * file is refused: NULL, with errno set. */
FILE *pith_open_own(const char *path);
int pith_sync(const char *path); /* brings a file or directory to the disk (fsync) */

/* ---- safetensors files, mapped into memory --------------------------------------------------- */

/* A tensor of a file. It was checked when the file was opened: it lies inside the file, overlaps no
 * other, and its shape fits its bytes. */
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
const pith_entry *pith_file_at(const pith_file *f, int i); /* in the order of their data */
const pith_entry *pith_file_find(const pith_file *f, const char *name); /* NULL if there is none */
/* What stands before the data of such a file: the length of its header and the header, filled up so
 * that the data begin at a multiple of eight bytes. Of the entries, whose data follow one another,
 * it reads name, type and shape. meta: key, text, key, text, ..., NULL, for __metadata__, after the
 * format "pt" of all such files. sorted: all keys in the order of the alphabet. *size: how many
 * bytes it shall have at least, and then how many it has. The caller frees it; NULL without memory,
 * or if a text is NULL or no UTF-8. */
char *pith_file_head(int n, const pith_entry *entries, const char *const *meta, bool sorted,
                     size_t *size);
/* The text under a key of __metadata__; NULL if there is none. */
const char *pith_file_meta(const pith_file *f, const char *key);

/* ---- names, removal and hashes --------------------------------------------------------------- */

#define PITH_PATH 4096
/* Prints a path. One that is too long is cut, and opening it then fails. */
void pith_path(char path[PITH_PATH], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes a file, a link (not what it leads to), or a directory that holds only files. */
void pith_remove_all(const char *path);
/* Takes a directory for this process: a descriptor to close when it is let go, or -1 with errno
 * set; EWOULDBLOCK: another process has it. */
int pith_take_directory(const char *path);
/* Makes a directory, or finds it; a link or a file in its place is removed. 0 or an errno. */
int pith_make_own(const char *path);
/* FNV-1a, begun with h = PITH_HASH or continued from an earlier h. */
#define PITH_HASH 0xcbf29ce484222325u
uint64_t pith_hash_bytes(uint64_t h, const void *bytes, size_t size);
/* Of a whole file: like FNV-1a, but over words of eight bytes, so that hashing is as fast as
 * reading. pith_hash_file_try also tells how many bytes there are, and returns 0 or an errno. */
int pith_hash_file_try(const char *path, uint64_t *hash, int64_t *bytes);
bool pith_hash_file(const char *path, uint64_t *hash);
/* A hash as all files and messages have it, 16 digits. Returns `text`. */
const char *pith_hash_text(uint64_t h, char text[17]);
#endif
