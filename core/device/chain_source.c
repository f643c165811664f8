/* chain_source.c: a chain of pointwise ops as the source of one kernel, made of the ops' own text:
 * one thread an element.
 *
 *     {
 *         PITH_ELEMENT(unsigned, i)
 *         const float x0 = ((const float *)m.at[0])[i];
 *         float x1;
 *         { const float a = x0; x1 = a * a; }
 *         ((float *)m.at[1])[i] = x1;
 *     }
 *
 * m.at[k] is the memory of the step's inputs and then of its outputs. What PITH_ELEMENT is, the
 * device says. How many elements there are is not written out, so that chains that differ in
 * nothing else are one kernel. */
#include <stdlib.h>
#include "inside.h"

static const char *type_of(pith_dtype dtype)
{
    static const char *const types[] = { [PITH_F32] = "float",
                                         [PITH_I32] = "int",
                                         [PITH_U8] = "unsigned char",
                                         [PITH_BF16] = "uint16_t" };
    return types[dtype];
}

/* Sizes are written out, so that the compiler divides by numbers it knows. */
static void put_place(FILE *f, const pith_repeat *r)
{
    size_t below = 1, terms = 0;
    for (int k = r->n - 1; k >= 0; k--) {
        if (r->stride[k]) {
            fprintf(f, terms++ ? " + i" : "i");
            if (below > 1) fprintf(f, " / %zu", below);
            if (k) fprintf(f, " %% %zu", r->dim[k]);
            if (r->stride[k] > 1) fprintf(f, " * %zu", r->stride[k]);
        }
        below *= r->dim[k];
    }
    if (!terms) fprintf(f, "0");
}

/* Every input is read before any output is written: they may lie in one place. */
static void put_inputs(FILE *f, const pith_chain *c)
{
    bool done[PITH_MOST_OPERANDS] = { false };
    for (int i = 0; i < c->n_instructions; i++)
        for (int k = 0; k < c->instructions[i].n_in; k++) {
            const int o = c->instructions[i].in[k];
            const pith_operand *x = &c->operands[o];
            if (done[o] || (x->kind != PITH_FULL && x->kind != PITH_BROADCAST)) continue;
            const char *type = type_of(c->instructions[i].form->in[k]);
            done[o] = true;
            fprintf(f, "    const %s x%d = ((const %s *)m.at[%d])[", type, o, type, x->slot);
            if (x->kind == PITH_FULL) fprintf(f, "i");
            else put_place(f, &x->repeat);
            fprintf(f, "];\n");
        }
}

static void put_instruction(FILE *f, const pith_instruction *s)
{
    fprintf(f, "    %s x%d;\n    {", type_of(s->form->out), s->out);
    for (int k = 0; k < s->n_in; k++)
        fprintf(f, " const %s %c = x%d;", type_of(s->form->in[k]), 'a' + k, s->in[k]);
    fprintf(f, " x%d = %s; }\n", s->out, s->form->text);
}

char *pith_chain_source(const pith_planned *s)
{
    const pith_chain *c = s->chain;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) return pith_raise("no memory for the source of a chain"), NULL;
    fprintf(f, "\n{\n    PITH_ELEMENT(%s, i)\n", c->count >> 31 ? "size_t" : "unsigned");
    put_inputs(f, c);
    for (int i = 0; i < c->n_instructions; i++) put_instruction(f, &c->instructions[i]);
    for (int k = 0; k < s->n_out; k++) {
        const pith_instruction *made = &c->instructions[c->made[k]];
        fprintf(f, "    ((%s *)m.at[%d])[i] = x%d;\n", type_of(made->form->out), s->n_in + k,
                made->out);
    }
    fprintf(f, "}\n");
    if (!fclose(f)) return text;
    free(text);
    return pith_raise("no memory for the source of a chain"), NULL;
}
