/* The report of a batch, {"batch": {recipe, folder, output}, "models": [...], "totals": {...}, "run": {...}}: a row for
 * each model. A row: {path, status: "done" | "gate" | "failed" | "todo", reason, seconds, and of a result its input,
 * output, before, after, drop}. */
#ifndef MC_FORMATS_REPORT_BATCH_H
#define MC_FORMATS_REPORT_BATCH_H

#include <stdbool.h>

#include "formats/report_doc.h"

/* Is the report one of a batch? */
bool mc_report_is_batch(const json_t *report);
/* Returns 0, or -1 when memory ran out. */
int mc_report_txt_batch(const json_t *report, FILE *out, int columns);
void mc_doc_batch(const struct mc_doc *d, const json_t *report, FILE *out);
/* "models -> small, svd:keep=0.3"; returns ret, of n bytes. */
const char *mc_batch_title(const json_t *report, char *ret, size_t n);

#endif
