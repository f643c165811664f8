/* feed.c: finds a batch's arrays by the names of a plan's inputs. This is the only list of those
 * names. */
#include "parts.h"

pith_field pith_batch_field(const pith_host_batch *b, const char *name)
{
    const size_t rows = (size_t)b->rows, tokens = (size_t)b->tokens, captions = (size_t)b->captions,
                 pictures = 3 * rows * (size_t)b->size * (size_t)b->size;
    const struct {
        const char *name;
        pith_field field;
    } all[] = {
        { "pixels", { b->pixels, PITH_F32, pictures } },
        { "second_pixels", { b->second_pixels, PITH_F32, pictures } },
        { "ids", { b->ids, PITH_I32, tokens } },
        { "positions", { b->positions, PITH_I32, tokens } },
        { "offsets", { b->offsets, PITH_I32, captions + 1 } },
        { "last", { b->last, PITH_I32, captions } },
        { "caption_id", { b->caption_id, PITH_I32, rows } },
        { "synthetic_caption_id", { b->synthetic_caption_id, PITH_I32, rows } },
        { "label", { b->label, PITH_I32, rows } },
        { "index", { b->index, PITH_I32, rows } },
        { "epoch", { &b->epoch, PITH_I32, 1 } },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (strcmp(all[k].name, name) == 0) return all[k].field;
    return (pith_field){ 0 };
}

bool pith_feed_batch(pith_plan *p, const pith_host_batch *b)
{
    const node *const *inputs;
    const int n = pith_plan_inputs(p, &inputs);
    char shape[96];
    for (int k = 0; k < n; k++) {
        const node *input = inputs[k];
        const pith_field f = pith_batch_field(b, input->name);
        if (!f.data) continue;
        if (input->dtype != f.dtype || pith_size(input) != f.count)
            return pith_raise("%s: input %s %s: the batch has %zu %s for it", input->at,
                              input->name, pith_shape_text(input, shape), f.count,
                              f.dtype == PITH_F32 ? "real numbers" : "integers");
        pith_feed(p, input, f.data);
    }
    return true;
}
