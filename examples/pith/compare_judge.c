/* compare_judge.c: what the rows of a comparison say of its claims. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "compare.h"

curve read_curve(const result *r)
{
    const size_t most = strlen(r->curve) / 2 + 1;
    curve c = { 0, room(sizeof(double) * most), room(sizeof(double) * most),
                room(sizeof(double) * most) };
    int used;
    for (const char *at = r->curve;
         sscanf(at, "%lf:%lf:%lf%n", &c.pairs[c.n], &c.gflop[c.n], &c.value[c.n], &used) == 3 &&
         c.pairs[c.n] < 1e15 && c.gflop[c.n] < 1e15 && fabs(c.value[c.n]) < 1e6;
         at += used)
        c.n++;
    return c;
}

void free_curve(curve *c) { free(c->pairs), free(c->gflop), free(c->value); }

/* The logarithm of the pairs after which a cell first reaches a value, negative, since fewer are
 * better; counted at evaluations, so that it is known as finely as they lie. One that never does
 * needs more than all of its pairs: what is returned is then only a bound from above; and from
 * below where the first evaluation is good enough already. */
static double reaches(const result *r, double value, bool *late, bool *early)
{
    curve c = read_curve(r);
    int k = 0;
    while (k < c.n && !(c.value[k] >= value)) k++;
    *late = k == c.n;
    *early = k == 0;
    const double seen = k < c.n ? c.pairs[k] : r->pairs;
    free_curve(&c);
    return -log(seen);
}

/* The claim's contrast for one seed; NaN if a cell is missing. An arm that never reached what it
 * was to makes the contrast smaller than it seems if its weight is positive, and larger if
 * negative; one that did before it was first measured, the other way round. */
static double contrast(const comparison *c, const results *all, const claim *k, int64_t seed,
                       bool *smaller, bool *larger)
{
    double sum = 0, wanted = (double)NAN;
    const result *reference = k->reference < 0 ? NULL : find_result(all, c, k->reference, seed);
    if (reference) {
        curve own = read_curve(reference);
        wanted = own.n ? own.value[own.n - 1] : (double)NAN;
        free_curve(&own);
    }
    for (int arm = c->first; arm < c->arms; arm++) {
        if (k->weight[arm] == 0) continue;
        const result *r = find_result(all, c, arm, seed);
        if (!r || (k->reference >= 0 && isnan(wanted))) return (double)NAN;
        bool late = false, early = false;
        sum += k->weight[arm] *
               (k->reference < 0 ? measure_of(r, k->measure) : reaches(r, wanted, &late, &early));
        *smaller |= k->weight[arm] > 0 ? late : early;
        *larger |= k->weight[arm] > 0 ? early : late;
    }
    return sum;
}

judgement judge(const comparison *c, const results *all, const claim *k)
{
    double x[MOST_SEEDS] = { 0 };
    bool smaller = false, larger = false;
    int n = 0;
    for (int s = 0; s < c->seeds; s++) {
        bool less = false, more = false;
        x[n] = contrast(c, all, k, c->seed[s], &less, &more);
        if (isnan(x[n])) continue;
        smaller |= less, larger |= more;
        n++;
    }
    judgement j = { .interval = pith_t_interval(n, x), .censored = smaller || larger };
    j.verdict = pith_judge(k->kind, k->margin, smaller, larger, &j.interval);
    j.coarse = k->reference >= 0 && j.interval.high - j.interval.low < 1e-9;
    if (j.coarse) j.verdict = PITH_CANNOT_BE_TOLD;
    return j;
}

const char *verdict_text(const claim *k, const judgement *j)
{
    static char text[160];
    static const char *const word[] = { "held", "did not hold", "cannot be told" };
    const pith_interval *i = &j->interval;
    const bool ratio = k->reference >= 0;
    if (!i->n) return "not run yet";
    if (i->n < 2) return "cannot be told by 1 seed";
    if (j->verdict != PITH_CANNOT_BE_TOLD) return word[j->verdict];
    if (j->censored)
        return "cannot be told: some never came there, or before they were first measured";
    if (j->coarse) return "cannot be told: all seeds came there at the same evaluation";
    snprintf(text, sizeof text, "cannot be told; %s of %.3g could have been seen",
             ratio ? "a ratio" : "a difference",
             ratio ? exp(i->high - i->mean) : i->high - i->mean);
    return text;
}

const char *interval_text(const claim *k, const judgement *j)
{
    static char text[160];
    const pith_interval *i = &j->interval;
    const char *bound = j->censored ? ", of bounds" : "";
    if (i->n < 2) return "";
    if (k->reference < 0)
        snprintf(text, sizeof text, "%.4f, %.4f to %.4f", i->mean, i->low, i->high);
    else
        snprintf(text, sizeof text, "%.3g times fewer pairs, %.3g to %.3g%s", exp(i->mean),
                 exp(i->low), exp(i->high), bound);
    return text;
}
