#include "formats/report_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "formats/report_facts.h"
#include "formats/report_layers.h"

/* A row: a line of text, a bar below it. */
enum { ROW = 34, BASE = 12, BAR = 17, THICK = 10, THIN = 3 };

/* ---- one row ---- */

/* before, after: of `most`. class: of the bar that shows what is left. */
static void bar(FILE *out, double y, double before, double after, double most, const char *class)
{
    double line = y + BAR + (THICK - THIN) / 2.;
    bool grew = after > before; /* then the thin bar lies upon the thick one */
    if (isfinite(before) && !grew)
        mc_svg_rect(out, "was", 0, line, 100 * before / most, THIN);
    if (isfinite(after)) /* what is too short to see is there all the same */
        mc_svg_rect(out, class, 0, y + BAR, fmax(100 * after / most, 0.3), THICK);
    if (isfinite(before) && grew)
        mc_svg_rect(out, "was", 0, line, 100 * before / most, THIN);
}

static void sizes(double before, double after, char ret[3 * MC_TEXT])
{
    char a[MC_TEXT], b[MC_TEXT];
    if (before == after || !isfinite(before) || !isfinite(after))
        snprintf(ret, 3 * MC_TEXT, "%s", mc_text_bytes(isfinite(after) ? after : before, a));
    else
        snprintf(ret, 3 * MC_TEXT, "%s → %s", mc_text_bytes(before, a), mc_text_bytes(after, b));
}

static void row(FILE *out, double y, const char *label, double before, double after, double most,
                const char *class)
{
    char text[3 * MC_TEXT];
    sizes(before, after, text);
    mc_svg_label(out, 0, y + BASE, label, MC_SVG_LABEL);
    mc_svg_text(out, 100, y + BASE, "end", "v", text);
    bar(out, y, before, after, most, class);
}

/* ---- layers ---- */

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The value that MC_SVG_ROWS of the n at v reach, or more where there are equal ones; -1 where all have room. */
static double threshold(double *v, size_t n)
{
    qsort(v, n, sizeof *v, falling);
    return n > MC_SVG_ROWS ? v[MC_SVG_ROWS - 1] : -1;
}

static double size_of(const struct mc_report_layer *l)
{
    return isfinite(l->before) && l->before > 0 ? l->before : 0;
}

/* `keep` in the order of the model; then all others in one row. */
static void draw_sizes(FILE *out, const json_t *list, double least, double most)
{
    double y = 0, before = 0, after = 0;
    size_t i, shown = 0, others = 0;
    const json_t *entry;
    struct mc_report_layer l;
    char text[64];
    json_array_foreach(list, i, entry)
    {
        if (!mc_report_layer_read(entry, &l) || !(size_of(&l) > 0))
            continue;
        if (size_of(&l) < least || shown == MC_SVG_ROWS) {
            before += l.before;
            after += isfinite(l.after) ? l.after : l.before;
            others++;
            continue;
        }
        row(out, y, l.full, l.before, l.after, most, l.reason ? "was" : "now");
        y += ROW;
        shown++;
    }
    snprintf(text, sizeof text, "%zu other%s", others, others == 1 ? "" : "s");
    if (others)
        row(out, y, text, before, after, fmax(most, fmax(before, after)), "now");
}

void mc_svg_sizes(FILE *out, const json_t *list)
{
    size_t n = 0, i;
    const json_t *entry;
    struct mc_report_layer l;
    double most = 0, *v = mc_calloc(json_array_size(list) + 1, sizeof *v);
    json_array_foreach(list, i, entry)
    {
        if (!v || !mc_report_layer_read(entry, &l) || !(size_of(&l) > 0))
            continue;
        v[n++] = size_of(&l);
        most = fmax(most, fmax(l.before, isfinite(l.after) ? l.after : 0));
    }
    if (n && isfinite(most)) {
        double least = threshold(v, n);
        size_t rows = n > MC_SVG_ROWS ? MC_SVG_ROWS + 1 : n;
        char text[160];
        snprintf(text, sizeof text,
                 "Bars of the sizes of %zu layers before and after; the table below has them", n);
        fputs("<figure><figcaption>Size by layer <span class=\"key\"><i class=\"was\"></i>before "
              "<i class=\"now\"></i>after</span></figcaption>\n",
              out);
        mc_svg_begin(out, (double)rows * ROW, "Size by layer", text);
        draw_sizes(out, list, least, most);
        mc_svg_end(out);
        fputs("</figure>\n", out);
    }
    free(v);
}

/* ---- where the bytes are ---- */

static const json_t *lone_layers(const json_t *report)
{
    const json_t *passes = json_object_get(report, "passes"), *pass, *found = NULL;
    size_t i;
    json_array_foreach(passes, i, pass)
    {
        const json_t *list = json_object_get(pass, "layers");
        if (!json_array_size(list))
            continue;
        if (found) /* of several passes the parts cannot be added */
            return NULL;
        found = list;
    }
    return found;
}

static void stack(FILE *out, double y, const char *name, const double part[3], double most)
{
    static const char *const classes[] = {"now", "was", "rest"};
    char text[MC_TEXT];
    double x = 0;
    mc_svg_text(out, 0, y + BASE, "start", "t", name);
    mc_svg_text(out, 100, y + BASE, "end", "v", mc_text_bytes(part[0] + part[1] + part[2], text));
    for (int i = 0; i < 3; i++) {
        double width = 100 * part[i] / most;
        mc_svg_rect(out, classes[i], x, y + BAR, width, 14);
        x += width;
    }
}

static void legend(FILE *out, const double a[3], const double b[3],
                   const struct mc_report_layer_sums *s)
{
    static const char *const classes[] = {"now", "was", "rest"};
    char text[3 * MC_TEXT];
    fputs("<ul class=\"legend\">", out);
    for (int i = 0; i < 3; i++) {
        if (!(a[i] > 0) && !(b[i] > 0))
            continue;
        fprintf(out, "<li><i class=\"%s\"></i>", classes[i]);
        if (i == 0)
            fprintf(out, "%zu layer%s changed", s->changed, s->changed == 1 ? "" : "s");
        else if (i == 1)
            fprintf(out, "%zu left as %s", s->left, s->left == 1 ? "it was" : "they were");
        else
            fputs("all else in the file", out);
        sizes(a[i], b[i], text);
        fprintf(out, " <b>%s</b></li>", text);
    }
    fputs("</ul>\n", out);
}

void mc_svg_bytes(FILE *out, const json_t *report)
{
    const json_t *list = lone_layers(report);
    struct mc_report_layer_sums s;
    struct mc_fact size;
    if (!list || !mc_fact_at(report, 0, &size) || size.kind != MC_FACT_SIZE)
        return;
    mc_report_layer_sums(list, &s);
    double a[3] = {s.changed_before, s.left_bytes, size.before - s.changed_before - s.left_bytes};
    double b[3] = {s.changed_after, s.left_bytes, size.after - s.changed_after - s.left_bytes};
    /* Where the file holds less than the layers say (shared weights), they do not add up. */
    if (!s.changed || a[2] < 0 || b[2] < 0 || !(size.before > 0))
        return;
    fputs("<figure><figcaption>Where the bytes are</figcaption>\n", out);
    mc_svg_begin(out, 74, "Where the bytes are",
                 "Two bars, before and after, cut into changed layers, other layers, all else");
    stack(out, 0, "before", a, fmax(size.before, size.after));
    stack(out, 38, "after", b, fmax(size.before, size.after));
    mc_svg_end(out);
    legend(out, a, b, &s);
    fputs("</figure>\n", out);
}

/* ---- steps ---- */

void mc_svg_steps(FILE *out, const json_t *report)
{
    const json_t *passes = json_object_get(report, "passes"), *pass;
    double most = mc_json_number(json_object_get(report, "input"), "bytes", NAN), first = most;
    size_t i, n = 0;
    char text[64 + 4 * MC_SVG_LABEL], name[4 * MC_SVG_LABEL + 4];
    json_array_foreach(passes, i, pass)
    {
        double b = mc_json_number(pass, "bytes_after", NAN);
        n += isfinite(b);
        most = fmax(most, b);
    }
    if (json_array_size(passes) < 2 || n < 2 || !(first > 0))
        return;
    fputs("<figure><figcaption>Size over the steps</figcaption>\n", out);
    mc_svg_begin(out, (double)(n + 1) * ROW, "Size over the steps",
                 "Bars of the size before, and after each step; the table below has them");
    row(out, 0, "before", NAN, first, most, "was");
    double y = ROW;
    json_array_foreach(passes, i, pass)
    {
        double b = mc_json_number(pass, "bytes_after", NAN);
        if (!isfinite(b))
            continue;
        mc_text_short(mc_json_string_or(pass, "name", "?"), 24, name, sizeof name);
        snprintf(text, sizeof text, "%zu  %s", i + 1, name);
        row(out, y, text, NAN, b, most, "now");
        y += ROW;
    }
    mc_svg_end(out);
    fputs("</figure>\n", out);
}
