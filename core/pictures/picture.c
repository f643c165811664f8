/* picture.c: reads PNG files of every kind (and, by jpeg.c, JPEG) as RGBA with eight bits a
 * channel, and writes PNG. Of 16 bits the high byte is taken. libpng reports errors by longjmp. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include "files/files.h"
#include "parts.h"

/* Larger pictures are refused: a few bytes may claim to be very many pixels. */
static int64_t most_pixels = 64000000;
void pith_limit_pictures(int64_t pixels) { most_pixels = pixels; }

bool pith_pixels_allowed(int64_t width, int64_t height, char why[PITH_REASON])
{
    if (width * height <= most_pixels) return true;
    snprintf(why, PITH_REASON, "has %lld x %lld pixels, more than %lld are not read",
             (long long)width, (long long)height, (long long)most_pixels);
    return false;
}

typedef struct {
    jmp_buf back;
    char *why;
    png_bytep *rows;
} escape;

static void fail(png_structp png, png_const_charp message)
{
    escape *e = png_get_error_ptr(png);
    snprintf(e->why, PITH_REASON, "%s", message);
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
    if (!pith_pixels_allowed(width, height, e->why)) longjmp(e->back, 1);
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
    char reason[PITH_REASON] = "no memory";
    FILE *f = pith_open_regular(path);
    if (!f) return snprintf(why, 256, "%s", pith_file_error(errno)), false;
    const size_t size = fread(head, 1, 8, f);
    const bool png = size == 8 && png_sig_cmp(head, 0, 8) == 0,
               jpeg = size >= 3 && head[0] == 0xFF && head[1] == 0xD8 && head[2] == 0xFF;
    escape e = { .why = reason };
    rewind(f);
    const bool good = png ? read_png(f, p, &e) : jpeg && pith_jpeg_read(f, p, reason);
    free(e.rows);
    fclose(f);
    if (good) return true;
    if (!strncmp(reason, "has ", 4)) snprintf(why, 256, "%s", reason); /* it is whole */
    else if (png || jpeg)
        snprintf(why, 256, "is damaged or no whole %s picture (%.190s)", png ? "PNG" : "JPEG",
                 reason);
    else snprintf(why, 256, "is neither a PNG nor a JPEG picture");
    pith_picture_free(p);
    return false;
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

uint8_t *pith_picture_png(const pith_picture *p, size_t *size)
{
    const bool opaque = is_opaque(p);
    const size_t pixels = (size_t)p->width * (size_t)p->height, width = opaque ? 3 : 4;
    png_image png = { .version = PNG_IMAGE_VERSION,
                      .width = (png_uint_32)p->width,
                      .height = (png_uint_32)p->height,
                      .format = opaque ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA };
    *size = PNG_IMAGE_PNG_SIZE_MAX(png);
    uint8_t *from = malloc(width * pixels), *file = malloc(*size);
    for (size_t k = 0; from && k < pixels; k++) memcpy(from + width * k, p->rgba + 4 * k, width);
    const bool good = from && file && png_image_write_to_memory(&png, file, size, 0, from, 0, NULL);
    free(from);
    if (good) return file;
    free(file);
    return NULL;
}

bool pith_picture_write(const pith_picture *p, const char *path)
{
    size_t size;
    uint8_t *png = pith_picture_png(p, &size);
    FILE *f = png ? fopen(path, "wb") : NULL;
    bool good = f && fwrite(png, 1, size, f) == size;
    if (f && fclose(f)) good = false;
    const char *why = png ? strerror(errno) : "no memory";
    free(png);
    return good || pith_raise("%s: cannot be written: %s", path, why);
}
