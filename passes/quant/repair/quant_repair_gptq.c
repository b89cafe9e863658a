#include "passes/quant/repair/quant_repair_columns.h"

/* Where activations are floats, or have a range of their own in every run, they do not change much, so float inputs do: all
 * layers from one run. */
int mc_quant_repair_gptq(struct mc_quant_repair *r, struct mc_quant_repair_result *ret,
                         struct mc_err *err)
{
    static const struct mc_quant_columns_job job = {
        .name = "GPTQ",
        .forms = 1U << MC_QUANT_WEIGHT | 1U << MC_QUANT_BLOCK | 1U << MC_QUANT_DYNAMIC,
        .damping = 0.01,
        .sweeps = 4,
    };
    return mc_quant_repair_columns(r, &job, ret, err);
}
