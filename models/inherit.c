/* inherit.c: TinyCLIP's manual weight inheritance (Wu et al., ICCV 2023): nothing is ranked, every
 * student tensor is the front slice of the teacher's tensor, layer i comes from layer i *
 * floor(teacher depth / student depth). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* What a slice cannot bridge: a patch cut to its corner, or words and positions that mean something
 * else. */
static bool comparable(const clip_config *s, const clip_config *t)
{
    const struct {
        const char *what;
        int student, teacher;
    } same[] = {
        { "patch size", s->patch, t->patch },
        { "image size", s->image_size, t->image_size },
        { "vocabulary", s->vocabulary, t->vocabulary },
        { "context length", s->context, t->context },
        { "embedding width", s->embed, t->embed },
        { "image head width", s->vision.head_width, t->vision.head_width },
        { "text head width", s->text.head_width, t->text.head_width },
        { "activation (1 is QuickGELU)", s->quick_gelu, t->quick_gelu },
    };
    for (size_t k = 0; k < sizeof same / sizeof *same; k++)
        if (same[k].student != same[k].teacher)
            return pith_raise("cannot inherit: the student's %s is %d, the teacher's %d",
                              same[k].what, same[k].student, same[k].teacher);
    if (s->vision.layers > t->vision.layers || s->text.layers > t->text.layers)
        return pith_raise("cannot inherit: the student's depth (image %d, text %d) exceeds the "
                          "teacher's (%d, %d)",
                          s->vision.layers, s->text.layers, t->vision.layers, t->text.layers);
    return true;
}

/* in_proj's (3 H d, ...) is taken as (3, H d, ...), so that whole heads are kept of queries, keys
 * and values each. Other shapes stay. */
static int split(const char *name, int ndim, const int *dim, int out[5])
{
    const int in_proj = strstr(name, "in_proj_") != NULL;
    if (in_proj) out[0] = 3;
    for (int k = 0; k < ndim; k++) out[k + in_proj] = dim[k];
    if (in_proj) out[1] /= 3;
    return ndim + in_proj;
}

static void copy_front(pith_real *to, const int *to_dim, const pith_real *from, const int *from_dim,
                       int ndim)
{
    if (ndim <= 1) {
        memcpy(to, from, sizeof *to * (size_t)(ndim ? to_dim[0] : 1));
        return;
    }
    size_t to_stride = 1, from_stride = 1;
    for (int k = 1; k < ndim; k++)
        to_stride *= (size_t)to_dim[k], from_stride *= (size_t)from_dim[k];
    for (int i = 0; i < to_dim[0]; i++)
        copy_front(to + (size_t)i * to_stride, to_dim + 1, from + (size_t)i * from_stride,
                   from_dim + 1, ndim - 1);
}

static bool inherit(const clip_tensor *tensor, int step, pith_store *s, pith_store *t)
{
    char source[64];
    const char *block = strstr(tensor->name, "resblocks.");
    snprintf(source, sizeof source, "%s", tensor->name);
    if (block)
        snprintf(source, sizeof source, "%.*s.%d%s", (int)(block - tensor->name) + 9, tensor->name,
                 tensor->layer * step, strchr(block + 10, '.'));
    const pith_tensor *from = pith_store_find(t, source);
    if (!from || from->ndim != tensor->ndim)
        return pith_raise("cannot inherit: the teacher has no %s for the student's %s", source,
                          tensor->name);
    for (int k = 0; k < from->ndim; k++)
        if (tensor->dim[k] > from->dim[k])
            return pith_raise(
                "cannot inherit: axis %d of the student's %s is %d, of the teacher's %s only %d", k,
                tensor->name, tensor->dim[k], source, from->dim[k]);
    pith_tensor *to = pith_store_find(s, tensor->name);
    if (!to) to = pith_store_add(s, tensor->name, PITH_WEIGHT, PITH_F32, tensor->ndim, tensor->dim);
    if (!to) return false;
    if (to->ndim != tensor->ndim ||
        memcmp(to->dim, tensor->dim, sizeof(int) * (size_t)tensor->ndim))
        return pith_raise("cannot inherit: %s has another shape in the student's store",
                          tensor->name);
    int to_dim[5], from_dim[5];
    const int ndim = split(tensor->name, tensor->ndim, tensor->dim, to_dim);
    split(source, from->ndim, from->dim, from_dim);
    copy_front(to->data, to_dim, from->data, from_dim, ndim);
    return true;
}

bool clip_inherit(const clip_config *student, pith_store *s, const clip_config *teacher,
                  pith_store *t)
{
    if (!comparable(student, teacher)) return false;
    const int step[] = { [CLIP_VISION] = teacher->vision.layers / student->vision.layers,
                         [CLIP_TEXT] = teacher->text.layers / student->text.layers,
                         [CLIP_BOTH] = 1 };
    clip_tensor *list;
    const int n = clip_tensors(student, &list);
    bool good = n > 0;
    for (int k = 0; good && k < n; k++) good = inherit(&list[k], step[list[k].part], s, t);
    free(list);
    return good;
}
