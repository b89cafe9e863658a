#include <stdlib.h>
#include <string.h>

#include "formats/report_doc.h"
#include "formats/report_format.h"
#include "formats/report_svg.h"

/* One file that needs nothing else, in the reader's light or dark, without scripts. */
static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--a:#0b62a8;--b:#b4530a;--soft:#7777}"
    "@media(prefers-color-scheme:dark){:root{--a:#6cb6ff;--b:#ffa657}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:"
    "1rem}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}"
    "th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left;"
    "font-weight:400}th{color:GrayText}.r{text-align:right;font-variant-numeric:tabular-nums}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:.6rem;border:1px solid "
    "var(--line)}p{margin:.3rem 0;overflow-wrap:anywhere}td.r{white-space:nowrap}"
    "svg{display:block;width:100%;height:auto;margin:.6rem 0}svg text{fill:currentColor;font:11px "
    "system-ui,sans-serif}svg .g{stroke:var(--line)}svg .a{stroke:var(--a);fill:none}"
    "svg .b{stroke:var(--b);fill:none}svg .p{fill:var(--b)}";

static void put(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
}

static void heading(FILE *out, int level, const char *text)
{
    fprintf(out, "<h%d>", level);
    put(out, text);
    fprintf(out, "</h%d>\n", level);
}

static void paragraph(FILE *out, const char *text)
{
    fputs("<p>", out);
    put(out, text);
    fputs("</p>\n", out);
}

static void code(FILE *out, const char *text)
{
    fputs("<pre>", out);
    put(out, text);
    fputs("</pre>\n", out);
}

static void row(FILE *out, const char *columns, int number, const char *const *cells)
{
    if (!cells) {
        fputs("</table>\n", out);
        return;
    }
    const char *tag = number ? "td" : "th";
    fputs(number ? "<tr>" : "<table>\n<tr>", out);
    for (size_t i = 0; columns[i]; i++) {
        fprintf(out, "<%s%s>", tag, columns[i] == 'r' ? " class=\"r\"" : "");
        put(out, cells[i]);
        fprintf(out, "</%s>", tag);
    }
    fputs("</tr>\n", out);
}

static const struct mc_doc html = {heading, paragraph, code, row, mc_svg_training};

char *mc_report_html(const json_t *report)
{
    char *text = NULL, title[512];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fputs("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
          "content=\"width=device-width\">\n<title>",
          out);
    put(out, mc_doc_title(report, title, sizeof title));
    fprintf(out, "</title>\n<style>%s</style>\n", style);
    mc_doc_write(&html, report, out);
    fputs("</html>\n", out);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    mc_report_disarm(text);
    return text;
}
