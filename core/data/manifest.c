/* manifest.c: packs a folder or a manifest: lists the pairs that it names, and fits their pictures
 * into squares of one size. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

typedef struct {
    char *file, *path, *caption, *split;
    char **synthetic; /* NULL, or ended by NULL */
    int label;
    char *why; /* its line is wrong, so it is left out; NULL: it is right */
} entry;
typedef struct {
    entry *at;
    int count, room, size;
    double valid;
} list;

/* Adds a pair. `file` is relative to `folder` unless it begins with /. caption and split (or NULL)
 * are the list's to free from now on. */
static bool add(list *l, const char *folder, const char *file, char *caption, char *split,
                int label)
{
    const bool rooted = file[0] == '/' || !*folder;
    const size_t size = strlen(folder) + strlen(file) + 2;
    entry e = { strdup(file), malloc(size), caption, split, NULL, label, NULL };
    if (l->count == l->room) {
        entry *wider = realloc(l->at, sizeof *wider * (2 * (size_t)l->room + 64));
        if (wider) l->at = wider, l->room = 2 * l->room + 64;
    }
    if (!e.file || !e.path || l->count == l->room) {
        free(e.file), free(e.path), free(caption), free(split);
        return pith_raise("%s: no memory", folder);
    }
    snprintf(e.path, size, "%s%s%s", rooted ? "" : folder, rooted ? "" : "/", file);
    l->at[l->count++] = e;
    return true;
}

static void free_texts(char **texts)
{
    for (char **text = texts; text && *text; text++) free(*text);
    free(texts);
}

static void free_list(list *l)
{
    for (int i = 0; i < l->count; i++) {
        free(l->at[i].file), free(l->at[i].path), free(l->at[i].caption), free(l->at[i].split);
        free(l->at[i].why);
        free_texts(l->at[i].synthetic);
    }
    free(l->at);
}

/* ---- manifests ---- */

enum { MOST_SPLIT = 31 };

/* NULL and "": a pair may name no split. */
static bool is_split(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    const size_t size = text ? strlen(text) : 0;
    return size <= MOST_SPLIT && strspn(text ? text : "", allowed) == size &&
           !(size && strchr("0123456789-_", *text)); /* a label without a split before it */
}

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == 0; }

static bool is_label(int64_t label) { return label >= -1 && label <= PITH_MOST_LABEL; }

/* Adds the pair of a line. If the line is wrong, `why` is not "": the pair will be left out, and
 * the report says why. synthetic: the list's to free from now on. */
static bool add_line(list *l, const char *folder, const char *file, const char *caption,
                     const char *split, char **synthetic, int64_t label, const char *why)
{
    const bool good = add(l, folder, file, strdup(caption ? caption : ""),
                          split && *split ? strdup(split) : NULL, (int)label);
    if (good) l->at[l->count - 1].synthetic = synthetic;
    else free_texts(synthetic);
    return good && (!*why || (l->at[l->count - 1].why = strdup(why)) ||
                    pith_raise("%s: no memory", folder));
}

/* The columns that are left, without empty ones, which a table may have at the ends of its lines.
 */
static char **read_synthetic(char *rest, int number, char why[200])
{
    size_t n = 1;
    for (const char *c = rest; c && *c; c++) n += *c == '\t';
    char **texts = rest ? calloc(n + 1, sizeof *texts) : NULL;
    bool good = texts || !rest;
    n = 0;
    for (char *text; good && (text = strsep(&rest, "\t"));) {
        if (*text && is_blank(text))
            snprintf(why, 200, "line %d: a synthetic caption is blank", number);
        good = !*text || (texts[n++] = strdup(text));
    }
    if (!good) snprintf(why, 200, "line %d: no memory", number);
    return texts;
}

/* Is it a line of headings? Columns go by their places. *good: false after an error. */
static bool is_heading(const char *folder, char *const column[4], bool *good)
{
    static const char *const names[] = { "file", "caption", "split", "label" };
    if (!column[1] || strcasecmp(column[0], names[0]) || strcasecmp(column[1], names[1]))
        return false;
    for (int k = 2; k < 4 && column[k] && *good; k++)
        *good = !strcasecmp(column[k], names[k]) ||
                pith_raise("%s: line 1: column %d is called \"%.60s\", expected \"%s\"", folder,
                           k + 1, column[k], names[k]);
    return true;
}

static bool read_tsv_line(list *l, const char *folder, int number, char *line)
{
    char *rest = line, *file = strsep(&rest, "\t"), *caption = strsep(&rest, "\t"),
         *split = strsep(&rest, "\t"), why[200] = "";
    char *given = strsep(&rest, "\t"), *end = NULL;
    const char *label = given;
    const long value = label && *label ? strtol(label, &end, 10) : -1;
    char *const column[] = { file, caption, split, given };
    bool good = true;
    if (number == 1 && is_heading(folder, column, &good)) return good;
    char **synthetic = read_synthetic(rest, number, why);
    if (!is_split(split))
        snprintf(why, sizeof why,
                 "line %d: \"%.60s\" is no split, a word: is there a tab in its caption?", number,
                 split);
    else if ((end && *end) || !is_label(value))
        snprintf(why, sizeof why, "line %d: \"%.60s\" is no label, expected -1 to %d", number,
                 label, PITH_MOST_LABEL);
    return add_line(l, folder, file, caption, split, synthetic, value, why);
}

/* A list of texts, or nothing. */
static char **read_json_synthetic(const json_t *array, int number, char why[200])
{
    char **texts = array ? calloc(json_array_size(array) + 1, sizeof *texts) : NULL;
    bool good = !array || (json_is_array(array) && texts);
    for (size_t k = 0; texts && k < json_array_size(array); k++) {
        const char *text = json_string_value(json_array_get(array, k));
        good = good && text && !is_blank(text) && (texts[k] = strdup(text));
        if (!good) break;
    }
    if (!good)
        snprintf(why, 200,
                 "line %d: expected a list of texts, none of them blank, as \"synthetic\"", number);
    return texts;
}

static bool read_json_line(list *l, const char *folder, int number, const char *line)
{
    json_error_t error;
    char why[300] = "";
    json_t *o = json_loads(line, 0, &error);
    const char *file = json_string_value(json_object_get(o, "file"));
    const char *caption = json_string_value(json_object_get(o, "caption"));
    const char *split = json_string_value(json_object_get(o, "split"));
    const json_t *label = json_object_get(o, "label");
    if (!file) file = json_string_value(json_object_get(o, "file_name"));
    if (!caption) caption = json_string_value(json_object_get(o, "text"));
    const json_int_t value = label ? json_integer_value(label) : -1;
    char **synthetic = read_json_synthetic(json_object_get(o, "synthetic"), number, why);
    if (!o) snprintf(why, sizeof why, "line %d is not JSON: %.160s", number, error.text);
    else if (!file)
        snprintf(why, sizeof why, "line %d: expected an object with \"file\" and \"caption\"",
                 number);
    else if (!is_split(split))
        snprintf(why, sizeof why, "line %d: \"%.60s\" is no split", number, split);
    else if ((label && !json_is_integer(label)) || !is_label(value))
        snprintf(why, sizeof why, "line %d: expected a label from -1 to %d", number,
                 PITH_MOST_LABEL);
    const bool good = add_line(l, folder, file ? file : "", caption, split, synthetic, value, why);
    json_decref(o);
    return good;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n > m && strcasecmp(name + n - m, end) == 0;
}

static bool read_manifest(list *l, const char *folder, const char *path)
{
    FILE *f = pith_open_regular(path);
    if (!f) return pith_raise("%s: %s", path, pith_file_error(errno));
    char *room = malloc(PITH_LINE), *line;
    bool good = room || pith_raise("%s: no memory", path);
    for (int number = 1; good && (line = pith_next_line(f, path, number, room, &good)); number++)
        if (*line)
            good = ends_with(path, ".tsv") ? read_tsv_line(l, folder, number, line)
                                           : read_json_line(l, folder, number, line);
    free(room);
    fclose(f);
    return good;
}

/* ---- a folder of pictures beside NAME.txt, and its folders ---- */

/* The first line of NAME.txt beside NAME.png or NAME.jpg; "" if there is no such file. */
static char *caption_beside(const char *picture)
{
    char *path = malloc(strlen(picture) + 5), line[PITH_LINE] = "";
    if (!path) return NULL;
    strcpy(path, picture);
    strcpy(strrchr(path, '.'), ".txt");
    FILE *f = pith_open_regular(path);
    if (f && !fgets(line, sizeof line, f)) *line = 0;
    line[strcspn(line, "\r\n")] = 0;
    if (f) fclose(f);
    free(path);
    return strdup(strncmp(line, "\xEF\xBB\xBF", 3) ? line : line + 3);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool read_folder(list *l, const char *folder, const char *below)
{
    struct dirent **names;
    char *path = malloc(strlen(folder) + strlen(below) + 260), *inner = malloc(strlen(below) + 260);
    bool good = (path && inner) || pith_raise("%s: no memory", folder);
    if (good) sprintf(path, "%s/%s", folder, below);
    const int n = good ? scandir(path, &names, NULL, by_name) : -1;
    if (good && n < 0) good = pith_raise("%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        struct stat info;
        const char *name = names[i]->d_name;
        sprintf(inner, "%s%s%s", below, *below ? "/" : "", name);
        sprintf(path, "%s/%s", folder, inner);
        /* links to folders are not followed, since they may form a circle */
        if (good && name[0] != '.' && lstat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode)) good = read_folder(l, folder, inner);
            else if (pith_is_picture_name(name))
                good = add(l, folder, inner, caption_beside(path), NULL, -1);
        }
        free(names[i]);
    }
    if (n >= 0) free(names);
    free(path);
    free(inner);
    return good;
}

static bool read_list(list *l, const char *data)
{
    static const char *const names[] = { "captions.tsv", "captions.jsonl", "metadata.jsonl" };
    struct stat info;
    char *path = malloc(strlen(data) + 32);
    bool good = path || pith_raise("%s: no memory", data);
    if (good && stat(data, &info) != 0) good = pith_raise("%s: %s", data, strerror(errno));
    else if (good && !S_ISDIR(info.st_mode)) {
        const char *slash = strrchr(data, '/');
        sprintf(path, "%.*s", slash ? (int)(slash - data) : 0, data);
        good = ends_with(data, ".tsv") || ends_with(data, ".jsonl")
                   ? read_manifest(l, slash == data ? "/" : path, data)
                   : pith_raise("%s: expected a folder or a manifest (.tsv or .jsonl)", data);
    } else if (good) {
        int k = 0;
        for (; k < 3; k++) {
            sprintf(path, "%s/%s", data, names[k]);
            if (access(path, F_OK) == 0) break;
        }
        good = k < 3 ? read_manifest(l, data, path) : read_folder(l, data, "");
    }
    free(path);
    return good;
}

bool pith_captions_read(pith_captions *c, const char *data)
{
    list l = { 0 };
    *c = (pith_captions){ 0 };
    bool good = read_list(&l, data);
    const size_t room = sizeof *c->file * ((size_t)l.count + 1);
    if (good && (!(c->file = calloc(1, room)) || !(c->caption = calloc(1, room))))
        good = pith_raise("%s: no memory for its captions", data);
    for (int i = 0; good && i < l.count; i++) {
        if (!l.at[i].caption) continue;
        c->file[c->count] = l.at[i].file, c->caption[c->count++] = l.at[i].caption;
        l.at[i].file = l.at[i].caption = NULL; /* it is the caller's now */
    }
    free_list(&l);
    if (!good) pith_captions_free(c);
    return good;
}

void pith_captions_free(pith_captions *c)
{
    for (int k = 0; k < c->count; k++) free(c->file[k]), free(c->caption[k]);
    free(c->file);
    free(c->caption);
    *c = (pith_captions){ 0 };
}

/* ---- pictures ---- */

/* Lays a picture on white and fits the whole of it into the middle of a white square. */
static bool fit(const pith_picture *p, int size, uint8_t *out)
{
    const int longer = p->width > p->height ? p->width : p->height;
    int width = (int)(((int64_t)p->width * size + longer / 2) / longer);
    int height = (int)(((int64_t)p->height * size + longer / 2) / longer);
    if (width < 1) width = 1;
    if (height < 1) height = 1;
    const size_t pixels = (size_t)p->width * (size_t)p->height, line = 3 * (size_t)width;
    uint8_t *white = malloc(3 * pixels), *small = malloc(line * (size_t)height);
    bool good = white && small;
    for (size_t k = 0; good && k < pixels; k++) {
        const int alpha = p->rgba[4 * k + 3];
        for (size_t c = 0; c < 3; c++)
            white[3 * k + c] = (uint8_t)((p->rgba[4 * k + c] * alpha + 255 * (255 - alpha) + 127) /
                                         255);
    }
    good = good && pith_resize(white, p->width, p->height, small, width, height);
    memset(out, 255, 3 * (size_t)size * (size_t)size);
    const size_t left = (size_t)(size - width) / 2, top = (size_t)(size - height) / 2;
    for (size_t y = 0; good && y < (size_t)height; y++)
        memcpy(out + 3 * ((top + y) * (size_t)size + left), small + line * y, line);
    free(white);
    free(small);
    return good;
}

static void make_pair(const void *context, int i, pith_pair *s)
{
    const list *l = context;
    const entry *e = &l->at[i];
    pith_picture p;
    s->caption = e->caption;
    s->source = e->file;
    s->label = e->label;
    s->synthetic = (const char *const *)e->synthetic;
    s->split = e->split;
    if (!s->split)
        s->split = pith_uniform_at(pith_hash(e->caption, 0), 0, 0) < l->valid ? "valid" : "train";
    if (e->why) {
        s->state = PITH_UNREADABLE;
        snprintf(s->why, sizeof s->why, "%s", e->why);
    } else if (is_blank(e->caption)) {
        s->state = PITH_NO_CAPTION;
        snprintf(s->why, sizeof s->why, "has no caption");
    } else if (access(e->path, F_OK) != 0) {
        s->state = PITH_MISSING;
        snprintf(s->why, sizeof s->why, "%s", strerror(errno));
    } else if (!pith_picture_try(&p, e->path, s->why)) {
        s->state = strstr(s->why, "no memory") ? PITH_NO_ROOM : PITH_UNREADABLE;
    } else {
        if (!fit(&p, l->size, s->rgb)) s->state = PITH_NO_ROOM;
        pith_picture_free(&p);
    }
}

bool pith_pack_folder(const char *data, const char *out, int size, double valid,
                      pith_pack_report *report)
{
    list l = { .size = size, .valid = valid };
    pith_packer *p = NULL;
    char text[80];
    *report = (pith_pack_report){ .list = report->list };
    bool good = read_list(&l, data);
    for (int i = 0; good && i < l.count; i++)
        if (!l.at[i].caption) good = pith_raise("%s: no memory", data);
    if (good && l.count == 0) good = pith_raise("%s: there is no picture with a caption", data);
    good = good && (p = pith_packer_new(out, size)) != NULL &&
           pith_pack_all(p, size, l.count, make_pair, &l, report);
    if (good && report->read == 0) {
        pith_packer_drop(p); /* before the error is raised, which may end the program */
        p = NULL;
        pith_pack_left_out(report, text);
        good = pith_raise("%s: no usable picture: %s; the first: %s", data, text,
                          report->first_bad);
    }
    free_list(&l);
    if (good) return pith_packer_finish(p);
    pith_packer_drop(p);
    return false;
}

pith_pack *pith_data_open(const char *data, const char *out, int size, double valid,
                          pith_pack_report *report)
{
    struct stat info;
    *report = (pith_pack_report){ .list = report->list };
    if (stat(data, &info) == 0 && S_ISREG(info.st_mode) && !ends_with(data, ".tsv") &&
        !ends_with(data, ".jsonl"))
        return pith_pack_open(data);
    return pith_pack_folder(data, out, size, valid, report) ? pith_pack_open(out) : NULL;
}
