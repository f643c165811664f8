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

/* Caption number c of each sample; where there is none, zeros. */
static void embed_captions(const teacher_context *a, int c, int first, int count, pith_real *rows)
{
    const pith_dataset *s = a->pictures;
    const clip_config *config = &a->m->config;
    const size_t width = (size_t)config->embed;
    const char **texts = room(sizeof *texts * (size_t)count);
    int n = 0;
    for (int k = 0; k < count; k++)
        if ((texts[n] = s->record(s, first + k, c).caption)) n++;
    if (n) encode_texts(config, a->m->store, a->m->tokenizer, n, texts, rows);
    for (int k = count - 1; k >= 0; k--) { /* each goes up to its sample's place, the last first */
        const bool there = s->record(s, first + k, c).caption;
        if (there)
            memmove(rows + width * (size_t)k, rows + width * (size_t)--n, width * sizeof *rows);
        else memset(rows + width * (size_t)k, 0, width * sizeof *rows);
    }
    free(texts);
}

static bool embed(void *context, int view, int first, int count, pith_real *rows)
{
    teacher_context *a = context;
    if (view < 0) return embed_captions(a, -1 - view, first, count, rows), true;
    a->first = first, a->view = view;
    encode_views(&a->m->config, a->m->store, count, make_teacher_view, a, rows);
    return true;
}

/* The names in "A,B", which lie in *copy, the caller's to free; returns how many. */
static int split_names(const char *directories, char **copy, const char *name[PITH_MOST_TEACHERS])
{
    char *rest = *copy = strdup(directories);
    int n = 0;
    for (const char *directory; (directory = strsep(&rest, ",")); name[n++] = directory) {
        if (n == PITH_MOST_TEACHERS)
            pith_raise("--teacher: %s names more than %d", directories, PITH_MOST_TEACHERS);
        if (!*directory) pith_raise("--teacher: a name is empty in \"%s\"", directories);
        check_model(directory);
    }
    return n;
}

/* A teacher's rows depend on its weights, on the views if it sees several, on how many captions it
 * reads, and on the precision. */
static uint64_t hash_of(const char *directory, const recipe *r, const pith_augment *augment,
                        int captions)
{
    char path[4200];
    uint64_t hash;
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", directory);
    pith_hash_file(path, &hash);
    if (common_plan.bf16) hash = pith_hash_bytes(hash, "bf16", 4);
    if (captions > 1) hash = pith_hash_bytes(hash, &captions, sizeof captions);
    if (!r->views) return hash;
    hash = pith_hash_bytes(hash, augment, sizeof *augment);
    return pith_hash_bytes(hash, &common_seed, sizeof common_seed);
}

static pith_embeddings *open_rows(model *m, const char *directory, const pith_pack *pack,
                                  const recipe *r, const char *out)
{
    char path[4200], hash[17], data[17];
    pith_dataset *dataset = pith_pack_dataset(pack, PITH_TRAIN, m->config.image_size);
    const pith_augment augment = r->views ? parse_augment(r->augment) : (pith_augment){ 0 };
    const int captions = r->synthetic ? pith_dataset_captions(dataset) : 1;
    teacher_context a = { .m = m,
                          .pictures = dataset,
                          .augment = augment,
                          .picture = room(3 * (size_t)dataset->size * (size_t)dataset->size),
                          .work = room(sizeof(float) * pith_augment_room(dataset->size)) };
    pith_embeddings_key key = { .dataset = dataset,
                                .teacher = hash_of(directory, r, &augment, captions),
                                .views = r->views ? (int)r->views : 1,
                                .captions = captions,
                                .batch = 1024,
                                .width = m->config.embed };
    if (r->rows) make_directories(r->rows);
    snprintf(path, sizeof path, "%s/teacher-%s-%s.safetensors", r->rows ? r->rows : out,
             pith_hash_text(key.teacher, hash), pith_hash_text(pack->hash, data));
    pith_embeddings_write(path, &key, embed, &a);
    pith_embeddings *rows = pith_embeddings_open(path, &key);
    pith_dataset_close(dataset);
    free(a.picture);
    free(a.work);
    return rows;
}

stored_teachers teachers_open(const char *directories, const pith_pack *pack, const recipe *r,
                              const char *out)
{
    char *copy;
    const char *name[PITH_MOST_TEACHERS];
    stored_teachers t = { .n = split_names(directories, &copy, name) };
    for (int k = 0; k < t.n; k++) {
        model m = open_model_with_tokenizer(name[k]);
        const size_t bytes = sizeof(pith_real) * (size_t)r->batch * (size_t)m.config.embed;
        t.at[k].width = m.config.embed;
        t.at[k].scale = model_scale(&m);
        t.at[k].rows = open_rows(&m, name[k], pack, r, out);
        t.at[k].image = room(bytes), t.at[k].text = room(bytes), t.at[k].synthetic = room(bytes);
        close_model(&m);
    }
    free(copy);
    return t;
}

void teachers_close(stored_teachers *t)
{
    for (int k = 0; k < t->n; k++) {
        pith_embeddings_close(t->at[k].rows);
        free(t->at[k].image), free(t->at[k].text), free(t->at[k].synthetic);
    }
}

int teachers_size(const char *directories, char **first)
{
    const char *name[PITH_MOST_TEACHERS];
    int size = 0;
    const int n = split_names(directories, first, name); /* cut behind the first */
    for (int k = 0; k < n; k++) {
        clip_config c;
        clip_config_read(&c, name[k]);
        if (c.image_size > size) size = c.image_size;
    }
    return size;
}
