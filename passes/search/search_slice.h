/* Samples of a data set, chosen by number, as a data set of its own: what a search measures on. */
#ifndef MC_PASSES_SEARCH_SLICE_H
#define MC_PASSES_SEARCH_SLICE_H

#include "passes/pass.h"

/* The samples that guide a search, at most `most`, and none of the first calib_count where there are enough others: of
 * ctx->train, spread over all of it; without it of ctx->calib, the next ones. The data sets stay the context's.
 * *ret NULL: there are none. */
int mc_slice_open(const struct mc_pass_ctx *ctx, int64_t most, struct mc_dataset **ret,
                  struct mc_err *err);
/* Of the first `count` samples those of even or of odd number, count / 2 each; count at least 2. `of` is borrowed. */
int mc_slice_half(struct mc_dataset *of, int64_t count, bool odd, struct mc_dataset **ret,
                  struct mc_err *err);
/* Samples [first, first + count), at least one, all of which there are. `of` is borrowed. */
int mc_slice_range(struct mc_dataset *of, int64_t first, int64_t count, struct mc_dataset **ret,
                   struct mc_err *err);

#endif
