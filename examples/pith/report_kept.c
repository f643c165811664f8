/* report_kept.c: the picture of what a smaller model kept of a larger one: of each tower the
 * channels, and of each layer its heads, a square each, and its FFN units, a bar. */
#include "report_parts.h"

static void bar(FILE *f, int kept, int of)
{
    fprintf(f,
            "<span class=\"bar\"><span style=\"width:%.1f%%\"></span></span><span>%d of %d</span>",
            of ? 100.0 * kept / of : 0, kept, of);
}

static void squares(FILE *f, int kept, int of)
{
    fputs("<span class=\"heads\">", f);
    for (int k = 0; k < of; k++) fprintf(f, "<span%s></span>", k < kept ? " class=\"on\"" : "");
    fprintf(f, "</span><span>%d of %d</span>", kept, of);
}

static void tower(FILE *f, const report_tower *t)
{
    fputs("<div class=\"card\"><p class=\"words\">", f);
    report_text(f, t->name);
    fputs("</p><div class=\"kept\"><span>channels</span>", f);
    bar(f, t->width, t->width_of);
    fputs("<span></span><span></span>\n", f);
    for (int i = 0; i < t->layers; i++) {
        fprintf(f, "<span>layer %d</span>", i);
        bar(f, t->ffn[i], t->ffn_of[i]);
        squares(f, t->heads[i], t->heads_of[i]);
        fputc('\n', f);
    }
    fputs("</div></div>\n", f);
}

void report_kept(FILE *f, const report *r)
{
    fputs("<h2>What the masks kept of the teacher</h2>\n<p class=\"soft\">", f);
    report_text(f, r->kept_text);
    fputs(" Bars are the tower's channels, which all layers share, and the units of each layer's "
          "MLP; squares are its attention heads.</p>\n<div class=\"gallery\">\n",
          f);
    for (int k = 0; k < 2; k++) tower(f, &r->kept[k]);
    fputs("</div>\n", f);
}
