/* pack_keep.c: a packed set made from another: some of its pairs left out, captions exchanged,
 * pairs standing there more than once, or in other splits. */
#include "parts.h"

/* The source of a copy, which the caller frees. */
static char *numbered(const char *source, int copy)
{
    const size_t size = strlen(source) + 16;
    char *text = malloc(size);
    if (text) snprintf(text, size, "%s#%d", source, copy);
    return text;
}

static bool add_pair(pith_packer *to, const pith_pack *p, const pith_chosen *one, uint8_t *rgb)
{
    const int i = one->pair, words = one->caption;
    const size_t plane = (size_t)p->size * (size_t)p->size;
    const uint8_t *planes = p->pixels + 3 * plane * (size_t)i;
    for (size_t k = 0; k < plane; k++)
        for (size_t c = 0; c < 3; c++) rgb[3 * k + c] = planes[c * plane + k];
    char *copy = one->copy ? numbered(p->source[i], one->copy) : NULL;
    if (one->copy && !copy) return pith_raise("%s: no memory for a copy", p->source[i]);
    bool good = pith_packer_add(to, rgb, p->caption[words], copy ? copy : p->source[i],
                                one->split ? one->split : p->split_name[p->split[i]],
                                one->unlabelled ? -1 : p->label[i]);
    free(copy);
    for (int k = p->synthetic_start[words]; good && k < p->synthetic_start[words + 1]; k++)
        good = pith_packer_add_synthetic(to, p->synthetic[k]);
    return good;
}

bool pith_pack_choose(const pith_pack *p, int n, const pith_chosen *list, const char *out)
{
    pith_packer *to = pith_packer_new(out, p->size);
    uint8_t *rgb = malloc(3 * (size_t)p->size * (size_t)p->size);
    bool good = to != NULL;
    if (good && !rgb) good = pith_raise("%s: no memory", out);
    for (int k = 0; good && k < n; k++) good = add_pair(to, p, &list[k], rgb);
    free(rgb);
    if (good) return pith_packer_finish(to);
    pith_packer_drop(to);
    return false;
}

bool pith_pack_keep(const pith_pack *p, const bool *keep, const char *out)
{
    pith_chosen *list = malloc(sizeof *list * (size_t)p->count);
    if (!list) return pith_raise("%s: no memory", out);
    int n = 0;
    for (int i = 0; i < p->count; i++)
        if (keep[i]) list[n++] = (pith_chosen){ .pair = i, .caption = i };
    const bool good = pith_pack_choose(p, n, list, out);
    free(list);
    return good;
}
