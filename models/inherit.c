/* inherit.c: TinyCLIP's manual weight inheritance (Wu et al., ICCV 2023). Every tensor of the
 * student is the first part of the teacher's, along every axis; weights are not chosen by
 * importance. Layer i of the student comes from layer i * floor(teacher depth / student depth), in
 * a ResNet of the same stage, running figures included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* A ResNet's sizes as --model has them. */
static const char *resnet_text(const clip_config *c, char text[64])
{
    const int *l = c->resnet.layers;
    if (!clip_is_resnet(c)) snprintf(text, 64, "a ViT");
    else
        snprintf(text, 64, "r%d:w%dl%d.%d.%d.%d", c->resnet.stem_stride, c->vision.width, l[0],
                 l[1], l[2], l[3]);
    return text;
}

/* A ResNet inherits from one of the same stem that is as deep in every stage, or deeper. */
static bool comparable_resnets(const clip_config *s, const clip_config *t)
{
    char student[64], teacher[64];
    bool good = s->resnet.stem_stride == t->resnet.stem_stride;
    for (int k = 0; k < 4; k++) good &= s->resnet.layers[k] <= t->resnet.layers[k];
    return good || pith_raise("cannot inherit: the student's image tower is %s, the teacher's %s: "
                              "expected equal stems, and in no stage more blocks",
                              resnet_text(s, student), resnet_text(t, teacher));
}

/* Can the student inherit? A part of the teacher's tensors is no use if it means something else
 * there: other patches, tokens, positions or heads. */
static bool comparable(const clip_config *s, const clip_config *t)
{
    if (!comparable_resnets(s, t)) return false;
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
        { "pooling (1 is the mean)", s->mean_pooling, t->mean_pooling },
        { "text (1 is without a causal mask)", s->bidirectional, t->bidirectional },
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

static const clip_tower *tower_of(const clip_config *c, clip_part part)
{
    return part == CLIP_VISION ? &c->vision : part == CLIP_TEXT ? &c->text : NULL;
}

/* Does it belong to a block without a skip, or to all of those? */
static bool is_shaped(const clip_tensor *tensor, const clip_tower *t)
{
    if (!t) return false;
    return tensor->layer < 0 ? strstr(tensor->name, "transformer.attn.") != NULL
                             : t->block[tensor->layer] != CLIP_PRE_NORM;
}

/* Where a tensor comes from: the teacher's name, and, of queries and keys that take the place of a
 * pre-norm block's, which third of in_proj; -1: all of it. */
typedef struct {
    char name[64];
    int third;
} origin;

/* Of a ResNet each stage has its own depths. Its first block, whose shortcut is a convolution,
 * comes from a first one. */
static origin origin_in_resnet(const clip_tensor *tensor, const clip_resnet *student,
                               const clip_resnet *teacher)
{
    origin o = { .third = -1 };
    int stage, block, used = 0;
    snprintf(o.name, sizeof o.name, "%s", tensor->name);
    if (sscanf(tensor->name, "visual.layer%d.%d%n", &stage, &block, &used) == 2)
        snprintf(o.name, sizeof o.name, "visual.layer%d.%d%s", stage,
                 block * (teacher->layers[stage - 1] / student->layers[stage - 1]),
                 tensor->name + used);
    return o;
}

static origin origin_of(const clip_tensor *tensor, const clip_tower *student,
                        const clip_tower *teacher)
{
    origin o = { .third = -1 };
    const int step = teacher ? teacher->layers / student->layers : 1;
    const char *blocks = strstr(tensor->name, "transformer."), *tail = blocks ? blocks + 12 : NULL;
    snprintf(o.name, sizeof o.name, "%s", tensor->name);
    if (!tail) return o;
    const bool shared = tensor->layer < 0;
    const int layer = (shared ? student->layers - 1 : tensor->layer) * step;
    if (!shared) tail = strchr(tail + 10, '.') + 1;
    const bool query = !strncmp(tail, "attn.q_proj.", 12), key = !strncmp(tail, "attn.k_proj.", 12);
    if ((query || key) && teacher->block[layer] == CLIP_PRE_NORM) {
        o.third = key;
        tail = strstr(tail, "weight") ? "attn.in_proj_weight" : "attn.in_proj_bias";
    } else if (shared) return o;
    snprintf(o.name, sizeof o.name, "%.*sresblocks.%d.%s", (int)(blocks - tensor->name) + 12,
             tensor->name, layer, tail);
    return o;
}

/* The student's tensor, made if it is not there; NULL after an error. */
static pith_tensor *target(const clip_tensor *tensor, pith_store *s)
{
    pith_tensor *to = pith_store_find(s, tensor->name);
    if (!to)
        to = pith_store_add(s, tensor->name, tensor->kind, tensor->dtype, tensor->ndim,
                            tensor->dim);
    if (to && (to->ndim != tensor->ndim ||
               memcmp(to->dim, tensor->dim, sizeof(int) * (size_t)tensor->ndim)))
        return pith_raise("cannot inherit: %s has another shape in the student's store",
                          tensor->name),
               NULL;
    return to;
}

static bool inherit(const clip_tensor *tensor, const origin *o, pith_store *s, pith_store *t)
{
    pith_tensor *from = pith_store_find(t, o->name);
    if (!from || from->ndim != tensor->ndim || from->dtype != tensor->dtype)
        return pith_raise("cannot inherit: the teacher has no %s for the student's %s", o->name,
                          tensor->name);
    int to_dim[5], from_dim[5];
    const bool third = o->third >= 0;
    const int ndim = third ? tensor->ndim
                           : split_in_proj(tensor->name, tensor->ndim, tensor->dim, to_dim);
    if (third) memcpy(to_dim, tensor->dim, sizeof(int) * (size_t)ndim);
    split_in_proj(o->name, from->ndim, from->dim, from_dim);
    slice source = { from, 0, from_dim };
    if (third) source = next_axis(source, ndim + 1, o->third);
    for (int k = 0; k < ndim; k++)
        if (to_dim[k] > source.dim[k])
            return pith_raise(
                "cannot inherit: axis %d of the student's %s is %d, of the teacher's %s only %d", k,
                tensor->name, tensor->dim[k], o->name, source.dim[k]);
    pith_tensor *to = target(tensor, s);
    if (!to) return false;
    pith_real *row = malloc(sizeof *row * (size_t)(ndim ? to_dim[ndim - 1] : 1));
    if (!row) return pith_raise("cannot inherit: no memory for a row of %s", to->name);
    const bool good = copy_front((slice){ to, 0, to_dim }, source, ndim, row);
    free(row);
    return good;
}

/* alpha 1, beta and gamma 0: at first attention changes nothing, as with queries of zero. */
static bool start_gains(const clip_tensor *tensor, pith_store *s)
{
    pith_tensor *to = target(tensor, s);
    for (int k = 0; to && k < 3 * tensor->dim[1]; k++) {
        const pith_real x = k < tensor->dim[1];
        if (!pith_tensor_write_part(to, (size_t)k, 1, &x)) return false;
    }
    return to != NULL;
}

/* Of a block without a skip that takes the place of a pre-norm one. */
static bool is_replaced(const clip_tensor *tensor, const clip_tower *student,
                        const clip_tower *teacher)
{
    if (!is_shaped(tensor, student)) return false;
    if (tensor->layer < 0) return !teacher->shared_query_key;
    return teacher->block[tensor->layer * (teacher->layers / student->layers)] == CLIP_PRE_NORM;
}

static bool inherit_one(const clip_tensor *tensor, const clip_tower *student,
                        const clip_tower *teacher, pith_store *s, pith_store *t, bool replaced)
{
    if (is_replaced(tensor, student, teacher)) {
        if (!replaced) return true;
        if (strstr(tensor->name, "attn.gains")) return start_gains(tensor, s);
        if (strstr(tensor->name, "gain")) return true;
    }
    const origin o = origin_of(tensor, student, teacher);
    return inherit(tensor, &o, s, t);
}

bool clip_inherit(const clip_config *student, pith_store *s, const clip_config *teacher,
                  pith_store *t, bool replaced)
{
    if (!comparable(student, teacher)) return false;
    clip_tensor *list;
    const int n = clip_tensors(student, &list);
    bool good = n > 0;
    for (int k = 0; good && k < n; k++) {
        if (clip_is_resnet(student) && list[k].part == CLIP_VISION) {
            const origin o = origin_in_resnet(&list[k], &student->resnet, &teacher->resnet);
            good = inherit(&list[k], &o, s, t);
        } else
            good = inherit_one(&list[k], tower_of(student, list[k].part),
                               tower_of(teacher, list[k].part), s, t, replaced);
    }
    free(list);
    return good;
}

/* ---- SiCLIP's rule ---- */

bool clip_with_sasp(const clip_config *c, int count, clip_config *out)
{
    *out = *c;
    if (clip_is_resnet(c))
        return pith_raise("the image tower is a ResNet, whose blocks cannot be SAS-P");
    clip_tower *towers[] = { &out->vision, &out->text };
    for (int k = 0; k < 2; k++) {
        clip_tower *t = towers[k];
        const int last = count == CLIP_HALF ? (t->layers + 1) / 2 : count;
        if (last < 1 || last > t->layers)
            return pith_raise("%d of the last blocks are to be SAS-P, the %s tower has %d", last,
                              k ? "text" : "image", t->layers);
        clip_make_sasp(t, last, true);
    }
    return clip_config_check(out, "SAS-P blocks");
}

bool clip_freeze_skips(const clip_config *c, pith_store *s)
{
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    for (int k = 0; k < n; k++) {
        const bool shaped = is_shaped(&list[k], tower_of(c, list[k].part));
        if (!shaped) pith_store_freeze(s, list[k].name);
    }
    free(list);
    return n > 0;
}
