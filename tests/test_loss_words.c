/* test_loss_words.c: losses as they are written after --loss, and losses given as C files: what is
 * accepted, what is refused, and with which message. */
#include "tests.h"
#include "losses/losses.h"

enum { B = 5, D = 4 };

static pith_node *filled(pith_graph *g, int width, double phase)
{
    pith_real x[64];
    for (int k = 0; k < B * width; k++) x[k] = (pith_real)sin(k + phase);
    return pith_normalize(pith_const_array(g, PITH_F32, x, B, width));
}

/* A batch without a teacher, or with one that has no scale. */
static pith_batch make_batch(pith_graph *g, int teacher_width)
{
    pith_batch b = pith_batch_new(g);
    b.image = filled(g, D, 1);
    b.text = filled(g, D, 2);
    b.scale = pith_const(g, 5);
    if (!teacher_width) return b;
    pith_teacher *teacher = pith_add_teacher(&b, teacher_width);
    teacher->image = filled(g, teacher_width, 3);
    teacher->text = filled(g, teacher_width, 4);
    return b;
}

/* ---- words ---- */

static void refused(const char *spec, const char *part)
{
    assert_null(pith_loss_parse(spec, place));
    said(part);
}

static void words_are_checked(void **state)
{
    (void)state;
    refused("infonce", "there is no loss \"infonce\": expected clip, siglip, affinity, feature");
    refused("clip+", "a term of the loss is empty");
    refused("nan*clip", "loss term \"nan*clip\": expected a number before *");
    refused("inf*clip", "expected a number before *");
    refused("affinity:scale=nan", "the value of option \"scale=nan\" is not a number");
    refused("affinity:scale=warm", "the value of option \"scale=warm\" is not a number");
    refused("affinity:scale", "option \"scale\" is not KEY=VALUE");
    refused("affinity:scale=50,beta=1", "loss affinity has no option beta; it has scale=0");
    refused("affinity:cale=50", "loss affinity has no option cale");
    refused("clip:scale=50", "loss clip has no option scale: it has none");
    refused("twice*clip", "expected a number before *");
    refused("nowhere.c", "nowhere.c: No such file");
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const pith_batch b = make_batch(g, 0);
    pith_loss_spec *spec = pith_loss_parse("clip+affinity", place);
    assert_non_null(spec);
    assert_true(pith_loss_wants_teacher(spec));
    assert_null(pith_loss_build(spec, &b));
    said("loss affinity needs a teacher");
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
}

static double value_at(const char *text, double progress)
{
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    pith_batch b = make_batch(g, 0);
    b.progress = pith_const(g, progress);
    pith_loss_spec *spec = pith_loss_parse(text, place);
    pith_node *y = pith_loss_build(spec, &b);
    pith_plan *p = pith_plan_new(g, 1, &y, NULL);
    assert_true(pith_run(p));
    const double value = pith_scalar(p, y);
    pith_plan_free(p);
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
    return value;
}

static void spans(void **state)
{
    (void)state;
    const char *text = "3*clip @ 0 - 0.25 + clip@0.25-0.75+siglip:scale=5@0.75-1";
    const double clip = value_at("clip", 0), siglip = value_at("siglip:scale=5", 0);
    const double at[] = { 0, 0.2, 0.25, 0.5, 0.75, 0.9, 1 };
    const double wanted[] = { 3 * clip, 3 * clip, clip, clip, siglip, siglip, siglip };
    for (int k = 0; k < 7; k++) assert_true(fabs(value_at(text, at[k]) - wanted[k]) < 1e-6);
    assert_true(fabs(value_at("clip+clip@0.5-1", 0.6) - 2 * clip) < 1e-6); /* they overlap */
    refused("clip@0.5", "loss clip: expected two shares of the training after @, as in @0.2-0.6");
    refused("clip@0.6-0.2", "found \"0.6-0.2\"");
    refused("clip@0-2", "found \"0-2\"");
    refused("clip@0-nan", "found \"0-nan\"");
    refused("siglip:scale=5@", "found \"\"");
    refused("clip@0-0.5", "no term of the loss counts from 0.5 to 1 of the training");
    refused("clip@0.5-1+siglip@0.2-0.6", "no term of the loss counts from 0 to 0.2");
    refused("clip@0-0.3+siglip@0.4-0.6+siglip@0.5-1", "counts from 0.3 to 0.4");
}

/* ---- files ---- */

static void files_of(const char *text, int n, const char *first)
{
    char *file = pith_loss_file(text, 0), *next = pith_loss_file(text, n);
    assert_null(next);
    if (n) assert_string_equal(file, first);
    else assert_null(file);
    free(file);
}

static const char *write_file(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", place, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

/* A path may hold any character; options that the file does not read are refused. */
static void names_of_files(void **state)
{
    (void)state;
    char text[600];
    const char *body = "#include <loss.h>\n"
                       "pith_node *loss(const pith_batch *b)\n"
                       "{\n"
                       "    const double far = pith_option(b, \"far\", 1);\n"
                       "    return pith_mul_scalar(pith_dot(b->image, b->text), far);\n"
                       "}\n";
    static const char *const names[] = { "a+b.c", "2*x:y.c", "-dash.c", "plain.c" };
    for (int k = 0; k < 4; k++) {
        const char *path = write_file(names[k], body);
        snprintf(text, sizeof text, "0.5*%s:far=2 + clip", path);
        files_of(text, 1, path);
        pith_loss_spec *spec = pith_loss_parse(text, place);
        if (!spec) fail_msg("%s: %s", text, pith_error());
        pith_loss_free(spec);
    }
    files_of("clip+0.5*affinity:scale=50", 0, NULL);
    files_of("nowhere.c+clip", 1, "nowhere.c");
    static const char *const options[] = { "far=2", "fra=2", "far=2,far=3" };
    for (int k = 0; k < 3; k++) {
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 1);
        pith_batch b = make_batch(g, 0);
        snprintf(text, sizeof text, "%s:%s", write_file("plain.c", body), options[k]);
        pith_loss_spec *spec = pith_loss_parse(text, place);
        assert_int_equal(spec && pith_loss_build(spec, &b), k == 0);
        if (k) said(k == 1 ? "has no option fra; it reads far" : "option far is given twice");
        pith_loss_free(spec);
        pith_graph_free(g);
        pith_store_free(s);
    }
}

static void a_file_is_a_loss(void **state)
{
    (void)state;
    char text[300];
    snprintf(text, sizeof text, "2*%s:far=2.5",
             write_file("mine.c",
                        "#include <loss.h>\n"
                        "pith_node *loss(const pith_batch *b)\n"
                        "{\n"
                        "    pith_node *w = pith_param(b->graph, \"weight\", PITH_CONSTANT, 0.5);\n"
                        "    pith_node *cosine = pith_sum(pith_mul(b->image, b->text), -1);\n"
                        "    return pith_mean(pith_sub(pith_mul_scalar(w, "
                        "pith_option(b, \"far\", 1)), cosine), PITH_ALL);\n"
                        "}\n"));
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const pith_batch b = make_batch(g, 0);
    pith_loss_spec *spec = pith_loss_parse(text, place);
    if (!spec) fail_msg("%s", pith_error());
    assert_false(pith_loss_wants_teacher(spec));
    pith_node *outputs[2] = { pith_loss_build(spec, &b) }, **params;
    assert_non_null(outputs[0]);
    assert_int_equal(pith_params(g, &params), 1);
    assert_string_equal(params[0]->name, "loss.mine.weight");
    assert_true(pith_grad(outputs[0], 1, params, outputs + 1));
    pith_node *cosine = pith_mean(pith_sum(pith_mul(b.image, b.text), -1), PITH_ALL);
    pith_plan *p = pith_plan_new(g, 3, (pith_node *[]){ outputs[0], outputs[1], cosine }, NULL);
    if (!p) fail_msg("%s", pith_error());
    assert_true(pith_run(p));
    assert_true(fabs(pith_scalar(p, outputs[0]) - 2 * (2.5 * 0.5 - pith_scalar(p, cosine))) < 1e-6);
    assert_true(fabs(pith_scalar(p, outputs[1]) - 5) < 1e-6);
    pith_plan_free(p);
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
    refused(write_file("empty.c", "int nothing;\n"),
            "has no function pith_node *loss(const pith_batch *b)");
}

static void a_files_errors_reach_the_user(void **state)
{
    (void)state;
    char output[256], text[8192] = "", path[256];
    const char *typo = write_file(
        "typo.c",
        "#include <loss.h>\n"
        "pith_node *loss(const pith_batch *b) { return pith_men(b->image, PITH_ALL); }\n");
    snprintf(path, sizeof path, "%s", typo);
    snprintf(output, sizeof output, "%s/stderr", place);
    fflush(stderr);
    const int before = dup(2);
    FILE *f = freopen(output, "w+", stderr);
    assert_non_null(f);
    pith_loss_spec *none = pith_loss_parse(path, place);
    dup2(before, 2);
    close(before);
    assert_null(none);
    said("typo.c: it does not compile");
    FILE *told = fopen(output, "r");
    assert_true(told && fread(text, 1, sizeof text - 1, told) > 0);
    fclose(told);
    if (!strstr(text, "typo.c:2:") || !strstr(text, "pith_men"))
        fail_msg("the compiler said: %s", text);

    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 1);
    const pith_batch b = make_batch(g, 6);
    pith_loss_spec *spec = pith_loss_parse(
        write_file(
            "wrong.c",
            "#include <loss.h>\n"
            "pith_node *loss(const pith_batch *b)\n"
            "{\n"
            "    return pith_mean(pith_matmul_nt(b->image, b->teachers[0].text), PITH_ALL);\n"
            "}\n"),
        place);
    assert_non_null(spec);
    pith_loss_build(spec, &b);
    assert_non_null(pith_graph_error(g));
    said("wrong.c:4: matmul");
    said("(5, 4)");
    said("(5, 6)");
    said("in wrong, called at ");
    pith_loss_free(spec);
    pith_graph_free(g);
    pith_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_checked),
        cmocka_unit_test(spans),
        cmocka_unit_test(names_of_files),
        cmocka_unit_test(a_file_is_a_loss),
        cmocka_unit_test(a_files_errors_reach_the_user),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
