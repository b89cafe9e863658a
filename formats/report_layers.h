/* Layers in a report: entries of a pass's "layers". */
#ifndef MC_FORMATS_REPORT_LAYERS_H
#define MC_FORMATS_REPORT_LAYERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    MC_REPORT_LAYER_NAME = 60,
    MC_REPORT_LAYER_TEXT = 4 * MC_REPORT_LAYER_NAME + 4,
    MC_REPORT_LAYER_WHAT = 128
};

struct mc_report_layer {
    char name[MC_REPORT_LAYER_TEXT]; /* at most MC_REPORT_LAYER_NAME characters */
    const char *full;                /* all of it */
    char op[MC_REPORT_LAYER_WHAT];
    const char *reason;                /* why it was left as it was; NULL: it was changed */
    char form[MC_REPORT_LAYER_WHAT];   /* how: "factorised", "tucker" */
    char choice[MC_REPORT_LAYER_WHAT]; /* how far: "49", "12 x 20" */
    double before, after;              /* bytes; NAN: not told */
    double macs_before, macs_after;
    double error, predicted; /* of the outputs; NAN: not measured, not predicted */
};
/* false: not a layer. */
bool mc_report_layer_read(const json_t *entry, struct mc_report_layer *ret);

/* What a column of errors of a pass's layers holds: "error" where some were measured, "predicted" where errors are only
 * predicted, NULL: it would be empty. */
const char *mc_report_layers_error(const json_t *pass);

/* Sums over a pass. */
struct mc_report_layer_sums {
    size_t changed, left;
    double changed_before, changed_after, left_bytes;
};
void mc_report_layer_sums(const json_t *list, struct mc_report_layer_sums *ret);

#endif
