/* sheets.c: contact sheets: a page that shows a person which pictures pith data balance merged. */
#include "curate.h"
#include "report_parts.h"

enum { MOST_GROUPS = 100, MOST_PICTURES = 24 }; /* that are shown, and of each group */

static const char style[] =
    "section { border-top: 1px solid var(--line); padding: .6rem 0; } section h2 { font-size: "
    "1rem; margin: 0 0 .5rem; }\n"
    "section .row { flex-wrap: wrap; } section figure { flex: none; width: 84px; }\n"
    "section .central img { outline: 3px solid var(--good); } .central b { color: var(--good); }\n";

static void picture(FILE *f, const pith_pack *pack, int i, double distance, bool kept)
{
    const size_t bytes = 3 * (size_t)pack->size * (size_t)pack->size;
    fprintf(f, "<figure%s><img alt=\"\" title=\"", kept ? " class=\"central\"" : "");
    report_text(f, plain(pack->source[i]));
    fputs("\" src=\"", f);
    report_picture(f, pack->pixels + bytes * (size_t)i, pack->size);
    fprintf(f, "\"><figcaption>%s%.3f<br>", kept ? "<b>kept</b> " : "", distance);
    report_text(f, plain(pack->caption[i]));
    fputs("</figcaption></figure>\n", f);
}

typedef struct {
    const pith_pack *pack;
    const merged *m;
    const char *summary;
} shown;

static bool body(FILE *f, const void *context)
{
    const shown *s = context;
    const int groups = s->m->groups < MOST_GROUPS ? s->m->groups : MOST_GROUPS;
    fprintf(f, "<style>\n%s</style>\n<p>", style);
    report_text(f, s->summary);
    fprintf(f,
            "</p>\n<p class=\"soft\">The largest groups first, %d of %d; of each at most %d "
            "pictures: the kept one, framed, and then those farthest from the group's centroid, "
            "which are the most likely mistakes. Numbers are distances to the centroid.</p>\n",
            groups, s->m->groups, MOST_PICTURES);
    for (int g = 0; g < groups; g++) {
        const group *of = &s->m->group[g];
        fprintf(f,
                "<section><h2>Group %d <span class=\"soft\">%d pictures</span></h2>"
                "<div class=\"row\">\n",
                g + 1, of->count);
        for (int k = 0; k < of->count && k < MOST_PICTURES; k++)
            picture(f, s->pack, s->m->pair[of->first + k], s->m->distance[of->first + k], k == 0);
        fputs("</div></section>\n", f);
    }
    return true;
}

void write_sheets(const char *path, const pith_pack *pack, const merged *m, const char *summary)
{
    const shown s = { pack, m, summary };
    report_save(path, "What was merged", body, &s);
}
