/* test_chains.c: NVRTC compiles every chain of the ops' examples, their gradients, and of small
 * models' training, for each architecture. It takes no GPU. */
#include "tests.h"
#if !defined PITH_WITH_CUDA || defined PITH_EMULATED
int main(void)
{
    puts("skipped: built without CUDA, or against the emulated device");
    return 0;
}
#else
#include "cuda/compile.h"
#include "losses/losses.h"
#include "models/models.h"
#include "ops_list.h"

enum { MOST_CHAINS = 20000, PROGRAM = 1 << 20 };
static uint64_t seen[MOST_CHAINS];
static int n_seen;
static char *source;
static size_t size;
static FILE *file;

static bool is_new(uint64_t hash)
{
    for (int k = 0; k < n_seen; k++)
        if (seen[k] == hash) return false;
    assert_true(n_seen < MOST_CHAINS);
    seen[n_seen++] = hash;
    return true;
}

static void compile(void)
{
    fclose(file);
    static const int capability[] = { 75, 80, 90 };
    for (size_t k = 0; k < sizeof capability / sizeof *capability && size; k++) {
        size_t bytes = 0;
        char *code = pith_cuda_code(source, capability[k], &bytes);
        if (!code) fail_msg("%s", pith_error());
        assert_true(bytes > 0);
        free(code);
    }
    free(source);
    source = NULL, size = 0;
    file = open_memstream(&source, &size);
}

/* The chains of a plan that were not met before. */
static void add(pith_graph *g, int n, node *const *outputs)
{
    pith_plan *p = pith_plan_new(g, n, outputs, NULL);
    if (!p) fail_msg("%s", pith_error());
    for (int k = 0; k < p->n_steps; k++) {
        if (!p->steps[k].chain) continue;
        char *text = pith_chain_source(&p->steps[k]);
        if (!text) fail_msg("%s", pith_error());
        if (is_new(pith_hash(text, 0)))
            fprintf(file, "PITH_CHAIN(chain_%d, %d, 3)%s", n_seen,
                    p->steps[k].n_in + p->steps[k].n_out, text);
        free(text);
    }
    pith_plan_free(p);
    fflush(file);
    if (size > PROGRAM) compile();
}

static void add_gradients(pith_graph *g, node *loss)
{
    node *wrt[64], *gradient[64], *all[65];
    int n = 0;
    for (int id = 0; id < pith_graph_size(g) && n < 64; id++) {
        node *x = pith_graph_node(g, id);
        const bool sample = strcmp(x->op->name, "input") == 0 && x->attr && x->dtype == PITH_F32;
        if (sample || pith_is_param(x)) wrt[n++] = x;
    }
    if (!pith_grad(loss, n, wrt, gradient)) fail_msg("%s", pith_error());
    memcpy(all, gradient, sizeof *all * (size_t)n);
    all[n] = loss;
    add(g, n + 1, all);
}

static void examples(void **state)
{
    (void)state;
    if (pith_cuda_not_compiled(90)) {
        print_message("skipped: %s\n", pith_cuda_not_compiled(90));
        skip();
    }
    file = open_memstream(&source, &size);
    for (const pith_op *const *op = every_op; *op; op++)
        for (int i = 0; (*op)->example; i++) {
            pith_store *s = pith_store_new();
            pith_graph *g = pith_graph_new(s, 7);
            pith_set_training(g, true);
            node *y = (*op)->example(g, i);
            if (y && y->dtype == PITH_F32 && !(*op)->no_grad)
                add_gradients(g, pith_sum(pith_square(y), PITH_ALL));
            else if (y) add(g, 1, &y);
            pith_graph_free(g);
            pith_store_free(s);
            if (!y) break;
        }
    static const char *const models[] = { "16/4:w32l2h2+w32l2h2c8v40:e16",
                                          "16/4:w32l2h2s2+w32l2h2c8v40:e16",
                                          "32/r1:w8l1.1.1.1+w32l2h2c8v40:e16" };
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        clip_config c;
        assert_true(clip_config_named(&c, models[k]));
        pith_store *s = pith_store_new();
        pith_graph *g = pith_graph_new(s, 7);
        pith_set_training(g, true);
        const clip_inputs in = clip_inputs_new(g, &c, 12, 60);
        const pith_batch b = clip_batch(g, &c, &in);
        add_gradients(g, clip_loss(&b));
        pith_graph_free(g);
        pith_store_free(s);
    }
    compile();
    fclose(file);
    print_message("%d chains, each for three architectures\n", n_seen);
    assert_true(n_seen > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(examples) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
#endif
