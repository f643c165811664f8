/* 03_loss.c: a loss is a C function that composes nodes. What it is worth, its gradient and its
 * mistakes.
 *
 * What one learns here: the shape every loss has, how to compare a new one with one that exists,
 * what the gradient says about it, and what the library tells you when the shapes are wrong.
 *
 * The example is a margin: CLIP asks that a picture's own caption beats the others; with a margin
 * m it must beat them by m, so pairs that are right by a hair keep pulling. With m = 0 the new
 * loss must be InfoNCE, number for number. That is the first test of any generalisation: find the
 * setting where it is something known.
 *
 *     build/03_loss */
#include <losses/losses.h>

enum { B = 4, D = 3 };

/* losses/loss.h lists what a batch offers; what a loss does not use costs nothing. As a
 * file of its own this function, named `loss`, is all that `pith train --loss margin.c:m=0.2`
 * needs. */
static pith_node *margin_loss(const pith_batch *b)
{
    const int pairs = b->image->dim[0];
    pith_node *own = pith_arange(b->graph, pairs);
    pith_node *diagonal = pith_equal(pith_reshape(own, pairs, 1), own); /* (B, B) */
    pith_node *margin = pith_mul_scalar(diagonal, pith_option(b, "m", 0.1));
    pith_node *logits = pith_mul(pith_sub(pith_matmul_nt(b->image, b->text), margin), b->scale);
    pith_node *both = pith_add(pith_cross_entropy(logits, own),
                               pith_cross_entropy(pith_transpose(logits), own));
    return pith_mul_scalar(pith_mean(both, PITH_ALL), 0.5);
}

/* The slip everybody makes once: matmul where matmul_nt was meant, (B, D) x (B, D). */
static pith_node *wrong_loss(const pith_batch *b)
{
    return pith_mean(pith_matmul(b->image, b->text), PITH_ALL);
}

/* Embeddings as a model would compute them. The row of each caption is that of its picture, turned
 * a little; the last two captions are swapped, so that the loss is not small. */
static pith_batch make_batch(pith_graph *g, const char *options)
{
    static const pith_real image[B][D] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 1, 1, 1 } };
    static const pith_real text[B][D] = { { 4, 1, 0 }, { 0, 4, 1 }, { 2, 3, 3 }, { 1, 0, 4 } };
    pith_batch b = pith_batch_new(g); /* every field is missing until it is filled in */
    b.scale = pith_const(g, 10);
    b.options = options;
    b.image_raw = pith_const_array(g, PITH_F32, image, B, D);
    b.text_raw = pith_const_array(g, PITH_F32, text, B, D);
    b.image = pith_normalize(b.image_raw);
    b.text = pith_normalize(b.text_raw);
    return b;
}

/* The loss, and how strongly each picture is pulled: the length of the gradient to its row. */
static void report(pith_store *store, const char *name, pith_loss *function, const char *options)
{
    pith_graph *g = pith_graph_new(store, 0);
    const pith_batch b = make_batch(g, options);
    pith_node *loss = function(&b), *gradient;
    pith_grad(loss, 1, &b.image, &gradient);
    pith_node *pull = pith_sqrt(pith_sum(pith_square(gradient), -1)); /* (B) */
    pith_plan *plan = pith_plan_new(g, 2, (pith_node *[]){ loss, pull }, NULL);
    pith_run(plan);
    pith_real p[B];
    pith_value(plan, pull, p);
    printf("%-16s %10.6f   ", name, pith_scalar(plan, loss));
    for (int i = 0; i < B; i++) printf("%8.4f", (double)p[i]);
    printf("\n");
    pith_plan_free(plan);
    pith_graph_free(g);
}

/* A handler is called with the first error of every graph. The default one prints the message and
 * exits, which suits an experiment; a program that must go on sets its own. The library itself then
 * neither prints nor exits. */
static void on_error(const char *message, void *context)
{
    *(int *)context += 1;
    printf("%s\n", message);
}

int main(void)
{
    pith_store *store = pith_store_new();
    printf("%-16s %10s   %s\n", "loss", "value", "pull on each of the four pictures");
    report(store, "clip_loss", clip_loss, NULL);
    report(store, "margin m=0", margin_loss, "m=0");
    report(store, "margin m=0.1", margin_loss, "m=0.1");
    report(store, "margin m=0.3", margin_loss, "m=0.3");
    printf("\nWith m = 0 it is InfoNCE. With more, the two pictures that were right already are\n"
           "pulled as well; the two with swapped captions were pulled hard from the start.\n");

    /* Now the slip. Shapes are known while the graph is built, so the error comes at once and
     * names the line of the op and where its inputs came from; PITH_CALL adds who called the
     * function. What is built on the failed node stays silent, so that one mistake is one message,
     * and no plan comes of it. */
    printf("\nA loss with a wrong shape, which the library answers with:\n\n");
    int errors = 0;
    pith_on_error(on_error, &errors);
    pith_graph *g = pith_graph_new(store, 0);
    const pith_batch b = make_batch(g, NULL);
    pith_node *loss = PITH_CALL(g, wrong_loss, (&b));
    pith_plan *plan = pith_plan_new(g, 1, &loss, NULL);
    printf("\n%d error, and the plan is %s.\n", errors, plan ? "there all the same" : "NULL");
    pith_graph_free(g);
    pith_store_free(store);
    return 0;
}
