/* philox.c: counter-based random numbers (Philox4x32-10: Salmon et al., "Parallel random numbers:
 * as easy as 1, 2, 3", 2011), and the hash that makes keys of their streams from names. Nothing is
 * kept between draws, so any thread, rank or replay draws the same. */
#include "core.h"

void pith_philox(uint64_t key, uint64_t low, uint64_t high, uint32_t out[4])
{
    uint32_t c[4] = { (uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high,
                      (uint32_t)(high >> 32) };
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t next[4] = { (uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                                   (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a };
        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

/* 24 bits, so that float and double builds and every device agree exactly. */
static double unit(uint32_t x) { return (x >> 8) * 0x1p-24; }

double pith_uniform_at(uint64_t key, uint64_t step, uint64_t element)
{
    uint32_t x[4];
    pith_philox(key, element, step, x);
    return unit(x[0]);
}

double pith_normal_at(uint64_t key, uint64_t step, uint64_t element) /* Box and Muller */
{
    uint32_t x[4];
    pith_philox(key, element, step, x);
    const double radius = sqrt(-2 * log(unit(x[0]) + 0x1p-25));
    return radius * cos(6.283185307179586476925 * unit(x[1]));
}

uint64_t pith_hash(const char *text, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ (seed * 0x9E3779B97F4A7C15u);
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h ^ (h >> 29);
}
