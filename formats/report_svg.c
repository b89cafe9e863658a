#include "formats/report_svg.h"

#include <math.h>

#include "base/text.h"
#include "formats/report_html.h"

void mc_svg_begin(FILE *out, double height, const char *title, const char *text)
{
    fprintf(out, "<svg width=\"100%%\" height=\"%.0f\" role=\"img\"><title>", height);
    mc_html_put(out, title);
    fputs("</title><desc>", out);
    mc_html_put(out, text);
    fputs("</desc>\n", out);
}

void mc_svg_end(FILE *out)
{
    fputs("</svg>\n", out);
}

void mc_svg_text(FILE *out, double x, double y, const char *anchor, const char *class,
                 const char *text)
{
    fprintf(out, "<text class=\"%s\" x=\"%.2f%%\" y=\"%.1f\"", class, x, y);
    if (*anchor != 's')
        fprintf(out, " text-anchor=\"%s\"", anchor);
    fputc('>', out);
    mc_html_put(out, text);
    fputs("</text>\n", out);
}

void mc_svg_label(FILE *out, double x, double y, const char *text, size_t most)
{
    enum { HINT = 300 };
    char label[4 * MC_SVG_LABEL + 4], hint[4 * HINT + 4];
    mc_text_short(text, most < MC_SVG_LABEL ? most : MC_SVG_LABEL, label, sizeof label);
    fprintf(out, "<text x=\"%.2f%%\" y=\"%.1f\"><title>", x, y);
    mc_html_put(out, mc_text_short(text, HINT, hint, sizeof hint));
    fputs("</title>", out);
    mc_html_put(out, label);
    fputs("</text>\n", out);
}

void mc_svg_rect(FILE *out, const char *class, double x, double y, double width, double height)
{
    fprintf(out, "<rect class=\"%s\" x=\"%.2f%%\" y=\"%.1f\" width=\"%.2f%%\" height=\"%.1f\"/>\n",
            class, x, y, fmax(width, 0), height);
}

void mc_svg_line(FILE *out, const char *class, double x1, double y1, double x2, double y2)
{
    fprintf(out, "<line class=\"%s\" x1=\"%.2f%%\" y1=\"%.1f\" x2=\"%.2f%%\" y2=\"%.1f\"/>\n",
            class, x1, y1, x2, y2);
}

void mc_svg_dot(FILE *out, const char *class, double x, double y, double r)
{
    fprintf(out, "<circle class=\"%s\" cx=\"%.2f%%\" cy=\"%.1f\" r=\"%.1f\"/>\n", class, x, y, r);
}

/* Points of a polyline cannot be in percent: it gets a picture of its own, stretched to its place. */
void mc_svg_path(FILE *out, const char *class, int n, const double *x, const double *y,
                 double height)
{
    if (n < 2)
        return;
    fprintf(out,
            "<svg x=\"0\" y=\"0\" width=\"100%%\" height=\"%.0f\" viewBox=\"0 0 100 %.0f\" "
            "preserveAspectRatio=\"none\"><polyline class=\"%s\" points=\"",
            height, height, class);
    for (int i = 0; i < n; i++)
        fprintf(out, "%s%.2f,%.1f", i ? " " : "", x[i], y[i]);
    fputs("\"/></svg>\n", out);
}

int mc_svg_ticks(double low, double high, int n, double ret[MC_SVG_TICKS])
{
    static const double steps[] = {1, 2, 5, 10};
    double raw = (high - low) / n, unit = pow(10, floor(log10(raw))), step = unit;
    if (!(raw > 0) || !isfinite(raw) || !isfinite(unit) || !(unit > 0))
        return 0;
    for (int i = 0; i < 4; i++) {
        step = steps[i] * unit;
        if (step >= raw * 0.999)
            break;
    }
    int count = 0;
    for (double v = ceil(low / step - 1e-9) * step; v <= high + step * 1e-9 && count < MC_SVG_TICKS;
         v += step)
        ret[count++] = fabs(v) < step * 1e-6 ? 0 : v;
    return count;
}
