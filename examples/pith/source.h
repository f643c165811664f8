/* source.h: the sources of `pith data fetch`: sets of captioned pictures that lie in Debian
 * packages. A source is a function in a page called source_..., which reads its unpacked files and
 * adds pair after pair to a corpus, and an entry of the table in sources.c. A corpus is a list in
 * memory, and is packed when all its sources are read.
 *
 * As everywhere in the program, an error ends it, before a file is written. */
#ifndef PITH_SOURCE_H
#define PITH_SOURCE_H
#include "data/data.h"

/* ---- corpus.c: a list of pairs --------------------------------------------------------------- */

typedef struct {
    uint8_t *pixels; /* (size, size, 3) */
    char *caption, *source;
    char split[32];
    int label, synthetics;
    char **synthetic;
} corpus_pair;

typedef struct {
    int size, count, room;
    corpus_pair *at;
    int first_label, next_label; /* of the source that is being read; of the one that comes next */
    pith_table classes;          /* of the source that is being read, by name */
    uint8_t *square;             /* memory for a picture on its square */
    pith_pack_report *report;
} corpus;

corpus *corpus_new(int size, pith_pack_report *report);
/* Labels of the pairs to come begin where those of the pairs before end. */
void corpus_next_source(corpus *c);
/* The number of a class of this source: 0, 1, 2, ... as they are first asked for. */
int corpus_class(corpus *c, const char *name);
/* Adds a pair; the picture is laid on white and fitted whole into a square. source: family and
 * file, "stamps/animals/dog.png". split: NULL: see corpus_split. class: a number that counts within
 * the source, or -1. A pair without a caption is counted and left out. */
void corpus_add(corpus *c, const pith_picture *p, const char *caption, const char *source,
                const char *split, int class);
/* One more synthetic caption of the pair that was added last. */
void corpus_add_synthetic(corpus *c, const char *caption);
/* Reads a picture and adds it; one that cannot be read is counted and left out. */
void corpus_add_file(corpus *c, const char *path, const char *caption, const char *source,
                     int class);
/* Counts what is left out; *counter is one of the report's. */
void corpus_skip(corpus *c, int *counter, const char *source);
/* The split of a caption, by its hash: 10 % "test", 4 % "valid", the rest "train". Case and
 * punctuation count for nothing, so that equal captions of all sources fall on the same side; but
 * source_emoji.c has rules of its own, and may train on a caption that is held out here, or the
 * reverse.
 */
const char *corpus_split(const char *caption);
void corpus_write(const corpus *c, const char *out);
void corpus_free(corpus *c);

/* ---- sources.c: the table -------------------------------------------------------------------- */

typedef struct {
    const char *name;  /* of a Debian package */
    int megabytes;     /* to download, in Debian 12 */
    const char *holds; /* what it holds, and under which licence */
    const char *path;  /* NULL: all of it is unpacked; else only this file or folder */
} source_package;
enum { MOST_PACKAGES = 8, MOST_SOURCES = 16 };
typedef struct {
    const char *name;
    void (*read)(corpus *c, const char *debs); /* debs: where the packages are unpacked */
    source_package package[MOST_PACKAGES];
} data_source;

typedef struct {
    int count;
    const data_source *at[MOST_SOURCES];
} source_choice;
/* The sources with these names, between commas; an error if there is no such source. */
source_choice sources_named(const char *names);
const char *sources_names(void); /* all names, for messages */
/* Downloads and unpacks what is not yet in `debs`, and says so before. False with the reason in
 * `why`. */
bool sources_fetch(const source_choice *s, const char *debs, char why[512]);
void sources_pack(const source_choice *s, const char *debs, const char *out, int size,
                  pith_pack_report *report);

/* ---- source_files.c -------------------------------------------------------------------------- */

/* The files whose names have this ending, below a folder of an unpacked package, in alphabetical
 * order; links are not followed. It is an error if there is no such file: `package` is then named.
 */
typedef struct {
    int count;
    char **path;  /* whole */
    size_t below; /* path[i] + below: the part below the folder */
} file_list;
file_list files_below(const char *debs, const char *folder, const char *ending,
                      const char *package);
void files_free(file_list *f);
/* A whole file of at most 1 GiB, closed by a zero byte, which the caller frees; NULL if it cannot
 * be read. */
char *file_bytes(const char *path, size_t *size);
/* Into `to`: the first folder, or the first `depth` folders, of a path: "animals/birds". */
void folder_of(char to[256], const char *below, int depth);
/* Into `to`: the name of a file without its folders and ending, _ and - as spaces. */
void words_of_name(char to[256], const char *path);
/* Into `to`: a text in small letters, with one space in place of whatever is no letter and no
 * digit. */
void bare_words(char *to, size_t room, const char *text);
/* A number in 0 .. 999 that depends on nothing but the text. */
int per_mille(const char *text);

/* ---- source_zip.c ---------------------------------------------------------------------------- */

/* The content of a file of a ZIP archive that lies in memory, closed by a zero byte, which the
 * caller frees; NULL if it is not there or damaged. */
char *zip_bytes(const char *zip, size_t zip_size, const char *name, size_t *size);

/* ---- the sources ----------------------------------------------------------------------------- */

void read_emoji(corpus *c, const char *debs);
void read_twemoji(corpus *c, const char *debs);
void read_stamps(corpus *c, const char *debs);
void read_clipart(corpus *c, const char *debs);
void read_furniture(corpus *c, const char *debs);
void read_icons(corpus *c, const char *debs);
void read_tiles(corpus *c, const char *debs);
void read_flags(corpus *c, const char *debs);
void read_fashion(corpus *c, const char *debs);
#endif
