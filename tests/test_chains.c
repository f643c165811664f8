/* test_chains.c: NVRTC compiles every chain of the ops' examples, their gradients, and of small
 * models' training, with clipping and updates, in f32 and bf16, for each architecture. It takes no
 * GPU. */
#include "tests.h"
#if !defined PITH_WITH_CUDA || defined PITH_EMULATED
int main(void)
{
    puts("skipped: built without CUDA, or against the emulated device");
    return 0;
}
#else
#include "cuda/compile.h"
#include "ops_list.h"
#include "subjects.h"

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

/* What was added, for each architecture that has it: plans in bf16 want 80. */
static void compile(bool bf16)
{
    fclose(file);
    static const int capability[] = { 75, 80, 90 };
    for (size_t k = bf16; k < sizeof capability / sizeof *capability && size; k++) {
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
static void add(pith_graph *g, int n, node *const *outputs, bool bf16)
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
    if (size > PROGRAM) compile(bf16);
}

static void *no_stream(void) { return NULL; }

/* Casts stand where the ops of the device want them, which may be elsewhere than the CPU's: the
 * graph is rounded as one of a device, and then planned here, where there is none. */
static void add_rounded(pith_graph *g, int n, node *const *outputs)
{
    pith_store *s = pith_own_store(g);
    const pith_backend *here = s->on, device = { .stream = no_stream };
    pith_rounded r;
    s->on = &device;
    const bool good = pith_round_graph(g, n, outputs, &r);
    s->on = here;
    if (!good) fail_msg("%s", pith_error());
    add(r.graph, n, r.outputs, true);
    pith_graph_free(r.graph);
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
    add(g, n + 1, all, false);
}

static void examples(void)
{
    for (const pith_op *const *op = every_op; *op; op++)
        for (int i = 0; (*op)->example; i++) {
            pith_store *s = pith_store_new();
            pith_graph *g = pith_graph_new(s, 7);
            pith_set_training(g, true);
            node *y = (*op)->example(g, i);
            if (y && y->dtype == PITH_F32 && !(*op)->no_grad)
                add_gradients(g, pith_sum(pith_square(y), PITH_ALL));
            else if (y) add(g, 1, &y, false);
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
}

/* Whole steps. Those in bf16 come last: of their chains only what is new is left. */
static void steps_of(const subject *list, size_t count, bool bf16)
{
    for (size_t k = 0; k < count; k++) {
        pith_store *s = pith_store_new();
        const training t = build(s, &list[k]);
        if (bf16) add_rounded(t.g, t.n_outputs, t.outputs);
        else add(t.g, t.n_outputs, t.outputs, false);
        pith_graph_free(t.g);
        pith_store_free(s);
    }
}

static void chains(void **state)
{
    (void)state;
    if (pith_cuda_not_compiled(90)) {
        print_message("skipped: %s\n", pith_cuda_not_compiled(90));
        skip();
    }
    file = open_memstream(&source, &size);
    examples();
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const int before = n_seen;
        steps_of(models_trained, sizeof models_trained / sizeof *models_trained, bf16);
        steps_of(papers_trained, sizeof papers_trained / sizeof *papers_trained, bf16);
        compile(bf16);
        print_message("%d chains of whole steps%s\n", n_seen - before, bf16 ? " in bf16" : "");
        assert_true(n_seen - before > 50);
    }
    fclose(file);
    print_message("%d chains, for each architecture\n", n_seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(chains) };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
#endif
