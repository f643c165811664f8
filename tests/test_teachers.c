/* test_teachers.c: losses that take several teachers. */
#include "tests.h"
#include "losses/losses.h"

enum { B = 5, D = 4 };

/* The loss of teacher 0 (a), 1 (b), or of both. */
static double of_teachers(const char *spec, bool a, bool b)
{
    enum { W = 6 };
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_batch batch = pith_batch_new(g);
    pith_real x[6][B * W];
    for (int k = 0; k < 6 * B * W; k++)
        x[k / (B * W)][k % (B * W)] = (pith_real)pith_normal_at(9, 0, (uint64_t)k);
    batch.image = pith_normalize(pith_const_array(g, PITH_F32, x[0], B, D));
    batch.text = pith_normalize(pith_const_array(g, PITH_F32, x[1], B, D));
    batch.scale = pith_const(g, 4);
    for (int k = 0; k < 2; k++) {
        if (!(k ? b : a)) continue;
        const int width = k ? W : D; /* of different widths */
        pith_teacher *t = pith_add_teacher(&batch, width);
        t->image = pith_normalize(pith_const_array(g, PITH_F32, x[2 + 2 * k], B, width));
        t->text = pith_normalize(pith_const_array(g, PITH_F32, x[3 + 2 * k], B, width));
        t->scale = pith_const(g, 3 + 5 * k);
    }
    pith_loss_spec *parsed = pith_loss_parse(spec, ".");
    pith_node *loss = pith_loss_build(parsed, &batch);
    pith_plan *p = loss ? pith_plan_new(g, 1, &loss, NULL) : NULL;
    if (!p || !pith_run(p)) fail_msg("%s: %s", spec, pith_error());
    const double value = pith_scalar(p, loss);
    pith_plan_free(p);
    pith_loss_free(parsed);
    pith_graph_free(g);
    pith_store_free(s);
    return value;
}

/* Probabilities are averaged after a softmax each. The cross-entropy with the geometric mean of
 * them, which is what averaged logits come to, is another number. */
static void several_teachers(void **state)
{
    (void)state;
    static const char *const names[] = { "affinity", "relational", "affinity:alpha=0.4" };
    for (int k = 0; k < 3; k++) {
        const double a = of_teachers(names[k], true, false), b = of_teachers(names[k], false, true),
                     both = of_teachers(names[k], true, true);
        assert_true(fabs(both - (a + b) / 2) < 1e-5 && fabs(a - b) > 1e-2);
    }
    const double one = of_teachers("affinity", true, false),
                 same = of_teachers("affinity:logits=1", true, false),
                 both = of_teachers("affinity:logits=1", true, true);
    assert_true(fabs(one - same) < 1e-6);
    assert_true(fabs(both - of_teachers("affinity", true, true)) > 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(several_teachers) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
