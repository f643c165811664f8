/* compare_cell.c: runs one cell: a training by the program itself in a process of its own, which
 * goes on where it was interrupted, then its evaluations. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "compare.h"
#include "files/files.h"

/* ---- a process ---- */

static volatile sig_atomic_t child, stopped;
static void hand_on(int number)
{
    stopped = 1;
    if (child > 0) kill(child, number);
}

/* The last line of a log from a byte on, for a message. */
static void last_line(const char *path, long from, char line[400])
{
    FILE *f = fopen(path, "r");
    char next[400];
    *line = 0;
    if (f) fseek(f, from, SEEK_SET);
    while (f && fgets(next, sizeof next, f))
        if (next[strspn(next, " \r\n")]) memcpy(line, next, sizeof next);
    if (f) fclose(f);
    line[strcspn(line, "\n")] = 0;
}

/* Runs the program with these arguments; what it says goes into a file. A signal goes on to it,
 * which then saves what it has. Returns its largest memory in megabytes. */
static double run_program(char *const *word, const char *log)
{
    struct rusage used;
    struct stat info;
    int status = 0;
    const int f = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                       0666);
    if (f < 0 || fstat(f, &info) || !S_ISREG(info.st_mode))
        pith_raise("%s: cannot be written: %s", log, f < 0 ? strerror(errno) : "it is not a file");
    fflush(NULL);
    signal(SIGINT, hand_on);
    signal(SIGTERM, hand_on);
    if (stopped) exit(130);
    const pid_t pid = fork();
    if (pid < 0) pith_raise("cannot start another process: %s", strerror(errno));
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setpgid(0, 0); /* the terminal's Ctrl-C comes through this program, once */
        if (dup2(f, 1) >= 0 && dup2(f, 2) >= 0) execv("/proc/self/exe", word);
        _exit(127);
    }
    child = pid;
    close(f);
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR) pith_raise("cannot wait for a process: %s", strerror(errno));
    child = 0;
    if (stopped) exit(130);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        char line[400];
        last_line(log, info.st_size, line);
        pith_raise("pith %s failed; the last line of %s is: %s", word[1], log, plain(line));
    }
    return (double)used.ru_maxrss / 1024;
}

/* ---- a cell ---- */

/* Has the training split labels of at least two classes? */
static bool has_classes(const char *data)
{
    pith_pack *p = pith_pack_open(data);
    int least = PITH_MOST_LABEL, most = -1;
    for (int i = 0; i < p->count; i++) {
        if (p->split[i] != PITH_TRAIN || p->label[i] < 0) continue;
        if (p->label[i] < least) least = p->label[i];
        if (p->label[i] > most) most = p->label[i];
    }
    pith_pack_close(p);
    return least < most;
}

/* Beside a run lies a file with the arguments that it was begun with, or, of an arm that does not
 * train, was finished with; and a line with the hash of its recipe, which tells other models, data
 * or losses under the same names. */
static char *noted(const compared *a)
{
    char *text;
    if (asprintf(&text, "%s\n%s\n%016" PRIx64 "\n", a->run, a->data, a->recipe) < 0)
        pith_raise("no memory for arguments");
    return text;
}

/* An arm that was refused before it wrote anything, as one with a mistake in its options, was not
 * begun. */
static bool was_begun(const comparison *c, int arm, int64_t seed, const char *out,
                      const char *place)
{
    const compared *a = &c->arm[arm];
    char path[4200], *wanted = noted(a);
    snprintf(path, sizeof path, "%s.arm", place);
    const bool is_there = access(path, F_OK) == 0 &&
                          (a->trains ? access(place, F_OK) == 0 : has_made(c, arm, seed, out));
    char *found = is_there ? pith_read_text(path) : NULL;
    if (found && strcmp(found, wanted)) {
        const size_t texts = strlen(a->run) + strlen(a->data) + 2;
        const bool same = !strncmp(found, wanted, texts);
        for (char *at = found; (at = strchr(at, '\n'));) *at = ' ';
        pith_raise("%s: arm \"%s\" was begun there %s%s%s: remove it and %s, or name another --out",
                   place, a->name, same ? "from other models, data or losses" : "as \"",
                   same ? "" : plain(found), same ? "" : "\"", path);
    }
    free(found);
    free(wanted);
    return is_there;
}

static void note_begun(const compared *a, const char *place)
{
    char path[4200], *text = noted(a);
    snprintf(path, sizeof path, "%s.arm", place);
    pith_write_file(path, text, strlen(text));
    free(text);
}

bool run_arm(const comparison *c, int arm, int64_t seed, const char *out, double *megabytes)
{
    const compared *a = &c->arm[arm];
    char *place = arm_place(c, arm, seed, out), log[4200];
    const bool begun = was_begun(c, arm, seed, out, place), wanted = a->trains || !begun;
    snprintf(log, sizeof log, "%s.log", place);
    *megabytes = 0;
    if (a->trains && !begun) note_begun(a, place);
    if (wanted) {
        words w = command_of(c, arm, seed, out);
        *megabytes = run_program(w.word, log);
        free_words(&w);
    }
    if (!a->trains && !begun) note_begun(a, place);
    free(place);
    return wanted;
}

/* Evaluates a run on data as the arguments say, and adds the measures. */
static void evaluate(FILE *f, const comparison *c, int arm, int64_t seed, const char *out,
                     const char *name, const char *arguments)
{
    char *place = arm_place(c, arm, seed, out), figures[4200], log[4200];
    words w = words_of(c, arm, seed, out, "eval");
    snprintf(figures, sizeof figures, "%s%s%s.json", place, *name ? "." : "", name);
    snprintf(log, sizeof log, "%s.log", place);
    add_word(&w, c, place);
    words more = words_of(c, arm, seed, out, arguments);
    for (int k = 1; k < more.n; k++) add_word(&w, c, more.word[k]);
    if (!*name && has_classes(w.word[3])) add_word(&w, c, "--probe");
    add_word(&w, c, "--json");
    add_word(&w, c, figures);
    run_program(w.word, log);
    gather_measures(f, figures, name);
    free_words(&more);
    free_words(&w);
    free(place);
}

bool measure_arm(const comparison *c, int arm, int64_t seed, const char *out, result *r)
{
    const compared *a = &c->arm[arm];
    char *place = arm_place(c, arm, seed, out), figures[4200];
    size_t size;
    snprintf(figures, sizeof figures, "%s.json", place);
    const bool any = a->trains || access(figures, F_OK) == 0;
    FILE *f = any ? open_memstream(&r->measures, &size) : NULL;
    if (any && !f) pith_raise("no memory for measures");
    if (any && a->trains) {
        evaluate(f, c, arm, seed, out, "", "{data}");
        for (int k = 0; k < c->others; k++)
            evaluate(f, c, arm, seed, out, c->other[k].name, c->other[k].run);
        gather_run(f, r, place);
    } else if (any) {
        gather_measures(f, figures, "");
        r->data = strdup("-"), r->machine = strdup("-"), r->curve = strdup("");
    }
    if (f) fclose(f);
    r->question = c->question, r->arm = a->name, r->run = a->run;
    r->seed = seed, r->made_of = a->made_of;
    free(place);
    return any;
}

void free_measured(result *r)
{
    free(r->data), free(r->machine);
    free(r->measures), free(r->curve);
}
