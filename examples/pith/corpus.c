/* corpus.c: a list of captioned pictures in memory, which sources add to and which is then packed:
 * see source.h. */
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "files/files.h"
#include "source.h"

corpus *corpus_new(int size, pith_pack_report *report)
{
    corpus *c = room(sizeof *c);
    *report = (pith_pack_report){ 0 };
    c->size = size;
    c->report = report;
    return c;
}

void corpus_next_source(corpus *c)
{
    pith_table_free(&c->classes);
    c->classes = (pith_table){ 0 };
    c->first_label = c->next_label;
}

int corpus_class(corpus *c, const char *name)
{
    const int number = pith_table_add(&c->classes, name, strlen(name) + 1);
    if (number < 0) pith_raise("no memory for the classes");
    return number;
}

int per_mille(const char *text)
{
    return (int)((pith_hash_bytes(PITH_HASH, text, strlen(text)) >> 40) % 1000);
}

const char *corpus_split(const char *caption)
{
    char bare[1024];
    bare_words(bare, sizeof bare, caption);
    const int d = per_mille(bare);
    return d < 100 ? "test" : d < 140 ? "valid" : "train";
}

static corpus_pair *new_pair(corpus *c)
{
    if (c->count == c->room) {
        c->room = 2 * c->room + 1024;
        c->at = realloc(c->at, (size_t)c->room * sizeof *c->at);
        if (!c->at) pith_raise("no memory for %d pairs", c->room);
    }
    corpus_pair *p = &c->at[c->count++];
    *p = (corpus_pair){ .pixels = room(3 * (size_t)c->size * (size_t)c->size) };
    return p;
}

void corpus_skip(corpus *c, int *counter, const char *source)
{
    if (!c->report->first_bad[0])
        snprintf(c->report->first_bad, sizeof c->report->first_bad, "%s", source);
    ++*counter;
}

/* Lays a picture on white, in the middle of a square. */
static int make_square(corpus *c, const pith_picture *p)
{
    const int side = p->width > p->height ? p->width : p->height;
    const int left = (side - p->width) / 2, top = (side - p->height) / 2;
    const size_t bytes = 3 * (size_t)side * (size_t)side;
    c->square = realloc(c->square, bytes);
    if (!c->square) pith_raise("no memory for a picture of %d x %d", p->width, p->height);
    memset(c->square, 255, bytes);
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            const uint8_t *from = p->rgba + 4 * ((size_t)y * (size_t)p->width + (size_t)x);
            uint8_t *to = c->square + 3 * ((size_t)(y + top) * (size_t)side + (size_t)(x + left));
            for (int k = 0; k < 3; k++)
                to[k] = (uint8_t)((from[k] * from[3] + 255 * (255 - from[3]) + 127) / 255);
        }
    return side;
}

void corpus_add(corpus *c, const pith_picture *p, const char *caption, const char *source,
                const char *split, int class)
{
    if (!*caption) {
        corpus_skip(c, &c->report->empty_caption, source);
        return;
    }
    corpus_pair *pair = new_pair(c);
    const int side = make_square(c, p);
    pith_resize(c->square, side, side, pair->pixels, c->size, c->size);
    pair->caption = copy_of(caption);
    pair->source = copy_of(source);
    pair->label = class < 0 ? -1 : c->first_label + class;
    if (pair->label >= c->next_label) c->next_label = pair->label + 1;
    snprintf(pair->split, sizeof pair->split, "%s", split ? split : corpus_split(caption));
    c->report->read++;
}

void corpus_add_file(corpus *c, const char *path, const char *caption, const char *source,
                     int class)
{
    pith_picture p;
    char why[256];
    if (!*caption) {
        corpus_skip(c, &c->report->empty_caption, source);
    } else if (!pith_picture_try(&p, path, why)) {
        corpus_skip(c, &c->report->unreadable, source);
    } else {
        corpus_add(c, &p, caption, source, NULL, class);
        pith_picture_free(&p);
    }
}

void corpus_add_synthetic(corpus *c, const char *caption)
{
    corpus_pair *p = &c->at[c->count - 1];
    p->synthetic = realloc(p->synthetic, (size_t)(p->synthetics + 1) * sizeof *p->synthetic);
    if (!p->synthetic) pith_raise("no memory for synthetic captions");
    p->synthetic[p->synthetics++] = copy_of(caption);
}

void corpus_write(const corpus *c, const char *out)
{
    pith_packer *to = pith_packer_new(out, c->size);
    for (int i = 0; i < c->count; i++) {
        const corpus_pair *p = &c->at[i];
        pith_packer_add(to, p->pixels, p->caption, p->source, p->split, p->label);
        for (int k = 0; k < p->synthetics; k++) pith_packer_add_synthetic(to, p->synthetic[k]);
    }
    pith_packer_finish(to);
}

void corpus_free(corpus *c)
{
    for (int i = 0; i < c->count; i++) {
        corpus_pair *p = &c->at[i];
        for (int k = 0; k < p->synthetics; k++) free(p->synthetic[k]);
        free(p->synthetic), free(p->source), free(p->caption), free(p->pixels);
    }
    pith_table_free(&c->classes);
    free(c->square);
    free(c->at);
    free(c);
}
