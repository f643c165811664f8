/* jpeg.c: reads JPEG files as RGBA, by libjpeg-turbo, which reports errors by a function that may
 * not return: here it jumps. */
#include <setjmp.h>
#include <stdlib.h>
#include "parts.h"
/* after stdio.h, which it does not include itself */
#include <jpeglib.h>
#include <jerror.h>

typedef struct {
    struct jpeg_error_mgr manager; /* the library knows this first member alone */
    jmp_buf back;
    char *why;
} escape;

static void fail(j_common_ptr c)
{
    escape *e = (escape *)c->err;
    c->err->format_message(c, e->why);
    longjmp(e->back, 1);
}

/* Below 0 are warnings. Most pictures with one can be seen well; one that is cut off cannot. */
static void warn(j_common_ptr c, int level)
{
    if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF) fail(c);
}

static void read_whole(struct jpeg_decompress_struct *c, FILE *f, pith_picture *p)
{
    escape *e = (escape *)c->err;
    jpeg_create_decompress(c);
    jpeg_stdio_src(c, f);
    jpeg_read_header(c, TRUE);
    if (!pith_pixels_allowed(c->image_width, c->image_height, e->why)) longjmp(e->back, 1);
    const bool cmyk = c->num_components == 4; /* which the library does not make RGB */
    c->out_color_space = cmyk ? JCS_CMYK : JCS_EXT_RGBA;
    jpeg_start_decompress(c);
    p->width = (int)c->output_width;
    p->height = (int)c->output_height;
    p->rgba = malloc(4 * (size_t)p->width * (size_t)p->height);
    if (!p->rgba) ERREXIT1(c, JERR_OUT_OF_MEMORY, 0);
    while (c->output_scanline < c->output_height) {
        JSAMPROW row = p->rgba + 4 * (size_t)p->width * c->output_scanline;
        jpeg_read_scanlines(c, &row, 1);
        for (int k = 0; cmyk && k < p->width; k++) { /* as Adobe has it: 255 is no ink */
            for (int i = 0; i < 3; i++)
                row[4 * k + i] = (JSAMPLE)(row[4 * k + i] * row[4 * k + 3] / 255);
            row[4 * k + 3] = 255;
        }
    }
    jpeg_finish_decompress(c);
}

_Static_assert(PITH_REASON >= JMSG_LENGTH_MAX, "a reason has room for the library's messages");

bool pith_jpeg_read(FILE *f, pith_picture *p, char why[PITH_REASON])
{
    struct jpeg_decompress_struct c = { 0 };
    escape e = { .why = why };
    volatile bool good = false;
    c.err = jpeg_std_error(&e.manager);
    e.manager.error_exit = fail;
    e.manager.emit_message = warn;
    if (setjmp(e.back) == 0) {
        read_whole(&c, f, p);
        good = true;
    }
    jpeg_destroy_decompress(&c);
    return good;
}
