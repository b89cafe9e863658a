/* Drawings for the HTML face. */
#ifndef MC_FORMATS_REPORT_SVG_H
#define MC_FORMATS_REPORT_SVG_H

#include <jansson.h>
#include <stdio.h>

/* Loss, held-out accuracy and learning rate of a training over its steps, one below the other; those that the
 * report has. */
void mc_svg_training(FILE *out, const json_t *training);

#endif
