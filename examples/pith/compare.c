/* compare.c: pith compare: runs the arms of a comparison with all seeds, cell by cell, and says
 * which of its claims held. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "compare.h"

/* Were the rows of an arm made from the data that it names? Those that an earlier arm is to make
 * are not looked at. */
static void check_data(const comparison *c, const results *all, int arm, const char *table)
{
    const char *data = c->arm[arm].data;
    pith_pack *p = NULL;
    char hash[17];
    for (int s = 0; s < c->seeds; s++) {
        const result *r = find_result(all, c, arm, c->seed[s]);
        if (!r || !c->arm[arm].trains || strchr(data, '{') || access(data, F_OK)) continue;
        if (!p) p = pith_pack_open(data);
        if (strcmp(pith_hash_text(p->hash, hash), r->data))
            pith_raise(
                "%s: the row of arm \"%s\" with seed %lld was made from data with the hash %s, "
                "%s has %s: remove the row or name another table",
                table, c->arm[arm].name, (long long)c->seed[s], plain(r->data), data, hash);
    }
    pith_pack_close(p);
}

/* Has a cell every measure that is asked for? */
static void check_measures(const comparison *c, const result *r)
{
    const char *missing = isnan(measure_of(r, c->measure)) ? c->measure : NULL;
    for (int k = 0; k < c->claims; k++)
        if (c->claim[k].reference < 0 && isnan(measure_of(r, c->claim[k].measure)))
            missing = c->claim[k].measure;
    if (missing)
        pith_raise("%s: arm \"%s\" has no measure \"%s\"; it has %s", c->path, r->arm, missing,
                   r->measures);
}

static void tell_time(double seconds, int cells)
{
    if (cells) printf("; about %.0f min left", seconds * cells / 60 + 0.5);
    printf("\n");
    fflush(stdout);
}

static void run_before(const comparison *c, int arm, int64_t seed, const char *out)
{
    const double start = pith_seconds();
    double megabytes;
    if (!run_arm(c, arm, seed, out, &megabytes)) return;
    printf("%s: %.0f s", c->arm[arm].name, pith_seconds() - start);
    tell_time(0, 0);
}

typedef struct {
    int arms, cells, left, run;
    double estimate;
} amount;

static bool is_done(const comparison *c, const results *all, int arm, int64_t seed)
{
    return find_result(all, c, arm, seed) != NULL;
}

/* Is a training of this seed (every: of any) still to be run? */
static bool is_needed(const comparison *c, const results *all, int64_t seed, bool every)
{
    for (int arm = c->first; arm < c->arms; arm++)
        for (int s = 0; s < c->seeds; s++)
            if (c->arm[arm].trains && (every || c->seed[s] == seed) &&
                !is_done(c, all, arm, c->seed[s]))
                return true;
    return false;
}

/* Has one of the comparisons before comparison k the same arm? */
static bool is_shared(const comparison *c, int k, int arm)
{
    for (int before = 0; before < k; before++)
        for (int i = 0; i < c[before].arms; i++)
            if (!strcmp(c[before].arm[i].name, c[k].arm[arm].name)) return true;
    return false;
}

/* Adds what comparison k is still to run, and those before it do not. */
static void add_amount(amount *a, const comparison *c, int k, const results *all)
{
    const comparison *own = &c[k];
    const bool needed = is_needed(own, all, 0, true);
    for (int arm = 0; arm < own->arms; arm++) {
        if (!own->arm[arm].trains || is_shared(c, k, arm)) continue;
        if (arm < own->first) {
            if (needed) a->estimate += estimated_seconds(own, arm);
            continue;
        }
        int left = 0;
        for (int s = 0; s < own->seeds; s++) left += !is_done(own, all, arm, own->seed[s]);
        if (left) a->estimate += left * estimated_seconds(own, arm);
        a->arms++, a->cells += own->seeds, a->left += left;
    }
}

/* False if there was nothing to run. */
static bool run_cell(const comparison *c, results *all, int arm, int64_t seed, const char *out,
                     const char *table)
{
    const double start = pith_seconds();
    result r = { 0 };
    const bool ran = run_arm(c, arm, seed, out, &r.megabytes);
    if (!is_done(c, all, arm, seed) && measure_arm(c, arm, seed, out, &r)) {
        add_result(table, all, &r);
        free_measured(&r);
        if (c->arm[arm].trains) check_measures(c, &all->at[all->n - 1]);
    }
    if (!ran) return false;
    const result *done = find_result(all, c, arm, seed);
    printf("%s, seed %lld: ", c->arm[arm].name, (long long)seed);
    if (done && !isnan(measure_of(done, c->measure)))
        printf("%s %.4f, ", c->measure, measure_of(done, c->measure));
    printf("%.0f s", pith_seconds() - start);
    return true;
}

/* Runs what is missing of one seed. */
static void run_seed(const comparison *c, results *all, int64_t seed, const char *out,
                     const char *table, amount *total, double begun)
{
    if (!is_needed(c, all, seed, false)) return;
    for (int arm = 0; arm < c->first; arm++) run_before(c, arm, c->seed[0], out);
    for (int arm = c->first; arm < c->arms; arm++) {
        const bool trains = c->arm[arm].trains;
        if (trains && is_done(c, all, arm, seed)) continue;
        const bool ran = run_cell(c, all, arm, seed, out, table);
        total->left -= trains, total->run += trains;
        if (ran) tell_time((pith_seconds() - begun) / total->run, trains ? total->left : 0);
    }
}

/* Tells where rows and comparison do not fit. */
static void check_rows(const comparison *c, const results *all, const char *table)
{
    check_results(all, c, table);
    for (int arm = c->first; arm < c->arms; arm++) {
        check_data(c, all, arm, table);
        for (int s = 0; s < c->seeds; s++) {
            const result *r = find_result(all, c, arm, c->seed[s]);
            if (r && c->arm[arm].trains) check_measures(c, r);
        }
    }
}

/* All comparisons, seed by seed, so that all of them have as many seeds as there was time for. */
static void run_all(int n, const comparison *c, results *all, const char *out, const char *table)
{
    amount total = { 0 };
    int seeds = 0;
    for (int k = 0; k < n; k++) {
        add_amount(&total, c, k, all);
        if (c[k].seeds > seeds) seeds = c[k].seeds;
    }
    printf("%d arms, %d seeds: %d cells, %d of them to be run", total.arms, seeds, total.cells,
           total.left);
    if (total.left) printf("; very roughly %.0f min", total.estimate / 60 + 0.5);
    tell_time(0, 0);
    const double begun = pith_seconds();
    for (int s = 0; s < seeds; s++)
        for (int k = 0; k < n; k++)
            if (s < c[k].seeds) run_seed(&c[k], all, c[k].seed[s], out, table, &total, begun);
}

static void print_verdicts(const comparison *c, const results *all)
{
    for (int k = 0; k < c->claims; k++) {
        const judgement j = judge(c, all, &c->claim[k]);
        printf("%s: %s\n", c->claim[k].text, verdict_text(&j));
        if (j.interval.n > 1)
            printf("    %.4f, 95 %% interval %.4f to %.4f, %d seeds, margin %g\n", j.interval.mean,
                   j.interval.low, j.interval.high, j.interval.n, c->claim[k].margin);
    }
}

int command_compare(int argc, char **argv)
{
    const char *out = NULL, *table = NULL;
    bool draw = false;
    char own[4096], page[4096];
    const option options[] = {
        { "--out", PATH, &out, "the directory of the runs, of index.html and of results.tsv" },
        { "--results", PATH, &table,
          "the table of finished cells; by default results.tsv of that directory" },
        { "--draw", FLAG, &draw,
          "run nothing: judge, and draw the page of, the cells that are "
          "there" },
        END_OF_OPTIONS
    };
    const int n = parse_options(
        options, "FILE.json.. --out DIR",
        "Runs every arm with every seed, goes on where it was interrupted, and judges the\n"
        "claims by a rule that was fixed before: see examples/pith/README.md.",
        1, MOST_FILES, argc, argv);
    need_option("--out", out);
    comparison *c = room(sizeof *c * (size_t)n);
    for (int k = 0; k < n; k++) {
        read_comparison(&c[k], argv[1 + k]);
        for (int i = 0; i < k; i++) check_together(&c[i], &c[k]);
        check_arms(&c[k], out);
    }
    make_directories(out);
    snprintf(own, sizeof own, "%s/results.tsv", out);
    snprintf(page, sizeof page, "%s/index.html", out);
    if (!table) table = own;
    results all = read_results(table);
    for (int k = 0; k < n; k++) check_rows(&c[k], &all, table);
    if (!draw) run_all(n, c, &all, out, table);
    write_comparison_page(page, n, c, &all);
    for (int k = 0; k < n; k++) {
        if (n > 1) printf("%s\n", c[k].question);
        print_verdicts(&c[k], &all);
    }
    printf("%s\n", page);
    free_results(&all);
    free(c);
    return 0;
}
