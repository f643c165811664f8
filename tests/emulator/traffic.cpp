/* traffic.cpp: how much of device memory each launch asks for, in sectors of 32 bytes, as a device
 * moves them. Threads run one after the other here, so what the lanes of a warp ask for at once is
 * told by where in the code they ask: the nth time that a lane comes to a place is one access with
 * the nth time of the other lanes. What gcc makes of a vector, an access for each of its elements,
 * is one again: neighbours in memory and in the code, of the same 16 bytes, one after another. */
#include "machine.h"
#include <stdlib.h>

namespace emulator
{
enum { SECTOR = 32, VECTOR = 16, NEAR = 64 };
bool traffic_counts;

static emulator_traffic *launches;
static int launch_count, launch_room;

/* How often each key came. Keys are hashes, of which two different ones are hardly ever equal. */
struct bag {
    struct entry {
        uint64_t key; /* 0: none */
        uint32_t times;
    } *at;
    size_t room, used;
};
static bag places; /* of a block: of each thread and place in the code, how often it came there */
static bag asked;  /* of a block: sectors of each access of a warp */
static bag reads, writes; /* of a launch: sectors */

static void empty(bag *b)
{
    if (b->used) memset(b->at, 0, b->room * sizeof *b->at);
    b->used = 0;
}

static bag::entry *find(const bag *b, uint64_t key)
{
    size_t i = key & (b->room - 1);
    while (b->at[i].key && b->at[i].key != key) i = (i + 1) & (b->room - 1);
    return &b->at[i];
}

static uint32_t put(bag *b, uint64_t key)
{
    if (2 * b->used >= b->room) {
        const bag old = *b;
        b->room = old.room ? 2 * old.room : 1024;
        b->at = (bag::entry *)calloc(b->room, sizeof *b->at);
        if (!b->at) abort();
        for (size_t i = 0; i < old.room; i++)
            if (old.at[i].key) *find(b, old.at[i].key) = old.at[i];
        free(old.at);
    }
    bag::entry *e = find(b, key |= 1ull << 63);
    if (!e->key) e->key = key, b->used++;
    return ++e->times;
}

/* splitmix64's last steps */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void traffic_launch(const kernel_launch *l)
{
    if (!traffic_counts) return;
    if (launch_count == launch_room) {
        const size_t room = (size_t)(launch_room += 256);
        launches = (emulator_traffic *)realloc(launches, room * sizeof *launches);
        if (!launches) abort();
    }
    emulator_traffic *t = &launches[launch_count++];
    *t = {};
    t->kernel = l->kernel, t->shared = l->shared;
    t->blocks = (size_t)l->grid.x * l->grid.y * l->grid.z;
    t->threads = (size_t)l->block.x * l->block.y * l->block.z;
    empty(&reads), empty(&writes);
}

/* The access of each thread of the block that came last. */
static struct latest {
    const char *end, *site;
    touch_kind kind;
    uint64_t access;
} latest[MOST_THREADS];

void traffic_block(void)
{
    empty(&places), empty(&asked);
    memset(latest, 0, sizeof latest);
}

/* Which access of its warp is it? */
static uint64_t access_of(const char *p, size_t bytes, touch_kind kind, const char *site)
{
    struct latest *l = &latest[current];
    if (l->end != p || (uintptr_t)p % VECTOR == 0 || l->kind != kind || site <= l->site ||
        site > l->site + NEAR) {
        const uint64_t place = mix((uint64_t)site, kind != READ);
        l->access = mix(mix(place, (uint64_t)current / LANES),
                        put(&places, mix(place, (uint64_t)current)));
    }
    l->end = p + bytes, l->site = site, l->kind = kind;
    return l->access;
}

void traffic_touch(const void *p, size_t bytes, touch_kind kind, const void *site)
{
    emulator_traffic *t = &launches[launch_count - 1];
    const uint64_t access = access_of((const char *)p, bytes, kind, (const char *)site);
    const uint64_t first = (uint64_t)p / SECTOR, last = ((uint64_t)p + bytes - 1) / SECTOR;
    for (uint64_t sector = first; sector <= last; sector++) {
        const size_t now = put(&asked, mix(access, sector)) == 1 ? SECTOR : 0;
        if (kind != WRITE) {
            t->read += now;
            t->read_once += put(&reads, sector) == 1 ? SECTOR : 0;
        }
        if (kind != READ) {
            t->written += now;
            t->written_once += put(&writes, sector) == 1 ? SECTOR : 0;
        }
    }
}
} // namespace emulator
using namespace emulator;

void emulator_count(bool on)
{
    traffic_counts = on;
    launch_count = on ? 0 : launch_count;
}

int emulator_counted(const emulator_traffic **list)
{
    *list = launches;
    return launch_count;
}
