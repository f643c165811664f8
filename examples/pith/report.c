/* report.c: the page of results as a whole: the table of figures, the time of each phase. */
#include "report_parts.h"
#include "train/train.h"

/* ---- the table ---- */

static void figure_row(FILE *f, const report *r, const char *name, const char *format,
                       double (*of)(const report_model *))
{
    fprintf(f, "<tr><th>%s</th>", name);
    for (int m = 0; m < r->models; m++) {
        fputs("<td>", f);
        fprintf(f, format, of(&r->model[m]));
        fputs("</td>", f);
    }
    fputs("<td></td></tr>\n", f);
}

static double millions(const report_model *m) { return m->parameters / 1e6; }
static double gflop(const report_model *m) { return m->gflop_pair; }
static double seconds(const report_model *m) { return m->seconds; }

static void recall_cell(FILE *f, const double recall[3], const char *class)
{
    fprintf(f, "<td%s><b>%.1f</b><i>%.1f</i><i>%.1f</i></td>", class, 100 * recall[0],
            100 * recall[1], 100 * recall[2]);
}

static void table(FILE *f, const report *r)
{
    static const char *const directions[] = { "words &rarr; picture", "picture &rarr; words" };
    fputs("<h2>What came out</h2>\n<p class=\"soft\">Three numbers in a cell are R@1, R@5 and "
          "R@10: how often, of a hundred, the right "
          "partner is the nearest of the whole set, among the five and among the ten nearest. "
          "Chance is what guessing gives.</p>\n"
          "<div class=\"card wide\"><table><thead><tr><th></th>",
          f);
    for (int m = 0; m < r->models; m++) {
        fputs("<th>", f);
        report_text(f, r->model[m].name);
        fputs("</th>", f);
    }
    fputs("<th>chance</th></tr></thead><tbody>\n", f);
    figure_row(f, r, "parameters, millions", "%.2f", millions);
    figure_row(f, r, "GFLOP a pair", "%.3f", gflop);
    figure_row(f, r, "seconds of training", "%.0f", seconds);
    for (int s = 0; s < r->splits; s++) {
        fprintf(f, "<tr class=\"split\"><th colspan=\"%d\">", r->models + 2);
        report_text(f, r->split[s].name);
        fprintf(f, " <span class=\"soft\">%d pairs: ", r->split[s].pairs);
        report_text(f, r->split[s].meaning);
        fputs("</span></th></tr>\n", f);
        for (int d = 0; d < 2; d++) {
            fprintf(f, "<tr><th>%s</th>", directions[d]);
            for (int m = 0; m < r->models; m++) recall_cell(f, r->model[m].recall[s][d], "");
            recall_cell(f, r->split[s].chance[d], " class=\"chance\"");
            fputs("</tr>\n", f);
        }
    }
    fputs("</tbody></table></div>\n", f);
}

/* ---- the rest ---- */

static void phases(FILE *f, const report *r)
{
    double total = 0, most = 0;
    for (int k = 0; k < r->phases; k++) {
        total += r->phase[k].seconds;
        if (r->phase[k].seconds > most) most = r->phase[k].seconds;
    }
    fprintf(f,
            "<h2>Where the time went</h2>\n<p class=\"soft\">%d min %02d s in all.</p>\n<div "
            "class=\"card phases\">\n",
            (int)total / 60, (int)total % 60);
    for (int k = 0; k < r->phases; k++) {
        fputs("<span>", f);
        report_text(f, r->phase[k].name);
        fprintf(f, "</span><div style=\"width:%.1f%%\"></div><span>%.1f s</span>\n",
                most > 0 ? 100 * r->phase[k].seconds / most : 0, r->phase[k].seconds);
    }
    fputs("</div>\n", f);
}

static bool page(FILE *f, const void *context)
{
    const report *r = context;
    fputs("<p>", f);
    report_text(f, r->explanation);
    fputs("</p>\n", f);
    table(f, r);
    const bool good = report_curves(f, r);
    report_kept(f, r);
    report_gallery(f, r);
    report_map(f, r);
    phases(f, r);
    fputs("<footer>\n", f);
    for (const char *const *a = r->attributions; *a; a++) {
        fputs("<p>", f);
        report_text(f, *a);
        fputs("</p>\n", f);
    }
    fputs("</footer>\n", f);
    return good;
}

bool pith_report_write(const report *r, const char *path)
{
    return report_save(path, r->title, page, r);
}
