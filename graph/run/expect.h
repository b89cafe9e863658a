/* Is an output what it should be? The rule of ONNX's own tests: |got - want| <= atol + rtol |want| for floats,
 * equality for everything else. */
#ifndef MC_GRAPH_RUN_EXPECT_H
#define MC_GRAPH_RUN_EXPECT_H

#include "graph/dataset.h"

struct mc_tolerance {
    double rtol, atol;
    bool wider; /* a wider float type than the wanted one is no difference */
};

enum mc_expect {
    MC_EXPECT_AGREES,
    MC_EXPECT_VALUES, /* elements are outside */
    MC_EXPECT_SHAPE,
    MC_EXPECT_DTYPE,
};

struct mc_expected {
    enum mc_expect verdict; /* of another shape or type: nothing below is set */
    int64_t elements, outside;
    double max_abs, max_rel; /* over finite elements; max_rel where want is not 0 */
    int64_t first;           /* the first one outside, -1 if none */
    double got, want;        /* its values; for complex elements of the part that differs */
};

/* NaN equals NaN, an infinity equals itself. Half types are handed out as float32 and may be wanted as what
 * they are. Errors: MC_EUNSUP for strings; MC_ENOMEM. */
int mc_expect(const struct mc_array *got, const struct mc_array *want, const struct mc_tolerance *t,
              struct mc_expected *ret, struct mc_err *err);

#endif
