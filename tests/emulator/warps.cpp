/* warps.cpp: what the lanes of a warp do together: barriers, shuffles, votes. */
#include "machine.h"
using namespace emulator;

static void warp_barrier(void *const *lanes, unsigned mask)
{
    (void)lanes, (void)mask;
    shadow_warp_barrier(current / LANES);
}

void emulator_warp_barrier(unsigned mask, const char *file, int line)
{
    emulator_meet(warp_barrier, mask, NULL, file, line);
}

struct shuffled {
    uint64_t value;
    int from;
};

/* What a lane outside the mask would give: a NaN, or a large number. */
static const uint64_t GARBAGE = 0x7fc0dead7fc0deadu;

static void shuffle(void *const *lanes, unsigned mask)
{
    uint64_t values[LANES];
    for (int k = 0; k < LANES; k++) values[k] = lanes[k] ? ((shuffled *)lanes[k])->value : GARBAGE;
    for (int k = 0; k < LANES; k++)
        if (mask >> k & 1) {
            shuffled *s = (shuffled *)lanes[k];
            s->value = values[s->from];
        }
}

/* From which lane, as PTX has it (shfl.sync): out of range means one's own. */
static int source(int kind, int lane, int operand, int width)
{
    const int segment = lane & ~(width - 1), last = segment | (width - 1);
    switch (kind) {
    case EMULATOR_INDEX: return segment | (operand & (width - 1));
    case EMULATOR_UP: return lane - operand >= segment ? lane - operand : lane;
    case EMULATOR_DOWN: return lane + operand <= last ? lane + operand : lane;
    default: return (lane ^ operand) <= last ? (lane ^ operand) & 31 : lane;
    }
}

uint64_t emulator_shuffle(int kind, unsigned mask, uint64_t value, int operand, int width,
                          const char *file, int line)
{
    shuffled s = { value, source(kind, current % LANES, operand, width) };
    emulator_meet(shuffle, mask, &s, file, line);
    return s.value;
}

struct vote {
    bool value;
    unsigned ballot;
};

static void count_votes(void *const *lanes, unsigned mask)
{
    unsigned ballot = 0;
    for (int k = 0; k < LANES; k++)
        if (mask >> k & 1) ballot |= (unsigned)((vote *)lanes[k])->value << k;
    for (int k = 0; k < LANES; k++)
        if (mask >> k & 1) ((vote *)lanes[k])->ballot = ballot;
}

unsigned emulator_ballot(unsigned mask, bool value, const char *file, int line)
{
    vote v = { value, 0 };
    emulator_meet(count_votes, mask, &v, file, line);
    return v.ballot;
}
