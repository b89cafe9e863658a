/* Products whose activations are integers by the range of each run: what matrix layers and recurrent cells share. */
#ifndef MC_PASSES_QUANT_DYNAMIC_H
#define MC_PASSES_QUANT_DYNAMIC_H

#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_emit.h"

/* x of `dtype` as integers, their scale and their zero point, for node `at`: made behind the producer of x, and shared by
 * all that read x. */
int mc_quant_put_dynamic(const struct mc_node *at, struct mc_value *x, enum mc_dtype dtype,
                         struct mc_value *ret[3], struct mc_err *err);

struct mc_quant_matrix {
    struct mc_value *q, *scale, *zero; /* [K,N], [N] or scalar, as the scale or NULL; constants */
    bool is_signed;
};
/* x W in float32: into y, or a new value where that is NULL. */
struct mc_value *mc_quant_emit_product(struct mc_quant_emit *e, struct mc_value *const x[3],
                                       const struct mc_quant_matrix *w, struct mc_value *y);

/* Why a recurrent cell cannot be DYNAMIC, NULL if it can; of a site whose weights are known. */
const char *mc_quant_cell_why(const struct mc_quant_site *s, const struct mc_quant_rules *r);

#endif
