/* ladder.c: climbs the ladders, all of them or those named: checks every rung against the CPU and,
 * on a GPU, times it and says how near it comes to a copy.
 *
 *     ladder [softmax] [layer_norm] [cross_entropy] [attention] */
#include <stdio.h>
#include <stdlib.h>
#include "ladder.h"

/* In the order in which README.md wants them read. */
static const ladder *const ladders[] = { &ladder_softmax, &ladder_layer_norm, &ladder_cross_entropy,
                                         &ladder_attention };
enum { LADDERS = sizeof ladders / sizeof *ladders };

/* What sums of some thousand terms in different orders may differ by. */
static const double TOLERANCE = 1e-5;

#ifdef PITH_EMULATED
static const bool timed = false;
#else
static const bool timed = true;
#endif

static void print_size(const int *size)
{
    for (int k = 0; k < 4 && size[k]; k++) printf("%s%d", k ? " x " : "", size[k]);
}

static void print_head(const ladder *l)
{
    printf("\n%s, ", l->name);
    if (timed) print_size(l->timed);
    for (int s = 0; s < SIZES && !timed; s++) {
        printf(s ? ", " : "checked at ");
        print_size(l->checked[s]);
    }
    printf(" (%s): at least %g bytes %s\n", l->axes, l->least, l->unit);
    printf("   %-50s %6s %9s", "", "asked", "error");
    if (timed) printf(" %9s %9s", "ms", "of a copy");
    if (timed && l->flops > 0) printf(" %9s", "Gflop/s");
    printf("\n");
}

/* `rate`: bytes a second of a copy. */
static void print_rung(const ladder *l, int k, const finding *f, double rate)
{
    const rung *r = &l->rungs[k];
    const double units = l->units(l->timed);
    printf("%d  %-50s %6.4g %9.1e", k + 1, r->name, r->asked, f->error);
    if (timed)
        printf(" %9.3f %7.1f %%", 1000 * f->seconds, 100 * l->least * units / rate / f->seconds);
    if (timed && l->flops > 0) printf(" %9.0f", l->flops * units / f->seconds / 1e9);
    printf("%s\n", f->error <= TOLERANCE ? "" : "  WRONG");
}

/* False where a rung was wrong, or nothing could be run: then it has been told. */
static bool show(const ladder *l, double rate)
{
    finding worst[MOST_RUNGS] = { { 0 } }, found[MOST_RUNGS] = { { 0 } };
    bool right = true;
    for (int s = 0; s < SIZES + timed; s++) {
        if (!climb(l, s < SIZES ? l->checked[s] : l->timed, s == SIZES, found)) return false;
        for (int k = 0; k < MOST_RUNGS; k++) {
            worst[k].error = fmax(worst[k].error, found[k].error);
            worst[k].seconds = found[k].seconds;
        }
    }
    print_head(l);
    for (int k = 0; k < MOST_RUNGS && l->rungs[k].name; k++) {
        print_rung(l, k, &worst[k], rate);
        right = right && worst[k].error <= TOLERANCE;
    }
    return right;
}

static const ladder *ladder_named(const char *name)
{
    for (int k = 0; k < LADDERS; k++)
        if (strcmp(ladders[k]->name, name) == 0) return ladders[k];
    return NULL;
}

static void print_names(FILE *to)
{
    for (int k = 0; k < LADDERS; k++) fprintf(to, " %s", ladders[k]->name);
    fprintf(to, "\n");
}

int main(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        if (strcmp(argv[k], "--help") == 0) {
            printf("ladder [NAME...] climbs these, or all:");
            print_names(stdout);
            return EXIT_SUCCESS;
        }
        if (!ladder_named(argv[k])) {
            fprintf(stderr, "ladder: there is no ladder for \"%s\", only for:", argv[k]);
            print_names(stderr);
            return EXIT_FAILURE;
        }
    }
    const double rate = timed ? copy_rate() : 0;
    if (timed && rate <= 0) return EXIT_FAILURE;
    if (timed) printf("a copy on this device reads and writes %.0f GB/s\n", rate / 1e9);
    else puts("not timed: emulated");
    bool right = true;
    for (int k = 0; k < (argc > 1 ? argc - 1 : LADDERS); k++)
        right = show(argc > 1 ? ladder_named(argv[k + 1]) : ladders[k], rate) && right;
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
