/* verdict.c: what the results of a few seeds say of a claim: an interval of Student's t for the
 * mean of paired differences, and a rule that was fixed before they were seen. */
#include <math.h>
#include "train.h"

static const double PI = 3.14159265358979323846;

/* P(|T| < t) for n degrees of freedom, in closed form (Abramowitz and Stegun 26.7.3 and 26.7.4). */
static double within(double t, int n)
{
    const double angle = atan(t / sqrt(n)), c2 = cos(angle) * cos(angle);
    double term = n % 2 ? cos(angle) : 1, sum = n == 1 ? 0 : term;
    for (int k = n % 2 ? 3 : 2; k < n; k += 2) {
        term *= c2 * (k - 1) / k;
        sum += term;
    }
    return n % 2 ? 2 / PI * (angle + sin(angle) * sum) : sin(angle) * sum;
}

/* The t with 95 % of the distribution within -t and t. */
static double quantile(int n)
{
    double low = 0, high = 16;
    for (int k = 0; k < 60; k++) {
        const double middle = (low + high) / 2;
        if (within(middle, n) < 0.95) low = middle;
        else high = middle;
    }
    return low;
}

pith_interval pith_t_interval(int n, const double *x)
{
    pith_interval i = { n, 0, -INFINITY, INFINITY };
    double squares = 0;
    for (int k = 0; k < n; k++) i.mean += x[k] / n;
    if (n < 2) return i;
    for (int k = 0; k < n; k++) squares += (x[k] - i.mean) * (x[k] - i.mean);
    const double half = quantile(n - 1) * sqrt(squares / (n - 1) / n);
    i.low = i.mean - half;
    i.high = i.mean + half;
    return i;
}

pith_verdict pith_judge(pith_claim_kind kind, double margin, bool smaller, bool larger,
                        const pith_interval *i)
{
    const bool above = !smaller && i->low > (kind == PITH_BETTER ? 0 : -margin);
    const bool below = !larger && i->high < (kind == PITH_BETTER ? margin : -margin);
    return above ? PITH_HELD : below ? PITH_DID_NOT_HOLD : PITH_CANNOT_BE_TOLD;
}
