/* teacher.c: computes a teacher's rows of the training pairs. The teacher sees each picture as it
 * is, however the student's are augmented, so its rows are the same in every epoch and are computed
 * once. */
#include <stdlib.h>
#include <string.h>
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

/* Calls take(directory) for each in "A,B". */
static int each(const char *directories, void (*take)(void *context, int k, const char *directory),
                void *context)
{
    char *copy = strdup(directories), *rest = copy;
    int n = 0;
    for (char *directory; (directory = strsep(&rest, ",")); n++) {
        if (n == PITH_MOST_TEACHERS)
            pith_raise("--teacher: %s names more than %d", directories, PITH_MOST_TEACHERS);
        need_option("--teacher", directory);
        take(context, n, directory);
    }
    free(copy);
    return n;
}

typedef struct {
    stored_teachers *t;
    const pith_pack *pack;
    const char *out;
} opening;

static void open_one(void *context, int k, const char *directory)
{
    const opening *o = context;
    char path[4200], hash[17];
    model m = open_model_with_tokenizer(directory);
    pith_dataset *dataset = pith_pack_dataset(o->pack, PITH_TRAIN, m.config.image_size);
    teacher_context a = { &m, dataset };
    pith_embeddings_key key = {
        .dataset = dataset, .views = 1, .batch = 1024, .width = m.config.embed
    };
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", directory);
    pith_hash_file(path, &key.teacher);
    snprintf(path, sizeof path, "%s/teacher-%s.safetensors", o->out,
             pith_hash_text(key.teacher, hash));
    pith_embeddings_write(path, &key, embed, &a);
    o->t->at[k].width = m.config.embed;
    o->t->at[k].scale = model_scale(&m);
    o->t->at[k].rows = pith_embeddings_open(path, &key);
    pith_dataset_close(dataset);
    close_model(&m);
}

stored_teachers teachers_open(const char *directories, const pith_pack *pack, int batch,
                              const char *out)
{
    stored_teachers t = { 0 };
    opening o = { &t, pack, out };
    t.n = each(directories, open_one, &o);
    for (int k = 0; k < t.n; k++) {
        const size_t bytes = sizeof(pith_real) * (size_t)batch * (size_t)t.at[k].width;
        t.at[k].image = room(bytes), t.at[k].text = room(bytes);
    }
    return t;
}

void teachers_close(stored_teachers *t)
{
    for (int k = 0; k < t->n; k++) {
        pith_embeddings_close(t->at[k].rows);
        free(t->at[k].image), free(t->at[k].text);
    }
}

static void look(void *context, int k, const char *directory)
{
    clip_config c;
    int *size = context;
    (void)k;
    clip_config_read(&c, directory);
    if (c.image_size > *size) *size = c.image_size;
}

int teachers_size(const char *directories, char **first)
{
    int size = 0;
    each(directories, look, &size);
    *first = strndup(directories, strcspn(directories, ","));
    return size;
}
