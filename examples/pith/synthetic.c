/* synthetic.c: --synthetic: captions written by a machine, beside those that the data have. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "task.h"

pith_synthetic parse_synthetic(const char *text, double *number)
{
    *number = 0;
    if (!text) return PITH_OWN_CAPTIONS;
    const bool replace = !strncmp(text, "replace", 7), add = !strncmp(text, "add", 3);
    const char *rest = text + (replace ? 7 : add ? 3 : 0);
    char *end = (char *)(uintptr_t)rest;
    *number = replace ? 0.5 : 1;
    if (*rest == '=') *number = strtod(rest + 1, &end);
    if (!(replace || add) || *end || end == rest + 1 || !isfinite(*number) || *number <= 0 ||
        (replace && *number > 1))
        pith_raise("--synthetic: expected replace or replace=SHARE, above 0 to 1, add or "
                   "add=WEIGHT, above 0, found \"%s\"",
                   text);
    return replace ? PITH_REPLACE : PITH_ADD;
}

void check_synthetic_text(const recipe *r)
{
    double number;
    parse_synthetic(r->synthetic, &number);
}

void check_synthetic(const recipe *r, const pith_pack *pack, const char *data)
{
    double number;
    if (parse_synthetic(r->synthetic, &number) == PITH_OWN_CAPTIONS) return;
    for (int i = 0; i < pack->count; i++)
        if (pack->split[i] == PITH_TRAIN && pack->synthetic_start[i] < pack->synthetic_start[i + 1])
            return;
    pith_raise("%s has no synthetic captions in the split \"train\": --synthetic needs them; see "
               "pith help data",
               data);
}
