/* measure.c: computes the rows of a split's pairs for retrieval and zero-shot classification. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "task.h"

typedef struct {
    const char *text;
    int place;
} caption;

static int by_text(const void *a, const void *b)
{
    const caption *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order ? order : x->place - y->place;
}

/* caption_id[k]: the first place with the same caption as place k. */
static void find_equal_captions(int n, const char *const *texts, int *caption_id)
{
    caption *sorted = room(sizeof *sorted * (size_t)n);
    for (int k = 0; k < n; k++) sorted[k] = (caption){ texts[k], k };
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    for (int k = 0; k < n; k++)
        caption_id[sorted[k].place] = k && !strcmp(sorted[k].text, sorted[k - 1].text)
                                          ? caption_id[sorted[k - 1].place]
                                          : sorted[k].place;
    free(sorted);
}

/* Computes the rows of texts of which many may be equal; each different one is encoded once. Also
 * fills caption_id, as find_equal_captions does. */
static void encode_different(const clip_config *c, pith_store *s, const pith_tokenizer *t, int n,
                             const char *const *texts, int *caption_id, pith_real *rows)
{
    const size_t width = (size_t)c->embed;
    const char **different = room(sizeof *different * (size_t)n);
    int *place = room(sizeof *place * (size_t)n), count = 0;
    find_equal_captions(n, texts, caption_id);
    for (int k = 0; k < n; k++)
        if (caption_id[k] == k) {
            place[k] = count;
            different[count++] = texts[k];
        }
    pith_real *row = room(sizeof *row * (size_t)count * width);
    encode_texts(c, s, t, count, different, row);
    for (int k = 0; k < n; k++)
        memcpy(rows + (size_t)k * width, row + (size_t)place[caption_id[k]] * width,
               sizeof *rows * width);
    free(row);
    free(place);
    free(different);
}

int split_size(const pith_pack *pack, int split)
{
    int n = 0;
    for (int i = 0; i < pack->count; i++) n += pack->split[i] == split;
    return n;
}

pairs encode_split(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                   const pith_pack *pack, int split)
{
    pairs p = { .width = c->embed };
    const size_t count = (size_t)pack->count;
    p.index = room(sizeof(int) * 3 * count);
    for (int i = 0; i < pack->count; i++)
        if (split < 0 || pack->split[i] == split) p.index[p.n++] = i;
    if (!p.n)
        pith_raise("the split \"%s\" has no pairs", split < 0 ? "all" : pack->split_name[split]);
    p.caption_id = p.index + count;
    p.label = p.caption_id + count;
    p.image = room(sizeof *p.image * (size_t)p.n * (size_t)p.width);
    p.text = room(sizeof *p.text * (size_t)p.n * (size_t)p.width);
    const char **texts = room(sizeof *texts * (size_t)p.n);
    encode_pictures(c, s, p.n, p.index, pack->size, pack->pixels, p.image);
    for (int k = 0; k < p.n; k++) {
        texts[k] = pack->caption[p.index[k]];
        p.label[k] = pack->label[p.index[k]];
    }
    encode_different(c, s, t, p.n, texts, p.caption_id, p.text);
    free(texts);
    return p;
}

void pairs_free(pairs *p)
{
    free(p->index);
    free(p->image);
    free(p->text);
}

pith_retrieval measure_pairs(const pairs *p)
{
    return pith_measure_retrieval(p->n, p->width, p->image, p->text, p->caption_id);
}

pith_real *class_rows(const clip_config *c, pith_store *s, const pith_tokenizer *t,
                      const pith_pack *pack, int *classes)
{
    const size_t width = (size_t)c->embed, count = (size_t)pack->count;
    const char **texts = room(sizeof *texts * count);
    int *caption_id = room(sizeof *caption_id * count), *label = room(sizeof *label * count), n = 0;
    *classes = 0;
    for (int i = 0; i < pack->count; i++) {
        if (pack->label[i] < 0) continue;
        texts[n] = pack->caption[i];
        label[n++] = pack->label[i];
        *classes = pack->label[i] >= *classes ? pack->label[i] + 1 : *classes;
    }
    pith_real *rows = room(sizeof *rows * (size_t)*classes * width);
    pith_real *text = room(sizeof *text * ((size_t)n * width + 1));
    if (n) encode_different(c, s, t, n, texts, caption_id, text);
    for (int k = 0; k < n; k++)
        for (size_t d = 0; caption_id[k] == k && d < width; d++)
            rows[(size_t)label[k] * width + d] += text[(size_t)k * width + d];
    for (int k = 0; k < *classes; k++) {
        double norm = 0;
        for (size_t d = 0; d < width; d++)
            norm += (double)rows[(size_t)k * width + d] * (double)rows[(size_t)k * width + d];
        for (size_t d = 0; d < width && norm > 0; d++)
            rows[(size_t)k * width + d] /= (pith_real)sqrt(norm);
    }
    free(text);
    free(label);
    free(caption_id);
    free(texts);
    return rows;
}
