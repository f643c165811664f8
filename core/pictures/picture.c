/* picture.c: reads PNG files of every kind (and, by jpeg.c, JPEG) as RGBA with eight bits a
 * channel, and writes PNG. Of 16 bits the high byte is taken. libpng reports errors by longjmp. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include "core.h"
#include "files/files.h"
#include "pictures.h"

/* Larger pictures are refused: a few bytes may claim to be very many pixels. */
static int64_t most_pixels = 64000000;
void pith_limit_pictures(int64_t pixels) { most_pixels = pixels; }
int64_t pith_most_pixels(void) { return most_pixels; }

typedef struct {
    jmp_buf back;
    char why[200];
    png_bytep *rows;
} escape;

static void fail(png_structp png, png_const_charp message)
{
    escape *e = png_get_error_ptr(png);
    snprintf(e->why, sizeof e->why, "%s", message);
    longjmp(e->back, 1);
}

static void ignore(png_structp png, png_const_charp message) { (void)png, (void)message; }

static void read_whole(png_structp png, png_infop info, FILE *f, pith_picture *p, escape *e)
{
    png_init_io(png, f);
    png_set_user_limits(png, 1000000, 1000000);
    png_read_info(png, info);
    const png_uint_32 width = png_get_image_width(png, info),
                      height = png_get_image_height(png, info);
    if ((int64_t)width * height > most_pixels) {
        snprintf(e->why, sizeof e->why, "more than %lld pixels", (long long)most_pixels);
        longjmp(e->back, 1);
    }
    png_set_expand(png); /* palettes, greys below 8 bits, and tRNS to alpha */
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    p->width = (int)width;
    p->height = (int)height;
    p->rgba = malloc(4 * (size_t)width * height);
    e->rows = malloc(sizeof(png_bytep) * height);
    if (!p->rgba || !e->rows) png_error(png, "no memory");
    for (png_uint_32 y = 0; y < height; y++) e->rows[y] = p->rgba + 4 * (size_t)width * y;
    png_read_image(png, e->rows);
    png_read_end(png, NULL);
}

/* Variables that change after setjmp belong to the caller, since local ones would be lost in the
 * jump. */
static bool read_png(FILE *f, pith_picture *p, escape *e)
{
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, e, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool good = false;
    if (info && setjmp(e->back) == 0) {
        read_whole(png, info, f, p, e);
        good = true;
    }
    png_destroy_read_struct(&png, &info, NULL);
    return good;
}

bool pith_is_picture_name(const char *name)
{
    static const char *const ends[] = { ".png", ".jpg", ".jpeg" };
    const char *end = strrchr(name, '.');
    for (size_t k = 0; end > name && k < sizeof ends / sizeof *ends; k++)
        if (!strcasecmp(end, ends[k])) return true;
    return false;
}

/* What kind of picture it is, its first bytes say, not its name. */
bool pith_picture_try(pith_picture *p, const char *path, char why[256])
{
    *p = (pith_picture){ 0 };
    unsigned char head[8] = { 0 };
    FILE *f = pith_open_regular(path);
    if (!f) return snprintf(why, 256, "%s", pith_file_error(errno)), false;
    const size_t size = fread(head, 1, 8, f);
    bool good = false;
    rewind(f);
    if (size == 8 && png_sig_cmp(head, 0, 8) == 0) {
        escape e = { .why = "no memory" };
        good = read_png(f, p, &e);
        free(e.rows);
        if (!good) snprintf(why, 256, "is damaged or no whole PNG picture (%s)", e.why);
    } else if (size >= 3 && head[0] == 0xFF && head[1] == 0xD8 && head[2] == 0xFF)
        good = pith_jpeg_read(f, p, why);
    else snprintf(why, 256, "is neither a PNG nor a JPEG picture");
    fclose(f);
    if (!good) pith_picture_free(p);
    return good;
}

bool pith_picture_read(pith_picture *p, const char *path)
{
    char why[256];
    return pith_picture_try(p, path, why) || pith_raise("%s: %s", path, why);
}

void pith_picture_free(pith_picture *p)
{
    free(p->rgba);
    *p = (pith_picture){ 0 };
}

/* ---- writing ---- */

static bool is_opaque(const pith_picture *p)
{
    for (size_t k = 0; k < (size_t)p->width * (size_t)p->height; k++)
        if (p->rgba[4 * k + 3] != 255) return false;
    return true;
}

static void write_whole(png_structp png, png_infop info, FILE *f, const pith_picture *p,
                        uint8_t *row)
{
    const bool opaque = is_opaque(p);
    const size_t width = (size_t)p->width;
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 opaque ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < (size_t)p->height; y++) {
        const uint8_t *from = p->rgba + 4 * width * y;
        for (size_t x = 0; x < width; x++)
            memcpy(row + (opaque ? 3 : 4) * x, from + 4 * x, opaque ? 3 : 4);
        png_write_row(png, row);
    }
    png_write_end(png, NULL);
}

static bool write_png(FILE *f, const pith_picture *p, uint8_t *row, escape *e)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, e, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool good = false;
    if (row && info && setjmp(e->back) == 0) {
        write_whole(png, info, f, p, row);
        good = true;
    }
    png_destroy_write_struct(&png, &info);
    return good;
}

bool pith_picture_write(const pith_picture *p, const char *path)
{
    escape e = { .why = "no memory" };
    FILE *f = fopen(path, "wb");
    if (!f) return pith_raise("%s: cannot be written: %s", path, strerror(errno));
    uint8_t *row = malloc(4 * (size_t)p->width);
    bool good = write_png(f, p, row, &e);
    free(row);
    if (fclose(f) != 0 && good) good = false, snprintf(e.why, sizeof e.why, "%s", strerror(errno));
    return good || pith_raise("%s: cannot be written: %s", path, e.why);
}
