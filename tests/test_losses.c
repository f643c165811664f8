/* test_losses.c: every loss against straightforward loops over doubles, value and gradient (the
 * loops' by central differences). */
#include "tests.h"
#include "losses/losses.h"

enum { B = 5, D = 4 };
#define TOLERANCE (sizeof(pith_real) == 8 ? 1e-7 : 2e-3)

/* ---- the loops: they read weights by name from doubles, so that a difference can be taken in any
 * of them ---- */

typedef struct {
    const char *name;
    int n;
    double x[64];
} value;
typedef struct {
    int n, teacher_width;
    value at[16];
    const char *options;
} values;

static double *look(const values *v, const char *name)
{
    for (int k = 0; k < v->n; k++)
        if (!strcmp(v->at[k].name, name)) return (double *)v->at[k].x;
    return NULL;
}

static void unit(int width, const double *x, double *out)
{
    for (int i = 0; i < B; i++) {
        double sum = 0;
        for (int k = 0; k < width; k++) sum += x[i * width + k] * x[i * width + k];
        for (int k = 0; k < width; k++) out[i * width + k] = x[i * width + k] / sqrt(sum);
    }
}

/* Unit rows of a student's "image" or "text", through the layer `scope`.weight if there is one. */
static int rows(const values *v, const char *raw, const char *layer, double *out)
{
    char name[64];
    const double *x = look(v, raw), *w = NULL, *b = NULL;
    double y[64];
    if (layer) {
        snprintf(name, sizeof name, "%s.weight", layer);
        w = look(v, name);
        snprintf(name, sizeof name, "%s.bias", layer);
        b = look(v, name);
    }
    if (!w) return unit(D, x, out), D;
    const int E = v->teacher_width;
    for (int i = 0; i < B; i++)
        for (int e = 0; e < E; e++) {
            y[i * E + e] = b[e];
            for (int k = 0; k < D; k++) y[i * E + e] += w[e * D + k] * x[i * D + k];
        }
    return unit(E, y, out), E;
}

/* s a_i . b_j */
static void products(int width, const double *a, const double *b, double s, double z[B][B])
{
    for (int i = 0; i < B; i++)
        for (int j = 0; j < B; j++) {
            z[i][j] = 0;
            for (int k = 0; k < width; k++) z[i][j] += s * a[i * width + k] * b[j * width + k];
        }
}

static double log_share(const double *z, int j)
{
    double sum = 0;
    for (int k = 0; k < B; k++) sum += exp(z[k] - z[j]);
    return -log(sum);
}

static double infonce_rows(int width, const double *a, const double *b, double s)
{
    double z[B][B], sum = 0;
    products(width, a, b, s, z);
    for (int i = 0; i < B; i++) sum -= log_share(z[i], i) / B;
    return sum;
}

static double option(const values *v, const char *key, double otherwise)
{
    const char *at = v->options ? strstr(v->options, key) : NULL;
    return at ? atof(at + strlen(key) + 1) : otherwise;
}

static double clip_with(const values *v, double s)
{
    double u[64], t[64];
    rows(v, "image", NULL, u), rows(v, "text", NULL, t);
    return (infonce_rows(D, u, t, s) + infonce_rows(D, t, u, s)) / 2;
}

static double own_scale(const values *v) { return exp(*look(v, "logit_scale")); }
static double ref_clip(const values *v) { return clip_with(v, own_scale(v)); }

static double ref_siglip(const values *v)
{
    double u[64], t[64], z[B][B], sum = 0;
    const double *own = look(v, "loss.siglip.logit_scale"), bias = *look(v, "loss.siglip.bias");
    rows(v, "image", NULL, u), rows(v, "text", NULL, t);
    products(D, u, t, own ? exp(*own) : own_scale(v), z);
    for (int i = 0; i < B; i++)
        for (int j = 0; j < B; j++) sum += log(1 + exp((i == j ? -1 : 1) * (z[i][j] + bias)));
    return sum / B;
}

enum { TEACHER_SCALE = 7 };

/* Mean over rows of the teacher's distribution times (what the student says of it, less `entropy`
 * of itself). */
static double imitation(const values *v, const char *from, const char *to, double s,
                        double s_teacher, bool entropy)
{
    double u[64], t[64], z[B][B], target[B][B], sum = 0;
    char a[32], b[32];
    snprintf(a, sizeof a, "teacher_%s", from), snprintf(b, sizeof b, "teacher_%s", to);
    rows(v, from, NULL, u), rows(v, to, NULL, t);
    products(D, u, t, s, z);
    products(v->teacher_width, look(v, a), look(v, b), s_teacher, target);
    for (int i = 0; i < B; i++)
        for (int j = 0; j < B; j++) {
            const double p = log_share(target[i], j);
            sum += exp(p) * ((entropy ? p : 0) - log_share(z[i], j));
        }
    return sum / B;
}

static double ref_affinity(const values *v)
{
    const double forced = option(v, "scale", 0), alpha = option(v, "alpha", 1);
    const double s = forced > 0 ? forced : own_scale(v), t = forced > 0 ? forced : TEACHER_SCALE;
    return alpha *
               (imitation(v, "image", "text", s, t, false) +
                imitation(v, "text", "image", s, t, false)) /
               2 +
           (1 - alpha) * clip_with(v, s);
}

static double ref_relational(const values *v)
{
    return (imitation(v, "image", "text", own_scale(v), TEACHER_SCALE, true) +
            imitation(v, "text", "image", own_scale(v), TEACHER_SCALE, true)) /
           2;
}

static double ref_feature(const values *v)
{
    double u[64], t[64], sum = 0;
    const int E = rows(v, "image", "loss.feature.image", u);
    rows(v, "text", "loss.feature.text", t);
    for (int k = 0; k < B * E; k++)
        sum += pow(u[k] - look(v, "teacher_image")[k], 2) +
               pow(t[k] - look(v, "teacher_text")[k], 2);
    return sum / (B * E);
}

static double ref_interactive(const values *v)
{
    double u[64], t[64], c = *look(v, "loss.interactive.scale");
    const int E = rows(v, "image", "loss.interactive.image", u);
    rows(v, "text", "loss.interactive.text", t);
    if (option(v, "raw", 0) == 0) c = exp(c);
    return (infonce_rows(E, u, look(v, "teacher_text"), c) +
            infonce_rows(E, t, look(v, "teacher_image"), c)) /
           2;
}

/* InfoNCE's gradient to u: s G v, with G = (P + Q^T - 2 I) / 2B, P and Q the softmax of rows both
 * ways. */
static void pull(int width, const double *u, const double *t, double s, double *out)
{
    double z[B][B], back[B][B];
    products(width, u, t, s, z);
    products(width, t, u, s, back);
    for (int i = 0; i < B; i++)
        for (int k = 0; k < width; k++) {
            out[i * width + k] = 0;
            for (int j = 0; j < B; j++)
                out[i * width + k] += s * t[j * width + k] / (2 * B) *
                                      (exp(log_share(z[i], j)) + exp(log_share(back[j], i)) -
                                       (i == j ? 2 : 0));
        }
}

static double ref_gradient(const values *v)
{
    double u[64], t[64], a[64], b[64], sum = 0;
    const int E = rows(v, "image", "loss.gradient.image", u);
    rows(v, "text", "loss.gradient.text", t);
    for (int side = 0; side < 2; side++) {
        const double *x = look(v, "teacher_image"), *y = look(v, "teacher_text");
        pull(E, side ? t : u, side ? u : t, own_scale(v), a);
        pull(E, side ? y : x, side ? x : y, TEACHER_SCALE, b);
        for (int k = 0; k < B * E; k++) sum += pow(a[k] - b[k], 2) / (B * E);
    }
    return sum;
}

/* The wrong row of each: the next one, or the largest of similarity and Gumbel noise. */
static void wrong_rows(const values *v, const double *u, const double *t, int ordinal, int *other)
{
    char key[32];
    double z[B][B];
    snprintf(key, sizeof key, "loss.pair.#%d", ordinal);
    products(D, u, t, own_scale(v), z);
    for (int i = 0; i < B; i++) {
        double most = -1e300;
        for (int j = 0; j < B; j++) {
            const double noise = -log(
                -log((double)pith_uniform_at(pith_hash(key, 1), 0, (uint64_t)(i * B + j))));
            if (j != i && z[i][j] + noise > most) most = z[i][j] + noise, other[i] = j;
        }
        if (option(v, "shift", 0) != 0) other[i] = (i + 1) % B;
    }
}

static double ref_pair(const values *v)
{
    double u[64], t[64], sum = 0;
    const double *w = look(v, "loss.pair.weight"), c = *look(v, "loss.pair.bias");
    const bool concat = option(v, "concat", 0) != 0;
    int caption[B], picture[B];
    rows(v, "image", NULL, u), rows(v, "text", NULL, t);
    wrong_rows(v, u, t, 0, caption), wrong_rows(v, t, u, 1, picture);
    for (int i = 0; i < B; i++)
        for (int kind = 0; kind < 3; kind++) {
            const double *x = u + D * (kind == 2 ? picture[i] : i),
                         *y = t + D * (kind == 1 ? caption[i] : i);
            double z = c;
            for (int k = 0; k < D; k++)
                z += concat ? w[k] * x[k] + w[D + k] * y[k] : w[k] * x[k] * y[k];
            sum += log(1 + exp(kind ? z : -z)) / (3 * B);
        }
    return sum;
}

/* ---- the comparison ---- */

static double next(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) * 0x1p-23 - 1;
}

static pith_node *filled(pith_graph *g, pith_store *s, const char *name, int width, bool normal)
{
    pith_node *n = pith_param(g, name, PITH_CONSTANT, 0, B, width);
    pith_real x[B * 64];
    double raw[64] = { 0 }, out[64] = { 0 };
    for (int k = 0; k < B * width; k++) out[k] = raw[k] = next();
    if (normal) unit(width, raw, out);
    for (int k = 0; k < B * width; k++) x[k] = (pith_real)out[k];
    assert_true(pith_tensor_write(pith_store_find(s, name), x));
    return n;
}

static pith_batch make_batch(pith_graph *g, pith_store *s, int teacher_width)
{
    pith_batch b = pith_batch_new(g);
    b.image_raw = filled(g, s, "image", D, false);
    b.text_raw = filled(g, s, "text", D, false);
    b.image = pith_normalize(b.image_raw);
    b.text = pith_normalize(b.text_raw);
    b.scale = pith_exp(pith_param(g, "logit_scale", PITH_CONSTANT, 1.5));
    if (!teacher_width) return b;
    pith_teacher *teacher = pith_add_teacher(&b, teacher_width);
    teacher->image = pith_detach(filled(g, s, "teacher_image", teacher_width, true));
    teacher->text = pith_detach(filled(g, s, "teacher_text", teacher_width, true));
    teacher->scale = pith_const(g, TEACHER_SCALE);
    return b;
}

static void compare(const char *spec, int teacher_width, double (*reference)(const values *))
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const pith_batch b = make_batch(g, s, teacher_width);
    pith_loss_spec *parsed = pith_loss_parse(spec, ".");
    assert_non_null(parsed);
    pith_node *outputs[17], **params;
    outputs[0] = pith_loss_build(parsed, &b);
    if (!outputs[0] || pith_graph_error(g)) fail_msg("%s: %s", spec, pith_error());
    values v = { .n = pith_params(g, &params),
                 .teacher_width = teacher_width,
                 .options = strchr(spec, ':') ? strchr(spec, ':') + 1 : NULL };
    assert_true(v.n <= 16);
    assert_true(pith_grad(outputs[0], v.n, params, outputs + 1));
    pith_plan *plan = pith_plan_new(g, v.n + 1, outputs, NULL);
    if (!plan) fail_msg("%s: %s", spec, pith_error());
    assert_true(pith_run(plan));
    for (int k = 0; k < v.n; k++) {
        const pith_tensor *t = pith_store_find(s, params[k]->name);
        v.at[k].name = params[k]->name;
        v.at[k].n = (int)pith_tensor_size(t);
        const pith_real *x = elements(t);
        for (int i = 0; i < v.at[k].n; i++) v.at[k].x[i] = (double)x[i];
    }
    const double wanted = reference(&v), found = pith_scalar(plan, outputs[0]);
    if (!(fabs(wanted - found) <= TOLERANCE * fmax(1, fabs(wanted))))
        fail_msg("%s: %.12g, loops %.12g", spec, found, wanted);
    for (int k = 0; k < v.n; k++) {
        const pith_real *gradient = value_of(plan, outputs[k + 1]);
        const bool teacher = strstr(params[k]->name, "teacher") != NULL; /* detached */
        for (int i = 0; i < v.at[k].n; i++) {
            const double x = v.at[k].x[i], h = 1e-5;
            v.at[k].x[i] = x + h;
            const double up = reference(&v);
            v.at[k].x[i] = x - h;
            const double slope = teacher ? 0 : (up - reference(&v)) / (2 * h);
            v.at[k].x[i] = x;
            if (!(fabs(slope - (double)gradient[i]) <= TOLERANCE * fmax(1, fabs(slope))))
                fail_msg("%s: gradient to %s[%d] %.12g, loops %.12g", spec, params[k]->name, i,
                         (double)gradient[i], slope);
        }
    }
    pith_plan_free(plan);
    pith_loss_free(parsed);
    pith_graph_free(g);
    pith_store_free(s);
}

static void losses_equal_loops(void **state)
{
    (void)state;
    compare("clip", 0, ref_clip);
    compare("siglip", 0, ref_siglip);
    compare("siglip:scale=10", 0, ref_siglip);
    compare("affinity", D, ref_affinity);
    compare("affinity", 7, ref_affinity);
    compare("affinity:scale=50", D, ref_affinity);
    compare("affinity:scale=20,alpha=0.3", D, ref_affinity);
    compare("affinity:alpha=0.3", D, ref_affinity);
    compare("feature", D, ref_feature);
    compare("feature", 6, ref_feature);
    compare("relational", D, ref_relational);
    compare("relational", 6, ref_relational);
    compare("interactive", D, ref_interactive);
    compare("interactive:raw=1", 6, ref_interactive);
    compare("gradient", D, ref_gradient);
    compare("gradient", 6, ref_gradient);
    compare("pair", 0, ref_pair);
    compare("pair:shift=1,margin=0.5", 0, ref_pair);
    compare("pair:concat=1", 0, ref_pair);
}

static double ref_sum(const values *v)
{
    return 2 * ref_relational(v) + 0.25 * ref_clip(v) + 3 * ref_feature(v);
}

static void terms_are_summed(void **state)
{
    (void)state;
    compare("2*relational + 0.25*clip+3 *feature", 6, ref_sum);
}

/* The built-in losses name their own line too. */
static void a_losss_own_line_is_named(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_batch b = make_batch(g, s, 0);
    b.text = pith_normalize(filled(g, s, "wide", 6, false));
    PITH_CALL(g, clip_loss, (&b));
    if (!strstr(pith_error(), "losses/clip.c:") ||
        !strstr(pith_error(), "in clip_loss, called at ") ||
        !strstr(pith_error(), "test_losses.c:"))
        fail_msg("%s", pith_error());
    pith_graph_free(g);
    pith_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_equal_loops),
        cmocka_unit_test(terms_are_summed),
        cmocka_unit_test(a_losss_own_line_is_named),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
