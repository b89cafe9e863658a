/* Weights made from their small forms, and what trains them. Of devices alone: float32; on the CPU graph/ops does all of
 * this itself, since no kernel there would be another one's.
 *
 * Sums are made in double, in an order fixed by the shapes. */
#ifndef MC_KERNELS_SMALL_H
#define MC_KERNELS_SMALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

/* Rows of signs with one scale each: bit c % 8 of byte c / 8, 1 means +. */
struct mc_small_binary {
    int64_t rows, columns;
    const uint8_t *bits; /* [rows, (columns + 7) / 8] */
    const void *scale;   /* [rows]; of make() */
    void *w;             /* [rows, columns]: made, or of gradient() the gradient of it */
    void *sums;          /* [rows]; of gradient(): sum of w * sign */
};

/* Indices of `bits` bits into a codebook [2^bits]: one after the other from the lowest bit of a byte, where bits divides 8,
 * or in planes of (count + 7) / 8 bytes, bit by bit. */
struct mc_small_shared {
    int64_t count;
    int bits;
    bool planes;
    const uint8_t *index;
    const void *book; /* of make() */
    void *w;          /* [count] */
    void *sums;       /* [2^bits]; of gradient(): sum of w over the weights of an index */
};

/* y[gate, row, k] = x[gate / gates, row, k] scale[gate, row or 0, k or 0]; y is [groups * gates * rows, columns]. */
struct mc_small_gate {
    int64_t groups, gates, rows, columns;
    const void *x;                  /* [groups, rows, columns] */
    const void *scale;              /* [groups * gates, scale_rows, scale_columns] */
    int64_t scale_rows, scale_cols; /* 1 or rows, 1 or columns */
    void *y;
};

/* y = alpha sign(w), alpha the mean of |w| over an output's n weights; sign(NaN) is +. */
struct mc_small_sign {
    int64_t outputs, n;
    int64_t output_step, step; /* elements between outputs, and between weights of one */
    const void *w;
    void *y;
};

struct mc_small_kernels {
    void (*binary)(const struct mc_small_binary *b, struct mc_pool *pool);
    void (*binary_gradient)(const struct mc_small_binary *b, struct mc_pool *pool);
    void (*shared)(const struct mc_small_shared *s, struct mc_pool *pool);
    void (*shared_gradient)(const struct mc_small_shared *s, struct mc_pool *pool);
    void (*gate)(const struct mc_small_gate *g, struct mc_pool *pool);
    void (*sign_weight)(const struct mc_small_sign *s, struct mc_pool *pool);
    /* y = x < 0 ? -1 : 1; in place too. */
    void (*sign)(int64_t n, const void *x, void *y, struct mc_pool *pool);
};

#endif
