/* demo_data.c: the demo's pictures: fetched, packed, and laid out as files that a person can
 * search. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "demo.h"
#include "source.h"

void demo_phase(demo *d, const char *name, double start)
{
    d->phase[d->phases++] = (report_phase){ name, pith_seconds() - start };
}

/* Finds the splits that are measured, the most interesting one first. */
static void find_splits(demo *d)
{
    static const char *const name[] = { "composition", "artist", "unseen", "combination" };
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        const int split = pith_pack_split(d->pack, name[k]);
        if (split_size(d->pack, split)) d->split[d->splits++] = split;
    }
}

void demo_data(demo *d)
{
    char debs[4096], path[4096], why[512];
    const source_choice emoji = sources_named("emoji");
    double start = pith_seconds();
    make_directories(d->out);
    snprintf(debs, sizeof debs, "%s/debs", d->out);
    snprintf(path, sizeof path, "%s/data.pack", d->out);
    if (!d->shapes && !sources_fetch(&emoji, debs, why)) {
        printf("%s\nNo emoji pictures, so the demo goes on with coloured shapes, drawn by rule.\n",
               why);
        d->shapes = true;
    }
    demo_phase(d, "download", start);
    start = pith_seconds();
    pith_pack_report r = { 0 };
    if (d->shapes) pith_pack_shapes(path, d->side, 8000, (uint64_t)common_seed);
    else sources_pack(&emoji, debs, path, d->side, &r);
    d->pack = pith_pack_open(path);
    find_splits(d);
    demo_phase(d, "pack", start);
    printf("%d pairs of pictures and words:", d->pack->count);
    const char *between = " ";
    for (int k = 0; k < d->pack->splits; k++) {
        const int n = split_size(d->pack, k);
        if (n) printf("%s%d %s", between, n, d->pack->split_name[k]);
        between = n ? ", " : between;
    }
    printf("\n");
    fflush(stdout);
}

/* Writes a text as lower-case letters and digits with - between the words, for the name of a file.
 */
static void slug(char *to, size_t room, const char *text)
{
    size_t n = 0;
    for (; *text && n + 2 < room; text++) {
        if (isalnum((unsigned char)*text)) to[n++] = (char)tolower((unsigned char)*text);
        else if (n && to[n - 1] != '-') to[n++] = '-';
    }
    to[n - (n && to[n - 1] == '-')] = 0;
}

void demo_pictures(const demo *d)
{
    const pith_pack *p = d->pack;
    const size_t plane = (size_t)p->size * (size_t)p->size;
    char folder[4096], path[8192], caption[128], source[64], name[200];
    snprintf(folder, sizeof folder, "%s/pictures", d->out);
    pith_remove_all(folder); /* an earlier demo's, or a link that somebody has laid there */
    make_directories(folder);
    snprintf(path, sizeof path, "%s/captions.tsv", folder);
    FILE *list = fopen(path, "w");
    if (!list) pith_raise("%s: cannot be written", path);
    pith_picture picture = { p->size, p->size, room(4 * plane) };
    for (int i = 0; i < p->count; i++) {
        if (d->shapes &&
            p->split[i] == PITH_TRAIN) /* thousands of pictures that look much the same */
            continue;
        slug(caption, sizeof caption, p->caption[i]);
        slug(source, sizeof source, p->source[i]);
        snprintf(name, sizeof name, "%s.%s.png", caption, source);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        for (size_t k = 0; k < 4 * plane; k++)
            picture.rgba[k] = k % 4 == 3 ? 255 : p->pixels[((size_t)i * 3 + k % 4) * plane + k / 4];
        pith_picture_write(&picture, path);
        fprintf(list, "%s\t%s\n", name, p->caption[i]);
    }
    fclose(list);
    pith_picture_free(&picture);
}
