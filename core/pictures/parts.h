/* parts.h: what the pages of core/pictures share among themselves. Nobody else includes it. */
#ifndef PITH_PICTURES_PARTS_H
#define PITH_PICTURES_PARTS_H
#include "core.h"
#include "pictures.h"

enum { PITH_WHY = 200 }; /* bytes of a reason why a picture cannot be read */
/* picture.c: may a picture have so many pixels? If not, `why` says it. */
bool pith_pixels_allowed(int64_t width, int64_t height, char why[PITH_WHY]);
/* jpeg.c: reads the file from where it stands. */
bool pith_jpeg_read(FILE *f, pith_picture *p, char why[PITH_WHY]);
#endif
