/* search.c: pith search: finds the pictures in a folder that are nearest to a text or to a picture.
 * Their rows are kept in the folder, in one file for each model. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "index.h"

static picture_index open_index(const model *m, const char *folder)
{
    char cache[4096], hash[17];
    picture_index x = { 0 };
    snprintf(cache, sizeof cache, "%s/.pith-index-%s.safetensors", folder,
             pith_hash_text(model_hash(m->store), hash));
    index_add(&x, folder);
    if (!x.n) pith_raise("%s: holds no PNG or JPEG picture", folder);
    if (!index_encode(&x, m, cache)) return x;
    if (!x.n) pith_raise("%s: holds no PNG or JPEG picture that can be read", folder);
    pith_store *s = pith_store_new();
    index_put(&x, s);
    pith_on_error(keep_quiet, NULL);
    const bool kept = pith_store_save(s, cache, PITH_WEIGHT);
    pith_on_error(NULL, NULL);
    if (!kept) fprintf(stderr, "%s: so the index is not kept\n", pith_error());
    pith_store_free(s);
    return x;
}

static const char *caption_of(const pith_captions *c, const char *folder, const char *file)
{
    const size_t start = strlen(folder);
    const char *name = strncmp(file, folder, start) ? file : file + start;
    while (*name == '/') name++;
    for (int k = 0; k < c->count; k++)
        if (!strcmp(c->file[k], name)) return c->caption[k];
    return "";
}

/* ---- the search ---- */

/* Reads the picture, if the query is one: called like a picture, or a file that holds one. */
static bool read_picture(const char *query, pith_picture *p)
{
    char why[256];
    return pith_is_picture_name(query) ? pith_picture_read(p, query)
                                       : pith_picture_try(p, query, why);
}

/* The row of words, or of a picture, if it is not NULL. */
static pith_real *query_row(const model *m, const char *words, const pith_picture *p)
{
    const size_t side = (size_t)m->config.image_size;
    pith_real *row = room(sizeof *row * (size_t)m->config.embed);
    if (!p) {
        encode_texts(&m->config, m->store, m->tokenizer, 1, &words, row);
        return row;
    }
    uint8_t *pixels = room(3 * side * side);
    make_view(&m->config, p, pixels);
    encode_pictures(&m->config, m->store, 1, NULL, m->config.image_size, pixels, row);
    free(pixels);
    return row;
}

typedef struct {
    double score;
    int index;
} hit;

static int by_score(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->index - y->index;
}

int command_search(int argc, char **argv)
{
    int64_t top = 10;
    const option options[] = {
        { "--top", INTEGER, &top, "how many are shown" },
        PICTURE_OPTIONS,
        END_OF_OPTIONS,
    };
    parse_options(
        options, "MODEL DIR \"words\" | PICTURE",
        "Prints the cosine and the name of the pictures below DIR nearest to the words "
        "or to the picture, with their\n"
        "captions, where DIR has them as for pith data pack. Rows are kept in DIR and computed "
        "for new or changed files alone.",
        3, 3, argc, argv);
    const char *folder = argv[2], *query = argv[3];
    if (!is_directory(folder)) pith_raise("%s: expected a folder of pictures", folder);
    if (!query[strspn(query, " \t\n")])
        pith_raise("expected words or a picture, found a blank text");
    pith_picture picture;
    const bool is_picture = read_picture(query, &picture);
    model m = is_picture ? open_model(argv[1]) : open_model_with_tokenizer(argv[1]);
    pith_real *row = query_row(&m, query, is_picture ? &picture : NULL);
    if (is_picture) pith_picture_free(&picture);
    picture_index x = open_index(&m, folder);
    pith_captions known;
    pith_captions_read(&known, folder);
    hit *hits = room(sizeof *hits * (size_t)x.n);
    for (int k = 0; k < x.n; k++) {
        double sum = 0;
        for (int d = 0; d < x.width; d++)
            sum += (double)row[d] * (double)x.rows[(size_t)k * (size_t)x.width + (size_t)d];
        hits[k] = (hit){ sum, k };
    }
    qsort(hits, (size_t)x.n, sizeof *hits, by_score);
    for (int k = 0; k < x.n && k < top; k++) {
        const char *file = x.file[hits[k].index], *caption = caption_of(&known, folder, file);
        printf("%.3f  %s%s%s\n", hits[k].score, plain(file), *caption ? "  " : "", plain(caption));
    }
    pith_captions_free(&known);
    free(hits);
    free(row);
    index_free(&x);
    close_model(&m);
    return 0;
}
