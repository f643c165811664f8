/* batch.c: an empty batch, in which every field is a missing node that says what it would be; the
 * teachers of a batch, and its second view. */
#include "losses.h"

static pith_node *absent(pith_graph *g, const char *what)
{
    char text[128];
    snprintf(text, sizeof text, "the %s, which this run does not have", what);
    return pith_missing(g, text);
}

static pith_node *absent_from(const pith_batch *b, const char *what, int k)
{
    char text[128];
    if (k < b->n_teachers)
        snprintf(text, sizeof text, "the %s of teacher %d, which it does not have", what, k);
    else if (b->n_teachers)
        snprintf(text, sizeof text, "the %s of teacher %d, and this run has %d, counted from 0",
                 what, k, b->n_teachers);
    else snprintf(text, sizeof text, "the %s of teacher %d, and this run has no teacher", what, k);
    return pith_missing(b->graph, text);
}

/* Makes all nodes of the teachers from k on missing, with messages that fit the number of teachers.
 */
static void name_missing(pith_batch *b, int k)
{
    for (; k < PITH_MOST_TEACHERS; k++)
        b->teachers[k] = (pith_teacher){
            .image = absent_from(b, "image rows", k),
            .text = absent_from(b, "text rows", k),
            .synthetic_text = absent_from(b, "synthetic text rows", k),
            .scale = absent_from(b, "scale", k),
            .bias = absent_from(b, "bias", k),
        };
}

pith_batch pith_batch_new(pith_graph *g)
{
    pith_batch b = {
        .graph = g,
        .image = absent(g, "image rows"),
        .text = absent(g, "text rows"),
        .image_raw = absent(g, "raw image rows"),
        .text_raw = absent(g, "raw text rows"),
        .image_features = absent(g, "image features"),
        .text_features = absent(g, "text features"),
        .synthetic_text = absent(g, "synthetic text rows"),
        .synthetic_text_raw = absent(g, "raw synthetic text rows"),
        .synthetic_text_features = absent(g, "synthetic text features"),
        .scale = absent(g, "scale"),
        .caption_id = absent(g, "numbers of the captions"),
        .label = absent(g, "labels"),
        .cluster = absent(g, "clusters of the pictures"),
        .centroids = absent(g, "centroids of the clusters"),
        .index = absent(g, "numbers of the samples"),
        .progress = absent(g, "progress"),
        .epoch = absent(g, "epoch"),
    };
    name_missing(&b, 0);
    return b;
}

pith_teacher *pith_add_teacher(pith_batch *b, int width)
{
    const int k = b->n_teachers;
    if (k == PITH_MOST_TEACHERS)
        return pith_raise("a batch has at most %d teachers", PITH_MOST_TEACHERS), NULL;
    b->n_teachers++;
    name_missing(b, k);
    b->teachers[k].width = width;
    return &b->teachers[k];
}

pith_view pith_second_view(const pith_batch *b)
{
    if (b->second && b->second->image) return *b->second;
    pith_view v;
    if (b->make_view) {
        pith_scope_root(b->graph); /* the tower's parameters are the model's, not the loss's */
        v = b->make_view(b);
        pith_unscope(b->graph);
    } else {
        v.image = absent(b->graph, "image rows of a second view");
        v.image_raw = absent(b->graph, "raw image rows of a second view");
        v.image_features = absent(b->graph, "image features of a second view");
    }
    if (b->second) *b->second = v;
    return v;
}
