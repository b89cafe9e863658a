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
enum { HEIGHT = 132, TOP = 8, FOOT = 112, LEFT = 16, PANELS = 12, OPTIONS = 96 };

struct range {
    bool log;
    double low, high;
};

struct point {
    double size, error; /* size: percent */
    bool chosen;
};

struct points {
    int n;
    struct point p[OPTIONS];
};

struct curves {
    struct points measured, predicted;
};

static double px(double size)
{
    return LEFT + (97.0 - LEFT) * size / 100;
}

static double py(const struct range *r, double error)
{
    double v = r->log ? log10(fmax(error, 1e-300)) : error;
    return FOOT - (FOOT - TOP) * (fmin(fmax(v, r->low), r->high) - r->low) / (r->high - r->low);
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

static void take(struct points *to, double size, double error, bool chosen)
{
    if (to->n < OPTIONS && error > 0 && isfinite(error) && size >= 0 && size <= 100)
        to->p[to->n++] = (struct point){size, error, chosen};
}

static int by_size(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    return (p->size > q->size) - (p->size < q->size);
}

/* Sizes and errors of the options; their bytes are what they change, where they do not say what share they leave. Of many that are only predicted some are
 * taken. */
static void read_curves(const json_t *pass, const json_t *layer, struct curves *ret)
{
    const json_t *options = json_object_get(layer, "options"), *o;
    const char *choice = mc_json_string_or(layer, "choice", "");
    size_t i, stride = json_array_size(options) / (OPTIONS - 2) + 1;
    double whole =
        bytes_before(json_object_get(pass, "layers"), mc_json_string_or(layer, "name", "?"));
    ret->measured.n = ret->predicted.n = 0;
    json_array_foreach(options, i, o)
    {
        double bytes = 100 * (whole + mc_json_number(o, "bytes", NAN)) / whole;
        double size = 100 * mc_json_number(o, "share", bytes / 100);
        bool chosen = !strcmp(mc_json_string_or(o, "option", ""), choice);
        take(&ret->measured, size, mc_json_number(o, "error", NAN), chosen);
        if (i % stride == 0 || chosen)
            take(&ret->predicted, size, mc_json_number(o, "predicted", NAN), chosen);
    }
    qsort(ret->measured.p, (size_t)ret->measured.n, sizeof(struct point), by_size);
    qsort(ret->predicted.p, (size_t)ret->predicted.n, sizeof(struct point), by_size);
}

/* What is judged by: measurements where there are some. */
static const struct points *main_points(const struct curves *c)
{
    return c->measured.n ? &c->measured : &c->predicted;
}

/* A layer whose choice is not to leave it as it is: the first option. */
static bool changed(const json_t *layer)
{
    const json_t *first = json_array_get(json_object_get(layer, "options"), 0);
    const char *choice = mc_json_string(layer, "choice"), *none = mc_json_string(first, "option");
    return choice && none && strcmp(choice, none);
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

static void line(FILE *out, const struct range *r, const struct points *s, const char *class)
{
    double x[OPTIONS], y[OPTIONS];
    for (int i = 0; i < s->n; i++) {
        x[i] = px(s->p[i].size);
        y[i] = py(r, s->p[i].error);
    }
    mc_svg_path(out, class, s->n, x, y, HEIGHT);
}

static void dots(FILE *out, const struct range *r, const struct points *s, bool chosen)
{
    for (int i = 0; i < s->n; i++)
        if (s->p[i].chosen == chosen)
            mc_svg_dot(out, chosen ? "p" : "o", px(s->p[i].size), py(r, s->p[i].error),
                       chosen ? 5 : 2.5);
}

static bool has_choice(const struct points *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->p[i].chosen)
            return true;
    return false;
}

static void panel(FILE *out, const json_t *layer, const struct range *r, const struct curves *c)
{
    char text[8 * MC_SVG_LABEL + 180], name[4 * MC_SVG_LABEL + 4], choice[4 * 24 + 4];
    mc_text_short(mc_json_string_or(layer, "name", "?"), 28, name, sizeof name);
    mc_text_short(mc_json_string_or(layer, "choice", "?"), 24, choice, sizeof choice);
    fputs("<div><p>", out);
    mc_html_put(out, name);
    fputs("<br><b>", out);
    mc_html_put(out, choice);
    fputs("</b></p>\n", out);
    snprintf(text, sizeof text, "Options of %s, %d of them measured; chosen: %s", name,
             c->measured.n, choice);
    mc_svg_begin(out, HEIGHT, "Size against error", text);
    grid(out, r);
    line(out, r, &c->predicted, "guess");
    line(out, r, &c->measured, "a");
    dots(out, r, &c->measured, false);
    dots(out, r, has_choice(&c->measured) ? &c->measured : &c->predicted, true);
    mc_svg_end(out);
    fputs("</div>\n", out);
}

/* The errors of all panels that are drawn; how many there are. */
static struct range range_of(const json_t *pass, const json_t *layers, struct curves *c,
                             int *ret_panels, int *ret_all)
{
    double least = INFINITY, most = 0;
    size_t i;
    const json_t *layer;
    *ret_panels = *ret_all = 0;
    json_array_foreach(layers, i, layer)
    {
        if (!changed(layer))
            continue;
        read_curves(pass, layer, c);
        const struct points *s = main_points(c);
        *ret_all += s->n > 0;
        if (!s->n || *ret_panels == PANELS)
            continue;
        (*ret_panels)++;
        for (int k = 0; k < s->n; k++) {
            most = fmax(most, s->p[k].error);
            least = fmin(least, s->p[k].error);
        }
    }
    struct range r = {most > 20 * least, 0, most > 0 ? most * 1.05 : 1};
    if (r.log) {
        r.low = fmax(floor(log10(least) + 1e-9), ceil(log10(most)) - 8);
        r.high = ceil(log10(most) - 1e-9);
    }
    return r;
}

/* Does any layer that is drawn have measurements? */
static bool any_measured(const json_t *pass, const json_t *layers, struct curves *c)
{
    size_t i;
    const json_t *layer;
    json_array_foreach(layers, i, layer)
    {
        read_curves(pass, layer, c);
        if (changed(layer) && c->measured.n)
            return true;
    }
    return false;
}

/* What the lines are, where nothing was measured; "" where something was. */
static void predicted_by(const json_t *pass, bool measured, char *ret, size_t size)
{
    const json_t *by = json_object_get(pass, "importance");
    const char *name = mc_json_string_or(by, "criterion", "the search");
    *ret = 0;
    if (!measured)
        snprintf(ret, size, "%s%.40s",
                 json_is_false(json_object_get(by, "nats")) ? "score of the nodes that go, by "
                                                            : "error as predicted by ",
                 name);
}

static void caption(FILE *out, const json_t *layers, const char *predicted, int panels, int all,
                    bool logarithmic)
{
    const json_t *options = json_object_get(json_array_get(layers, 0), "options");
    bool shares = json_object_get(json_array_get(options, 0), "share") != NULL;
    fprintf(out, "<figure class=\"wide\"><figcaption>%s against error of the options",
            shares ? "What stays" : "Size");
    if (all > panels)
        fprintf(out, ", %d of %d layers", panels, all);
    fprintf(out, " <span class=\"key\">across: share of the layer's %s; up: ",
            shares ? "nodes" : "bytes");
    mc_html_put(out, *predicted ? predicted : "error of the outputs with that layer alone changed");
    fprintf(out,
            "%s; %s<i class=\"dot\"></i>chosen <i class=\"guess\"></i>predicted%s</span>"
            "</figcaption>\n<div class=\"panels\">\n",
            logarithmic ? ", logarithmic" : "",
            *predicted ? "" : "<i class=\"now dot\"></i>measured ",
            *predicted ? "; nothing was measured" : "");
}

void mc_svg_search(FILE *out, const json_t *pass)
{
    const json_t *layers = json_object_get(json_object_get(pass, "search"), "layers"), *layer;
    struct curves *c = mc_calloc(1, sizeof *c);
    int panels = 0, all = 0, drawn = 0;
    size_t i;
    struct range r = {0};
    char predicted[128];
    if (c)
        r = range_of(pass, layers, c, &panels, &all);
    if (panels) {
        predicted_by(pass, any_measured(pass, layers, c), predicted, sizeof predicted);
        caption(out, layers, predicted, panels, all, r.log);
        json_array_foreach(layers, i, layer)
        {
            if (drawn == panels || !changed(layer))
                continue;
            read_curves(pass, layer, c);
            if (!main_points(c)->n)
                continue;
            panel(out, layer, &r, c);
            drawn++;
        }
        fputs("</div></figure>\n", out);
    }
    free(c);
}
