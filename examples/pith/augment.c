/* augment.c: what --augment says: presets, and strengths by name. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "task.h"

static const struct {
    const char *name;
    pith_augment strengths;
} presets[] = {
    { "none", { .crop = 0 } },
    { "crop", { .crop = 0.9, .aspect = 0.33 } }, /* OpenCLIP's */
    { "light", { .shift = 0.06, .brightness = 0.1 } },
    { "strong",
      { .crop = 0.9,
        .aspect = 0.1,
        .shift = 0.1,
        .rotate = 14,
        .zoom = 0.2,
        .brightness = 0.2,
        .contrast = 0.3,
        .saturation = 0.4,
        .channel = 0.15,
        .blur = 0.8,
        .noise = 0.05 } },
    /* Scaling (Down) CLIP (Li et al., 2024) names crop and flip, RandAugment and stacked
       RandAugment, and gives no numbers: area and flips here are those of the codes that it cites.
     */
    { "crop-flip", { .crop = 0.08, .aspect = 1 / 3.0, .flip = 0.5 } },
    { "randaugment", { .flip = 0.5, .randaugment = 2, .magnitude = 10 } },
    { "stacked", /* SupCon's */
      { .crop = 0.08,
        .aspect = 1 / 3.0,
        .flip = 0.5,
        .brightness = 0.4,
        .contrast = 0.4,
        .saturation = 0.4,
        .hue = 0.1,
        .jitter = 0.8,
        .gray = 0.2,
        .gaussian = 0.5,
        .randaugment = 2,
        .magnitude = 10 } },
    { "stacked-infomin",
      { .crop = 0.08,
        .aspect = 1 / 3.0,
        .flip = 0.5,
        .brightness = 0.8,
        .contrast = 0.8,
        .saturation = 0.8,
        .hue = 0.2,
        .jitter = 0.8,
        .gray = 0.2,
        .gaussian = 0.5,
        .randaugment = 2,
        .magnitude = 10,
        .infomin = 1 } },
};

/* Where a strength is kept, and the most that it may be. */
static double *strength(pith_augment *a, const char *name, double *largest)
{
    const struct {
        const char *name;
        double *value, most;
    } all[] = {
        { "crop", &a->crop, 1 },
        { "aspect", &a->aspect, 4 },
        { "flip", &a->flip, 1 },
        { "shift", &a->shift, 1 },
        { "rotate", &a->rotate, 180 },
        { "zoom", &a->zoom, 10 },
        { "brightness", &a->brightness, 1 },
        { "contrast", &a->contrast, 1 },
        { "saturation", &a->saturation, 1 },
        { "channel", &a->channel, 1 },
        { "blur", &a->blur, 4 },
        { "noise", &a->noise, 1 },
        { "hue", &a->hue, 0.5 },
        { "jitter", &a->jitter, 1 },
        { "gray", &a->gray, 1 },
        { "gaussian", &a->gaussian, 1 },
        { "randaugment", &a->randaugment, PITH_MOST_RANDOM_OPS },
        { "magnitude", &a->magnitude, 10 },
        { "infomin", &a->infomin, 1 },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (!strcmp(all[k].name, name)) return *largest = all[k].most, all[k].value;
    return NULL;
}

pith_augment parse_augment(const char *text)
{
    pith_augment a = { 0 };
    char *copy = strdup(text), *rest = copy;
    for (char *word, whole[64]; (word = strsep(&rest, ","));) {
        char *equals = strchr(word, '='), *end = equals;
        snprintf(whole, sizeof whole, "%s", word);
        if (equals) *equals = 0;
        double largest = 0, *value = equals ? strength(&a, word, &largest) : NULL;
        size_t k = 0;
        if (value) *value = strtod(equals + 1, &end);
        for (; !equals && k < sizeof presets / sizeof *presets; k++)
            if (!strcmp(presets[k].name, word)) {
                a = presets[k].strengths;
                break;
            }
        if ((equals && (!value || end == equals + 1 || *end)) ||
            k == sizeof presets / sizeof *presets)
            pith_raise(
                "--augment: expected none, crop, light, strong, crop-flip, randaugment, stacked, "
                "stacked-infomin or STRENGTH=NUMBER (crop, aspect, flip, shift, rotate, "
                "zoom, brightness, contrast, saturation, channel, hue, jitter, gray, blur, "
                "gaussian, noise, randaugment, magnitude, infomin), found \"%s\"",
                whole);
        if (value && !(*value >= 0 && *value <= largest))
            pith_raise("--augment: %s is %g, expected 0 to %g", word, *value, largest);
        if (value == &a.randaugment && *value != floor(*value))
            pith_raise("--augment: randaugment is %g, expected a whole number of ops", *value);
    }
    free(copy);
    if ((a.randaugment > 0) != (a.magnitude > 0))
        pith_raise("--augment: randaugment and magnitude belong together, as in "
                   "randaugment=2,magnitude=10");
    return a;
}
