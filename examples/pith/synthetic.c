/* synthetic.c: --synthetic: captions written by a machine, beside those that the data have. */
#include <stdlib.h>
#include <string.h>
#include "task.h"

pith_synthetic parse_synthetic(const char *text, double *number)
{
    const bool replace = text && !strncmp(text, "replace", 7),
               add = text && !strncmp(text, "add", 3);
    double x = replace ? 0.5 : add ? 1 : 0;
    if (text) {
        const char *rest = text + (replace ? 7 : add ? 3 : 0), *equals = *rest == '=' ? rest : NULL;
        char *end = NULL;
        if (equals) x = strtod(equals + 1, &end);
        const bool whole = equals ? end != equals + 1 && !*end : !*rest;
        if (!(replace || add) || !whole || !(x > 0 && x <= (replace ? 1 : 1000)))
            pith_raise("--synthetic: expected replace or replace=SHARE, above 0 to 1, add or "
                       "add=WEIGHT, above 0 to 1000, found \"%s\"",
                       text);
    }
    if (number) *number = x;
    return replace ? PITH_REPLACE : add ? PITH_ADD : PITH_OWN_CAPTIONS;
}

void check_synthetic(const recipe *r, const pith_pack *pack, const char *data)
{
    if (parse_synthetic(r->synthetic, NULL) == PITH_OWN_CAPTIONS) return;
    for (int i = 0; i < pack->count; i++)
        if (pack->split[i] == PITH_TRAIN && pack->synthetic_start[i] < pack->synthetic_start[i + 1])
            return;
    pith_raise("%s has no synthetic captions in the split \"train\": --synthetic needs them; see "
               "pith help data",
               data);
}
