/* chart.c: what each layer kept of another model, as bars in the terminal. */
#include <math.h>
#include "command.h"

enum { WIDTH = 24 };

static void bar(FILE *f, int kept, int of)
{
    const int filled = of ? (int)lround((double)WIDTH * kept / of) : 0;
    char text[64];
    snprintf(text, sizeof text, "%d of %d", kept, of);
    fprintf(f, "%.*s%.*s %-14s", filled, "########################", WIDTH - filled,
            "........................", text);
}

static void tower(FILE *f, const char *name, const clip_tower *t, const clip_tower *of)
{
    fprintf(f, "%s tower: kept %.3f of its blocks\n    channels  ", name,
            clip_prunable(t) / clip_prunable(of));
    bar(f, t->width, of->width);
    fprintf(f, "\n    layer     heads %*s FFN units\n", WIDTH + 9, "");
    for (int i = 0; i < t->layers; i++) {
        fprintf(f, "    %-9d ", i);
        bar(f, t->heads[i], of->heads[i]);
        fputc(' ', f);
        bar(f, t->ffn[i], of->ffn[i]);
        fputc('\n', f);
    }
}

double prunable(const clip_config *c)
{
    return clip_prunable(&c->vision) + clip_prunable(&c->text);
}

void check_part_of(const clip_config *c, const clip_config *of)
{
    if (clip_is_resnet(c) || clip_is_resnet(of))
        pith_raise("--of: nothing is cut out of a ResNet, and no ResNet out of anything");
    for (int k = 0; k < 2; k++) {
        const clip_tower *t = k ? &c->text : &c->vision, *o = k ? &of->text : &of->vision;
        const char *name = k ? "text" : "image";
        if (t->layers != o->layers || t->width > o->width)
            pith_raise("the %s tower, of %d layers of width %d, is no part of one of %d layers of "
                       "width %d",
                       name, t->layers, t->width, o->layers, o->width);
        for (int i = 0; i < t->layers; i++)
            if (t->block[i] != o->block[i])
                pith_raise("layer %d of the %s tower is a block of another kind", i, name);
            else if (t->heads[i] > o->heads[i] || t->ffn[i] > o->ffn[i])
                pith_raise("layer %d of the %s tower, of %d heads and %d FFN units, is no part of "
                           "one of %d and %d",
                           i, name, t->heads[i], t->ffn[i], o->heads[i], o->ffn[i]);
    }
}

void chart(FILE *f, const clip_config *c, const clip_config *of)
{
    const double kept = prunable(c), all = prunable(of);
    fprintf(f, "kept %.3f: %.0f of the %.0f parameters of all blocks; in all %.0f of %.0f\n",
            kept / all, kept, all, clip_count(c, 2).parameters, clip_count(of, 2).parameters);
    tower(f, "image", &c->vision, &of->vision);
    tower(f, "text", &c->text, &of->text);
}
