/* Parts of the text face. Each writes its section, or nothing where the report has no such part; a section
 * ends with an empty line. Each returns 0, or -1 when memory ran out. */
#ifndef MC_FORMATS_REPORT_TXT_H
#define MC_FORMATS_REPORT_TXT_H

#include <jansson.h>
#include <stdio.h>

int mc_report_txt_info(const json_t *report, FILE *out, int columns);
int mc_report_txt_bench(const json_t *report, FILE *out, int columns);
int mc_report_txt_layers(const json_t *report, FILE *out, int columns);
int mc_report_txt_training(const json_t *report, FILE *out, int columns);
int mc_report_txt_outputs(const json_t *report, FILE *out, int columns);
int mc_report_txt_sets(const json_t *report, FILE *out, int columns);

#endif
