/* blas_control.h: what tests ask of the library that stands in for cuBLASLt. */
#ifndef EMULATOR_BLAS_CONTROL_H
#define EMULATOR_BLAS_CONTROL_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
extern size_t emulator_blas_version; /* what the library says of itself */
/* Epilogues with a bias: 0 takes them, 1 has no result for them, 2 says they are not supported. */
extern int emulator_blas_refuses_bias;
extern int emulator_blas_asked;   /* how often a way to make a product was asked for */
extern int emulator_blas_handles; /* that are open */
/* Of the product launched last: bytes of workspace, number of parts added up, epilogue. */
extern size_t emulator_blas_workspace;
extern int emulator_blas_parts, emulator_blas_epilogue;
#ifdef __cplusplus
}
#endif
#endif
