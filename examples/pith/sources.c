/* sources.c: the table of sources, and what is done with all of them alike: their packages are
 * downloaded and unpacked by fetch-package.sh, and their pairs packed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "command.h"
#include "source.h"

/* One more source: a page with its function, and its lines here. Where a package is named twice,
 * the same part of it must be wanted. */
static const data_source table[] = {
    { "emoji",
      read_emoji,
      { { "fonts-noto-color-emoji", 10, "Google's pictures (SIL OFL 1.1)", NULL },
        { "unicode-data", 8, "their names (Unicode licence)", NULL },
        { "ruby-gemojione", 5, "EmojiOne's pictures (CC-BY-SA-4.0)", NULL } } },
    { "twemoji",
      read_twemoji,
      { { "firefox-esr", 80, "Twitter's pictures, of emoji too (CC-BY-4.0)",
          "usr/lib/firefox-esr/fonts/TwemojiMozilla.ttf" },
        { "unicode-data", 8, "their names (Unicode licence)", NULL } } },
    { "stamps",
      read_stamps,
      { { "tuxpaint-stamps-default", 161, "photos and drawings with sentences (GPL-2)", NULL } } },
    { "clipart",
      read_clipart,
      { { "openclipart-png", 131, "drawings by many people (public domain)", NULL },
        { "openclipart-svg", 25, "their titles (public domain)", NULL } } },
    { "furniture",
      read_furniture,
      { { "sweethome3d-furniture", 120, "rendered models (CC-BY-3.0, CC0)", NULL } } },
    { "icons",
      read_icons,
      { { "oxygen-icon-theme", 32, "icons (LGPL-3+)", NULL },
        { "gnome-icon-theme", 10, "icons (GPL-2+, GPL-3+)", NULL },
        { "mate-icon-theme", 14, "icons (LGPL-3+, CC-BY-SA)", NULL },
        { "tango-icon-theme", 1, "icons (public domain)", NULL },
        { "elementary-xfce-icon-theme", 6, "icons (GPL-2+, LGPL-2+, CC-BY-SA-2.0)", NULL },
        { "adwaita-icon-theme", 5, "icons (CC-BY-SA-3.0 and 4.0, LGPL-3+)", NULL },
        { "lxde-icon-theme", 4, "icons (LGPL-3+)", NULL } } },
    { "tiles",
      read_tiles,
      { { "cataclysm-dda-data", 30, "pixel art of a game (CC-BY-SA-3.0)", NULL } } },
    { "flags",
      read_flags,
      { { "iso-flags-png-320x240", 5, "flags (public domain)", NULL },
        { "iso-codes", 3, "names of countries (LGPL-2.1+)", "usr/share/iso-codes/json" } } },
    { "fashion",
      read_fashion,
      { { "dataset-fashion-mnist", 31, "photos of clothes, in grey (MIT)", NULL } } },
};
enum { SOURCES = sizeof table / sizeof *table };

const char *sources_names(void)
{
    static char text[256];
    if (*text) return text;
    for (int k = 0; k < SOURCES; k++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", k ? ", " : "", table[k].name);
    }
    return text;
}

source_choice sources_named(const char *names)
{
    source_choice s = { 0 };
    for (const char *at = names;; at++) {
        const size_t n = strcspn(at, ",");
        int k = 0;
        while (k < SOURCES && (strlen(table[k].name) != n || strncmp(table[k].name, at, n))) k++;
        if (k == SOURCES)
            pith_raise("pith data fetch: expected names of %s, with commas between them, or "
                       "shapes, or twins, alone; found \"%.*s\"",
                       sources_names(), (int)n, at);
        for (int i = 0; i < s.count; i++)
            if (s.at[i] == &table[k])
                pith_raise("pith data fetch: %s is named twice", table[k].name);
        s.at[s.count++] = &table[k];
        at += n;
        if (!*at) return s;
    }
}

/* ---- downloads ---- */

static int run_script(const char *debs, const source_package *p)
{
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        execlp("sh", "sh", PITH_ROOT "/examples/pith/fetch-package.sh", debs, p->name, p->path,
               (char *)NULL);
        _exit(1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return 1;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static bool is_there(const char *debs, const source_package *p)
{
    char mark[4096];
    snprintf(mark, sizeof mark, "%s/%s.complete", debs, p->name);
    return access(mark, F_OK) == 0;
}

static void say(const data_source *s, const char *debs)
{
    bool first = true;
    for (const source_package *p = s->package; p->name; p++) {
        if (is_there(debs, p)) continue;
        if (first)
            printf("%s: Debian packages, unpacked into %s (nothing is installed):\n", s->name,
                   plain(debs));
        printf("    %-26s %3d MB   %s\n", p->name, p->megabytes, p->holds);
        first = false;
    }
}

bool sources_fetch(const source_choice *s, const char *debs, char why[512])
{
    static const char *const reasons[] = {
        "cannot be unpacked: is this Debian or Ubuntu, and is there room on the disk?",
        "cannot be downloaded: is there a network? (pith data fetch shapes needs none)",
        "is not in this system's lists, or no longer on its server: perhaps run apt-get update",
        "is another than Debian 12's: it lacks",
    };
    for (int k = 0; k < s->count; k++) say(s->at[k], debs);
    for (int k = 0; k < s->count; k++)
        for (const source_package *p = s->at[k]->package; p->name; p++) {
            const int status = run_script(debs, p);
            if (!status) continue;
            snprintf(why, 512, "%s: the package %s %s%s%s", s->at[k]->name, p->name,
                     reasons[status >= 1 && status <= 4 ? status - 1 : 0], status == 4 ? " " : "",
                     status == 4 ? p->path : "");
            return false;
        }
    return true;
}

/* ---- packing ---- */

void sources_pack(const source_choice *s, const char *debs, const char *out, int size,
                  pith_pack_report *report)
{
    corpus *c = corpus_new(size, report);
    for (int k = 0; k < s->count; k++) {
        const int before = c->count;
        corpus_next_source(c);
        s->at[k]->read(c, debs);
        if (c->count == before) pith_raise("%s: there is no pair to pack", s->at[k]->name);
        if (s->count > 1 && c->next_label > c->first_label)
            printf("%s: %d pairs, labels %d to %d\n", s->at[k]->name, c->count - before,
                   c->first_label, c->next_label - 1);
        else if (s->count > 1)
            printf("%s: %d pairs, no labels\n", s->at[k]->name, c->count - before);
    }
    corpus_write(c, out);
    corpus_free(c);
}
