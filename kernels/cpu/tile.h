/* The one inner loop of all products: a small tile of C, summed over k in registers.
 *
 *     C[i,j] = A[i,:] B[:,j]        i < rows, j < cols
 * A is read element by element, B vector by vector from panels of PANEL columns: (p,j) of a panel is
 * b[p*PANEL + j]; the panels of a wide tile are panel_step elements apart. Which side holds the weights is
 * the caller's affair. */
#ifndef MC_KERNELS_CPU_TILE_H
#define MC_KERNELS_CPU_TILE_H

#include <stdint.h>

#include "kernels/cpu/vec.h"

enum {
    TILE_ROWS = MC_LEVEL == 5   ? 12
                : MC_LEVEL == 2 ? 6
                                : 4, /* at most */
    PANEL = 2 * LANES,
    WIDE_SUMS = MC_LEVEL == 5 ? 16 : 8, /* registers for sums in tiles of several panels */
};

/* y = clamp(alpha * sum + row_bias + col_bias + prior). A long sum is cut into blocks of k: the first has
 * the residual as prior, the others what is in C; the last one clamps. */
struct mc_tile_store {
    float *c;
    int64_t c_row; /* elements between rows of c and of prior */
    float alpha;
    const float *row_bias, *col_bias,
        *prior;   /* at the tile's first element; or NULL. prior may be c */
    float lo, hi; /* -inf and inf: no clamp */
};

/* A[i,p] = a[i*a_row + p*a_col]; one of the two strides is 1. */
struct mc_tile_in {
    const float *a, *b;
    int64_t k, a_row, a_col, panel_step;
};

/* How many panels one tile of so many rows may span: few rows alone cannot keep the FMA units busy. */
static inline int tile_panels(int rows)
{
    return rows * 8 <= WIDE_SUMS ? 4 : rows * 4 <= WIDE_SUMS ? 2 : 1;
}

/* 1 <= rows <= TILE_ROWS. cols decide how many panels are read, whole: 1, 2 (if more than PANEL) or 4 (if
 * more than 2 PANEL), at most tile_panels(rows). Of c, prior and the biases only rows x cols are touched. */
void MC_CPU(mc_tile)(const struct mc_tile_in *in, int rows, int cols,
                     const struct mc_tile_store *s);

#endif
