/* test_ladder.c: every rung of bench/ladder on the emulated device beside the CPU, at the sizes
 * that its ladder names, threads in several orders, every access watched. */
#include "tests.h"
#ifndef PITH_EMULATED
int main(void)
{
    puts("skipped: built without CUDA");
    return 0;
}
#else
#include "bench/ladder/ladder.h"
#include "device/device.h"
#include "emulator/control.h"

static void climbs(void **state)
{
    const ladder *l = *state;
    finding found[MOST_RUNGS];
    for (emulator_order = 0; emulator_order < 4; emulator_order++)
        for (int s = 0; s < SIZES; s++) {
            if (!climb(l, l->checked[s], false, found))
                fail_msg("%s: %s", pith_error(), emulator_error());
            for (int k = 0; k < MOST_RUNGS && l->rungs[k].name; k++)
                if (!(found[k].error <= 1e-5))
                    fail_msg("%s, %s: size %d is off by %g", l->name, l->rungs[k].name, s,
                             found[k].error);
        }
    emulator_order = 0;
}

/* What the pages say that a rung asks of memory, it does. */
static void bytes(void **state)
{
    const ladder *l = *state;
    finding found[MOST_RUNGS];
    if (!climb(l, l->counted, false, found)) fail_msg("%s: %s", pith_error(), emulator_error());
    for (int k = 0; k < MOST_RUNGS && l->rungs[k].name; k++) {
        const double asked = found[k].asked / l->units(l->counted);
        if (!(fabs(asked / l->rungs[k].asked - 1) < 0.005))
            fail_msg("%s, %s: asked for %g bytes %s", l->name, l->rungs[k].name, asked, l->unit);
    }
}

/* Memory that keeps the device's slab: taken anew for each climb it would take most of the time. */
static void *held;

static int hold(void **state)
{
    held = pith_backend_of(PITH_CUDA)->allocate(1, false);
    return quiet(state);
}

static int let_go(void **state)
{
    (void)state;
    pith_backend_of(PITH_CUDA)->release(held);
    return 0;
}

#define CLIMB(op)                                                                                  \
    cmocka_unit_test_prestate(climbs, (void *)&ladder_##op),                                       \
        cmocka_unit_test_prestate(bytes, (void *)&ladder_##op)

int main(void)
{
    const struct CMUnitTest tests[] = { CLIMB(layer_norm), CLIMB(softmax), CLIMB(attention),
                                        CLIMB(cross_entropy) };
    return cmocka_run_group_tests(tests, hold, let_go);
}
#endif
