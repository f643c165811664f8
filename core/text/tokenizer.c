/* tokenizer.c: CLIP's byte-level BPE: reads and writes its merges file, and encodes texts.
 *
 * Ids are, in this order: 256 single bytes, the printable ones first; 256 single bytes that end a
 * word ("</w>"); the merges; start and end of a text. In the file every byte is spelled as one
 * printable character, and symbols are kept in that spelling. */
#include <errno.h>
#include <unistd.h>
#include <zlib.h>
#include "files/files.h"
#include "parts.h"

enum { BYTES = 512 };
enum { CLIP_MERGES = 48894 }; /* CLIP uses that many lines of its file, which has more */
static const char close_word[] = "</w>";

static bool is_printable(int b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

int pith_byte_symbol(unsigned char byte, bool last)
{
    /* printable bytes come first, and each of the two groups is in ascending order */
    int before = 0;
    for (int b = 0; b < (is_printable(byte) ? byte : 256); b++) before += is_printable(b);
    for (int b = 0; b < byte && !is_printable(byte); b++) before += !is_printable(b);
    return before + (last ? 256 : 0);
}

/* Writes the UTF-8 of the character that spells a byte; returns its length. */
static int spell(int byte, char out[3])
{
    int c = byte;
    if (!is_printable(byte))
        c = 256 + pith_byte_symbol((unsigned char)byte, false) - pith_byte_symbol(0, false);
    if (c < 128) return out[0] = (char)c, 1;
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 63));
    return 2;
}

void pith_tokenizer_free(pith_tokenizer *t)
{
    if (!t) return;
    pith_table_free(&t->symbols);
    pith_table_free(&t->pairs);
    free(t);
}

pith_tokenizer *pith_tokenizer_bytes(void)
{
    pith_tokenizer *t = calloc(1, sizeof *t);
    int byte_of[256];
    bool good = t != NULL;
    for (int b = 0; b < 256; b++) byte_of[pith_byte_symbol((unsigned char)b, false)] = b;
    for (int i = 0; good && i < BYTES; i++) {
        char text[8];
        int n = spell(byte_of[i % 256], text);
        if (i >= 256) memcpy(text + n, close_word, 4), n += 4;
        good = pith_table_add(&t->symbols, text, (size_t)n) == i;
    }
    if (good) return t;
    pith_tokenizer_free(t);
    pith_raise("no memory for a tokenizer");
    return NULL;
}

pith_merged pith_add_merge(pith_tokenizer *t, int left, int right)
{
    const int pair[2] = { left, right };
    size_t a, b;
    const char *l = pith_table_key(&t->symbols, left, &a),
               *r = pith_table_key(&t->symbols, right, &b);
    char *text = malloc(a + b);
    if (!text) return PITH_NO_MEMORY;
    memcpy(text, l, a);
    memcpy(text + a, r, b);
    pith_merged state = PITH_MERGED;
    if (pith_table_find(&t->pairs, pair, sizeof pair) >= 0) state = PITH_PAIR_AGAIN;
    else if (pith_table_find(&t->symbols, text, a + b) >= 0) state = PITH_SYMBOL_AGAIN;
    else if (pith_table_add(&t->pairs, pair, sizeof pair) < 0 ||
             pith_table_add(&t->symbols, text, a + b) < 0)
        state = PITH_NO_MEMORY;
    free(text);
    return state;
}

int pith_tokenizer_size(const pith_tokenizer *t) { return t->symbols.count + 2; }

/* ---- the file ---- */

static bool add_line(pith_tokenizer *t, const char *path, int number, const char *line)
{
    const size_t a = strcspn(line, " "), b = line[a] ? strcspn(line + a + 1, " ") : 0;
    const char *second = line + a + 1;
    if (!a || !b || second[b])
        return pith_raise(
            "%s:%d: expected a merge, two symbols and a space between them, found \"%.60s\"", path,
            number, line);
    const int left = pith_table_find(&t->symbols, line, a),
              right = pith_table_find(&t->symbols, second, b);
    if (left < 0 || right < 0)
        return pith_raise("%s:%d: no earlier line makes the symbol \"%.*s\"", path, number,
                          (int)(left < 0 ? a : b), left < 0 ? line : second);
    switch (pith_add_merge(t, left, right)) {
    case PITH_MERGED: return true;
    case PITH_PAIR_AGAIN:
        return pith_raise("%s:%d: the merge \"%s\" stands in an earlier line too", path, number,
                          line);
    case PITH_SYMBOL_AGAIN:
        return pith_raise("%s:%d: an earlier line makes the symbol of \"%s\" too", path, number,
                          line);
    default: return pith_raise("no memory to read %s", path);
    }
}

static bool read_lines(pith_tokenizer *t, const char *path, gzFile f)
{
    char line[1024];
    int number = 0, limit = INT32_MAX, failed;
    while (t->pairs.count < limit && gzgets(f, line, sizeof line)) {
        size_t n = strlen(line);
        const bool whole = n > 0 && line[n - 1] == '\n';
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        number++;
        if (!whole && !gzeof(f))
            return pith_raise("%s:%d: no merge is longer than 1,000 characters", path, number);
        if (number == 1) {
            if (!strstr(line, "#version"))
                return pith_raise("%s: expected a merges file whose first line names its #version, "
                                  "found \"%.60s\"",
                                  path, line);
            if (strstr(line, "bpe_simple_vocab_16e6")) limit = CLIP_MERGES;
        } else if (n && !add_line(t, path, number, line)) return false;
    }
    const char *why = gzerror(f, &failed);
    if (failed < 0)
        return pith_raise("%s: cannot be read to its end: %s", path,
                          failed == Z_ERRNO ? strerror(errno) : why);
    if (number == 0) return pith_raise("%s: expected a merges file, found an empty one", path);
    if (limit == CLIP_MERGES && t->pairs.count < limit)
        return pith_raise("%s: CLIP's file has at least %d merges, this one only %d", path, limit,
                          t->pairs.count);
    return true;
}

pith_tokenizer *pith_tokenizer_read(const char *path)
{
    FILE *file = pith_open_regular(path);
    const int d = file ? dup(fileno(file)) : -1, why = errno;
    gzFile f = d >= 0 ? gzdopen(d, "rb") : NULL;
    if (file) fclose(file);
    if (d >= 0 && !f) close(d);
    if (!f) return pith_raise("%s: %s", path, pith_file_error(file ? ENOMEM : why)), NULL;
    pith_tokenizer *t = pith_tokenizer_bytes();
    if (t && !read_lines(t, path, f)) {
        pith_tokenizer_free(t);
        t = NULL;
    }
    gzclose_r(f);
    return t;
}

bool pith_tokenizer_write(const pith_tokenizer *t, const char *path)
{
    const size_t n = strlen(path);
    const bool packed = n > 3 && strcmp(path + n - 3, ".gz") == 0;
    errno = 0;
    FILE *file = pith_begin_file(path);
    const int d = file ? dup(fileno(file)) : -1;
    gzFile f = d >= 0 ? gzdopen(d, packed ? "wb9" : "wbT") : NULL;
    if (d >= 0 && !f) close(d);
    /* no newline at the end, which other readers would take for an empty merge */
    bool good = f && gzputs(f, "#version: 0.2") > 0;
    for (int k = 0; good && k < t->pairs.count; k++) {
        int pair[2];
        size_t size[2];
        memcpy(pair, pith_table_key(&t->pairs, k, NULL), sizeof pair);
        for (int side = 0; good && side < 2; side++) {
            const char *text = pith_table_key(&t->symbols, pair[side], &size[side]);
            good = gzputc(f, side ? ' ' : '\n') > 0 &&
                   gzwrite(f, text, (unsigned)size[side]) == (int)size[side];
        }
    }
    if (f && gzclose_w(f) != Z_OK) good = false;
    const int why = pith_end_file(file, path, good);
    return !why || pith_raise("%s: cannot be written: %s", path, pith_file_error(why));
}

/* ---- encoding ---- */

typedef struct {
    const pith_tokenizer *t;
    int count, context, *ids;
    bool no_memory;
} encoding;

/* Merges the pair that was learned first, wherever it occurs from left to right, until no pair can
 * be merged. Returns how many symbols are left. */
static int merge_all(const pith_tokenizer *t, int *symbol, int n)
{
    for (;;) {
        int best = INT32_MAX, to = 0;
        for (int k = 0; k + 1 < n; k++) {
            const int rank = pith_table_find(&t->pairs, symbol + k, 2 * sizeof(int));
            if (rank >= 0 && rank < best) best = rank;
        }
        if (best == INT32_MAX) return n;
        int pair[2];
        memcpy(pair, pith_table_key(&t->pairs, best, NULL), sizeof pair);
        for (int k = 0; k < n; to++) {
            const bool joined = k + 1 < n && symbol[k] == pair[0] && symbol[k + 1] == pair[1];
            symbol[to] = joined ? BYTES + best : symbol[k];
            k += joined ? 2 : 1;
        }
        n = to;
    }
}

static bool encode_piece(void *context, int kind, const char *bytes, size_t size)
{
    encoding *e = context;
    int few[64], n = 1, *symbol = size > 64 ? malloc(sizeof(int) * size) : few;
    if (!symbol) return e->no_memory = true, false;
    if (kind != PITH_WORD) symbol[0] = e->t->symbols.count + (kind == PITH_END_MARK);
    else {
        for (size_t k = 0; k < size; k++)
            symbol[k] = pith_byte_symbol((unsigned char)bytes[k], k + 1 == size);
        n = merge_all(e->t, symbol, (int)size);
    }
    for (int k = 0; k < n && e->count < e->context; k++) e->ids[e->count++] = symbol[k];
    if (symbol != few) free(symbol);
    return e->count < e->context;
}

int pith_encode(const pith_tokenizer *t, const char *text, int context, int *ids)
{
    encoding e = { t, 0, context, ids, false };
    if (context < 2)
        return pith_raise("a context of %d has no room for start and end of a text", context), 0;
    ids[e.count++] = t->symbols.count;
    if (!pith_split_text(text, encode_piece, &e) || e.no_memory)
        return pith_raise("no memory to encode a text of %zu bytes", strlen(text)), 0;
    if (e.count == context) e.count--;
    ids[e.count++] = t->symbols.count + 1;
    return e.count;
}
