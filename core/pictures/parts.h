/* parts.h: what the pages of core/pictures share among themselves. Nobody else includes it. */
#ifndef PITH_PICTURES_PARTS_H
#define PITH_PICTURES_PARTS_H
#include "core.h"
#include "pictures.h"

enum { PITH_REASON = 200 }; /* bytes of a reason why a picture cannot be read */
/* picture.c: may a picture have so many pixels? If not, `why` says it. */
bool pith_pixels_allowed(int64_t width, int64_t height, char why[PITH_REASON]);
/* jpeg.c: reads the file from where it stands. */
bool pith_jpeg_read(FILE *f, pith_picture *p, char why[PITH_REASON]);

/* randaugment.c: the ops; cutout is the last, since InfoMin leaves it out. */
typedef enum {
    PITH_AUTO_CONTRAST,
    PITH_EQUALIZE,
    PITH_INVERT,
    PITH_ROTATE,
    PITH_POSTERIZE,
    PITH_SOLARIZE,
    PITH_COLOUR,
    PITH_CONTRAST,
    PITH_BRIGHTNESS,
    PITH_SHARPNESS,
    PITH_SHEAR_X,
    PITH_SHEAR_Y,
    PITH_TRANSLATE_X,
    PITH_TRANSLATE_Y,
    PITH_SOLARIZE_ADD,
    PITH_CUTOUT,
    PITH_RANDOM_OPS
} pith_random_op;
/* One op on a picture (3, size, size), in place. level: in [0, 1]; sign: 1 or -1, of what may go
 * either way; centre: of cutout, as shares of the side; room: for size x size bytes. */
void pith_randaugment_op(pith_random_op op, double level, double sign, const double centre[2],
                         int size, uint8_t *p, uint8_t *room);
#endif
