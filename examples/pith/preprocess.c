/* preprocess.c: pith preprocess: writes pictures as CLIP sees them, as tensors that can be compared
 * with those of other programs. */
#include <stdlib.h>
#include <string.h>
#include "command.h"

/* u8 (size, size, 3) -> f32 (3, size, size), CLIP's mean and standard deviation taken off. */
static void normalise(const uint8_t *rgb, int size, const clip_config *c, pith_real *out)
{
    const size_t area = (size_t)size * (size_t)size;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < area; i++)
            out[k * area + i] = (pith_real)((rgb[3 * i + k] / 255.0 - c->mean[k]) / c->std[k]);
}

int command_preprocess(int argc, char **argv)
{
    const char *out = NULL;
    int64_t size = 224;
    const option options[] = {
        { "--size", INTEGER, &size, "side of the square" },
        { "--out", TEXT, &out, "the safetensors file to write" },
        PICTURE_OPTIONS,
        END_OF_OPTIONS,
    };
    const int arguments = parse_options(
        options, "PICTURES.. --size N --out F.safetensors",
        "Writes one f32 tensor (3, N, N) a picture (PNG or JPEG), named by the file's "
        "base name: RGB, shortest side to N\n"
        "(bicubic, antialiased, as PIL), centre crop, CLIP's mean and "
        "standard deviation.\n"
        "16-bit pictures are read by their high byte, where PIL clips.",
        1, -1, argc, argv);
    need_option("--out", out);
    check_output(out, 8, "{");
    /* its sizes do not matter: only CLIP's mean and standard deviation are used */
    const clip_config c = clip_config_uniform(32, 8, 64, 1, 64, 77, 514, 64, 1, 1, 64);
    const int side = (int)size, dim[3] = { 3, side, side };
    uint8_t *rgb = room(3 * (size_t)side * (size_t)side);
    pith_real *values = room(sizeof *values * 3 * (size_t)side * (size_t)side);
    pith_store *s = pith_store_new();
    for (int k = 1; k <= arguments; k++) {
        const char *name = strrchr(argv[k], '/') ? strrchr(argv[k], '/') + 1 : argv[k];
        pith_picture p;
        pith_picture_read(&p, argv[k]);
        pith_preprocess(&p, side, rgb);
        pith_picture_free(&p);
        if (pith_store_find(s, name))
            pith_raise("%s: an earlier picture is called %s too", argv[k], name);
        normalise(rgb, side, &c, values);
        pith_tensor_write(pith_store_add(s, name, PITH_WEIGHT, PITH_F32, 3, dim), values);
    }
    pith_store_save(s, out, PITH_WEIGHT);
    pith_store_free(s);
    free(rgb);
    free(values);
    return 0;
}
