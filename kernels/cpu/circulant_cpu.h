/* What the ways of circulant products share. */
#ifndef MC_KERNELS_CPU_CIRCULANT_CPU_H
#define MC_KERNELS_CPU_CIRCULANT_CPU_H

#include "kernels/circulant.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/tile.h"

/* Blocks of x, of y. */
static inline int64_t circulant_in(const struct mc_circulant *c)
{
    return c->transposed ? c->p : c->q;
}

static inline int64_t circulant_out(const struct mc_circulant *c)
{
    return c->transposed ? c->q : c->p;
}

/* The column of block (o, i) of the product. */
static inline const float *circulant_col(const struct mc_circulant *c, const float *col, int64_t o,
                                         int64_t i)
{
    return col + (c->transposed ? i * c->q + o : o * c->q + i) * c->b;
}

/* Floats rounded up to a cache line. */
static inline int64_t circulant_line(int64_t floats)
{
    return ceil_div(floats, 16) * 16;
}

/* A panel is [cols][PANEL], a lane per column of it. to[c, l] = from[l][c] for lanes l < n; the rest of the last vector
 * of lanes is 0. */
void MC_CPU(mc_circulant_gather)(const float *const *from, int n, int64_t cols, float *to);

/* to[l][c] = act(panel[c, l] + bias[l][c] + to's residual). */
struct mc_circulant_scatter {
    float *to[PANEL];
    const float *bias[PANEL], *residual[PANEL]; /* all of one kind NULL, or none */
    int n;
    int64_t cols;
    const struct mc_epilogue *epilogue; /* of which the activation is taken */
};
void MC_CPU(mc_circulant_scatter)(const float *panel, const struct mc_circulant_scatter *s);

/* z[o, lane] (+)= sum over n terms of w[term, o] x[term, lane]: complex numbers in two arrays, or with xi NULL real ones. */
struct mc_circulant_mix {
    int64_t n;
    const float *xr, *xi;
    int64_t x_step; /* from term to term */
    const float *wr, *wi;
    int64_t w_step; /* from term to term; outputs are adjacent */
    float *zr, *zi;
    int64_t z_step; /* from output to output */
    bool conjugate; /* of x */
    bool add;
};
/* lanes <= PANEL; whole vectors of x are read. */
void MC_CPU(mc_circulant_mix)(const struct mc_circulant_mix *m, int64_t outputs, int lanes);

/* The real DFT of length b as a matrix, in half-complex order: element k <= b/2 of a spectrum is the real part at frequency
 * k, element b - k the imaginary part there. */
int64_t MC_CPU(mc_circulant_matrix_floats)(int64_t b);
/* PAIRED: frequency 0, b/2 if b is even, then real and imaginary part of each other one. */
enum circulant_matrix {
    MC_CIRCULANT_HALF,
    MC_CIRCULANT_HALF_INVERSE,
    MC_CIRCULANT_PAIRED,
    MC_CIRCULANT_PAIRED_INVERSE,
};
void MC_CPU(mc_circulant_matrix_pack)(int64_t b, enum circulant_matrix which, float *packed);
/* y[row, lane] = sum of matrix[row, c] panel[c, lane]; rows of y are y_step apart. */
void MC_CPU(mc_circulant_matrix_run)(int64_t b, const float *packed, const float *panel, int lanes,
                                     float *y, int64_t y_step);

/* The ways. */
size_t MC_CPU(mc_circulant_dft_bytes)(const struct mc_circulant *c);
void MC_CPU(mc_circulant_dft_pack)(const struct mc_circulant *c, const float *col, float *packed,
                                   struct mc_pool *pool);
size_t MC_CPU(mc_circulant_dft_scratch)(const struct mc_circulant *c, int64_t rows, int threads);
void MC_CPU(mc_circulant_dft_run)(const struct mc_circulant_product *m, float *scratch,
                                  struct mc_pool *pool);
size_t MC_CPU(mc_circulant_dft_gradient_scratch)(const struct mc_circulant *c, int64_t rows,
                                                 int threads);
void MC_CPU(mc_circulant_dft_gradient)(const struct mc_circulant_gradient *g, float *scratch,
                                       struct mc_pool *pool);
size_t MC_CPU(mc_circulant_fft_bytes)(const struct mc_circulant *c);
void MC_CPU(mc_circulant_fft_pack)(const struct mc_circulant *c, const float *col, float *packed,
                                   struct mc_pool *pool);
size_t MC_CPU(mc_circulant_fft_scratch)(const struct mc_circulant *c, int64_t rows, int threads);
void MC_CPU(mc_circulant_fft_run)(const struct mc_circulant_product *m, float *scratch,
                                  struct mc_pool *pool);
size_t MC_CPU(mc_circulant_fft_gradient_scratch)(const struct mc_circulant *c, int64_t rows,
                                                 int threads);
void MC_CPU(mc_circulant_fft_gradient)(const struct mc_circulant_gradient *g, float *scratch,
                                       struct mc_pool *pool);
size_t MC_CPU(mc_circulant_conv_bytes)(const struct mc_circulant_conv *m);
void MC_CPU(mc_circulant_conv_pack)(const struct mc_circulant_conv *m, const void *col,
                                    void *packed, struct mc_pool *pool);
size_t MC_CPU(mc_circulant_conv_scratch)(const struct mc_circulant_conv *m, int threads);
void MC_CPU(mc_circulant_conv_run)(const struct mc_circulant_conv *m, void *scratch,
                                   struct mc_pool *pool);

#endif
