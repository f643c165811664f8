/* compare_page.c: the page of one comparison or of several: claims with their intervals, a table of
 * arms, curves by pairs and by compute. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"
#include "report_parts.h"

typedef struct {
    int n;
    const comparison *c;
    const results *all;
} page_context;

static void paragraph(FILE *f, const char *name, const char *text)
{
    if (!*text) return;
    fprintf(f, "<p><b>%s</b> ", name);
    report_text(f, text);
    fputs("</p>\n", f);
}

static void claims(FILE *f, const comparison *c, const results *all)
{
    for (int k = 0; k < c->claims; k++) {
        const claim *what = &c->claim[k];
        const judgement j = judge(c, all, what);
        fputs("<div class=\"card\" style=\"margin-bottom:.7rem\"><p class=\"words\">", f);
        report_text(f, what->text);
        fputs(": ", f);
        report_text(f, verdict_text(what, &j));
        fprintf(f, "</p>\n<p class=\"soft\">%s, margin %g%s; ",
                what->kind == PITH_BETTER ? "better" : "no worse", what->margin,
                what->reference < 0 ? "" : " of the logarithm");
        if (what->reference < 0) report_text(f, what->measure);
        else {
            fputs("pairs until it reaches the end of ", f);
            report_text(f, c->arm[what->reference].name);
        }
        for (int arm = c->first; arm < c->arms; arm++) {
            if (what->weight[arm] == 0) continue;
            fprintf(f, "; %+g ", what->weight[arm]);
            report_text(f, c->arm[arm].name);
        }
        fprintf(f, "; %d seed%s", j.interval.n, j.interval.n == 1 ? "" : "s");
        if (j.interval.n > 1) fprintf(f, "; mean and 95 %% interval: %s", interval_text(what, &j));
        fputs("</p>\n", f);
        if (j.interval.n > 1) draw_interval(f, what, &j.interval);
        fputs("</div>\n", f);
    }
}

/* Mean and standard deviation of a measure over the seeds of an arm that are there. */
static int spread(const comparison *c, const results *all, int arm, const char *measure,
                  double *mean, double *deviation)
{
    const result *row[MOST_SEEDS];
    const int rows = rows_of_arm(all, c, arm, row);
    double sum = 0, squares = 0, value[MOST_SEEDS];
    int n = 0;
    for (int k = 0; k < rows; k++) {
        const double x = measure_of(row[k], measure);
        if (isnan(x)) continue;
        sum += value[n++] = x;
    }
    for (int k = 0; k < n; k++) squares += (value[k] - sum / n) * (value[k] - sum / n);
    *mean = n ? sum / n : (double)NAN;
    *deviation = n > 1 ? sqrt(squares / (n - 1)) : (double)NAN;
    return n;
}

/* All measures but losses and counts lie between 0 and 1, and are told in %. */
static bool is_share(const char *measure)
{
    static const char *const others[] = { "loss", "_pictures", "_classes", "_couples", "_shots" };
    bool share = true;
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        const size_t size = strlen(measure), end = strlen(others[k]);
        share &= size < end || strcmp(measure + size - end, others[k]) != 0;
    }
    return share;
}

static void measure_cell(FILE *f, const comparison *c, const results *all, int arm,
                         const char *measure)
{
    double mean, deviation;
    const int n = spread(c, all, arm, measure, &mean, &deviation);
    const bool share = is_share(measure);
    if (share) mean *= 100, deviation *= 100;
    if (!n) fputs("<td></td>", f);
    else fprintf(f, "<td>%.*f", share ? 1 : 3, mean);
    if (n && deviation > 1e-7) fprintf(f, " &plusmn; %.*f", share ? 1 : 3, deviation);
    if (n) fputs("</td>", f);
}

/* The name of another measure of the same split: "composition.mrr", "r1" gives "composition.r1". */
static const char *beside(char name[80], const char *measure, const char *other)
{
    const char *dot = strrchr(measure, '.');
    snprintf(name, 80, "%.*s.%s", dot ? (int)(dot - measure) : 0, measure, other);
    return name;
}

/* Is the measure of a claim the first that is neither the comparison's nor an earlier claim's? */
static bool is_new_measure(const comparison *c, int k)
{
    bool is_new = c->claim[k].reference < 0 && strcmp(c->claim[k].measure, c->measure);
    for (int i = 0; i < k; i++) is_new &= strcmp(c->claim[i].measure, c->claim[k].measure) != 0;
    return is_new;
}

static void arms_heading(FILE *f, const comparison *c)
{
    fputs("<div class=\"card wide\"><table><thead><tr><th>arm</th><th>seeds</th><th>", f);
    report_text(f, c->measure);
    fputs("</th><th>R@1</th><th>R@5</th><th>R@10</th><th>chance R@1</th>", f);
    for (int k = 0; k < c->claims; k++) {
        if (!is_new_measure(c, k)) continue;
        fputs("<th>", f);
        report_text(f, c->claim[k].measure);
        fputs("</th>", f);
    }
    fputs("<th>parameters, M</th><th>pairs</th><th>GFLOP</th><th>seconds</th><th>peak MB</th></tr>"
          "</thead><tbody>\n",
          f);
}

static void arm_row(FILE *f, const comparison *c, const results *all, int arm)
{
    static const char *const others[] = { "r1", "r5", "r10", "chance_r1" };
    double parameters = 0, seen = 0, gflop = 0, seconds = 0, megabytes = 0;
    char name[80];
    const result *row[MOST_SEEDS];
    const int n = rows_of_arm(all, c, arm, row);
    for (int k = 0; k < n; k++) {
        const result *r = row[k];
        parameters += r->parameters, seen += r->pairs, gflop += r->gflop;
        seconds += r->seconds, megabytes += r->megabytes;
    }
    fputs("<tr><th>", f);
    report_text(f, c->arm[arm].name);
    fprintf(f, "</th><td>%d</td>", n);
    if (n) {
        measure_cell(f, c, all, arm, c->measure);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            measure_cell(f, c, all, arm, beside(name, c->measure, others[k]));
        for (int k = 0; k < c->claims; k++)
            if (is_new_measure(c, k)) measure_cell(f, c, all, arm, c->claim[k].measure);
    }
    if (n && parameters > 0)
        fprintf(f, "<td>%.2f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td>",
                parameters / n / 1e6, seen / n, gflop / n, seconds / n, megabytes / n);
    fputs("</tr>\n", f);
}

/* An arm that only makes data has none. */
static bool has_rows(const comparison *c, const results *all, int arm)
{
    const result *row[MOST_SEEDS];
    return c->arm[arm].trains || rows_of_arm(all, c, arm, row);
}

/* What arms that do not train have measured, such as how well a score tells right captions. */
static void other_figures(FILE *f, const comparison *c, const results *all)
{
    const result *row[MOST_SEEDS];
    for (int arm = c->first; arm < c->arms; arm++)
        for (int k = 0, n = rows_of_arm(all, c, arm, row); k < n; k++) {
            const result *r = row[k];
            if (c->arm[arm].trains || strstr(r->measures, ".mrr=")) continue;
            fputs("<p class=\"soft\">", f);
            report_text(f, c->arm[arm].name);
            fprintf(f, ", seed %lld: ", (long long)r->seed);
            report_text(f, r->measures);
            fputs("</p>\n", f);
        }
}

static bool is_new(pith_table *told, const char *text)
{
    if (pith_table_find(told, text, strlen(text) + 1) >= 0) return false;
    pith_table_add(told, text, strlen(text) + 1);
    return true;
}

/* Which machines and versions the rows come from, each once. */
static void machines(FILE *f, const comparison *c, const results *all)
{
    pith_table told = { 0 };
    const result *row[MOST_SEEDS];
    for (int arm = c->first; arm < c->arms; arm++)
        for (int k = 0, n = rows_of_arm(all, c, arm, row); k < n; k++) {
            const result *r = row[k];
            char text[400];
            if (!c->arm[arm].trains) continue;
            snprintf(text, sizeof text, "data %s; pith %s; %s", r->data, r->version, r->machine);
            if (!is_new(&told, text)) continue;
            fputs("<p class=\"soft\">", f);
            report_text(f, text);
            fputs("</p>\n", f);
        }
    pith_table_free(&told);
}

static void command_line(FILE *f, const comparison *c, const compared *a)
{
    fputs("<p><b>", f);
    report_text(f, a->name);
    fputs("</b>: <code>pith ", f);
    report_text(f, a->run);
    if (a->trains && strcmp(a->data, c->data)) {
        fputs("</code>, trained on <code>", f);
        report_text(f, a->data);
    }
    fputs("</code></p>\n", f);
}

static void commands(FILE *f, const comparison *c, const results *all)
{
    fputs("<details><summary class=\"soft\">How each arm was run</summary>\n<div class=\"card\">\n",
          f);
    fputs("<p>Measured on <code>", f);
    report_text(f, c->data);
    fputs("</code>", f);
    for (int k = 0; k < c->others; k++) {
        fputs(", ", f);
        report_text(f, c->other[k].name);
        fputs(": <code>", f);
        report_text(f, c->other[k].run);
        fputs("</code>", f);
    }
    fputs("; a name in braces stands for what the arm of that name made.</p>\n", f);
    machines(f, c, all);
    for (int k = c->first; k < c->arms; k++) command_line(f, c, &c->arm[k]);
    fputs("</div></details>\n", f);
}

/* What runs once, before the arms; of several comparisons each once. */
static void commands_before(FILE *f, const page_context *p)
{
    pith_table told = { 0 };
    for (int k = 0; k < p->n; k++)
        for (int arm = 0; arm < p->c[k].first; arm++) {
            if (!is_new(&told, p->c[k].arm[arm].name)) continue;
            if (told.count == 1)
                fputs("<details><summary class=\"soft\">What was run once, before all arms"
                      "</summary>\n"
                      "<div class=\"card\">\n",
                      f);
            command_line(f, &p->c[k], &p->c[k].arm[arm]);
        }
    if (told.count) fputs("</div></details>\n", f);
    pith_table_free(&told);
}

/* Models that were trained once: the interval knows nothing of their luck. */
static void trained_once(FILE *f, const comparison *c)
{
    for (int k = 0; k < c->first; k++) {
        if (!c->arm[k].trains) continue;
        fputs("<p class=\"soft\">One ", f);
        report_text(f, c->arm[k].name);
        fputs(" serves all seeds: what another would have changed is not in the intervals.</p>\n",
              f);
    }
}

static void section(FILE *f, const comparison *c, const results *all)
{
    int cells = 0, done = 0;
    const result *row[MOST_SEEDS];
    for (int arm = c->first; arm < c->arms; arm++)
        if (c->arm[arm].trains) cells += c->seeds, done += rows_of_arm(all, c, arm, row);
    paragraph(f, "Claimed:", c->paper);
    claims(f, c, all);
    paragraph(f, "What this cannot tell:", c->limits);
    fprintf(f, "<p class=\"soft\">%d of %d cells finished.</p>\n", done, cells);
    trained_once(f, c);
    arms_heading(f, c);
    for (int arm = c->first; arm < c->arms; arm++)
        if (has_rows(c, all, arm)) arm_row(f, c, all, arm);
    fputs("</tbody></table></div>\n", f);
    other_figures(f, c, all);
    draw_curves(f, c, all, false);
    draw_curves(f, c, all, true);
    commands(f, c, all);
}

/* All verdicts of all comparisons, each with the place where it is told at length. */
static void summary(FILE *f, const page_context *p)
{
    fputs("<div class=\"card wide\"><table><thead><tr><th>claim</th><th>seeds</th>"
          "<th>mean, 95 %</th><th>margin</th><th>verdict</th></tr></thead><tbody>\n",
          f);
    for (int k = 0; k < p->n; k++) {
        fprintf(f, "<tr class=\"split\"><th colspan=\"5\"><a href=\"#q%d\">", k);
        report_text(f, p->c[k].question);
        fputs("</a></th></tr>\n", f);
        for (int i = 0; i < p->c[k].claims; i++) {
            const claim *what = &p->c[k].claim[i];
            const judgement j = judge(&p->c[k], p->all, what);
            fputs("<tr><th style=\"white-space: normal\">", f);
            report_text(f, what->text);
            fprintf(f, "</th><td>%d</td><td>%s</td><td>%g</td>", j.interval.n,
                    interval_text(what, &j), what->margin);
            fputs("<td style=\"white-space: normal; min-width: 9rem\">", f);
            report_text(f, verdict_text(what, &j));
            fputs("</td></tr>\n", f);
        }
    }
    fputs("</tbody></table></div>\n", f);
}

static bool body(FILE *f, const void *context)
{
    const page_context *p = context;
    fputs("<p>Each claim, its measure and its margin are to stand in a file before the first "
          "cell is run. All arms of a question were measured on the same data after their last "
          "step. The interval is that of Student's t, 95 %, over seeds, paired; of a claim "
          "about how soon something is reached it is in logarithms of pairs. A claim that one "
          "thing is better held if the interval lies wholly above 0, and did not hold if wholly"
          " below the margin; that it is no worse held if wholly above minus the margin, and "
          "did not hold if wholly below that. Differences and margins are as they are measured,"
          " 0.01 for a point of %; in tables measures are in %, but for losses and counts: "
          "means over seeds with their standard deviation, of both directions, words to picture"
          " and picture to words; chance is what guessing gives. Of many verdicts at 95 % some "
          "err by chance.</p>\n",
          f);
    paragraph(f, "What none of this can tell:", p->c[0].common_limits);
    if (p->n > 1) {
        summary(f, p);
        draw_scatter(f, p->n, p->c, p->all, p->c[0].measure);
    }
    for (int k = 0; k < p->n; k++) {
        fprintf(f, "<h2 id=\"q%d\">", k);
        report_text(f, p->n > 1 ? p->c[k].question : "What came out");
        fputs("</h2>\n", f);
        section(f, &p->c[k], p->all);
    }
    commands_before(f, p);
    return true;
}

bool write_comparison_page(const char *path, int n, const comparison *c, const results *all)
{
    char title[64];
    const page_context context = { n, c, all };
    snprintf(title, sizeof title, "%d questions, and what came of them", n);
    return report_save(path, n > 1 ? title : c->question, body, &context);
}
