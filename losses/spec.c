/* spec.c: reads a loss as it is written after --loss, "affinity:scale=50+0.5*clip@0.5-1", and
 * builds it. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "losses.h"

typedef struct {
    double weight;
    const char *name; /* valid until the process ends, since nodes keep it in their call trail */
    const char *told; /* as it was written: of a file, its path */
    pith_loss *function;
    const pith_loss_entry *entry; /* NULL for a file */
    const char *options;          /* "KEY=VALUE,..." or NULL */
    double from, to;              /* of the training: it counts in [from, to) */
} term;

struct pith_loss_spec {
    int n;
    term *terms;
    char *text; /* a copy, which the parser cuts into pieces */
};

/* ---- reading ---- */

/* A piece of the text: [WEIGHT*]NAME[:OPTIONS][@SPAN], with lengths; `next` is what follows its +,
 * or NULL. */
typedef struct {
    const char *weight, *name, *options, *span, *next;
    int weight_size, name_size, options_size, span_size; /* weight_size -1: there is none */
} piece;

static void trim(const char **text, int *size)
{
    while (*size > 0 && isspace((unsigned char)**text)) ++*text, --*size;
    while (*size > 0 && isspace((unsigned char)(*text)[*size - 1])) --*size;
}

/* The length of a path of an existing file.c that the text begins with, which may hold any
 * character; 0 if there is none. */
static int path_size(const char *text)
{
    char path[4096];
    for (const char *c = text; (c = strstr(c, ".c")); c += 2) {
        const size_t size = (size_t)(c + 2 - text);
        if ((c[2] && !strchr(":@+ ", c[2])) || size >= sizeof path) continue;
        memcpy(path, text, size);
        path[size] = 0;
        if (access(path, F_OK) == 0) return (int)size;
    }
    return 0;
}

/* What follows a mark, up to the next of `ends`, without the spaces around it. */
static const char *part(const char **text, const char *ends, int *size)
{
    const char *begin = ++*text;
    *size = (int)strcspn(begin, ends);
    *text += *size;
    trim(&begin, size);
    return begin;
}

static piece cut(const char *text)
{
    piece p = { .weight_size = -1 };
    while (isspace((unsigned char)*text)) text++;
    const size_t before = path_size(text) ? 0 : strcspn(text, "*:+");
    if (before && text[before] == '*') {
        p.weight = text;
        p.weight_size = (int)before;
        text += before + 1;
        while (isspace((unsigned char)*text)) text++;
    }
    const int path = path_size(text);
    p.name = text;
    p.name_size = path ? path : (int)strcspn(text, ":@+");
    text += p.name_size;
    while (isspace((unsigned char)*text)) text++;
    if (*text == ':') p.options = part(&text, "@+", &p.options_size);
    if (*text == '@') p.span = part(&text, "+", &p.span_size);
    trim(&p.name, &p.name_size);
    p.next = *text == '+' ? text + 1 : NULL;
    return p;
}

static bool is_file(const piece *p)
{
    return p->name_size > 2 && strncmp(p->name + p->name_size - 2, ".c", 2) == 0;
}

char *pith_loss_file(const char *text, int k)
{
    for (const char *at = text; at;) {
        const piece p = cut(at);
        if (is_file(&p) && k-- == 0) return strndup(p.name, (size_t)p.name_size);
        at = p.next;
    }
    return NULL;
}

/* A finite number that is all of the text. */
static bool read_number(const char *text, int size, double *x)
{
    char copy[64], *end;
    trim(&text, &size);
    if (size < 1 || size >= (int)sizeof copy) return false;
    memcpy(copy, text, (size_t)size);
    copy[size] = 0;
    *x = strtod(copy, &end);
    return !*end && isfinite(*x);
}

/* "0.2-0.6": two shares of the training. */
static bool read_span(term *t, const char *text, int size)
{
    const char *minus = memchr(text, '-', (size_t)size);
    const int before = minus ? (int)(minus - text) : size;
    return (minus && read_number(text, before, &t->from) &&
            read_number(minus + 1, size - before - 1, &t->to) && t->from >= 0 && t->from < t->to &&
            t->to <= 1) ||
           pith_raise("loss %s: expected two shares of the training after @, as in @0.2-0.6, found "
                      "\"%.*s\"",
                      t->told, size, text);
}

/* At every time some term must count. */
static bool check_spans(const pith_loss_spec *s)
{
    for (double covered = 0, reach = 0; covered < 1; covered = reach) {
        double next = 1;
        for (int k = 0; k < s->n; k++) {
            const term *t = &s->terms[k];
            if (t->from <= covered) reach = fmax(reach, t->to);
            else next = fmin(next, t->from);
        }
        if (reach <= covered)
            return pith_raise("no term of the loss counts from %g to %g of the training", covered,
                              next);
    }
    return true;
}

/* Checks "KEY=VALUE,...": every value must be a number, and every key one that the table has for
 * this loss. What keys a file has is seen when it is built. */
static bool check_options(const term *t)
{
    for (const char *p = t->options; p && *p;) {
        double x;
        const size_t key = strcspn(p, "=,"), size = strcspn(p, ",");
        if (p[key] != '=')
            return pith_raise("loss %s: option \"%.*s\" is not KEY=VALUE", t->told, (int)size, p);
        for (const char *o = t->options; o < p; o = strchr(o, ',') + 1)
            if (!strncmp(o, p, key + 1))
                return pith_raise("loss %s: option %.*s is given twice", t->told, (int)key, p);
        if (!read_number(p + key + 1, (int)(size - key - 1), &x))
            return pith_raise("loss %s: the value of option \"%.*s\" is not a number", t->told,
                              (int)size, p);
        bool known = !t->entry;
        for (const char *o = t->entry ? t->entry->options : ""; (o = strchr(o, '=')) && !known; o++)
            known = (size_t)(o - t->entry->options) >= key && !strncmp(o - key, p, key) &&
                    (o - key == t->entry->options || o[-(long)key - 1] == ' ');
        if (!known)
            return pith_raise("loss %s has no option %.*s%s%s", t->told, (int)key, p,
                              *t->entry->options ? "; it has " : ": it has none",
                              t->entry->options);
        p += size + (p[size] == ',');
    }
    return true;
}

static bool find(term *t)
{
    char known[256] = "";
    for (const pith_loss_entry *e = pith_losses; e->name; e++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", e->name);
        if (strcmp(t->told, e->name)) continue;
        t->name = e->name;
        t->function = e->function;
        t->entry = e;
        return true;
    }
    return pith_raise("there is no loss \"%s\": expected %s, or a file that ends with .c", t->told,
                      known);
}

/* A copy in the spec's own text, which is as long as all that was written. */
static const char *keep(char **room, const char *text, int size)
{
    char *copy = memcpy(*room, text, (size_t)size);
    *room += size + 1;
    return copy;
}

static bool parse_term(term *t, const piece *p, char **room, const char *work)
{
    t->weight = t->to = 1;
    if (p->weight_size >= 0 && !read_number(p->weight, p->weight_size, &t->weight))
        return pith_raise("loss term \"%.*s*%.*s\": expected a number before *", p->weight_size,
                          p->weight, p->name_size, p->name);
    if (!p->name_size)
        return pith_raise(
            "a term of the loss is empty: expected a name, or a file that ends with .c");
    t->told = keep(room, p->name, p->name_size);
    if (p->options) t->options = keep(room, p->options, p->options_size);
    if (p->span && !read_span(t, p->span, p->span_size)) return false;
    if (is_file(p)) t->function = pith_loss_load(t->told, work, &t->name);
    return (is_file(p) ? t->function != NULL : find(t)) && check_options(t);
}

pith_loss_spec *pith_loss_parse(const char *text, const char *work)
{
    pith_loss_spec *s = calloc(1, sizeof *s);
    int most = 1;
    for (const char *p = text; *p; p++) most += *p == '+';
    if (s) s->text = calloc(1, strlen(text) + 2), s->terms = calloc((size_t)most, sizeof *s->terms);
    bool good = s && s->text && s->terms;
    if (!good) pith_raise("no memory for a loss");
    char *room = good ? s->text : NULL;
    for (const char *at = text; good && at;) {
        const piece p = cut(at);
        good = parse_term(&s->terms[s->n++], &p, &room, work);
        at = p.next;
    }
    if (good && check_spans(s)) return s;
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

bool pith_loss_wants_clusters(const pith_loss_spec *s)
{
    for (int k = 0; k < s->n; k++)
        if (s->terms[k].entry && s->terms[k].entry->clusters) return true;
    return false;
}

/* ---- building ---- */

/* The options that the loss being built has asked for. */
static _Thread_local struct {
    int n;
    const char *key[16];
} asked;

static bool was_asked(const char *key, size_t size)
{
    for (int k = 0; k < asked.n; k++)
        if (strlen(asked.key[k]) == size && !strncmp(asked.key[k], key, size)) return true;
    return false;
}

/* A file has the options that it asks for. */
static bool check_asked(const term *t)
{
    char known[256] = "none";
    for (int k = 0, used = 0; k < asked.n && used < 240; k++)
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", k ? ", " : "",
                         asked.key[k]);
    for (const char *p = t->options; p && *p && !t->entry; p += *p == ',') {
        const size_t key = strcspn(p, "=");
        if (asked.n < 16 && !was_asked(p, key))
            return pith_raise("loss %s has no option %.*s; it reads %s", t->told, (int)key, p,
                              known);
        p += strcspn(p, ",");
    }
    return true;
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
        return pith_raise("loss %s needs a teacher", t->told), NULL;
    if (t->entry && t->entry->clusters &&
        (pith_is_missing(b->cluster) || pith_is_missing(b->centroids)))
        return pith_raise("loss %s needs clusters: --clusters FILE, which pith data cluster makes",
                          t->told),
               NULL;
    asked.n = 0;
    pith_scope(b->graph, "loss.%s", t->name);
    pith_enter(b->graph, t->name, "--loss");
    pith_node *y = NULL;
    bool whole = true;
    if (t->entry) y = t->function(&own);
    else whole = pith_loss_call(t->function, t->told, &own, &y);
    pith_leave(b->graph, y);
    pith_unscope(b->graph);
    if (!whole) return NULL;
    if (!y) return pith_raise("loss %s returned no node", t->told), NULL;
    if (pith_is_missing(y)) return pith_raise("loss %s returned %s", t->told, y->name), NULL;
    if (pith_size(y) != 1)
        return pith_raise("loss %s returned %zu numbers, expected a scalar", t->told, pith_size(y)),
               NULL;
    return pith_graph_error(b->graph) || check_asked(t) ? y : NULL;
}

/* The term's share of the loss: its weight times y, and 0 outside its span. */
static pith_node *scheduled(const term *t, const pith_batch *b, pith_node *y)
{
    if (t->weight != 1) y = pith_mul_scalar(y, t->weight);
    pith_node *zero = pith_const(b->graph, 0);
    if (t->to < 1) y = pith_where(pith_less(b->progress, pith_const(b->graph, t->to)), y, zero);
    if (t->from > 0) y = pith_where(pith_less(b->progress, pith_const(b->graph, t->from)), zero, y);
    return y;
}

pith_node *pith_loss_build(const pith_loss_spec *s, const pith_batch *b)
{
    pith_node *sum = NULL;
    pith_view view = { 0 }, *second = b->second ? b->second : &view; /* shared by all terms */
    for (int k = 0; k < s->n; k++) {
        pith_node *y = build_term(&s->terms[k], b, second);
        if (!y) return NULL;
        if (s->n > 1) pith_watch(y, s->terms[k].name);
        y = scheduled(&s->terms[k], b, y);
        sum = sum ? pith_add(sum, y) : y;
    }
    return sum;
}

double pith_option(const pith_batch *b, const char *key, double otherwise)
{
    const size_t size = strlen(key);
    if (asked.n < 16 && !was_asked(key, size)) asked.key[asked.n++] = key;
    for (const char *s = b->options; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (strncmp(s, key, size) == 0 && s[size] == '=') return atof(s + size + 1);
    return otherwise;
}
