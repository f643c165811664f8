/* 11_compare.c: comparing two losses fairly: several seeds, in pairs, and a rule fixed before.
 *
 * What one learns here: one training tells little, for another seed gives another result; the seed
 * is made the same for both losses, so that start, noise and points are shared and only the loss
 * differs; the differences, one a seed, give an interval for their mean; and the claim is judged by
 * it. The task: which of two spirals does a point lie on, when a tenth of the labels is wrong? The
 * losses: cross-entropy, which follows wrong labels without limit, and the squared error of the
 * probabilities (Brier), which does not.
 *
 *     build/11_compare */
#include <math.h>
#include <train/optim.h>
#include <train/train.h>

enum { POINTS = 192, WIDTH = 32, STEPS = 300, SEEDS = 8, MOST = 16 };

/* The claim, with its margin: a difference below it would interest nobody. */
static const char claim[] = "with wrong labels Brier's loss is better than cross-entropy";
static const double margin = 0.01;

static pith_node *layer(pith_graph *g, const char *name, pith_node *x, int out, int in)
{
    pith_scope(g, "%s", name);
    pith_node *weight = pith_param(g, "weight", PITH_NORMAL, sqrt(2. / in), out, in);
    pith_node *bias = pith_param(g, "bias", PITH_CONSTANT, 0, out);
    pith_unscope(g);
    return pith_linear(x, weight, bias);
}

static pith_node *model(pith_graph *g, pith_node *x)
{
    x = pith_gelu(layer(g, "first", x, WIDTH, 2));
    x = pith_gelu(layer(g, "second", x, WIDTH, WIDTH));
    return layer(g, "last", x, 2, WIDTH);
}

/* A number in [0, 1) from a seed and a count: the same for both losses. */
static double draw(uint64_t seed, int k)
{
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + (uint64_t)k * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 31)) * 0x94d049bb133111ebu;
    return (double)((x ^ (x >> 29)) >> 11) * 0x1p-53;
}

static void spirals(uint64_t seed, double wrong, pith_real *points, int *labels)
{
    for (int k = 0; k < POINTS; k++) {
        const double t = 0.4 + 2.6 * draw(seed, 3 * k);
        const double turn = 2.4 * t + (k % 2 ? 3.14159265 : 0);
        points[2 * k] = (pith_real)(t * cos(turn) / 3);
        points[2 * k + 1] = (pith_real)(t * sin(turn) / 3);
        labels[k] = draw(seed, 3 * k + 1) < wrong ? !(k % 2) : k % 2;
    }
}

static pith_node *cross_entropy(pith_node *logits, pith_node *y)
{
    return pith_mean(pith_cross_entropy(logits, y), PITH_ALL);
}

static pith_node *brier(pith_node *logits, pith_node *y)
{
    pith_node *classes = pith_reshape(pith_arange(logits->graph, 2), 1, 2);
    pith_node *wanted = pith_equal(pith_reshape(y, POINTS, 1), classes);
    return pith_mean(pith_square(pith_sub(pith_softmax(logits), wanted)), PITH_ALL);
}

/* Trains with a loss and a seed; the share of new points, rightly labelled, that it gets right. */
static double accuracy(pith_node *loss_of(pith_node *, pith_node *), uint64_t seed)
{
    pith_real points[2 * POINTS], logits[2 * POINTS];
    int labels[POINTS], right = 0;
    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, seed);
    pith_node *x = pith_input(g, "x", PITH_F32, POINTS, 2), *out = model(g, x);
    pith_node *y = pith_input(g, "y", PITH_I32, POINTS), *loss = loss_of(out, y);
    pith_node **params, *gradients[MOST];
    const int n = pith_params(g, &params);
    pith_grad(loss, n, params, gradients);
    const pith_adamw_options o = { .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8 };
    pith_node *step = pith_adamw(n, params, gradients, pith_const(g, 0.01), o, NULL);
    pith_plan *train = pith_plan_new(g, 1, &step, NULL), *test = pith_plan_new(g, 1, &out, NULL);
    spirals(seed, 0.1, points, labels);
    pith_feed(train, x, points), pith_feed(train, y, labels);
    for (int k = 0; k < STEPS; k++) pith_run(train);
    spirals(seed + 1000, 0, points, labels);
    pith_feed(test, x, points);
    pith_run(test);
    pith_value(test, out, logits);
    for (int k = 0; k < POINTS; k++) right += (logits[2 * k + 1] > logits[2 * k]) == labels[k];
    pith_plan_free(train), pith_plan_free(test);
    pith_graph_free(g);
    pith_store_free(store);
    return (double)right / POINTS;
}

int main(void)
{
    static const char *const verdict[] = { "held", "did not hold", "cannot be told" };
    double a[SEEDS], b[SEEDS], difference[SEEDS];
    printf("claim: %s: held above 0, denied below %g\n\n"
           "seed  cross-entropy  Brier  difference\n",
           claim, margin);
    for (int k = 0; k < SEEDS; k++) {
        a[k] = accuracy(cross_entropy, (uint64_t)k);
        b[k] = accuracy(brier, (uint64_t)k);
        difference[k] = b[k] - a[k];
        printf("%4d  %13.3f  %5.3f  %+10.3f\n", k, a[k], b[k], difference[k]);
    }
    for (int n = 1; n <= SEEDS; n *= 2) {
        const pith_interval i = pith_t_interval(n, difference);
        const pith_verdict v = pith_judge(PITH_BETTER, margin, false, false, &i);
        printf("\n%d seed%s: mean difference %+.3f, 95 %% interval %+.3f to %+.3f: %s", n,
               n > 1 ? "s" : "", i.mean, i.low, i.high, verdict[v]);
    }
    const pith_interval one = pith_t_interval(SEEDS, a), other = pith_t_interval(SEEDS, b);
    printf("\n\nNot paired: cross-entropy %.3f to %.3f, Brier %.3f to %.3f, wider by what seeds "
           "change in both.\n",
           one.low, one.high, other.low, other.high);
    return 0;
}
