/* split.c: pith data split: which pairs train and which test, so that no test picture looks nearly
 * like a training picture.
 *
 * Pictures are compared as 12 x 12 colours without their mean, by the cosine. Those nearer than
 * that are one cluster, by single linkage, and each cluster lies on one side as a whole. A test
 * pair is "seen" if its caption also stands in the training split, with another picture, else
 * "unseen". Some pictures look alike on purpose, as an emoji does in several tones of skin: splits
 * that ask for such combinations can stay as they are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "files/files.h"
#include "neighbours/neighbours.h"
#include "source.h"

enum { SIDE = 12, PLANE = SIDE * SIDE, WIDTH = 3 * PLANE + 4 };

typedef enum { BY_CLUSTER, APART, AS_IS, LEFT_OUT } role;

typedef struct {
    const pith_pack *pack;
    int n, *index, *cluster, clusters; /* of pairs that take part; index: a pair's number */
    role *role;                        /* of each pair of the pack */
    const char **split;                /* of each pair: its new one */
} splitting;

/* ---- which pairs take part ---- */

/* Is a name among those in `list`, between commas? Returns the place there, or NULL. */
static const char *listed(const char *list, const char *name, size_t size)
{
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == size && !strncmp(at, name, size)) return at;
    return NULL;
}

static size_t family(const char *source) { return strcspn(source, "/"); }

/* Each name must be a split, or for --apart the family of some source, of the pack. */
static void check_names(const pith_pack *p, const char *data, const char *what, const char *list,
                        bool families)
{
    char name[64];
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        bool found = pith_pack_split(p, name) >= 0;
        for (int i = 0; families && !found && i < p->count; i++)
            found = family(p->source[i]) == strlen(name) &&
                    !strncmp(p->source[i], name, strlen(name));
        if (!found)
            pith_raise("%s: %s: there is no split%s \"%s\"", data, what,
                       families ? " and no source" : "", name);
    }
}

/* The roles that names give; pairs apart get the split of that name, which lies in `apart`: the
 * names one after another, each closed by a zero byte. */
static void give_roles(splitting *s, const curation *c, const char *apart)
{
    const pith_pack *p = s->pack;
    for (int i = 0; i < p->count; i++) {
        const char *split = p->split_name[p->split[i]], *source = p->source[i];
        s->split[i] = split;
        if (listed(c->as_is, split, strlen(split))) s->role[i] = AS_IS;
        else if (listed(c->apart, split, strlen(split))) s->role[i] = APART;
        else if (listed(c->apart, source, family(source))) {
            s->role[i] = APART;
            s->split[i] = apart + (listed(c->apart, source, family(source)) - c->apart);
        }
        if (s->role[i] != AS_IS) s->index[s->n++] = i;
    }
}

/* ---- clusters ---- */

/* A row of length 1: the 12 x 12 picture less its mean. A picture of one colour has no such row: it
 * is told by the colour, in four places of their own. */
static void make_row(const pith_pack *p, int i, pith_real *row)
{
    uint8_t small[3 * PLANE];
    const size_t bytes = 3 * (size_t)p->size * (size_t)p->size;
    double mean = 0, squares = 0;
    pith_resize_planes(p->pixels + bytes * (size_t)i, p->size, small, SIDE);
    for (int k = 0; k < 3 * PLANE; k++) mean += small[k] / (3. * PLANE);
    for (int k = 0; k < 3 * PLANE; k++) squares += (small[k] - mean) * (small[k] - mean);
    const bool plain_colour = squares < 1;
    for (int k = 0; k < 3 * PLANE; k++)
        row[k] = plain_colour ? 0 : (pith_real)((small[k] - mean) / sqrt(squares));
    if (!plain_colour) return;
    squares = 255. * 255;
    for (int k = 0; k < 3; k++) squares += small[k * PLANE] * small[k * PLANE];
    for (int k = 0; k < 3; k++) row[3 * PLANE + k] = (pith_real)(small[k * PLANE] / sqrt(squares));
    row[3 * PLANE + 3] = (pith_real)(255 / sqrt(squares));
}

static void find_clusters(splitting *s, double cosine)
{
    pith_real *rows = room(sizeof *rows * (size_t)s->n * WIDTH);
    for (int k = 0; k < s->n; k++) make_row(s->pack, s->index[k], rows + (size_t)k * WIDTH);
    s->clusters = pith_near_groups(s->n, WIDTH, rows, sqrt(2 - 2 * cosine), 1, s->cluster);
    free(rows);
}

/* ---- sides ---- */

/* A cluster's number in [0, 1), from its first source in alphabetical order: so it depends neither
 * on the order of the pairs nor on what else there is. */
static double *draw_clusters(const splitting *s)
{
    const char **first = room(sizeof *first * (size_t)s->clusters);
    double *drawn = room(sizeof *drawn * (size_t)s->clusters);
    for (int k = 0; k < s->n; k++) {
        const char *source = s->pack->source[s->index[k]], **least = &first[s->cluster[k]];
        if (!*least || strcmp(source, *least) < 0) *least = source;
    }
    for (int k = 0; k < s->clusters; k++) {
        const uint64_t key[2] = { (uint64_t)common_seed,
                                  pith_hash_bytes(PITH_HASH, first[k], strlen(first[k])) };
        drawn[k] = (double)(pith_hash_bytes(PITH_HASH, key, sizeof key) >> 11) * 0x1p-53;
    }
    free(first);
    return drawn;
}

static void give_sides(splitting *s, const curation *c)
{
    double *drawn = draw_clusters(s);
    bool *trains = room(sizeof *trains * (size_t)s->clusters);
    for (int k = 0; k < s->n; k++) {
        const int i = s->index[k];
        const double x = drawn[s->cluster[k]];
        if (s->role[i] != BY_CLUSTER) continue;
        s->split[i] = x < c->test ? "unseen" : x < c->test + c->valid ? "valid" : "train";
        trains[s->cluster[k]] |= !strcmp(s->split[i], "train");
    }
    for (int k = 0; k < s->n; k++)
        if (s->role[s->index[k]] == APART && trains[s->cluster[k]]) s->role[s->index[k]] = LEFT_OUT;
    free(trains);
    free(drawn);
}

/* Test pairs whose captions training knows; case and punctuation count for nothing. */
static void find_seen(splitting *s)
{
    pith_table known = { 0 };
    char bare[1024];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < s->pack->count; i++) {
            if (strcmp(s->split[i], pass ? "unseen" : "train")) continue;
            if (pass && s->role[i] != BY_CLUSTER) continue;
            bare_words(bare, sizeof bare, s->pack->caption[i]);
            if (!pass) pith_table_add(&known, bare, strlen(bare) + 1);
            else if (pith_table_find(&known, bare, strlen(bare) + 1) >= 0) s->split[i] = "seen";
        }
    pith_table_free(&known);
}

/* ---- what came of it ---- */

static void print_splits(const splitting *s, const char *out)
{
    const pith_pack *p = s->pack;
    int *size = room(sizeof *size * (size_t)s->clusters), largest = 0, left_out = 0;
    for (int k = 0; k < s->n; k++)
        if (++size[s->cluster[k]] > largest) largest = size[s->cluster[k]];
    for (int i = 0; i < p->count; i++) left_out += s->role[i] == LEFT_OUT;
    printf("%d pictures, %d clusters, the largest of %d; %d of the pairs apart left out, for they "
           "look like training pictures\n",
           s->n, s->clusters, largest, left_out);
    for (int first = 0; first < p->count; first++) {
        bool told = s->role[first] == LEFT_OUT;
        for (int i = 0; i < first; i++)
            told |= s->role[i] != LEFT_OUT && !strcmp(s->split[i], s->split[first]);
        if (told) continue;
        pith_table captions = { 0 };
        int n = 0;
        for (int i = first; i < p->count; i++) {
            if (s->role[i] == LEFT_OUT || strcmp(s->split[i], s->split[first])) continue;
            pith_table_add(&captions, p->caption[i], strlen(p->caption[i]) + 1);
            n++;
        }
        printf("%-14s %6d pairs, %6d different captions\n", s->split[first], n, captions.count);
        pith_table_free(&captions);
    }
    printf("%s\n", out);
    free(size);
}

static void write_splits(const char *path, const splitting *s)
{
    sheet table;
    int *cluster = room(sizeof *cluster * (size_t)s->pack->count);
    for (int k = 0; k < s->n; k++) cluster[s->index[k]] = s->cluster[k] + 1;
    sheet_open(&table);
    fputs("split\tcluster\tsource\tcaption\n", table.f);
    for (int i = 0; i < s->pack->count; i++) {
        fprintf(table.f, "%s\t", s->role[i] == LEFT_OUT ? "left out" : s->split[i]);
        if (cluster[i]) fprintf(table.f, "%d\t", cluster[i]);
        else fputs("-\t", table.f);
        put_column(table.f, s->pack->source[i]);
        fputc('\t', table.f);
        put_column(table.f, s->pack->caption[i]);
        fputc('\n', table.f);
    }
    sheet_write(&table, path);
    printf("%s\n", path);
    free(cluster);
}

void data_split(const char *data, const curation *c)
{
    char manifest[4096];
    need_option("--out", c->out);
    name_beside(manifest, c->out, ".splits.tsv");
    check_output(c->out, 8, "{");
    check_output(manifest, 0, "split\tcluster");
    if (c->test + c->valid >= 1)
        pith_raise("--test %g and --valid %g leave nothing to train on", c->test, c->valid);
    pith_pack *pack = open_data(data, 32, 0, NULL);
    const size_t count = (size_t)pack->count;
    splitting s = { .pack = pack };
    s.index = room(sizeof *s.index * count);
    s.cluster = room(sizeof *s.cluster * count);
    s.role = room(sizeof *s.role * count);
    s.split = room(sizeof *s.split * count);
    check_names(pack, data, "--apart", c->apart, true);
    check_names(pack, data, "--as-is", c->as_is, false);
    char *apart = strdup(c->apart ? c->apart : "");
    for (char *at = apart; (at = strchr(at, ','));) *at++ = 0;
    give_roles(&s, c, apart);
    if (!s.n) pith_raise("%s: all pairs are to stay as they are", data);
    find_clusters(&s, c->cosine);
    give_sides(&s, c);
    find_seen(&s);
    pith_chosen *list = room(sizeof *list * count);
    int n = 0;
    for (int i = 0; i < pack->count; i++)
        if (s.role[i] != LEFT_OUT)
            list[n++] = (pith_chosen){
                .pair = i, .caption = i, .split = s.split[i], .unlabelled = c->unlabelled
            };
    pith_pack_choose(pack, n, list, c->out);
    print_splits(&s, c->out);
    write_splits(manifest, &s);
    free(list);
    free(apart);
    free(s.index), free(s.cluster), free(s.role), free(s.split);
    pith_pack_close(pack);
}
