/* source_stamps.c: the source "stamps": Tux Paint's stamps, photos cut out and drawings, of each
 * NAME.png one sentence in NAME.txt: "A floppy-eared bunny."
 *
 * The first line of that file is English, the others say the same in other languages. The mirror
 * images of a few have no such file and are left out. Labels are the first folders: animals,
 * clothes, food ... Splits: corpus_split. */
#include <stdlib.h>
#include <string.h>
#include "source.h"

#define STAMPS "usr/share/tuxpaint/stamps"

/* The first line of the text beside a picture; "" if there is none. */
static void read_caption(char caption[1024], const char *png)
{
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%.*s.txt", (int)(strlen(png) - strlen(".png")), png);
    char *text = file_bytes(path, &size);
    *caption = 0;
    if (!text) return;
    text[strcspn(text, "\r\n")] = 0;
    size_t n = strlen(text);
    while (n && text[n - 1] == ' ') text[--n] = 0;
    snprintf(caption, 1024, "%s", text + strspn(text, " "));
    free(text);
}

void read_stamps(corpus *c, const char *debs)
{
    file_list f = files_below(debs, STAMPS, ".png", "tuxpaint-stamps-default");
    for (int i = 0; i < f.count; i++) {
        char caption[1024], source[4096], folder[256];
        const char *below = f.path[i] + f.below;
        read_caption(caption, f.path[i]);
        snprintf(source, sizeof source, "stamps/%s", below);
        folder_of(folder, below, 1);
        corpus_add_file(c, f.path[i], caption, source, corpus_class(c, folder));
    }
    files_free(&f);
}
