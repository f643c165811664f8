/* teacher.c: what a teacher says of the training pairs, asked once, kept in a file and replayed: its rows of the plain pictures, or of
 * K fixed augmented views of each, which the student then sees too. */
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include "task.h"

/* The training pairs, and each one's row. */
static int *find_rows(const pith_pack *pack, int *row, int *n)
{
    int *index = malloc(sizeof *index * (size_t)pack->count);
    *n = 0;
    for (int i = 0; i < pack->count; i++) {
        row[i] = pack->split[i] == PITH_TRAIN ? *n : -1;
        if (row[i] >= 0)
            index[(*n)++] = i;
    }
    return index;
}

/* Batches of one pair, so that each epoch has every pair and not only whole batches. */
static void encode_views(const model *m, const pith_pack *pack, const recipe *r, teacher *t, int *const index)
{
    enum { CHUNK = 64 };
    const clip_config *c = &m->config;
    const size_t picture = 3 * (size_t)c->image_size * (size_t)c->image_size, width = (size_t)t->width;
    pith_loader_options o = loader_options(c, m->tokenizer, pack, r);
    o.batch = 1;
    o.views = t->views;
    pith_loader *l = pith_loader_new(&o, 0);
    image_encoder e = image_encoder_new(c, m->store, CHUNK);
    pith_real *pixels = calloc(CHUNK * picture, sizeof *pixels), *rows = malloc(sizeof *rows * CHUNK * width);
    for (int v = 0; v < t->views; v++)
        for (int start = 0; start < t->count; start += CHUNK) {
            const int n = t->count - start < CHUNK ? t->count - start : CHUNK;
            for (int k = 0; k < n; k++) {
                const pith_minibatch *b = pith_loader_next(l, NULL);
                memcpy(pixels + (size_t)k * picture, b->pixels, sizeof *pixels * picture);
                index[k] = t->row[b->index[0]];
            }
            image_encoder_run(&e, pixels, n, rows);
            for (int k = 0; k < n; k++)
                memcpy(t->image + ((size_t)v * (size_t)t->count + (size_t)index[k]) * width,
                       rows + (size_t)k * width, sizeof *rows * width);
        }
    free(rows);
    free(pixels);
    image_encoder_free(&e);
    pith_loader_free(l);
}

static void ask(const model *m, const pith_pack *pack, const recipe *r, teacher *t)
{
    const char **texts = malloc(sizeof *texts * (size_t)t->count);
    int n, *index = find_rows(pack, t->row, &n);
    for (int k = 0; k < n; k++)
        texts[k] = pack->caption[index[k]];
    encode_texts(&m->config, m->store, m->tokenizer, n, texts, t->text);
    if (t->views)
        encode_views(m, pack, r, t, index);
    else
        encode_chosen(&m->config, m->store, n, index, pack->size, pack->pixels, t->image);
    free(index);
    free(texts);
}

teacher teacher_open(const model *m, const pith_pack *pack, const recipe *r, int views, const char *file)
{
    teacher t = { .width = m->config.embed, .views = views, .scale = model_scale(m), .store = pith_store_new() };
    t.row = malloc(sizeof *t.row * (size_t)pack->count);
    free(find_rows(pack, t.row, &t.count));
    const bool kept = file && access(file, F_OK) == 0;
    const int image[3] = { views ? views : 1, t.count, t.width };
    if (kept)
        pith_store_load(t.store, file);
    pith_tensor *of_image = kept ? pith_store_find(t.store, "image") : pith_store_add(t.store, "image", PITH_WEIGHT, PITH_F32, 3, image);
    pith_tensor *of_text = kept ? pith_store_find(t.store, "text") : pith_store_add(t.store, "text", PITH_WEIGHT, PITH_F32, 2, image + 1);
    if (!of_image || !of_text || of_image->ndim != 3 || memcmp(of_image->dim, image, sizeof image))
        pith_raise("%s: not this teacher's rows of this data", file);
    t.image = of_image->data;
    t.text = of_text->data;
    if (kept)
        return t;
    ask(m, pack, r, &t);
    if (file)
        pith_store_save(t.store, file, PITH_WEIGHT);
    return t;
}

void teacher_close(teacher *t)
{
    pith_store_free(t->store);
    free(t->row);
}
