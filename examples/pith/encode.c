/* encode.c: opens models and data as they are named on the command line, and computes embeddings of
 * pictures and texts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "files/files.h"
#include "scratch.h"
#include "task.h"

enum { CHUNK = 64 }; /* pictures or captions that one run of a plan encodes */

static void vocabulary_path(char path[4096], const char *directory)
{
    snprintf(path, 4096, "%s/vocab.txt.gz", directory);
}

clip_config named_config(const char *name)
{
    clip_config c;
    if (is_directory(name)) clip_config_read(&c, name);
    else clip_config_named(&c, name);
    return c;
}

void check_model(const char *directory)
{
    if (!is_directory(directory))
        pith_raise("%s: expected the directory of a model, as pith train leaves one", directory);
}

model open_model(const char *directory)
{
    model m = { .store = new_store() };
    char path[4096];
    vocabulary_path(path, directory);
    check_model(directory);
    clip_load(&m.config, m.store, directory);
    if (access(path, F_OK)) return m;
    m.tokenizer = pith_tokenizer_read(path);
    const int size = pith_tokenizer_size(m.tokenizer);
    if (size != m.config.vocabulary)
        pith_raise("%s: its vocabulary has %d ids, that of the model in %s has %d", path, size,
                   directory, m.config.vocabulary);
    return m;
}

model open_model_with_tokenizer(const char *directory)
{
    model m = open_model(directory);
    if (!m.tokenizer)
        pith_raise("%s: the tokenizer, vocab.txt.gz, is missing: for OpenCLIP's models copy CLIP's "
                   "bpe_simple_vocab_16e6.txt.gz to that name",
                   directory);
    return m;
}

void close_model(model *m)
{
    pith_store_free(m->store);
    if (m->tokenizer) pith_tokenizer_free(m->tokenizer);
}

void save_model(const model *m, const char *directory)
{
    char path[4096];
    vocabulary_path(path, directory);
    clip_save(&m->config, m->store, directory);
    if (m->tokenizer) pith_tokenizer_write(m->tokenizer, path);
}

double model_scale(const model *m)
{
    pith_real logarithm = 0;
    pith_tensor_read(pith_store_find(m->store, "logit_scale"), &logarithm);
    return exp((double)logarithm);
}

uint64_t model_hash(const pith_store *s)
{
    uint64_t h = PITH_HASH;
    for (int k = 0; k < pith_store_count(s); k++) {
        const pith_tensor *t = pith_store_at(s, k);
        void *values = tensor_values(t);
        h = pith_hash_bytes(h, values, pith_tensor_bytes(t));
        free(values);
    }
    return h;
}

void *tensor_values(const pith_tensor *t)
{
    void *copy = room(pith_tensor_bytes(t));
    pith_tensor_read(t, copy);
    return copy;
}

pith_pack *open_data(const char *data, int size, double valid, const char *pack)
{
    char temporary[4200], text[80];
    pith_pack_report r = { 0 };
    if (!pack) snprintf(temporary, sizeof temporary, "%s/data.pack", scratch_directory());
    pith_pack *p = pith_data_open(data, pack ? pack : temporary, size, valid, &r);
    if (!pack) unlink(temporary); /* it stays mapped until it is closed */
    const int bad = pith_pack_left_out(&r, text);
    if (bad)
        fprintf(stderr, "%s: left out %d of %d: %s; the first: %s\n", data, bad, bad + r.read, text,
                plain(r.first_bad));
    return p;
}

/* ---- pictures ---- */

/* Computes the rows of pictures that are already normalised. */
typedef struct {
    pith_graph *graph;
    pith_plan *plan;
    pith_node *pixels, *rows;
    int batch, width;
    pith_real *values; /* of the rows, (batch, width) */
} image_encoder;

static image_encoder image_encoder_new(const clip_config *c, pith_store *s, int batch)
{
    image_encoder e = { .graph = pith_graph_new(s, 0), .batch = batch, .width = c->embed };
    e.pixels = pith_input(e.graph, "pixels", PITH_F32, batch, 3, c->image_size, c->image_size);
    e.rows = pith_normalize(clip_image(e.graph, c, e.pixels));
    e.plan = pith_plan_new(e.graph, 1, &e.rows, &common_plan);
    e.values = room(sizeof *e.values * pith_size(e.rows));
    return e;
}

/* Runs it on a whole batch and copies the first n rows. */
static void image_encoder_run(const image_encoder *e, const pith_real *pixels, int n,
                              pith_real *rows)
{
    pith_feed(e->plan, e->pixels, pixels);
    pith_run(e->plan);
    pith_value(e->plan, e->rows, e->values);
    memcpy(rows, e->values, sizeof *rows * (size_t)n * (size_t)e->width);
}

static void image_encoder_free(image_encoder *e)
{
    free(e->values);
    pith_plan_free(e->plan);
    pith_graph_free(e->graph);
}

void encode_views(const clip_config *c, pith_store *s, int n, view_maker *make, void *context,
                  pith_real *rows)
{
    const size_t picture = 3 * (size_t)c->image_size * (size_t)c->image_size;
    image_encoder e = image_encoder_new(c, s, n < CHUNK ? n : CHUNK);
    pith_real *pixels = room(sizeof *pixels * (size_t)e.batch * picture);
    for (int start = 0; start < n; start += e.batch) {
        const int count = n - start < e.batch ? n - start : e.batch;
        for (int k = 0; k < count; k++) make(context, start + k, pixels + (size_t)k * picture);
        image_encoder_run(&e, pixels, count, rows + (size_t)start * (size_t)e.width);
    }
    free(pixels);
    image_encoder_free(&e);
}

typedef struct {
    const clip_config *c;
    const int *index;
    int size;
    const uint8_t *pixels;
    uint8_t *fitted;
} stored_pictures;

static void normalise(void *context, int k, pith_real *out)
{
    const stored_pictures *p = context;
    const clip_config *c = p->c;
    const size_t plane = (size_t)c->image_size * (size_t)c->image_size;
    const uint8_t *view = p->pixels + 3 * (size_t)(p->index ? p->index[k] : k) * (size_t)p->size *
                                          (size_t)p->size;
    if (p->size != c->image_size) {
        pith_resize_planes(view, p->size, p->fitted, c->image_size);
        view = p->fitted;
    }
    for (size_t i = 0; i < 3 * plane; i++)
        out[i] = (pith_real)((view[i] / 255.0 - c->mean[i / plane]) / c->std[i / plane]);
}

void encode_pictures(const clip_config *c, pith_store *s, int n, const int *index, int size,
                     const uint8_t *pixels, pith_real *rows)
{
    stored_pictures p = { c, index, size, pixels,
                          room(3 * (size_t)c->image_size * (size_t)c->image_size) };
    encode_views(c, s, n, normalise, &p, rows);
    free(p.fitted);
}

void make_view(const clip_config *c, const pith_picture *p, uint8_t *pixels)
{
    const size_t plane = (size_t)c->image_size * (size_t)c->image_size;
    uint8_t *view = room(3 * plane);
    pith_preprocess(p, c->image_size, view);
    for (size_t k = 0; k < 3 * plane; k++) pixels[k % 3 * plane + k / 3] = view[k];
    free(view);
}

/* ---- texts ---- */

/* Lays the tokens of captions start .. start+batch-1 one after another. Captions from n on are
 * empty. */
static void lay_tokens(const int *ids, const int *lengths, int context, int start, int n, int batch,
                       int tokens, int *out, int *positions, int *offsets, int *last)
{
    memset(out, 0, sizeof *out * (size_t)tokens);
    memset(positions, 0, sizeof *positions * (size_t)tokens);
    offsets[0] = 0;
    for (int k = 0; k < batch; k++) {
        const int length = start + k < n ? lengths[start + k] : 0;
        for (int i = 0; i < length; i++) {
            out[offsets[k] + i] = ids[(size_t)(start + k) * (size_t)context + (size_t)i];
            positions[offsets[k] + i] = i;
        }
        offsets[k + 1] = offsets[k] + length;
        last[k] = length ? offsets[k + 1] - 1 : 0;
    }
}

void encode_texts(const clip_config *c, pith_store *s, const pith_tokenizer *t, int n,
                  const char *const *texts, pith_real *rows)
{
    const int batch = n < CHUNK ? n : CHUNK;
    int *ids = room(sizeof *ids * (size_t)n * (size_t)c->context),
        *lengths = room(sizeof *lengths * (size_t)n);
    int tokens = 1;
    for (int start = 0; start < n; start += batch) {
        int sum = 0;
        for (int k = start; k < n && k < start + batch; k++)
            sum += lengths[k] = pith_encode(t, texts[k], c->context,
                                            ids + (size_t)k * (size_t)c->context);
        tokens = sum > tokens ? sum : tokens;
    }
    pith_graph *g = pith_graph_new(s, 0);
    const clip_inputs in = clip_inputs_new(g, c, batch, tokens);
    pith_node *row = pith_normalize(clip_text(g, c, &in));
    pith_plan *plan = pith_plan_new(g, 1, &row, &common_plan);
    pith_real *values = room(sizeof *values * pith_size(row));
    int *laid = room(sizeof *laid * (size_t)(2 * tokens + 2 * batch + 1));
    int *positions = laid + tokens, *offsets = positions + tokens, *last = offsets + batch + 1;
    for (int start = 0; start < n; start += batch) {
        const int count = n - start < batch ? n - start : batch;
        lay_tokens(ids, lengths, c->context, start, n, batch, tokens, laid, positions, offsets,
                   last);
        pith_feed(plan, in.ids, laid);
        pith_feed(plan, in.positions, positions);
        pith_feed(plan, in.offsets, offsets);
        pith_feed(plan, in.last, last);
        pith_run(plan);
        pith_value(plan, row, values);
        memcpy(rows + (size_t)start * (size_t)c->embed, values,
               sizeof *rows * (size_t)count * (size_t)c->embed);
    }
    pith_plan_free(plan);
    pith_graph_free(g);
    free(values);
    free(laid);
    free(lengths);
    free(ids);
}
