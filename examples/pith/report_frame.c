/* report_frame.c: what every page of results is: one HTML file without links to other files, so
 * that it can be sent and kept. Its colours follow the reader's choice of light or dark. */
#include <stdlib.h>
#include "report_parts.h"

static const char style[] = ":root { color-scheme: light dark; --page: #fbfaf8; --card: #fff; "
                            "--ink: #23262b; --soft: #626872; --line: #dedbd4;\n"
                            "  --good: #1c7c4a; --bad: #b4432f; --heat: #2b62b3; --series0: "
                            "#2b62b3; --series1: #1c7c4a; --series2: #b9670f;\n"
                            "  --series3: #8a3fa0; }\n"
                            "@media (prefers-color-scheme: dark) { :root { --page: #16181c; "
                            "--card: #1e2126; --ink: #e6e4df; --soft: #9ba1ab;\n"
                            "  --line: #363a42; --good: #5cc48d; --bad: #f08a74; --heat: #6ea2ee; "
                            "--series0: #6ea2ee; --series1: #5cc48d;\n"
                            "  --series2: #eba452; --series3: #cb8ce0; } }\n"
                            "* { box-sizing: border-box; } a { color: var(--heat); }\n"
                            "body { margin: 0; background: var(--page); color: var(--ink); font: "
                            "16px/1.55 system-ui, sans-serif; }\n"
                            "main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.25rem "
                            "3rem; }\n"
                            "h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .8rem; } h2 { "
                            "font-size: 1.2rem; margin: 2.6rem 0 .3rem; }\n"
                            "p { margin: .2rem 0 .9rem; max-width: 68ch; } .soft, footer { color: "
                            "var(--soft); font-size: .88rem; }\n"
                            ".card { background: var(--card); border: 1px solid var(--line); "
                            "border-radius: 10px; padding: .9rem 1rem; }\n"
                            ".wide { overflow-x: auto; }\n"
                            "table { border-collapse: collapse; width: 100%; font-variant-numeric: "
                            "tabular-nums; }\n"
                            "th, td { padding: .38rem .7rem; text-align: right; white-space: "
                            "nowrap; border-top: 1px solid var(--line); }\n"
                            "thead th { border-top: 0; } th { font-weight: 600; } th:first-child { "
                            "text-align: left; padding-left: .1rem; }\n"
                            "tbody th { font-weight: 400; position: sticky; left: 0; background: "
                            "var(--card); } tr.split th { padding-top: 1rem; font-weight: 600; "
                            "white-space: normal; }\n"
                            "td b { display: inline-block; min-width: 3.1em; } td i { display: "
                            "inline-block; min-width: 3.3em;\n"
                            "  color: var(--soft); font-style: normal; } td.chance b { "
                            "font-weight: 400; color: var(--soft); }\n"
                            "svg { display: block; width: 100%; height: auto; } svg text { fill: "
                            "var(--soft); font-size: 12px; }\n"
                            ".phases { display: grid; grid-template-columns: max-content 1fr "
                            "max-content; gap: .3rem .8rem; align-items: center; }\n"
                            ".phases div { height: .7rem; background: var(--heat); border-radius: "
                            "3px; min-width: 2px; }\n"
                            ".phases span:nth-child(3n) { text-align: right; font-variant-numeric: "
                            "tabular-nums; }\n"
                            ".gallery { display: grid; grid-template-columns: repeat(auto-fill, "
                            "minmax(min(100%, 30rem), 1fr)); gap: 1rem; }\n"
                            ".words { font-weight: 600; margin: 0 0 .6rem; } .row { display: flex; "
                            "gap: .6rem; }\n"
                            "figure { margin: 0; flex: 1 1 0; min-width: 0; text-align: center; } "
                            "figure img { display: block; width: 100%;\n"
                            "  max-width: 76px; height: auto; margin: 0 auto; } figcaption { "
                            "font-size: .74rem; line-height: 1.25; color: var(--soft);\n"
                            "  overflow-wrap: anywhere; }\n"
                            ".right img { outline: 3px solid var(--good); } .wrong img { outline: "
                            "2px dashed var(--bad); outline-offset: -1px; }\n"
                            ".right > .mark { color: var(--good); } .wrong > .mark { color: "
                            "var(--bad); } .mark { font-weight: 700; }\n"
                            "img { background: #fff; border-radius: 6px; } .asked { width: 76px; "
                            "height: 76px; flex: none; }\n"
                            "ol { margin: 0; padding: 0; list-style: none; flex: 1; min-width: 0; "
                            "font-size: .9rem; }\n"
                            "li { display: flex; gap: .5rem; align-items: baseline; } li .name { "
                            "flex: 1; min-width: 0; overflow-wrap: anywhere; }\n"
                            ".own { margin: .5rem 0 0; } li.right .name { font-weight: 600; } li "
                            ".soft { font-variant-numeric: tabular-nums; }\n"
                            ".kept { display: grid; grid-template-columns: max-content 1fr "
                            "max-content max-content max-content; gap: .3rem .7rem;\n"
                            "  align-items: center; font-size: .85rem; font-variant-numeric: "
                            "tabular-nums; }\n"
                            ".bar { height: .7rem; background: var(--line); border-radius: 3px; "
                            "overflow: hidden; }\n"
                            ".bar span { display: block; height: 100%; background: var(--heat); } "
                            ".heads { display: flex; gap: 3px; }\n"
                            ".heads span { width: .7rem; height: .7rem; border-radius: 2px; "
                            "background: var(--line); }\n"
                            ".heads .on { background: var(--heat); }\n"
                            "footer { margin-top: 3rem; border-top: 1px solid var(--line); "
                            "padding-top: 1rem; }\n"
                            "@media (max-width: 520px) { main { padding: 1.5rem .9rem 2rem; } h1 { "
                            "font-size: 1.5rem; } .row { gap: .35rem; } }\n";

void report_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '<') fputs("&lt;", f);
        else if (*text == '>') fputs("&gt;", f);
        else if (*text == '&') fputs("&amp;", f);
        else if (*text == '"') fputs("&quot;", f);
        else fputc(*text, f);
    }
}

bool report_save(const char *path, const char *title, report_body *body, const void *context)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return pith_raise("no memory to write %s", path);
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          f);
    report_text(f, title);
    fprintf(f, "</title>\n<style>\n%s</style></head>\n<body><main>\n<h1>", style);
    report_text(f, title);
    fputs("</h1>\n", f);
    bool good = body(f, context);
    fputs("</main></body></html>\n", f);
    if (fclose(f) != 0) good = pith_raise("no memory to write %s", path);
    good = good && pith_write_file(path, text, size);
    free(text);
    return good;
}
