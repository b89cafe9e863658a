#include "formats/report_svg.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "formats/report_html.h"
#include "formats/report_layers.h"

enum { ROW = 34, BASE = 12, TRACK = 22, AXIS = 18 };
static const double DECADES = 20; /* from this ratio on the scale is logarithmic */

struct scale {
    bool log;
    double low, high; /* their logarithms, where it is */
};

static double place(const struct scale *s, double v)
{
    double x = s->log ? log10(v) : v;
    return 100 * (x - s->low) / (s->high - s->low);
}

static struct scale scale_for(double least, double most)
{
    struct scale s = {most > DECADES * least, 0, most};
    if (s.log) {
        s.low = floor(log10(least) + 1e-9);
        s.high = ceil(log10(most) - 1e-9);
    } else {
        double t[MC_SVG_TICKS];
        int n = mc_svg_ticks(0, most * 1.02, 4, t);
        if (n > 1) /* up to a round number */
            s.high = t[n - 1] >= most ? t[n - 1] : t[n - 1] + t[1] - t[0];
    }
    return s;
}

static int ticks_of(const struct scale *s, double ret[MC_SVG_TICKS])
{
    if (!s->log)
        return mc_svg_ticks(s->low, s->high, 4, ret);
    int n = 0, step = (int)ceil((s->high - s->low) / 5);
    for (double e = s->low; e <= s->high && n < MC_SVG_TICKS; e += step)
        ret[n++] = pow(10, e);
    return n;
}

/* Is there something to draw? */
static bool shown(const json_t *entry, struct mc_report_layer *l)
{
    return mc_report_layer_read(entry, l) && !l->reason && l->error > 0 && isfinite(l->error);
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static void draw(FILE *out, const json_t *list, const struct scale *s, double least)
{
    double tick[MC_SVG_TICKS], y = AXIS;
    int n = ticks_of(s, tick);
    size_t i, rows = 0;
    const json_t *entry;
    struct mc_report_layer l;
    char text[32];
    for (int k = 0; k < n; k++) {
        double x = place(s, tick[k]);
        snprintf(text, sizeof text, "%.4g", tick[k]);
        mc_svg_text(out, x, 11, x < 4 ? "start" : x > 96 ? "end" : "middle", "x", text);
    }
    json_array_foreach(list, i, entry)
    {
        if (!shown(entry, &l) || l.error < least || rows == MC_SVG_ROWS)
            continue;
        snprintf(text, sizeof text, "%.3g", l.error);
        mc_svg_label(out, 0, y + BASE, l.full, MC_SVG_LABEL);
        mc_svg_text(out, 100, y + BASE, "end", "v", text);
        mc_svg_line(out, "g", 0, y + TRACK, 100, y + TRACK);
        for (int k = 0; k < n; k++)
            mc_svg_line(out, "g", place(s, tick[k]), y + TRACK - 4, place(s, tick[k]),
                        y + TRACK + 4);
        mc_svg_line(out, "stem", 0, y + TRACK, place(s, l.error), y + TRACK);
        mc_svg_dot(out, "p", place(s, l.error), y + TRACK, 4.5);
        y += ROW;
        rows++;
    }
}

void mc_svg_errors(FILE *out, const json_t *list, const char *note)
{
    size_t n = 0, i;
    const json_t *entry;
    struct mc_report_layer l;
    double least = INFINITY, most = 0, *v = mc_calloc(json_array_size(list) + 1, sizeof *v);
    json_array_foreach(list, i, entry)
    {
        if (!v || !shown(entry, &l))
            continue;
        v[n++] = l.error;
        least = fmin(least, l.error);
        most = fmax(most, l.error);
    }
    if (n) {
        bool many = n > MC_SVG_ROWS;
        qsort(v, n, sizeof *v, falling);
        double drawn = many ? v[MC_SVG_ROWS - 1] : 0;
        struct scale s = scale_for(fmax(least, drawn), most);
        char text[160];
        snprintf(text, sizeof text, "Errors of %zu layers on a %s scale; the table below has them",
                 n, s.log ? "logarithmic" : "linear");
        fputs("<figure><figcaption>Error by layer", out);
        if (many)
            fprintf(out, ", the largest %d of %zu", MC_SVG_ROWS, n);
        fprintf(out, " <span class=\"key\">%s", note);
        fputs(s.log ? ", logarithmic" : "", out);
        fputs("</span></figcaption>\n", out);
        mc_svg_begin(out, AXIS + (double)(many ? MC_SVG_ROWS : n) * ROW, "Error by layer", text);
        draw(out, list, &s, drawn);
        mc_svg_end(out);
        fputs("</figure>\n", out);
    }
    free(v);
}
