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
        const result *r = find_result(all, arm, c->seed[s]);
        if (!r || strchr(data, '{') || access(data, F_OK)) continue;
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
        pith_raise("%s: arm \"%s\" has no measure \"%s\"; it has %s", c->path, c->arm[r->arm].name,
                   missing, r->measures);
}

static void tell_time(double seconds, int cells)
{
    if (cells) printf("; about %.0f min left", seconds * cells / 60 + 0.5);
    printf("\n");
    fflush(stdout);
}

static void run_cells(const comparison *c, results *all, const char *out, const char *table)
{
    int left = 0;
    for (int k = 0; k < all->n; k++) check_measures(c, &all->at[k]);
    for (int arm = c->first; arm < c->arms; arm++) {
        check_data(c, all, arm, table);
        for (int s = 0; s < c->seeds; s++) left += !find_result(all, arm, c->seed[s]);
    }
    printf("%d arms, %d seeds: %d cells, %d of them to be run\n", c->arms - c->first, c->seeds,
           (c->arms - c->first) * c->seeds, left);
    fflush(stdout);
    for (int arm = 0; left && arm < c->first; arm++) {
        const double start = pith_seconds();
        result none;
        if (run_cell(c, arm, c->seed[0], out, &none)) {
            printf("%s: %.0f s", c->arm[arm].name, pith_seconds() - start);
            tell_time(0, 0);
        }
    }
    double spent = 0;
    int run = 0;
    for (int s = 0; s < c->seeds; s++)
        for (int arm = c->first; arm < c->arms; arm++) {
            if (find_result(all, arm, c->seed[s])) continue;
            const double start = pith_seconds();
            result r;
            run_cell(c, arm, c->seed[s], out, &r);
            add_result(table, c, all, &r);
            check_measures(c, &r);
            spent += pith_seconds() - start;
            left--, run++;
            printf("%s, seed %lld: %s %.4f, %.0f s", c->arm[arm].name, (long long)c->seed[s],
                   c->measure, measure_of(&r, c->measure), pith_seconds() - start);
            tell_time(spent / run, left);
        }
}

int command_compare(int argc, char **argv)
{
    const char *out = NULL, *table = NULL;
    char own[4096], page[4096];
    const option options[] = {
        { "--out", PATH, &out, "the directory of the runs, of index.html and of results.tsv" },
        { "--results", PATH, &table,
          "the table of finished cells; by default results.tsv of that directory" },
        END_OF_OPTIONS
    };
    parse_options(
        options, "FILE.json --out DIR",
        "Runs every arm with every seed, goes on where it was interrupted, and judges the\n"
        "claims by a rule that was fixed before: see examples/README.md.",
        1, 1, argc, argv);
    need_option("--out", out);
    const comparison c = read_comparison(argv[1]);
    check_arms(&c, out);
    make_directories(out);
    snprintf(own, sizeof own, "%s/results.tsv", out);
    snprintf(page, sizeof page, "%s/index.html", out);
    results all = read_results(table ? table : own, &c);
    run_cells(&c, &all, out, table ? table : own);
    write_comparison_page(page, &c, &all);
    for (int k = 0; k < c.claims; k++) {
        const judgement j = judge(&c, &all, &c.claim[k]);
        printf("%s: %s\n", c.claim[k].text, verdict_text(&j));
        if (j.interval.n > 1)
            printf("    %.4f, 95 %% interval %.4f to %.4f, %d seeds, margin %g\n", j.interval.mean,
                   j.interval.low, j.interval.high, j.interval.n, c.claim[k].margin);
    }
    printf("%s\n", page);
    free_results(&all);
    return 0;
}
