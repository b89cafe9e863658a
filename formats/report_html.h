/* What the HTML face is made of. */
#ifndef MC_FORMATS_REPORT_HTML_H
#define MC_FORMATS_REPORT_HTML_H

#include <jansson.h>
#include <stdio.h>

#include "formats/report_doc.h"

/* The page's style sheet: all colours are variables, for light, dark and paper. */
extern const char mc_html_style[];
extern const struct mc_doc mc_html_doc;

/* Text between tags or in the quotes of an attribute. */
void mc_html_put(FILE *out, const char *text);
/* The page around a document. */
void mc_html_begin(FILE *out, const char *title);
void mc_html_end(FILE *out);
/* The main figures, large. */
void mc_html_tiles(FILE *out, const json_t *report);

#endif
