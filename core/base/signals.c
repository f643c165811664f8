/* signals.c: no signal meets a kernel. oneDNN's generated code keeps a pointer to its data in the
 * stack register, so the frame that the system pushes for a signal's handler would land in the
 * middle of somebody's memory. So a thread that computes holds signals back until its run is over;
 * they wait, or other threads of the process take them. */
#include <signal.h>
#include "inside.h"

/* Those that a thread raises itself, by a fault or by abort, are its own. */
static void block(sigset_t *before)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
    sigset_t all;
    sigfillset(&all);
    for (size_t k = 0; k < sizeof own / sizeof *own; k++) sigdelset(&all, own[k]);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

/* OpenMP's other threads are held for good: they only ever compute. A team is made anew when its
 * size changes, so they are asked each time, where there are products of matrices to come. */
void pith_hold_signals(sigset_t *before, bool products)
{
    block(before);
#pragma omp parallel if (products)
    block(NULL);
}

void pith_release_signals(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }
