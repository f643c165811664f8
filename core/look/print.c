/* print.c: looking at graphs and plans: a node as a formula, a graph as a drawing, a plan as a
 * table, and where the time goes. */
#include "inside.h"

/* ---- formula ---- */

static void print_leaf(FILE *f, const node *n)
{
    char shape[96];
    if (n->op == &pith_op_const && pith_size(n) == 1)
        fprintf(f, "%g", pith_dtype_read(n->dtype, n->attr));
    else if (n->op == &pith_op_const) fprintf(f, "const%s", pith_shape_text(n, shape));
    else fprintf(f, "%s", n->name ? n->name : n->op->name);
}

static void print_formula(FILE *f, const node *n, int depth, int binding);

/* How strongly C's signs bind: what binds less than its surroundings is put in brackets. The right
 * side of - and / is asked for more than the left: a - (b - c). */
static const struct {
    const char *text; /* of a pointwise op that is nothing but this sign */
    int binding, right;
} signs[] = {
    { "a + b", 1, 1 }, { "a - b", 1, 2 }, { "a * b", 2, 2 }, { "a / b", 2, 3 }, { "-a", 3, 3 },
};

/* Ops whose expression is a sign between two inputs, or before one; false for others. */
static bool print_sign(FILE *f, const node *n, int depth, int binding)
{
    const char *text = n->op->pointwise ? n->op->pointwise->forms->text : "";
    for (size_t k = 0; k < sizeof signs / sizeof *signs; k++) {
        if (strcmp(text, signs[k].text)) continue;
        const bool prefix = n->n_in == 1;
        const bool brackets = !prefix && signs[k].binding < binding;
        fputs(brackets ? "(" : "", f);
        if (!prefix) print_formula(f, n->in[0], depth - 1, signs[k].binding);
        fprintf(f, prefix ? "%c" : " %c ", prefix ? text[0] : text[2]);
        print_formula(f, n->in[prefix ? 0 : 1], depth - 1, signs[k].right);
        fputs(brackets ? ")" : "", f);
        return true;
    }
    return false;
}

/* Everything else as op(inputs). */
static void print_call(FILE *f, const node *n, int depth)
{
    if (n->op == &pith_op_result) {
        fprintf(f, "%s.%d", n->in[0]->op->name, pith_result_index(n));
        n = n->in[0];
    } else fputs(n->op->name, f);
    for (int k = 0; k < n->n_in; k++) {
        fputs(k ? ", " : "(", f);
        print_formula(f, n->in[k], depth - 1, 0);
    }
    fputs(")", f);
}

/* `binding`: of the sign around n, 0 where there is none. */
static void print_formula(FILE *f, const node *n, int depth, int binding)
{
    if (n->op->flags & PITH_LEAF) print_leaf(f, n);
    else if (depth <= 0) fprintf(f, "%s#%d", n->name ? n->name : n->op->name, n->id);
    else if (n->op == &pith_op_expand) /* repetition is plain from the shapes */
        print_formula(f, n->in[0], depth, binding);
    else if (!print_sign(f, n, depth, binding)) print_call(f, n, depth);
}

enum { MOST_DEPTH = 1000 }; /* it recurses */

void pith_print(FILE *f, const node *n, int depth)
{
    if (!pith_given(f, "pith_print", "file")) return;
    if (!pith_given(n, "pith_print", "node")) return;
    print_formula(f, n, depth < MOST_DEPTH ? depth : MOST_DEPTH, 0);
    fputc('\n', f);
}

/* ---- drawing ---- */

static void put_escaped(FILE *f, const char *text)
{
    for (; *text; text++) fprintf(f, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

void pith_print_dot(FILE *f, const pith_graph *g, const node *n)
{
    if (!pith_given(f, "pith_print_dot", "file")) return;
    if (!pith_given(g, "pith_print_dot", "graph")) return;
    if (n && n->graph != g) {
        pith_raise("pith_print_dot: the node is not one of the graph");
        return;
    }
    bool *wanted = calloc((size_t)g->n + 1, sizeof *wanted);
    char shape[96];
    for (int id = 0; id < g->n; id++) wanted[id] = !n || id == n->id;
    for (int id = g->n - 1; id >= 0; id--)
        for (int k = 0; wanted[id] && k < g->nodes[id]->n_in; k++)
            wanted[g->nodes[id]->in[k]->id] = true;
    fputs("digraph pith {\n  rankdir=BT; node [shape=box, style=\"rounded,filled\", "
          "fontname=\"sans-serif\", fontsize=10];\n",
          f);
    for (int id = 0; id < g->n; id++) {
        const node *m = g->nodes[id];
        if (!wanted[id]) continue;
        const char *colour = m->op == &pith_op_param                                 ? "#ffe0a3"
                             : m->op->flags & PITH_LEAF                              ? "#d9ead3"
                             : m->op->flags & PITH_WRITE || m->op == &pith_op_update ? "#f4b6b6"
                             : m->origin                                             ? "#d6e0f5"
                                                                                     : "#ffffff";
        fprintf(f, "  n%d [label=\"%s%s", id, m->op->name, m->name ? " " : "");
        put_escaped(f, m->name ? m->name : "");
        fprintf(f, "\\n%s\", fillcolor=\"%s\", tooltip=\"", pith_shape_text(m, shape), colour);
        put_escaped(f, m->at);
        fputs("\"];\n", f);
        for (int k = 0; k < m->n_in; k++) fprintf(f, "  n%d -> n%d;\n", m->in[k]->id, id);
    }
    fputs("}\n", f);
    free(wanted);
}

/* ---- plan ---- */

static void print_place(FILE *f, const pith_plan *p, int id)
{
    const pith_place *x = &p->places[id];
    if (x->kind == PITH_ARENA) fprintf(f, "%12zu", x->offset);
    else fprintf(f, "%12s", "store");
}

void pith_print_plan(FILE *f, const pith_plan *p)
{
    char shape[96], label[96];
    if (!pith_given(f, "pith_print_plan", "file")) return;
    if (!pith_given(p, "pith_print_plan", "plan")) return;
    fprintf(f, "%5s  %-28s %-27s %12s %12s  %s\n", "step", "op", "result", "bytes", "place",
            "from");
    for (int k = 0; k < p->n_steps; k++) {
        const pith_planned *s = &p->steps[k];
        if (s->chain && s->n_members > 1)
            snprintf(label, sizeof label, "chain of %d, to %s", s->n_members, s->n->op->name);
        else snprintf(label, sizeof label, "%s", s->n->op->name);
        for (int o = 0; o < s->n_out; o++) {
            const node *n = p->graph->nodes[s->out[o]];
            if (o) fprintf(f, "%5s  %-28s ", "", "");
            else fprintf(f, "%5d  %-28s ", k, label);
            fprintf(f, "%-4s %-22s %12zu ", pith_dtype_name(n->dtype), pith_shape_text(n, shape),
                    pith_bytes(n));
            print_place(f, p, n->id);
            fprintf(f, "  %s%s\n", n->at, n->origin ? " (backward)" : "");
        }
    }
    const pith_plan_stats s = pith_plan_statistics(p);
    fprintf(f, "%d nodes, %d merged, %d folded, %d in chains; %d steps\n", s.nodes, s.merged,
            s.folded, s.fused, s.steps);
    fprintf(f,
            "arena %zu bytes, lower bound %zu (%.3f); without in-place %zu, without fusion %zu, "
            "a buffer each %zu\n",
            s.arena, s.bound, s.bound ? (double)s.arena / (double)s.bound : 1, s.without_inplace,
            s.without_fusion, s.separate);
    fprintf(f, "%.1f MB moved and %.3f GFLOP of products a run\n", (double)s.moved / 1e6,
            s.gemm_flops / 1e9);
}

/* ---- time ---- */

void pith_time_plan(pith_plan *p, bool on)
{
    if (!pith_given(p, "pith_time_plan", "plan")) return;
    p->timing = on;
    p->timed_runs = 0;
    for (int k = 0; k < p->n_steps; k++) p->steps[k].seconds = 0;
}

typedef struct {
    char name[128];
    double seconds;
    int steps;
} row;

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : -(x->seconds > y->seconds);
}

static void name_op(const pith_planned *s, char *name, size_t size)
{
    snprintf(name, size, "%s%s", s->chain ? "pointwise" : s->n->op->name,
             s->n->origin ? " (backward)" : "");
}

static void name_scope(const pith_planned *s, char *name, size_t size)
{
    snprintf(name, size, "%s", *s->n->scope ? s->n->scope : "(no scope)");
}

static void print_table(FILE *f, const pith_plan *p, const char *title,
                        void (*name)(const pith_planned *, char *, size_t))
{
    row *rows = calloc((size_t)p->n_steps + 1, sizeof *rows);
    int n = 0;
    double total = 0;
    for (int k = 0; k < p->n_steps; k++) {
        char text[128];
        name(&p->steps[k], text, sizeof text);
        int r = 0;
        while (r < n && strcmp(rows[r].name, text)) r++;
        if (r == n) snprintf(rows[n++].name, sizeof rows->name, "%s", text);
        rows[r].seconds += p->steps[k].seconds;
        rows[r].steps++;
        total += p->steps[k].seconds;
    }
    qsort(rows, (size_t)n, sizeof *rows, by_time);
    fprintf(f, "%-44s %10s %7s %6s\n", title, "ms a run", "share", "steps");
    for (int r = 0; r < n && r < 40; r++)
        fprintf(f, "%-44s %10.3f %6.1f%% %6d\n", rows[r].name,
                1e3 * rows[r].seconds / (double)(p->timed_runs ? p->timed_runs : 1),
                total > 0 ? 100 * rows[r].seconds / total : 0, rows[r].steps);
    free(rows);
}

void pith_print_times(FILE *f, const pith_plan *p)
{
    if (!pith_given(f, "pith_print_times", "file")) return;
    if (!pith_given(p, "pith_print_times", "plan")) return;
    print_table(f, p, "op", name_op);
    print_table(f, p, "scope", name_scope);
}

double pith_gemm_share(const pith_plan *p)
{
    double gemm = 0, total = 0;
    if (!pith_given(p, "pith_gemm_share", "plan")) return 0;
    for (int k = 0; k < p->n_steps; k++) {
        const pith_planned *s = &p->steps[k];
        total += s->seconds;
        if (s->n->op->flags & PITH_GEMM) gemm += s->seconds;
    }
    return total > 0 ? gemm / total : 0;
}
