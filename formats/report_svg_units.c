#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "formats/report_layers.h"
#include "formats/report_svg.h"

enum { ROW = 34, BASE = 12, BAR = 17, THICK = 10 };

/* Nodes of a layer before and after; false where it has none. */
static bool read(const json_t *entry, struct mc_report_layer *l, double *ret_before,
                 double *ret_after)
{
    *ret_before = mc_json_number(entry, "nodes_before", NAN);
    *ret_after = mc_json_number(entry, "nodes_after", NAN);
    return mc_report_layer_read(entry, l) && *ret_before > 0 && *ret_after >= 0;
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Nodes of the widest MC_SVG_ROWS. */
static double least_shown(const json_t *list, double *v, size_t *ret_n)
{
    size_t i, n = 0;
    const json_t *entry;
    struct mc_report_layer l;
    double before, after;
    json_array_foreach(list, i, entry) if (read(entry, &l, &before, &after)) v[n++] = before;
    qsort(v, n, sizeof *v, falling);
    *ret_n = n;
    return n > MC_SVG_ROWS ? v[MC_SVG_ROWS - 1] : 0;
}

static void draw(FILE *out, const json_t *list, double least)
{
    double y = 0, before, after;
    size_t i, shown = 0;
    const json_t *entry;
    struct mc_report_layer l;
    char text[3 * MC_TEXT], a[MC_TEXT], b[MC_TEXT];
    json_array_foreach(list, i, entry)
    {
        if (!read(entry, &l, &before, &after) || before < least || shown == MC_SVG_ROWS)
            continue;
        snprintf(text, sizeof text, "%s of %s", mc_text_group((int64_t)after, a),
                 mc_text_group((int64_t)before, b));
        mc_svg_label(out, 0, y + BASE, l.full, MC_SVG_LABEL);
        mc_svg_text(out, 100, y + BASE, "end", "v", text);
        mc_svg_rect(out, "was", 0, y + BAR, 100, THICK);
        mc_svg_rect(out, l.reason ? "rest" : "now", 0, y + BAR, 100 * after / before, THICK);
        y += ROW;
        shown++;
    }
}

void mc_svg_units(FILE *out, const json_t *list)
{
    double *v = mc_calloc(json_array_size(list) + 1, sizeof *v);
    size_t n = 0;
    double least = v ? least_shown(list, v, &n) : 0;
    char text[160];
    free(v);
    if (!n)
        return;
    snprintf(text, sizeof text,
             "Bars of the share of nodes that stays of each of %zu layers; the table below has "
             "them",
             n);
    fputs("<figure><figcaption>Nodes by layer", out);
    if (n > MC_SVG_ROWS)
        fprintf(out, ", the widest %d of %zu", MC_SVG_ROWS, n);
    fputs(" <span class=\"key\"><i class=\"now\"></i>stay <i class=\"was\"></i>removed <i "
          "class=\"rest\"></i>left as they were</span></figcaption>\n",
          out);
    mc_svg_begin(out, (double)(n > MC_SVG_ROWS ? MC_SVG_ROWS : n) * ROW, "Nodes by layer", text);
    draw(out, list, least);
    mc_svg_end(out);
    fputs("</figure>\n", out);
}
