/* fuse.c: from a masked model to a smaller one (TinyCLIP): what a mask leaves out is cut away, and
 * the values of the others are multiplied into the weights that the masks multiply in the graph.
 * The projections are not among those, so that the embeddings stay the same.
 *
 * Where all heads or FFN units of a layer are left out, the masked layer still adds its output bias
 * to the residual stream. That is folded into the bias of what wrote to it before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parts.h"

/* Which of n things stay, and what multiplies each of those. */
typedef struct {
    int n, *index;
    pith_real *factor;
} kept;

typedef struct {
    kept hidden, heads[CLIP_MAX_LAYERS], ffn[CLIP_MAX_LAYERS];
} decision; /* of a tower */

static bool decide(pith_store *s, const char *tower, int layer, const char *what, int n,
                   int at_least, kept *k)
{
    char name[64], number[16] = "";
    if (layer >= 0) snprintf(number, sizeof number, "%d.", layer);
    snprintf(name, sizeof name, "mask.%s.%s%s", tower, number, what);
    const pith_tensor *t = pith_store_find(s, name);
    if (!n) return true;
    if (!t || pith_tensor_size(t) != (size_t)n)
        return pith_raise("cannot prune: the store has no %s of %d numbers", name, n);
    k->index = malloc(sizeof *k->index * (size_t)n);
    k->factor = malloc(sizeof *k->factor * (size_t)n);
    if (!k->index || !k->factor || !clip_mask_decide(t, at_least, k->factor))
        return pith_raise("cannot prune: no memory for %s", name);
    for (int i = 0; i < n; i++)
        if (k->factor[i] > 0) k->index[k->n] = i, k->factor[k->n++] = k->factor[i];
    return true;
}

static bool decide_tower(pith_store *s, const clip_tower *t, const char *name, decision *d,
                         clip_tower *out)
{
    bool good = decide(s, name, -1, "hidden", t->width, 1, &d->hidden);
    *out = *t;
    out->width = d->hidden.n;
    out->masks = NULL;
    for (int i = 0; good && i < t->layers; i++) {
        good = decide(s, name, i, "heads", t->heads[i], 0, &d->heads[i]) &&
               decide(s, name, i, "ffn", t->ffn[i], 0, &d->ffn[i]);
        out->heads[i] = d->heads[i].n;
        out->ffn[i] = d->ffn[i].n;
    }
    return good;
}

static void free_kept(kept *k) { free(k->index), free(k->factor); }

static void free_decision(decision *d)
{
    free_kept(&d->hidden);
    for (int i = 0; i < CLIP_MAX_LAYERS; i++) free_kept(&d->heads[i]), free_kept(&d->ffn[i]);
}

/* ---- cutting a tensor ---- */

/* What each axis of a tensor counts: h hidden channels, f FFN units, a columns of heads, q the rows
 * of heads of in_proj; in capitals where the mask multiplies; . is anything else. */
static const struct {
    const char *name, *axes;
} rules[] = {
    { "class_embedding", "H" },
    { "conv1.weight", "H..." },
    { "positional_embedding", ".H" },
    { "token_embedding.weight", ".H" },
    { "ln_pre", "h" },
    { "ln_1", "h" },
    { "ln_2", "h" },
    { "ln_post", "h" },
    { "ln_final", "h" },
    { "attn.in_proj_weight", "qh" },
    { "attn.in_proj_bias", "q" },
    { "attn.out_proj.weight", "HA" },
    { "attn.out_proj.bias", "H" },
    { "mlp.c_fc.weight", "fh" },
    { "mlp.c_fc.bias", "f" },
    { "mlp.c_proj.weight", "HF" },
    { "mlp.c_proj.bias", "H" },
    { "proj", "h." },
    { "text_projection", "h." },
    { "logit_scale", "" },
};

static const char *axes_of(const clip_tensor *t)
{
    const char *name = t->name;
    if (!strncmp(name, "visual.", 7)) name += 7;
    if (t->layer >= 0) name = strchr(strstr(name, "resblocks.") + 10, '.') + 1;
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        const size_t size = strlen(rules[k].name);
        const bool norm = !strncmp(rules[k].name, "ln_", 3); /* weight and bias alike */
        if (!strncmp(name, rules[k].name, size) && (!name[size] || (norm && name[size] == '.')))
            return rules[k].axes;
    }
    return NULL;
}

/* An axis: `parts` times so many things as the mask has entries, each of `width`: of in_proj
 * queries, keys and values of heads. kept NULL: all of it stays. */
typedef struct {
    int from, to, parts, width; /* from, to: its size in the larger and the smaller tensor */
    const kept *kept;
    bool multiplied;
} axis;

static axis axis_of(char letter, int size, const decision *d, int layer, int head_width)
{
    if (letter == '.') return (axis){ size, size, 1, 1, NULL, false };
    const char what = (char)(letter | 32);
    const bool heads = what == 'a' || what == 'q';
    axis a = { .from = size, .parts = what == 'q' ? 3 : 1, .width = heads ? head_width : 1 };
    a.kept = what == 'h' ? &d->hidden : heads ? &d->heads[layer] : &d->ffn[layer];
    a.multiplied = letter != what;
    a.to = a.parts * a.kept->n * a.width;
    return a;
}

/* Where entry i of the smaller tensor's axis comes from; its factor goes into *factor. */
static int source(const axis *a, int i, double *factor)
{
    if (!a->kept) return i;
    const int part = i / (a->kept->n * a->width), k = i / a->width % a->kept->n;
    if (a->multiplied) *factor *= (double)a->kept->factor[k];
    return part * (a->from / a->parts) + a->kept->index[k] * a->width + i % a->width;
}

static void cut(int n, const axis *axes, const pith_real *from, double factor, pith_real **to)
{
    if (!n) {
        *(*to)++ = (pith_real)((double)*from * factor);
        return;
    }
    size_t stride = 1;
    for (int k = 1; k < n; k++) stride *= (size_t)axes[k].from;
    for (int i = 0; i < axes->to; i++) {
        double product = factor;
        const int at = source(axes, i, &product);
        cut(n - 1, axes + 1, from + stride * (size_t)at, product, to);
    }
}

static pith_real *values_of(const pith_tensor *t)
{
    pith_real *x = t ? malloc(sizeof *x * pith_tensor_size(t)) : NULL;
    if (x && pith_tensor_read(t, x)) return x;
    free(x);
    return pith_raise("cannot prune: no memory for a tensor, or none is there"), NULL;
}

static bool cut_tensor(const clip_tensor *large, const clip_tensor *small, pith_store *s,
                       const decision *d, int head_width, pith_store *to)
{
    const char *letters = axes_of(large);
    axis axes[4];
    if (!letters) return pith_raise("cannot prune: fuse.c has no rule for %s", large->name);
    for (int k = 0; k < large->ndim; k++)
        axes[k] = axis_of(letters[k], large->dim[k], d, large->layer, head_width);
    pith_tensor *out = pith_store_add(to, small->name, PITH_WEIGHT, PITH_F32, small->ndim,
                                      small->dim);
    pith_real *x = out ? values_of(pith_store_find(s, large->name)) : NULL,
              *y = x ? malloc(sizeof *y * pith_tensor_size(out)) : NULL, *end = y;
    if (y) cut(large->ndim, axes, x, 1, &end);
    const bool good = y && pith_tensor_write(out, y);
    free(x);
    free(y);
    return good;
}

/* ---- biases of what is left out as a whole ---- */

/* Adds a bias (width) of the larger model, through the hidden mask, to each row of `to`. */
static bool fold(const pith_tensor *bias, const kept *hidden, pith_tensor *to)
{
    pith_real *b = values_of(bias), *x = b ? values_of(to) : NULL;
    for (size_t k = 0; x && k < pith_tensor_size(to); k++) {
        const size_t i = k % (size_t)hidden->n;
        x[k] += hidden->factor[i] * b[hidden->index[i]];
    }
    const bool good = x && pith_tensor_write(to, x);
    free(b);
    free(x);
    return good;
}

static bool fold_biases(const clip_tower *t, const clip_tower *out, const decision *d,
                        const char *prefix, const char *first, pith_store *s, pith_store *to)
{
    static const char *const biases[] = { "attn.out_proj.bias", "mlp.c_proj.bias" };
    char name[96], before[96]; /* what wrote to the residual stream before */
    bool good = true;
    snprintf(before, sizeof before, "%s%s", prefix, first);
    for (int k = 0; good && k < 2 * t->layers; k++) {
        const int i = k / 2, had = k % 2 ? t->ffn[i] : t->heads[i],
                  has = k % 2 ? out->ffn[i] : out->heads[i];
        snprintf(name, sizeof name, "%stransformer.resblocks.%d.%s", prefix, i, biases[k % 2]);
        if (has) snprintf(before, sizeof before, "%s", name);
        else if (had)
            good = fold(pith_store_find(s, name), &d->hidden, pith_store_find(to, before));
    }
    return good;
}

/* ---- the model ---- */

static bool cut_tensors(const clip_config *c, const clip_config *out, pith_store *s,
                        const decision d[2], pith_store *to)
{
    clip_tensor *large, *small;
    const int n = clip_tensors(c, &large), m = clip_tensors(out, &small);
    bool good = n > 0 && m > 0;
    for (int k = 0, i = 0; good && k < m; k++, i++) {
        while (i < n && strcmp(large[i].name, small[k].name)) i++; /* the order is the same */
        const bool text = i < n && large[i].part == CLIP_TEXT;
        good = i < n && cut_tensor(&large[i], &small[k], s, &d[text],
                                   text ? c->text.head_width : c->vision.head_width, to);
    }
    free(large);
    free(small);
    return good;
}

bool clip_fuse(const clip_config *c, pith_store *s, clip_config *out, pith_store *to)
{
    decision *d = calloc(2, sizeof *d);
    if (!d) return pith_raise("cannot prune: no memory");
    *out = *c;
    const bool good =
        clip_can_be_pruned(c) && decide_tower(s, &c->vision, "image", &d[0], &out->vision) &&
        decide_tower(s, &c->text, "text", &d[1], &out->text) && cut_tensors(c, out, s, d, to) &&
        fold_biases(&c->vision, &out->vision, &d[0], "visual.", "ln_pre.bias", s, to) &&
        fold_biases(&c->text, &out->text, &d[1], "", "positional_embedding", s, to);
    free_decision(&d[0]);
    free_decision(&d[1]);
    free(d);
    return good;
}
