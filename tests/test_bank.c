/* test_bank.c: the loss of tests/bank.c, which keeps a memory bank, beside plain loops in double:
 * ten training steps with batches of two sizes, equal ids, ids of -1 and a step that is skipped.
 * And what does not train leaves its state alone. */
#include "tests.h"
#include "losses/losses.h"
#include "train/optim.h"

enum { SAMPLES = 9, WIDTH = 4, FEATURES = 5, SMALL = 3, LARGE = 6, STEPS = 10, BAD_STEP = 6 };
static const double momentum = 0.7, scale = 5;

/* Bank and loss differ from those of the loops by roundings alone. A number of a row is made of
 * fewer than 32 operations on numbers of about 1, and a row keeps a share of its old error, so that
 * ten steps add up to less than 320 half units in the last place. In float the logits, of size 5,
 * have as much. */
#define ALLOWED (sizeof(real) == 8 ? 1e-12 : 320 * 6e-8)

/* Captions and pictures are one trained layer over features that are fed. */
typedef struct {
    pith_graph *g;
    pith_plan *p;
    node *image, *text, *index, *loss, *ok;
    int pairs;
} program;

static program build(pith_store *s, int pairs, bool training)
{
    program p = { .g = pith_graph_new(s, 8), .pairs = pairs };
    char spec_text[64];
    pith_set_training(p.g, training);
    p.image = pith_input(p.g, "image", PITH_F32, pairs, FEATURES);
    p.text = pith_input(p.g, "text", PITH_F32, pairs, FEATURES);
    p.index = pith_input(p.g, "index", PITH_I32, pairs);
    node *w = pith_param(p.g, "w", PITH_NORMAL, 1, WIDTH, FEATURES), *gradient, *norm;
    pith_batch b = pith_batch_new(p.g);
    b.image = pith_normalize(pith_matmul_nt(p.image, w));
    b.text = pith_normalize(pith_matmul_nt(p.text, w));
    b.index = p.index;
    b.samples = SAMPLES;
    b.scale = pith_const(p.g, scale);
    snprintf(spec_text, sizeof spec_text, "tests/bank.c:m=%g", momentum);
    pith_loss_spec *spec = pith_loss_parse(spec_text, path_of("loss"));
    if (!spec) fail_msg("%s", pith_error());
    p.loss = pith_loss_build(spec, &b);
    pith_loss_free(spec);
    assert_true(pith_gradients(p.loss, 1, &w, &gradient));
    node *out[4] = { p.loss, gradient };
    int n = 2;
    if (training) {
        assert_true(pith_clip_norm(1, &gradient, 1, &norm));
        out[1] = p.ok = pith_step_ok(norm);
        out[n++] = pith_commit(p.g, p.ok);
        out[n++] = pith_adamw(1, &w, &gradient, pith_const(p.g, 0.1),
                              ((pith_adamw_options){ 0.9, 0.99, 1e-8, 0.1 }), p.ok);
    }
    p.p = pith_plan_new(p.g, n, out, NULL);
    if (!p.p) fail_msg("%s", pith_error());
    return p;
}

static void end(program *p)
{
    pith_plan_free(p->p);
    pith_graph_free(p->g);
}

typedef struct {
    real image[LARGE * FEATURES], text[LARGE * FEATURES];
    int index[LARGE];
} batch;

/* Random pairs. In every other step two are of one sample, and in every third one is padding. */
static batch make_batch(int step, int pairs)
{
    batch b;
    for (int i = 0; i < pairs * FEATURES; i++) {
        b.image[i] = (real)pith_normal_at(1, (uint64_t)step, (uint64_t)i);
        b.text[i] = (real)pith_normal_at(2, (uint64_t)step, (uint64_t)i);
    }
    for (int i = 0; i < pairs; i++) b.index[i] = (step * 4 + i * 2) % SAMPLES;
    if (step % 2 == 0) b.index[pairs - 1] = b.index[0];
    if (step % 3 == 0) b.index[1] = -1;
    if (step == BAD_STEP) b.text[0] = INFINITY;
    return b;
}

static void run(const program *p, const batch *b)
{
    pith_feed(p->p, p->image, b->image);
    pith_feed(p->p, p->text, b->text);
    pith_feed(p->p, p->index, b->index);
    if (!pith_run(p->p)) fail_msg("%s", pith_error());
}

/* ---- the same as plain loops ---- */

static void normalize(double row[WIDTH])
{
    double sum = 0;
    for (int c = 0; c < WIDTH; c++) sum += row[c] * row[c];
    for (int c = 0; c < WIDTH; c++) row[c] /= sqrt(sum);
}

static void embed(const real *x, const real *w, int pairs, double rows[][WIDTH])
{
    for (int i = 0; i < pairs; i++) {
        for (int c = 0; c < WIDTH; c++) {
            rows[i][c] = 0;
            for (int f = 0; f < FEATURES; f++)
                rows[i][c] += (double)x[i * FEATURES + f] * (double)w[c * FEATURES + f];
        }
        normalize(rows[i]);
    }
}

static double exponential(const double *a, const double *b)
{
    double cosine = 0;
    for (int c = 0; c < WIDTH; c++) cosine += a[c] * b[c];
    return exp(scale * cosine);
}

/* The loss of the old bank, which then takes the captions: the last of equal ones, as it was
 * made from the old row. */
static double loop_step(double bank[SAMPLES][WIDTH], const real *w, const batch *b, int pairs)
{
    double image[LARGE][WIDTH], text[LARGE][WIDTH], old[SAMPLES][WIDTH], loss = 0;
    embed(b->image, w, pairs, image);
    embed(b->text, w, pairs, text);
    for (int i = 0; i < pairs; i++) {
        double sum = 0;
        for (int j = 0; j < pairs; j++) sum += exponential(image[i], text[j]);
        for (int k = 0; k < SAMPLES; k++)
            if (k != b->index[i]) sum += exponential(image[i], bank[k]);
        loss -= log(exponential(image[i], text[i]) / sum) / pairs;
    }
    memcpy(old, bank, sizeof old);
    for (int i = 0; i < pairs; i++) {
        const int id = b->index[i];
        for (int c = 0; c < WIDTH && id >= 0; c++)
            bank[id][c] = momentum * old[id][c] + (1 - momentum) * text[i][c];
        if (id >= 0) normalize(bank[id]);
    }
    return loss;
}

static void hold(const char *what, int step, double found, double wanted)
{
    if (!(fabs(found - wanted) <= ALLOWED))
        fail_msg("%s after step %d: %.9g, the loop has %.17g", what, step, found, wanted);
}

static void is_the_loop(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    program p[2] = { build(s, SMALL, true), build(s, LARGE, true) };
    double bank[SAMPLES][WIDTH];
    const real *first = stored(s, "loss.bank.bank");
    for (int i = 0; i < SAMPLES * WIDTH; i++) bank[i / WIDTH][i % WIDTH] = (double)first[i];
    assert_true(bank[0][0] != 0 && bank[8][3] != 0 && bank[0][0] != bank[0][1]);
    for (int step = 0; step < STEPS; step++) {
        const program *now = &p[step % 3 == 1];
        const batch b = make_batch(step, now->pairs);
        const real *w = stored(s, "w"), *before = stored(s, "loss.bank.bank");
        run(now, &b);
        const real *after = stored(s, "loss.bank.bank");
        assert_int_equal(pith_scalar(now->p, now->ok), step != BAD_STEP);
        if (step == BAD_STEP) {
            assert_memory_equal(before, after, sizeof *after * SAMPLES * WIDTH);
            assert_memory_equal(w, stored(s, "w"), sizeof *w * WIDTH * FEATURES);
            continue;
        }
        const double loss = loop_step(bank, w, &b, now->pairs);
        hold("the loss", step, pith_scalar(now->p, now->loss), loss);
        for (int i = 0; i < SAMPLES * WIDTH; i++)
            hold("the bank", step, (double)after[i], bank[i / WIDTH][i % WIDTH]);
    }
    for (int k = 0; k < 2; k++) end(&p[k]);
    pith_store_free(s);
}

/* Loss and gradient without a commit, as in pith run and pith check: the same value twice, and not
 * a bit of the store changed. In training mode, too, it is the commit that writes. */
static void only_a_commit_writes(void **state)
{
    (void)state;
    pith_store *s = pith_store_new();
    program training = build(s, LARGE, true), plain = build(s, LARGE, false);
    batch b = make_batch(1, LARGE);
    run(&training, &b);
    const real *bank = stored(s, "loss.bank.bank"), *w = stored(s, "w");
    run(&plain, &b);
    const double once = pith_scalar(plain.p, plain.loss);
    run(&plain, &b);
    assert_true(once == pith_scalar(plain.p, plain.loss));
    assert_memory_equal(bank, stored(s, "loss.bank.bank"), sizeof *bank * SAMPLES * WIDTH);
    assert_memory_equal(w, stored(s, "w"), sizeof *w * WIDTH * FEATURES);
    run(&training, &b);
    assert_true(memcmp(bank, stored(s, "loss.bank.bank"), sizeof *bank * SAMPLES * WIDTH) != 0);
    end(&training);
    end(&plain);
    pith_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_loop),
        cmocka_unit_test(only_a_commit_writes),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
