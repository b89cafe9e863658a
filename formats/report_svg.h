/* Drawings for the HTML face. They are as wide as their place: what is across is in percent of it, what is down in
 * pixels, so that text keeps its size on a phone, on a desk and on paper. Classes are those of report_html_style.c. */
#ifndef MC_FORMATS_REPORT_SVG_H
#define MC_FORMATS_REPORT_SVG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* ---- drawings: nothing where the report has not what they show ---- */

/* The drop of top-1 with its interval, and the limit of --max-drop. */
void mc_svg_interval(FILE *out, const json_t *report);
/* Where the bytes are, before and after: changed layers, others, the rest. */
void mc_svg_bytes(FILE *out, const json_t *report);
/* Size of every layer before and after, and the error of those that were changed. list: a pass's "layers". */
void mc_svg_sizes(FILE *out, const json_t *list);
void mc_svg_errors(FILE *out, const json_t *list, const char *note);
/* Of a pass that removes nodes: how many of each layer stay. */
void mc_svg_units(FILE *out, const json_t *list);
/* Size against error of the options of changed layers, as a pass's "search" has them. */
void mc_svg_search(FILE *out, const json_t *pass);
/* Size after each of several steps. */
void mc_svg_steps(FILE *out, const json_t *report);
/* Loss, held-out accuracy and learning rate of a training over its steps, one below the other; those that the
 * report has. */
void mc_svg_training(FILE *out, const json_t *training);

/* ---- what they are made of ---- */

enum { MC_SVG_LABEL = 28, MC_SVG_ROWS = 24, MC_SVG_TICKS = 12 };

/* title: of the drawing; text: what can be seen in it, for those who cannot see it. */
void mc_svg_begin(FILE *out, double height, const char *title, const char *text);
void mc_svg_end(FILE *out);
/* class: of the text; anchor: "start", "middle" or "end". */
void mc_svg_text(FILE *out, double x, double y, const char *anchor, const char *class,
                 const char *text);
/* The text shortened to `most` characters, all of it as a hint. */
void mc_svg_label(FILE *out, double x, double y, const char *text, size_t most);
void mc_svg_rect(FILE *out, const char *class, double x, double y, double width, double height);
void mc_svg_line(FILE *out, const char *class, double x1, double y1, double x2, double y2);
void mc_svg_dot(FILE *out, const char *class, double x, double y, double r);
/* A line through n points, as mc_svg_dot takes them; x ascending from x1 to x2. */
void mc_svg_path(FILE *out, const char *class, int n, const double *x, const double *y,
                 double height);
/* Round numbers from low to high (low < high), about `n` of them; how many. */
int mc_svg_ticks(double low, double high, int n, double ret[MC_SVG_TICKS]);

#endif
