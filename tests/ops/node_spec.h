/* A model of one node from a line of text, run once: for tests of errors.
 *
 *     "Gemm-13 f[2,3] f[3,4] -> 1 transB=1 alpha=0.5"
 *
 * is operator-version (com.microsoft:Operator-version), its inputs, the number of outputs, its attributes. An
 * input is a type letter (f float32, d float64, l int64, i int32, b bool, s float16, u uint8, c int8) with
 * dimensions in brackets, or l{1,-2}, f{0.5,nan} or b{1} for a constant vector; f() is a scalar, - an input
 * left out. An attribute is a whole number, a number with a point, whole
 * numbers ending with a comma each (1,2,), or a word. */
#ifndef MC_TESTS_NODE_SPEC_H
#define MC_TESTS_NODE_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Build and run; input contents are drawn from seed. 0 or the error. */
int node_spec_run(const char *spec, uint64_t seed, struct mc_err *err);

struct node_spec_bad {
    const char *spec;
    int code;
    const char *words; /* part of the message, beside the operator's name and the node's */
};
/* Each gives its code and such a message, or the test fails. */
void node_spec_all_bad(const struct node_spec_bad *bad, size_t n);
/* Each runs, or the test fails. */
void node_spec_all_good(const char *const *good, size_t n);

#endif
