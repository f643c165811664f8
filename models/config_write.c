/* config_write.c: open_clip_config.json, written as config.c reads it. */
#include <jansson.h>
#include <stdlib.h>
#include "parts.h"

static json_t *numbers(int n, const double *x)
{
    json_t *list = json_array();
    for (int k = 0; k < n; k++) json_array_append_new(list, json_real(x[k]));
    return list;
}

static json_t *sizes(int n, const int *x)
{
    json_t *list = json_array();
    for (int k = 0; k < n; k++) json_array_append_new(list, json_integer(x[k]));
    return list;
}

/* Every reader of OpenCLIP's configs knows layers that are all equal and whose heads together are
 * as wide as the tower. Only other models need the lists. */
static json_t *tower(const clip_tower *t, bool vision)
{
    json_t *o = json_pack("{s:i, s:i}", "width", t->width, "layers", t->layers);
    bool even = t->ffn[0] > 0, plain = true;
    for (int i = 0; i < t->layers; i++) {
        even &= t->heads[i] * t->head_width == t->width && t->ffn[i] == t->ffn[0];
        plain &= t->block[i] == CLIP_PRE_NORM;
    }
    if (!plain) {
        json_t *blocks = json_array();
        for (int i = 0; i < t->layers; i++)
            json_array_append_new(blocks, json_string(clip_block_names[t->block[i]]));
        json_object_set_new(o, "blocks_per_layer", blocks);
        json_object_set_new(o, "shared_query_key", json_boolean(t->shared_query_key));
    }
    if (vision || !even) json_object_set_new(o, "head_width", json_integer(t->head_width));
    if (even) { /* readers cut off the fraction of width * ratio, so half a unit is added where it
                   is not whole */
        if (!vision) json_object_set_new(o, "heads", json_integer(t->heads[0]));
        const double exact = t->ffn[0] % t->width ? 0.5 : 0;
        json_object_set_new(o, "mlp_ratio", json_real((t->ffn[0] + exact) / t->width));
    } else {
        json_object_set_new(o, "heads_per_layer", sizes(t->layers, t->heads));
        json_object_set_new(o, "ffn_per_layer", sizes(t->layers, t->ffn));
    }
    return o;
}

static json_t *resnet(const clip_config *c)
{
    json_t *o = json_pack("{s:i, s:i}", "width", c->vision.width, "head_width",
                          c->vision.head_width);
    json_object_set_new(o, "layers", sizes(4, c->resnet.layers));
    if (c->resnet.stem_stride != 4)
        json_object_set_new(o, "stem_stride", json_integer(c->resnet.stem_stride));
    return o;
}

static json_t *config_json(const clip_config *c)
{
    json_t *vision = clip_is_resnet(c) ? resnet(c) : tower(&c->vision, true),
           *text = tower(&c->text, false);
    json_object_set_new(vision, "image_size", json_integer(c->image_size));
    if (!clip_is_resnet(c)) json_object_set_new(vision, "patch_size", json_integer(c->patch));
    if (c->mean_pooling) json_object_set_new(vision, "pool_type", json_string("avg"));
    if (c->bidirectional) json_object_set_new(text, "bidirectional", json_true());
    json_object_set_new(text, "context_length", json_integer(c->context));
    json_object_set_new(text, "vocab_size", json_integer(c->vocabulary));
    return json_pack("{s:{s:i, s:b, s:o, s:o}, s:{s:o, s:o}}", "model_cfg", "embed_dim", c->embed,
                     "quick_gelu", (int)c->quick_gelu, "vision_cfg", vision, "text_cfg", text,
                     "preprocess_cfg", "mean", numbers(3, c->mean), "std", numbers(3, c->std));
}

bool clip_config_write(const clip_config *c, const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, CLIP_CONFIG_FILE);
    json_t *root = config_json(c);
    char *text = root ? json_dumps(root, JSON_INDENT(4) | JSON_REAL_PRECISION(15)) : NULL;
    const bool good = text ? pith_write_text(path, text) : pith_raise("%s: no memory", path);
    free(text);
    json_decref(root);
    return good;
}
