/* test_class_table.c: the table of classes of a cluster loss, trained by the rows that are drawn;
 * and what the loss says where something is missing. */
#include "tests.h"
#include "losses/losses.h"
#include "train/optim.h"

enum { B = 6, D = 4, STEPS = 4 };

/* A training of the loss by AdamW, with decay, clipping, guard and averages; pictures' rows and the
 * clusters are fed. */
typedef struct {
    pith_store *s;
    pith_graph *g;
    pith_node *cluster, *centroids, *loss;
    const pith_node *ids;
    pith_plan *p;
    int k;
    pith_real *rows; /* of the centroids */
} table_training;

static const char *const names[] = { "loss.cluster.classes", "adamw.m/loss.cluster.classes",
                                     "adamw.v/loss.cluster.classes", "ema/loss.cluster.classes" };

static void optimize(table_training *t)
{
    const pith_adamw_options adamw = { 0.9, 0.99, 1e-8, 0.1 };
    pith_node **params, *gradients[8], *norm;
    const int n = pith_params(t->g, &params);
    if (!t->loss || !pith_gradients(t->loss, n, params, gradients)) fail_msg("%s", pith_error());
    assert_true(pith_clip_norm(n, gradients, 1, &norm));
    pith_node *ok = pith_step_ok(norm), *lr = pith_const(t->g, 0.05);
    pith_node *all = pith_ema(pith_adamw(n, params, gradients, lr, adamw, ok), 0.9, ok);
    pith_node *out[] = { t->loss, all, (pith_node *)(uintptr_t)(t->ids ? t->ids : t->loss) };
    t->p = pith_plan_new(t->g, 3, out, NULL);
    if (!t->p) fail_msg("%s", pith_error());
}

static table_training begin(int k, const char *loss, pith_loss *own)
{
    table_training t = { .s = pith_store_new(), .k = k };
    t.g = pith_graph_new(t.s, 4);
    pith_batch b = pith_batch_new(t.g);
    b.image = pith_normalize(b.image_raw = pith_param(t.g, "image", PITH_NORMAL, 1, B, D));
    b.cluster = t.cluster = pith_input(t.g, "cluster", PITH_I32, B);
    b.centroids = t.centroids = pith_input(t.g, "centroids", PITH_F32, k, D);
    t.rows = malloc(sizeof *t.rows * (size_t)k * D);
    for (int i = 0; i < k * D; i++) t.rows[i] = (pith_real)pith_normal_at(1, 0, (uint64_t)i);
    if (own) {
        pith_scope(t.g, "loss.cluster");
        t.loss = own(&b);
        pith_unscope(t.g);
    } else {
        pith_loss_spec *spec = pith_loss_parse(loss, ".");
        t.loss = pith_loss_build(spec, &b);
        pith_loss_free(spec);
    }
    for (int i = 0; i < pith_graph_size(t.g) && !t.ids; i++)
        if (!strcmp(pith_graph_node(t.g, i)->op->name, "draw_classes"))
            t.ids = pith_graph_node(t.g, i);
    optimize(&t);
    return t;
}

static void end(table_training *t)
{
    pith_plan_free(t->p);
    pith_graph_free(t->g);
    pith_store_free(t->s);
    free(t->rows);
}

static double run(table_training *t, int step, const int *cluster)
{
    pith_feed(t->p, t->cluster, cluster);
    pith_feed(t->p, t->centroids, t->rows);
    if (t->ids) pith_feed(t->p, pith_step(t->g), &step);
    if (!pith_run(t->p)) fail_msg("%s", pith_error());
    return pith_scalar(t->p, t->loss);
}

/* The softmax over all classes, with the whole table as a param. */
static pith_node *whole(const pith_batch *b)
{
    const int k = b->centroids->dim[0];
    pith_node *table = pith_param(b->graph, "classes", PITH_CONSTANT, 0, k, D);
    pith_node *w = pith_normalize(pith_add(pith_normalize(b->centroids), table));
    pith_node *logits = pith_mul_scalar(pith_matmul_nt(b->image, w), 32);
    return pith_mean(pith_cross_entropy(logits, b->cluster), PITH_ALL);
}

/* At rate 1 all are drawn: the loss is the full one, and training by rows is dense training, in
 * moments, decay and averages. */
static void all_classes_are_dense(void **state)
{
    (void)state;
    enum { K = 30 };
    static const int cluster[STEPS][B] = {
        { 1, 2, 3, 4, 5, 6 }, { 29, 0, 0, 7, 9, 1 }, { 3, 3, 3, 3, 3, 3 }, { 12, 28, 4, 4, 0, 17 }
    };
    const double allowed = sizeof(pith_real) == 8 ? 1e-13 : 1e-5;
    table_training a = begin(K, "cluster:kl=0,rate=1", NULL), b = begin(K, NULL, whole);
    assert_int_equal(a.ids->dim[0], K);
    for (int step = 0; step < STEPS; step++) {
        const double x = run(&a, step, cluster[step]), y = run(&b, step, cluster[step]);
        if (!(fabs(x - y) <= (sizeof(pith_real) == 8 ? 1e-12 : 1e-5) * y))
            fail_msg("step %d: %.17g, the full softmax %.17g", step, x, y);
        for (int n = 0; n < 4; n++) {
            const pith_real *mine = stored(a.s, names[n]), *theirs = stored(b.s, names[n]);
            for (int i = 0; i < K * D; i++)
                if (!(fabs((double)(mine[i] - theirs[i])) <= allowed))
                    fail_msg("step %d: %s[%d] is %g, dense %g", step, names[n], i, (double)mine[i],
                             (double)theirs[i]);
        }
    }
    end(&a);
    end(&b);
}

/* A row that is not drawn keeps value, moments and average to the bit; a drawn one does not, be it
 * a label or another. */
static void other_classes_stay(void **state)
{
    (void)state;
    enum { K = 50 };
    static const int cluster[B] = { 1, 1, 40, -1, 7, 49 };
    table_training t = begin(K, "cluster:kl=0,rate=0.3", NULL);
    assert_int_equal(t.ids->dim[0], 15);
    bool ever[K] = { false };
    for (int step = 0; step < STEPS; step++) {
        pith_real before[4][K * D];
        bool drawn[K] = { false };
        for (int n = 0; n < 4; n++) memcpy(before[n], stored(t.s, names[n]), sizeof before[n]);
        run(&t, step, cluster);
        const int *ids = value_of(t.p, t.ids);
        for (int i = 0; i < 15; i++) drawn[ids[i]] = ever[ids[i]] = true;
        assert_true(drawn[1] && drawn[40] && drawn[7] && drawn[49]);
        for (int n = 0; n < 4; n++) {
            const pith_real *now = stored(t.s, names[n]);
            for (int row = 0; row < K; row++)
                assert_int_equal(!memcmp(now + row * D, before[n] + row * D, D * sizeof *now),
                                 !drawn[row]);
        }
    }
    int count = 0;
    for (int row = 0; row < K; row++) count += ever[row];
    assert_true(count > 15); /* others in every step */
    end(&t);
}

/* Two thousand times as many classes, as many of them drawn: a step moves and keeps as many bytes,
 * drawing included. */
static void work_does_not_grow(void **state)
{
    (void)state;
    table_training a = begin(500, "cluster:kl=0,rate=0.1", NULL),
                   b = begin(1000000, "cluster:kl=0,rate=0.00005", NULL);
    assert_int_equal(a.ids->dim[0], 50);
    assert_int_equal(b.ids->dim[0], 50);
    assert_int_equal(pith_plan_statistics(a.p).moved, pith_plan_statistics(b.p).moved);
    assert_int_equal(pith_plan_statistics(a.p).arena, pith_plan_statistics(b.p).arena);
    end(&a);
    end(&b);
}

static void how_many_are_drawn(void **state)
{
    (void)state;
    static const struct {
        int k;
        const char *loss;
        int drawn;
    } cases[] = { { 10000, "cluster:kl=0", 10000 },
                  { 10010, "cluster:kl=0", 1001 },
                  { 57, "cluster:kl=0,rate=0.57", 32 },
                  { 57, "cluster:kl=0,rate=0.01", B },
                  { 3, "cluster:kl=0,rate=0.01", 3 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        table_training t = begin(cases[c].k, cases[c].loss, NULL);
        assert_int_equal(t.ids->dim[0], cases[c].drawn);
        end(&t);
    }
}

/* lr=0 leaves the prototypes where they were, however they are decayed. */
static void their_own_learning_rate(void **state)
{
    (void)state;
    static const int cluster[B] = { 1, 1, 4, 2, 7, 3 };
    table_training t = begin(9, "cluster:kl=0,lr=0", NULL), u = begin(9, "cluster:kl=0", NULL),
                   v = begin(9, "cluster:kl=0,lr=3", NULL);
    run(&t, 0, cluster), run(&u, 0, cluster), run(&v, 0, cluster);
    const pith_real *none = stored(t.s, names[0]), *once = stored(u.s, names[0]),
                    *thrice = stored(v.s, names[0]);
    for (int i = 0; i < 9 * D; i++) {
        assert_true(none[i] == 0 && once[i] != 0);
        assert_true(fabs((double)(thrice[i] - 3 * once[i])) < 1e-6);
    }
    end(&t), end(&u), end(&v);
}

/* ---- mistakes ---- */

static void is_told(const char *loss, int clusters, int teacher, const char *told)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    pith_batch b = pith_batch_new(g);
    b.image = pith_normalize(b.image_raw = pith_sample(g, 0, 1, B, D));
    b.text = pith_normalize(b.text_raw = pith_sample(g, 0, 1, B, D));
    b.scale = pith_const(g, 1);
    if (clusters) {
        b.cluster = pith_sample_ids(g, 9, B);
        b.centroids = pith_sample(g, 0, 1, 9, clusters);
    }
    if (teacher) {
        pith_teacher *t = pith_add_teacher(&b, teacher);
        t->image = pith_sample(g, 0, 1, B, teacher);
        t->text = pith_sample(g, 0, 1, B, teacher);
        t->scale = pith_const(g, 1);
    }
    pith_loss_spec *spec = pith_loss_parse(loss, ".");
    const pith_node *y = spec ? pith_loss_build(spec, &b) : NULL;
    assert_true(!y || pith_poisoned(y));
    said(told);
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    is_told("cluster", 0, 5, "loss cluster needs clusters: --clusters FILE");
    is_told("cluster", 5, 0, "loss cluster needs a teacher, or kl=0");
    is_told("cluster", 5, 7, "the centroids have 5 columns and the teacher's rows 7");
    is_told("cluster:softmax=0,kl=0", 5, 5, "softmax=0 and kl=0 leave nothing");
    is_told("cluster:rate=1.5", 5, 5, "rate=1.5: expected a share of the classes");
    is_told("cluster:rate=-1", 5, 5, "rate=-1: expected a share of the classes");
    is_told("cluster:margin=0.3,cosface=0.1", 5, 5, "margin=0.3 and cosface=0.1: expected one");
    is_told("cluster:m=0.3", 5, 5, "loss cluster has no option m");
    is_told("instance", 5, 0, "loss instance needs a teacher");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_classes_are_dense),   cmocka_unit_test(other_classes_stay),
        cmocka_unit_test(work_does_not_grow),      cmocka_unit_test(how_many_are_drawn),
        cmocka_unit_test(their_own_learning_rate), cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
