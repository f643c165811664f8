/* teacher.c: computes teachers' rows of the training pairs once. A teacher sees each picture as it
 * is, however the student's are augmented; or, with --views K, the same K augmented views of it
 * that the student sees in turn, made from the same random numbers in the teacher's own size. */
#include <stdlib.h>
#include <string.h>
#include "task.h"

typedef struct {
    model *m;
    const pith_dataset *pictures; /* in the size that the teacher sees */
    pith_augment augment;
    int first, view; /* of the rows that are being made */
    uint8_t *picture;
    float *work;
} teacher_context;

static void make_teacher_view(void *context, int k, pith_real *pixels)
{
    const teacher_context *a = context;
    const pith_dataset *s = a->pictures;
    const clip_config *c = &a->m->config;
    const int i = a->first + k;
    char why[256];
    if (!s->decode(s, i, a->view, a->picture, why))
        pith_raise("sample %d of the split \"%s\": %s", i, s->split, why);
    pith_augment_view(&a->augment, (uint64_t)common_seed, (uint64_t)a->view,
                      (uint64_t)s->record(s, i, 0).place, s->size, a->picture, c->mean, c->std,
                      a->work, pixels);
}

static bool embed(void *context, int view, int first, int count, pith_real *rows)
{
    teacher_context *a = context;
    const pith_dataset *s = a->pictures;
    if (view < 0) {
        const char **texts = room(sizeof *texts * (size_t)count);
        for (int k = 0; k < count; k++) texts[k] = s->record(s, first + k, 0).caption;
        encode_texts(&a->m->config, a->m->store, a->m->tokenizer, count, texts, rows);
        free(texts);
        return true;
    }
    a->first = first, a->view = view;
    encode_views(&a->m->config, a->m->store, count, make_teacher_view, a, rows);
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
    const recipe *r;
    const char *out;
} opening;

/* A teacher's rows depend on its weights, and on the views if it sees several. */
static uint64_t hash_of(const char *directory, const recipe *r, const pith_augment *augment)
{
    char path[4200];
    uint64_t hash;
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", directory);
    pith_hash_file(path, &hash);
    if (!r->views) return hash;
    hash = pith_hash_bytes(hash, augment, sizeof *augment);
    return pith_hash_bytes(hash, &common_seed, sizeof common_seed);
}

static void open_one(void *context, int k, const char *directory)
{
    const opening *o = context;
    char path[4200], hash[17];
    model m = open_model_with_tokenizer(directory);
    pith_dataset *dataset = pith_pack_dataset(o->pack, PITH_TRAIN, m.config.image_size);
    const pith_augment augment = o->r->views ? parse_augment(o->r->augment) : (pith_augment){ 0 };
    teacher_context a = { .m = &m,
                          .pictures = dataset,
                          .augment = augment,
                          .picture = room(3 * (size_t)dataset->size * (size_t)dataset->size),
                          .work = room(sizeof(float) * pith_augment_room(dataset->size)) };
    pith_embeddings_key key = { .dataset = dataset,
                                .teacher = hash_of(directory, o->r, &augment),
                                .views = o->r->views ? (int)o->r->views : 1,
                                .batch = 1024,
                                .width = m.config.embed };
    snprintf(path, sizeof path, "%s/teacher-%s.safetensors", o->out,
             pith_hash_text(key.teacher, hash));
    pith_embeddings_write(path, &key, embed, &a);
    o->t->at[k].width = m.config.embed;
    o->t->at[k].scale = model_scale(&m);
    o->t->at[k].rows = pith_embeddings_open(path, &key);
    pith_dataset_close(dataset);
    close_model(&m);
    free(a.picture);
    free(a.work);
}

stored_teachers teachers_open(const char *directories, const pith_pack *pack, const recipe *r,
                              const char *out)
{
    stored_teachers t = { 0 };
    opening o = { &t, pack, r, out };
    t.n = each(directories, open_one, &o);
    for (int k = 0; k < t.n; k++) {
        const size_t bytes = sizeof(pith_real) * (size_t)r->batch * (size_t)t.at[k].width;
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
