/* inspect.c: pith inspect: prints what a model is made of and what a pair costs to compute. */
#include <stdlib.h>
#include "command.h"

static double layer_parameters(const clip_tensor *list, int n, clip_part part, int layer)
{
    double sum = 0;
    for (int k = 0; k < n; k++) {
        double size = list[k].part == part && list[k].layer == layer && list[k].kind != PITH_STATE;
        for (int d = 0; d < list[k].ndim; d++) size *= list[k].dim[d];
        sum += size;
    }
    return sum;
}

/* Prints the layers; neighbours of equal sizes share a line. */
static void print_layers(const clip_tower *t, const clip_tensor *list, int n, clip_part part)
{
    static const char *const kind[] = { "", "  SAS", "  SAS-P" };
    printf("    layers    heads x width     FFN   parameters\n");
    for (int i = 0, from = 0; i < t->layers; i++) {
        if (i + 1 < t->layers && t->heads[i + 1] == t->heads[i] && t->ffn[i + 1] == t->ffn[i] &&
            t->block[i + 1] == t->block[i])
            continue;
        char range[32];
        snprintf(range, sizeof range, from < i ? "%d-%d" : "%d", from, i);
        printf("    %-9s %5d x %-5d %7d %12.0f%s%s\n", range, t->heads[i], t->head_width, t->ffn[i],
               layer_parameters(list, n, part, i), from < i ? " each" : "", kind[t->block[i]]);
        from = i + 1;
    }
}

static void print_image_tower(const clip_config *c, const clip_tensor *list, int n,
                              double parameters)
{
    const int grid = c->image_size / c->patch;
    printf("vision: %d x %d pixels, ", c->image_size, c->image_size);
    if (!clip_is_resnet(c)) {
        printf("patches of %d, %d tokens, width %d, %.0f parameters\n", c->patch, grid * grid + 1,
               c->vision.width, parameters);
        print_layers(&c->vision, list, n, CLIP_VISION);
        return;
    }
    printf("a ResNet, stem stride %d, %d x %d places at last, width %d, %.0f parameters\n",
           c->resnet.stem_stride, grid, grid, c->vision.width, parameters);
    printf("    stage     blocks  channels   parameters\n");
    for (int s = 0; s < 4; s++)
        printf("    %-9d %6d  %8d %12.0f\n", s + 1, c->resnet.layers[s], 4 * c->vision.width << s,
               layer_parameters(list, n, CLIP_VISION, s));
}

int command_inspect(int argc, char **argv)
{
    double tokens = 10;
    bool names = false;
    const char *of = NULL;
    const option options[] = {
        { "--tokens", NUMBER, &tokens,
          "tokens a caption that the cost is counted for, start and end included" },
        { "--of", PATH, &of, "the model that it was cut out of: shows what each layer kept of it" },
        { "--names", FLAG, &names,
          "every parameter by its name, with its shape: what --freeze takes" },
        END_OF_OPTIONS,
    };
    parse_options(options, "MODEL [--of LARGER] [--names]",
                  "Prints layers, heads, FFN widths, parameters, and the GFLOP of a pair's forward "
                  "pass: as done "
                  "here (captions\nwithout padding, the last block for the pooled token alone) and "
                  "by the usual full-length count.\n"
                  "MODEL: a directory, or a name of pith help's table.",
                  1, 1, argc, argv);
    const clip_config c = named_config(argv[1]), larger = of ? named_config(of) : c;
    if (of) check_part_of(&c, &larger);
    if (tokens < 2 || tokens > c.context)
        pith_raise("--tokens is %g, expected 2 to the context, %d", tokens, c.context);
    clip_tensor *list;
    const int n = clip_tensors(&c, &list);
    const clip_cost cost = clip_count(&c, tokens);
    print_image_tower(&c, list, n, cost.vision_parameters);
    printf("text: %d tokens at most, vocabulary %d, width %d, %.0f parameters\n", c.context,
           c.vocabulary, c.text.width, cost.text_parameters);
    print_layers(&c.text, list, n, CLIP_TEXT);
    int weights = 0;
    for (int k = 0; k < n; k++) weights += list[k].kind == PITH_WEIGHT;
    printf("shared space: %d; activation: %s\n", c.embed, c.quick_gelu ? "QuickGELU" : "GELU");
    printf("parameters: %.0f in %d tensors, %.1f MB in f32\n", cost.parameters, weights,
           4e-6 * cost.parameters);
    printf("GFLOP a pair: %.4f as done here with %g tokens a caption, %.4f by the usual count\n",
           cost.flops_pair / 1e9, tokens, cost.usual_flops_pair / 1e9);
    if (of) chart(stdout, &c, &larger);
    for (int k = 0; k < n && names; k++) {
        if (list[k].kind == PITH_STATE) continue;
        printf("%s", list[k].name);
        for (int d = 0; d < list[k].ndim; d++) printf(d ? " x %d" : " %d", list[k].dim[d]);
        putchar('\n');
    }
    free(list);
    return 0;
}
