/* Does an array hold samples for a model's input, and in which arrangement? */
#ifndef MC_FORMATS_FIT_H
#define MC_FORMATS_FIT_H

#include "formats/narray.h"
#include "graph/dataset.h"

struct mc_fit {
    struct mc_shape shape; /* of a batch: axis 0 is the samples; the rest has no free axis left */
    bool whole;            /* a sample is the whole tensor of the input */
    bool interleave;       /* samples [c,h,w] go into an input [n,h,w,c] */
    int64_t channels;      /* of an image, 1 where there is no such axis */
};

/* Axis 0 of the array counts samples. As many axes as the input: the input's axis 0 is the batch. One more:
 * each sample is a whole input. An array with `layout` also fits where an axis of 1 channel is added before
 * or behind, planes become interleaved channels, or all axes become one.
 * Errors: MC_ESHAPE printing both shapes. */
int mc_fit(const struct mc_narray *a, const struct mc_array *input, struct mc_fit *ret,
           struct mc_err *err);

#endif
