/* pack_keep.c: a packed set with some of its pairs left out. */
#include "parts.h"

static bool add_pair(pith_packer *to, const pith_pack *p, int i, uint8_t *rgb)
{
    const size_t plane = (size_t)p->size * (size_t)p->size;
    const uint8_t *planes = p->pixels + 3 * plane * (size_t)i;
    for (size_t k = 0; k < plane; k++)
        for (size_t c = 0; c < 3; c++) rgb[3 * k + c] = planes[c * plane + k];
    bool good = pith_packer_add(to, rgb, p->caption[i], p->source[i], p->split_name[p->split[i]],
                                p->label[i]);
    for (int k = p->synthetic_start[i]; good && k < p->synthetic_start[i + 1]; k++)
        good = pith_packer_add_synthetic(to, p->synthetic[k]);
    return good;
}

bool pith_pack_keep(const pith_pack *p, const bool *keep, const char *out)
{
    pith_packer *to = pith_packer_new(out, p->size);
    uint8_t *rgb = malloc(3 * (size_t)p->size * (size_t)p->size);
    bool good = to != NULL;
    if (good && !rgb) good = pith_raise("%s: no memory", out);
    for (int i = 0; good && i < p->count; i++)
        if (keep[i]) good = add_pair(to, p, i, rgb);
    free(rgb);
    if (good) return pith_packer_finish(to);
    pith_packer_drop(to);
    return false;
}
