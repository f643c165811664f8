/* index.c: a folder's index, in which the rows of its pictures are found again. */
#include "fuzz.h"
#include "../../examples/pith/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const model m = { .config = { .embed = 2, .image_size = 8 } };
    char *file = strdup("/nowhere.png"), *stamp = strdup("b");
    picture_index x = { .n = 1, .file = &file, .stamp = &stamp };
    index_encode(&x, &m, fuzz_file(data, size));
    free(x.rows);
    if (x.n) free(file), free(stamp);
    return 0;
}
