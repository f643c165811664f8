/* compare.h: what the pages of pith compare share: a comparison as its file says it, and the
 * results of its cells. A cell is one arm with one seed. */
#ifndef PITH_COMPARE_H
#define PITH_COMPARE_H
#include "command.h"

enum { MOST_ARMS = 32, MOST_SEEDS = 64, MOST_CLAIMS = 32, MOST_WORDS_OF_RUN = 60 };

/* ---- compare_file.c -------------------------------------------------------------------------- */

typedef struct {
    const char *name, *run, *data; /* run: the arguments of pith, as they are written */
} compared;

/* A contrast of arms, weights times measures added up. steps: the measure is not an accuracy, but
 * after how many pairs an arm first reaches what `reference` reaches at its end, in logarithms. */
typedef struct {
    const char *text, *measure;
    pith_claim_kind kind;
    double margin, weight[MOST_ARMS];
    int reference; /* the arm that the others are to reach; -1: the measure is compared */
} claim;

typedef struct {
    const char *path, *question, *measure, *data; /* data: what all are measured on */
    int first, arms, seeds, claims; /* arms 0 .. first-1 run once, before the others */
    compared arm[MOST_ARMS];
    int64_t seed[MOST_SEEDS];
    claim claim[MOST_CLAIMS];
} comparison;

/* Reads the file, whose texts live until the program ends; every mistake in it is told. */
comparison read_comparison(const char *path);

/* ---- compare_results.c: a table of tab-separated values, a row a finished cell ----------------
 */

typedef struct {
    int arm;
    int64_t seed;
    char *data, *machine; /* the hash of the former */
    double seconds, megabytes, parameters, pairs, gflop;
    char *measures; /* "composition.mrr=0.51 ..." */
    char *curve;    /* "pairs:gflop:value ...", of valid.r1 */
} result;

typedef struct {
    int n, room;
    result *at;
} results;

/* Reads the rows of this comparison; those of others are passed over. A row whose arm was run with
 * other arguments is an error. */
results read_results(const char *path, const comparison *c);
/* Adds a row to the file, which is made if it is not there. */
void add_result(const char *path, const comparison *c, results *all, const result *r);
void free_results(results *all);
const result *find_result(const results *all, int arm, int64_t seed); /* NULL: not yet */
/* A measure of a cell by its name; NaN if it has none. */
double measure_of(const result *r, const char *name);

/* ---- compare_cell.c, compare_gather.c ---------------------------------------------------------
 */

/* Tells mistakes in the arguments of all arms. */
void check_arms(const comparison *c, const char *out);
/* Runs an arm with a seed below `out`, or goes on with it, and fills in its result, but for the
 * arms that run once. False if there was nothing to do. */
bool run_cell(const comparison *c, int arm, int64_t seed, const char *out, result *r);
void gather_result(result *r, const char *directory, const char *figures);

/* ---- compare_page.c -------------------------------------------------------------------------- */

/* The verdict of a claim, in a line of text, and of what interval. */
typedef struct {
    pith_verdict verdict;
    pith_interval interval;
    bool censored;
} judgement;
judgement judge(const comparison *c, const results *all, const claim *k);
const char *verdict_text(const judgement *j); /* "held", ... */
bool write_comparison_page(const char *path, const comparison *c, const results *all);
#endif
