/* pictures.h: PNG and JPEG in, PNG out, PIL's resizing, CLIP's evaluation view, and augmented
 * views.
 *
 * Functions return NULL or false after an error, which pith_error() holds. */
#ifndef PITH_PICTURES_H
#define PITH_PICTURES_H
#include "pith.h"

/* ---- pictures -------------------------------------------------------------------------------- */

/* rgba: 4 bytes a pixel, the top row first */
typedef struct {
    int width, height;
    uint8_t *rgba;
} pith_picture;

bool pith_picture_read(pith_picture *p, const char *path); /* any PNG or JPEG file */
/* As PNG: RGB if nothing is transparent, else RGBA. */
bool pith_picture_write(const pith_picture *p, const char *path);
/* The bytes of that file, which the caller frees; NULL, and no error, without memory. */
uint8_t *pith_picture_png(const pith_picture *p, size_t *size);
void pith_picture_free(pith_picture *p);
/* Resizes as PIL's antialiased bicubic does, to the bit. rgb: (height, width, 3) */
bool pith_resize(const uint8_t *rgb, int width, int height, uint8_t *out, int out_width,
                 int out_height);
/* The same for a square picture, channel by channel: (3, from, from) to (3, to, to). */
bool pith_resize_planes(const uint8_t *planes, int from, uint8_t *out, int to);
/* CLIP's evaluation view: alpha is dropped, the shorter side brought to `size`, the centre cut out.
 * out: (size, size, 3) */
bool pith_preprocess(const pith_picture *p, int size, uint8_t *out);

/* As pith_picture_read, but writes the reason into `why` and raises no error: a set of pictures may
 * contain bad ones. */
bool pith_picture_try(pith_picture *p, const char *path, char why[256]);
/* Is a file of this name to be taken for a picture: .png, .jpg, .jpeg? Its content decides what it
 * is. */
bool pith_is_picture_name(const char *name);
/* Pictures of more pixels are refused before memory is taken for them; 64 million if nobody says
 * otherwise. Four bytes a pixel are needed to read one. */
void pith_limit_pictures(int64_t pixels);

/* ---- augmented views ------------------------------------------------------------------------- */

/* Strengths of augmentation; all zeros: the plain evaluation view. */
typedef struct {
    double crop; /* random resized crop: smallest share of the area that is kept; 0 or 1: no crop */
    double aspect;              /* its aspect ratio in [1/(1+aspect), 1+aspect] */
    double flip;                /* probability of a mirror image */
    double shift, rotate, zoom; /* largest shift, as a share of the side; largest angle, in degrees;
                                   scale in [1/(1+zoom), 1+zoom] */
    /* each is a factor in [1 - strength, 1 + strength]; channel: one factor for each colour */
    double brightness, contrast, saturation, channel;
    double blur, noise; /* largest sigma in pixels; largest standard deviation in [0, 1] */
    /* Largest turn of the hue, as a share of the circle. jitter: the probability that brightness,
     * contrast, saturation and hue are changed at all, then one after another in random order; 0:
     * always, and the first three at once, with one clipping. */
    double hue, jitter;
    double gray; /* probability of a picture in shades of grey */
    /* Probability of a blur whose sigma is uniform in [0.1, 2] pixels of a 224 x 224 picture. */
    double gaussian;
    /* So many random ops of RandAugment, at most PITH_MOST_RANDOM_OPS, at a magnitude in [0, 10].
     * infomin: 1 spreads the magnitude by a standard deviation of 0.5, leaves cutout out, and puts
     * the gaussian blur before the ops instead of after all, as InfoMin's version of stacked
     * RandAugment does. */
    double randaugment, magnitude, infomin;
} pith_augment;
#define PITH_MOST_RANDOM_OPS 16

/* Makes one augmented, normalised view of a picture (3, size, size). It depends only on the
 * picture, the strengths and (seed, view, index). work: memory for pith_augment_room(size) floats.
 */
size_t pith_augment_room(int size);
void pith_augment_view(const pith_augment *a, uint64_t seed, uint64_t view, uint64_t index,
                       int size, const uint8_t *pixels, const double mean[3], const double std[3],
                       float *work, pith_real *out);
bool pith_augment_none(const pith_augment *a);

#endif
