/* names.c: models by name, and the notation for sizes that a name stands for:
 *
 *     IMAGE/PATCH:VISION+TEXT:eEMBED[:quick_gelu]          32/8:w128l4h4+w128l3h4c16v2048:e128
 *     IMAGE/rSTEM:VISION+TEXT:eEMBED[:quick_gelu]          32/r1:w16l1.1.1.1+w128l3h4c16v2048:e128
 *
 * A tower is written as letters with numbers: w width, l layers, h heads (if left out, width/64), f
 * FFN width (4 width), s how many of the last blocks are SAS-P with shared queries and keys (0), p
 * the same with queries and keys of each block's own; in the image tower also m1: of all patches
 * the mean is taken, not the class token; in the text tower c context (77), v vocabulary (49408)
 * and b1: without a causal mask. An image tower that is a ResNet has r and its stem's stride in the
 * place of a patch size, and only w, the width of its first stage, and l, the blocks of each stage.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

static const struct {
    const char *name, *sizes, *note;
} models[] = {
    { "demo-teacher", "32/8:w128l4h4+w128l3h4c16v2048:e128", "the teacher of make demo" },
    { "demo-student", "32/8:w96l4h3+w64l3h2c16v2048:e128",
      "its student: every layer, fewer heads" },
    { "vit-b-32", "224/32:w768l12+w512l12:e512", "CLIP (Radford et al., 2021), exact GELU" },
    { "vit-b-32-quickgelu", "224/32:w768l12+w512l12:e512:quick_gelu", "the same as OpenAI's" },
    { "vit-b-16", "224/16:w768l12+w512l12:e512", "CLIP, smaller patches, exact GELU" },
    { "vit-b-16-quickgelu", "224/16:w768l12+w512l12:e512:quick_gelu", "the same as OpenAI's" },
    { "vit-ti-16", "224/16:w192l12m1+w768l12c16v32000b1:e768",
      "Scaling (Down) CLIP: ViT-Ti, ViT-B text" },
    { "vit-s-16", "224/16:w384l12m1+w768l12c16v32000b1:e768", "the same, ViT-S" },
    { "vit-l-16", "224/16:w1024l24m1+w768l12c16v32000b1:e768", "the same, ViT-L" },
    { "rn50", "224/r4:w64l3.4.6.3+w512l12:e1024", "CLIP's ResNet-50, exact GELU" },
    { "rn50-quickgelu", "224/r4:w64l3.4.6.3+w512l12:e1024:quick_gelu", "the same as OpenAI's" },
    { "rn101", "224/r4:w64l3.4.23.3+w512l12:e512", "CLIP's ResNet-101, exact GELU" },
    { "demo-resnet", "32/r1:w8l1.1.1.1+w128l3h4c16v2048:e128", "demo-teacher with a ResNet" },
    { "tinyclip-8m-16", "224/16:w256l10+w256l3:e512", "TinyCLIP (Wu et al., 2023) ViT-8M/16" },
    { "tinyclip-39m-16", "224/16:w512l12+w512l6:e512", "TinyCLIP ViT-39M/16 Text-19M" },
    { "tinyclip-40m-32", "224/32:w512l12+w512l6:e512", "TinyCLIP ViT-40M/32 Text-19M" },
    { "tinyclip-61m-32", "224/32:w640l12+w512l9:e512", "TinyCLIP ViT-61M/32 Text-29M" },
};
enum { MODELS = sizeof models / sizeof *models };

static void fill(clip_tower *t, int width, int layers, int head_width, int heads, int ffn)
{
    *t = (clip_tower){ .width = width, .layers = layers, .head_width = head_width };
    for (int i = 0; i < layers && i < CLIP_MAX_LAYERS; i++) t->heads[i] = heads, t->ffn[i] = ffn;
}

clip_config clip_config_uniform(int image_size, int patch, int vision_width, int vision_layers,
                                int vision_head_width, int context, int vocabulary, int text_width,
                                int text_layers, int text_heads, int embed)
{
    clip_config c = { .embed = embed,
                      .image_size = image_size,
                      .patch = patch,
                      .context = context,
                      .vocabulary = vocabulary,
                      .mean = { 0.48145466, 0.4578275, 0.40821073 },
                      .std = { 0.26862954, 0.26130258, 0.27577711 } };
    fill(&c.vision, vision_width, vision_layers, vision_head_width,
         vision_width / vision_head_width, 4 * vision_width);
    fill(&c.text, text_width, text_layers, text_width / text_heads, text_heads, 4 * text_width);
    return c;
}

void clip_set_resnet(clip_config *c)
{
    c->vision = (clip_tower){ .width = 64, .head_width = 64 };
    const int stride = c->resnet.stem_stride; /* one that is absurd is told of later */
    c->patch = stride > 0 && stride < 1 << 20 ? 8 * stride : 8;
}

void clip_make_sasp(clip_tower *t, int count, bool shared_query_key)
{
    for (int i = t->layers - count; i < t->layers && i < CLIP_MAX_LAYERS; i++)
        t->block[i] = CLIP_SAS_P; /* too many layers: clip_config_check tells */
    t->shared_query_key = shared_query_key;
}

static bool check(const char *where, const char *what, int value, int low, int high)
{
    return (value >= low && value <= high) ||
           pith_raise("%s: %s is %d, expected %d to %d", where, what, value, low, high);
}

static bool check_tower(const char *where, const char *name, const clip_tower *t)
{
    char what[64];
#define CHECK(field, value, low, high)                                                             \
    (snprintf(what, sizeof what, "%s " field, name), check(where, what, value, low, high))
    bool good = CHECK("width", t->width, 1, 1 << 16) &&
                CHECK("layers", t->layers, 1, CLIP_MAX_LAYERS) &&
                CHECK("head width", t->head_width, 1, 1 << 12);
    for (int i = 0; good && i < t->layers; i++)
        good = CHECK("heads", t->heads[i], 0, 1 << 12) &&
               CHECK("FFN width", t->ffn[i], 0, 1 << 18) &&
               (t->block[i] == CLIP_PRE_NORM ||
                CHECK("width of all heads of a block without skip", t->heads[i] * t->head_width,
                      t->width, t->width));
#undef CHECK
    return good;
}

static bool check_resnet(const char *where, const clip_config *c)
{
    const int width = c->vision.width, d = c->vision.head_width;
    static const char *const what[] = { "blocks of stage 1", "blocks of stage 2",
                                        "blocks of stage 3", "blocks of stage 4" };
    bool good = check(where, "image tower's width", width, 2, 1 << 12) &&
                check(where, "width of the pool's heads", d, 1, 1 << 12) &&
                check(where, "stem stride", c->resnet.stem_stride, 1, 4);
    for (int s = 0; s < 4 && good; s++)
        good = check(where, what[s], c->resnet.layers[s], 1, CLIP_MAX_LAYERS);
    if (!good) return false;
    if (c->resnet.stem_stride == 3)
        return pith_raise("%s: stem stride is 3, expected 4, 2 or 1", where);
    return (width % 2 == 0 && clip_resnet_channels(c) % d == 0) ||
           pith_raise("%s: a ResNet of width %d has %d channels at last, which do not split into "
                      "heads of %d, or an odd width",
                      where, width, clip_resnet_channels(c), d);
}

bool clip_config_check(const clip_config *c, const char *where)
{
    for (int i = 0; c->bidirectional && i < c->text.layers && i < CLIP_MAX_LAYERS; i++)
        if (c->text.block[i] != CLIP_PRE_NORM)
            return pith_raise(
                "%s: a block without a skip and a text tower without a causal mask do "
                "not go together",
                where);
    if (!(clip_is_resnet(c) ? check_resnet(where, c)
                            : check_tower(where, "image tower's", &c->vision)) ||
        !check_tower(where, "text tower's", &c->text) ||
        !check(where, "embedding width", c->embed, 1, 1 << 16) ||
        !check(where, "image size", c->image_size, 1, 1 << 12) ||
        !check(where, "patch size", c->patch, 1, c->image_size) ||
        !check(where, "context", c->context, 1, 1 << 16) ||
        !check(where, "vocabulary", c->vocabulary, 1, 1 << 24))
        return false;
    return c->image_size % c->patch == 0 ||
           pith_raise("%s: image size %d is not a multiple of %s %d", where, c->image_size,
                      clip_is_resnet(c) ? "what a ResNet divides it by," : "patch size", c->patch);
}

/* ---- the notation ---- */

typedef struct {
    const char *text, *at;
} reader;

static bool expected(const reader *r, const char *what)
{
    return pith_raise("model %s: expected %s at \"%s\" (IMAGE/PATCH:VISION+TEXT:eEMBED, as in %s)",
                      r->text, what, r->at, models[0].sizes);
}

static bool word(reader *r, const char *w)
{
    const size_t size = strlen(w);
    if (strncmp(r->at, w, size)) return false;
    r->at += size;
    return true;
}

static bool number(reader *r, int *out)
{
    char *end;
    const long x = isdigit((unsigned char)*r->at) ? strtol(r->at, &end, 10) : 0;
    if (x < 1 || x > 1000000) return expected(r, "a whole number from 1 to 1000000");
    *out = (int)x;
    r->at = end;
    return true;
}

/* Reads letters of `keys` with their numbers, in any order; w and l are required. */
static bool tower(reader *r, const char *keys, const char *name, clip_tower *t, clip_config *c)
{
    int mean = 0, both_ways = 0, w = 0, l = 0, h = 0, f = 0, s = 0, p = 0;
    while (*r->at && strchr(keys, *r->at)) {
        const char key = *r->at++;
        int *const slot = key == 'w'   ? &w
                          : key == 'l' ? &l
                          : key == 'h' ? &h
                          : key == 'f' ? &f
                          : key == 's' ? &s
                          : key == 'p' ? &p
                          : key == 'm' ? &mean
                          : key == 'b' ? &both_ways
                          : key == 'c' ? &c->context
                                       : &c->vocabulary;
        if (!number(r, slot)) return false;
    }
    if (!w || !l) return expected(r, w ? "layers, as in l4," : "a width, as in w128,");
    if (!h && w % 64)
        return pith_raise(
            "model %s: give the heads (h) of the %s tower, since 64 does not divide its width %d",
            r->text, name, w);
    if (!h) h = w / 64;
    if (w % h)
        return pith_raise("model %s: width %d of the %s tower does not split into %d heads",
                          r->text, w, name, h);
    if (s && p)
        return pith_raise("model %s: expected s or p for the %s tower, found both", r->text, name);
    if (s > l || p > l)
        return pith_raise(
            "model %s: %d of the last blocks of the %s tower are to be SAS-P, it has %d", r->text,
            s + p, name, l);
    if (mean > 1 || both_ways > 1)
        return pith_raise("model %s: expected %s1 in the %s tower", r->text, mean ? "m" : "b",
                          name);
    if (mean) c->mean_pooling = true;
    if (both_ways) c->bidirectional = true;
    fill(t, w, l, w / h, h, f ? f : 4 * w);
    clip_make_sasp(t, s + p, s > 0);
    return true;
}

/* w and a number, l and four with dots between them. */
static bool resnet(reader *r, clip_config *c)
{
    bool width = false, layers = false;
    while (*r->at == 'w' || *r->at == 'l')
        if (*r->at++ == 'w') {
            if (!number(r, &c->vision.width)) return false;
            width = true;
        } else {
            for (int s = 0; s < 4; s++) {
                if (s && !word(r, ".")) return expected(r, "\".\": a ResNet has four stages,");
                if (!number(r, &c->resnet.layers[s])) return false;
            }
            layers = true;
        }
    return (width && layers) ||
           expected(r, width ? "the blocks of a ResNet's stages, as in l3.4.6.3,"
                             : "a width, as in w64,");
}

static bool parse(clip_config *c, const char *text)
{
    reader r = { text, text };
    clip_config x = clip_config_uniform(1, 1, 1, 1, 1, 77, 49408, 1, 1, 1, 0);
    if (!number(&r, &x.image_size)) return false;
    if (!word(&r, "/")) return expected(&r, "\"/\" and the patch size");
    const bool is_resnet = word(&r, "r");
    if (!number(&r, is_resnet ? &x.resnet.stem_stride : &x.patch)) return false;
    if (!word(&r, ":")) return expected(&r, "\":\" and the image tower");
    if (is_resnet) {
        clip_set_resnet(&x);
        if (!resnet(&r, &x)) return false;
    } else if (!tower(&r, "wlhfspm", "image", &x.vision, &x)) return false;
    if (!word(&r, "+")) return expected(&r, "\"+\" and the text tower");
    if (!tower(&r, "wlhfspcvb", "text", &x.text, &x)) return false;
    if (!word(&r, ":e")) return expected(&r, "\":e\" and the embedding width");
    if (!number(&r, &x.embed)) return false;
    x.quick_gelu = word(&r, ":quick_gelu");
    if (*r.at) return expected(&r, "the end or \":quick_gelu\"");
    if (!clip_config_check(&x, text)) return false;
    *c = x;
    return true;
}

bool clip_config_named(clip_config *c, const char *name)
{
    char known[512] = "";
    for (int k = 0; k < MODELS; k++) {
        if (!strcmp(name, models[k].name)) return parse(c, models[k].sizes);
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "", models[k].name);
    }
    if (strchr(name, '/') && strchr(name, ':')) return parse(c, name);
    return pith_raise("there is no model %s: expected %s, or sizes such as %s", name, known,
                      models[0].sizes);
}

void clip_names(FILE *f)
{
    for (int k = 0; k < MODELS; k++) {
        clip_config c;
        if (!parse(&c, models[k].sizes)) return;
        fprintf(f, "%-20s %7.2f M  %-43s %s\n", models[k].name,
                clip_count(&c, c.context).parameters / 1e6, models[k].sizes, models[k].note);
    }
}
