#include "passes/quant/repair/quant_repair_columns.h"

/* Instead of learning up or down by gradients (AdaRound) each integer moves to where the layer's error is least, the others as they
 * are, until none moves: a local minimum of the same error, without a rate or a number of steps to choose. */
int mc_quant_repair_round(struct mc_quant_repair *r, struct mc_quant_repair_result *ret,
                          struct mc_err *err)
{
    static const struct mc_quant_columns_job job = {
        .name = "learned rounding",
        .forms = 1U << MC_QUANT_STATIC | 1U << MC_QUANT_STATIC16,
        .built = true,
        .damping = 0.01,
        .sweeps = 8,
    };
    return mc_quant_repair_columns(r, &job, ret, err);
}
