/* test_batch.c: what a loss sees: what the model and the data give, and what is missing, which is
 * told where it is used, with the place in the loss. */
#include "tests.h"
#include "losses/losses.h"
#include "models/models.h"

enum { B = 4 };

/* ---- what is missing ---- */

#line 7 "my.c"
static node *my_loss(node *a, node *b) { return pith_matmul_nt(a, b); }
#line 14 "tests/test_batch.c"

static void it_is_told_with_the_users_line(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    node *x = pith_input(g, "x", PITH_F32, 4, 3);
    node *m = pith_missing(g, "the moon, and this is a cave");
    assert_true(pith_is_missing(m) && pith_is_missing(NULL) && !pith_is_missing(x));
    assert_true(m->ndim == 0 && m->dim[0] == 1 && m->dim[1] == 1);
    node *y = pith_square(x);
    assert_null(pith_graph_error(g)); /* to hold one is no error */
#line 20 "caller.c"
    node *bad = PITH_CALL(g, my_loss, (y, m));
#line 27 "tests/test_batch.c"
    assert_string_equal(pith_graph_error(g),
                        "my.c:7: matmul: input 1 is the moon, and this is a cave\n"
                        "    input 0 (4, 3) from tests/test_batch.c:22 (square)\n"
                        "    in my_loss, called at caller.c:20");
    assert_true(pith_poisoned(pith_exp(bad)));
}

/* Ops look at their inputs' dims before they are made: none may crash on one that is missing. */
static void every_op_tells_it(void **state)
{
    world *w = *state;
#define TELLS(k, op)                                                                               \
    {                                                                                              \
        pith_graph *g = pith_graph_new(w->s, 0);                                                   \
        node *m = pith_missing(g, "nowhere"), *x = pith_input(g, "x", PITH_F32, 4, 3),             \
             *i = pith_input(g, "i", PITH_I32, 4), *list[2] = { x, m };                            \
        (void)x, (void)i, (void)list;                                                              \
        op;                                                                                        \
        if (!pith_graph_error(g) || !strstr(pith_graph_error(g), "input " #k " is nowhere"))       \
            fail_msg("%s: %s", #op, pith_graph_error(g));                                          \
        pith_graph_free(g);                                                                        \
    }
    TELLS(0, pith_add(m, x))
    TELLS(1, pith_mul(x, m))
    TELLS(1, pith_equal(x, m))
    TELLS(2, pith_where(x, x, m))
    TELLS(0, pith_softplus(m))
    TELLS(0, pith_gelu(m))
    TELLS(0, pith_mul_scalar(m, 2))
    TELLS(0, pith_add_scalar(m, 2))
    TELLS(0, pith_expand(m, 4, 3))
    TELLS(0, pith_cast(m, PITH_I32))
    TELLS(0, pith_reshape(m, -1, 1))
    TELLS(0, pith_detach(m))
    TELLS(0, pith_slice(m, 0, 0, 1))
    TELLS(1, pith_concat(2, list, 0))
    TELLS(0, pith_permute(m, 1, 0))
    TELLS(0, pith_transpose(m))
    TELLS(0, pith_gather(m, i))
    TELLS(1, pith_gather(x, m))
    TELLS(0, pith_scatter_add(m, i, 9))
    TELLS(1, pith_scatter_add(x, m, 9))
    TELLS(0, pith_sum(m, -1))
    TELLS(0, pith_mean(m, PITH_ALL))
    TELLS(0, pith_max(m, 0))
    TELLS(0, pith_dot(m, x))
    TELLS(1, pith_dot(x, m))
    TELLS(0, pith_matmul(m, x))
    TELLS(1, pith_matmul_tn(x, m))
    TELLS(0, pith_linear(m, x, NULL))
    TELLS(1, pith_linear(x, m, NULL))
    TELLS(2, pith_linear(x, x, m))
    TELLS(0, pith_softmax(m))
    TELLS(0, pith_log_sum_exp(m))
    TELLS(0, pith_layer_norm(m, x, x))
    TELLS(0, pith_normalize(m))
    TELLS(0, pith_attention(m, i, true))
    TELLS(1, pith_attention(x, m, true))
    TELLS(0, pith_pooled_attention(m, x, i))
    TELLS(0, pith_segments(m, 3))
    TELLS(0, pith_cross_entropy(m, i))
    TELLS(1, pith_cross_entropy(x, m))
    TELLS(1, pith_soft_cross_entropy(x, m))
    TELLS(1, pith_group(2, list))
    {
        node *m = pith_missing(w->g, "nowhere"), *d;
        assert_false(pith_grad(m, 1, &m, &d));
        said("this has no floating-point value");
    }
}

/* ---- in a batch ---- */

/* The loss of a file whose body returns `value`, built over a batch without anything but unit rows
 * and one teacher's image rows. */
static void says(const char *value, const char *part)
{
    static int number;
    char text[400], *spec = (char *)path_of("seen%d.c", number++);
    snprintf(text, sizeof text,
             "#include <loss.h>\n"
             "pith_node *loss(const pith_batch *b)\n"
             "{\n"
             "    return %s;\n"
             "}\n",
             value);
    put_bytes(spec, text, strlen(text));
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_batch b = pith_batch_new(g);
    b.image = pith_input(g, "image", PITH_F32, B, 3);
    b.text = pith_input(g, "text", PITH_F32, B, 3);
    pith_add_teacher(&b, 3)->image = pith_input(g, "teachers.0.image", PITH_F32, B, 3);
    pith_loss_spec *loss = pith_loss_parse(spec, place);
    if (!loss) fail_msg("%s", pith_error());
    assert_true(!pith_loss_build(loss, &b) || pith_graph_error(g));
    said(part);
    pith_loss_free(loss);
    pith_graph_free(g);
    pith_store_free(s);
}

static void a_loss_hears_of_it_with_its_own_line(void **state)
{
    (void)state;
    says("pith_dot(b->image, b->teachers[0].text)",
         "seen0.c:4: dot: input 1 is the text rows of teacher 0, which it does not have\n");
    said("in seen0, called at ");
    says("pith_dot(b->image, b->teachers[1].image)",
         "seen1.c:4: dot: input 1 is the image rows of teacher 1, and this run has 1, counted "
         "from 0");
    says("pith_exp(b->teachers[0].bias)", "seen2.c:4: exp: input 0 is the bias of teacher 0");
    says("pith_mean(pith_cross_entropy(b->image, b->label), PITH_ALL)",
         "seen3.c:4: cross_entropy: input 1 is the labels, which this run does not have");
    says(
        "pith_dot(b->image, pith_second_view(b).image)",
        "seen4.c:4: dot: input 1 is the image rows of a second view, which this run does not have");
    says("pith_sum(pith_normalize(b->synthetic_text_raw), PITH_ALL)",
         "seen5.c:4: square: input 0 is the raw synthetic text rows, which this run");
    says("pith_sum(b->image_features, PITH_ALL)", "seen6.c:4: sum: input 0 is the image features");
    says("pith_exp(pith_cast(b->epoch, PITH_F32))", "seen7.c:4: exp: input 0 is the epoch");
    says("b->progress", "seen8.c returned the progress, which this run does not have");
    says("pith_sum(pith_gather(b->image, b->index), PITH_ALL)",
         "seen9.c:4: gather: input 1 is the numbers of the samples");
    says("pith_is_missing(b->label) ? pith_is_missing(b->image) ? b->scale : b->caption_id : NULL",
         "seen10.c returned the numbers of the captions");
}

/* Each teacher has its own width, and its own rows. */
static void teachers_of_two_widths(void **state)
{
    world *w = *state;
    pith_batch b = pith_batch_new(w->g);
    static const int widths[2] = { 3, 5 };
    for (int k = 0; k < 2; k++) {
        pith_teacher *t = pith_add_teacher(&b, widths[k]);
        t->image = pith_sample(w->g, k + 1, k + 1.5, B, widths[k]);
        t->bias = pith_const(w->g, 10 * k);
    }
    assert_int_equal(b.n_teachers, 2);
    node *out[2];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(b.teachers[k].width, widths[k]);
        assert_int_equal(b.teachers[k].image->dim[1], widths[k]);
        out[k] = pith_add(pith_max(b.teachers[k].image, 0, 1), b.teachers[k].bias);
    }
    assert_true(pith_is_missing(b.teachers[1].text) && pith_is_missing(b.teachers[2].image));
    pith_plan *p = pith_plan_new(w->g, 2, out, NULL);
    assert_true(pith_run(p));
    const double first = pith_scalar(p, out[0]), second = pith_scalar(p, out[1]);
    assert_true(first > 1 && first < 1.5 && second > 12 && second < 12.5);
    pith_plan_free(p);
}

static void no_teacher_at_all(void **state)
{
    pith_graph *g = ((world *)*state)->g;
    pith_batch b = pith_batch_new(g);
    b.image = b.image_raw = pith_input(g, "image", PITH_F32, B, 3);
    b.text = b.text_raw = pith_input(g, "text", PITH_F32, B, 3);
    b.scale = pith_const(g, 5);
    assert_true(b.teachers[0].width == 0 && b.n_teachers == 0);
    PITH_CALL(g, gradient_loss, (&b));
    said("losses/clip.c:");
    said("is the image rows of teacher 0, and this run has no teacher\n");
    said("in gradient_loss, called at ");
    for (int k = 0; k < PITH_MOST_TEACHERS; k++) assert_non_null(pith_add_teacher(&b, 3));
    assert_null(pith_add_teacher(&b, 3));
    said("at most 4 teachers");
}

/* ---- what a model gives ---- */

typedef struct {
    clip_config config;
    clip_inputs in;
    pith_batch batch;
    pith_real pixels[B * 3 * 8 * 8];
    int ids[2 * B], positions[2 * B], offsets[B + 1], last[B];
} model;

static model begin(pith_graph *g)
{
    model m = { .config = clip_config_uniform(8, 4, 16, 1, 8, 4, 20, 12, 1, 2, 10) };
    for (int k = 0; k < B * 3 * 8 * 8; k++) m.pixels[k] = (real)sin(k);
    for (int k = 0; k < 2 * B; k++) m.ids[k] = k % 7, m.positions[k] = k % 2;
    for (int k = 0; k <= B; k++) m.offsets[k] = 2 * k;
    for (int k = 0; k < B; k++) m.last[k] = 2 * k + 1;
    m.in = clip_inputs_new(g, &m.config, B, 2 * B);
    m.in.samples = 77;
    return m;
}

static pith_plan *run(const model *m, pith_graph *g, int n, node *const *out)
{
    pith_plan *p = pith_plan_new(g, n, out, NULL);
    if (!p) fail_msg("%s", pith_error());
    const pith_node *second = pith_plan_input(p, "second_pixels");
    pith_feed(p, m->in.pixels, m->pixels);
    pith_feed(p, m->in.ids, m->ids);
    pith_feed(p, m->in.positions, m->positions);
    pith_feed(p, m->in.offsets, m->offsets);
    pith_feed(p, m->in.last, m->last);
    if (second) pith_feed(p, second, m->pixels);
    if (!pith_run(p)) fail_msg("%s", pith_error());
    return p;
}

static void features_are_before_the_projection(void **state)
{
    world *w = *state;
    model m = begin(w->g);
    const pith_batch b = clip_batch(w->g, &m.config, &m.in);
    assert_int_equal(b.samples, 77);
    assert_true(b.index == m.in.index && b.epoch == m.in.epoch && b.epoch->dtype == PITH_I32);
    node *image = pith_matmul(b.image_features,
                              pith_param(w->g, "visual.proj", PITH_CONSTANT, 0, 16, 10));
    node *text = pith_matmul(b.text_features,
                             pith_param(w->g, "text_projection", PITH_CONSTANT, 0, 12, 10));
    node *out[4] = { image, b.image_raw, text, b.text_raw };
    pith_plan *p = run(&m, w->g, 4, out);
    for (int k = 0; k < 4; k += 2)
        assert_memory_equal(value_of(p, out[k]), value_of(p, out[k + 1]), sizeof(real) * B * 10);
    const int tensors = pith_store_count(w->s);
    clip_tensor *list;
    assert_int_equal(clip_tensors(&m.config, &list), tensors);
    free(list);
    pith_plan_free(p);
}

static node *two_views(const pith_batch *b)
{
    return pith_dot(b->image, pith_second_view(b).image);
}

static int named(const pith_graph *g, const char *name)
{
    int n = 0;
    for (int id = 0; id < g->n; id++) n += g->nodes[id]->name && !strcmp(g->nodes[id]->name, name);
    return n;
}

static void a_second_view_is_made_when_asked_for(void **state)
{
    world *w = *state;
    model m = begin(w->g);
    pith_batch b = clip_batch(w->g, &m.config, &m.in);
    assert_int_equal(named(w->g, "second_pixels"), 0);
    const int tensors = pith_store_count(w->s);
    pith_view kept = { 0 };
    b.second = &kept;
    pith_scope(w->g, "loss.mine");
    node *a = PITH_CALL(w->g, two_views, (&b)), *again = PITH_CALL(w->g, two_views, (&b));
    node *own = pith_param(w->g, "own", PITH_CONSTANT, 1);
    pith_unscope(w->g);
    assert_string_equal(own->name, "loss.mine.own");
    assert_int_equal(named(w->g, "second_pixels"), 1);     /* for both terms */
    assert_int_equal(pith_store_count(w->s), tensors + 1); /* the tower is the model's own */
    pith_view v = pith_second_view(&b);
    node *out[6] = { a, again, v.image, b.image, v.image_features, b.image_features };
    pith_plan *p = run(&m, w->g, 6, out);
    assert_true(fabs(pith_scalar(p, a) - B) < 1e-5 && pith_scalar(p, a) == pith_scalar(p, again));
    for (int k = 2; k < 6; k += 2) /* the same pixels, the same bits */
        assert_memory_equal(value_of(p, out[k]), value_of(p, out[k + 1]), sizeof(real) * B * 10);
    pith_plan_free(p);
}

/* Through --loss's words: terms share one second pass, and so do two losses of one batch. */
static void terms_share_it(void **state)
{
    world *w = *state;
    model m = begin(w->g);
    pith_batch b = clip_batch(w->g, &m.config, &m.in);
    pith_view kept = { 0 };
    const char *text = "#include <loss.h>\n"
                       "pith_node *loss(const pith_batch *b)\n"
                       "{ return pith_dot(b->image, pith_second_view(b).image); }\n";
    char spec[300];
    put_bytes(path_of("pull.c"), text, strlen(text));
    snprintf(spec, sizeof spec, "%s+0.5*%s+clip", path_of("pull.c"), path_of("pull.c"));
    pith_loss_spec *loss = pith_loss_parse(spec, place);
    if (!loss) fail_msg("%s", pith_error());
    assert_non_null(pith_loss_build(loss, &b));
    assert_int_equal(named(w->g, "second_pixels"), 1);
    b.second = &kept;
    assert_non_null(pith_loss_build(loss, &b));
    assert_non_null(pith_loss_build(loss, &b));
    assert_int_equal(named(w->g, "second_pixels"), 2);
    pith_loss_free(loss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(it_is_told_with_the_users_line),
        WITH_WORLD(every_op_tells_it),
        cmocka_unit_test(a_loss_hears_of_it_with_its_own_line),
        WITH_WORLD(no_teacher_at_all),
        WITH_WORLD(teachers_of_two_widths),
        WITH_WORLD(features_are_before_the_projection),
        WITH_WORLD(a_second_view_is_made_when_asked_for),
        WITH_WORLD(terms_share_it),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
