/* Products with block-circulant matrices.
 *
 * W is p x q blocks of b x b, each the circulant of its first column: block[r, c] = col[(r - c) mod b], col [p, q, b].
 * y = W x is, block by block, a circular convolution: with F the DFT of length b, F(y_i) = sum_j F(col_ij) F(x_j), so
 * q transforms, p q products of spectra and p inverse ones in place of p q b^2.
 * Source: Cheng et al., An exploration of parameter redundancy in deep networks with circulant projections, ICCV 2015;
 * Ding et al., CirCNN, MICRO 2017. */
#ifndef MC_KERNELS_CIRCULANT_H
#define MC_KERNELS_CIRCULANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/conv.h"
#include "kernels/epilogue.h"

struct mc_circulant {
    int64_t p, q, b; /* each at least 1 */
    bool
        transposed; /* y = W^T x: blocks (j, i), circulants of the reversed columns; x has p b elements, y q b */
};

enum mc_circulant_way {
    MC_CIRCULANT_DENSE, /* W is expanded and multiplied */
    MC_CIRCULANT_DFT,   /* transforms as products with matrices */
    MC_CIRCULANT_FFT,   /* fast transforms */
};
enum { MC_CIRCULANT_DFT_MOST = 256 }; /* longest b of the DFT; above, the FFT takes its place */

/* y[r] = act(W x[r] + bias + residual[r]) for each of `rows` rows. y may be the residual; otherwise nothing overlaps. */
struct mc_circulant_product {
    struct mc_circulant c;
    enum mc_circulant_way way;
    int64_t rows;
    const void *x; /* [rows, ldx], of which the first q b (transposed: p b) of each row are read */
    int64_t ldx;
    const void *packed; /* of pack() for this c and way */
    void *y;            /* [rows, ldy]; p b (q b) of each row are written */
    int64_t ldy;
    struct mc_epilogue
        epilogue; /* zeroed: none; bias is per element of y; residual has row stride ldy */
};

/* dcol[i, j, k] = sum over rows and over (r, c) with (r - c) mod b = k of dy[row, i b + r] x[row, j b + c]: the gradient of
 * the columns where y = W x. The transposed product's is the same with x and dy exchanged. */
struct mc_circulant_gradient {
    struct mc_circulant c; /* transposed: false */
    enum mc_circulant_way way;
    int64_t rows;
    const void *dy; /* [rows, lddy >= p b] */
    int64_t lddy;
    const void *x; /* [rows, ldx >= q b] */
    int64_t ldx;
    void *dcol; /* [p, q, b] */
};

/* Convolution, NC(D)HW, whose weight is block-circulant over channels for each tap: conv.c = q b, conv.oc = p b, group 1;
 * columns are [p, q, b, kernel…]. */
struct mc_circulant_conv {
    struct mc_circulant c; /* transposed: false */
    struct mc_conv conv;   /* packed_w is not used */
    const void *packed;    /* of conv_pack() */
};

/* A transform spreads what it is given: NaN and infinity in a row of x reach all of that row of y, and by the FFT, which takes
 * two rows at a time, the neighbour's; errors are relative to the larger of the two.
 *
 * Elements are of the table's type. Each way may be asked for at any size; a table that lacks one (ref) computes by the
 * definition. Sums are made in an order fixed by the shapes, so bits are the same for any number of threads and from run
 * to run on one kind of CPU: nothing is timed, plans of transforms are chosen by their size. */
struct mc_circulant_kernels {
    /* The way that is fastest here for so many rows; see the body for what that was measured on. */
    enum mc_circulant_way (*choose)(const struct mc_circulant *c, int64_t rows);
    /* Columns [p, q, b] made ready for a way, once per weight; packed is 64-byte aligned. Cost: DENSE p q b^2, else a
     * transform of each column. */
    size_t (*pack_bytes)(const struct mc_circulant *c, enum mc_circulant_way way);
    void (*pack)(const struct mc_circulant *c, enum mc_circulant_way way, const void *col,
                 void *packed, struct mc_pool *pool);
    /* scratch: scratch_bytes(…) bytes, 64-byte aligned. */
    size_t (*scratch_bytes)(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                            int threads);
    void (*run)(const struct mc_circulant_product *m, void *scratch, struct mc_pool *pool);
    enum mc_circulant_way (*choose_gradient)(const struct mc_circulant *c, int64_t rows);
    size_t (*gradient_scratch_bytes)(const struct mc_circulant *c, enum mc_circulant_way way,
                                     int64_t rows, int threads);
    void (*gradient)(const struct mc_circulant_gradient *g, void *scratch, struct mc_pool *pool);
    /* By the DFT over channels where that is faster than the dense convolution of the weight expanded, which else runs.
     * Sizes and shapes are read from m; pointers are not. */
    size_t (*conv_pack_bytes)(const struct mc_circulant_conv *m);
    void (*conv_pack)(const struct mc_circulant_conv *m, const void *col, void *packed,
                      struct mc_pool *pool);
    size_t (*conv_scratch_bytes)(const struct mc_circulant_conv *m, int threads);
    void (*conv_run)(const struct mc_circulant_conv *m, void *scratch, struct mc_pool *pool);
    /* Of devices alone: W [p b, q b, taps] from its columns [p, q, b, taps], and sums of a W along wrapped diagonals. */
    void (*expand)(const struct mc_circulant *c, int64_t taps, const void *col, void *w,
                   struct mc_pool *pool);
    void (*fold)(const struct mc_circulant *c, int64_t taps, const void *w, void *col,
                 struct mc_pool *pool);
};

/* Whether a convolution of `taps` taps, from so many pixels to so many, goes by the DFT over channels, and the
 * multiply-accumulates of an image then. */
bool mc_circulant_conv_pays(const struct mc_circulant *c, int64_t taps, int64_t before,
                            int64_t behind);
double mc_circulant_conv_macs(const struct mc_circulant *c, int64_t taps, int64_t before,
                              int64_t behind);

/* W [p b, q b] row by row from its columns [p, q, b]. transposed is ignored. */
void mc_circulant_expand(const struct mc_circulant *c, const float *col, float *w, int64_t ldw);
/* The columns nearest to a W in least squares: means along wrapped diagonals, summed in double. */
void mc_circulant_project(const struct mc_circulant *c, const float *w, int64_t ldw, float *col);

#endif
