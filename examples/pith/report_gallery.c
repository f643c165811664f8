/* report_gallery.c: the pictures of the page: the answers of the model, marked as right or wrong by
 * a sign, a line and a colour, and a map of the similarity between some pictures and captions. */
#include <stdlib.h>
#include <string.h>
#include "pictures/pictures.h"
#include "report_parts.h"

/* ---- pictures ---- */

static void base64(FILE *f, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const unsigned b = i + 1 < n ? bytes[i + 1] : 0, c = i + 2 < n ? bytes[i + 2] : 0;
        const unsigned v = (unsigned)bytes[i] << 16 | b << 8 | c;
        fputc(digits[v >> 18], f);
        fputc(digits[v >> 12 & 63], f);
        fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digits[v & 63] : '=', f);
    }
}

/* If there is no memory the picture stays empty, and the rest of the page is still right. */
void report_picture(FILE *f, const uint8_t *pixels, int size)
{
    const size_t area = (size_t)size * (size_t)size;
    size_t bytes;
    pith_picture p = { size, size, malloc(4 * area) };
    for (size_t k = 0; p.rgba && k < 4 * area; k++)
        p.rgba[k] = k % 4 == 3 ? 255 : pixels[k % 4 * area + k / 4];
    uint8_t *png = p.rgba ? pith_picture_png(&p, &bytes) : NULL;
    fputs("data:image/png;base64,", f);
    if (png) base64(f, png, bytes);
    free(png);
    pith_picture_free(&p);
}

static void image(FILE *f, const uint8_t *pixels, int size, const char *class, const char *alt)
{
    fprintf(f, "<img%s width=\"%d\" height=\"%d\" src=\"", class, size, size);
    report_picture(f, pixels, size);
    fputs("\" alt=\"", f);
    report_text(f, alt);
    fputs("\">", f);
}

/* ---- gallery ---- */

static void words_card(FILE *f, const report *r, const report_query *q)
{
    fputs("<div class=\"card\"><p class=\"words\">&ldquo;", f);
    report_text(f, q->caption);
    fputs("&rdquo;</p><div class=\"row\">\n", f);
    for (int k = 0; k < REPORT_NEAREST; k++) {
        const report_hit *h = &q->nearest[k];
        if (!h->caption) continue;
        fprintf(f, "<figure class=\"%s\">", h->right ? "right" : "wrong");
        image(f, h->pixels, r->size, "", h->caption);
        fprintf(f, "<span class=\"mark\">%s</span><figcaption>",
                h->right ? "&#10003;" : "&#10007;");
        report_text(f, h->caption);
        fputs("</figcaption></figure>\n", f);
    }
    fputs("</div></div>\n", f);
}

static void picture_card(FILE *f, const report *r, const report_query *q)
{
    fputs("<div class=\"card\"><div class=\"row\">", f);
    image(f, q->picture, r->size, " class=\"asked\"", q->caption);
    fputs("<ol>\n", f);
    for (int k = 0; k < REPORT_NEAREST; k++) {
        const report_hit *h = &q->nearest[k];
        if (!h->caption) continue;
        fprintf(f, "<li class=\"%s\"><span class=\"mark\">%s</span><span class=\"name\">",
                h->right ? "right" : "wrong", h->right ? "&#10003;" : "&#10007;");
        report_text(f, h->caption);
        fprintf(f, "</span><span class=\"soft\">%.2f</span></li>\n", h->score);
    }
    fputs("</ol></div>\n<p class=\"soft own\">its own: ", f);
    report_text(f, q->caption);
    fputs("</p></div>\n", f);
}

void report_gallery(FILE *f, const report *r)
{
    if (r->text_queries) {
        fputs("<h2>Words, and the pictures nearest to them</h2>\n<p class=\"soft\">&#10003; with a "
              "full frame: the picture that bears "
              "these words. &#10007; with a dashed frame: another one, with its own "
              "caption.</p>\n<div class=\"gallery\">\n",
              f);
        for (int k = 0; k < r->text_queries; k++) words_card(f, r, &r->text_query[k]);
        fputs("</div>\n", f);
    }
    if (r->picture_queries) {
        fputs("<h2>A picture, and the captions nearest to it</h2>\n<p class=\"soft\">The number is "
              "the cosine between picture and "
              "caption: 1 at most.</p>\n<div class=\"gallery\">\n",
              f);
        for (int k = 0; k < r->picture_queries; k++) picture_card(f, r, &r->picture_query[k]);
        fputs("</div>\n", f);
    }
}

/* ---- map ---- */

enum { CELL = 34, LEFT = 40, TOP = 150, LONGEST = 22 };

/* Cut at a whole character, so that a long caption stays inside the drawing; the cells' tooltips
 * have it all. */
static void short_text(FILE *f, const char *text)
{
    char cut[4 * LONGEST + 4];
    size_t n = 0;
    for (int k = 0; text[n] && k < LONGEST; k++) do
            n++;
        while ((text[n] & 0xc0) == 0x80);
    snprintf(cut, sizeof cut, "%.*s", (int)n, text);
    report_text(f, cut);
    if (text[n]) fputs("&hellip;", f);
}

static void map_row(FILE *f, const report *r, int i, double low, double high)
{
    const double *row = r->map_cosine + (size_t)i * (size_t)r->map;
    const int y = TOP + i * CELL;
    int best = 0;
    fprintf(f, "<image x=\"0\" y=\"%d\" width=\"%d\" height=\"%d\" href=\"", y + 1, CELL - 2,
            CELL - 2);
    report_picture(f, r->map_picture[i], r->size);
    fputs("\"/>\n", f);
    for (int j = 0; j < r->map; j++) {
        if (row[j] > row[best]) best = j;
        fprintf(f,
                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"var(--heat)\" "
                "fill-opacity=\"%.3f\"%s><title>",
                LEFT + j * CELL + 1, y + 1, CELL - 2, CELL - 2, (row[j] - low) / (high - low),
                i == j ? " stroke=\"var(--ink)\"" : "");
        report_text(f, r->map_caption[j]);
        fprintf(f, ": %.2f</title></rect>\n", row[j]);
    }
    fprintf(f, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"var(--card)\" stroke=\"var(--ink)\"/>\n",
            LEFT + best * CELL + CELL / 2, y + CELL / 2);
}

void report_map(FILE *f, const report *r)
{
    double low = 1, high = -1;
    for (int k = 0; k < r->map * r->map; k++) {
        if (r->map_cosine[k] < low) low = r->map_cosine[k];
        if (r->map_cosine[k] > high) high = r->map_cosine[k];
    }
    if (!r->map) return;
    if (high <= low) high = low + 1;
    fprintf(f,
            "<h2>Similarity of pictures and captions</h2>\n<p class=\"soft\">The fuller a cell, "
            "the nearer picture and caption: "
            "cosines from %.2f (empty) to %.2f (full). Outlined: the true pairs. A dot: the "
            "caption nearest to the row's "
            "picture.</p>\n",
            low, high);
    const int width = LEFT + r->map * CELL + 70, height = TOP + r->map * CELL;
    fprintf(f,
            "<div class=\"card wide\"><svg viewBox=\"0 0 %d %d\" "
            "style=\"min-width:%dpx;max-width:%dpx;margin:auto\">\n",
            width, height, width * 3 / 4, width);
    for (int j = 0; j < r->map; j++) {
        fprintf(f, "<text transform=\"translate(%d %d) rotate(-60)\">",
                LEFT + j * CELL + CELL / 2 + 3, TOP - 6);
        short_text(f, r->map_caption[j]);
        fputs("</text>\n", f);
    }
    for (int i = 0; i < r->map; i++) map_row(f, r, i, low, high);
    fputs("</svg></div>\n", f);
}
