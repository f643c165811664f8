/* inherit.c: TinyCLIP's manual weight inheritance (Wu et al., ICCV 2023). Every tensor of the
 * student is the first part of the teacher's, along every axis; weights are not chosen by
 * importance. Layer i of the student comes from layer i * floor(teacher depth / student depth). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* Can the student inherit? A part of the teacher's tensors is no use if it means something else
 * there: other patches, tokens, positions or heads. */
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

/* Takes the shape (3 H d, ...) of in_proj as (3, H d, ...), so that of queries, keys and values
 * each the first heads are kept. Other shapes stay as they are. Returns the number of axes. */
static int split_in_proj(const char *name, int ndim, const int *dim, int out[5])
{
    const int in_proj = strstr(name, "in_proj_") != NULL;
    if (in_proj) out[0] = 3;
    for (int k = 0; k < ndim; k++) out[k + in_proj] = dim[k];
    if (in_proj) out[1] /= 3;
    return ndim + in_proj;
}

/* A part of a tensor: where it begins, and the dims of its axes. */
typedef struct {
    pith_tensor *tensor;
    size_t first;
    const int *dim;
} slice;

static slice next_axis(slice s, int ndim, int i)
{
    size_t stride = 1;
    for (int k = 1; k < ndim; k++) stride *= (size_t)s.dim[k];
    return (slice){ s.tensor, s.first + (size_t)i * stride, s.dim + 1 };
}

/* Copies the first part of `from` into all of `to`. `row`: memory for one row of `to`. */
static bool copy_front(slice to, slice from, int ndim, pith_real *row)
{
    bool good = true;
    if (ndim <= 1) {
        const size_t count = ndim ? (size_t)to.dim[0] : 1;
        return pith_tensor_read_part(from.tensor, from.first, count, row) &&
               pith_tensor_write_part(to.tensor, to.first, count, row);
    }
    for (int i = 0; good && i < to.dim[0]; i++)
        good = copy_front(next_axis(to, ndim, i), next_axis(from, ndim, i), ndim - 1, row);
    return good;
}

static bool inherit(const clip_tensor *tensor, int step, pith_store *s, pith_store *t)
{
    char source[64];
    const char *block = strstr(tensor->name, "resblocks.");
    snprintf(source, sizeof source, "%s", tensor->name);
    if (block)
        snprintf(source, sizeof source, "%.*s.%d%s", (int)(block - tensor->name) + 9, tensor->name,
                 tensor->layer * step, strchr(block + 10, '.'));
    pith_tensor *from = pith_store_find(t, source);
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
    const int ndim = split_in_proj(tensor->name, tensor->ndim, tensor->dim, to_dim);
    split_in_proj(source, from->ndim, from->dim, from_dim);
    pith_real *row = malloc(sizeof *row * (size_t)(ndim ? to_dim[ndim - 1] : 1));
    if (!row) return pith_raise("cannot inherit: no memory for a row of %s", to->name);
    const bool good = copy_front((slice){ to, 0, to_dim }, (slice){ from, 0, from_dim }, ndim, row);
    free(row);
    return good;
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
