/* compare_words.c: an arm as the words of a command: what stands in braces is replaced word by
 * word, so that a path may hold blanks; and a hash of all that an arm is made of. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "compare.h"
#include "files/files.h"

char *arm_place(const comparison *c, int arm, int64_t seed, const char *out)
{
    char *path;
    const int size = arm < c->first
                         ? asprintf(&path, "%s/%s", out, c->arm[arm].name)
                         : asprintf(&path, "%s/%s-%lld", out, c->arm[arm].name, (long long)seed);
    if (size < 0) pith_raise("no memory for a path");
    return path;
}

static bool is_called(const char *name, size_t size, const char *wanted)
{
    return strlen(wanted) == size && !strncmp(name, wanted, size);
}

/* The number of the earlier arm that a name in braces stands for. */
static int arm_named(const comparison *c, int arm, const char *name, size_t size)
{
    for (int k = 0; k < arm; k++)
        if (is_called(name, size, c->arm[k].name)) return k;
    pith_raise("%s: arm \"%s\": {%.*s} is neither out, data nor seed, nor an earlier arm", c->path,
               c->arm[arm].name, (int)size, name);
    return -1;
}

static void put_replaced(FILE *f, const comparison *c, int arm, int64_t seed, const char *out,
                         const char *text);

static void put_meaning(FILE *f, const comparison *c, int arm, int64_t seed, const char *out,
                        const char *name, size_t size)
{
    if (is_called(name, size, "data")) put_replaced(f, c, arm, seed, out, c->data);
    else if (is_called(name, size, "seed")) fprintf(f, "%lld", (long long)seed);
    else {
        const int k = is_called(name, size, "out") ? arm : arm_named(c, arm, name, size);
        char *place = arm_place(c, k, seed, out);
        fputs(place, f);
        free(place);
    }
}

/* The next name in braces in a text, and its size; NULL: there is none. */
static const char *next_name(const char *text, size_t *size)
{
    const char *open = strchr(text, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close) return NULL;
    *size = (size_t)(close - open - 1);
    return open + 1;
}

static void put_replaced(FILE *f, const comparison *c, int arm, int64_t seed, const char *out,
                         const char *text)
{
    size_t size;
    for (const char *name; (name = next_name(text, &size)); text = name + size + 1) {
        fprintf(f, "%.*s", (int)(name - 1 - text), text);
        put_meaning(f, c, arm, seed, out, name, size);
    }
    fputs(text, f);
}

static char *replaced(const comparison *c, int arm, int64_t seed, const char *out, const char *text)
{
    char *whole = NULL;
    size_t size;
    FILE *f = open_memstream(&whole, &size);
    if (!f) pith_raise("no memory for arguments");
    put_replaced(f, c, arm, seed, out, text);
    if (fclose(f)) pith_raise("no memory for arguments");
    return whole;
}

void add_word(words *w, const comparison *c, const char *word)
{
    if (w->n == MOST_WORDS_OF_RUN)
        pith_raise("%s: a command has more than %d words", c->path, MOST_WORDS_OF_RUN);
    w->word[w->n++] = strdup(word);
    w->word[w->n] = NULL;
}

words words_of(const comparison *c, int arm, int64_t seed, const char *out, const char *text)
{
    words w = { 0 };
    char *copy = strdup(text), *rest = copy;
    add_word(&w, c, "pith");
    for (char *next; (next = strsep(&rest, " "));) {
        if (!*next) continue;
        char *word = replaced(c, arm, seed, out, next);
        add_word(&w, c, word);
        free(word);
    }
    free(copy);
    return w;
}

bool has_made(const comparison *c, int arm, int64_t seed, const char *out)
{
    char *copy = strdup(c->arm[arm].run), *rest = copy;
    bool all = true;
    for (char *word; (word = strsep(&rest, " "));) {
        if (!strstr(word, "{out}")) continue;
        char *path = replaced(c, arm, seed, out, word);
        all &= access(path, F_OK) == 0;
        free(path);
    }
    free(copy);
    return all;
}

void free_words(words *w)
{
    for (int k = 0; k < w->n; k++) free(w->word[k]);
}

words command_of(const comparison *c, int arm, int64_t seed, const char *out)
{
    words run = words_of(c, arm, seed, out, c->arm[arm].run), w = { 0 };
    char record[4200], number[32], *place = arm_place(c, arm, seed, out);
    if (!c->arm[arm].trains) return free(place), run;
    snprintf(number, sizeof number, "%lld", (long long)seed);
    snprintf(record, sizeof record, "%s/run.json", place);
    for (int k = 0; k < 2; k++) add_word(&w, c, run.word[k]);
    if (access(record, F_OK) == 0) { /* of what is given anew only a loss may be */
        add_word(&w, c, "--resume");
        add_word(&w, c, place);
        for (int k = 2; k + 1 < run.n; k++)
            if (!strcmp(run.word[k], "--loss"))
                add_word(&w, c, "--loss"), add_word(&w, c, run.word[k + 1]);
    } else {
        char *data = replaced(c, arm, seed, out, c->arm[arm].data);
        add_word(&w, c, data);
        for (int k = 2; k < run.n; k++) add_word(&w, c, run.word[k]);
        add_word(&w, c, "--seed");
        add_word(&w, c, number);
        add_word(&w, c, "--out");
        add_word(&w, c, place);
        free(data);
    }
    free_words(&run);
    free(place);
    return w;
}

void check_arms(const comparison *c, const char *out)
{
    for (int arm = 0; arm < c->arms; arm++) {
        words w = command_of(c, arm, c->seed[0], out);
        free_words(&w);
    }
    for (int k = 0; k < c->others; k++) {
        words w = words_of(c, c->first, c->seed[0], out, c->other[k].run);
        free_words(&w);
    }
}

/* ---- what an arm is made of ---- */

static uint64_t add_text(uint64_t hash, const comparison *c, int arm, const char *text)
{
    size_t size;
    for (const char *name; (name = next_name(text, &size)); text = name + size + 1) {
        hash = pith_hash_bytes(hash, text, (size_t)(name - 1 - text));
        if (is_called(name, size, "data")) hash = add_text(hash, c, arm, c->data);
        else if (is_called(name, size, "out") || is_called(name, size, "seed"))
            hash = pith_hash_bytes(hash, name, size);
        else {
            const int earlier = arm_named(c, arm, name, size);
            hash = pith_hash_bytes(hash, &c->arm[earlier].recipe, sizeof(uint64_t));
        }
    }
    return pith_hash_bytes(hash, text, strlen(text) + 1);
}

/* The content of losses that are files counts, too. */
static uint64_t add_losses(uint64_t hash, const char *run)
{
    char *copy = strdup(run), *rest = copy;
    for (char *part; (part = strsep(&rest, " +*:@,"));) {
        const size_t size = strlen(part);
        uint64_t content;
        if (size < 3 || strcmp(part + size - 2, ".c") || access(part, R_OK)) continue;
        pith_hash_file(part, &content);
        hash = pith_hash_bytes(hash, &content, sizeof content);
    }
    free(copy);
    return hash;
}

void hash_cells(comparison *c)
{
    for (int arm = 0; arm < c->arms; arm++) {
        compared *a = &c->arm[arm];
        uint64_t hash = add_text(add_text(PITH_HASH, c, arm, a->run), c, arm, a->data);
        a->recipe = hash = add_losses(hash, a->run);
        if (arm < c->first) continue; /* it is not measured */
        hash = add_text(hash, c, arm, c->data);
        for (int k = 0; a->trains && k < c->others; k++) {
            hash = pith_hash_bytes(hash, c->other[k].name, strlen(c->other[k].name) + 1);
            hash = add_text(hash, c, arm, c->other[k].run);
        }
        a->made_of = hash;
    }
}
