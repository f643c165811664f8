/* spec.c: reads a loss as it is written after --loss, "affinity:scale=50+0.5*clip", and builds it.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "losses.h"

typedef struct {
    double weight;
    const char *name; /* valid until the process ends, since nodes keep it in their call trail */
    pith_loss *function;
    const pith_loss_entry *entry; /* NULL for a file */
    const char *options;          /* "KEY=VALUE,..." or NULL */
} term;

struct pith_loss_spec {
    int n;
    term *terms;
    char *text; /* a copy, which the parser cuts into pieces */
};

/* Checks "KEY=VALUE,...": every value must be a number, and every key one that the table has for
 * this loss. A file may have any keys. */
static bool check_options(const term *t)
{
    for (const char *p = t->options; p && *p;) {
        char *end;
        const size_t key = strcspn(p, "=,"), size = strcspn(p, ",");
        if (p[key] != '=')
            return pith_raise("loss %s: option \"%.*s\" is not KEY=VALUE", t->name, (int)size, p);
        strtod(p + key + 1, &end);
        if (end == p + key + 1 || end != p + size)
            return pith_raise("loss %s: the value of option \"%.*s\" is not a number", t->name,
                              (int)size, p);
        bool known = !t->entry;
        for (const char *o = t->entry ? t->entry->options : ""; (o = strchr(o, '=')) && !known; o++)
            known = (size_t)(o - t->entry->options) >= key && !strncmp(o - key, p, key) &&
                    (o - key == t->entry->options || o[-(long)key - 1] == ' ');
        if (!known)
            return pith_raise("loss %s has no option %.*s%s%s", t->name, (int)key, p,
                              *t->entry->options ? "; it has " : ": it has none",
                              t->entry->options);
        p += size + (p[size] == ',');
    }
    return true;
}

static bool find(term *t, char *name, const char *work)
{
    const size_t size = strlen(name);
    char known[256] = "";
    if (size > 2 && !strcmp(name + size - 2, ".c"))
        return (t->function = pith_loss_load(name, work, &t->name)) != NULL;
    for (const pith_loss_entry *e = pith_losses; e->name; e++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", e->name);
        if (strcmp(name, e->name)) continue;
        *t = (term){ t->weight, e->name, e->function, e, t->options };
        return true;
    }
    return pith_raise("there is no loss \"%s\": expected %s, or a file that ends with .c", name,
                      known);
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) s++;
    for (char *end = s + strlen(s); end > s && isspace((unsigned char)end[-1]); end--) end[-1] = 0;
    return s;
}

/* [WEIGHT*]NAME[:OPTIONS] */
static bool parse_term(term *t, char *text, const char *work)
{
    char *name = trim(text), *star = strchr(name, '*'), *colon = strchr(name, ':'), *end;
    t->weight = 1;
    if (star && (!colon || star < colon)) {
        t->weight = strtod(name, &end);
        if (end == name || trim(end) != star)
            return pith_raise("loss term \"%s\": expected a number before *", name);
        name = trim(star + 1);
    }
    if (colon) *colon = 0, t->options = trim(colon + 1);
    return find(t, trim(name), work) && check_options(t);
}

pith_loss_spec *pith_loss_parse(const char *text, const char *work)
{
    pith_loss_spec *s = calloc(1, sizeof *s);
    int most = 1;
    for (const char *p = text; *p; p++) most += *p == '+';
    if (s) s->text = strdup(text), s->terms = calloc((size_t)most, sizeof *s->terms);
    bool good = s && s->text && s->terms;
    if (!good) pith_raise("no memory for a loss");
    for (char *p = good ? s->text : NULL, *next; good && p; p = next) {
        next = strchr(p, '+');
        if (next) *next++ = 0;
        good = parse_term(&s->terms[s->n++], p, work);
    }
    if (good) return s;
    pith_loss_free(s);
    return NULL;
}

void pith_loss_free(pith_loss_spec *s)
{
    if (!s) return;
    free(s->text);
    free(s->terms);
    free(s);
}

bool pith_loss_wants_teacher(const pith_loss_spec *s)
{
    for (int k = 0; k < s->n; k++)
        if (s->terms[k].entry && s->terms[k].entry->teacher) return true;
    return false;
}

static pith_node *build_term(const term *t, const pith_batch *b, pith_view *second)
{
    pith_batch own = *b;
    own.options = t->options;
    own.second = second;
    const pith_teacher *teacher = &b->teachers[0];
    if (t->entry && t->entry->teacher &&
        (pith_is_missing(teacher->image) || pith_is_missing(teacher->text) ||
         pith_is_missing(teacher->scale)))
        return pith_raise("loss %s needs a teacher", t->name), NULL;
    pith_scope(b->graph, "loss.%s", t->name);
    pith_enter(b->graph, t->name, PITH_HERE);
    pith_node *y = pith_leave(b->graph, t->function(&own));
    pith_unscope(b->graph);
    if (!y) return pith_raise("loss %s returned no node", t->name), NULL;
    if (pith_is_missing(y)) return pith_raise("loss %s returned %s", t->name, y->name), NULL;
    if (pith_size(y) != 1)
        return pith_raise("loss %s returned %zu numbers, expected a scalar", t->name, pith_size(y)),
               NULL;
    return y;
}

pith_node *pith_loss_build(const pith_loss_spec *s, const pith_batch *b)
{
    pith_node *sum = NULL;
    pith_view second = { 0 }; /* shared by all terms */
    for (int k = 0; k < s->n; k++) {
        pith_node *y = build_term(&s->terms[k], b, &second);
        if (!y) return NULL;
        if (s->n > 1) pith_watch(y, s->terms[k].name);
        if (s->terms[k].weight != 1) y = pith_mul_scalar(y, s->terms[k].weight);
        sum = sum ? pith_add(sum, y) : y;
    }
    return sum;
}

double pith_option(const pith_batch *b, const char *key, double otherwise)
{
    const size_t size = strlen(key);
    for (const char *s = b->options; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (strncmp(s, key, size) == 0 && s[size] == '=') return atof(s + size + 1);
    return otherwise;
}
