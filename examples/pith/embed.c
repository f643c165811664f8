/* embed.c: pith embed: writes the unit rows of pictures and lines of text into a file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "index.h"

typedef struct {
    int n;
    char **line;
} lines;

static void add_lines(lines *l, const char *path)
{
    char memory[PITH_LINE], *text;
    bool good;
    FILE *f = pith_open_regular(path);
    if (!f) pith_raise("%s: %s", path, pith_file_error(errno));
    for (int number = 1; (text = pith_next_line(f, path, number, memory, &good)); number++) {
        l->line = realloc(l->line, sizeof *l->line * (size_t)(l->n + 1));
        if (!l->line || !(l->line[l->n++] = strdup(text)))
            pith_raise("%s: no memory for its lines", path);
    }
    fclose(f);
}

/* Puts the rows of the lines, text_embeds (n, width), and the lines themselves, text_lines, into
 * the store. */
static void put_lines(const lines *l, const model *m, pith_store *s)
{
    const int dim[2] = { l->n, m->config.embed };
    if (!l->n) return;
    pith_real *rows = room(sizeof *rows * (size_t)l->n * (size_t)dim[1]);
    encode_texts(&m->config, m->store, m->tokenizer, l->n, (const char *const *)l->line, rows);
    pith_tensor_write(pith_store_add(s, "text_embeds", PITH_WEIGHT, PITH_F32, 2, dim), rows);
    free(rows);
    index_put_lines(s, "text_lines", l->n, l->line);
}

int command_embed(int argc, char **argv)
{
    const char *out = NULL;
    const option options[] = {
        { "--out", TEXT, &out, "the safetensors file to write" },
        PICTURE_OPTIONS,
        END_OF_OPTIONS,
    };
    const int arguments =
        parse_options(options, "MODEL FILES.. --out F.safetensors",
                      "FILES: PNG and JPEG pictures, folders of them, and .txt files with one "
                      "text a line. Writes image_embeds (n, width) "
                      "and\ntext_embeds (n, width), unit rows, with image_files "
                      "(size, time and name, one a line) and "
                      "text_lines as bytes.\nRows of pictures that an earlier F "
                      "holds are taken from there.",
                      2, -1, argc, argv);
    need_option("--out", out);
    check_output(out, 8, "{");
    picture_index pictures = { 0 };
    lines texts = { 0 };
    for (int k = 2; k <= arguments; k++) {
        const size_t size = strlen(argv[k]);
        if (size > 4 && !strcmp(argv[k] + size - 4, ".txt")) add_lines(&texts, argv[k]);
        else index_add(&pictures, argv[k]);
    }
    if (!pictures.n && !texts.n) pith_raise("%s: holds no PNG or JPEG picture", argv[2]);
    model m = texts.n ? open_model_with_tokenizer(argv[1]) : open_model(argv[1]);
    pith_store *s = pith_store_new();
    const int made = pictures.n ? index_encode(&pictures, &m, out) : 0;
    if (!pictures.n && !texts.n) pith_raise("%s: no picture can be read", argv[2]);
    index_put(&pictures, s);
    put_lines(&texts, &m, s);
    pith_store_save(s, out, PITH_WEIGHT);
    printf("%s: %d pictures (%d of them new) and %d texts, rows of %d\n", out, pictures.n, made,
           texts.n, m.config.embed);
    for (int k = 0; k < texts.n; k++) free(texts.line[k]);
    free(texts.line);
    index_free(&pictures);
    pith_store_free(s);
    close_model(&m);
    return 0;
}
