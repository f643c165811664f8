/* picture.c: PNG and JPEG. */
#include "fuzz.h"
#include "pictures/pictures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pith_picture p;
    char why[256];
    pith_limit_pictures(1 << 20);
    if (!pith_picture_try(&p, fuzz_file(data, size), why)) return 0;
    uint8_t view[3 * 16 * 16];
    pith_preprocess(&p, 16, view);
    pith_picture_free(&p);
    return 0;
}
