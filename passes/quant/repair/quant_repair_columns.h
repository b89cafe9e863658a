/* Layers whose integers are chosen anew by the covariance of what they multiply: GPTQ and learned rounding differ in which
 * layers, which inputs, and for how long. */
#ifndef MC_PASSES_QUANT_REPAIR_COLUMNS_H
#define MC_PASSES_QUANT_REPAIR_COLUMNS_H

#include "passes/quant/repair/quant_repair.h"

struct mc_quant_columns_job {
    const char *name;
    unsigned forms; /* bits of mc_quant_form */
    bool
        built; /* inputs are those in the built model, with all errors before them; otherwise the float ones */
    double damping;
    int sweeps;
};
int mc_quant_repair_columns(struct mc_quant_repair *r, const struct mc_quant_columns_job *job,
                            struct mc_quant_repair_result *ret, struct mc_err *err);

#endif
