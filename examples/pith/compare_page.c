/* compare_page.c: the verdicts of a comparison, and its page: claims with their intervals, a table
 * of arms, curves by pairs and by compute. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "report_parts.h"

/* ---- the verdict ---- */

typedef struct {
    int n;
    double *pairs, *gflop, *value;
} curve;

static curve read_curve(const result *r)
{
    const size_t most = strlen(r->curve) / 2 + 1;
    curve c = { 0, room(sizeof(double) * most), room(sizeof(double) * most),
                room(sizeof(double) * most) };
    int used;
    for (const char *at = r->curve;
         sscanf(at, "%lf:%lf:%lf%n", &c.pairs[c.n], &c.gflop[c.n], &c.value[c.n], &used) == 3;
         at += used)
        c.n++;
    return c;
}

static void free_curve(curve *c) { free(c->pairs), free(c->gflop), free(c->value); }

/* The logarithm of the pairs after which a cell first reaches a value, negative, since fewer are
 * better. One that never does needs more than all of its pairs: what is returned is then only a
 * bound from above. */
static double reaches(const result *r, double value, bool *censored)
{
    curve c = read_curve(r);
    int k = 0;
    while (k < c.n && !(c.value[k] >= value)) k++;
    *censored |= k == c.n;
    const double seen = k < c.n ? c.pairs[k] : r->pairs;
    free_curve(&c);
    return -log(seen);
}

/* The claim's contrast for one seed; NaN if a cell is missing. */
static double contrast(const comparison *c, const results *all, const claim *k, int64_t seed,
                       bool *censored)
{
    double sum = 0, wanted = (double)NAN;
    const result *reference = k->reference < 0 ? NULL : find_result(all, k->reference, seed);
    if (reference) {
        curve own = read_curve(reference);
        wanted = own.n ? own.value[own.n - 1] : (double)NAN;
        free_curve(&own);
    }
    for (int arm = c->first; arm < c->arms; arm++) {
        if (k->weight[arm] == 0) continue;
        const result *r = find_result(all, arm, seed);
        if (!r || (k->reference >= 0 && isnan(wanted))) return (double)NAN;
        bool late = false;
        sum += k->weight[arm] *
               (k->reference < 0 ? measure_of(r, k->measure) : reaches(r, wanted, &late));
        *censored |= late;
    }
    return sum;
}

judgement judge(const comparison *c, const results *all, const claim *k)
{
    double x[MOST_SEEDS];
    int n = 0;
    judgement j = { .censored = false };
    for (int s = 0; s < c->seeds; s++) {
        bool censored = false;
        x[n] = contrast(c, all, k, c->seed[s], &censored);
        if (isnan(x[n])) continue;
        j.censored |= censored;
        n++;
    }
    j.interval = pith_t_interval(n, x);
    j.verdict = pith_judge(k->kind, k->margin, j.censored, &j.interval);
    return j;
}

const char *verdict_text(const judgement *j)
{
    static char text[160];
    static const char *const word[] = { "held", "did not hold", "cannot be told" };
    const pith_interval *i = &j->interval;
    if (i->n < 2)
        snprintf(text, sizeof text, "cannot be told by %d %s", i->n, i->n == 1 ? "seed" : "seeds");
    else if (j->verdict != PITH_CANNOT_BE_TOLD) return word[j->verdict];
    else
        snprintf(text, sizeof text, "cannot be told; a difference of %.3g could have been seen",
                 i->high - i->mean);
    return text;
}

/* ---- the page ---- */

typedef struct {
    const comparison *c;
    const results *all;
} page_context;

/* An interval on a line with 0 and the margin that the claim is judged by. */
static void draw_interval(FILE *f, const claim *k, const pith_interval *i)
{
    enum { WIDE = 860, HIGH = 40 };
    const double bound = k->kind == PITH_BETTER ? k->margin : -k->margin;
    const double least = fmin(fmin(i->low, bound), 0), most = fmax(fmax(i->high, bound), 0);
    const double scale = most > least ? (WIDE - 40) / (most - least) : 1;
    const struct {
        double at;
        const char *dash, *name;
    } mark[] = { { 0, "none", "0" }, { bound, "4 3", "margin" } };
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"interval\">", WIDE, HIGH);
    for (int m = 0; m < 1 + (bound != 0); m++)
        fprintf(f,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"24\" stroke=\"var(--soft)\" "
                "stroke-dasharray=\"%s\"/><text x=\"%.1f\" y=\"38\" "
                "text-anchor=\"middle\">%s</text>",
                20 + scale * (mark[m].at - least), 20 + scale * (mark[m].at - least), mark[m].dash,
                20 + scale * (mark[m].at - least), mark[m].name);
    fprintf(f,
            "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"13\" y2=\"13\" stroke=\"var(--heat)\" "
            "stroke-width=\"3\"/><circle cx=\"%.1f\" cy=\"13\" r=\"5\" "
            "fill=\"var(--heat)\"/></svg>\n",
            20 + scale * (i->low - least), 20 + scale * (i->high - least),
            20 + scale * (i->mean - least));
}

static void claims(FILE *f, const comparison *c, const results *all)
{
    fputs(
        "<h2>What was claimed</h2>\n<p class=\"soft\">Each claim, its measure and its margin stood "
        "in the file before the first cell was run. The interval is that of Student's t, 95 %, "
        "over seeds, paired; of a claim about how soon something is reached it is in "
        "logarithms of pairs. A claim that one thing is better held if the interval lies wholly "
        "above 0, and that it is no worse, if wholly above minus the margin.</p>\n",
        f);
    for (int k = 0; k < c->claims; k++) {
        const claim *what = &c->claim[k];
        const judgement j = judge(c, all, what);
        fputs("<div class=\"card\" style=\"margin-bottom:.7rem\"><p class=\"words\">", f);
        report_text(f, what->text);
        fputs(": ", f);
        report_text(f, verdict_text(&j));
        fprintf(f, "</p>\n<p class=\"soft\">%s by a margin of %g; ",
                what->kind == PITH_BETTER ? "better" : "no worse", what->margin);
        if (what->reference < 0) report_text(f, what->measure);
        else {
            fputs("pairs until it reaches the end of ", f);
            report_text(f, c->arm[what->reference].name);
            if (j.censored) fputs(", which some never did", f);
        }
        for (int arm = c->first; arm < c->arms; arm++) {
            if (what->weight[arm] == 0) continue;
            fprintf(f, "; %+g ", what->weight[arm]);
            report_text(f, c->arm[arm].name);
        }
        fprintf(f, "; %d seeds", j.interval.n);
        if (j.interval.n > 1)
            fprintf(f, "; mean %.4f, %.4f to %.4f", j.interval.mean, j.interval.low,
                    j.interval.high);
        fputs("</p>\n", f);
        if (j.interval.n > 1) draw_interval(f, what, &j.interval);
        fputs("</div>\n", f);
    }
}

/* Mean and standard deviation of a measure over the seeds of an arm that are there. */
static int spread(const comparison *c, const results *all, int arm, const char *measure,
                  double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    int n = 0;
    for (int s = 0; s < c->seeds; s++) {
        const result *r = find_result(all, arm, c->seed[s]);
        const double x = r ? measure_of(r, measure) : (double)NAN;
        if (isnan(x)) continue;
        sum += x, squares += x * x;
        n++;
    }
    *mean = n ? sum / n : (double)NAN;
    *deviation = n > 1 ? sqrt(fmax(0, squares - sum * sum / n) / (n - 1)) : (double)NAN;
    return n;
}

static void measure_cell(FILE *f, const comparison *c, const results *all, int arm,
                         const char *measure)
{
    double mean, deviation;
    const int n = spread(c, all, arm, measure, &mean, &deviation);
    if (!n) fputs("<td></td>", f);
    else if (!(deviation > 1e-9)) fprintf(f, "<td>%.1f</td>", 100 * mean);
    else fprintf(f, "<td>%.1f &plusmn; %.1f</td>", 100 * mean, 100 * deviation);
}

/* The name of another measure of the same split: "composition.mrr", "r1" gives "composition.r1". */
static const char *beside(char name[80], const char *measure, const char *other)
{
    const char *dot = strrchr(measure, '.');
    snprintf(name, 80, "%.*s.%s", dot ? (int)(dot - measure) : 0, measure, other);
    return name;
}

static void arms_table(FILE *f, const comparison *c, const results *all)
{
    static const char *const others[] = { "r1", "r5", "r10", "chance_r1" };
    char name[80];
    fputs(
        "<h2>What came out</h2>\n<p class=\"soft\">Measures are in %, means over seeds with their "
        "standard deviation, of both directions, words to picture and picture to words; chance is "
        "what guessing gives.</p>\n<div class=\"card wide\"><table><thead><tr><th>arm</th>"
        "<th>seeds</th><th>",
        f);
    report_text(f, c->measure);
    fputs("</th><th>R@1</th><th>R@5</th><th>R@10</th><th>chance R@1</th><th>parameters, M</th>"
          "<th>pairs</th><th>GFLOP</th><th>seconds</th><th>peak MB</th></tr></thead><tbody>\n",
          f);
    for (int arm = c->first; arm < c->arms; arm++) {
        double parameters = 0, seen = 0, gflop = 0, seconds = 0, megabytes = 0;
        int n = 0;
        for (int s = 0; s < c->seeds; s++) {
            const result *r = find_result(all, arm, c->seed[s]);
            if (!r) continue;
            n++;
            parameters += r->parameters, seen += r->pairs, gflop += r->gflop;
            seconds += r->seconds, megabytes += r->megabytes;
        }
        fputs("<tr><th>", f);
        report_text(f, c->arm[arm].name);
        fprintf(f, "</th><td>%d</td>", n);
        if (!n) {
            fputs("</tr>\n", f);
            continue;
        }
        measure_cell(f, c, all, arm, c->measure);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            measure_cell(f, c, all, arm, beside(name, c->measure, others[k]));
        fprintf(f, "<td>%.2f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td></tr>\n",
                parameters / n / 1e6, seen / n, gflop / n, seconds / n, megabytes / n);
    }
    fputs("</tbody></table></div>\n", f);
}

/* The curves of all arms, means over the seeds that have as many points. */
static void curves(FILE *f, const comparison *c, const results *all, bool compute)
{
    report_line line[MOST_ARMS] = { { .name = "" } };
    int lines = 0;
    for (int arm = c->first; arm < c->arms; arm++) {
        double *x = NULL, *y = NULL;
        int n = 0, seeds = 0;
        for (int s = 0; s < c->seeds; s++) {
            const result *r = find_result(all, arm, c->seed[s]);
            if (!r) continue;
            curve own = read_curve(r);
            if (!x) {
                n = own.n;
                x = room(sizeof *x * (size_t)(n + 1));
                y = room(sizeof *y * (size_t)(n + 1));
            }
            for (int k = 0; own.n == n && k < n; k++)
                x[k] += compute ? own.gflop[k] : own.pairs[k], y[k] += 100 * own.value[k];
            seeds += own.n == n;
            free_curve(&own);
        }
        for (int k = 0; k < n; k++) x[k] /= seeds, y[k] /= seeds;
        if (n) line[lines++] = (report_line){ c->arm[arm].name, n, x, y };
    }
    if (lines) {
        fputs("<div class=\"card wide\">", f);
        report_plot(f, compute ? "GFLOP of products" : "pairs seen", "R@1 in %, split valid", lines,
                    line);
        fputs("</div>\n", f);
    }
    for (int k = 0; k < lines; k++) free((void *)line[k].x), free((void *)line[k].y);
}

static bool body(FILE *f, const void *context)
{
    const page_context *p = context;
    const comparison *c = p->c;
    fprintf(f,
            "<p>%d arms, %d seeds, %d of %d cells finished. Every arm was measured on the same "
            "data after its last step.</p>\n",
            c->arms - c->first, c->seeds, p->all->n, (c->arms - c->first) * c->seeds);
    if (c->claims) claims(f, c, p->all);
    arms_table(f, c, p->all);
    fputs("<h2>On the way</h2>\n", f);
    curves(f, c, p->all, false);
    curves(f, c, p->all, true);
    fputs("<h2>How each arm was run</h2>\n<div class=\"card\">\n", f);
    for (int k = 0; k < c->arms; k++) {
        fputs("<p><b>", f);
        report_text(f, c->arm[k].name);
        fputs("</b>: <code>pith ", f);
        report_text(f, c->arm[k].run);
        fputs("</code></p>\n", f);
    }
    fputs("</div>\n", f);
    return true;
}

bool write_comparison_page(const char *path, const comparison *c, const results *all)
{
    const page_context context = { c, all };
    return report_save(path, c->question, body, &context);
}
