/* How a Reshape hands positions on: runs of axes before it that become runs of axes behind it. */
#ifndef MC_PASSES_COUPLE_BLOCKS_H
#define MC_PASSES_COUPLE_BLOCKS_H

#include "graph/shape.h"

/* Axes of length 1 are in no block. The axes in[0 … n_in-1] hold the same positions, in the same order, as over_in times
 * out[0 … n_out-1], or over_out times those the other way round; both 1: exactly. What is over stands outside (before) them
 * at the end of the shapes, and inside (behind) them at their beginning. */
struct mc_block {
    int in[MC_RANK_MAX], n_in;
    int out[MC_RANK_MAX], n_out;
    int64_t over_in, over_out;
    bool inside;
    bool open; /* only this is known: some lengths are not */
};

enum { MC_BLOCKS_MAX = MC_RANK_MAX + 1 };

/* Blocks from the first axes to the last; returns how many. */
int mc_blocks_of(const struct mc_shape *in, const struct mc_shape *out,
                 struct mc_block ret[MC_BLOCKS_MAX]);

#endif
