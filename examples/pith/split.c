/* split.c: pith data split: new splits of a set, so that no picture is tested which has a
 * near-duplicate among those that are trained on.
 *
 * Near is a measure of pixels, without a model: a picture is brought to 12 x 12, the mean of its
 * 432 values is taken away, and two are near whose cosine is --cosine or more. A whole cluster of
 * near pictures (single linkage) goes to one side. Which one depends on --seed and on the cluster's
 * first source in the alphabet alone, so that the order of the pairs does not change it; but
 * clusters of more than MOST_TESTED pictures are trained on, since so many that look the same would
 * be a large part of a test in which nobody can tell them apart. What is tested is divided by
 * whether its caption is trained on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "files/files.h"
#include "neighbours/neighbours.h"
#include "source.h"

enum { SIDE = 12, WIDTH = 3 * SIDE * SIDE, MOST_TESTED = 50 };
static const char train[] = "train", valid[] = "valid", seen[] = "seen", unseen[] = "unseen";
static const char *const made[] = { train, valid, seen, unseen };
enum { MADE = sizeof made / sizeof *made };

typedef enum { MIXED, APART, AS_IS } rule;
typedef struct {
    const pith_pack *pack;
    rule *rule;         /* of each pair, as all below */
    const char **split; /* the one that it gets; NULL: it is left out */
    int *caption;       /* the same number for captions that differ in case and punctuation alone */
    int *cluster;       /* -1: as it is, and in none */
    pith_table captions; /* as bare_words makes them */
    int clusters, *size; /* size: of each cluster, without what stays apart */
} sorting;

/* ---- what the options name ---- */

static bool is_of_family(const char *source, const char *name)
{
    const size_t size = strlen(name);
    return !strncmp(source, name, size) && source[size] == '/';
}

/* A text with the names of the splits or of the families, which the caller frees. */
static char *all_names(const pith_pack *p, bool families)
{
    sheet s;
    pith_table names = { 0 };
    sheet_open(&s);
    for (int i = 0; i < p->count; i++) {
        const char *name = families ? p->source[i] : p->split_name[p->split[i]];
        const size_t size = families ? strcspn(name, "/") : strlen(name);
        if (families && !name[size]) continue;
        if (pith_table_find(&names, name, size) >= 0) continue;
        if (pith_table_add(&names, name, size) < 0) pith_raise("no memory for names");
        fprintf(s.f, "%s%.*s", names.count > 1 ? ", " : "", (int)size, name);
    }
    if (!names.count) fputs("none", s.f);
    pith_table_free(&names);
    if (fclose(s.f)) pith_raise("no memory for names");
    return s.text;
}

/* names: cut at its commas */
static void name_pairs(sorting *s, const char *by, rule r, char *names)
{
    const pith_pack *p = s->pack;
    for (char *name; (name = strsep(&names, ","));) {
        const int split = pith_pack_split(p, name);
        const bool is_split = split >= 0 && split_size(p, split);
        int found = 0;
        for (int k = 0; k < MADE; k++)
            if (!strcmp(name, made[k]))
                pith_raise("%s %s: train, valid, seen and unseen are the splits that are made anew",
                           by, name);
        for (int i = 0; i < p->count; i++) {
            const bool in = is_split ? p->split[i] == split
                                     : r == APART && is_of_family(p->source[i], name);
            if (in && s->rule[i] != MIXED)
                pith_raise("%s %s: %s has been named before, as a pair of %s: one name a pair", by,
                           name, plain(p->source[i]), s->split[i]);
            if (in) s->rule[i] = r, s->split[i] = name, found++;
        }
        if (!found)
            pith_raise("%s: expected splits (%s)%s%s%s, found \"%s\"", by,
                       plain(all_names(p, false)), r == APART ? " or families of sources (" : "",
                       r == APART ? plain(all_names(p, true)) : "", r == APART ? ")" : "", name);
    }
}

/* The number of a caption; synthetic ones are not numbered, and may have none: -1. */
static int caption_number(sorting *s, const char *caption, bool synthetic)
{
    const size_t size = strlen(caption) + 3;
    char *bare = room(size);
    bare_words(bare, size, caption);
    const size_t n = strlen(bare) + 1;
    const int number = synthetic ? pith_table_find(&s->captions, bare, n)
                                 : pith_table_add(&s->captions, bare, n);
    if (number < 0 && !synthetic) pith_raise("no memory for captions");
    free(bare);
    return number;
}

/* ---- clusters ---- */

/* A row of length 1. -1, or the shade of a picture that is all one grey, and has no direction. */
static int make_row(const pith_pack *p, int i, pith_real *row)
{
    uint8_t small[WIDTH];
    int sum = 0;
    double squares = 0;
    pith_resize_planes(p->pixels + 3 * (size_t)p->size * (size_t)p->size * (size_t)i, p->size,
                       small, SIDE);
    for (int k = 0; k < WIDTH; k++) sum += small[k];
    const double mean = (double)sum / WIDTH;
    for (int k = 0; k < WIDTH; k++) squares += (small[k] - mean) * (small[k] - mean);
    if (squares == 0) return small[0];
    for (int k = 0; k < WIDTH; k++) row[k] = (pith_real)((small[k] - mean) / sqrt(squares));
    return -1;
}

static void find_clusters(sorting *s, double cosine)
{
    /* shorter than this, as the groups are made, is at most the distance of that cosine */
    const double beta = nextafter(sqrt(2 - 2 * cosine), HUGE_VAL);
    const size_t count = (size_t)s->pack->count;
    pith_real *rows = room(sizeof *rows * count * WIDTH);
    int *shade = room(sizeof *shade * count), *found = room(sizeof *found * count);
    int of_shade[256], n = 0;
    memset(of_shade, -1, sizeof of_shade);
    for (size_t i = 0; i < count; i++)
        if (s->rule[i] != AS_IS) {
            shade[i] = make_row(s->pack, (int)i, rows + (size_t)n * WIDTH);
            n += shade[i] < 0;
        }
    s->clusters = n ? pith_near_groups(n, WIDTH, rows, beta, 1, found) : 0;
    n = 0;
    for (size_t i = 0; i < count; i++) {
        int *grey = of_shade + (shade[i] < 0 ? 0 : shade[i]);
        s->cluster[i] = -1;
        if (s->rule[i] == AS_IS) continue;
        if (shade[i] >= 0 && *grey < 0) *grey = s->clusters++;
        s->cluster[i] = shade[i] < 0 ? found[n++] : *grey;
    }
    s->size = room(sizeof *s->size * (size_t)s->clusters);
    for (size_t i = 0; i < count; i++)
        if (s->rule[i] == MIXED) s->size[s->cluster[i]]++;
    free(rows);
    free(shade);
    free(found);
}

/* ---- sides ---- */

/* More bytes behind the source bring its last letters into all bits of the hash. */
static const char *side_of(const char *source, const curation *c)
{
    static const char more[] = "pith data split";
    const uint64_t seed = (uint64_t)common_seed;
    uint64_t h = pith_hash_bytes(PITH_HASH, &seed, sizeof seed);
    h = pith_hash_bytes(pith_hash_bytes(h, source, strlen(source)), more, sizeof more);
    const double share = (double)(h >> 11) * 0x1p-53;
    return share < c->test ? unseen : share < c->test + c->valid ? valid : train;
}

/* The captions of a training pair, its synthetic ones too. */
static void mark_trained(sorting *s, int i, bool *trained)
{
    const pith_pack *p = s->pack;
    trained[s->caption[i]] = true;
    for (int k = p->synthetic_start[i]; k < p->synthetic_start[i + 1]; k++) {
        const int number = caption_number(s, p->synthetic[k], true);
        if (number >= 0) trained[number] = true;
    }
}

static void choose_sides(sorting *s, const curation *c)
{
    const pith_pack *p = s->pack;
    const char **first = room(sizeof *first * (size_t)s->clusters);
    const char **side = room(sizeof *side * (size_t)s->clusters);
    bool *trained = room((size_t)s->captions.count);
    for (int i = 0; i < p->count; i++) {
        if (s->rule[i] != MIXED) continue;
        const char **of = &first[s->cluster[i]];
        if (!*of || strcmp(p->source[i], *of) < 0) *of = p->source[i];
    }
    for (int k = 0; k < s->clusters; k++)
        if (first[k]) side[k] = s->size[k] > MOST_TESTED ? train : side_of(first[k], c);
    for (int i = 0; i < p->count; i++) {
        if (s->rule[i] == MIXED) s->split[i] = side[s->cluster[i]];
        if (s->rule[i] == MIXED && s->split[i] == train) mark_trained(s, i, trained);
        if (s->rule[i] == APART && side[s->cluster[i]] == train) s->split[i] = NULL;
    }
    for (int i = 0; i < p->count; i++)
        if (s->rule[i] == MIXED && s->split[i] == unseen && trained[s->caption[i]])
            s->split[i] = seen;
    free(first);
    free(side);
    free(trained);
}

/* ---- what came of it ---- */

static const char *name_of(const sorting *s, int i)
{
    return s->split[i] ? s->split[i] : "left out";
}

static void tell_split(const sorting *s, const char *name)
{
    bool *met = room((size_t)s->captions.count);
    int n = 0, captions = 0;
    for (int i = 0; i < s->pack->count; i++) {
        if (strcmp(name_of(s, i), name)) continue;
        n++;
        captions += !met[s->caption[i]];
        met[s->caption[i]] = true;
    }
    printf("    %-16s %6d pairs, %6d captions\n", plain(name), n, captions);
    free(met);
}

static void tell(const sorting *s, double cosine)
{
    const int count = s->pack->count;
    int largest = 0, grouped = 0, large = 0;
    pith_table names = { 0 };
    for (int k = 0; k < s->clusters; k++) {
        large += s->size[k] > MOST_TESTED;
        if (s->size[k] > largest) largest = s->size[k];
    }
    for (int i = 0; i < count; i++) grouped += s->cluster[i] >= 0;
    printf("%d pairs; %d of them in %d clusters at cosine %.6g, the largest of %d\n", count,
           grouped, s->clusters, cosine, largest);
    if (large)
        printf("trained on whatever the hash says: %d clusters of more than %d\n", large,
               MOST_TESTED);
    for (int k = 0; k < MADE; k++) pith_table_add(&names, made[k], strlen(made[k]) + 1);
    for (int i = 0; i < count; i++)
        if (s->split[i]) pith_table_add(&names, s->split[i], strlen(s->split[i]) + 1);
    for (int k = 0; k < names.count; k++) tell_split(s, pith_table_key(&names, k, NULL));
    tell_split(s, "left out");
    pith_table_free(&names);
}

static void write_manifest(const char *path, const sorting *s)
{
    sheet to;
    sheet_open(&to);
    fputs("source\tcluster\tsplit\tcaption\n", to.f);
    for (int i = 0; i < s->pack->count; i++) {
        put_column(to.f, s->pack->source[i]);
        if (s->cluster[i] < 0) fputs("\t-\t", to.f);
        else fprintf(to.f, "\t%d\t", s->cluster[i] + 1);
        put_column(to.f, name_of(s, i));
        fputc('\t', to.f);
        put_column(to.f, s->pack->caption[i]);
        fputc('\n', to.f);
    }
    sheet_write(&to, path);
}

void data_split(const char *data, const curation *c)
{
    char manifest[4096], *apart = copy_of(c->apart), *as_is = copy_of(c->as_is);
    int mixed = 0;
    need_option("--out", c->out);
    if (c->test + c->valid >= 1)
        pith_raise("--test %.6g and --valid %.6g leave nothing to train on", c->test, c->valid);
    name_beside(manifest, c->out, ".splits.tsv");
    check_pack(c->out, "pith-pack");
    check_output(manifest, 0, "source\tcluster");
    pith_pack *pack = pith_pack_open(data);
    const size_t count = (size_t)pack->count;
    sorting s = { .pack = pack };
    s.rule = room(sizeof *s.rule * count);
    s.split = room(sizeof *s.split * count);
    s.caption = room(sizeof *s.caption * count);
    s.cluster = room(sizeof *s.cluster * count);
    pith_chosen *list = room(sizeof *list * count);
    int chosen = 0;
    name_pairs(&s, "--apart", APART, apart);
    name_pairs(&s, "--as-is", AS_IS, as_is);
    for (size_t i = 0; i < count; i++) mixed += s.rule[i] == MIXED;
    if (!mixed) pith_raise("%s: --apart and --as-is name all pairs: none is left to split", data);
    for (size_t i = 0; i < count; i++) s.caption[i] = caption_number(&s, pack->caption[i], false);
    find_clusters(&s, c->cosine);
    choose_sides(&s, c);
    for (int i = 0; i < pack->count; i++)
        if (s.split[i])
            list[chosen++] = (pith_chosen){
                .pair = i, .caption = i, .split = s.split[i], .unlabelled = c->unlabelled
            };
    pith_pack_choose(pack, chosen, list, c->out);
    write_manifest(manifest, &s);
    tell(&s, c->cosine);
    printf("%s\n%s\n", c->out, manifest);
    free(list);
    free(s.rule);
    free(s.split);
    free(s.caption);
    free(s.cluster);
    free(s.size);
    pith_table_free(&s.captions);
    free(apart);
    free(as_is);
    pith_pack_close(pack);
}
