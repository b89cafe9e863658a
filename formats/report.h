/* One JSON tree, several faces. The format is chosen by the path's extension; "-" is stdout as text. */
#ifndef MC_FORMATS_REPORT_H
#define MC_FORMATS_REPORT_H

#include <jansson.h>

#include "base/err.h"

/* Errors: MC_EUSAGE for an unknown extension (names the known ones), MC_EIO. */
int mc_report_check(const char *path, struct mc_err *err);
int mc_report_write(const json_t *report, const char *path, struct mc_err *err);
/* The text face as a malloc'd string, `columns` wide at most (0: 100); for the terminal. */
char *mc_report_text(const json_t *report, int columns);

#endif
