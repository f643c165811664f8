/* compare_estimate.c: about how long the cells of a comparison will take, said before the first. */
#include <stdlib.h>
#include <string.h>
#include "compare.h"

/* Products are this share of the time of a small model's step: 1,702 GFLOP of demo-student's 300
 * steps took 46 s where products alone ran at 85 GFLOP/s. */
static const double share_of_products = 0.43;
static const double tokens_a_caption = 6;

/* GFLOP of products in a second on this machine: the most of three trials. */
static double measured_speed(void)
{
    enum { SIDE = 1024 };
    static double most;
    if (most > 0) return most;
    pith_store *s = pith_store_new();
    pith_graph *g = pith_graph_new(s, 0);
    pith_node *x = pith_input(g, "x", PITH_F32, SIDE, SIDE), *product = pith_matmul_nt(x, x);
    pith_plan *p = pith_plan_new(g, 1, &product, &common_plan);
    pith_real *zeros = room(sizeof *zeros * SIDE * SIDE);
    pith_feed(p, x, zeros);
    for (int k = 0; k < 4; k++) {
        const double start = pith_seconds();
        pith_run(p);
        const double speed = 2e-9 * SIDE * SIDE * SIDE / (pith_seconds() - start);
        if (k && speed > most) most = speed;
    }
    pith_plan_free(p);
    pith_graph_free(g);
    pith_store_free(s);
    free(zeros);
    return most;
}

/* The last value of the option called so in an arm's arguments, up to a blank; "" if it is not
 * there. */
static void value_of(char value[256], const compared *a, const char *name)
{
    *value = 0;
    for (const char *at = a->run; (at = strstr(at, name)); at += strlen(name))
        if (at[strlen(name)] == ' ') sscanf(at + strlen(name), " %255s", value);
}

static double number_in(const compared *a, const char *name, double otherwise)
{
    char value[256];
    value_of(value, a, name);
    return *value ? atof(value) : otherwise;
}

/* GFLOP of a training step's pair: forward, and twice as much backward. 0: not known yet. */
static double gflop_of(const comparison *c, int arm)
{
    char name[256];
    clip_config config;
    value_of(name, &c->arm[arm], "--student");
    if (!*name) value_of(name, &c->arm[arm], "--model");
    if (!*name) value_of(name, &c->arm[arm], "--teacher"); /* with --sasp-last: of its sizes */
    if (*name == '{') {                                    /* an earlier arm's model */
        name[strcspn(name, "}")] = 0;
        for (int k = 0; k < arm; k++)
            if (!strcmp(c->arm[k].name, name + 1)) return gflop_of(c, k);
    }
    if (!*name || *name == '{') return 0;
    config = named_config(name);
    return 3e-9 * clip_count(&config, tokens_a_caption).flops_pair;
}

double estimated_seconds(const comparison *c, int arm)
{
    const compared *a = &c->arm[arm];
    char keep[256];
    double stages = 1;
    if (!a->trains) return 0;
    value_of(keep, a, "--keep");
    if (!*keep) value_of(keep, a, "--stages");
    for (const char *k = keep; *k; k++) stages += *k == ',';
    return stages * number_in(a, "--steps", 1000) * number_in(a, "--batch", 128) *
           gflop_of(c, arm) / (measured_speed() * share_of_products);
}
