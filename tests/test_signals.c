/* test_signals.c: signals that come while a plan runs change nothing, on one thread and on several.
 * oneDNN's kernels would have their data overwritten by the frame of a handler. */
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include "tests.h"

enum { SIZE = 512, SIGNALS = 100 };

static atomic_int taken;
static atomic_bool over;

static void take(int signal)
{
    (void)signal;
    taken++;
}

/* From a thread that takes none itself, to the process. */
static void *send_signals(void *context)
{
    (void)context;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!over) {
        kill(getpid(), SIGALRM);
        usleep(200);
    }
    return NULL;
}

static void signals_change_nothing(void **state)
{
    world *w = *state;
    const struct sigaction action = { .sa_handler = take, .sa_flags = SA_RESTART };
    struct sigaction before;
    node *a = pith_param(w->g, "a", PITH_NORMAL, 1, SIZE, SIZE), *y = a;
    for (int k = 0; k < 6; k++) y = pith_mul_scalar(pith_matmul(y, a), 1.0 / 16);
    y = pith_sum(y, PITH_ALL);
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    assert_true(pith_run(p));
    const double wanted = pith_scalar(p, y);
    sigaction(SIGALRM, &action, &before);
    for (int threads = 1; threads <= 4; threads *= 2) {
        pthread_t sender;
        omp_set_num_threads(threads);
#pragma omp parallel
        (void)omp_get_thread_num(); /* the team is there before the run, and takes signals */
        over = false;
        taken = 0;
        assert_int_equal(pthread_create(&sender, NULL, send_signals, NULL), 0);
        for (int k = 0; k < 20 || taken < SIGNALS; k++) {
            assert_true(pith_run(p));
            assert_true(pith_scalar(p, y) == wanted);
        }
        over = true;
        pthread_join(sender, NULL);
    }
    sigaction(SIGALRM, &before, NULL);
    pith_plan_free(p);
}

/* Who runs a plan holds the same signals before and after it; OpenMP's other threads hold all. */
static void the_mask_comes_back(void **state)
{
    world *w = *state;
    sigset_t mine, found;
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
    node *a = pith_param(w->g, "a", PITH_NORMAL, 1, 4, 4), *y = pith_matmul(a, a);
    pith_plan *p = pith_plan_new(w->g, 1, &y, NULL);
    assert_true(pith_run(p));
    pthread_sigmask(SIG_SETMASK, NULL, &found);
    for (int k = 1; k < 32; k++) assert_int_equal(sigismember(&found, k), k == SIGUSR1);
    omp_set_num_threads(3);
    assert_true(pith_run(p));
    int held = 0;
#pragma omp parallel reduction(+ : held)
    {
        sigset_t own;
        pthread_sigmask(SIG_SETMASK, NULL, &own);
        held += sigismember(&own, SIGALRM);
    }
    assert_int_equal(held, 2);
    sigemptyset(&mine);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
    pith_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(signals_change_nothing),
        WITH_WORLD(the_mask_comes_back),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
