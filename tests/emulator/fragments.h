/* fragments.h: what cuda/mma.h has as instructions, here as functions; mma.cpp. */
#ifndef EMULATOR_FRAGMENTS_H
#define EMULATOR_FRAGMENTS_H
#include "emulator.h"

void mma_16816(float d[4], const unsigned a[4], const unsigned b[2], EMULATOR_AT);
void ldmatrix_x4(unsigned r[4], const void *row, EMULATOR_AT);
void ldmatrix_x4_transposed(unsigned r[4], const void *row, EMULATOR_AT);
void copy_async_16(void *shared, const void *global, int bytes = 16);
void copy_async_4(void *shared, const void *global, int bytes = 4);
void copy_async_commit();
void emulator_copies_wait(int left);
template <int LEFT> static inline void copy_async_wait() { emulator_copies_wait(LEFT); }
#endif
