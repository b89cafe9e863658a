/* Gradient rules against finite differences: a graph of one node from a line of text.
 *
 *     grad_check("Conv", 11, "strides=2,2 group=1", "nx3x7x7 c:mx3x3x3 c:m");
 *
 * Attributes, by blanks: alpha=0.5f (float), axis=1 (integer), perm=0,2,1 or axes=1, (integers),
 * scales=1f,2f (floats), mode=linear (string), activations=Tanh,Relu or activations=Relu, (strings).
 *
 * Inputs, by blanks:
 *     2x3          random float32 in [-1,1], gradient checked; `s`: a scalar
 *     +2x3         the same in [0.5,2];   2x3~0..0.9 in [0,0.9]
 *     c:2x3        a constant (gradient checked, too)         n:2x3   no gradient asked for     cn:2x3 both
 *     i:1,2,3      int64 vector, a constant                   i[2x2]:0,1,1,0   of that shape; i[]:5 a scalar
 *     l: j: u: b:  the same of int32, int8, uint8, bool;  f: of float32, without gradient
 *     @i:5         a scalar;  #0.5 is @f:0.5
 *     r:i:1,2      not a constant, but an input
 *     -            left out
 * A letter other than x and s is a dimension drawn from 1 to 5, the same all over the line. `#0.5` and all values
 * of `f:` are exact. No two random values are nearer than 1e-3 to each other or to 0: no kinks within the
 * step of a difference.
 *
 * Checked: central differences in float64 (reference kernels), step 1e-5, against the gradients in float64 to
 * 1e-6 and those in float32 with the fast kernels against those to 1e-4 (norm of the difference by norm), the
 * same bits with 1 and 3 threads, shapes; all that again with the first dimension of input 0 declared as a
 * symbol, so that nothing that follows from it can be in the graph. What is multiplied with outputs (gradients
 * given) is random. A line with letters is drawn four times. Seed: MCOMPRESS_SEED or 1. Failures are cmocka
 * failures that print line, dimensions and seed. */
#ifndef MC_TESTS_GRAD_RULE_CHECK_H
#define MC_TESTS_GRAD_RULE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grad_case {
    const char *op; /* "Relu", "com.microsoft:BiasGelu" */
    int version;
    const char *attrs, *inputs;
    int n_out;        /* 0: 1 */
    unsigned unasked; /* bit i: no gradient arrives at output i (integers; results nobody uses) */
    unsigned absent;  /* bit i: the node leaves output i out */
    bool is_static;   /* the first dimension of input 0 is never a symbol */
    bool is_zero;     /* a gradient of zeros is no failure */
    double tol_f64, tol_f32; /* 0: 1e-6, 1e-4 */
    double step;             /* 0: 1e-5 */
    int rounds;              /* 0: one, or four if dimensions are drawn */
};

void grad_check(const char *op, int version, const char *attrs, const char *inputs);
/* A table of such cases. */
struct grad_row {
    const char *op;
    int version;
    const char *attrs, *inputs;
};
void grad_check_rows(const struct grad_row *rows, size_t n);
#define GRAD_CHECK_ALL(rows) grad_check_rows(rows, sizeof(rows) / sizeof *(rows))
/* n_out outputs, all with gradients. */
void grad_check_outputs(const char *op, int version, const char *attrs, const char *inputs,
                        int n_out);
void grad_check_case(const struct grad_case *c);
/* The rule refuses, or there is none: mc_backward gives MC_EUNSUP with these words in its text. */
void grad_check_refused(const char *op, int version, const char *attrs, const char *inputs,
                        const char *words);
/* No gradient gets back, without being a reason to freeze: a zero rule. */
void grad_check_none(const char *op, int version, const char *attrs, const char *inputs);

uint64_t grad_seed(void);

#endif
