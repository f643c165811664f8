/* ops/slots.h: a table of numbers by hashing, open addressing, in an op's scratch: work for those
 * that are in it, however many there may be. A free slot has -1. */
#ifndef PITH_SLOTS_H
#define PITH_SLOTS_H
#include "core.h"

/* A power of 2, at least twice as many as there are numbers. */
static inline size_t slots_for(int numbers)
{
    size_t slots = 4;
    while (slots < 2 * (size_t)numbers) slots *= 2;
    return slots;
}

static inline size_t first_slot(int x, size_t slots)
{
    return (size_t)((uint32_t)x * 0x9E3779B9u) & (slots - 1);
}

static inline size_t next_slot(size_t k, size_t slots) { return (k + 1) & (slots - 1); }
#endif
