/* ops/patches.h: the patches of pictures that a window covers, as the rows of a matrix that is
 * gathered a block at a time: what convolution.c multiplies. */
#ifndef PITH_PATCHES_H
#define PITH_PATCHES_H
#include "core.h"
#ifdef __cplusplus
extern "C" {
#endif

/* A window of `kernel` entries at each of `places` of a source (images, size, channels). At place
 * i its entry u is the source at (i step - before + u) / apart: zeros where that is outside, or no
 * whole number. Of each pair the first is vertical. */
typedef struct {
    size_t images;
    int size[2], channels, kernel[2], places[2], before[2], step, apart;
} window;

/* How the places are cut: into blocks of `rows` patches, which fit into the cache, and those into
 * parts that run beside one another, each with one block in memory: at most half of all. */
typedef struct {
    size_t places, patch, rows, blocks, parts; /* patch: elements of one */
} patch_cut;
patch_cut pith_cut_patches(const window *p);
size_t pith_patch_scratch(const patch_cut *c); /* bytes for a block a part */
/* Patches [first, first + count) of the source, a row each. */
void pith_gather_patches(const window *p, const real *source, size_t first, size_t count, real *to);
/* y (places, n) = patches times w, which is (patch, n), or, with tw, (n, patch). */
void pith_multiply_patches(const window *p, const real *source, bool tw, const real *w, int n,
                           real *y, real *scratch);

/* The windows of nodes of the three ops of convolution.c. */
window pith_convolution_window(const node *y);
window pith_input_window(const node *dx);
window pith_weight_window(const node *dw);
#ifdef __cplusplus
}
#endif
#endif
