/* data.c: pith data: fetches sets of data, packs them, and prints what is in them; and the table of
 * what else it does (curate.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "curate.h"
#include "source.h"

static int64_t size = 32, count = 20000;
static double valid = 0.05;
static bool left_out;
static curation curated = { .beta = 0.447,
                            .top = 0.4,
                            .shards = 1,
                            .k = 128,
                            .iterations = 100,
                            .repeat = 1,
                            .every = 1,
                            .cosine = 0.97,
                            .test = 0.15 };
static const option options[] = {
    { "--size", INTEGER, &size, "side of the packed pictures" },
    { "--valid", NUMBER, &valid,
      "pack: share of the pairs without a split that validate; split: of the clusters, 0.04" },
    { "--count", INTEGER, &count,
      "fetch shapes, twins: number of pictures; sample: of training pairs" },
    PICTURE_OPTIONS,
    { "--left-out", FLAG, &left_out, "pack: name every pair that is left out, and why" },
    { "--model", PATH, &curated.model, "balance, cluster, filter: the directory of the model" },
    { "--out", PATH, &curated.out, "balance, cluster, filter, sample, split: the file to write" },
    { "--beta", NUMBER, &curated.beta, "balance: pictures nearer than this are merged" },
    { "--remove", NUMBER, &curated.remove,
      "balance: the share of training pairs to remove, in place of --beta" },
    { "--shards", INTEGER, &curated.shards,
      "balance: so many parts alone first, then what they leave" },
    { "--k", INTEGER, &curated.k, "cluster: how many clusters" },
    { "--iterations", INTEGER, &curated.iterations, "cluster: at most so many" },
    { "--spherical", FLAG, &curated.spherical, "cluster: centroids of length 1" },
    { "--top", NUMBER, &curated.top, "filter: the share of training pairs to keep" },
    { "--cross-fit", PATH, &curated.cross_fit,
      "filter: another model, which scores the second half" },
    { "--truth", PATH, &curated.truth, "filter: the set with the original captions" },
    { "--json", TEXT, &curated.json, "filter: write the figures into this file" },
    { "--share", NUMBER, &curated.share, "sample: the share of training pairs to draw" },
    { "--half", INTEGER, &curated.half, "sample: half 1 or 2 of the training pairs" },
    { "--shuffle", NUMBER, &curated.shuffle,
      "sample: the share of training pairs that exchange captions" },
    { "--repeat", INTEGER, &curated.repeat, "sample: so often pairs stand in the set" },
    { "--every", INTEGER, &curated.every, "sample: not every pair is repeated, but each N-th" },
    { "--cosine", NUMBER, &curated.cosine, "split: pictures at least as near are one cluster" },
    { "--test", NUMBER, &curated.test, "split: the share of clusters that are tested" },
    { "--apart", TEXT, &curated.apart,
      "split: splits, or families of sources, that are tested on their own" },
    { "--as-is", TEXT, &curated.as_is, "split: splits that stay as they are" },
    { "--unlabelled", FLAG, &curated.unlabelled,
      "split: without labels, which of several sources are no one task" },
    END_OF_OPTIONS,
};

static void print_packed(const pith_pack_report *r)
{
    char text[80];
    const int bad = pith_pack_left_out(r, text);
    printf("%d pairs packed", r->read);
    if (bad) printf("; left out: %s (the first: %s)", text, plain(r->first_bad));
    putchar('\n');
}

/* Nothing, if there are none. */
static void print_synthetic(const pith_pack *p)
{
    int have = 0, least = 0, most = 0;
    for (int i = 0; i < p->count; i++) {
        const int n = p->synthetic_start[i + 1] - p->synthetic_start[i];
        if (!n) continue;
        if (!have++ || n < least) least = n;
        if (n > most) most = n;
    }
    if (!have) return;
    printf("synthetic captions: %d in all, of %d pairs, ", p->synthetic_start[p->count], have);
    if (least < most) printf("%d to ", least);
    printf("%d each\n", most);
}

/* What the commands take: the names behind theirs. */

static void fetch(char **name)
{
    const char *names = name[0], *folder = name[1];
    char pack[4096], debs[4096], why[512];
    pith_pack_report report = { 0 };
    const bool shapes = !strcmp(names, "shapes"), twins = !strcmp(names, "twins");
    const source_choice s = shapes || twins ? (source_choice){ 0 } : sources_named(names);
    make_directories(folder);
    snprintf(pack, sizeof pack, "%s/%s.pack", folder, strchr(names, ',') ? "corpus" : names);
    snprintf(debs, sizeof debs, "%s/debs", folder);
    if (shapes) {
        pith_pack_shapes(pack, (int)size, (int)count, (uint64_t)common_seed);
    } else if (twins) {
        pith_pack_twins(pack, (int)size, (int)count, (uint64_t)common_seed);
    } else {
        if (!sources_fetch(&s, debs, why)) pith_raise("%s", why);
        sources_pack(&s, debs, pack, (int)size, &report);
        print_packed(&report);
    }
    pith_pack *p = pith_pack_open(pack);
    print_synthetic(p);
    pith_pack_close(p);
    printf("%s\n", pack);
}

/* ---- stats ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_captions(const pith_pack *p)
{
    const char **sorted = room(sizeof *sorted * (size_t)p->count);
    size_t letters = 0, words = 0, different = 0;
    memcpy(sorted, p->caption, sizeof *sorted * (size_t)p->count);
    qsort(sorted, (size_t)p->count, sizeof *sorted, by_text);
    for (int i = 0; i < p->count; i++) {
        different += i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0;
        letters += strlen(sorted[i]);
        for (const char *s = sorted[i]; *(s += strspn(s, " \t")); s += strcspn(s, " \t")) words++;
    }
    printf("captions: %zu different, %.1f words and %.1f bytes on average\n", different,
           (double)words / p->count, (double)letters / p->count);
    printf("    %s\n    %s\n    %s\n", plain(p->caption[0]), plain(p->caption[p->count / 2]),
           plain(p->caption[p->count - 1]));
    free(sorted);
}

static void print_colours(const pith_pack *p)
{
    static const char *const names[] = { "red", "green", "blue" };
    const size_t area = (size_t)p->size * (size_t)p->size;
    for (size_t c = 0; c < 3; c++) {
        double sum = 0, squares = 0;
        const double n = (double)area * p->count;
        for (size_t i = 0; i < (size_t)p->count; i++) {
            const uint8_t *x = p->pixels + (3 * i + c) * area;
            int64_t s = 0, s2 = 0;
            for (size_t k = 0; k < area; k++) s += x[k], s2 += x[k] * x[k];
            sum += (double)s;
            squares += (double)s2;
        }
        printf("%s%s %.3f +- %.3f", c ? ", " : "colours: ", names[c], sum / n / 255,
               sqrt(fmax(0, squares / n - sum / n * sum / n)) / 255);
    }
    putchar('\n');
}

static void print_splits(const pith_pack *p)
{
    for (int s = 0; s < p->splits; s++)
        if (split_size(p, s)) printf("    %-16s %d\n", plain(p->split_name[s]), split_size(p, s));
}

static void stats(char **name)
{
    const char *path = name[0];
    pith_pack *p = pith_pack_open(path);
    char hash[17];
    int labels = -1;
    for (int i = 0; i < p->count; i++)
        if (p->label[i] > labels) labels = p->label[i];
    printf("%s: %d pairs, pictures of %d x %d, hash %s\n", path, p->count, p->size, p->size,
           pith_hash_text(p->hash, hash));
    print_splits(p);
    if (labels >= 0) printf("labels: 0 to %d\n", labels);
    print_captions(p);
    print_synthetic(p);
    print_colours(p);
    pith_pack_close(p);
}

/* An option that does nothing for `what` is refused. */
static void check_given(const char *what)
{
    static const struct {
        const char *name, *acts;
    } all[] = {
        { "--size", "fetch pack" },
        { "--count", "fetch sample" },
        { "--valid", "pack split" },
        { "--left-out", "pack" },
        { "--seed", "fetch cluster sample split" },
        { "--megapixels", "fetch pack balance cluster filter sample" },
        { "--model", "balance cluster filter" },
        { "--out", "balance cluster filter sample split" },
        { "--beta", "balance" },
        { "--remove", "balance" },
        { "--shards", "balance" },
        { "--k", "cluster" },
        { "--iterations", "cluster" },
        { "--spherical", "cluster" },
        { "--top", "filter" },
        { "--cross-fit", "filter" },
        { "--truth", "filter" },
        { "--json", "filter" },
        { "--share", "sample" },
        { "--half", "sample" },
        { "--shuffle", "sample" },
        { "--repeat", "sample" },
        { "--every", "sample" },
        { "--cosine", "split" },
        { "--test", "split" },
        { "--apart", "split" },
        { "--as-is", "split" },
        { "--unlabelled", "split" },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (was_given(all[k].name) && !strstr(all[k].acts, what))
            pith_raise("pith data %s has no option %s", what, all[k].name);
}

static void check(char **name)
{
    const char *path = name[0];
    pith_pack *p = pith_pack_open(path);
    pith_pack_check(p, path);
    printf("%s: %d pairs, as they were written\n", path, p->count);
    print_synthetic(p);
    pith_pack_close(p);
}

static void pack(char **name)
{
    const char *data = name[0], *out = name[1];
    pith_pack_report report = { .list = left_out ? stdout : NULL };
    check_pack(out, "pith-pack");
    pith_pack_folder(data, out, (int)size, valid, &report);
    print_packed(&report);
    pith_pack *p = pith_pack_open(out);
    print_splits(p);
    print_synthetic(p);
    pith_pack_close(p);
}

static void balance(char **name) { data_balance(name[0], &curated); }
static void cluster(char **name) { data_cluster(name[0], &curated); }
static void filter(char **name) { data_filter(name[0], &curated); }

static void sample(char **name)
{
    curated.count = was_given("--count") ? count : 0;
    data_sample(name[0], &curated);
}

static void split(char **name)
{
    curated.valid = was_given("--valid") ? valid : 0.04;
    data_split(name[0], &curated);
}

static const struct {
    const char *name;
    int names;
    void (*run)(char **name);
} commands[] = {
    { "fetch", 2, fetch },   { "pack", 2, pack },       { "stats", 1, stats },
    { "check", 1, check },   { "balance", 1, balance }, { "cluster", 1, cluster },
    { "filter", 1, filter }, { "sample", 1, sample },   { "split", 1, split },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char about[] =
    "fetch: makes DIR/NAME.pack, or of several names DIR/corpus.pack. The pictures of "
    "emoji, twemoji, stamps, clipart,\n"
    "furniture, icons, tiles, flags and fashion are downloaded as Debian packages and "
    "unpacked into DIR/debs, not\n"
    "installed; their sizes and licences are told first, and what is in DIR/debs is not "
    "downloaded again. shapes are drawn\n"
    "by rule, and so are twins, couples of pictures 2k and 2k+1 in which one of size, "
    "colour, shape and ground differs;\n"
    "each is asked for alone. By a hash of the caption 10 % of the pairs are \"test\" and"
    " 4 % \"valid\", the same captions in\n"
    "all sources; emoji and fashion have splits of their own. Labels are classes or "
    "folders; of several sources each has\n"
    "its own, one after another.\n"
    "pack: a folder (captions.tsv, captions.jsonl, metadata.jsonl or NAME.txt beside NAME.png or "
    "NAME.jpg) or a manifest (.tsv,\n"
    ".jsonl) becomes one file that is mapped into memory. stats: what a packed file holds. check: "
    "whether it is what was written.\n"
    "captions.tsv has a pair a line and the columns file, caption and, if wanted, split (a word: "
    "train, valid, ...)\n"
    "and label (-1 to 999999), with tabs between them; all further columns are synthetic "
    "captions, written by a\n"
    "machine, for pith train --synthetic. captions.jsonl has an object a line with the same "
    "names; \"synthetic\" is a list.\n\n"
    "balance: training pictures that the model sees nearer than --beta, or near enough to remove "
    "the share --remove, are one\n"
    "group, and of each group only the picture nearest to its centroid stays. Distances lie "
    "between 0 and 2; 0.447 is a\n"
    "cosine of 0.9. Beside OUT.pack it writes OUT.groups.tsv (group, what, source, caption, "
    "distance) and OUT.groups.html,\n"
    "contact sheets of what was merged. cluster: k-means over training pictures; every pair of "
    "the set gets its nearest\n"
    "centroid, in a safetensors file for losses that learn from clusters. filter: the training "
    "pairs whose picture and\n"
    "caption the model finds most alike stay; OUT.scores.tsv has all scores. With --cross-fit "
    "half of the captions, by their\n"
    "hash, are scored by --model and the others by the second model, each half ranked alone: "
    "train each model on the half\n"
    "that it does not score. --truth ORIGINAL.pack, the set before its captions were exchanged, "
    "tells the AUC of the score:\n"
    "how often an original caption scores higher than another; without --model the original ones "
    "stay.\n"
    "sample: a part of the training pairs, or planted noise and duplicates, keyed by --seed. "
    "First --half, then --share or\n"
    "--count: drawn at random, and with the same seed fewer are a part of more. Then --shuffle: "
    "the captions of a share of\n"
    "the pairs, with synthetic ones, change places, so that none keeps its own text where that is "
    "possible. Then --repeat N\n"
    "--every K: every K-th pair stands N times; the sources of copies end in #2, #3, ... A model "
    "trained on --half 2 is\n"
    "filter's --model, which scores half 1; one trained on --half 1 is its --cross-fit.\n"
    "Other splits always stay as they are. DATA: a packed file, or what can be packed, by sample "
    "as pictures of 32 x 32.\n\n"
    "split: new splits in which no picture is tested that has a near-duplicate in training. "
    "Pictures whose 12 x 12 pixels,\n"
    "without their mean, have a cosine of --cosine or more are one cluster, and a cluster lies on "
    "one side: by a hash --test\n"
    "of them are tested, --valid validate, the others train, and so does each of more than 50 "
    "pictures. Tested pairs are \"seen\"\n"
    "if their caption is trained on, whatever its case and punctuation, else \"unseen\". --apart "
    "NAME[,NAME...]: the pairs of a\n"
    "split, or of a family of sources, as stamps, are the split NAME, without those that have a "
    "near-duplicate in training.\n"
    "--as-is NAME[,NAME...]: pairs of these splits stay there, near or not: skin tones that are "
    "combined anew look alike on\n"
    "purpose. OUT.splits.tsv has source, cluster, split and caption of all pairs.";

int command_data(int argc, char **argv)
{
    static const char usage[] =
        "fetch NAME[,NAME...] DIR | pack DATA OUT --size N | stats PACK | check PACK\n"
        "     | balance DATA --model M --beta X|--remove X --out OUT.pack\n"
        "     | cluster DATA --model M --k N --out OUT.clusters\n"
        "     | filter DATA --model M --top X [--truth ORIGINAL.pack] --out OUT.pack\n"
        "     | sample DATA --share X|--count N|--half N|--shuffle X|--repeat N --out OUT.pack\n"
        "     | split PACK [--apart A,B] [--as-is A,B] --out OUT.pack";
    const int arguments = parse_options(options, usage, about, 2, 3, argc, argv);
    const char *what = argv[1];
    int k = 0;
    check_given(what);
    while (k < COMMANDS && strcmp(commands[k].name, what)) k++;
    if (k == COMMANDS)
        pith_raise("pith data: expected fetch, pack, stats, check, balance, cluster, filter, "
                   "sample or split, found \"%s\"",
                   what);
    if (arguments != 1 + commands[k].names)
        pith_raise("pith data %s: expected %d names behind it, found %d: see pith help data", what,
                   commands[k].names, arguments - 1);
    if (curated.out) check_differs(curated.out, argv[2], "what is read");
    commands[k].run(argv + 2);
    return 0;
}
