/* run.c: pith run: runs a model in evaluation mode on the tensors of a file, and writes embeddings,
 * logits, loss and gradients into another file. With it pith can be compared with another framework
 * number by number. */
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "scratch.h"

static const pith_tensor *tensor(pith_store *s, const char *path, const char *name,
                                 pith_dtype dtype, int ndim, const char *wanted)
{
    const pith_tensor *t = pith_store_find(s, name);
    if (!t) pith_raise("%s: no tensor %s: expected %s", path, name, wanted);
    if (t->dtype != dtype || t->ndim != ndim)
        pith_raise("%s: tensor %s has %d axes of %s, expected %s", path, name, t->ndim,
                   pith_dtype_name(t->dtype), wanted);
    return t;
}

static void check_pixels(const clip_config *c, const pith_tensor *t, const char *path,
                         const char *whose)
{
    if (t->dim[1] != 3 || t->dim[2] != c->image_size || t->dim[3] != c->image_size)
        pith_raise("%s: pixel_values has shape (%d, %d, %d, %d), %s expects (B, 3, %d, %d)", path,
                   t->dim[0], t->dim[1], t->dim[2], t->dim[3], whose, c->image_size, c->image_size);
}

static void check_ids(const clip_config *c, const pith_tensor *t, const int *ids, const char *path,
                      const char *whose)
{
    if (t->dim[1] > c->context)
        pith_raise("%s: input_ids has %d columns, the context of %s is %d", path, t->dim[1], whose,
                   c->context);
    for (int k = 0; k < t->dim[0] * t->dim[1]; k++)
        if (ids[k] < 0 || ids[k] >= c->vocabulary)
            pith_raise("%s: input_ids holds %d, the vocabulary of %s has %d", path, ids[k], whose,
                       c->vocabulary);
}

/* Makes a batch of the pairs in the file, as a loader would; for `index` the file is the training
 * data. Captions are cut after their end of text, which is the largest id of a row, as in OpenCLIP,
 * and laid one after another. */
static pith_host_batch pack_rows(const pith_tensor *ids, const int *values, int size,
                                 pith_real *pixels)
{
    const int B = ids->dim[0], T = ids->dim[1];
    const size_t n = (size_t)B * (size_t)T;
    int *memory = room(sizeof *memory * (2 * n + 5 * (size_t)B + 1));
    pith_host_batch b = { .rows = B,
                          .captions = B,
                          .pairs = B,
                          .size = size,
                          .pixels = pixels,
                          .ids = memory,
                          .positions = memory + n,
                          .last = memory + 2 * n };
    b.caption_id = b.last + B;
    b.label = b.caption_id + B;
    b.index = b.label + B;
    b.offsets = b.index + B;
    for (int i = 0; i < B; i++) {
        const int *row = values + (size_t)i * (size_t)T;
        int end = 0;
        for (int k = 1; k < T; k++)
            if (row[k] > row[end]) end = k;
        for (int k = 0; k <= end; k++) {
            b.positions[b.tokens] = k;
            b.ids[b.tokens++] = row[k];
        }
        b.offsets[i + 1] = b.tokens;
        b.last[i] = b.tokens - 1;
        b.label[i] = -1;
        b.index[i] = i;
        b.caption_id[i] = i;
        for (int k = 0; k < i && b.caption_id[i] == i; k++) {
            const int length = b.offsets[k + 1] - b.offsets[k];
            if (length == end + 1 &&
                !memcmp(b.ids + b.offsets[k], b.ids + b.offsets[i], sizeof(int) * (size_t)length))
                b.caption_id[i] = k;
        }
    }
    return b;
}

/* ---- the graph ---- */

typedef struct {
    const char *in_path, *loss, *teacher;
    bool grad;
    const pith_tensor *pixels, *ids;
    pith_real *pixel_values;
    int *id_values;
} request;
typedef struct {
    int n;
    pith_node **node;
    const char **prefix, **name;
} outputs;

static void put_out(outputs *o, pith_node *n, const char *prefix, const char *name)
{
    o->node = realloc(o->node, sizeof *o->node * (size_t)(o->n + 1));
    o->prefix = realloc(o->prefix, sizeof *o->prefix * (size_t)(o->n + 1));
    o->name = realloc(o->name, sizeof *o->name * (size_t)(o->n + 1));
    if (!o->node || !o->prefix || !o->name) pith_raise("no memory for %d results", o->n);
    o->node[o->n] = n;
    o->prefix[o->n] = prefix;
    o->name[o->n++] = name;
}

/* Adds the rows that a teacher computes from the same inputs. Its weights are in a store of their
 * own and are not trained. */
static void add_teacher(pith_graph *g, const request *q, const model *teacher,
                        const clip_inputs *in, pith_batch *b)
{
    check_pixels(&teacher->config, q->pixels, q->in_path, q->teacher);
    check_ids(&teacher->config, q->ids, q->id_values, q->in_path, q->teacher);
    pith_use_store(g, teacher->store, "", true);
    const pith_batch t = clip_batch(g, &teacher->config, in);
    pith_leave_store(g);
    pith_teacher *one = pith_add_teacher(b, teacher->config.embed);
    one->image = pith_detach(t.image);
    one->text = pith_detach(t.text);
    one->scale = pith_detach(t.scale);
}

/* Adds the gradient by every parameter of the model's file; parameters of a loss are left out. */
static void add_gradients(pith_graph *g, pith_store *s, pith_node *loss, outputs *o)
{
    pith_node **params;
    const int n = pith_params(g, &params);
    pith_node **gradients = room(sizeof *gradients * (size_t)(n + 1));
    pith_grad(loss, n, params, gradients);
    for (int k = 0; k < n; k++)
        if (pith_store_find(s, params[k]->name)->loaded)
            put_out(o, gradients[k], "grad.", params[k]->name);
    free(gradients);
}

static void save(const pith_plan *p, const outputs *o, const char *path)
{
    pith_store *s = pith_store_new();
    for (int k = 0; k < o->n; k++) {
        const pith_node *n = o->node[k];
        char name[256];
        snprintf(name, sizeof name, "%s%s", o->prefix[k], o->name[k]);
        pith_real *values = room(sizeof *values * pith_size(n));
        pith_value(p, n, values); /* raises the error if malloc failed */
        pith_tensor_write(pith_store_add(s, name, PITH_WEIGHT, PITH_F32, n->ndim, n->dim), values);
        free(values);
    }
    pith_store_save(s, path, PITH_WEIGHT);
    pith_store_free(s);
}

static void run(const model *m, const request *q, const pith_host_batch *rows, const char *out)
{
    outputs o = { 0 };
    model teacher = { 0 };
    pith_graph *g = pith_graph_new(m->store, (uint64_t)common_seed);
    clip_inputs in = clip_inputs_new(g, &m->config, rows->pairs, rows->tokens);
    in.samples = rows->pairs;
    pith_batch b = clip_batch(g, &m->config, &in);
    put_out(&o, b.image, "", "image_embeds");
    put_out(&o, b.text, "", "text_embeds");
    put_out(&o, pith_mul(pith_matmul_nt(b.image, b.text), b.scale), "", "logits_per_image");
    if (q->teacher) {
        teacher = open_model(q->teacher);
        add_teacher(g, q, &teacher, &in, &b);
    }
    pith_loss_spec *spec = q->loss ? pith_loss_parse(q->loss, scratch_directory()) : NULL;
    if (spec) {
        pith_node *loss = pith_loss_build(spec, &b);
        put_out(&o, loss, "", "loss");
        if (q->grad) add_gradients(g, m->store, loss, &o);
    }
    pith_plan *p = pith_plan_new(g, o.n, o.node, &common_plan);
    pith_feed_batch(p, rows);
    pith_feed(p, in.progress, &(pith_real){ 0 });
    pith_run(p);
    save(p, &o, out);
    pith_plan_free(p);
    pith_graph_free(g);
    pith_loss_free(spec);
    if (q->teacher) close_model(&teacher);
    free(o.node);
    free(o.prefix);
    free(o.name);
}

int command_run(int argc, char **argv)
{
    request q = { 0 };
    const option options[] = {
        { "--loss", TEXT, &q.loss, "also writes `loss`; see pith losses" },
        { "--teacher", TEXT, &q.teacher,
          "the model directory of a loss's teacher, fed with the same tensors" },
        { "--grad", FLAG, &q.grad, "also writes grad.NAME for every parameter of the model" },
        END_OF_OPTIONS,
    };
    parse_options(options,
                  "MODEL IN.safetensors OUT.safetensors [--loss L] [--teacher DIR] [--grad]",
                  "Feeds pixel_values f32 (B, 3, H, W) and input_ids i64 or i32 (B, T), in "
                  "evaluation mode, and writes "
                  "image_embeds and\ntext_embeds (unit rows) and logits_per_image. A text's row is "
                  "taken at its largest id.",
                  3, 3, argc, argv);
    if (q.grad && !q.loss) pith_raise("--grad needs a --loss to differentiate");
    model m = open_model(argv[1]);
    pith_store *in = pith_store_new();
    pith_store_load(in, argv[2]);
    q.in_path = argv[2];
    q.pixels = tensor(in, argv[2], "pixel_values", PITH_F32, 4, "f32 (B, 3, H, W)");
    q.ids = tensor(in, argv[2], "input_ids", PITH_I32, 2, "i64 or i32 (B, T)");
    if (q.pixels->dim[0] != q.ids->dim[0])
        pith_raise("%s: pixel_values has %d rows, input_ids %d", argv[2], q.pixels->dim[0],
                   q.ids->dim[0]);
    check_pixels(&m.config, q.pixels, argv[2], argv[1]);
    q.pixel_values = tensor_values(q.pixels);
    q.id_values = tensor_values(q.ids);
    check_ids(&m.config, q.ids, q.id_values, argv[2], argv[1]);
    pith_host_batch rows = pack_rows(q.ids, q.id_values, q.pixels->dim[2], q.pixel_values);
    run(&m, &q, &rows, argv[3]);
    close_model(&m);
    pith_store_free(in);
    free(rows.ids);
    free(q.id_values);
    free(q.pixel_values);
    return 0;
}
