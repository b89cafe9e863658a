#include "formats/report_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "formats/report_html.h"

/* Small pictures side by side, one for each layer, all with the same scales: size in percent of the layer as it
 * was, error up. */
enum { HEIGHT = 132, TOP = 8, FOOT = 112, LEFT = 16, PANELS = 12, OPTIONS = 64 };

struct range {
    bool log;
    double low, high;
};

struct point {
    double size, error; /* size: percent */
    bool measured, chosen;
};

static double px(double size)
{
    return LEFT + (97.0 - LEFT) * size / 100;
}

static double py(const struct range *r, double error)
{
    double v = r->log ? log10(fmax(error, pow(10, r->low))) : error;
    return FOOT - (FOOT - TOP) * (v - r->low) / (r->high - r->low);
}

/* Bytes of the layer as it was. */
static double bytes_before(const json_t *layers, const char *name)
{
    size_t i;
    const json_t *l;
    json_array_foreach(layers, i, l) if (!strcmp(mc_json_string_or(l, "name", ""),
                                                 name)) return mc_json_number(l, "bytes_before",
                                                                              NAN);
    return NAN;
}

/* Options with size and error; how many. Their bytes are what they change, beside the first option. */
static int read_points(const json_t *pass, const json_t *layer, struct point ret[OPTIONS])
{
    const json_t *options = json_object_get(layer, "options"), *o;
    const char *choice = mc_json_string_or(layer, "choice", "");
    size_t i;
    int n = 0;
    double whole =
        bytes_before(json_object_get(pass, "layers"), mc_json_string_or(layer, "name", "?"));
    if (!(whole > 0))
        return 0;
    json_array_foreach(options, i, o)
    {
        double bytes = mc_json_number(o, "bytes", NAN), error = mc_json_number(o, "error", NAN);
        double predicted = mc_json_number(o, "predicted", NAN);
        if (i == 0 && !isfinite(error)) /* as it is */
            error = 0;
        struct point p = {100 * (whole + bytes) / whole, isfinite(error) ? error : predicted,
                          isfinite(error), !strcmp(mc_json_string_or(o, "option", ""), choice)};
        if (n < OPTIONS && isfinite(p.size) && isfinite(p.error) && p.error >= 0 && p.size >= 0 &&
            p.size <= 100)
            ret[n++] = p;
    }
    return n;
}

/* A layer whose choice is not to leave it as it is: the first option. */
static bool changed(const json_t *layer)
{
    const json_t *first = json_array_get(json_object_get(layer, "options"), 0);
    const char *choice = mc_json_string(layer, "choice"), *none = mc_json_string(first, "option");
    return choice && none && strcmp(choice, none);
}

static int by_size(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    return (p->size > q->size) - (p->size < q->size);
}

static void grid(FILE *out, const struct range *r)
{
    double tick[MC_SVG_TICKS];
    char text[32];
    int n = 0;
    if (r->log)
        for (double e = r->low; e <= r->high && n < MC_SVG_TICKS; e += ceil((r->high - r->low) / 3))
            tick[n++] = pow(10, e);
    else
        n = mc_svg_ticks(r->low, r->high, 3, tick);
    for (int i = 0; i < n; i++) {
        bool small = r->log && tick[i] < 2e-3; /* there is room for four characters */
        if (small)
            snprintf(text, sizeof text, "1e%.0f", log10(tick[i]));
        else
            snprintf(text, sizeof text, "%.3g", tick[i]);
        mc_svg_line(out, "g", LEFT, py(r, tick[i]), 97, py(r, tick[i]));
        mc_svg_text(out, LEFT - 2, py(r, tick[i]) + 4, "end", "x", text);
    }
    for (int i = 0; i <= 2; i++) {
        snprintf(text, sizeof text, "%d %%", 50 * i);
        mc_svg_text(out, px(50 * i), HEIGHT - 4, i == 2 ? "end" : "middle", "x", text);
    }
}

static void panel(FILE *out, const json_t *layer, const struct range *r, struct point *p, int n)
{
    double x[OPTIONS], y[OPTIONS];
    char text[8 * MC_SVG_LABEL + 180], name[4 * MC_SVG_LABEL + 4], choice[4 * 24 + 4];
    qsort(p, (size_t)n, sizeof *p, by_size);
    mc_text_short(mc_json_string_or(layer, "name", "?"), 28, name, sizeof name);
    mc_text_short(mc_json_string_or(layer, "choice", "?"), 24, choice, sizeof choice);
    fputs("<div><p>", out);
    mc_html_put(out, name);
    fputs("<br><b>", out);
    mc_html_put(out, choice);
    fputs("</b></p>\n", out);
    snprintf(text, sizeof text, "%d options of %s; chosen: %s", n, name, choice);
    mc_svg_begin(out, HEIGHT, "Size against error", text);
    grid(out, r);
    for (int i = 0; i < n; i++) {
        x[i] = px(p[i].size);
        y[i] = py(r, p[i].error);
    }
    mc_svg_path(out, "a", n, x, y, HEIGHT);
    for (int i = 0; i < n; i++)
        if (!p[i].chosen)
            mc_svg_dot(out, p[i].measured ? "o" : "o guess", x[i], y[i], 2.5);
    for (int i = 0; i < n; i++)
        if (p[i].chosen)
            mc_svg_dot(out, "p", x[i], y[i], 5);
    mc_svg_end(out);
    fputs("</div>\n", out);
}

/* The errors of all panels that are drawn. */
static struct range range_of(const json_t *pass, const json_t *layers, struct point *p,
                             int *ret_panels, int *ret_all)
{
    double least = INFINITY, most = 0;
    size_t i;
    const json_t *layer;
    *ret_panels = *ret_all = 0;
    json_array_foreach(layers, i, layer)
    {
        int n = changed(layer) ? read_points(pass, layer, p) : 0;
        *ret_all += n > 1;
        if (n < 2 || *ret_panels == PANELS)
            continue;
        (*ret_panels)++;
        for (int k = 0; k < n; k++) {
            most = fmax(most, p[k].error);
            if (p[k].error > 0)
                least = fmin(least, p[k].error);
        }
    }
    struct range r = {most > 20 * least, 0, most > 0 ? most * 1.05 : 1};
    if (r.log) {
        r.low = fmax(floor(log10(least) + 1e-9), ceil(log10(most)) - 6);
        r.high = ceil(log10(most) - 1e-9);
    }
    return r;
}

void mc_svg_search(FILE *out, const json_t *pass)
{
    const json_t *layers = json_object_get(json_object_get(pass, "search"), "layers"), *layer;
    struct point *p = mc_calloc(OPTIONS, sizeof *p);
    int panels = 0, all = 0, drawn = 0;
    size_t i;
    struct range r = {0};
    if (p)
        r = range_of(pass, layers, p, &panels, &all);
    if (panels) {
        fputs("<figure class=\"wide\"><figcaption>Size against error of every option", out);
        if (all > panels)
            fprintf(out, ", %d of %d layers", panels, all);
        fprintf(out,
                " <span class=\"key\">across: share of the layer's bytes; up: error of the outputs "
                "with "
                "that layer alone changed%s; <i class=\"dot\"></i>chosen</span></figcaption>\n"
                "<div class=\"panels\">\n",
                r.log ? ", logarithmic" : "");
        json_array_foreach(layers, i, layer)
        {
            int n = changed(layer) && drawn < panels ? read_points(pass, layer, p) : 0;
            if (n < 2)
                continue;
            panel(out, layer, &r, p, n);
            drawn++;
        }
        fputs("</div></figure>\n", out);
    }
    free(p);
}
