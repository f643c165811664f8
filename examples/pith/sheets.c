/* sheets.c: contact sheets: a page that shows a person which pictures pith data balance merged. */
#include "curate.h"
#include "report_parts.h"

enum { MOST_GROUPS = 100, MOST_PICTURES = 24 }; /* that are shown, and of each group */

static const char style[] =
    ":root { color-scheme: light dark; --page: #fbfaf8; --ink: #23262b; --soft: #626872; --line: "
    "#dedbd4; --good: #1c7c4a; }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #16181c; --ink: #e6e4df; --soft: "
    "#9ba1ab; --line: #363a42; --good: #5cc48d; } }\n"
    "body { margin: 0 auto; max-width: 1080px; padding: 2rem 1.25rem; background: var(--page); "
    "color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }\n"
    "section { border-top: 1px solid var(--line); padding: .6rem 0; } h2 { font-size: 1rem; "
    "margin: 0 0 .5rem; } .soft { color: var(--soft); font-weight: 400; }\n"
    ".row { display: flex; flex-wrap: wrap; gap: .6rem; } figure { margin: 0; width: 84px; "
    "text-align: center; }\n"
    "img { display: block; width: 76px; height: 76px; margin: 4px auto; background: #fff; "
    "image-rendering: auto; } .kept img { outline: 3px solid var(--good); }\n"
    "figcaption { font-size: .72rem; line-height: 1.25; color: var(--soft); overflow-wrap: "
    "anywhere; } .kept figcaption b { color: var(--good); }\n";

static void picture(FILE *f, const pith_pack *pack, int i, double distance, bool kept)
{
    const size_t bytes = 3 * (size_t)pack->size * (size_t)pack->size;
    fprintf(f, "<figure%s><img alt=\"\" title=\"", kept ? " class=\"kept\"" : "");
    report_text(f, plain(pack->source[i]));
    fputs("\" src=\"", f);
    report_picture(f, pack->pixels + bytes * (size_t)i, pack->size);
    fprintf(f, "\"><figcaption>%s%.3f<br>", kept ? "<b>kept</b> " : "", distance);
    report_text(f, plain(pack->caption[i]));
    fputs("</figcaption></figure>\n", f);
}

void write_sheets(const char *path, const pith_pack *pack, const merged *m, const char *summary)
{
    static const char title[] = "What was merged";
    const int shown = m->groups < MOST_GROUPS ? m->groups : MOST_GROUPS;
    sheet s;
    sheet_open(&s);
    fprintf(s.f,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta "
            "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<title>%s</title>\n<style>\n%s</style></head>\n<body>\n<h1>%s</h1>\n<p>",
            title, style, title);
    report_text(s.f, summary);
    fprintf(s.f,
            "</p>\n<p class=\"soft\">The largest groups first, %d of %d; of each at most %d "
            "pictures: the kept one, framed, and then those farthest from the group's centroid, "
            "which are the most likely mistakes. Numbers are distances to the centroid.</p>\n",
            shown, m->groups, MOST_PICTURES);
    for (int g = 0; g < shown; g++) {
        const group *of = &m->group[g];
        fprintf(s.f,
                "<section><h2>Group %d <span class=\"soft\">%d pictures</span></h2>"
                "<div class=\"row\">\n",
                g + 1, of->count);
        for (int k = 0; k < of->count && k < MOST_PICTURES; k++)
            picture(s.f, pack, m->pair[of->first + k], m->distance[of->first + k], k == 0);
        fputs("</div></section>\n", s.f);
    }
    fputs("</body></html>\n", s.f);
    sheet_write(&s, path);
}
