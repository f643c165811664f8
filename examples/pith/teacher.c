/* teacher.c: a teacher's rows of the training pairs: what it says of a plain picture never changes,
 * so one pass is kept and replayed, however the student's pictures are augmented. */
#include <stdlib.h>
#include "task.h"

typedef struct {
    model *m;
    const pith_pack *pack;
} source;

static bool embed(void *context, int view, int count, const int *index, pith_real *rows)
{
    const source *s = context;
    const char **texts = malloc(sizeof *texts * (size_t)count);
    for (int k = 0; k < count; k++) texts[k] = s->pack->caption[index[k]];
    if (view < 0) encode_texts(&s->m->config, s->m->store, s->m->tokenizer, count, texts, rows);
    else
        encode_chosen(&s->m->config, s->m->store, count, index, s->pack->size, s->pack->pixels,
                      rows);
    free(texts);
    return true;
}

teacher teacher_open(model *m, const char *directory, const pith_pack *pack, const char *file)
{
    source s = { m, pack };
    char weights[4096];
    snprintf(weights, sizeof weights, "%s/open_clip_model.safetensors", directory);
    pith_embeddings_key key = {
        .pack = pack, .split = PITH_TRAIN, .views = 1, .batch = 1024, .width = m->config.embed
    };
    pith_hash_file(weights, &key.teacher);
    pith_embeddings_write(file, &key, embed, &s);
    return (teacher){ m->config.embed, model_scale(m), pith_embeddings_open(file, &key) };
}

void teacher_close(teacher *t) { pith_embeddings_close(t->rows); }
