/* pictures.h: PNG in and out, PIL's resizing, CLIP's evaluation view, and augmented views.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_PICTURES_H
#define PITH_PICTURES_H
#include "pith.h"

/* ---- pictures -------------------------------------------------------------------------------- */

/* 4 bytes a pixel, rows from the top */
typedef struct {
    int width, height;
    uint8_t *rgba;
} pith_picture;

bool pith_picture_read(pith_picture *p, const char *path); /* PNG of any kind */
/* PNG, RGB if nothing is transparent */
bool pith_picture_write(const pith_picture *p, const char *path);
void pith_picture_free(pith_picture *p);
/* As PIL's convert('RGB'): alpha is dropped. Then resized as PIL's antialiased bicubic. rgb:
 * (height, width, 3) */
bool pith_resize(const uint8_t *rgb, int width, int height, uint8_t *out, int out_width,
                 int out_height);
/* CLIP's evaluation view: RGB, shortest side to `size`, centre crop. out: (size, size, 3) */
bool pith_preprocess(const pith_picture *p, int size, uint8_t *out);

/* picture.c: as pith_picture_read, but the reason goes to `why` and nobody is told: a set may have
 * bad samples. */
bool pith_picture_try(pith_picture *p, const char *path, char why[256]);

/* ---- augmented views ---------------------------------------------------------------------------
 */

/* Strengths of augmentation; all zeros: the plain evaluation view. */
typedef struct {
    double crop;                /* random resized crop: least share of the area; 0 or 1: none */
    double aspect;              /* its aspect ratio in [1/(1+aspect), 1+aspect] */
    double flip;                /* probability of a mirror image */
    double shift, rotate, zoom; /* share of the side; degrees; scale in [1/(1+zoom), 1+zoom] */
    /* half widths of factors about 1; channel: gain of each colour */
    double brightness, contrast, saturation, channel;
    double blur, noise; /* largest sigma in pixels; largest standard deviation in [0, 1] */
} pith_augment;

/* augment.c: one view of a picture (3, size, size), a function of (seed, view, index) alone. work:
 * pith_augment_room floats. */
size_t pith_augment_room(int size);
void pith_augment_view(const pith_augment *a, uint64_t seed, uint64_t view, uint64_t index,
                       int size, const uint8_t *pixels, const double mean[3], const double std[3],
                       float *work, pith_real *out);
bool pith_augment_none(const pith_augment *a);

#endif
