#include "formats/report_svg.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

/* Panels: a title, a plot from TOP to HEIGHT - BOTTOM and from LEFT percent on, steps below. */
enum { HEIGHT = 170, LEFT = 13, TOP = 24, BOTTOM = 22, POINTS = 320 };

struct series {
    double *x, *y;
    int n;
};

static bool room(struct series *s, size_t n)
{
    s->n = 0;
    s->x = mc_calloc(n + 1, sizeof *s->x);
    s->y = mc_calloc(n + 1, sizeof *s->y);
    return s->x && s->y;
}

static void series_free(struct series *s)
{
    free(s->x);
    free(s->y);
}

/* Points of a list; a long one is averaged in groups, so that a long training does not make a long file. */
static bool read_curve(const json_t *list, const char *key, struct series *s)
{
    size_t n = json_array_size(list), group = n / POINTS + 1;
    if (!room(s, n / group + 1))
        return false;
    for (size_t i = 0; i < n; i += group) {
        double x = 0, y = 0, count = 0;
        for (size_t k = i; k < i + group && k < n; k++) {
            const json_t *p = json_array_get(list, k);
            double at = mc_json_number(p, "step", NAN), v = mc_json_number(p, key, NAN);
            if (!isfinite(at) || !isfinite(v))
                continue;
            x += at;
            y += v;
            count++;
        }
        if (count > 0) {
            s->x[s->n] = x / count;
            s->y[s->n++] = y / count;
        }
    }
    return true;
}

/* What was measured when epochs ended, on the axis of steps: epoch e of `epochs` ends at that share of them. */
static bool read_epochs(const json_t *list, const char *key, double steps, struct series *s)
{
    size_t n = json_array_size(list);
    double last = mc_json_number(json_array_get(list, n ? n - 1 : 0), "epoch", NAN);
    if (!room(s, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(list, i);
        double at = mc_json_number(p, "epoch", NAN) / last * steps;
        double v = mc_json_number(p, key, NAN);
        if (isfinite(at) && isfinite(v)) {
            s->x[s->n] = at;
            s->y[s->n++] = v;
        }
    }
    return true;
}

struct panel {
    FILE *out;
    double steps, low, high;
};

static double px(const struct panel *p, double x)
{
    return LEFT + (99.0 - LEFT) * (p->steps > 0 ? x / p->steps : 0);
}

static double py(const struct panel *p, double y)
{
    double span = p->high - p->low;
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (span > 0 ? (y - p->low) / span : 0.5);
}

static void widen(struct panel *p, const struct series *s)
{
    for (int i = 0; i < s->n; i++) {
        p->low = fmin(p->low, s->y[i]);
        p->high = fmax(p->high, s->y[i]);
    }
}

/* The points of s become those of the drawing. */
static void draw_line(const struct panel *p, struct series *s, const char *class, bool points)
{
    for (int i = 0; i < s->n; i++) {
        s->x[i] = px(p, s->x[i]);
        s->y[i] = py(p, s->y[i]);
    }
    mc_svg_path(p->out, class, s->n, s->x, s->y, HEIGHT);
    for (int i = 0; i < s->n && (points || s->n == 1); i++)
        mc_svg_dot(p->out, "p", s->x[i], s->y[i], 3);
}

static void grid(const struct panel *p, const char *format, double factor)
{
    char text[48];
    for (int i = 0; i <= 2; i++) {
        double v = p->low + (p->high - p->low) * i / 2, y = py(p, v);
        snprintf(text, sizeof text, format, factor * v);
        mc_svg_line(p->out, "g", LEFT, y, 99, y);
        mc_svg_text(p->out, LEFT - 1.5, y + 4, "end", "x", text);
        if (!(p->high > p->low))
            break;
    }
    snprintf(text, sizeof text, "step %.0f", p->steps);
    mc_svg_text(p->out, LEFT, HEIGHT - 6, "start", "x", "0");
    mc_svg_text(p->out, 99, HEIGHT - 6, "end", "x", text);
}

/* a: a line; b: with points. Either may be empty. low: in the panel in any case, or INFINITY. */
static void draw_panel(FILE *out, const char *title, double steps, struct series *a,
                       struct series *b, double low, const char *format, double factor)
{
    struct panel p = {out, steps, low, -INFINITY};
    widen(&p, a);
    widen(&p, b);
    if (!(p.low <= p.high))
        return;
    mc_svg_begin(out, HEIGHT, title, "A curve over the steps of the training");
    mc_svg_text(out, 0, 12, "start", "t", title);
    grid(&p, format, factor);
    draw_line(&p, a, "a", false);
    draw_line(&p, b, "b", true);
    mc_svg_end(out);
}

void mc_svg_training(FILE *out, const json_t *training)
{
    const json_t *curve = json_object_get(training, "curve");
    const json_t *log = json_object_get(training, "epochs_log");
    size_t n = json_array_size(curve);
    double steps = mc_json_number(json_array_get(curve, n ? n - 1 : 0), "step",
                                  mc_json_number(training, "updates", 1));
    struct series loss = {0}, rate = {0}, held = {0}, top1 = {0}, none = {0};
    if (read_curve(curve, "loss", &loss) && read_curve(curve, "lr", &rate) &&
        read_epochs(log, "held_loss", steps, &held) &&
        read_epochs(log, "held_top1", steps, &top1)) {
        bool any = loss.n || rate.n || held.n || top1.n;
        fputs(any ? "<figure class=\"wide\">\n" : "", out);
        draw_panel(out, held.n ? "loss: of the batches, and held out (points)" : "loss", steps,
                   &loss, &held, INFINITY, "%.3g", 1);
        draw_panel(out, "held-out top-1, %", steps, &none, &top1, INFINITY, "%.2f", 100);
        draw_panel(out, "learning rate", steps, &rate, &none, 0, "%.2g", 1);
        fputs(any ? "</figure>\n" : "", out);
    }
    series_free(&loss);
    series_free(&rate);
    series_free(&held);
    series_free(&top1);
}
