/* 05_second.c: second derivatives, without ever writing a Hessian.
 *
 * What one learns here: a gradient is made of nodes, so it can be differentiated again; and what
 * the product of the Hessian with a vector is good for. It costs about two gradients, while the
 * Hessian of n weights has n^2 entries. With g = grad f and a fixed vector v,   H v = grad (g . v).
 *
 * Newton's method wants the step p with H p = -g; conjugate gradients find it from products H v.
 * On a logistic regression the right digits then double every step; gradient descent crawls.
 *
 *     build/05_second */
#include <math.h>
#include <string.h>
#include <pith.h>

enum { N = 80, D = 5 };

typedef struct {
    pith_node *loss, *gradient, *hv;
    pith_plan *plan;
    pith_real points[N][D], label[N][1], weights[D], vector[D];
} problem;

static void build(problem *p, pith_graph *g)
{
    pith_node *x = pith_input(g, "x", PITH_F32, N, D);
    pith_node *y = pith_input(g, "y", PITH_F32, N, 1);
    pith_node *w = pith_input(g, "w", PITH_F32, 1, D); /* gradients: to any node */
    pith_node *v = pith_input(g, "v", PITH_F32, 1, D), *xw = pith_matmul_nt(x, w);
    pith_node *each = pith_sub(pith_softplus(xw), pith_mul(y, xw)); /* (N, 1) */
    p->loss = pith_add(pith_mean(each, PITH_ALL), pith_mul_scalar(pith_dot(w, w), 1e-3));
    pith_grad(p->loss, 1, &w, &p->gradient);
    pith_grad(pith_dot(p->gradient, v), 1, &w, &p->hv);
    p->plan = pith_plan_new(g, 3, (pith_node *[]){ p->loss, p->gradient, p->hv }, NULL);
    pith_feed(p->plan, x, p->points);
    pith_feed(p->plan, y, p->label);
    pith_feed(p->plan, w, p->weights);
    pith_feed(p->plan, v, p->vector);
}

/* Two clouds that overlap; the last column is 1, for the bias. */
static void fill(problem *p)
{
    for (int i = 0; i < N; i++) {
        p->label[i][0] = (pith_real)(i % 2);
        for (int k = 0; k < D; k++) {
            const double place = sin(1.7 * i * (k + 1) + k) + 0.5 * (i % 2) * cos(k);
            p->points[i][k] = (pith_real)(k == D - 1 ? 1 : place);
        }
    }
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < D; k++) sum += a[k] * b[k];
    return sum;
}

/* Runs the plan and reads one of its outputs. */
static void run(const problem *p, const pith_node *output, double *out)
{
    pith_run(p->plan);
    pith_real value[D];
    pith_value(p->plan, output, value);
    for (int k = 0; k < D; k++) out[k] = (double)value[k];
}

/* Conjugate gradients on H step = -gradient: D products at most, as there are D directions. */
static void newton_step(problem *p, const double *gradient, double *step)
{
    double r[D], d[D], hd[D], rr = dot(gradient, gradient);
    const double enough = 1e-12 * rr;
    for (int k = 0; k < D; k++) step[k] = 0, r[k] = d[k] = -gradient[k];
    for (int i = 0; i < D && rr > enough; i++) {
        for (int k = 0; k < D; k++) p->vector[k] = (pith_real)d[k];
        run(p, p->hv, hd);
        const double along = rr / dot(d, hd), before = rr;
        for (int k = 0; k < D; k++) step[k] += along * d[k], r[k] -= along * hd[k];
        rr = dot(r, r);
        for (int k = 0; k < D; k++) d[k] = r[k] + rr / before * d[k];
    }
}

int main(void)
{
    static problem p;
    double grad[2][D], step[D], h[D];
    pith_store *store = pith_store_new();
    pith_graph *g = pith_graph_new(store, 0);
    fill(&p);
    build(&p, g);
    printf("gradient = ");
    pith_print(stdout, p.gradient, 12);

    for (int k = 0; k < D; k++) p.vector[k] = 1;
    run(&p, p.gradient, grad[0]);
    run(&p, p.hv, h);
    for (int k = 0; k < D; k++) p.weights[k] = (pith_real)1e-2;
    run(&p, p.gradient, grad[1]);
    printf("\nH v for v = (1, 1, 1, 1, 1), and the gradient's difference along v:\n");
    for (int k = 0; k < D; k++) printf("  %9.5f %9.5f\n", h[k], (grad[1][k] - grad[0][k]) / 1e-2);

    for (int newton = 0; newton < 2; newton++) {
        printf("\n%s\n  step         loss   |gradient|\n",
               newton ? "Newton, by products H v" : "gradient descent, learning rate 1");
        memset(p.weights, 0, sizeof p.weights);
        for (int i = 0; i <= 5; i++) {
            run(&p, p.gradient, grad[0]);
            printf("%6d %12.8f %12.2e\n", i, pith_scalar(p.plan, p.loss),
                   sqrt(dot(grad[0], grad[0])));
            for (int k = 0; k < D; k++) step[k] = -grad[0][k];
            if (newton) newton_step(&p, grad[0], step);
            for (int k = 0; k < D; k++) p.weights[k] += (pith_real)step[k];
        }
    }
    pith_plan_free(p.plan);
    pith_graph_free(g);
    pith_store_free(store);
    return 0;
}
