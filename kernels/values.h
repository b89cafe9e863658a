/* Elements converted, tested, ordered, and laid out by their places. Of devices alone: on the CPU graph/ops does all of
 * this itself, and there is one version for every type. Arrays are dense; elements without a type are of 1, 2, 4 or 8
 * bytes. Where nothing else is said, results may not overlap inputs. */
#ifndef MC_KERNELS_VALUES_H
#define MC_KERNELS_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/move.h"
#include "kernels/nn.h"
#include "kernels/typed.h"

/* Whole numbers to whole numbers: the low bits. Floats to whole numbers: toward zero, or to the nearest, half to even;
 * cut to what the type holds, NaN is 0. Truth values are 0 and 1. */
struct mc_cast {
    enum mc_elem from, to;
    bool from_truth, to_truth; /* bytes that are truth values */
    bool nearest;
    int64_t n;
    const void *x;
    void *y;
};

enum mc_half { MC_HALF_F16, MC_HALF_BF16 };

enum mc_test { MC_TEST_NAN = 1, MC_TEST_BELOW = 2, MC_TEST_ABOVE = 4 }; /* NaN, -inf, +inf */

/* Of matrices [rows, cols], what lies on the side of diagonal k, zeros elsewhere. In place too. */
enum mc_diagonal_side { MC_DIAGONAL_UPPER, MC_DIAGONAL_LOWER, MC_DIAGONAL_ALONE };
struct mc_diagonal {
    int64_t matrices, rows, cols, k;
    enum mc_diagonal_side side; /* ALONE: the diagonal itself */
    int elem_bytes;
    const void *x; /* NULL: all elements are `one` */
    uint64_t one;  /* its bits */
    void *y;
};

/* Running sums or products along the middle of [outer, n, inner]; whole numbers wrap, float32 is summed in double. In
 * place too. */
struct mc_running {
    enum mc_elem type;
    int64_t outer, n, inner;
    bool reverse, product, exclusive;
    const void *x;
    void *y;
};

/* y[i] = start + i step, of whole numbers or of floats. */
struct mc_steps {
    enum mc_elem type;
    int64_t n, start, step;
    double float_start, float_step;
    void *y;
};

/* y[i, j, …] = x[at(i - before[0]), at(j - before[1]), …], where at() keeps a place of a dimension and takes one outside
 * back into it: to the edge, as often as needed by whole dimensions, or once by reflection at the first and last. */
enum mc_outside { MC_OUTSIDE_EDGE, MC_OUTSIDE_WRAP, MC_OUTSIDE_REFLECT };
struct mc_beyond {
    enum mc_outside outside;
    int rank, elem_bytes;
    int64_t dim[MC_MOVE_RANK]; /* of y */
    int64_t size[MC_MOVE_RANK], before[MC_MOVE_RANK];
    const void *x;
    void *y;
};
/* The same places as indices: index[i] = at(i - before) for n of them. */
struct mc_beyond_index {
    enum mc_outside outside;
    int64_t n, size, before;
    int64_t *index;
};

/* The k best along the middle of [outer, n, inner], the best first, the earlier one of equals first. NaN is above all
 * numbers. Types of at most 4 bytes. */
struct mc_top {
    enum mc_elem type;
    int64_t outer, n, inner, k;
    bool largest;
    const void *x;
    void *values;   /* [outer, k, inner], or NULL */
    int64_t *index; /* the same */
};

/* y[o, d, i] = value[1] where at[o, i] is d, value[0] elsewhere; below 0 it counts from depth, floats are cut to whole
 * numbers. */
struct mc_hot {
    enum mc_elem type; /* of at */
    int64_t outer, depth, inner;
    int elem_bytes;
    const void *at, *value;
    void *y;
};

/* Of each of `batch` sequences the first length[b] rows of `row` elements, backwards; the rest as it is. Strides are in
 * rows. A length out of range is reported by the next wait, and its sequence is copied. */
struct mc_backward {
    int64_t batch, time, row, batch_stride, time_stride;
    int elem_bytes, length_bytes; /* 4 or 8: int32, int64 */
    const void *length, *x;
    void *y;
};

/* y[b, c, p] = x[b, c] read at point p of grid [b, points, dims], whose coordinates are in [-1, 1], the last dimension's
 * first; between elements linearly, the nearest, or by cubics (Keys, 1981, a = -0.75), computed in double. */
enum mc_between { MC_BETWEEN_LINEAR, MC_BETWEEN_NEAREST, MC_BETWEEN_CUBIC };
enum mc_border { MC_BORDER_ZEROS, MC_BORDER_EDGE, MC_BORDER_REFLECTION };
struct mc_sampling {
    enum mc_between between;
    enum mc_border border;
    bool align; /* -1 and 1 are the centres of the first and last element; else their outer ends */
    int dims;   /* 2 or 3 */
    int64_t batch, channels, points, size[3]; /* depth, height, width of x; a missing one is 1 */
    const void *x, *grid;
    void *y;
};

struct mc_values_kernels {
    void (*cast)(const struct mc_cast *c);
    /* To a half type and back, in place. */
    void (*round)(enum mc_half half, int64_t n, float *x);
    /* y = x is one of `tests`, a sum of enum mc_test. */
    void (*test)(int tests, int64_t n, const float *x, uint8_t *y);
    /* y = ~x, or !x of truth values; in place too. */
    void (*flip)(bool truth, int64_t bytes, const uint8_t *x, uint8_t *y);
    void (*diagonal)(const struct mc_diagonal *d);
    void (*running)(const struct mc_running *r);
    void (*steps)(const struct mc_steps *s);
    void (*beyond)(const struct mc_beyond *b);
    void (*beyond_index)(const struct mc_beyond_index *b);
    void (*top)(const struct mc_top *t);
    void (*hot)(const struct mc_hot *h);
    void (*backward)(const struct mc_backward *b);
    void (*sample)(const struct mc_sampling *s);
    /* Positions of w->arg in a plane become positions in the whole input, of which the spatial dimensions are in
     * row-major or column-major order. */
    void (*positions)(const struct mc_window *w, bool columns);
};

#endif
