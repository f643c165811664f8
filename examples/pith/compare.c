/* compare.c: pith compare: runs the arms of a comparison with all seeds, cell by cell, and says
 * which of its claims held. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "compare.h"

/* Were the rows of an arm made from the data that it names? Those that an earlier arm is to make
 * are not looked at. */
static void check_data(const comparison *c, const results *all, int arm, const char *table)
{
    const char *data = c->arm[arm].data;
    const result *row[MOST_SEEDS];
    char hash[17];
    const int n = rows_of_arm(all, c, arm, row);
    if (!n || !c->arm[arm].trains || strchr(data, '{') || access(data, F_OK)) return;
    pith_pack *p = pith_pack_open(data);
    pith_hash_text(p->hash, hash);
    for (int k = 0; k < n; k++)
        if (strcmp(hash, row[k]->data))
            pith_raise(
                "%s: the row of arm \"%s\" with seed %lld was made from data with the hash %s, "
                "%s has %s: remove the row or name another table",
                table, c->arm[arm].name, (long long)row[k]->seed, plain(row[k]->data), data, hash);
    pith_pack_close(p);
}

/* Has a cell every measure that is asked of its arm? */
static void check_measures(const comparison *c, int arm, const result *r)
{
    const bool asked = c->arm[arm].trains && isnan(measure_of(r, c->measure));
    const char *missing = asked ? c->measure : NULL;
    for (int k = 0; k < c->claims; k++) {
        const claim *what = &c->claim[k];
        if (what->weight[arm] != 0 && what->reference < 0 && isnan(measure_of(r, what->measure)))
            missing = what->measure;
    }
    if (!missing) return;
    char *has = copy_of(r->measures); /* more than plain() keeps */
    pith_make_plain(has, 0);
    pith_raise("%s: arm \"%s\" has no measure \"%s\"; it has %s", c->path, r->arm, missing, has);
}

static void tell_time(double seconds, int cells)
{
    if (cells) printf("; about %.0f min left", seconds * cells / 60 + 0.5);
    printf("\n");
    fflush(stdout);
}

/* What runs once is asked for by every question and seed, and run, or gone on with, by the first.
 */
static void run_before(const comparison *c, int arm, const char *out)
{
    static pith_table made;
    const char *name = c->arm[arm].name;
    const double start = pith_seconds();
    double megabytes;
    if (pith_table_find(&made, name, strlen(name) + 1) >= 0) return;
    if (run_arm(c, arm, c->seed[0], out, &megabytes)) {
        printf("%s: %.0f s", name, pith_seconds() - start);
        tell_time(0, 0);
    }
    if (pith_table_add(&made, name, strlen(name) + 1) < 0) pith_raise("no memory for a name");
}

typedef struct {
    int arms, cells, left, run;
    double estimate;
} amount;

static bool is_done(const comparison *c, const results *all, int arm, int64_t seed)
{
    return find_result(all, c, arm, seed) != NULL;
}

/* Is a row of this arm wanted: does it train, or does a claim name it? */
static bool is_wanted(const comparison *c, int arm)
{
    bool wanted = c->arm[arm].trains;
    for (int k = 0; k < c->claims; k++) wanted |= c->claim[k].weight[arm] != 0;
    return wanted;
}

static bool is_needed(const comparison *c, const results *all, int64_t seed)
{
    for (int arm = c->first; arm < c->arms; arm++)
        if (is_wanted(c, arm) && !is_done(c, all, arm, seed)) return true;
    return false;
}

/* Has one of the comparisons before comparison k the same cell? */
static bool is_shared(const comparison *c, int k, int arm, int64_t seed)
{
    for (int before = 0; before < k; before++)
        for (int i = 0; i < c[before].arms; i++) {
            if (strcmp(c[before].arm[i].name, c[k].arm[arm].name)) continue;
            if (arm < c[k].first) return true;
            for (int s = 0; s < c[before].seeds; s++)
                if (c[before].seed[s] == seed) return true;
        }
    return false;
}

/* Adds what comparison k is still to run, and those before it do not. */
static void add_amount(amount *a, const comparison *c, int k, const results *all)
{
    const comparison *own = &c[k];
    bool needed = false;
    for (int arm = own->first; arm < own->arms; arm++) {
        if (!own->arm[arm].trains) continue;
        int cells = 0, left = 0;
        for (int s = 0; s < own->seeds; s++) {
            if (is_shared(c, k, arm, own->seed[s])) continue;
            cells++;
            left += !is_done(own, all, arm, own->seed[s]);
        }
        if (left) a->estimate += left * estimated_seconds(own, arm);
        a->arms += cells > 0, a->cells += cells, a->left += left;
        needed |= left > 0;
    }
    for (int arm = 0; needed && arm < own->first; arm++)
        if (!is_shared(c, k, arm, 0)) a->estimate += estimated_seconds(own, arm);
}

/* A training that starts from an earlier arm's model has cost what that cost, too. */
static void add_start(const comparison *c, const results *all, int arm, int64_t seed, result *r)
{
    char name[80];
    for (int k = c->first; k < arm; k++) {
        const result *start = find_result(all, c, k, seed);
        snprintf(name, sizeof name, "--model {%s}", c->arm[k].name);
        if (!start || !strstr(c->arm[arm].run, name)) continue;
        r->pairs += start->pairs, r->gflop += start->gflop, r->seconds += start->seconds;
    }
}

/* False if there was nothing to run. */
static bool run_cell(const comparison *c, results *all, int arm, int64_t seed, const char *out,
                     const char *table)
{
    const double start = pith_seconds();
    result r = { 0 };
    const bool ran = run_arm(c, arm, seed, out, &r.megabytes);
    add_start(c, all, arm, seed, &r);
    if (!is_done(c, all, arm, seed) && measure_arm(c, arm, seed, out, &r)) {
        add_result(table, all, &r);
        free_measured(&r);
        check_measures(c, arm, &all->at[all->n - 1]);
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
    if (!is_needed(c, all, seed)) return;
    for (int arm = 0; arm < c->first; arm++) run_before(c, arm, out);
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
        const result *row[MOST_SEEDS];
        const int n = rows_of_arm(all, c, arm, row);
        check_data(c, all, arm, table);
        for (int k = 0; k < n; k++) check_measures(c, arm, row[k]);
    }
}

/* Are the data there, before hours are spent? What earlier arms are to make is not looked at. */
static void check_there(const comparison *c)
{
    for (int arm = 0; arm < c->arms; arm++) {
        const char *data = c->arm[arm].data;
        if (*data && is_directory(data))
            pith_raise("%s: arm \"%s\": %s is a folder, expected a packed file: pith data pack",
                       c->path, c->arm[arm].name, plain(data));
        if (*data && !strchr(data, '{') && access(data, F_OK))
            pith_raise("%s: arm \"%s\": there is no %s; paths are those of the directory that pith "
                       "is run in",
                       c->path, c->arm[arm].name, plain(data));
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
    for (int k = 0; k < n; k++) check_there(&c[k]);
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
        printf("%s: %s\n", c->claim[k].text, verdict_text(&c->claim[k], &j));
        if (j.interval.n > 1)
            printf("    mean and 95 %% interval: %s; %d seeds, margin %g%s\n",
                   interval_text(&c->claim[k], &j), j.interval.n, c->claim[k].margin,
                   c->claim[k].reference < 0 ? "" : " of the logarithm");
    }
}

/* One comparison at a time in a directory; the lock goes with the program. */
static void take_directory(const char *out)
{
    const int f = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f < 0 || flock(f, LOCK_EX | LOCK_NB))
        pith_raise("%s: another pith compare is running in it", out);
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
        hash_cells(&c[k]);
    }
    make_directories(out);
    take_directory(out);
    snprintf(own, sizeof own, "%s/results.tsv", out);
    snprintf(page, sizeof page, "%s/index.html", out);
    if (!table) table = own;
    check_output(table, 0, "question\t");
    if (draw && access(table, F_OK)) pith_raise("%s: there are no rows to draw", table);
    check_output(page, 0, "<!doctype html>");
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
