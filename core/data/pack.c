/* pack.c: opens a packed set: maps it into memory and checks all of its header before any of it is
 * used. */
#include "parts.h"

typedef struct {
    pith_pack pack; /* what the caller sees */
    pith_file *file;
    const char **caption, **source, **synthetic, **names;
    int *split, *label, *synthetic_start;
    char *name_text;
} opened_pack;

/* Finds a tensor by name and checks its type and number of axes. */
static const pith_entry *find(const opened_pack *s, const char *path, const char *name,
                              const char *type, int ndim)
{
    const pith_entry *e = pith_file_find(s->file, name);
    if (!e) return pith_raise("%s: not a packed set: it has no tensor %s", path, name), NULL;
    if (strcmp(e->type, type) == 0 && e->ndim == ndim) return e;
    return pith_raise("%s: tensor %s: expected %s with %d axes, found %s with %d", path, name, type,
                      ndim, e->type, e->ndim),
           NULL;
}

/* Text i begins at offset i and ends at offset i+1 with a zero byte. */
static const char **read_texts(const opened_pack *s, const char *path, const char *name,
                               const char *offsets, int n)
{
    const pith_entry *text = find(s, path, name, "U8", 1),
                     *places = find(s, path, offsets, "I64", 1);
    int64_t begin, end;
    if (!text || !places) return NULL;
    if (places->dim[0] != n + 1)
        return pith_raise("%s: %s has %lld entries for %d pairs", path, offsets,
                          (long long)places->dim[0], n),
               NULL;
    const char **out = malloc(sizeof *out * (size_t)n);
    if (!out) return pith_raise("%s: no memory", path), NULL;
    for (int i = 0; i < n; i++) {
        memcpy(&begin, places->data + 8 * (size_t)i, 8);
        memcpy(&end, places->data + 8 * (size_t)i + 8, 8);
        if (begin < 0 || end <= begin || (uint64_t)end > text->bytes || text->data[end - 1] != 0) {
            free(out);
            return pith_raise("%s: %s: entry %d does not lie inside %s", path, offsets, i, name),
                   NULL;
        }
        out[i] = (const char *)text->data + begin;
    }
    return out;
}

/* below: numbers of so many `what`; 0: any numbers */
static int *read_numbers(const opened_pack *s, const char *path, const char *name, int n, int below,
                         const char *what)
{
    const pith_entry *p = find(s, path, name, "I32", 1);
    if (!p) return NULL;
    if (p->dim[0] != n)
        return pith_raise("%s: %s has %lld entries for %d pairs", path, name, (long long)p->dim[0],
                          n),
               NULL;
    int *out = malloc(p->bytes);
    if (!out) return pith_raise("%s: no memory", path), NULL;
    memcpy(out, p->data, p->bytes);
    for (int i = 0; below && i < n; i++)
        if (out[i] < 0 || out[i] >= below) {
            pith_raise("%s: %s: entry %d is %d, but there are %d %s", path, name, i, out[i], below,
                       what);
            free(out);
            return NULL;
        }
    return out;
}

/* The names of the splits, one a line. */
static bool read_names(opened_pack *s, const char *path, const char *text)
{
    int n = 1;
    for (const char *c = text; *c; c++) n += *c == '\n';
    s->name_text = strdup(text);
    s->names = malloc(sizeof *s->names * (size_t)n);
    if (!s->name_text || !s->names) return pith_raise("%s: no memory", path);
    char *at = s->name_text;
    for (int k = 0; k < n; k++) s->names[k] = strsep(&at, "\n");
    s->pack.splits = n;
    return true;
}

/* Synthetic captions stand in the order of their pairs. A set may have none. */
static bool read_synthetic(opened_pack *s, const char *path)
{
    pith_pack *p = &s->pack;
    if (!(s->synthetic_start = calloc((size_t)p->count + 1, sizeof *s->synthetic_start)))
        return pith_raise("%s: no memory", path);
    p->synthetic_start = s->synthetic_start;
    if (!pith_file_find(s->file, "synthetic")) return true;
    const pith_entry *e = find(s, path, "synthetic_pair", "I32", 1);
    if (!e) return false;
    if (e->dim[0] > INT32_MAX - 1)
        return pith_raise("%s: synthetic_pair has %lld entries, more than %d", path,
                          (long long)e->dim[0], INT32_MAX - 1);
    const int n = (int)e->dim[0];
    if (!(s->synthetic = read_texts(s, path, "synthetic", "synthetic_offsets", n))) return false;
    int *pair = read_numbers(s, path, "synthetic_pair", n, p->count, "pairs");
    bool good = pair != NULL;
    for (int k = 0; good && k < n; k++) {
        s->synthetic_start[pair[k] + 1] = k + 1;
        good = !k || pair[k] >= pair[k - 1] ||
               pith_raise("%s: synthetic_pair: entry %d is %d, after %d", path, k, pair[k],
                          pair[k - 1]);
    }
    for (int i = 0; i < p->count; i++) /* a pair without any begins where the one before ends */
        if (s->synthetic_start[i + 1] < s->synthetic_start[i])
            s->synthetic_start[i + 1] = s->synthetic_start[i];
    p->synthetic = s->synthetic;
    free(pair);
    return good;
}

static bool read_parts(opened_pack *s, const char *path)
{
    const char *kind = pith_file_meta(s->file, "kind"), *names = pith_file_meta(s->file, "splits");
    const char *hash = pith_file_meta(s->file, "hash");
    if (!kind || strcmp(kind, "pith-pack") != 0 || !names || !hash)
        return pith_raise("%s: not a packed set: its header does not say that it is one", path);
    pith_pack *p = &s->pack;
    p->hash = strtoull(hash, NULL, 16);
    const pith_entry *pixels = find(s, path, "pixels", "U8", 4);
    if (!pixels || !read_names(s, path, names)) return false;
    const int64_t *dim = pixels->dim;
    if (dim[1] != 3 || dim[2] != dim[3] || dim[2] > 4096 || dim[0] > INT32_MAX - 1)
        return pith_raise(
            "%s: tensor pixels: expected (N, 3, S, S), found (%lld, %lld, %lld, %lld)", path,
            (long long)dim[0], (long long)dim[1], (long long)dim[2], (long long)dim[3]);
    p->count = (int)dim[0];
    p->size = (int)dim[2];
    p->pixels = pixels->data;
    if (!(s->caption = read_texts(s, path, "captions", "caption_offsets", p->count))) return false;
    if (!(s->source = read_texts(s, path, "sources", "source_offsets", p->count))) return false;
    if (!(s->split = read_numbers(s, path, "split", p->count, p->splits, "splits"))) return false;
    if (!(s->label = read_numbers(s, path, "label", p->count, 0, ""))) return false;
    if (!read_synthetic(s, path)) return false;
    for (int i = 0; i < p->count; i++)
        if (s->label[i] < -1 || s->label[i] > PITH_MOST_LABEL)
            return pith_raise("%s: the label of pair %d is %d, expected -1 to %d", path, i,
                              s->label[i], PITH_MOST_LABEL);
    p->caption = s->caption;
    p->source = s->source;
    p->split = s->split;
    p->split_name = s->names;
    p->label = s->label;
    return true;
}

pith_pack *pith_pack_open(const char *path)
{
    opened_pack *s = calloc(1, sizeof *s);
    if (!s) return pith_raise("%s: no memory", path), NULL;
    s->pack.inside = s;
    s->file = pith_file_open(path);
    if (s->file && read_parts(s, path)) return &s->pack;
    pith_pack_close(&s->pack);
    return NULL;
}

uint64_t pith_hash_pair(uint64_t h, const uint8_t *planes, size_t bytes, const char *caption,
                        const char *source, const char *split, int label)
{
    const char *texts[] = { caption, source, split };
    h = pith_hash_bytes(h, planes, bytes);
    for (int k = 0; k < 3; k++) h = pith_hash_bytes(h, texts[k], strlen(texts[k]) + 1);
    return pith_hash_bytes(h, &label, sizeof label);
}

uint64_t pith_hash_synthetic(uint64_t h, const char *caption)
{
    h = pith_hash_bytes(h, "synthetic", sizeof "synthetic");
    return pith_hash_bytes(h, caption, strlen(caption) + 1);
}

bool pith_pack_check(const pith_pack *p, const char *path)
{
    const size_t picture = 3 * (size_t)p->size * (size_t)p->size;
    uint64_t hash = PITH_HASH;
    char found[17], written[17];
    for (int i = 0; i < p->count; i++) {
        hash = pith_hash_pair(hash, p->pixels + (size_t)i * picture, picture, p->caption[i],
                              p->source[i], p->split_name[p->split[i]], p->label[i]);
        for (int k = p->synthetic_start[i]; k < p->synthetic_start[i + 1]; k++)
            hash = pith_hash_synthetic(hash, p->synthetic[k]);
    }
    return hash == p->hash ||
           pith_raise("%s: is damaged: its content has the hash %s, it was written with %s", path,
                      pith_hash_text(hash, found), pith_hash_text(p->hash, written));
}

void pith_pack_close(pith_pack *p)
{
    if (!p) return;
    opened_pack *s = p->inside;
    pith_file_close(s->file);
    free(s->caption);
    free(s->source);
    free(s->split);
    free(s->label);
    free(s->synthetic);
    free(s->synthetic_start);
    free(s->names);
    free(s->name_text);
    free(s);
}

int pith_pack_split(const pith_pack *p, const char *name)
{
    for (int k = 0; k < p->splits; k++)
        if (strcmp(p->split_name[k], name) == 0) return k;
    return -1;
}
