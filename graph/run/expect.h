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
    MC_EXPECT_SHAPE,  /* or length of a list */
    MC_EXPECT_DTYPE,  /* or a list where there should be none */
};

enum { MC_EXPECT_ITEM = 48 };

struct mc_expected {
    enum mc_expect verdict;    /* the first that is not AGREES */
    int64_t elements, outside; /* of all that could be compared */
    double max_abs, max_rel;   /* over finite elements; max_rel where want is not 0 */
    int64_t first;             /* the first one outside, -1 if none */
    double got, want;          /* its values; for complex elements of the part that differs */
    /* What the verdict is about: the arrays themselves, or, of lists, the first items that differ. */
    const struct mc_array *got_item, *want_item;
    char item[MC_EXPECT_ITEM]; /* "[2]", which items those are; "" for the arrays themselves */
};

/* NaN equals NaN, an infinity equals itself. Half types are handed out as float32 and may be wanted as what
 * they are. Sequences and optionals (graph/dataset.h) are compared item by item. Errors: MC_EUNSUP for strings; MC_ENOMEM. */
int mc_expect(const struct mc_array *got, const struct mc_array *want, const struct mc_tolerance *t,
              struct mc_expected *ret, struct mc_err *err);

#endif
