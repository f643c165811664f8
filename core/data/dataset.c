/* dataset.c: a split of a packed set as a dataset. */
#include "parts.h"

typedef struct {
    pith_dataset dataset;
    const pith_pack *pack;
    int *place;   /* the number in the pack of each sample */
    uint8_t *own; /* resized pictures, NULL where the pack has the right size */
} pack_dataset;

static pith_record record(const pith_dataset *s, int i, int c)
{
    const pack_dataset *p = s->context;
    const int place = p->place[i], *start = p->pack->synthetic_start + place;
    const char *const *list = c ? p->pack->synthetic + start[0] + c - 1 : p->pack->caption + place;
    return (pith_record){ .caption = c <= start[1] - start[0] ? *list : NULL,
                          .label = p->pack->label[place],
                          .place = place };
}

static bool decode(const pith_dataset *s, int i, int view, uint8_t *pixels, char why[256])
{
    (void)view, (void)why;
    const pack_dataset *p = s->context;
    const size_t picture = 3 * (size_t)s->size * (size_t)s->size;
    memcpy(pixels,
           p->own ? p->own + picture * (size_t)i : p->pack->pixels + picture * (size_t)p->place[i],
           picture);
    return true;
}

static void close_pack(pith_dataset *s)
{
    pack_dataset *p = s->context;
    free(p->place);
    free(p->own);
    free(p);
}

/* Resizes all pictures, unless the pack has the right size. */
static bool resize(pack_dataset *p)
{
    const int from = p->pack->size, to = p->dataset.size;
    const size_t in = 3 * (size_t)from * (size_t)from, out = 3 * (size_t)to * (size_t)to;
    if (from == to) return true;
    p->own = malloc(out * (size_t)p->dataset.count);
    if (!p->own) return false;
    bool good = true;
#pragma omp parallel for schedule(static) reduction(&& : good)
    for (int i = 0; i < p->dataset.count; i++)
        good = pith_resize_planes(p->pack->pixels + in * (size_t)p->place[i], from,
                                  p->own + out * (size_t)i, to) &&
               good;
    return good;
}

pith_dataset *pith_pack_dataset(const pith_pack *pack, int split, int size)
{
    if (split < 0 || split >= pack->splits)
        return pith_raise("there is no split number %d: the set has %d splits", split,
                          pack->splits),
               NULL;
    if (size < 1 || size > 4096)
        return pith_raise("the side of pictures is %d, expected 1 to 4096", size), NULL;
    pack_dataset *p = calloc(1, sizeof *p);
    bool good = p && (p->place = malloc(sizeof(int) * ((size_t)pack->count + 1)));
    if (good) {
        p->dataset = (pith_dataset){ .size = size,
                                     .split = pack->split_name[split],
                                     .hash = pack->hash,
                                     .context = p,
                                     .record = record,
                                     .decode = decode,
                                     .close = close_pack };
        p->pack = pack;
        for (int i = 0; i < pack->count; i++)
            if (pack->split[i] == split) p->place[p->dataset.count++] = i;
        good = resize(p);
    }
    if (good) return &p->dataset;
    if (p) free(p->place), free(p->own);
    free(p);
    return pith_raise("no memory for the pictures of a split"), NULL;
}

int pith_dataset_captions(const pith_dataset *s)
{
    int most = 1;
    for (int i = 0; i < s->count; i++)
        while (s->record(s, i, most).caption) most++;
    return most;
}

void pith_dataset_close(pith_dataset *s)
{
    if (s) s->close(s);
}
