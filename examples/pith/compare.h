/* compare.h: what the pages of pith compare share: comparisons as their files say them, and the
 * results of their cells. A cell is one arm with one seed. */
#ifndef PITH_COMPARE_H
#define PITH_COMPARE_H
#include "command.h"

enum {
    MOST_FILES = 40,
    MOST_ARMS = 40,
    MOST_SEEDS = 64,
    MOST_CLAIMS = 32,
    MOST_OTHERS = 8,
    MOST_WORDS_OF_RUN = 80
};

/* ---- compare_file.c -------------------------------------------------------------------------- */

typedef struct {
    const char *name, *run, *data; /* run: the arguments of pith, as they are written */
    bool trains; /* it is train, distil or prune; others make what arms after them need */
    uint64_t recipe, made_of; /* see hash_cells */
} compared;

/* A contrast of arms, weights times measures added up; or, with a reference, times the logarithms
 * of the pairs after which an arm first reaches what that one reaches at its end. */
typedef struct {
    const char *text, *measure;
    pith_claim_kind kind;
    double margin, weight[MOST_ARMS];
    int reference; /* the arm that the others are to reach; -1: the measure is compared */
} claim;

/* What arms are measured on beside the comparison's data: arguments of pith eval after the model.
 * Its measures begin with its name. */
typedef struct {
    const char *name, *run;
} evaluated;

typedef struct {
    const char *path, *question, *measure;
    const char *data; /* what all are measured on */
    /* what a paper claims; what so small a trial cannot tell; the same of all that share; or "" */
    const char *paper, *limits, *common_limits;
    int first, arms, seeds, claims, others; /* arms 0 .. first-1 run once, before the others */
    compared arm[MOST_ARMS];
    int64_t seed[MOST_SEEDS];
    claim claim[MOST_CLAIMS];
    evaluated other[MOST_OTHERS];
} comparison;

/* Reads a file, whose texts live until the program ends; every mistake in it is told. */
void read_comparison(comparison *c, const char *path);
/* Arms of the same name in two files are one arm: an error if they differ. */
void check_together(const comparison *a, const comparison *b);

/* ---- compare_results.c: a table of tab-separated values, a row a finished cell ----------------
 */

typedef struct {
    const char *question, *arm, *run;
    uint64_t made_of; /* see hash_cells */
    int64_t seed;
    char *data, *machine; /* the hash of the former */
    const char *version;  /* of a row that was read */
    double seconds, megabytes, parameters, pairs, gflop;
    char *measures; /* "composition.mrr=0.51 ..." */
    char *curve;    /* "pairs:gflop:value ...", of valid.r1 */
    char *line;     /* that all texts of a row lie in */
} result;

typedef struct {
    int n, room;
    result *at;
} results;

results read_results(const char *path);
/* Adds a row to the file, which is made if it is not there. */
void add_result(const char *path, results *all, const result *r);
void free_results(results *all);
/* The row of an arm, of whichever question, that was made of the same; NULL: not yet. */
const result *find_result(const results *all, const comparison *c, int arm, int64_t seed);
/* Those rows of an arm, of all seeds, that are there; returns how many. */
int rows_of_arm(const results *all, const comparison *c, int arm, const result *row[MOST_SEEDS]);
/* An error where an arm of this comparison was made of other arguments, data or models. */
void check_results(const results *all, const comparison *c, const char *path);
/* A measure of a cell by its name; NaN if it has none. */
double measure_of(const result *r, const char *name);

/* ---- compare_words.c ------------------------------------------------------------------------- */

/* The words of a command of pith, the first "pith", closed by NULL. */
typedef struct {
    int n;
    char *word[MOST_WORDS_OF_RUN + 1];
} words;
words words_of(const comparison *c, int arm, int64_t seed, const char *out, const char *text);
void add_word(words *w, const comparison *c, const char *word);
void free_words(words *w);
/* Is what an arm writes there: every word of its arguments with {out}? */
bool has_made(const comparison *c, int arm, int64_t seed, const char *out);
/* What an arm is to run; a training that was begun goes on. */
words command_of(const comparison *c, int arm, int64_t seed, const char *out);
/* The directory or file that an arm makes below `out`; those of `before` have no seed in their
 * name. */
char *arm_place(const comparison *c, int arm, int64_t seed, const char *out);
/* Fills in the hashes of an arm's arguments, data and losses in files, and of the same of all arms
 * that they name: its recipe; and of the recipe with what the arm is measured on. */
void hash_cells(comparison *c);
/* Tells mistakes in the arguments of all arms. */
void check_arms(const comparison *c, const char *out);

/* ---- compare_cell.c, compare_gather.c ---------------------------------------------------------
 */

/* Runs an arm with a seed below `out`, or goes on with it. False if there was nothing to do. */
bool run_arm(const comparison *c, int arm, int64_t seed, const char *out, double *megabytes);
/* Measures what came of it; costs are added to those in *r. False if it has no measures: it does
 * not train, and left no figures. */
bool measure_arm(const comparison *c, int arm, int64_t seed, const char *out, result *r);
void free_measured(result *r);

/* What a finished training came to; of measures the mean of its last twenty losses. */
void gather_run(FILE *f, result *r, const char *directory);
/* Adds the measures in a file that pith eval or pith data filter has written. */
void gather_measures(FILE *f, const char *path, const char *name);

/* ---- compare_estimate.c ---------------------------------------------------------------------- */

/* About how many seconds an arm takes on this machine. */
double estimated_seconds(const comparison *c, int arm);

/* ---- compare_judge.c ------------------------------------------------------------------------- */

/* A curve of a row, its points one after another. */
typedef struct {
    int n;
    double *pairs, *gflop, *value;
} curve;
curve read_curve(const result *r);
void free_curve(curve *c);

/* The verdict of a claim, in a line of text, and of what interval. */
typedef struct {
    pith_verdict verdict;
    pith_interval interval;
    bool censored;
    bool coarse; /* no seed differs from another, by when something is reached */
} judgement;
judgement judge(const comparison *c, const results *all, const claim *k);
/* "held", ...; and the interval in words, "" of fewer than two seeds. */
const char *verdict_text(const claim *k, const judgement *j);
const char *interval_text(const claim *k, const judgement *j);

/* ---- compare_page.c, compare_plots.c ---------------------------------------------------------
 */

bool write_comparison_page(const char *path, int n, const comparison *c, const results *all);

/* An interval on a line with 0 and the margin that the claim is judged by. */
void draw_interval(FILE *f, const claim *k, const pith_interval *i);
/* The curves of all arms, means over the seeds that have as many points. */
void draw_curves(FILE *f, const comparison *c, const results *all, bool compute);
/* A point for each arm of all comparisons: a measure by parameters, pairs and memory. */
void draw_scatter(FILE *f, int n, const comparison *c, const results *all, const char *measure);
#endif
