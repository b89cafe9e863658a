#include "formats/report_html.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_format.h"
#include "formats/report_svg.h"

void mc_html_put(FILE *out, const char *text)
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

static void put_in(FILE *out, const char *open, const char *text, const char *close)
{
    fputs(open, out);
    mc_html_put(out, text);
    fputs(close, out);
}

static void heading(FILE *out, int level, const char *text)
{
    char open[8], close[8];
    snprintf(open, sizeof open, "<h%d>", level);
    snprintf(close, sizeof close, "</h%d>\n", level);
    put_in(out, open, text, close);
}

static void paragraph(FILE *out, const char *text)
{
    put_in(out, "<p>", text, "</p>\n");
}

static void code(FILE *out, const char *text)
{
    put_in(out, "<pre>", text, "</pre>\n");
}

/* A head of nothing but empty cells is none. */
static bool speaks(const char *columns, const char *const *cells)
{
    for (size_t i = 0; columns[i]; i++)
        if (*cells[i])
            return true;
    return false;
}

static void row(FILE *out, const char *columns, int number, const char *const *cells)
{
    if (!cells) {
        fputs("</table></div>\n", out);
        return;
    }
    if (!number)
        fputs("<div class=\"table\"><table>\n", out);
    if (!number && !speaks(columns, cells))
        return;
    const char *tag = number ? "td" : "th";
    fputs("<tr>", out);
    for (size_t i = 0; columns[i]; i++) {
        fprintf(out, "<%s%s>", tag, columns[i] == 'r' ? " class=\"r\"" : "");
        mc_html_put(out, cells[i]);
        fprintf(out, "</%s>", tag);
    }
    fputs("</tr>\n", out);
}

static void verdict(FILE *out, enum mc_fact_state state, const char *text)
{
    static const char *const classes[] = {"", " ok", " bad"};
    const char *top = strstr(text, "top-1"); /* must not be parted behind the hyphen */
    fprintf(out, "<p class=\"verdict%s\">", classes[state]);
    if (top) {
        char before[MC_FACT_TEXT];
        snprintf(before, sizeof before, "%.*s", (int)(top - text), text);
        mc_html_put(out, before);
        fputs("<span>top-1</span>", out);
        text = top + 5;
    }
    mc_html_put(out, text);
    fputs("</p>\n", out);
}

static void gate(FILE *out, bool passed, const char *name, const char *text)
{
    fprintf(out, "<p class=\"gate %s\"><b>%s</b> <span>", passed ? "ok" : "bad",
            passed ? "✓ passed" : "✗ missed");
    mc_html_put(out, name);
    fputs("</span> ", out);
    /* "met: …" and "missed: …": the badge has said it. */
    const char *rest = strncmp(text, "met: ", 5) ? text : text + 5;
    mc_html_put(out, strncmp(rest, "missed: ", 8) ? rest : rest + 8);
    fputs("</p>\n", out);
}

static void remark(FILE *out, enum mc_remark kind, const char *text)
{
    static const char *const open[] = {"<p class=\"note\">", "<p class=\"warning\"><b>Warning</b> ",
                                       "<p class=\"note\">"};
    put_in(out, open[kind], text, "</p>\n");
}

static void fold(FILE *out, const char *summary)
{
    if (summary)
        put_in(out, "<details><summary>", summary, "</summary>\n");
    else
        fputs("</details>\n", out);
}

/* What errors of a pass's layers are errors of. */
static const char *error_note(const json_t *pass)
{
    const char *norm = mc_json_string_or(pass, "norm", "");
    return !strcmp(norm, "outputs")   ? "relative, of the layer's outputs"
           : !strcmp(norm, "weights") ? "relative, of the layer's weights"
                                      : "relative";
}

static void figure(FILE *out, enum mc_figure what, const json_t *of)
{
    const json_t *list = json_object_get(of, "layers");
    switch (what) {
    case MC_FIGURE_TILES: mc_html_tiles(out, of); break;
    case MC_FIGURE_BYTES: /* these two stand side by side */
        fputs("<div class=\"figures\">\n", out);
        mc_svg_bytes(out, of);
        break;
    case MC_FIGURE_INTERVAL:
        mc_svg_interval(out, of);
        fputs("</div>\n", out);
        break;
    case MC_FIGURE_STEPS: mc_svg_steps(out, of); break;
    case MC_FIGURE_LAYERS:
        fputs("<div class=\"figures\">\n", out);
        mc_svg_units(out, list);
        mc_svg_sizes(out, list);
        mc_svg_errors(out, list, error_note(of));
        fputs("</div>\n", out);
        break;
    case MC_FIGURE_SEARCH: mc_svg_search(out, of); break;
    case MC_FIGURE_TRAINING: mc_svg_training(out, of); break;
    }
}

const struct mc_doc mc_html_doc = {heading, paragraph, code, row,    verdict,
                                   gate,    remark,    fold, figure, false};

void mc_html_begin(FILE *out, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
          out);
    mc_html_put(out, title);
    fprintf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n", mc_html_style);
}

void mc_html_end(FILE *out)
{
    fputs("</main>\n</body>\n</html>\n", out);
}

char *mc_report_html(const json_t *report)
{
    char *text = NULL, title[512], name[4 * 40 + 4];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    mc_html_begin(out, mc_doc_title(report, title, sizeof title));
    fputs("<p class=\"what\">mcompress ", out);
    mc_html_put(out,
                mc_text_short(mc_json_string_or(report, "command", ""), 40, name, sizeof name));
    fputs("</p>\n", out);
    mc_doc_write(&mc_html_doc, report, out);
    mc_html_end(out);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    mc_report_disarm(text);
    return text;
}
