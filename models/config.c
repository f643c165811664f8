/* config.c: open_clip_config.json, read (written: config_write.c). Layout and defaults are
 * OpenCLIP 3.3's (CLIPVisionCfg, CLIPTextCfg). A key for something that pith does not have is
 * accepted if it has its default value; otherwise it is an error that names it. A model whose
 * layers differ in size has the further keys heads_per_layer, ffn_per_layer and head_width, a
 * ResNet whose stem is not the published one stem_stride: other readers refuse them. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* A key, and the only value that it may have, as JSON. NULL: the value is read below. "*": any
 * value, since it has no effect here. */
typedef struct {
    const char *key, *value;
} setting;

static const setting file_keys[] = {
    { "model_cfg", NULL },
    { "preprocess_cfg", NULL },
    { NULL, NULL },
};
static const setting model_keys[] = {
    { "embed_dim", NULL },
    { "quick_gelu", NULL },
    { "vision_cfg", NULL },
    { "text_cfg", NULL },
    { "init_logit_scale", "*" },
    { "init_logit_bias", "null" },
    { "custom_text", "false" },
    { "nonscalar_logit_scale", "false" },
    { NULL, NULL },
};
#define TOWER_KEYS                                                                                 \
    { "layers", NULL }, { "width", NULL }, { "mlp_ratio", NULL }, { "head_width", NULL },          \
        { "heads_per_layer", NULL }, { "ffn_per_layer", NULL }, { "blocks_per_layer", NULL },      \
        { "shared_query_key", NULL }, { "ls_init_value", "null" },                                 \
        { "final_ln_after_pool", "false" }, { "output_tokens", "false" },                          \
        { "act_kwargs", "null" }, { "norm_kwargs", "null" }, { "block_type", "null" },             \
        { "qk_norm", "false" }, { "scaled_cosine_attn", "false" }, { "scale_heads", "false" },     \
        { "scale_fc", "false" }, { "scale_attn_inner", "false" }, { "scale_attn", "false" }
static const setting vision_keys[] = {
    TOWER_KEYS,
    { "image_size", NULL },
    { "patch_size", NULL },
    { "stem_stride", NULL },
    { "patch_dropout", "0" },
    { "attentional_pool", "false" },
    { "attn_pooler_queries", "*" },
    { "attn_pooler_heads", "*" },
    { "no_ln_pre", "false" },
    { "pos_embed_type", "\"learnable\"" },
    { "pool_type", NULL },
    { "timm_model_name", "null" },
    { "timm_model_pretrained", "*" },
    { "timm_pool", "*" },
    { "timm_proj", "*" },
    { "timm_proj_bias", "*" },
    { "timm_drop", "*" },
    { "timm_drop_path", "*" },
    { NULL, NULL },
};
static const setting text_keys[] = {
    TOWER_KEYS,
    { "heads", NULL },
    { "context_length", NULL },
    { "vocab_size", NULL },
    { "hf_tokenizer_name", "null" },
    { "tokenizer_mode", "null" },
    { "tokenizer_kwargs", "null" },
    { "embed_cls", "false" },
    { "pad_id", "*" },
    { "eos_id", "*" },
    { "no_causal_mask", "false" },
    { "bidirectional", NULL },
    { "pool_type", "\"argmax\"" },
    { "proj_bias", "false" },
    { "proj_type", "\"linear\"" },
    { "hf_model_name", "null" },
    { "hf_model_pretrained", "*" },
    { "hf_proj_type", "*" },
    { "hf_pooler_type", "*" },
    { NULL, NULL },
};
static const setting preprocess_keys[] = {
    { "mean", NULL },
    { "std", NULL },
    { "size", NULL },
    { "mode", "\"RGB\"" },
    { "interpolation", "\"bicubic\"" },
    { "resize_mode", "\"shortest\"" },
    { "fill_color", "*" },
    { NULL, NULL },
};

/* ---- reading ---- */

typedef struct {
    const char *path, *section;
    json_t *object;
} section;

static bool refuse(const section *s, const char *key, const json_t *value, const char *wanted)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    pith_raise("%s: %s%s is %.200s, %s", s->path, s->section, key, text ? text : "missing", wanted);
    free(text);
    return false;
}

static bool same_value(const json_t *value, const char *text)
{
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    const bool same = json_is_number(wanted) && json_is_number(value)
                          ? json_number_value(value) == json_number_value(wanted)
                          : json_equal(value, wanted);
    json_decref(wanted);
    return same;
}

static bool open_section(section *s, const char *path, const char *name, json_t *object,
                         const setting *keys)
{
    *s = (section){ path, name, object };
    if (!json_is_object(object))
        return pith_raise("%s: %.*s is missing or not a JSON object", path,
                          *name ? (int)strlen(name) - 1 : 10, *name ? name : "the config");
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const setting *k = keys;
        while (k->key && strcmp(k->key, key)) k++;
        if (!k->key) return refuse(s, key, value, "a key that is not known here");
        if (!k->value || !strcmp(k->value, "*") || same_value(value, k->value)) continue;
        char wanted[96];
        snprintf(wanted, sizeof wanted, "and only %s is supported", k->value);
        return refuse(s, key, value, wanted);
    }
    return true;
}

/* Without the key, or where it is null, *out stays as it is. */
static bool read_int(const section *s, const char *key, int *out)
{
    const json_t *v = json_object_get(s->object, key);
    if (!v || json_is_null(v)) return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1 << 30)
        return refuse(s, key, v, "expected a whole number from 0 to 1073741824");
    *out = (int)json_integer_value(v);
    return true;
}

static bool read_numbers(const section *s, const char *key, int n, double *out)
{
    const json_t *v = json_object_get(s->object, key);
    if (!v || json_is_null(v)) return true;
    bool good = json_is_array(v) && json_array_size(v) == (size_t)n;
    for (int k = 0; good && k < n; k++) {
        const json_t *x = json_array_get(v, (size_t)k);
        good = json_is_number(x);
        out[k] = json_number_value(x);
    }
    char wanted[64];
    snprintf(wanted, sizeof wanted, "expected a list of %d numbers", n);
    return good || refuse(s, key, v, wanted);
}

/* Reads one side, or a list of two equal sides. */
static bool read_side(const section *s, const char *key, int *out)
{
    const json_t *v = json_object_get(s->object, key);
    if (!json_is_array(v)) return read_int(s, key, out);
    double sides[2];
    if (!read_numbers(s, key, 2, sides)) return false;
    *out = (int)sides[0];
    return (sides[0] == sides[1] && sides[0] == *out) ||
           refuse(s, key, v, "only square pictures are supported");
}

static bool read_layers(const section *s, const char *key, int layers, int *out)
{
    double list[CLIP_MAX_LAYERS];
    for (int i = 0; i < layers; i++) list[i] = out[i];
    if (!read_numbers(s, key, layers, list)) return false;
    for (int i = 0; i < layers; i++) {
        out[i] = (int)list[i];
        if (out[i] != list[i] || out[i] < 0)
            return refuse(s, key, json_object_get(s->object, key), "expected whole numbers");
    }
    return true;
}

const char *const clip_block_names[3] = { "pre_norm", "sas", "sas_p" };

static bool read_blocks(const section *s, clip_tower *t)
{
    const json_t *list = json_object_get(s->object, "blocks_per_layer"),
                 *shared = json_object_get(s->object, "shared_query_key");
    if (shared && !json_is_boolean(shared))
        return refuse(s, "shared_query_key", shared, "expected true or false");
    t->shared_query_key = json_is_true(shared);
    if (!list) return true;
    bool good = json_is_array(list) && json_array_size(list) == (size_t)t->layers;
    for (int i = 0; good && i < t->layers; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        int k = 0;
        while (name && k < 3 && strcmp(name, clip_block_names[k])) k++;
        good = name && k < 3;
        t->block[i] = (clip_block)k;
    }
    return good || refuse(s, "blocks_per_layer", list, "expected pre_norm, sas or sas_p a layer");
}

/* heads: of every layer, unless the config lists them; 0: the config has the width of a head
 * instead. */
static bool read_tower(const section *s, clip_tower *t, int heads)
{
    const json_t *layers = json_object_get(s->object, "layers"),
                 *ratio = json_object_get(s->object, "mlp_ratio");
    if (!read_int(s, "layers", &t->layers) || !read_int(s, "width", &t->width)) return false;
    if (t->layers < 1 || t->layers > CLIP_MAX_LAYERS)
        return refuse(s, "layers", layers, "expected 1 to 64");
    if (ratio && !(json_number_value(ratio) > 0 && json_number_value(ratio) <= 1024))
        return refuse(s, "mlp_ratio", ratio, "expected a number above 0, at most 1024");
    if (!heads) { /* if 64 does not divide the width, heads are wider, as in OpenCLIP */
        t->head_width = 64;
        if (!read_int(s, "head_width", &t->head_width)) return false;
        heads = t->head_width ? t->width / t->head_width : 0;
    }
    t->head_width = heads ? t->width / heads : 0;
    const bool listed = json_object_get(s->object, "heads_per_layer") != NULL;
    if (listed && !read_int(s, "head_width", &t->head_width)) return false;
    if (!listed && (t->head_width < 1 || t->width % heads))
        return pith_raise("%s: %s width %d does not split into %d heads", s->path, s->section,
                          t->width, heads);
    const double ffn = t->width * (ratio ? json_number_value(ratio) : 4.0);
    for (int i = 0; i < CLIP_MAX_LAYERS; i++) {
        t->heads[i] = i < t->layers ? heads : 0;
        t->ffn[i] = i >= t->layers ? 0 : ffn >= 0 && ffn < 1 << 20 ? (int)ffn : -1;
    }
    return read_layers(s, "heads_per_layer", t->layers, t->heads) &&
           read_layers(s, "ffn_per_layer", t->layers, t->ffn) && read_blocks(s, t);
}

/* A ResNet is told by its list of layers. */
static bool read_resnet(const section *s, clip_config *c)
{
    double layers[4];
    c->resnet.stem_stride = 4;
    if (!read_numbers(s, "layers", 4, layers) ||
        !read_int(s, "stem_stride", &c->resnet.stem_stride))
        return false;
    if (!c->resnet.stem_stride)
        return refuse(s, "stem_stride", json_object_get(s->object, "stem_stride"),
                      "expected 4, 2 or 1");
    clip_set_resnet(c);
    for (int k = 0; k < 4; k++) {
        c->resnet.layers[k] = layers[k] >= 0 && layers[k] <= 1 << 20 ? (int)layers[k] : -1;
        if (c->resnet.layers[k] != layers[k])
            return refuse(s, "layers", json_object_get(s->object, "layers"),
                          "expected four whole numbers");
    }
    return read_int(s, "width", &c->vision.width) &&
           read_int(s, "head_width", &c->vision.head_width);
}

static bool read_vision(const section *s, clip_config *c)
{
    if (!read_side(s, "image_size", &c->image_size)) return false;
    if (json_is_array(json_object_get(s->object, "layers"))) return read_resnet(s, c);
    const json_t *stem = json_object_get(s->object, "stem_stride"),
                 *pool = json_object_get(s->object, "pool_type");
    c->mean_pooling = pool && same_value(pool, "\"avg\"");
    if (pool && !c->mean_pooling && !same_value(pool, "\"tok\""))
        return refuse(s, "pool_type", pool, "expected \"tok\" or \"avg\"");
    if (stem) return refuse(s, "stem_stride", stem, "and the image tower is no ResNet");
    return read_side(s, "patch_size", &c->patch) && read_tower(s, &c->vision, 0);
}

static bool read_config(clip_config *c, const char *path, json_t *root)
{
    section file, model, vision, text, pixels;
    clip_config x = clip_config_uniform(224, 16, 768, 12, 64, 77, 49408, 512, 12, 8, 0);
    int heads = 8, size = 0;
    json_t *m = json_object_get(root, "model_cfg"), *p = json_object_get(root, "preprocess_cfg");
    if (!open_section(&file, path, "", root, file_keys) ||
        !open_section(&model, path, "model_cfg.", m, model_keys) ||
        !open_section(&vision, path, "vision_cfg.", json_object_get(m, "vision_cfg"),
                      vision_keys) ||
        !open_section(&text, path, "text_cfg.", json_object_get(m, "text_cfg"), text_keys))
        return false;
    const json_t *quick = json_object_get(m, "quick_gelu");
    if (quick && !json_is_boolean(quick))
        return refuse(&model, "quick_gelu", quick, "expected true or false");
    x.quick_gelu = json_is_true(quick);
    const json_t *both_ways = json_object_get(text.object, "bidirectional");
    if (both_ways && !json_is_boolean(both_ways))
        return refuse(&text, "bidirectional", both_ways, "expected true or false");
    x.bidirectional = json_is_true(both_ways);
    if (!read_int(&model, "embed_dim", &x.embed) || !read_vision(&vision, &x) ||
        !read_int(&text, "context_length", &x.context) ||
        !read_int(&text, "vocab_size", &x.vocabulary) || !read_int(&text, "heads", &heads))
        return false;
    if (heads < 1) return pith_raise("%s: text_cfg.heads is %d, expected at least 1", path, heads);
    if (!read_tower(&text, &x.text, heads)) return false;
    if (p && (!open_section(&pixels, path, "preprocess_cfg.", p, preprocess_keys) ||
              !read_numbers(&pixels, "mean", 3, x.mean) ||
              !read_numbers(&pixels, "std", 3, x.std) || !read_side(&pixels, "size", &size)))
        return false;
    for (int k = 0; k < 3; k++)
        if (!(fabs(x.mean[k]) <= 1e6 && x.std[k] >= 1e-6 && x.std[k] <= 1e6))
            return pith_raise(
                "%s: preprocess_cfg: a mean of %g and a std of %g, expected means of at "
                "most 1e6 and stds from 1e-6 to 1e6",
                path, x.mean[k], x.std[k]);
    if (size && size != x.image_size)
        return pith_raise("%s: preprocess_cfg.size is %d, vision_cfg.image_size %d", path, size,
                          x.image_size);
    if (!clip_config_check(&x, path)) return false;
    *c = x;
    return true;
}

bool clip_config_read(clip_config *c, const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, CLIP_CONFIG_FILE);
    char *text = pith_read_text(path);
    if (!text) return false;
    json_error_t error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!root) return pith_raise("%s:%d: not JSON: %s", path, error.line, error.text);
    const bool good = read_config(c, path, root);
    json_decref(root);
    return good;
}
