/* test_emulator.c: the emulated device finds every kind of mistake that is planted in kernels and
 * in calls of the runtime, and finds none in right ones. */
#include "tests.h"
#ifndef PITH_EMULATED
int main(void)
{
    puts("skipped: built without CUDA");
    return 0;
}
#else
#include "emulator/control.h"
#include "emulator/planted.h"
#include "emulator/runtime.h"

enum { N = 64 };

static int fresh(void **state)
{
    (void)state;
    emulator_reset();
    emulator_order = 0;
    return 0;
}

static float *device_floats(int n, const float *host)
{
    float *p = emulator_get((size_t)n * sizeof(float));
    if (host) emulator_write(p, host, (size_t)n * sizeof(float));
    return p;
}

/* Device memory with 0, 1, 2, ... in it. */
static float *counting_up(int n)
{
    float *host = copy_room((size_t)n * sizeof(float));
    for (int i = 0; i < n; i++) host[i] = (float)i;
    return device_floats(n, host);
}

static void is_good(int launched)
{
    assert_int_equal(launched, cudaSuccess);
    if (!emulator_wait()) fail_msg("%s", emulator_error());
}

static void is_told(int launched, const char *part)
{
    assert_int_equal(launched, cudaSuccess);
    if (emulator_wait()) fail_msg("nothing was told, not \"%s\"", part);
    if (!strstr(emulator_error(), part))
        fail_msg("\"%s\" was told, not \"%s\"", emulator_error(), part);
}

/* A kernel by its name, in all orders: right, or wrong in each. */
static void right(const char *name)
{
    for (emulator_order = 0; emulator_order < 6; emulator_order++) {
        is_good(planted(NULL, name, counting_up(N), device_floats(N, NULL)));
        emulator_free_all();
    }
}

static void wrong(const char *name, const char *part)
{
    for (emulator_order = 0; emulator_order < 6; emulator_order++) {
        is_told(planted(NULL, name, counting_up(N), device_floats(N, NULL)), part);
        emulator_free_all();
    }
}

/* ---- kernels ---- */

static void sums(void **state)
{
    (void)state;
    for (emulator_order = 0; emulator_order < 6; emulator_order++) {
        float *y = device_floats(2, NULL), host[2];
        is_good(planted_block_sums(NULL, NONE, 2, counting_up(512), y));
        emulator_read(host, y, sizeof host);
        near(host[0], 255 * 256 / 2);
        near(host[1], 255 * 256 / 2 + 65536);
        is_told(planted_block_sums(NULL, NO_BARRIER, 2, counting_up(512), y), "");
        is_told(planted_block_sums(NULL, NO_BARRIER_IN_LOOP, 2, counting_up(512), y), "race");
        emulator_free_all();
    }
}

/* A warp's 32 neighbouring floats are 4 sectors, or 5 if they begin inside one. */
static void counts(void **state)
{
    (void)state;
    const emulator_traffic *t;
    for (emulator_order = 0; emulator_order < 4; emulator_order++) {
        emulator_count(true);
        is_good(planted_block_sums(NULL, NONE, 2, counting_up(512), device_floats(2, NULL)));
        is_good(planted_shifted(NULL, 1, 0, 64, counting_up(65), device_floats(64, NULL)));
        is_good(planted(NULL, "vectors", NULL, device_floats(64, NULL)));
        is_good(planted(NULL, "fours", NULL, device_floats(64, NULL)));
        emulator_count(false);
        is_good(planted_plus_one(NULL, 9, counting_up(9), device_floats(9, NULL)));
        assert_int_equal(emulator_counted(&t), 4);
        assert_int_equal(t[0].blocks, 2);
        assert_int_equal(t[0].threads, 256);
        assert_int_equal(t[0].read, 512 * 4);
        assert_int_equal(t[0].read_once, 512 * 4);
        assert_int_equal(t[0].written, 2 * 32);
        assert_int_equal(t[0].written_once, 32);
        assert_int_equal(t[1].read, 2 * 5 * 32);
        assert_int_equal(t[1].read_once, 9 * 32);
        assert_int_equal(t[1].written, 64 * 4);
        assert_int_equal(t[2].written, 64 * 4);
        assert_int_equal(t[3].written, 4 * 64 * 4);
        emulator_free_all();
    }
}

static void races(void **state)
{
    (void)state;
    wrong("all_to_one", "race: writes what thread");
    wrong("blocks_to_one", "race: writes what another block wrote");
    right("rotated");
    wrong("rotated without a barrier", "race: ");
    wrong("read_by_all", "race: ");
    right("neighbours");
    wrong("neighbours without a barrier", "");
    wrong("other_warp", "");
    right("bytes");
    wrong("wrong bytes", "");
    wrong("counted_and_read", "race: ");
    right("counted_and_written");
    wrong("counted_and_written without a barrier", "race: ");
    wrong("shuffled_is_no_barrier", "race: writes what other threads read");
}

static void bounds(void **state)
{
    (void)state;
    static const struct {
        int from, to;
        const char *told;
    } cases[] = { { -1, 0, "reads outside every buffer" },
                  { 1, 0, "reads outside every buffer" },
                  { 0, -1, "writes outside every buffer" },
                  { 0, 1, "writes outside every buffer" },
                  { 0, 0, NULL } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        float *x = counting_up(N * 5), *y = device_floats(N * 5, NULL);
        const int launched = planted_shifted(NULL, cases[k].from, cases[k].to, N * 5, x, y);
        cases[k].told ? is_told(launched, cases[k].told) : is_good(launched);
    }
    wrong("overrun by 1", "writes outside every shared array");
    wrong("overrun by -1", "writes outside every shared array");
    right("copied");
    wrong("copied too much", "reads past the end of a buffer");
    wrong("copied by all", "race: writes what thread");
    if (planted_alignment) wrong("misaligned", "no multiple of 16");
    right("tables");
    wrong("too much shared", "49280 bytes of shared memory, 256 of them in arrays");
    wrong("anothers", "another thread's own memory");
    is_told(planted_plus_one(NULL, 1, device_floats(1, (float[]){ 1 }), copy_room(64)),
            "writes memory of the host");
    emulator_guard = false; /* else a signal ends the test */
    planted_host_read(counting_up(1));
    emulator_guard = true;
    is_told(0, "the host touches");
}

static void unwritten(void **state)
{
    (void)state;
    is_told(planted_plus_one(NULL, N, device_floats(N, NULL), device_floats(N, NULL)),
            "reads what was never written");
    wrong("unwritten_shared", "reads what was never written");
    wrong("left_over", "reads what was never written");
}

static void barriers(void **state)
{
    (void)state;
    wrong("two_barriers", "different barriers");
    wrong("ended_early", "threads that have ended (1 of 64)");
}

static void warps(void **state)
{
    (void)state;
    wrong("ended_lane", "lane 5, which has ended");
    wrong("not_in_mask", "not in its own mask");
    wrong("different_masks", "with different masks");
    wrong("lanes the block has not", "names lanes that the block has not");
    right("masked");
    right("masked from outside");
    right("halves");
    float *y = device_floats(N, NULL), host[N];
    is_good(planted(NULL, "masked from outside", NULL, y));
    emulator_read(host, y, sizeof host);
    assert_true(isnan(host[0]) && isnan(host[23]));
    is_good(planted(NULL, "masked", NULL, y));
    emulator_read(host, y, sizeof host);
    near(host[23], 3);
    is_good(planted(NULL, "halves", NULL, y));
    emulator_read(host, y, sizeof host);
    near(host[5], 240);
    near(host[20], 2 * (16 + 31) * 8);
    /* As PTX has it: what is outside the segment is one's own, but for xor with earlier ones. */
    for (int k = 0; k < 4 * 32 * 3; k++) {
        const int kind = k % 4, operand = k / 4 % 32, width = 8 << k / 128;
        is_good(planted_moved(NULL, kind, operand, width, y));
        emulator_read(host, y, sizeof host);
        for (int lane = 0; lane < 32; lane++) {
            const int segment = lane / width * width;
            const int from = kind == 0   ? segment + operand % width
                             : kind == 1 ? lane - operand
                             : kind == 2 ? lane + operand
                                         : lane ^ operand;
            const bool there = from < segment + width && (kind == 3 || from >= segment);
            near(host[lane], there ? from : lane);
        }
    }
}

static void atomics(void **state)
{
    (void)state;
    static const unsigned zeros[4];
    for (emulator_order = 0; emulator_order < 4; emulator_order++) {
        unsigned *counts = emulator_get(12), host[3];
        int *largest = emulator_get(4), most;
        unsigned long long *any = emulator_get(8);
        emulator_write(largest, zeros, 4);
        emulator_write(any, zeros, 8);
        is_told(planted_counted(NULL, counts, largest, any), "never written");
        emulator_write(counts, zeros, 12);
        is_good(planted_counted(NULL, counts, largest, any));
        emulator_read(host, counts, 12);
        emulator_read(&most, largest, 4);
        assert_int_equal(host[0] + host[1] + host[2], 384);
        assert_int_equal(most, 383);
    }
}

/* ---- fragments ---- */

static uint16_t bf16_of(int i)
{
    const float x = (float)((i * 37 + 11) % 29 - 14) / 8; /* exact */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
}

static double number_of(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static void fragments(void **state)
{
    (void)state;
    uint16_t a[256], b[128];
    float d[128];
    for (int i = 0; i < 256; i++) a[i] = bf16_of(i);
    for (int i = 0; i < 128; i++) b[i] = bf16_of(3 * i + 1);
    for (int mistake = NONE; mistake <= SWAPPED; mistake++) {
        void *on_a = emulator_get(sizeof a), *on_b = emulator_get(sizeof b);
        float *on_d = device_floats(128, NULL);
        emulator_write(on_a, a, sizeof a);
        emulator_write(on_b, b, sizeof b);
        const int launched = planted_product(NULL, mistake, on_a, on_b, on_d);
        if (mistake == NO_BARRIER || mistake == NO_WAIT || mistake == NO_WAIT_FOR_LATEST) {
            is_told(launched, mistake == NO_BARRIER ? "" : "a copy that was not waited for");
            continue;
        }
        if (mistake == NO_BARRIER_IN_LOOP) continue;
        is_good(launched);
        emulator_read(d, on_d, sizeof d);
        double worst = 0;
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) {
                double sum = 0;
                for (int k = 0; k < 16; k++)
                    sum += number_of(a[16 * i + k]) * number_of(b[8 * k + j]);
                worst = fmax(worst, fabs(sum - (double)d[8 * i + j]));
            }
        if (mistake == NONE) near(worst, 0);
        else assert_true(worst > 0.1);
    }
    right("copied_by_another");
    wrong("copied_by_another without a barrier", "");
    emulator_order = 0; /* lane 31 first: its copy has arrived */
    is_told(planted(NULL, "copied_by_another without a barrier", counting_up(N),
                    device_floats(N, NULL)),
            "race: reads what thread 31 wrote");
}

/* ---- launches ---- */

static void launches(void **state)
{
    (void)state;
    float *y = device_floats(4, NULL);
    assert_int_equal(planted_launch(NULL, 1, 1025, y), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(planted_launch(NULL, 0, 32, y), cudaErrorInvalidConfiguration);
    assert_int_equal(planted_launch(NULL, 1, 0, y), cudaErrorInvalidConfiguration);
    y = device_floats(1, NULL);
    for (int k = 0; k < 3; k++) {
        const int n = (60 << 10) / 4 + (k == 2), bytes = 60 << 10;
        const int launched = planted_dynamic(NULL, k == 0 ? 0 : 60 << 10, (size_t)bytes, n, y);
        if (k == 0) assert_int_equal(launched, cudaErrorInvalidValue); /* it must be asked for */
        else if (k == 1)
            is_told(launched, "race: writes what another block wrote"); /* y[0], of two blocks */
        else is_told(launched, "past the end of the shared memory that the launch has");
    }
    assert_int_equal(planted_dynamic(NULL, 228 << 10, 64, 16, y), cudaErrorInvalidValue);
}

static void steps_that_name(void **state)
{
    (void)state;
    float *all = counting_up(3 * N), *x = all, *y = all + 2 * N;
    emulator_may(x, N * 4, false);
    is_told(planted_plus_one(NULL, N, x, y), "writes what the step did not name");
    emulator_may(y, N * 4, false);
    is_told(planted_plus_one(NULL, N, x, y), "writes what the step did not name");
    emulator_may(y, N * 4, true);
    is_good(planted_plus_one(NULL, N, x, y));
    is_told(planted_plus_one(NULL, N + 1, x, y), "what the step did not name");
    /* A launch that waits keeps the names it had. */
    assert_int_equal(planted_plus_one(NULL, N, x, y), cudaSuccess);
    emulator_may(NULL, 0, false); /* the next step has named nothing yet */
    assert_true(emulator_wait());
    is_told(planted_plus_one(NULL, N, x, y), "reads what the step did not name");
    emulator_may(x, N * 4, false);
    assert_int_equal(planted_plus_one(NULL, N, x, y), cudaSuccess);
    emulator_may(y, N * 4, true);
    is_told(0, "writes what the step did not name");
    emulator_may_anything();
    is_good(planted_plus_one(NULL, N, x, y));
}
#include "emulator/test_runtime.h"

#define CASE(name) cmocka_unit_test_setup(name, fresh)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sums),     CASE(races),           CASE(bounds),       CASE(unwritten),
        CASE(barriers), CASE(warps),           CASE(atomics),      CASE(fragments),
        CASE(launches), CASE(steps_that_name), CASE(streams_wait), CASE(host_copies),
        CASE(memory),   CASE(events),          CASE(captures),     CASE(capture_mistakes),
        CASE(forks),    CASE(replays),         CASE(told_to_fail), CASE(sticky_errors),
        CASE(guard),    CASE(places),          CASE(counts),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
#endif
