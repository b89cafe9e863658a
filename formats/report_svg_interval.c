#include "formats/report_svg.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "formats/report_facts.h"
#include "formats/report_html.h"

enum { HEIGHT = 84, MIDDLE = 40, FOOT = 64 };

struct range {
    double low, high;
};

static double place(const struct range *r, double v)
{
    return 100 * (v - r->low) / (r->high - r->low);
}

static const char *anchor(double x)
{
    return x < 15 ? "start" : x > 85 ? "end" : "middle";
}

static void axis(FILE *out, const struct range *r)
{
    double tick[MC_SVG_TICKS];
    char text[32];
    int n = mc_svg_ticks(r->low, r->high, 5, tick);
    for (int i = 0; i < n; i++) {
        double x = place(r, tick[i]);
        mc_svg_line(out, "g", x, 18, x, FOOT);
        snprintf(text, sizeof text, "%.4g", tick[i]);
        mc_svg_text(out, x, FOOT + 15, x < 4 ? "start" : x > 96 ? "end" : "middle", "x", text);
    }
}

/* What the vertical lines mean, above them; the limit's own where both would meet. */
static void marks(FILE *out, const struct range *r, double limit)
{
    double zero = place(r, 0), at = place(r, limit);
    char text[32];
    if (isfinite(limit)) {
        mc_svg_rect(out, "over", at, 18, 100 - at, FOOT - 18);
        mc_svg_line(out, "limit", at, 18, at, FOOT);
        snprintf(text, sizeof text, "limit %.4g", limit);
        mc_svg_text(out, at, 12, at > 70 ? "end" : "start", "bad", text);
    }
    mc_svg_line(out, "zero", zero, 18, zero, FOOT);
    if (!isfinite(limit) || fabs(at - zero) > 45)
        mc_svg_text(out, zero, 12, anchor(zero), "x", "as before");
}

void mc_svg_interval(FILE *out, const json_t *report)
{
    double d[3], limit;
    char text[MC_FACT_TEXT];
    if (!mc_fact_interval(report, d, &limit))
        return;
    for (int i = 0; i < 3; i++)
        d[i] *= 100;
    limit *= 100;
    struct range r = {fmin(0, fmin(d[0], d[1])), fmax(0, fmax(d[0], d[2]))};
    if (isfinite(limit))
        r.high = fmax(r.high, limit);
    double pad = fmax(0.06 * (r.high - r.low), 0.01);
    r = (struct range){r.low - pad, r.high + pad};
    fputs("<figure><figcaption>", out);
    mc_html_put(out, !strncmp(mc_fact_drop(report, text), "changed", 7)
                         ? "Changed decisions in points, with their 95 % interval"
                         : "Drop of top-1 in points, with its 95 % interval");
    fputs("</figcaption>\n", out);
    mc_svg_begin(out, HEIGHT, "Loss of accuracy with its interval", mc_fact_drop(report, text));
    axis(out, &r);
    marks(out, &r, limit);
    mc_svg_line(out, "ci", place(&r, d[1]), MIDDLE, place(&r, d[2]), MIDDLE);
    for (int i = 1; i < 3; i++)
        mc_svg_line(out, "cap", place(&r, d[i]), MIDDLE - 7, place(&r, d[i]), MIDDLE + 7);
    mc_svg_dot(out, "now", place(&r, d[0]), MIDDLE, 6);
    mc_svg_end(out);
    fputs("<p class=\"note\">", out);
    mc_html_put(out, mc_fact_drop(report, text));
    fputs("</p></figure>\n", out);
}
