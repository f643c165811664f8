/* 06_clip.c: a tiny CLIP, from pictures to retrieval, in a few seconds.
 *
 * What one learns here: how data, models and losses meet. A loader lays the captions of a batch one
 * after another, without padding, so batches differ in their number of tokens. Shapes are fixed in
 * a graph: each of the loader's few sizes gets a graph and a plan, all over the same weights.
 *
 *     build/06_clip */
#include <stdlib.h>
#include <unistd.h>
#include <losses/losses.h>
#include <models/models.h>
#include <train/train.h>

enum { SIDE = 16, BATCH = 64, STEPS = 200, SIZES = 6, MOST = 64 };

typedef struct {
    pith_graph *g;
    pith_plan *plan;
    clip_inputs in;
    pith_batch towers;
    pith_node *loss, *lr, *cosines;
} program;

/* For batches of `pairs` with `tokens`: a whole training step, or the two towers alone. */
static program build(pith_store *store, const clip_config *c, int pairs, int tokens, bool training)
{
    program p = { .g = pith_graph_new(store, 1) };
    p.in = clip_inputs_new(p.g, c, pairs, tokens);
    p.towers = clip_batch(p.g, c, &p.in);
    p.cosines = pith_matmul_nt(p.towers.image, p.towers.text);
    pith_node *out[] = { p.towers.image, p.towers.text, p.cosines };
    if (training) {
        pith_node **params, *gradients[MOST];
        const int n = pith_params(p.g, &params);
        p.loss = out[0] = clip_loss(&p.towers);
        p.lr = pith_input(p.g, "lr", PITH_F32);
        pith_grad(p.loss, n, params, gradients);
        out[1] = pith_adamw(n, params, gradients, p.lr,
                            (pith_adamw_options){ 0.9, 0.98, 1e-6, 0.1 }, NULL);
    }
    p.plan = pith_plan_new(p.g, training ? 2 : 3, out, NULL);
    return p;
}

static void run(const program *p, const pith_host_batch *b)
{
    pith_feed(p->plan, p->in.pixels, b->pixels);
    pith_feed(p->plan, p->in.ids, b->ids);
    pith_feed(p->plan, p->in.positions, b->positions);
    pith_feed(p->plan, p->in.offsets, b->offsets);
    pith_feed(p->plan, p->in.last, b->last);
    pith_run(p->plan);
}

/* A value of the plan, in memory of our own. */
static pith_real *copy_value(const pith_plan *plan, const pith_node *n)
{
    pith_real *copy = malloc(sizeof *copy * pith_size(n));
    pith_value(plan, n, copy);
    return copy;
}

/* Pictures and captions never trained on, all of them at once. `o` is a copy. */
static void evaluate(pith_store *store, const clip_config *c, pith_loader_options o, int shown)
{
    o.split = PITH_VALID, o.shuffle = false, o.batch = 0;
    for (int i = 0; i < o.pack->count; i++) o.batch += o.pack->split[i] == PITH_VALID;
    pith_loader *loader = pith_loader_new(&o, 0);
    const pith_host_batch *b = pith_loader_next(loader, &(double){ 0 });
    program p = build(store, c, b->pairs, b->tokens, false);
    run(&p, b);
    pith_real *image = copy_value(p.plan, p.towers.image);
    pith_real *text = copy_value(p.plan, p.towers.text);
    pith_real *cosines = copy_value(p.plan, p.cosines);
    const pith_retrieval r = pith_measure_retrieval(b->pairs, c->embed, image, text, b->caption_id);
    printf("of %d pictures a caption's own is first: %.1f %% (chance %.1f), in five: %.1f (%.1f)\n",
           r.pictures, 100 * r.recall[0][0], 100 * r.chance[0][0], 100 * r.recall[0][1],
           100 * r.chance[0][1]);
    for (int i = 0; i < shown; i++) {
        const pith_real *row = cosines + i * b->pairs;
        int best = 0;
        for (int j = 1; j < b->pairs; j++) best = row[j] > row[best] ? j : best;
        printf("    %-40s looks like: %s\n", o.pack->caption[b->index[i]],
               o.pack->caption[b->index[best]]);
    }
    free(image), free(text), free(cosines);
    pith_plan_free(p.plan);
    pith_graph_free(p.g);
    pith_loader_free(loader);
}

int main(void)
{
    /* Coloured shapes, drawn by rule, in one packed file that is mapped into memory. */
    char path[] = "/tmp/pith-lesson-XXXXXX";
    if (close(mkstemp(path)) || !pith_pack_shapes(path, SIDE, 2000, 1)) return 1;
    pith_pack *pack = pith_pack_open(path);
    pith_tokenizer *words = pith_tokenizer_train(pack->count, pack->caption, 200);
    /* Patches of 4 x 4 and up to 20 tokens; both towers have 2 layers of width 48. */
    const clip_config c = clip_config_uniform(SIDE, 4, 48, 2, 16, 20, pith_tokenizer_size(words),
                                              48, 2, 3, 48);
    pith_loader_options o = { pack, words, PITH_TRAIN, BATCH, c.context, SIDE, .shuffle = true };
    for (int k = 0; k < 3; k++) o.mean[k] = c.mean[k], o.std[k] = c.std[k];

    pith_store *store = pith_store_new();
    program programs[SIZES] = { { 0 } };
    int sizes[SIZES];
    pith_loader *loader = pith_loader_new(&o, 0);
    const int n = pith_loader_sizes(loader, sizes);
    evaluate(store, &c, o, 0);
    for (int step = 0; step < STEPS; step++) {
        const pith_real lr = (pith_real)pith_lr(PITH_COSINE, 4e-3, step, 10, STEPS);
        const pith_host_batch *b = pith_loader_next(loader, &(double){ 0 });
        program *p = programs;
        while (sizes[p - programs] != b->tokens) p++;
        if (!p->plan) *p = build(store, &c, BATCH, b->tokens, true);
        pith_feed(p->plan, p->lr, &lr);
        run(p, b);
        if (step % 40 == 39)
            printf("    step %3d: loss %.3f\n", step + 1, pith_scalar(p->plan, p->loss));
    }
    evaluate(store, &c, o, 12);
    for (int k = 0; k < n; k++) pith_plan_free(programs[k].plan), pith_graph_free(programs[k].g);
    pith_loader_free(loader);
    pith_tokenizer_free(words);
    pith_pack_close(pack);
    pith_store_free(store);
    return unlink(path);
}
