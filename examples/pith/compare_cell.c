/* compare_cell.c: runs one cell: a training by the program itself in a process of its own, which
 * goes on where it was interrupted, then its evaluations. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "compare.h"
#include "files/files.h"
#include "source.h"

/* ---- the arguments ---- */

/* The directory of an arm's run; the arms that run once have no seed in its name. */
static char *run_directory(const comparison *c, int arm, int64_t seed, const char *out)
{
    char *path;
    const int size = arm < c->first
                         ? asprintf(&path, "%s/%s", out, c->arm[arm].name)
                         : asprintf(&path, "%s/%s-%lld", out, c->arm[arm].name, (long long)seed);
    if (size < 0) pith_raise("no memory for a path");
    return path;
}

static char *replaced(const comparison *c, int arm, int64_t seed, const char *out,
                      const char *text);

/* What a name in braces stands for: {out}, {data}, {seed}, or the directory of an earlier arm's
 * run. */
static char *meaning(const comparison *c, int arm, int64_t seed, const char *out, const char *name,
                     size_t size)
{
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)seed);
    if (!strncmp(name, "out", size) && size == 3) return run_directory(c, arm, seed, out);
    if (!strncmp(name, "data", size) && size == 4) return replaced(c, arm, seed, out, c->data);
    if (!strncmp(name, "seed", size) && size == 4) return strdup(number);
    for (int k = 0; k < arm; k++)
        if (strlen(c->arm[k].name) == size && !strncmp(c->arm[k].name, name, size))
            return run_directory(c, k, seed, out);
    pith_raise("%s: arm \"%s\": {%.*s} is neither out, data nor seed, nor an earlier arm", c->path,
               c->arm[arm].name, (int)size, name);
    return NULL;
}

static char *replaced(const comparison *c, int arm, int64_t seed, const char *out, const char *text)
{
    char *whole = NULL;
    size_t room;
    FILE *f = open_memstream(&whole, &room);
    for (const char *open; f && (open = strchr(text, '{')) && strchr(open, '}');) {
        const char *close = strchr(open, '}');
        char *value = meaning(c, arm, seed, out, open + 1, (size_t)(close - open - 1));
        fprintf(f, "%.*s%s", (int)(open - text), text, value);
        free(value);
        text = close + 1;
    }
    if (!f || fputs(text, f) < 0 || fclose(f)) pith_raise("no memory for arguments");
    return whole;
}

typedef struct {
    int n;
    char *word[MOST_WORDS_OF_RUN + 8];
    char *text, *directory, *data; /* that words lie in */
} command;

static void free_command(command *p) { free(p->text), free(p->directory), free(p->data); }

static command command_of(const comparison *c, int arm, int64_t seed, const char *out)
{
    static char resume[] = "--resume", seeded[] = "--seed", into[] = "--out";
    static char number[32];
    command p = { .n = 1 };
    char *rest = p.text = replaced(c, arm, seed, out, c->arm[arm].run), record[4200];
    char *directory = p.directory = run_directory(c, arm, seed, out);
    static char name[] = "pith";
    p.word[0] = name;
    for (char *word; (word = strsep(&rest, " "));)
        if (*word && p.n == MOST_WORDS_OF_RUN)
            pith_raise("%s: arm \"%s\" has more than %d arguments", c->path, c->arm[arm].name,
                       MOST_WORDS_OF_RUN);
        else if (*word) p.word[p.n++] = word;
    if (!c->arm[arm].trains) return p;
    snprintf(record, sizeof record, "%s/run.json", directory);
    if (access(record, F_OK) == 0) { /* of what is given anew only a loss may be */
        char *loss = NULL;
        for (int k = 2; k + 1 < p.n; k++)
            if (!strcmp(p.word[k], "--loss")) loss = p.word[k + 1];
        p.n = 2;
        p.word[p.n++] = resume, p.word[p.n++] = directory;
        static char loss_option[] = "--loss";
        if (loss) p.word[p.n++] = loss_option, p.word[p.n++] = loss;
        return p;
    }
    snprintf(number, sizeof number, "%lld", (long long)seed);
    memmove(p.word + 3, p.word + 2, sizeof *p.word * (size_t)(p.n - 2));
    p.word[2] = p.data = replaced(c, arm, seed, out, c->arm[arm].data);
    p.n++;
    p.word[p.n++] = seeded, p.word[p.n++] = number;
    p.word[p.n++] = into, p.word[p.n++] = directory;
    return p;
}

/* ---- a process ---- */

static volatile sig_atomic_t child, stopped;
static void hand_on(int number)
{
    stopped = 1;
    if (child > 0) kill(child, number);
}

/* The last line of a log, for a message. */
static void last_line(const char *path, char line[400])
{
    FILE *f = fopen(path, "r");
    char next[400];
    *line = 0;
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
    int status = 0;
    fflush(NULL);
    signal(SIGINT, hand_on);
    signal(SIGTERM, hand_on);
    const pid_t pid = fork();
    if (pid < 0) pith_raise("cannot start another process: %s", strerror(errno));
    if (pid == 0) {
        const int f = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setpgid(0, 0); /* the terminal's Ctrl-C comes through this program, once */
        if (f >= 0 && dup2(f, 1) >= 0 && dup2(f, 2) >= 0) execv("/proc/self/exe", word);
        _exit(127);
    }
    child = pid;
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR) pith_raise("cannot wait for a process: %s", strerror(errno));
    child = 0;
    if (stopped) exit(130);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        char line[400];
        last_line(log, line);
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

void check_arms(const comparison *c, const char *out)
{
    for (int arm = 0; arm < c->arms; arm++) {
        command p = command_of(c, arm, c->seed[0], out);
        free_command(&p);
    }
    for (int k = 0; k < c->others; k++)
        free(replaced(c, c->first, c->seed[0], out, c->other[k].run));
}

/* Beside a run lies a file with the arguments that it was begun with, or, of an arm that does not
 * train, was finished with. Returns whether it is there. */
static bool was_begun(const compared *a, const char *directory)
{
    char path[4200], *found = NULL;
    size_t size;
    snprintf(path, sizeof path, "%s.arm", directory);
    if (access(path, F_OK)) return false;
    found = file_bytes(path, &size);
    if (!found) pith_raise("%s: cannot be read", path);
    const size_t run = strlen(a->run);
    if (strncmp(found, a->run, run) || found[run] != '\n' ||
        strncmp(found + run + 1, a->data, strlen(a->data)))
        pith_raise("%s: arm \"%s\" was begun there as \"%s\": remove it, or name another --out",
                   directory, a->name, plain(strtok(found, "\n")));
    free(found);
    return true;
}

static void note_begun(const compared *a, const char *directory)
{
    char path[4200], *text;
    snprintf(path, sizeof path, "%s.arm", directory);
    if (asprintf(&text, "%s\n%s\n", a->run, a->data) < 0) pith_raise("no memory for arguments");
    pith_write_text(path, text);
    free(text);
}

bool run_arm(const comparison *c, int arm, int64_t seed, const char *out, double *megabytes)
{
    const compared *a = &c->arm[arm];
    command p = command_of(c, arm, seed, out);
    char log[4200];
    const bool begun = was_begun(a, p.directory), wanted = a->trains || !begun;
    snprintf(log, sizeof log, "%s.log", p.directory);
    *megabytes = 0;
    if (a->trains && !begun) note_begun(a, p.directory);
    if (wanted) *megabytes = run_program(p.word, log);
    if (!a->trains && !begun) note_begun(a, p.directory);
    free_command(&p);
    return wanted;
}

/* Evaluates a run as the arguments say, and adds the measures. */
static void evaluate(FILE *f, const char *directory, const char *name, char *arguments, bool probe)
{
    static char pith[] = "pith", eval[] = "eval", json[] = "--json", probed[] = "--probe";
    char figures[4200], log[4200], *run = strdup(directory), *rest = arguments,
                                   *word[MOST_WORDS_OF_RUN + 8] = { pith, eval, run };
    int n = 3;
    snprintf(figures, sizeof figures, "%s%s%s.json", directory, *name ? "." : "", name);
    snprintf(log, sizeof log, "%s.log", directory);
    for (char *next; n < MOST_WORDS_OF_RUN && (next = strsep(&rest, " "));)
        if (*next) word[n++] = next;
    if (probe) word[n++] = probed;
    word[n++] = json, word[n++] = figures;
    run_program(word, log);
    gather_measures(f, figures, name);
    free(run);
}

bool measure_arm(const comparison *c, int arm, int64_t seed, const char *out, result *r)
{
    const compared *a = &c->arm[arm];
    char *directory = run_directory(c, arm, seed, out), figures[4200];
    size_t size;
    snprintf(figures, sizeof figures, "%s.json", directory);
    const bool any = a->trains || access(figures, F_OK) == 0;
    FILE *f = any ? open_memstream(&r->measures, &size) : NULL;
    if (any && !f) pith_raise("no memory for measures");
    if (any && a->trains) {
        char *data = replaced(c, arm, seed, out, c->data);
        evaluate(f, directory, "", data, has_classes(data));
        free(data);
        for (int k = 0; k < c->others; k++) {
            char *arguments = replaced(c, arm, seed, out, c->other[k].run);
            evaluate(f, directory, c->other[k].name, arguments, false);
            free(arguments);
        }
        gather_run(r, directory);
    } else if (any) {
        gather_measures(f, figures, "");
        r->data = strdup("-"), r->machine = strdup("-"), r->curve = strdup("");
    }
    if (f) fclose(f);
    r->question = c->question, r->arm = a->name, r->run = a->run, r->seed = seed;
    free(directory);
    return any;
}

void free_measured(result *r)
{
    free(r->data), free(r->machine);
    free(r->measures), free(r->curve);
}
