/* graph.c: pith graph: draws the graph of a model and a loss, and prints its plan and its times as
 * tables. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "command.h"
#include "files/files.h"
#include "report_parts.h"
#include "scratch.h"

static const char *loss_text = "clip";
static int64_t pairs_wanted = 4, tokens = 10;
static bool dot, html, backward, plan, times;
static const option options[] = {
    { "--loss", TEXT, &loss_text, "see pith losses" },
    { "--dot", FLAG, &dot, "F is Graphviz's text" },
    { "--html", FLAG, &html, "F is one self-contained page" },
    { "--backward", FLAG, &backward, "the gradient of every parameter too" },
    { "--plan", FLAG, &plan, "print the plan: steps, shapes, bytes, places" },
    { "--times", FLAG, &times, "run it on random inputs and print the time by op and by scope" },
    { "--batch", INTEGER, &pairs_wanted, "pairs" },
    { "--tokens", INTEGER, &tokens, "tokens a caption" },
    END_OF_OPTIONS,
};

typedef struct {
    pith_store *store;
    pith_graph *g;
    clip_config c;
    clip_inputs in;
    pith_node *loss;
    int n;
    pith_node **out;
} drawing;

/* Builds the loss, what it and the model update, and with --backward the gradients. The rows of the
 * teacher are inputs. */
static drawing build(const char *name)
{
    drawing d = { .store = new_store() };
    if (is_directory(name)) clip_load(&d.c, d.store, name);
    else clip_config_named(&d.c, name);
    if (tokens > d.c.context)
        pith_raise("--tokens is %lld, the context of %s is %d", (long long)tokens, name,
                   d.c.context);
    const int B = (int)pairs_wanted, N = B * (int)tokens;
    d.g = pith_graph_new(d.store, (uint64_t)common_seed);
    d.in = clip_inputs_new(d.g, &d.c, B, N);
    pith_loss_spec *spec = pith_loss_parse(loss_text, scratch_directory());
    d.in.samples = B;
    pith_batch b = clip_batch(d.g, &d.c, &d.in);
    pith_teacher *teacher = pith_add_teacher(&b, d.c.embed);
    teacher->image = pith_input(d.g, "teachers.0.image", PITH_F32, B, d.c.embed);
    teacher->text = pith_input(d.g, "teachers.0.text", PITH_F32, B, d.c.embed);
    teacher->scale = pith_const(d.g, 100);
    d.loss = pith_name(pith_loss_build(spec, &b), "loss");
    pith_loss_free(spec);
    pith_node **params, **updates;
    const int n = backward ? pith_params(d.g, &params) : 0, written = pith_updates(d.g, &updates);
    d.out = room(sizeof *d.out * (size_t)(1 + written + n));
    d.out[d.n++] = d.loss;
    for (int k = 0; k < written; k++) d.out[d.n++] = updates[k];
    if (n) pith_grad(d.loss, n, params, d.out + d.n);
    d.n += n;
    return d;
}

/* ---- the page ---- */

/* Writes Graphviz's drawing into the page; false if Graphviz is not installed or not done within a
 * minute. (Without the limits given here it works for hours on a graph of thousands of nodes.) */
static bool draw_svg(FILE *f, const char *text, size_t size)
{
    char path[4200], command[4300], line[4096];
    bool inside = false;
    snprintf(path, sizeof path, "%s/graph.dot", scratch_directory());
    FILE *t = fopen(path, "wb");
    if (!t || fwrite(text, 1, size, t) != size || fclose(t) != 0)
        pith_raise("%s: cannot be written: %s", path, strerror(errno));
    snprintf(command, sizeof command,
             "timeout 60 dot -Tsvg -Gsplines=line -Gnslimit=1 -Gnslimit1=1 -Gmclimit=0.1 '%s' "
             "2>/dev/null",
             path);
    FILE *svg = popen(command, "r");
    while (svg && fgets(line, sizeof line, svg)) {
        inside |= strstr(line, "<svg") != NULL; /* the lines before are left out */
        if (inside) fputs(line, f);
    }
    if (svg) pclose(svg);
    unlink(path);
    return inside;
}

/* Instead of a drawing: a table of all nodes in the order in which they are computed, with links to
 * their inputs. */
static void list_nodes(FILE *f, const drawing *d)
{
    const int n = pith_graph_size(d->g);
    pith_node **at = room(sizeof *at * (size_t)n), **stack = room(sizeof *stack * (size_t)n);
    int depth = 0;
    for (int k = 0; k < d->n; k++)
        if (!at[d->out[k]->id]) at[d->out[k]->id] = stack[depth++] = d->out[k];
    while (depth) {
        const pith_node *m = stack[--depth];
        for (int k = 0; k < m->n_in; k++)
            if (!at[m->in[k]->id]) at[m->in[k]->id] = stack[depth++] = m->in[k];
    }
    fputs("<table><tr><th>node</th><th>formula</th><th>shape</th><th>inputs</th><th>from</th></"
          "tr>\n",
          f);
    for (int id = 0; id < n; id++) {
        if (!at[id]) continue;
        char *formula = NULL;
        size_t size = 0;
        FILE *t = open_memstream(&formula, &size);
        pith_print(t, at[id], 1);
        fclose(t);
        fprintf(f, "<tr id=\"n%d\"><td>%d</td><td>", id, id);
        report_text(f, formula);
        fputs("</td><td>(", f);
        for (int k = 0; k < at[id]->ndim; k++) fprintf(f, k ? ", %d" : "%d", at[id]->dim[k]);
        fputs(")</td><td>", f);
        for (int k = 0; k < at[id]->n_in; k++)
            fprintf(f, "<a href=\"#n%d\">%d</a> ", at[id]->in[k]->id, at[id]->in[k]->id);
        fprintf(f, "</td><td>%s</td></tr>\n", at[id]->at);
        free(formula);
    }
    fputs("</table>\n", f);
    free(at);
    free(stack);
}

static void write_page(FILE *f, const drawing *d, const char *text, size_t size)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta "
          "charset=\"utf-8\"><title>graph</title><style>\n"
          ":root { color-scheme: light dark; } body { font: 14px/1.4 system-ui, sans-serif; "
          "margin: 1rem; }\n"
          "svg { background: #fff; border-radius: 8px; } .whole svg { width: 100%; height: 92vh; } "
          "td, th { text-align: left; padding: .1rem .8rem .1rem 0; }\n"
          "b { font-weight: 400; color: #222; padding: .1rem .4rem; border-radius: 4px; }\n"
          "</style></head><body>\n<h1>",
          f);
    report_text(f, loss_text);
    fputs("</h1>\n<p><b style=\"background:#ffe0a3\">parameter</b> <b "
          "style=\"background:#d9ead3\">other leaf</b> "
          "<b style=\"background:#eee\">forward</b> <b "
          "style=\"background:#d6e0f5\">backward</b> <b "
          "style=\"background:#f4b6b6\">update</b></p>\n",
          f);
    fputs("<div class=\"whole\" onclick=\"this.classList.toggle('whole')\" title=\"click: the "
          "whole, or its real size\">\n",
          f);
    const bool drawn = draw_svg(f, text, size);
    fputs("</div>\n", f);
    if (!drawn) list_nodes(f, d);
    fputs("</body></html>\n", f);
}

static void draw(const drawing *d, const char *path)
{
    const size_t length = strlen(path);
    const bool as_page = html || (!dot && length > 5 && !strcmp(path + length - 5, ".html"));
    char *text = NULL;
    size_t size = 0;
    if (!as_page && !dot && !(length > 4 && !strcmp(path + length - 4, ".dot")))
        pith_raise("%s: expected a name that ends with .dot or .html, or --dot or --html", path);
    check_output(path, 0, as_page ? "<!" : "digraph");
    FILE *memory = open_memstream(&text, &size), *f = pith_begin_file(path);
    if (!f || !memory) pith_raise("%s: cannot be written: %s", path, pith_file_error(errno));
    pith_print_dot(memory, d->g, d->n > 1 ? pith_group(d->n, d->out) : d->loss);
    fclose(memory);
    if (as_page) write_page(f, d, text, size);
    else fwrite(text, 1, size, f);
    const int why = pith_end_file(f, path, !ferror(f));
    if (why) pith_raise("%s: cannot be written: %s", path, pith_file_error(why));
    printf("%s: %d nodes\n", path, pith_graph_size(d->g));
    free(text);
}

/* ---- tables ---- */

/* A batch as a loader would make it, of random numbers. */
static pith_host_batch random_batch(const drawing *d, pith_real *floats, size_t n, int *ints)
{
    const int B = d->in.pairs, N = d->in.tokens, T = (int)tokens;
    pith_host_batch b = { .rows = B,
                          .captions = B,
                          .pairs = B,
                          .tokens = N,
                          .size = d->c.image_size,
                          .pixels = floats,
                          .second_pixels = floats,
                          .ids = ints,
                          .positions = ints + N,
                          .offsets = ints + 2 * N };
    b.last = b.offsets + B + 1;
    b.caption_id = b.label = b.index = b.last + B;
    for (size_t i = 0; i < n; i++)
        floats[i] = (pith_real)((double)(i * 2654435761u % 2001) / 1000 - 1);
    for (int i = 0; i < N; i++) {
        b.ids[i] = i * 31 % d->c.vocabulary;
        b.positions[i] = i % T;
    }
    for (int i = 0; i < B; i++) {
        b.offsets[i + 1] = (i + 1) * T;
        b.last[i] = b.offsets[i + 1] - 1;
        b.index[i] = i;
    }
    return b;
}

static void feed(pith_plan *p, const pith_host_batch *b)
{
    static const pith_real progress = (pith_real)0.5;
    const pith_node *const *inputs;
    const int n = pith_plan_inputs(p, &inputs);
    pith_feed_batch(p, b);
    for (int k = 0; k < n; k++) {
        if (!strcmp(inputs[k]->name, "progress")) pith_feed(p, inputs[k], &progress);
        if (!strncmp(inputs[k]->name, "teachers.", 9)) pith_feed(p, inputs[k], b->pixels);
    }
}

static void print_tables(const drawing *d)
{
    enum { RUNS = 5 };
    pith_plan *p = pith_plan_new(d->g, d->n, d->out, &common_plan);
    if (plan) {
        const pith_device_bytes b = pith_store_bytes(d->store);
        pith_print_plan(stdout, p);
        printf("%zu bytes of weights and states", b.tensors);
        if (b.others) printf("; %zu bytes taken on the device by others and the driver", b.others);
        putchar('\n');
    }
    if (times) {
        const size_t n = pith_size(d->in.pixels) + (size_t)d->in.pairs * (size_t)d->c.embed;
        pith_real *floats = room(sizeof *floats * n);
        int *ints = room(sizeof *ints * (size_t)(2 * d->in.tokens + 3 * d->in.pairs + 1));
        const pith_host_batch b = random_batch(d, floats, n, ints);
        feed(p, &b);
        pith_run(p); /* the first run touches its memory */
        pith_time_plan(p, true);
        for (int k = 0; k < RUNS; k++) pith_run(p);
        pith_print_times(stdout, p);
        printf("%.1f %% of the time in ops made of matrix products\n", 100 * pith_gemm_share(p));
        free(floats);
        free(ints);
    }
    pith_plan_free(p);
}

int command_graph(int argc, char **argv)
{
    const int arguments =
        parse_options(options, "MODEL --loss L [--dot|--html] F | --plan | --times",
                      "Draws the graph of a model and a loss into F (.dot or .html), "
                      "or prints its plan or its times. "
                      "MODEL: a directory or a\nname of pith help's table. A page "
                      "holds Graphviz's drawing where dot is "
                      "installed, else a list of the nodes.",
                      1, 2, argc, argv);
    if (arguments < 2 && !plan && !times)
        pith_raise("pith graph: expected a file to draw into, --plan or --times");
    if (dot && html) pith_raise("--dot and --html cannot be given together");
    if (pairs_wanted < 1 || pairs_wanted > 8192)
        pith_raise("--batch is %lld, expected 1 to 8192", (long long)pairs_wanted);
    if (tokens < 2) pith_raise("--tokens is %lld, expected at least 2", (long long)tokens);
    drawing d = build(argv[1]);
    if (arguments == 2) draw(&d, argv[2]);
    if (plan || times) print_tables(&d);
    free(d.out);
    pith_graph_free(d.g);
    pith_store_free(d.store);
    return 0;
}
