/* Ranks that are given layer by layer: --rank 16 --rank /3/Gemm=8. */
#ifndef MC_PASSES_SVD_RANKS_H
#define MC_PASSES_SVD_RANKS_H

#include <jansson.h>

#include "passes/layer/layer.h"

struct mc_svd_ranks {
    int64_t *of; /* [layers] rank of each; 0: none. NULL: no ranks are given at all */
};

/* From the option "rank", a list of texts: a number for all layers, NAME=NUMBER for those of a node or of a weight; the
 * last one for a layer counts, one with a name before one without. Errors: MC_EUSAGE for what is no such text, for names
 * that no layer has (with the nearest), for weights that cannot be factorised. */
int mc_svd_ranks_read(const json_t *options, const struct mc_layers *l, struct mc_svd_ranks *ret,
                      struct mc_err *err);
void mc_svd_ranks_free(struct mc_svd_ranks *r);

#endif
