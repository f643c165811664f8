/* options.c: parses options and prints help, both from one table, so that they cannot differ. */
#include "command.h"
#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int64_t common_seed = 0, common_threads = 0;
const char *common_precision = "f32";
static const char *device_name = "auto";
pith_plan_options common_plan;
double common_megapixels = 64;

static const option common[] = { { "--seed", INTEGER, &common_seed, "keys every random number" },
                                 { "--threads", INTEGER, &common_threads,
                                   "0: as many as the machine has; results do not depend on it" },
                                 { "--device", TEXT, &device_name,
                                   "cpu, cuda, or auto: cuda where there is one" },
                                 { "--precision", TEXT, &common_precision,
                                   "f32, or bf16: products and activations between them" },
                                 END_OF_OPTIONS };

/* Do the common options do something in this command? */
static bool has_common(const char *command, const char *name)
{
    static const struct {
        const char *name, *without;
    } list[] = {
        { "--seed", " eval search embed inspect losses tokenize preprocess run compare " },
        { "--threads", " inspect losses tokenize " },
        { "--device", " inspect losses tokenize preprocess check compare " },
        { "--precision", " inspect losses tokenize preprocess check compare " },
    };
    char word[64];
    snprintf(word, sizeof word, " %.50s ", command);
    for (size_t k = 0; k < sizeof list / sizeof *list; k++)
        if (!strcmp(list[k].name, name)) return !strstr(list[k].without, word);
    return true;
}

/* How many letters must be changed, added or dropped to turn a into b (Levenshtein). */
static int distance(const char *a, const char *b)
{
    int row[65];
    const int n = (int)strnlen(b, 64);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; i < 64 && a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= n; j++) {
            const int change = diagonal + (a[i] != b[j - 1]);
            const int other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

const char *nearest_name(const char *wrong, int n, const char *const *names)
{
    const char *best = NULL;
    for (int k = 0, least = 4; k < n; k++) {
        const int d = distance(wrong, names[k]);
        if (d < least && d < (int)strlen(names[k])) least = d, best = names[k];
    }
    return best;
}

static const option *find(const option *table, const char *name, size_t size)
{
    for (; table->name; table++)
        if (strlen(table->name) == size && !strncmp(table->name, name, size)) return table;
    return NULL;
}

/* What the command line named, for was_given. */
static const option *given[64];
static int n_given;

bool was_given(const char *name)
{
    for (int k = 0; k < n_given; k++)
        if (!strcmp(given[k]->name, name)) return true;
    return false;
}

static void raise_unknown_option(const char *command, const char *name, const option *table)
{
    const char *names[64];
    int n = 0;
    for (const option *o = table; o->name; o++) names[n++] = o->name;
    for (const option *o = common; o->name; o++)
        if (has_common(command, o->name)) names[n++] = o->name;
    const char *nearest = nearest_name(name, n, names);
    pith_raise("pith %s has no option %s%s%s%s", command, name, nearest ? "; did you mean " : "",
               nearest ? nearest : "", nearest ? "?" : "");
}

/* What the numbers of options may be; those not listed, at least 0. */
static const struct range {
    const char *name;
    double least, most;
} ranges[] = {
    { "--seed", -1e15, 1e15 },     { "--threads", 0, 1024 },
    { "--steps", 1, 1e9 },         { "--teacher-steps", 1, 1e9 },
    { "--student-steps", 1, 1e9 }, { "--batch", 1, 65536 },
    { "--size", 1, 4096 },         { "--count", 1, 1e6 },
    { "--context", 1, 4096 },      { "--tokens", 1, 4096 },
    { "--top", 1, 1e6 },           { "--views", 0, 1000 },
    { "--seeds", 1, 1000 },        { "--ema", 0, 0.999999 },
    { "--valid", 0, 0.99 },        { "--megapixels", 0.001, 500 },
    { "--mask-lr", 0, 100 },       { "--multiplier-lr", 0, 100 },
    { "--shards", 1, 1e6 },        { "--k", 1, 1e6 },
    { "--iterations", 1, 1e6 },    { "--mask-patches", 0, 0.99 },
    { "--remove", 0, 1 },          { "--share", 0, 1 },
    { "--shuffle", 0, 1 },         { "--half", 1, 2 },
    { "--repeat", 2, 1e6 },        { "--every", 1, 1e6 },
    { "--cosine", 0, 1 },          { "--test", 0, 0.99 },
};

static void check_range(const option *o, double x)
{
    double least = 0, most = 1e12;
    for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
        if (!strcmp(ranges[k].name, o->name)) least = ranges[k].least, most = ranges[k].most;
    if (o->kind == NUMBER && !strcmp(o->name, "--top")) least = 0, most = 1; /* a share, no count */
    if (!(x >= least && x <= most))
        pith_raise("%s: expected a number from %.12g to %.12g, found %.12g", o->name, least, most,
                   x);
}

void check_number(const option *o)
{
    if (o->kind == INTEGER) check_range(o, (double)*(int64_t *)o->value);
    if (o->kind == NUMBER) check_range(o, *(double *)o->value);
}

static void set_option(const option *o, const char *text)
{
    char *end;
    errno = 0;
    if (o->kind >= TEXT) {
        *(const char **)o->value = text;
    } else if (o->kind == INTEGER) {
        *(int64_t *)o->value = strtoll(text, &end, 10);
        if (!*text || *end || errno)
            pith_raise("%s: expected a whole number, found \"%s\"", o->name, text);
    } else {
        *(double *)o->value = strtod(text, &end);
        if (!*text || *end || errno)
            pith_raise("%s: expected a number, found \"%s\"", o->name, text);
    }
    check_number(o);
}

static void print_table(const option *table, const char *command)
{
    static const char *const word[] = { "", " N", " X", " ..", " .." };
    for (const option *o = table; o->name; o++) {
        if (!has_common(command, o->name)) continue;
        printf("  %s%-*s %s", o->name, 20 - (int)strlen(o->name), word[o->kind], o->help);
        if (o->kind == INTEGER && *(int64_t *)o->value)
            printf(" (%lld)", (long long)*(int64_t *)o->value);
        if (o->kind == NUMBER && *(double *)o->value != 0) printf(" (%g)", *(double *)o->value);
        if (o->kind >= TEXT && *(const char **)o->value) printf(" (%s)", *(const char **)o->value);
        putchar('\n');
    }
}

static void help(const option *table, const char *command, const char *usage, const char *about)
{
    printf("pith %s %s\n\n%s\n\n", command, usage, about);
    print_table(table, command);
    print_table(common, command);
    exit(0);
}

void keep_precision(const char *run, const char *then)
{
    if (!then) then = "f32";
    if (was_given("--precision") && strcmp(then, common_precision))
        pith_raise("%s was begun with --precision %s, found %s: a run that is resumed keeps it",
                   run, plain(then), common_precision);
    common_precision = then;
}

static bool on_cuda(void)
{
    return strcmp(device_name, "auto") ? !strcmp(device_name, "cuda") : !pith_no_device(PITH_CUDA);
}

static void set_precision(void)
{
    static bool told;
    common_plan.bf16 = !strcmp(common_precision, "bf16");
    if (!common_plan.bf16 && strcmp(common_precision, "f32"))
        pith_raise("--precision: expected f32 or bf16, found \"%s\"", common_precision);
    if (common_plan.bf16 && !told && !pith_multiplies_bf16() && !on_cuda())
        fprintf(stderr, "pith: no product of bf16 on this processor: products are f32, of numbers "
                        "rounded to bf16\n");
    told = common_plan.bf16;
}

int parse_options(const option *table, const char *usage, const char *about, int least, int most,
                  int argc, char **argv)
{
    int arguments = 0;
    bool closed = false; /* after -- nothing is an option */
    for (int k = 1; k < argc; k++) {
        char *at = argv[k], *equals = strchr(at, '=');
        if (closed || at[0] != '-' || !at[1]) {
            if (!*at)
                pith_raise("pith %s: an argument is empty: usage: pith %s %s", argv[0], argv[0],
                           usage);
            argv[++arguments] = at;
            continue;
        }
        if (!strcmp(at, "--help") || !strcmp(at, "-h")) help(table, argv[0], usage, about);
        if ((closed = !strcmp(at, "--"))) continue;
        const size_t size = equals ? (size_t)(equals - at) : strlen(at);
        const option *o = find(table, at, size);
        if (!o && (!(o = find(common, at, size)) || !has_common(argv[0], o->name)))
            raise_unknown_option(argv[0], at, table);
        if (n_given < 64 && !was_given(o->name)) given[n_given++] = o;
        if (o->kind == FLAG && equals) pith_raise("%s takes no value", o->name);
        else if (o->kind == FLAG) *(bool *)o->value = true;
        else if (!equals && k + 1 == argc) pith_raise("%s needs a value: %s", o->name, o->help);
        else set_option(o, equals ? equals + 1 : argv[++k]);
    }
    if (arguments < least || (most >= 0 && arguments > most))
        pith_raise("%s: usage: pith %s %s",
                   arguments < least ? "too few arguments" : "too many arguments", argv[0], usage);
    pith_limit_pictures((int64_t)(1e6 * common_megapixels));
    set_precision();
    if (common_threads > 0) omp_set_num_threads((int)common_threads);
    else common_threads = omp_get_max_threads();
    return arguments;
}

/* Where the user's other programs keep what can be made again: $XDG_CACHE_HOME or ~/.cache. */
static void keep_kernels(void)
{
    const char *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool own = caches && *caches == '/';
    char folder[PITH_PATH];
    if (!own && !(home && *home == '/')) return;
    pith_path(folder, "%s%s", own ? caches : home, own ? "" : "/.cache");
    mkdir(folder, 0700);
    strncat(folder, "/pith", PITH_PATH - strlen(folder) - 1);
    mkdir(folder, 0700);
    pith_keep_kernels(folder);
}

static void tell_not_compiled(void)
{
    static bool told;
    const char *why = told ? NULL : pith_not_compiled(PITH_CUDA);
    if (why)
        fprintf(stderr,
                "pith: %s: pointwise ops are not compiled into chains, but run one by one\n", why);
    told = true;
}

pith_store *new_store(void)
{
    const bool cuda = on_cuda();
    if (!cuda && strcmp(device_name, "auto") && strcmp(device_name, "cpu"))
        pith_raise("--device: expected cpu, cuda or auto, found \"%s\"", device_name);
    const char *missing = cuda ? pith_no_device(PITH_CUDA) : NULL;
    if (missing) pith_raise("--device cuda: %s", missing);
    if (cuda) keep_kernels(), tell_not_compiled();
    return pith_store_new_on(cuda ? PITH_CUDA : PITH_CPU);
}

void need_option(const char *name, const char *value)
{
    if (!value || !*value) pith_raise("%s is %s", name, value ? "empty" : "missing");
}
