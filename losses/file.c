/* file.c: compiles and loads a loss that is given as a C file. The user sees the compiler's own
 * messages. The file may call every public function, since the program exports them (-rdynamic). A
 * loaded library is never unloaded: nodes point to the names of source files in it. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "losses.h"

#ifdef PITH_DOUBLE
#define PRECISION "-DPITH_DOUBLE"
#else
#define PRECISION "-UPITH_DOUBLE"
#endif

typedef struct loaded {
    struct loaded *next;
    char name[];
} loaded;
static loaded *libraries;

static bool compile(const char *path, const char *library)
{
    char source[4100]; /* with a folder, so that no compiler takes it for an option */
    snprintf(source, sizeof source, "%s%s", *path == '/' ? "" : "./", path);
    const char *headers = getenv("PITH_INCLUDE"), *compiler = getenv("CC");
    if (!headers || !*headers) headers = PITH_ROOT "/core";
    if (!compiler || !*compiler) compiler = "cc";
    char *const arguments[] = {
        (char *)compiler,
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Werror=implicit-function-declaration",
        "-Werror=implicit-int",
        "-Werror=int-conversion",
        "-Werror=incompatible-pointer-types",
        "-Werror=return-type",
        "-fopenmp",
        PRECISION,
        "-shared",
        "-fPIC",
        "-I",
        (char *)headers,
        "-I",
        PITH_ROOT "/losses",
        "-o",
        (char *)library,
        (char *)source,
        "-lm",
        NULL,
    };
    extern char **environ;
    pid_t child;
    int status = 0;
    const int error = posix_spawnp(&child, compiler, NULL, NULL, arguments, environ);
    if (error)
        return pith_raise("%s: cannot start the compiler %s: %s", path, compiler, strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return pith_raise("%s: cannot wait for the compiler %s: %s", path, compiler,
                              strerror(errno));
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           pith_raise("%s: it does not compile", path);
}

static const char *keep_name(const char *path)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const size_t size = strlen(base) - 2;
    loaded *l = calloc(1, sizeof *l + size + 1);
    if (!l) return pith_raise("no memory to load %s", path), NULL;
    memcpy(l->name, base, size);
    l->next = libraries;
    return (libraries = l)->name;
}

pith_loss *pith_loss_load(const char *path, const char *work, const char **name)
{
    static int count; /* a new file name each time: dlopen takes a name it has seen for the library
                         it has loaded */
    char library[4096];
    pith_loss *function = NULL;
    if (access(path, R_OK)) return pith_raise("%s: %s", path, strerror(errno)), NULL;
    struct stat info;
    if (mkdir(work, 0777) && errno != EEXIST)
        return pith_raise("cannot make %s: %s", work, strerror(errno)), NULL;
    if (lstat(work, &info) || !S_ISDIR(info.st_mode))
        return pith_raise("%s: expected a folder, found a link or a file", work), NULL;
    if (!(*name = keep_name(path))) return NULL;
    snprintf(library, sizeof library, "%s/%s-%ld-%d.so", work, *name, (long)getpid(), count++);
    if (!compile(path, library)) return NULL;
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) pith_raise("%s: cannot be loaded: %s", path, dlerror());
    unlink(library);
    if (!handle) return NULL;
    void *symbol = dlsym(handle, "loss");
    if (!symbol)
        return pith_raise("%s: has no function pith_node *loss(const pith_batch *b)", path), NULL;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

/* ---- a loss that crashes: its file is named, and the program goes on as after any error ---- */

static _Thread_local sigjmp_buf crashed;
static _Thread_local struct {
    int signal;
    void *where;
} crash;

static void note_crash(int number, siginfo_t *info, void *context)
{
    (void)info;
    crash.signal = number;
#if defined __x86_64__
    crash.where = (void *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#else
    (void)context;
#endif
    siglongjmp(crashed, 1);
}

static bool tell_crash(const char *path)
{
    Dl_info at;
    if (!crash.signal) return pith_raise("loss %s returned what is no node of its graph", path);
    const bool known = dladdr(crash.where, &at) && at.dli_sname;
    return pith_raise("loss %s crashed%s%s: %s", path, known ? " in " : "",
                      known ? at.dli_sname : "", strsignal(crash.signal));
}

bool pith_loss_call(pith_loss *loss, const char *path, const pith_batch *b, pith_node **y)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    enum { N = sizeof signals / sizeof *signals };
    static _Thread_local char stack[1 << 16]; /* for when the loss's own is full */
    const stack_t here = { .ss_sp = stack, .ss_size = sizeof stack };
    stack_t there;
    struct sigaction before[N],
        ours = { .sa_sigaction = note_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    volatile bool whole = false;
    sigaltstack(&here, &there);
    for (int k = 0; k < N; k++) sigaction(signals[k], &ours, &before[k]);
    if (sigsetjmp(crashed, 1) == 0) {
        *y = loss(b);
        whole = !*y || (*y)->graph == b->graph; /* a look at what is no node may crash, too */
        crash.signal = 0;
    }
    sigaltstack(&there, NULL);
    for (int k = 0; k < N; k++) sigaction(signals[k], &before[k], NULL);
    return whole || tell_crash(path);
}
