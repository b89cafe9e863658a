/* The faces of a report: one row each in report.c's table. */
#ifndef MC_FORMATS_REPORT_FORMAT_H
#define MC_FORMATS_REPORT_FORMAT_H

#include <jansson.h>

#include "base/err.h"

struct mc_report_format {
    const char *ext;  /* ".json" */
    const char *help; /* for `list formats` */
    /* The whole file as a malloc'd string; NULL when out of memory. */
    char *(*render)(const json_t *report);
};

/* i from 0; NULL at the end. */
const struct mc_report_format *mc_report_format_at(size_t i);

char *mc_report_json(const json_t *report);
char *mc_report_txt(const json_t *report);
char *mc_report_md(const json_t *report);
char *mc_report_html(const json_t *report);
char *mc_report_xml(const json_t *report);

/* Control characters, those that turn the direction of text, and what is no UTF-8 become '?': names come from files,
 * and nothing that a terminal or browser would obey may come through. */
void mc_report_disarm(char *text);

#endif
