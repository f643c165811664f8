/* error.c: one channel for every error: a message, kept for the thread, and a handler; and the
 * errors of nodes and graphs, whose first one stays. */
#include <ctype.h>
#include "inside.h"

static pith_handler *handler = pith_die;
static void *handler_context;
static _Thread_local char latest[4096];

void pith_on_error(pith_handler *f, void *context)
{
    handler = f ? f : pith_die;
    handler_context = context;
}

void pith_die(const char *message, void *context)
{
    (void)context;
    fflush(stdout);
    fprintf(stderr, "%s\n", message);
    exit(1);
}

const char *pith_error(void) { return latest; }

void pith_make_plain(char *text, char kept)
{
    for (; *text; text++) {
        const unsigned char *c = (unsigned char *)text;
        /* also U+0080 to U+009F, in UTF-8 after a byte 0xC2, which some terminals obey */
        const bool high = c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0;
        if (high || (iscntrl(*c) && *text != kept)) *text = '?';
        if (high) *++text = '?';
    }
}

/* Names and captions of strangers are in it: what would steer a terminal is not. */
static void report(const char *message)
{
    snprintf(latest, sizeof latest, "%s", message);
    pith_make_plain(latest, '\n');
    handler(latest, handler_context);
}

bool pith_raise(const char *format, ...)
{
    char text[sizeof latest]; /* the arguments may be the latest message itself */
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    report(text);
    return false;
}

/* ---- errors: place, op, what is wrong, the inputs, the trail ---- */

const char *pith_shape_text(const node *n, char text[96])
{
    size_t used = (size_t)snprintf(text, 96, "(");
    for (int k = 0; k < n->ndim; k++)
        used += (size_t)snprintf(text + used, 96 - used, k ? ", %d" : "%d", n->dim[k]);
    snprintf(text + used, 96 - used, n->ndim == 1 ? ",)" : ")");
    return text;
}

static char no_room[] = "an error, and no memory to keep what it was";

void pith_keep_error(pith_graph *g, const char *text)
{
    g->error = malloc(strlen(text) + 1);
    if (g->error) strcpy(g->error, text);
    else g->error = no_room;
}

void pith_forget_error(pith_graph *g)
{
    if (g->error != no_room) free(g->error);
}

static void tell(pith_graph *g, const char *text)
{
    pith_keep_error(g, text);
    report(text);
}

void pith_graph_fail(pith_graph *g, const char *format, ...)
{
    char text[4096];
    if (g->error) return;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    tell(g, text);
}

node *pith_refuse(pith_graph *g, const char *format, ...)
{
    char text[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (!g) return pith_raise("%s", text), pith_nowhere();
    pith_graph_fail(g, "%s", text);
    return pith_failed(g, NULL);
}

node *pith_null(const char *at, const char *op, const char *what)
{
    return at ? pith_refuse(NULL, "%s: %s: %s is NULL", at, op, what)
              : pith_refuse(NULL, "%s: %s is NULL", op, what);
}

bool pith_given(const void *argument, const char *function, const char *what)
{
    return argument || pith_raise("%s: the %s is NULL", function, what);
}

bool pith_fail(node *n, const char *format, ...)
{
    pith_graph *g = n->graph;
    if (g->error) return false;
    char text[4096], shape[96];
    const int size = (int)sizeof text;
    int used = snprintf(text, sizeof text, "%s: %s: ", n->at, n->op->name);
    va_list list;
    va_start(list, format);
    used += vsnprintf(text + used, (size_t)(size - used), format, list);
    va_end(list);
    for (int k = 0; k < n->n_in && used < size - 256; k++)
        if (n->in[k]) {
            const node *in = n->in[k];
            const bool plain = in->dtype == PITH_F32; /* what most inputs are goes without saying */
            used += snprintf(text + used, (size_t)(size - used),
                             "\n    input %d %s%s%s from %s (%s)", k, pith_shape_text(in, shape),
                             plain ? "" : " ", plain ? "" : pith_dtype_name(in->dtype), in->at,
                             in->name ? in->name : in->op->name);
        }
    for (const pith_trail *t = n->trail; t && used < size - 256; t = t->parent)
        used += snprintf(text + used, (size_t)(size - used), "\n    in %s, called at %s", t->name,
                         t->at);
    tell(g, text);
    return false;
}
