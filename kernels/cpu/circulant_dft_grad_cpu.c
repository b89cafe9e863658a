/* The gradient of circulant columns by transforms that are products with matrices: the spectrum of dcol is the sum over rows of
 * dy's times the conjugate of x's. Lanes are blocks of rows; so a frequency of a tile is two matrices [rows, blocks], as the
 * inner loop takes them. */
#include <string.h>

#include "kernels/cpu/circulant_cpu.h"

enum { TILE_FLOATS = 1 << 18, LEAST_ROWS = 64, MOST_ROWS = 256 };

struct grad_job {
    const struct mc_circulant_gradient *g;
    int64_t p, q, b, tile;          /* tile: rows at a time */
    int64_t first, rows;            /* of this tile */
    int64_t x_step, y_step, d_step; /* floats from frequency to frequency */
    float *matrix, *inverse, *x, *y, *d, *panels;
    int64_t panel; /* floats of two panels */
};

static int64_t lanes_floats(int64_t lanes)
{
    return ceil_div(lanes, PANEL) * PANEL + PANEL; /* a vector may start at any lane */
}

/* Floats in all; pointers too if there is scratch. */
static int64_t lay(struct grad_job *j, const struct mc_circulant *c, int64_t rows, int threads,
                   float *scratch)
{
    j->p = c->p;
    j->q = c->q;
    j->b = c->b;
    int64_t fit = TILE_FLOATS / ((j->p + j->q) * j->b) / 8 * 8;
    j->tile = min64(max64(1, rows), min64(MOST_ROWS, max64(LEAST_ROWS, fit)));
    j->x_step = lanes_floats(j->tile * j->q);
    j->y_step = lanes_floats(j->tile * j->p);
    j->d_step = lanes_floats(j->p * j->q);
    j->panel = 2 * j->b * PANEL;
    int64_t matrix = MC_CPU(mc_circulant_matrix_floats)(j->b);
    int64_t x = j->b * j->x_step, y = j->b * j->y_step, d = j->b * j->d_step;
    if (scratch) {
        j->matrix = scratch;
        j->inverse = j->matrix + matrix;
        j->x = j->inverse + matrix;
        j->y = j->x + x;
        j->d = j->y + y;
        j->panels = j->d + d;
    }
    return 2 * matrix + x + y + d + j->panel * threads;
}

size_t MC_CPU(mc_circulant_dft_gradient_scratch)(const struct mc_circulant *c, int64_t rows,
                                                 int threads)
{
    struct grad_job j;
    return (size_t)lay(&j, c, rows, threads, NULL) * sizeof(float);
}

/* The panels of x, then those of dy. */
static void transform(void *ctx, int64_t chunk, int worker)
{
    const struct grad_job *j = ctx;
    const struct mc_circulant_gradient *g = j->g;
    int64_t of_x = ceil_div(j->rows * j->q, PANEL);
    bool is_x = chunk < of_x;
    int64_t blocks = is_x ? j->q : j->p, ld = is_x ? g->ldx : g->lddy;
    int64_t l0 = (is_x ? chunk : chunk - of_x) * PANEL, step = is_x ? j->x_step : j->y_step;
    const float *src = (is_x ? g->x : g->dy), *from[PANEL];
    int n = (int)min64(PANEL, j->rows * blocks - l0);
    for (int l = 0; l < n; l++)
        from[l] = src + (j->first + (l0 + l) / blocks) * ld + (l0 + l) % blocks * j->b;
    float *panel = j->panels + worker * j->panel;
    MC_CPU(mc_circulant_gather)(from, n, j->b, panel);
    MC_CPU(mc_circulant_matrix_run)
    (j->b, j->matrix, panel, n, (is_x ? j->x : j->y) + l0, step);
}

/* One frequency. */
static void sum(void *ctx, int64_t k, int worker)
{
    (void)worker;
    const struct grad_job *j = ctx;
    bool real = k == 0 || 2 * k == j->b;
    int64_t mirror = real ? k : j->b - k;
    for (int64_t j0 = 0; j0 < j->q; j0 += PANEL) {
        struct mc_circulant_mix m = {
            .n = j->rows,
            .xr = j->x + k * j->x_step + j0,
            .xi = real ? NULL : j->x + mirror * j->x_step + j0,
            .x_step = j->q,
            .wr = j->y + k * j->y_step,
            .wi = j->y + mirror * j->y_step,
            .w_step = j->p,
            .zr = j->d + k * j->d_step + j0,
            .zi = j->d + mirror * j->d_step + j0,
            .z_step = j->q,
            .conjugate = true,
            .add = j->first > 0,
        };
        MC_CPU(mc_circulant_mix)(&m, j->p, (int)min64(PANEL, j->q - j0));
    }
}

static void back(void *ctx, int64_t chunk, int worker)
{
    const struct grad_job *j = ctx;
    static const struct mc_epilogue none;
    int64_t l0 = chunk * PANEL;
    struct mc_circulant_scatter s = {
        .n = (int)min64(PANEL, j->p * j->q - l0), .cols = j->b, .epilogue = &none};
    for (int l = 0; l < s.n; l++)
        s.to[l] = (float *)j->g->dcol + (l0 + l) * j->b;
    float *panel = j->panels + worker * j->panel, *columns = panel + j->b * PANEL;
    for (int64_t k = 0; k < j->b; k++)
        memcpy(panel + k * PANEL, j->d + k * j->d_step + l0, PANEL * sizeof *panel);
    MC_CPU(mc_circulant_matrix_run)(j->b, j->inverse, panel, s.n, columns, PANEL);
    MC_CPU(mc_circulant_scatter)(columns, &s);
}

void MC_CPU(mc_circulant_dft_gradient)(const struct mc_circulant_gradient *g, float *scratch,
                                       struct mc_pool *pool)
{
    struct grad_job j = {.g = g};
    lay(&j, &g->c, g->rows, mc_pool_threads(pool), scratch);
    MC_CPU(mc_circulant_matrix_pack)(j.b, MC_CIRCULANT_HALF, j.matrix);
    MC_CPU(mc_circulant_matrix_pack)(j.b, MC_CIRCULANT_HALF_INVERSE, j.inverse);
    for (; j.first < g->rows; j.first += j.tile) {
        j.rows = min64(j.tile, g->rows - j.first);
        mc_pool_run(pool, ceil_div(j.rows * j.q, PANEL) + ceil_div(j.rows * j.p, PANEL), transform,
                    &j);
        mc_pool_run(pool, j.b / 2 + 1, sum, &j);
    }
    mc_pool_run(pool, ceil_div(j.p * j.q, PANEL), back, &j);
}
