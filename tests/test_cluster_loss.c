/* test_cluster_loss.c: CLIP-CID's losses against straightforward loops over doubles, value and
 * gradient (the loops' by central differences), and the classes that they draw and train. */
#include "tests.h"
#include "losses/losses.h"
#include "train/optim.h"

enum { B = 5, D = 4, K = 20, MOST = 160 };
#define TOLERANCE (sizeof(pith_real) == 8 ? 1e-7 : 3e-3)

static const int cluster[B] = { 3, 17, -1, 3, 8 };

static double next(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) * 0x1p-23 - 1;
}

/* ---- a batch, and what lies in it as doubles ---- */

typedef struct {
    const char *name;
    int n;
    double x[MOST];
} value;

typedef struct {
    pith_store *s;
    pith_graph *g;
    pith_batch b;
    int width; /* of the teacher and the centroids */
    int n;
    value at[16];
    const char *options;
    int drawn, ids[K]; /* classes */
    /* Where a gradient is by definition not that of the value: what it holds fast, taken at the
     * beginning. */
    bool held;
    double own[B], target[B][K];
} subject;

static double *look(const subject *v, const char *name)
{
    for (int k = 0; k < v->n; k++)
        if (!strcmp(v->at[k].name, name)) return (double *)v->at[k].x;
    return NULL;
}

static double option(const subject *v, const char *key, double otherwise)
{
    const size_t size = strlen(key);
    for (const char *p = v->options; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, key, size) && p[size] == '=') return atof(p + size + 1);
    return otherwise;
}

static pith_node *filled(subject *v, const char *name, int rows, int width, bool normal)
{
    pith_node *n = pith_param(v->g, name, PITH_CONSTANT, 0, rows, width);
    pith_real x[MOST];
    for (int k = 0; k < rows * width; k++) x[k] = (pith_real)next();
    for (int i = 0; i < rows && normal; i++) {
        double sum = 0;
        for (int k = 0; k < width; k++) sum += (double)(x[i * width + k] * x[i * width + k]);
        for (int k = 0; k < width; k++) x[i * width + k] /= (pith_real)sqrt(sum);
    }
    assert_true(pith_tensor_write(pith_store_find(v->s, name), x));
    return n;
}

static subject *subject_new(int width, bool teacher)
{
    subject *v = calloc(1, sizeof *v);
    v->s = pith_store_new();
    v->g = pith_graph_new(v->s, 1);
    v->width = width;
    pith_batch *b = &v->b;
    *b = pith_batch_new(v->g);
    b->image = pith_normalize(b->image_raw = filled(v, "image", B, D, false));
    b->text = pith_normalize(b->text_raw = filled(v, "text", B, D, false));
    b->cluster = pith_const_array(v->g, PITH_I32, cluster, B);
    b->centroids = pith_detach(filled(v, "centroids", K, width, false));
    if (!teacher) return v;
    pith_teacher *t = pith_add_teacher(b, width);
    t->image = pith_detach(filled(v, "teacher_image", B, width, true));
    t->text = pith_detach(filled(v, "teacher_text", B, width, true));
    t->scale = pith_const(v->g, 7);
    return v;
}

static void subject_free(subject *v)
{
    pith_graph_free(v->g);
    pith_store_free(v->s);
    free(v);
}

static const pith_node *drawn_by(pith_graph *g)
{
    for (int k = 0; k < pith_graph_size(g); k++)
        if (!strcmp(pith_graph_node(g, k)->op->name, "draw_classes")) return pith_graph_node(g, k);
    return NULL;
}

/* ---- the loops ---- */

static void unit(int rows, int width, const double *x, double *out)
{
    for (int i = 0; i < rows; i++) {
        double sum = 0;
        for (int k = 0; k < width; k++) sum += x[i * width + k] * x[i * width + k];
        for (int k = 0; k < width; k++) out[i * width + k] = x[i * width + k] / sqrt(sum);
    }
}

static void project(const subject *v, const char *raw, const char *layer, double *out)
{
    char name[64];
    double y[MOST];
    snprintf(name, sizeof name, "%s.weight", layer);
    const double *x = look(v, raw), *w = look(v, name);
    snprintf(name, sizeof name, "%s.bias", layer);
    for (int i = 0; i < B && w; i++)
        for (int e = 0; e < v->width; e++) {
            y[i * v->width + e] = look(v, name)[e];
            for (int k = 0; k < D; k++) y[i * v->width + e] += w[e * D + k] * x[i * D + k];
        }
    unit(B, v->width, w ? y : x, out);
}

static double dot(int width, const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < width; k++) sum += a[k] * b[k];
    return sum;
}

static double log_share(int n, const double *z, int j)
{
    double sum = 0;
    for (int k = 0; k < n; k++) sum += exp(z[k] - z[j]);
    return -log(sum);
}

static double with_margin(const subject *v, double c)
{
    const double most = 1 - 1e-4, angle = option(v, "margin", 0);
    if (angle == 0) return c - option(v, "cosface", 0);
    if (option(v, "true", 0) != 0) c = fmax(fmin(c, most), -most);
    return cos(acos(c) + angle);
}

static double ref_cluster(subject *v)
{
    const int E = v->width, S = v->drawn;
    const double scale = option(v, "scale", 32), tau = option(v, "tau", 1 / scale),
                 teacher_tau = option(v, "teacher_tau", 1 / scale),
                 *moved = look(v, "loss.cluster.classes"), *t = look(v, "teacher_image");
    double s[MOST], c[MOST], w[MOST], sum = 0;
    int counted = 0;
    project(v, "image", "loss.cluster.image", s);
    unit(K, E, look(v, "centroids"), c);
    for (int k = 0; k < K * E; k++) w[k] = c[k] + (moved ? moved[k] : 0);
    unit(K, E, w, w);
    for (int i = 0; i < B; i++) {
        double cosine[K], logits[K], soft[K], target[K];
        int own = -1;
        for (int j = 0; j < S; j++) {
            const int id = v->ids[j];
            if (id == cluster[i]) own = j;
            logits[j] = cosine[j] = dot(E, s + i * E, w + id * E);
            soft[j] = cosine[j] / tau;
            target[j] = t ? dot(E, t + i * E, (option(v, "shared", 0) != 0 ? w : c) + id * E) : 0;
            target[j] /= teacher_tau;
        }
        if (own < 0) continue;
        counted++;
        if (!v->held) v->own[i] = cosine[own], memcpy(v->target[i], target, sizeof target);
        logits[own] = option(v, "true", 0) != 0
                          ? with_margin(v, cosine[own])
                          : with_margin(v, v->own[i]) + cosine[own] - v->own[i];
        for (int j = 0; j < S; j++) logits[j] *= scale;
        sum -= option(v, "softmax", 1) * log_share(S, logits, own);
        for (int j = 0; j < S; j++) {
            const double p = log_share(S, v->target[i], j);
            sum += option(v, "kl", 1) * exp(p) * (p - log_share(S, soft, j));
        }
    }
    return counted ? sum / counted : 0;
}

static double infonce(int width, const double *a, const double *b, double s)
{
    double sum = 0;
    for (int i = 0; i < B; i++) {
        double z[B];
        for (int j = 0; j < B; j++) z[j] = s * dot(width, a + i * width, b + j * width);
        sum -= log_share(B, z, i) / B;
    }
    return sum;
}

static double ref_instance(subject *v)
{
    const double *own = look(v, "loss.instance.scale"), a = own ? exp(*own) : option(v, "scale", 0),
                 *image = look(v, "teacher_image"), *text = look(v, "teacher_text");
    double u[MOST], t[MOST];
    project(v, "image", "loss.instance.image", u);
    project(v, "text", "loss.instance.text", t);
    const double images = (infonce(v->width, u, image, a) + infonce(v->width, image, u, a)) / 2,
                 texts = (infonce(v->width, t, text, a) + infonce(v->width, text, t, a)) / 2;
    return (images + texts) / (option(v, "sum", 0) != 0 ? 1 : 2);
}

/* ---- the comparison ---- */

static pith_node *build(subject *v, const char *text)
{
    pith_loss_spec *spec = pith_loss_parse(text, ".");
    if (!spec) fail_msg("%s", pith_error());
    pith_node *loss = pith_loss_build(spec, &v->b);
    if (!loss || pith_graph_error(v->g)) fail_msg("%s: %s", text, pith_error());
    v->options = strchr(text, ':') ? strchr(text, ':') + 1 : NULL;
    pith_loss_free(spec);
    return loss;
}

/* Moves the prototypes away from the centroids, where they begin. */
static void move_classes(subject *v)
{
    pith_tensor *t = pith_store_find(v->s, "loss.cluster.classes");
    pith_real x[MOST];
    for (int k = 0; k < K * v->width; k++) x[k] = (pith_real)(0.3 * next());
    if (t) pith_tensor_write(t, x);
}

static void compare(const char *text, int width, bool teacher, double (*reference)(subject *))
{
    subject *v = subject_new(width, teacher);
    pith_node *out[20] = { build(v, text) }, **params;
    v->n = pith_params(v->g, &params);
    move_classes(v);
    assert_true(v->n <= 16 && pith_grad(out[0], v->n, params, out + 1));
    pith_node *ids = (pith_node *)(uintptr_t)drawn_by(v->g);
    out[v->n + 1] = ids ? ids : out[0];
    pith_plan *p = pith_plan_new(v->g, v->n + 2, out, NULL);
    if (!p) fail_msg("%s: %s", text, pith_error());
    pith_feed(p, pith_step(v->g), &(int){ 3 });
    assert_true(pith_run(p));
    if (ids) memcpy(v->ids, value_of(p, ids), sizeof(int) * (size_t)(v->drawn = ids->dim[0]));
    for (int k = 0; k < v->n; k++) {
        const pith_tensor *t = pith_store_find(v->s, params[k]->name);
        const pith_real *x = elements(t);
        v->at[k].name = params[k]->name;
        v->at[k].n = (int)pith_tensor_size(t);
        for (int i = 0; i < v->at[k].n; i++) v->at[k].x[i] = (double)x[i];
    }
    const double wanted = reference(v), found = pith_scalar(p, out[0]);
    if (!(fabs(wanted - found) <= TOLERANCE * fmax(1, fabs(wanted))))
        fail_msg("%s: %.12g, loops %.12g", text, found, wanted);
    v->held = true;
    for (int k = 0; k < v->n; k++) {
        const pith_real *gradient = value_of(p, out[k + 1]);
        const bool fixed = strstr(v->at[k].name, "teacher") || !strcmp(v->at[k].name, "centroids");
        for (int i = 0; i < v->at[k].n; i++) {
            const double x = v->at[k].x[i], h = 1e-5;
            v->at[k].x[i] = x + h;
            const double up = reference(v);
            v->at[k].x[i] = x - h;
            const double slope = fixed ? 0 : (up - reference(v)) / (2 * h);
            v->at[k].x[i] = x;
            if (!(fabs(slope - (double)gradient[i]) <= TOLERANCE * fmax(1, fabs(slope))))
                fail_msg("%s: gradient to %s[%d] %.12g, loops %.12g", text, v->at[k].name, i,
                         (double)gradient[i], slope);
        }
    }
    pith_plan_free(p);
    subject_free(v);
}

static void cluster_equals_loops(void **state)
{
    (void)state;
    static const char *const all[] = {
        "cluster",
        "cluster:softmax=0",
        "cluster:softmax=2,kl=0.5",
        "cluster:scale=10",
        "cluster:margin=0.3",
        "cluster:margin=0.3,true=1",
        "cluster:cosface=0.2",
        "cluster:cosface=0.2,true=1",
        "cluster:tau=0.1",
        "cluster:tau=0.1,teacher_tau=0.05",
        "cluster:frozen=1",
        "cluster:shared=1",
        "cluster:shared=1,frozen=1",
        "cluster:lr=5",
        "cluster:rate=0.5",
        "cluster:rate=0.01",
        "cluster:rate=0.4,margin=0.5,scale=16,kl=0.3,shared=1",
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        compare(all[k], D, true, ref_cluster);
        compare(all[k], 6, true, ref_cluster);
    }
    compare("cluster:kl=0", D, false, ref_cluster);
    compare("cluster:kl=0,rate=0.5", 6, false, ref_cluster);
}

static void instance_equals_loops(void **state)
{
    (void)state;
    static const char *const all[] = { "instance", "instance:sum=1", "instance:scale=5",
                                       "instance:scale=5,sum=1" };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        compare(all[k], D, true, ref_instance);
        compare(all[k], 6, true, ref_instance);
    }
}

/* Where there is no cluster at all there is nothing to learn, and nothing to divide by. */
static void without_any_cluster(void **state)
{
    (void)state;
    static const int none[B] = { -1, -1, -1, -1, -1 };
    subject *v = subject_new(6, true);
    v->b.cluster = pith_const_array(v->g, PITH_I32, none, B);
    pith_node *loss = build(v, "cluster"), **params, *out[20] = { loss };
    const int n = pith_params(v->g, &params);
    assert_true(pith_grad(loss, n, params, out + 1));
    pith_plan *p = pith_plan_new(v->g, n + 1, out, NULL);
    pith_feed(p, pith_step(v->g), &(int){ 0 });
    assert_true(p && pith_run(p));
    for (int k = 0; k <= n; k++)
        for (size_t i = 0; i < pith_size(out[k]); i++)
            near((double)((pith_real *)value_of(p, out[k]))[i], 0);
    pith_plan_free(p);
    subject_free(v);
}

/* Cosines at and beyond the ends, as rounding makes them: finite, and the identity's gradient is 1,
 * the true one 0. */
static void margins_at_the_ends(void **state)
{
    (void)state;
    static const pith_real ends[4] = { 1, -1, (pith_real)1.0000001, (pith_real)0.99995 };
    static const int own[4] = { 0, 0, 0, 0 };
    for (int exact = 0; exact < 2; exact++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b = pith_batch_new(g);
        b.options = exact ? "margin=0.3,true=1" : "margin=0.3";
        pith_node *c = pith_param(g, "c", PITH_CONSTANT, 0, 4, 1), *out[2];
        pith_tensor_write(pith_store_find(s, "c"), ends);
        out[0] = loss_margin(&b, c, pith_const_array(g, PITH_I32, own, 4));
        assert_true(pith_grad(pith_sum(out[0], PITH_ALL), 1, &c, out + 1));
        pith_plan *p = pith_plan_new(g, 2, out, NULL);
        assert_true(p && pith_run(p));
        for (int i = 0; i < 4; i++) {
            const double most = exact ? 1 - 1e-4 : 1,
                         wanted = cos(acos(fmax(fmin((double)ends[i], most), -most)) + 0.3);
            const double found = (double)((pith_real *)value_of(p, out[0]))[i];
            assert_true(fabs(found - wanted) < 1e-6);
            near((double)((pith_real *)value_of(p, out[1]))[i], exact ? 0 : 1);
        }
        pith_plan_free(p);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_equals_loops),
        cmocka_unit_test(instance_equals_loops),
        cmocka_unit_test(without_any_cluster),
        cmocka_unit_test(margins_at_the_ends),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
