/* Products with block-circulant matrices.
 *
 * W is p x q blocks of b x b, each the circulant of its first column: block[r, c] = col[(r - c) mod b]. Block (i, j) of
 * col [p, q, b]. y = W x is, block by block, a circular convolution: with F the DFT of length b,
 * F(y_i) = sum_j F(col_ij) F(x_j), so q transforms, p q products of spectra and p inverse ones in place of p q b^2.
 * Source: Cheng et al., An exploration of parameter redundancy in deep networks with circulant projections, ICCV 2015;
 * Ding et al., CirCNN, MICRO 2017. */
#ifndef MC_KERNELS_CIRCULANT_H
#define MC_KERNELS_CIRCULANT_H

#include <stdbool.h>
#include <stdint.h>

struct mc_circulant {
    int64_t p, q, b;
    bool transposed; /* y = W^T x: blocks (j, i), circulants of the reversed columns */
};

enum mc_circulant_way {
    MC_CIRCULANT_DENSE, /* W is expanded and multiplied: small blocks */
    MC_CIRCULANT_DFT,   /* transforms as products with matrices: blocks in between */
    MC_CIRCULANT_FFT,   /* fast transforms */
};

/* Float32 only; graph/ops computes other types by the dense product. */

/* The way that is fastest here for so many rows of x (0: one). */
enum mc_circulant_way mc_circulant_choose(const struct mc_circulant *c, int64_t rows);
/* Columns made ready for a way, once per weight: bytes, 64-byte aligned. */
int64_t mc_circulant_packed_bytes(const struct mc_circulant *c, enum mc_circulant_way way);
void mc_circulant_pack(const struct mc_circulant *c, enum mc_circulant_way way, const float *col,
                       void *packed);
/* Work space for `rows` rows at a time, of one thread. */
int64_t mc_circulant_scratch(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows);
/* y[i] = W x[i] + bias for each of `rows` rows: x [rows, ldx >= q b], y [rows, ldy >= p b] (transposed: the other way
 * round), bias [p b] or NULL. Threads: callers cut rows. */
void mc_circulant_multiply(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                           const float *x, int64_t ldx, const void *packed, const float *bias,
                           float *y, int64_t ldy, void *scratch);
/* dcol[i, j, k] = sum over rows and over (r, c) with (r - c) mod b = k of dy[row, i b + r] x[row, j b + c]: the gradient of
 * the columns. Sums are made in an order fixed by shapes alone. */
void mc_circulant_gradient(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                           const float *dy, int64_t lddy, const float *x, int64_t ldx, float *dcol,
                           void *scratch);
int64_t mc_circulant_gradient_scratch(const struct mc_circulant *c, enum mc_circulant_way way,
                                      int64_t rows);
/* W [p b, q b] row by row from its columns, and the columns nearest to a W in least squares (means of wrapped
 * diagonals). */
void mc_circulant_expand(const struct mc_circulant *c, const float *col, float *w, int64_t ldw);
void mc_circulant_project(const struct mc_circulant *c, const float *w, int64_t ldw, float *col);

#endif
