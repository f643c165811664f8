/* compare_results.c: the table of finished cells. It holds all that the page needs, so that a page
 * can be drawn where the runs themselves are gone; a row says what it was made with. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "compare.h"
#include "files/files.h"

enum { COLUMNS = 15 };
static const char heading[] =
    "question\tarm\tseed\trun\tmade of\tdata\tversion\tmachine\tseconds\tmegabytes\t"
    "parameters\tpairs\tgflop\tmeasures\tcurve";

static void keep(results *all, const result *r)
{
    if (all->n == all->room) {
        all->room = all->room ? 2 * all->room : 64;
        all->at = realloc(all->at, sizeof *all->at * (size_t)all->room);
        if (!all->at) pith_raise("no memory for results");
    }
    all->at[all->n++] = *r;
}

static double number(const char *path, int line, const char *text)
{
    char *end;
    const double x = strtod(text, &end);
    if (end == text || *end || !(fabs(x) < 1e18))
        pith_raise("%s: line %d: expected a number, found \"%s\"", path, line, plain(text));
    return x;
}

static void check_numbers(const char *path, int line, const char *text)
{
    for (const char *at = text; *at;) {
        const size_t name = strcspn(at, "= "), size = strcspn(at, " ");
        char *end = NULL;
        const double x = name < size ? strtod(at + name + 1, &end) : (double)NAN;
        if (!name || end == at + name + 1 || end != at + size || !isfinite(x))
            pith_raise("%s: line %d: expected a measure, as valid.mrr=0.5, found \"%.60s\"", path,
                       line, plain(at));
        at += size + (at[size] == ' ');
    }
}

/* Takes a line apart, which becomes the row's. */
static void read_row(results *all, const char *path, int line, char *text)
{
    char *column[COLUMNS], *rest = text;
    int n = 0;
    while (n < COLUMNS && rest) column[n++] = strsep(&rest, "\t");
    if (n < COLUMNS || rest)
        pith_raise("%s: line %d: expected %d columns with tabs between them", path, line, COLUMNS);
    const result r = { .question = column[0],
                       .arm = column[1],
                       .seed = (int64_t)number(path, line, column[2]),
                       .run = column[3],
                       .made_of = strtoull(column[4], NULL, 16),
                       .data = column[5],
                       .version = column[6],
                       .machine = column[7],
                       .seconds = number(path, line, column[8]),
                       .megabytes = number(path, line, column[9]),
                       .parameters = number(path, line, column[10]),
                       .pairs = number(path, line, column[11]),
                       .gflop = number(path, line, column[12]),
                       .measures = column[13],
                       .curve = column[14],
                       .line = text };
    check_numbers(path, line, r.measures);
    for (int k = 0; k < all->n; k++)
        if (all->at[k].seed == r.seed && !strcmp(all->at[k].arm, r.arm) &&
            !strcmp(all->at[k].question, r.question))
            pith_raise("%s: line %d: a second row of arm \"%s\" with seed %lld", path, line,
                       plain(r.arm), (long long)r.seed);
    keep(all, &r);
}

results read_results(const char *path)
{
    results all = { 0 };
    if (access(path, F_OK)) return all;
    FILE *f = pith_open_regular(path);
    if (!f) pith_raise("%s: %s", path, pith_file_error(errno));
    char *text = NULL;
    size_t room = 0;
    ssize_t size;
    for (int line = 1; (size = getline(&text, &room, f)) > 0; line++) {
        if (text[size - 1] == '\n') text[size - 1] = 0;
        if (line > 1) read_row(&all, path, line, strdup(text));
        else if (strcmp(text, heading))
            pith_raise("%s: line 1: expected the heading of a table of "
                       "results",
                       path);
    }
    free(text);
    fclose(f);
    return all;
}

void free_results(results *all)
{
    for (int k = 0; k < all->n; k++) free(all->at[k].line);
    free(all->at);
}

const result *find_result(const results *all, const comparison *c, int arm, int64_t seed)
{
    const compared *a = &c->arm[arm];
    for (int k = 0; k < all->n; k++) {
        const result *r = &all->at[k];
        if (r->seed == seed && r->made_of == a->made_of && !strcmp(r->arm, a->name)) return r;
    }
    return NULL;
}

int rows_of_arm(const results *all, const comparison *c, int arm, const result *row[MOST_SEEDS])
{
    int n = 0;
    for (int s = 0; s < c->seeds; s++) {
        row[n] = find_result(all, c, arm, c->seed[s]);
        n += row[n] != NULL;
    }
    return n;
}

void check_results(const results *all, const comparison *c, const char *path)
{
    for (int k = 0; k < all->n; k++)
        for (int arm = c->first; arm < c->arms; arm++) {
            const result *r = &all->at[k];
            const compared *a = &c->arm[arm];
            if (strcmp(r->question, c->question) || strcmp(r->arm, a->name) ||
                r->made_of == a->made_of)
                continue;
            if (strcmp(r->run, a->run))
                pith_raise("%s: line %d: the arm \"%s\" was run as \"%s\", and is now to be run "
                           "as \"%s\": remove the line or name another table",
                           path, k + 2, a->name, plain(r->run), a->run);
            pith_raise("%s: line %d: the arm \"%s\" was made of, or measured on, other data or "
                       "models than are now named: remove the line or name another table",
                       path, k + 2, a->name);
        }
}

double measure_of(const result *r, const char *name)
{
    const size_t size = strlen(name);
    for (const char *at = r->measures; (at = strstr(at, name)); at += size)
        if ((at == r->measures || at[-1] == ' ') && at[size] == '=') return atof(at + size + 1);
    return (double)NAN;
}

/* The program's version and, where it lies in a git checkout, what of it. */
static const char *version(void)
{
    static char text[96];
    char commit[64] = "";
    FILE *f = popen("git -C '" PITH_ROOT "' describe --always --dirty 2>/dev/null", "r");
    if (f && fgets(commit, sizeof commit, f)) commit[strcspn(commit, "\n")] = 0;
    if (f) pclose(f);
    snprintf(text, sizeof text, "%s%s%s", VERSION, *commit ? " " : "", commit);
    return text;
}

void add_result(const char *path, results *all, const result *r)
{
    char *line, hash[17];
    if (asprintf(&line, "%s\t%s\t%lld\t%s\t%s\t%s\t%s\t%s\t%.1f\t%.0f\t%.0f\t%.0f\t%.6g\t%s\t%s",
                 r->question, r->arm, (long long)r->seed, r->run, pith_hash_text(r->made_of, hash),
                 r->data, version(), r->machine, r->seconds, r->megabytes, r->parameters, r->pairs,
                 r->gflop, r->measures, r->curve) < 0)
        pith_raise("no memory for a row");
    FILE *f = fopen(path, "a+");
    if (!f) pith_raise("%s: cannot be written: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    const bool open_line = size && !fseek(f, -1, SEEK_END) && fgetc(f) != '\n'; /* an editor's */
    fseek(f, 0, SEEK_END);
    if (open_line) fputc('\n', f);
    if (!size) fprintf(f, "%s\n", heading);
    fprintf(f, "%s\n", line);
    const bool written = !fflush(f) && !fsync(fileno(f));
    const int why = errno;
    if (!written && ftruncate(fileno(f), size)) errno = why; /* no half row stays */
    fclose(f);
    if (!written) pith_raise("%s: cannot be written: %s", path, strerror(why));
    read_row(all, path, all->n + 2, line);
}
