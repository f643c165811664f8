/* mma.cpp: matrix fragments and asynchronous copies. The last lane to come computes for all. */
#include "machine.h"
#include "fragments.h"

namespace emulator
{
static const unsigned WHOLE_WARP = ~0u;

static float half_of(unsigned pair, int which)
{
    return __uint_as_float(which ? pair & 0xffff0000u : pair << 16);
}

/* ---- products ---- */

struct fragments {
    unsigned a[4], b[2];
    float d[4];
};

static void multiply(void *const *lanes, unsigned)
{
    float a[16][16], b[16][8];
    for (int lane = 0; lane < LANES; lane++) {
        const fragments *f = (const fragments *)lanes[lane];
        const int g = lane / 4, t = lane % 4;
        for (int k = 0; k < 4; k++)
            for (int which = 0; which < 2; which++)
                a[g + k % 2 * 8][2 * t + which + k / 2 * 8] = half_of(f->a[k], which);
        for (int k = 0; k < 2; k++)
            for (int which = 0; which < 2; which++)
                b[2 * t + which + k * 8][g] = half_of(f->b[k], which);
    }
    for (int lane = 0; lane < LANES; lane++) {
        fragments *f = (fragments *)lanes[lane];
        const int g = lane / 4, t = lane % 4;
        for (int e = 0; e < 4; e++) {
            float sum = 0;
            for (int k = 0; k < 16; k++) sum += a[g + e / 2 * 8][k] * b[k][2 * t + e % 2];
            f->d[e] += sum;
        }
    }
}

/* ---- rows of 16 bytes from shared memory ---- */

struct rows {
    uint16_t mine[8]; /* the row that this lane pointed at */
    unsigned r[4];
    bool transposed;
};

static void distribute(void *const *lanes, unsigned)
{
    for (int lane = 0; lane < LANES; lane++) {
        rows *to = (rows *)lanes[lane];
        const int g = lane / 4, t = lane % 4;
        for (int k = 0; k < 4; k++)
            for (int which = 0; which < 2; which++) {
                const int row = to->transposed ? 2 * t + which : g,
                          column = to->transposed ? g : 2 * t + which;
                const unsigned x = ((const rows *)lanes[8 * k + row])->mine[column];
                to->r[k] = which ? to->r[k] | x << 16 : x;
            }
    }
}

static void load(unsigned *r, bool transposed, const void *row, const void *site, const char *file,
                 int line)
{
    rows x = { {}, {}, transposed };
    const char *p = (const char *)row;
    if ((size_t)(p - (char *)emulator_dynamic) >= DYNAMIC_SHARED && in_heap(p))
        kernel_fault(cudaErrorInvalidAddressSpace, site, "ldmatrix from global memory");
    if ((uintptr_t)p % 16)
        kernel_fault(cudaErrorMisalignedAddress, site, "a row that is not aligned to 16");
    touch(p, 16, READ, site);
    memcpy(x.mine, p, 16);
    emulator_meet(distribute, WHOLE_WARP, &x, file, line);
    for (int k = 0; k < 4; k++) r[k] = x.r[k];
}

/* ---- asynchronous copies ---- */

struct copy {
    void *to;
    int bytes, group;
    unsigned char data[16];
};
enum { MOST_COPIES = 128 };
static struct {
    copy copies[MOST_COPIES]; /* a ring: numbers first to next - 1 are under way */
    int first, next, group;
    unsigned serial; /* of the block that they belong to */
} under_way[MOST_THREADS];

static auto &mine()
{
    auto &m = under_way[current];
    if (m.serial != block_serial()) {
        m.first = m.next = m.group = 0;
        m.serial = block_serial();
    }
    return m;
}

static void begin(void *to, const void *from, int all, int bytes, const void *site)
{
    auto &m = mine();
    if (((uintptr_t)to | (uintptr_t)from) % (unsigned)all)
        kernel_fault(cudaErrorMisalignedAddress, site, "a copy that is not aligned to %d", all);
    if (bytes < 0 || bytes > all)
        kernel_fault(cudaErrorLaunchFailure, site, "a copy of %d bytes of %d", bytes, all);
    if (in_heap(to) || (bytes && !in_heap(from)))
        kernel_fault(cudaErrorInvalidAddressSpace, site,
                     "an asynchronous copy that is not from global to shared memory");
    if (m.next - m.first == MOST_COPIES)
        kernel_fault(cudaErrorLaunchFailure, site, "more than %d copies under way", MOST_COPIES);
    copy *c = &m.copies[m.next++ % MOST_COPIES];
    *c = { to, all, m.group, {} };
    if (bytes) touch(from, (size_t)bytes, READ, site);
    memcpy(c->data, from, (size_t)bytes);
    shadow_expect(to, (size_t)all, site);
}
} // namespace emulator
using namespace emulator;

void mma_16816(float d[4], const unsigned a[4], const unsigned b[2], const char *file, int line)
{
    fragments f;
    memcpy(f.a, a, sizeof f.a), memcpy(f.b, b, sizeof f.b), memcpy(f.d, d, sizeof f.d);
    emulator_meet(multiply, WHOLE_WARP, &f, file, line);
    memcpy(d, f.d, sizeof f.d);
}

#define SITE __builtin_return_address(0)
void ldmatrix_x4(unsigned r[4], const void *row, const char *file, int line)
{
    load(r, false, row, SITE, file, line);
}
void ldmatrix_x4_transposed(unsigned r[4], const void *row, const char *file, int line)
{
    load(r, true, row, SITE, file, line);
}

void copy_async_16(void *shared, const void *global, int bytes)
{
    begin(shared, global, 16, bytes, SITE);
}
void copy_async_4(void *shared, const void *global, int bytes)
{
    begin(shared, global, 4, bytes, SITE);
}
void copy_async_commit() { mine().group++; }

void emulator_copies_wait(int left)
{
    auto &m = mine();
    for (; m.first < m.next; m.first++) {
        const copy *c = &m.copies[m.first % MOST_COPIES];
        if (c->group >= m.group - left) break;
        memcpy(c->to, c->data, (size_t)c->bytes);
        shadow_arrive(c->to, (size_t)c->bytes);
    }
}
