/* 10_cluster.c: a softmax over many classes, of which each step sees a few.
 *
 * What one learns here: how a cluster loss draws its classes, those of the batch and others at
 * random; that a step then costs what was drawn; and why fewer negatives can be better. Clusters
 * are found by an algorithm, not chosen by somebody. Here each group of points is split in two by a
 * nuisance that nobody asked for, say by light and dark, so every cluster has a twin. Where all
 * clusters are negatives, twins repel each other in every step, and the network learns the nuisance
 * by heart; where an eighth is drawn they seldom meet.
 *
 *     build/10_cluster */
#include <losses/losses.h>
#include <train/optim.h>

enum { GROUPS = 256, K = 2 * GROUPS, SIGNAL = 8, D = 16, B = 64, STEPS = 1000, SHOWN = 200 };

typedef struct {
    pith_node *x, *group, *nuisance; /* (n, SIGNAL + 1); (n) i32; (n) */
} points;

/* Points of GROUPS groups from the first on: a group's centre with a little noise, and a nuisance,
 * mixed with it. */
static points points_new(pith_graph *g, int n, int first)
{
    pith_node *centres = pith_state(g, "centres", PITH_F32, PITH_NORMAL, 1, 2 * GROUPS, SIGNAL);
    pith_node *mix = pith_state(g, "mix", PITH_F32, PITH_NORMAL, 0.5, SIGNAL + 1, SIGNAL + 1);
    points p = { .nuisance = pith_normal(g, n) };
    p.group = pith_cast(pith_mul_scalar(pith_uniform(g, n), GROUPS), PITH_I32);
    pith_node *centre = pith_gather(pith_slice(centres, 0, first, first + GROUPS), p.group);
    pith_node *noise = pith_mul_scalar(pith_normal(g, n, SIGNAL), 0.1);
    pith_node *parts[] = { pith_add(centre, noise), pith_reshape(p.nuisance, n, 1) };
    p.x = pith_matmul_nt(pith_concat(2, parts, 1), mix);
    return p;
}

static pith_node *network(pith_graph *g, pith_node *x) /* (n, SIGNAL + 1) -> (n, D) */
{
    pith_node *w = pith_param(g, "w", PITH_NORMAL, 0.3, 64, SIGNAL + 1);
    pith_node *b = pith_param(g, "b", PITH_CONSTANT, 0, 64);
    return pith_matmul_nt(pith_gelu(pith_linear(x, w, b)),
                          pith_param(g, "v", PITH_NORMAL, 0.1, D, 64));
}

/* Unit centroids as k-means would find them: two a group, near to each other. */
static pith_node *centroids_new(pith_graph *g)
{
    pith_node *middle = pith_state(g, "middle", PITH_F32, PITH_NORMAL, 1, GROUPS, 1, D);
    pith_node *apart = pith_state(g, "apart", PITH_F32, PITH_NORMAL, 0.2, GROUPS, 2, D);
    return pith_normalize(pith_reshape(pith_add(middle, apart), K, D));
}

/* In %: how often does a point lie nearest to another one of its group, among points of groups that
 * training never saw? */
static pith_node *unseen(pith_graph *g)
{
    const points a = points_new(g, 1024, GROUPS), b = points_new(g, 1024, GROUPS);
    pith_node *u = pith_normalize(network(g, a.x)), *v = pith_normalize(network(g, b.x));
    pith_node *cosine = pith_matmul_nt(u, v), *none = pith_const(g, -2);
    pith_node *same = pith_equal(pith_reshape(a.group, -1, 1), b.group);
    pith_node *right = pith_max(pith_where(same, cosine, none), -1),
              *wrong = pith_max(pith_where(same, none, cosine), -1);
    return pith_mul_scalar(pith_mean(pith_less(wrong, right), PITH_ALL), 100);
}

/* The mean cosine of twins' prototypes: centroids and the table that the loss trains. */
static pith_node *twins(pith_graph *g)
{
    pith_node *moved = pith_param(g, "classes", PITH_CONSTANT, 0, K, D);
    pith_node *w = pith_reshape(pith_normalize(pith_add(centroids_new(g), moved)), GROUPS, 2, D);
    return pith_mul_scalar(pith_dot(pith_slice(w, 1, 0, 1), pith_slice(w, 1, 1, 2)), 1.0 / GROUPS);
}

static void train(const char *options)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1), *h = pith_graph_new(s, 2); /* to train, and to look */
    const points p = points_new(g, B, 0);
    pith_batch b = pith_batch_new(g);
    b.options = options;
    b.image = pith_normalize(b.image_raw = network(g, p.x));
    pith_node *side = pith_cast(pith_less(pith_const(g, 0), p.nuisance), PITH_I32);
    b.cluster = pith_add(pith_mul_scalar(p.group, 2), side);
    b.centroids = centroids_new(g);
    pith_node *loss = PITH_CALL(g, cluster_loss, (&b)), **params, *gradients[4];
    const int n = pith_params(g, &params);
    pith_gradients(loss, n, params, gradients); /* of the table of classes, by rows */
    const pith_adamw_options o = { .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8 };
    pith_node *step = pith_adamw(n, params, gradients, pith_const(g, 3e-3), o, NULL);
    pith_node *seen[] = { twins(h), unseen(h) };
    pith_plan *plan = pith_plan_new(g, 2, (pith_node *[]){ loss, step }, NULL),
              *look = pith_plan_new(h, 2, seen, NULL);
    printf("\n%s: a step moves %.1f MB\n  step  cosine of twins  unseen groups: %% right    loss\n",
           options, (double)pith_plan_statistics(plan).moved / 1e6);
    for (int k = 0; k <= STEPS; k++) {
        const bool shown = k % SHOWN == 0;
        pith_feed(plan, pith_step(g), &k);
        pith_feed(look, pith_step(h), &k);
        if (shown && pith_run(look))
            printf("%6d %16.3f %23.1f", k, pith_scalar(look, seen[0]), pith_scalar(look, seen[1]));
        pith_run(plan);
        if (shown) printf(" %7.3f\n", pith_scalar(plan, loss));
    }
    pith_plan_free(plan);
    pith_plan_free(look);
    pith_graph_free(g);
    pith_graph_free(h);
    pith_store_free(s);
}

int main(void)
{
    printf("%d clusters: %d groups of points, each split in two; %d points a step\n", K, GROUPS, B);
    train("kl=0,rate=1"); /* kl=0: there is no teacher here */
    train("kl=0,rate=0.125");
    return 0;
}
