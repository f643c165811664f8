/* teacher.c: computes a teacher's rows of the training pairs. The teacher sees each picture as it
 * is, however the student's are augmented, so its rows are the same in every epoch and are computed
 * once. */
#include <stdlib.h>
#include "task.h"

typedef struct {
    model *m;
    const pith_dataset *pictures; /* in the size that the teacher sees */
} teacher_context;

static bool embed(void *context, int view, int first, int count, pith_real *rows)
{
    const teacher_context *a = context;
    const pith_dataset *s = a->pictures;
    const size_t picture = 3 * (size_t)s->size * (size_t)s->size;
    if (view < 0) {
        const char **texts = room(sizeof *texts * (size_t)count);
        for (int k = 0; k < count; k++) texts[k] = s->record(s, first + k, 0).caption;
        encode_texts(&a->m->config, a->m->store, a->m->tokenizer, count, texts, rows);
        free(texts);
        return true;
    }
    uint8_t *pixels = room(picture * (size_t)count);
    for (int k = 0; k < count; k++) {
        char why[256];
        if (!s->decode(s, first + k, view, pixels + picture * (size_t)k, why))
            pith_raise("sample %d of the split \"%s\": %s", first + k, s->split, why);
    }
    encode_pictures(&a->m->config, a->m->store, count, NULL, s->size, pixels, rows);
    free(pixels);
    return true;
}

stored_teacher teacher_open(model *m, const char *directory, const pith_pack *pack,
                            const char *file)
{
    char weights[4096];
    snprintf(weights, sizeof weights, "%s/open_clip_model.safetensors", directory);
    pith_dataset *dataset = pith_pack_dataset(pack, PITH_TRAIN, m->config.image_size);
    teacher_context a = { m, dataset };
    pith_embeddings_key key = {
        .dataset = dataset, .views = 1, .batch = 1024, .width = m->config.embed
    };
    pith_hash_file(weights, &key.teacher);
    pith_embeddings_write(file, &key, embed, &a);
    const stored_teacher t = { m->config.embed, model_scale(m), pith_embeddings_open(file, &key) };
    pith_dataset_close(dataset);
    return t;
}

void teacher_close(stored_teacher *t) { pith_embeddings_close(t->rows); }
