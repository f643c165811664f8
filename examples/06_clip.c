/* 06_clip.c: a tiny CLIP, from pictures to retrieval, in a few seconds.
 *
 * What one learns here: how data, models and losses meet. A split of a pack is a dataset.
 * A loader draws batches from it and lays their captions one after another, without padding, so
 * batches differ in their number of tokens. Shapes are fixed in a graph: for each of the loader's
 * few sizes the training loop asks for a graph, makes a plan of it, and keeps both; all of them
 * work on the same weights. Inputs are fed by their names.
 *
 *     build/06_clip */
#include <stdlib.h>
#include <losses/losses.h>
#include <models/models.h>
#include <train/train.h>

enum { SIDE = 16, BATCH = 64, STEPS = 200 };

typedef struct {
    pith_store *store;
    const clip_config *config;
    pith_dataset *valid; /* pairs never trained on */
    pith_loader_options loading;
} lesson;

/* The only function that a training requires: it builds the loss of a batch whose captions have so
 * many tokens. */
static pith_node *loss(void *context, pith_graph *g, int tokens)
{
    const lesson *l = context;
    const clip_inputs in = clip_inputs_new(g, l->config, BATCH, tokens);
    const pith_batch b = clip_batch(g, l->config, &in);
    return clip_loss(&b);
}

static void show(const lesson *l, const pith_host_batch *b, const pith_real *cosines)
{
    for (int i = 0; i < 12; i++) {
        const pith_real *row = cosines + i * b->pairs;
        int best = 0;
        for (int j = 1; j < b->pairs; j++) best = row[j] > row[best] ? j : best;
        printf("    %-40s looks like: %s\n", l->valid->record(l->valid, b->index[i], 0).caption,
               l->valid->record(l->valid, b->index[best], 0).caption);
    }
}

/* A value of the plan, in memory of our own. */
static pith_real *copy_value(const pith_plan *plan, const pith_node *n)
{
    pith_real *copy = malloc(sizeof *copy * pith_size(n));
    pith_value(plan, n, copy);
    return copy;
}

/* Runs both towers, without a loss, on all of the valid pairs at once. */
static pith_retrieval measure(const lesson *l, bool shown)
{
    pith_loader_options o = l->loading;
    o.dataset = l->valid, o.shuffle = false, o.batch = l->valid->count;
    pith_loader *loader = pith_loader_new(&o, 0);
    const pith_host_batch *b = pith_loader_next(loader, NULL);
    pith_graph *g = pith_graph_new(l->store, 1);
    const clip_inputs in = clip_inputs_new(g, l->config, b->pairs, b->tokens);
    const pith_batch rows = clip_batch(g, l->config, &in);
    pith_node *out[3] = { rows.image, rows.text, pith_matmul_nt(rows.image, rows.text) };
    pith_plan *plan = pith_plan_new(g, 3, out, NULL);
    pith_feed_batch(plan, b); /* every input that the plan reads, from the array of its name */
    pith_run(plan);
    pith_real *value[3];
    for (int k = 0; k < 3; k++) value[k] = copy_value(plan, out[k]);
    const pith_retrieval r = pith_measure_retrieval(b->pairs, l->config->embed, value[0], value[1],
                                                    b->caption_id);
    if (shown) show(l, b, value[2]);
    for (int k = 0; k < 3; k++) free(value[k]);
    pith_plan_free(plan);
    pith_graph_free(g);
    pith_loader_free(loader);
    return r;
}

static int evaluate(void *context, pith_metric *metrics)
{
    const pith_retrieval r = measure(context, false);
    printf("of %d pictures a caption's own is first: %.1f %% (chance %.1f), in five: %.1f\n",
           r.pictures, 100 * r.recall[0][0], 100 * r.chance[0][0], 100 * r.recall[0][1]);
    metrics[0] = (pith_metric){ "first", r.recall[0][0] };
    return 1;
}

int main(void)
{
    /* Coloured shapes, drawn by rule, in one packed file that is mapped into memory. */
    char folder[] = "/tmp/pith-lesson-XXXXXX", path[64], run[64], clean[64];
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/shapes", folder);
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(clean, sizeof clean, "rm -r %s", folder);
    pith_pack_shapes(path, SIDE, 2000, 1);
    pith_pack *pack = pith_pack_open(path);
    pith_dataset *train = pith_pack_dataset(pack, PITH_TRAIN, SIDE);
    pith_tokenizer *tokenizer = pith_tokenizer_train(pack->count, pack->caption, 200);
    /* Patches of 4 x 4 and up to 20 tokens; both towers have 2 layers of width 48. */
    const clip_config c = clip_config_uniform(SIDE, 4, 48, 2, 16, 20,
                                              pith_tokenizer_size(tokenizer), 48, 2, 3, 48);
    lesson l = { .store = pith_store_new(), .config = &c };
    l.valid = pith_pack_dataset(pack, PITH_VALID, SIDE);
    l.loading.dataset = train, l.loading.tokenizer = tokenizer;
    l.loading.batch = BATCH, l.loading.context = c.context;
    for (int k = 0; k < 3; k++) l.loading.mean[k] = c.mean[k], l.loading.std[k] = c.std[k];
    const pith_task task = { .context = &l, .loss = loss, .evaluate = evaluate };
    const pith_train_options o = { .directory = run,
                                   .steps = STEPS,
                                   .warmup = 10,
                                   .lr = 4e-3,
                                   .weight_decay = 0.1,
                                   .beta1 = 0.9,
                                   .beta2 = 0.98,
                                   .epsilon = 1e-6,
                                   .evaluate_every = 40,
                                   .seed = 1 };
    pith_train_result result;
    evaluate(&l, &(pith_metric){ 0 });
    pith_train(&task, l.store, &l.loading, &o, &result);
    printf("the loss after %d steps: %.3f\n", STEPS, result.loss);
    measure(&l, true);
    pith_store_free(l.store);
    pith_dataset_close(l.valid);
    pith_dataset_close(train);
    pith_tokenizer_free(tokenizer);
    pith_pack_close(pack);
    return system(clean);
}
