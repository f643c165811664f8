/* task.c: trains CLIP by core/train: builds the graph with a loss and perhaps a teacher's stored
 * rows, evaluates, and exports. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "scratch.h"
#include "task.h"

typedef struct {
    model *m;
    const pith_pack *pack;
    const pith_loss_spec *loss;
    const stored_teachers *teachers;
    const stored_clusters *clusters;
    const pith_dataset *data;
    pith_synthetic synthetic;
    double weight; /* of the synthetic captions' loss, which is added with PITH_ADD */
    bool averaged; /* are the averaged weights the ones that are measured and exported? */
    const phase *phase;
    int batch;
    double masked; /* share of patches */
} task;

static bool is_masked(const task *t) { return t->phase->original; }

static pith_node *teacher_rows(pith_graph *g, int k, const char *what, int batch, int width)
{
    char name[40];
    snprintf(name, sizeof name, "teachers.%d.%s", k, what);
    return pith_input(g, name, PITH_F32, batch, width);
}

/* The loss of the synthetic captions: the same loss, of a batch in which they are the captions. Its
 * parameters are the same, for their names are. */
static pith_node *build_synthetic(const task *t, pith_batch b, const clip_inputs *in)
{
    b.text = b.synthetic_text;
    b.text_raw = b.synthetic_text_raw;
    b.text_features = b.synthetic_text_features;
    b.caption_id = in->synthetic_caption_id;
    for (int k = 0; k < b.n_teachers; k++) b.teachers[k].text = b.teachers[k].synthetic_text;
    pith_node *loss = pith_loss_build(t->loss, &b);
    return loss ? pith_watch(loss, "loss.synthetic") : NULL;
}

static pith_node *build_loss(void *context, pith_graph *g, int tokens)
{
    const task *t = context;
    const bool add = t->synthetic == PITH_ADD;
    clip_config c = t->m->config;
    clip_masks masks[2];
    if (is_masked(t)) clip_mask_towers(g, &c, masks);
    clip_inputs in = add ? clip_inputs_with_synthetic(g, &c, t->batch, tokens)
                         : clip_inputs_new(g, &c, t->batch, tokens);
    in.samples = t->data->count;
    in.masked = t->masked;
    pith_batch b = clip_batch(g, &c, &in);
    for (int k = 0; t->teachers && k < t->teachers->n; k++) {
        const int width = t->teachers->at[k].width;
        pith_teacher *teacher = pith_add_teacher(&b, width);
        teacher->image = teacher_rows(g, k, "image", t->batch, width);
        teacher->text = teacher_rows(g, k, "text", t->batch, width);
        if (add) teacher->synthetic_text = teacher_rows(g, k, "synthetic_text", t->batch, width);
        teacher->scale = pith_const(g, t->teachers->at[k].scale);
    }
    clusters_add(t->clusters, t->batch, &b);
    pith_view second = { 0 }; /* of both losses, for the pictures are the same */
    b.second = &second;
    pith_node *loss = pith_loss_build(t->loss, &b);
    if (loss && add) {
        pith_node *synthetic = build_synthetic(t, b, &in);
        loss = synthetic ? pith_add(loss, pith_mul_scalar(synthetic, t->weight)) : NULL;
    }
    if (!loss || !is_masked(t)) return loss;
    return pith_add(loss, clip_sparsity_loss(g, &c, t->phase->original, &t->phase->sparsity));
}

/* Fetches clusters, or a teacher's rows, for a batch; called only if the loss reads them. */
static const void *fetch(void *context, const char *name, const pith_host_batch *b)
{
    const task *t = context;
    int k;
    char what[16];
    const void *clusters = clusters_fetch(t->clusters, t->data, name, b);
    if (clusters) return clusters;
    if (!t->teachers || sscanf(name, "teachers.%d.%15s", &k, what) != 2 || k >= t->teachers->n)
        return NULL;
    const pith_embeddings *stored = t->teachers->at[k].rows;
    pith_real *image = t->teachers->at[k].image, *text = t->teachers->at[k].text,
              *synthetic = t->teachers->at[k].synthetic;
    if (!strcmp(what, "image")) return pith_embeddings_gather(stored, b, image, NULL, NULL), image;
    if (!strcmp(what, "text")) return pith_embeddings_gather(stored, b, NULL, text, NULL), text;
    if (t->synthetic != PITH_ADD || strcmp(what, "synthetic_text")) return NULL;
    return pith_embeddings_gather(stored, b, NULL, NULL, synthetic), synthetic;
}

/* The model that is measured and exported: the trained one, or a copy with the averages in place of
 * the weights, or without what its masks leave out. */
static model evaluated_model(const task *t)
{
    model m = *t->m;
    if (is_masked(t)) clip_fuse(&t->m->config, t->m->store, &m.config, m.store = new_store());
    else if (t->averaged) m.store = clip_own(&m.config, m.store, pith_store_device(m.store), true);
    return m;
}

static void free_evaluated(const task *t, model *m)
{
    if (m->store != t->m->store) pith_store_free(m->store);
}

static int evaluate(void *context, pith_metric *metrics)
{
    /* means of both directions */
    static const char *const name[3] = { "valid.r1", "valid.r5", "valid.r10" };
    const task *t = context;
    const int valid = pith_pack_split(t->pack, "valid");
    if (!split_size(t->pack, valid)) return 0;
    model m = evaluated_model(t);
    pairs p = encode_split(&m.config, m.store, m.tokenizer, t->pack, valid);
    const pith_retrieval r = measure_pairs(&p);
    int n = 0, classes;
    for (int i = 0; i < 3; i++)
        metrics[n++] = (pith_metric){ name[i], (r.recall[0][i] + r.recall[1][i]) / 2 };
    pith_real *rows = class_rows(&m.config, m.store, m.tokenizer, t->pack, &classes);
    if (classes > 1)
        metrics[n++] = (pith_metric){
            "valid.zero_shot",
            pith_measure_classes(p.n, p.width, p.image, p.label, classes, rows).top1
        };
    free(rows);
    pairs_free(&p);
    free_evaluated(t, &m);
    return n;
}

static bool export_model(void *context, const char *directory)
{
    model m = evaluated_model(context);
    save_model(&m, directory);
    free_evaluated(context, &m);
    return true;
}

/* ---- the texts of a recipe ---- */

static pith_schedule parse_schedule(const char *name)
{
    if (strcmp(name, "cosine") && strcmp(name, "constant"))
        pith_raise("--schedule: expected cosine or constant, found \"%s\"", name);
    return strcmp(name, "cosine") ? PITH_CONSTANT_LR : PITH_COSINE;
}

static bool fits(const char *pattern, const clip_config *c)
{
    clip_tensor *list;
    const int n = clip_tensors(c, &list);
    int k = 0;
    while (k < n && fnmatch(pattern, list[k].name, 0)) k++;
    free(list);
    return k < n;
}

/* One pattern after another of the copy of --freeze in *rest; NULL after the last. */
static const char *next_pattern(char **rest)
{
    char *pattern;
    do pattern = strsep(rest, ", ");
    while (pattern && !*pattern);
    return pattern;
}

void check_freeze(const recipe *r, const clip_config *c)
{
    char *copy = strdup(r->freeze ? r->freeze : ""), *rest = copy;
    for (const char *pattern; (pattern = next_pattern(&rest));)
        if (strncmp(pattern, "loss.", 5) && !fits(pattern, c))
            pith_raise(
                "--freeze: no parameter is called \"%s\": pith inspect MODEL --names lists them",
                pattern);
    free(copy);
}

static void freeze(const recipe *r, pith_store *s)
{
    char *copy = strdup(r->freeze ? r->freeze : ""), *rest = copy;
    for (const char *pattern; (pattern = next_pattern(&rest));) pith_store_freeze(s, pattern);
    free(copy);
}

/* ---- a run ---- */

model start_model(const char *name, const char *tokenizer, const pith_pack *pack)
{
    if (is_directory(name) && tokenizer && pack)
        pith_raise("--tokenizer: the model in %s has a tokenizer of its own", name);
    if (is_directory(name)) return open_model_with_tokenizer(name);
    model m = { .config = named_config(name), .store = new_store() };
    if (tokenizer) {
        m.tokenizer = pith_tokenizer_read(tokenizer);
    } else {
        if (m.config.vocabulary < 514)
            pith_raise(
                "--model %s: a vocabulary of %d, expected at least 514: 256 bytes, 256 that end "
                "a word, start and end",
                name, m.config.vocabulary);
        const char **captions = room(sizeof *captions * (size_t)pack->count);
        int n = 0;
        for (int i = 0; i < pack->count; i++)
            if (pack->split[i] == PITH_TRAIN) captions[n++] = pack->caption[i];
        m.tokenizer = pith_tokenizer_train(n, captions, m.config.vocabulary - 514);
        free(captions);
    }
    m.config.vocabulary = pith_tokenizer_size(m.tokenizer);
    return m;
}

void make_sasp(model *m, const recipe *r)
{
    char *end;
    clip_config c;
    if (!r->sasp_last) return;
    const bool half = !strcmp(r->sasp_last, "half");
    const long count = strtol(r->sasp_last, &end, 10);
    if (!half && (*end || count < 1 || count > CLIP_MAX_LAYERS))
        pith_raise("--sasp-last: expected a number of blocks or half, found \"%s\"", r->sasp_last);
    clip_with_sasp(&m->config, half ? CLIP_HALF : (int)count, &c);
    if (pith_store_count(m->store)) {
        pith_store *s = new_store();
        clip_inherit(&c, s, &m->config, m->store, r->sasp_inherit);
        pith_store_free(m->store);
        m->store = s;
    }
    m->config = c;
}

pith_loss_spec *open_loss(const recipe *r, bool teachers)
{
    char *file = pith_loss_file(r->loss, 0);
    pith_loss_spec *loss = pith_loss_parse(r->loss, file ? scratch_directory() : "");
    free(file);
    if (pith_loss_wants_teacher(loss) && !teachers)
        pith_raise("the loss %s needs a teacher: use pith distil", r->loss);
    if (pith_loss_wants_clusters(loss) && !r->clusters)
        pith_raise("the loss %s needs clusters: --clusters FILE, which pith data cluster makes",
                   r->loss);
    return loss;
}

training open_training(const recipe *r, const char *command, const char *data, int size,
                       const option *options, const char *out, bool resume, bool teachers)
{
    training u = { .recipe = r, .out = out, .resume = resume };
    u.pack = open_run_data(data, size, out, resume);
    u.taken = run_taken;
    check_synthetic(r, u.pack, data);
    u.loss = open_loss(r, teachers);
    u.clusters = clusters_open(r, u.pack);
    u.record = options_as_json(command, data, options);
    return u;
}

void close_training(training *u)
{
    pith_loss_free(u->loss);
    clusters_close(&u->clusters);
    pith_pack_close(u->pack);
    free(u->record);
}

pith_train_result train_model(model *m, const training *u, const char *title)
{
    static const phase whole = { .stage = 0 };
    const recipe *r = u->recipe;
    pith_dataset *dataset = pith_pack_dataset(u->pack, PITH_TRAIN, m->config.image_size);
    task t = { .m = m,
               .pack = u->pack,
               .loss = u->loss,
               .teachers = u->teachers,
               .clusters = &u->clusters,
               .data = dataset,
               .averaged = r->ema > 0,
               .phase = u->phase ? u->phase : &whole,
               .batch = (int)r->batch,
               .masked = r->masked };
    double number; /* the weight of what is added, or the share that is replaced */
    t.synthetic = parse_synthetic(r->synthetic, &number);
    t.weight = number;
    if (!split_size(u->pack, pith_pack_split(u->pack, "valid")))
        fprintf(stderr,
                "no pair is in the split \"valid\", so none is measured, and there will be no "
                "%s/best\n",
                u->out);
    freeze(r, m->store);
    if (r->sasp_last && pith_store_count(m->store)) clip_freeze_skips(&m->config, m->store);
    pith_loader_options data = {
        .dataset = dataset,
        .tokenizer = m->tokenizer,
        .batch = (int)r->batch,
        .context = m->config.context,
        .augment = parse_augment(r->augment),
        .synthetic = t.synthetic,
        .replace = t.synthetic == PITH_REPLACE ? number : 0,
        .views = (int)r->views,
        .twins = r->twins,
        .seed = (uint64_t)common_seed,
        .threads = common_threads > 4 ? (int)common_threads / 4 : 1,
    };
    memcpy(data.mean, m->config.mean, sizeof data.mean);
    memcpy(data.std, m->config.std, sizeof data.std);
    const pith_train_options o = {
        .directory = u->out,
        .steps = r->steps,
        .warmup = r->warmup,
        .lr = r->lr,
        .weight_decay = r->weight_decay,
        .beta1 = 0.9,
        .beta2 = 0.98,
        .epsilon = 1e-6,
        .clip_norm = r->clip_norm,
        .ema = r->ema,
        .schedule = parse_schedule(r->schedule),
        .evaluate_every = r->evaluate_every,
        .save_every = r->save_every,
        .keep = 2,
        .stage = t.phase->stage,
        .before = t.phase->before,
        .whole = t.phase->whole,
        .seed = (uint64_t)common_seed,
        /* if the run was killed before its first checkpoint there is nothing to resume: it begins
           again */
        .taken = u->taken,
        .resume = u->resume && pith_checkpoint_exists(u->out),
        .record = u->record,
        .log = stderr,
        .plan = common_plan,
        .title = title,
    };
    const pith_task work = { &t, build_loss, fetch, evaluate, export_model };
    pith_train_result result;
    pith_train(&work, m->store, &data, &o, &result);
    pith_dataset_close(dataset);
    return result;
}
