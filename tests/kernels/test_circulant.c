/* What products with block-circulant matrices are by their nature, for each way and level. Beside the definition they are tested by
 * check_circulant.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/fourier.h"
#include "kernels/kernels.h"

static const char *const levels[] = {"ref", "plain", "avx2", "avx512"};
static const struct mc_circulant shapes[] = {
    {3, 2, 8, false},  {1, 1, 1, false},   {5, 7, 1, false},   {2, 3, 2, false}, {1, 1, 17, false},
    {4, 4, 16, true},  {20, 3, 15, false}, {1, 3, 49, true},   {2, 1, 64, true}, {2, 2, 128, false},
    {1, 2, 260, true}, {1, 1, 1024, true}, {40, 40, 4, false},
};
enum { LEVELS = 4, SHAPES = sizeof shapes / sizeof shapes[0], ROWS = 37 };

static float *make(size_t n, uint64_t stream)
{
    float *x = mc_alloc_aligned(n * sizeof *x);
    assert_non_null(x);
    if (stream)
        mc_rng_fill_normal(17, stream, 0, x, n);
    return x;
}

static int64_t in_of(const struct mc_circulant *c)
{
    return (c->transposed ? c->p : c->q) * c->b;
}

static int64_t out_of(const struct mc_circulant *c)
{
    return (c->transposed ? c->q : c->p) * c->b;
}

/* y [rows, out] = W x, dense arrays. */
static void multiply(const struct mc_kernels *k, const struct mc_circulant *c,
                     enum mc_circulant_way way, int64_t rows, const float *col, const float *x,
                     float *y)
{
    void *packed = mc_alloc_aligned(k->circulant.pack_bytes(c, way));
    void *scratch = mc_alloc_aligned(k->circulant.scratch_bytes(c, way, rows, 1));
    assert_non_null(packed);
    assert_non_null(scratch);
    k->circulant.pack(c, way, col, packed, NULL);
    struct mc_circulant_product m = {.c = *c,
                                     .way = way,
                                     .rows = rows,
                                     .x = x,
                                     .ldx = in_of(c),
                                     .packed = packed,
                                     .y = y,
                                     .ldy = out_of(c)};
    k->circulant.run(&m, scratch, NULL);
    free(packed);
    free(scratch);
}

static void each(void (*test)(const struct mc_kernels *k, const struct mc_circulant *c,
                              enum mc_circulant_way way))
{
    for (int l = 0; l < LEVELS; l++) {
        const struct mc_kernels *k = mc_kernels_get(levels[l], 4);
        for (int s = 0; k && s < SHAPES; s++) {
            int last = l == 0 ? MC_CIRCULANT_DENSE : MC_CIRCULANT_FFT; /* ref has one way */
            for (int way = MC_CIRCULANT_DENSE; way <= last; way++)
                test(k, &shapes[s], (enum mc_circulant_way)way);
        }
    }
}

static void near(const char *what, const float *got, const float *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
            fail_msg("%s: element %zu is %g, not %g", what, i, (double)got[i], (double)want[i]);
    }
}

/* Element 0 of block j gives the first columns of blocks (., j), element s those turned by s. */
static void impulse(const struct mc_kernels *k, const struct mc_circulant *c,
                    enum mc_circulant_way way)
{
    int64_t in = in_of(c), out = out_of(c), b = c->b, rows = in < ROWS ? in : ROWS;
    float *col = make((size_t)(c->p * c->q * b), 1), *y = make((size_t)(rows * out), 0);
    float *x = make((size_t)(rows * in), 0);
    memset(x, 0, (size_t)(rows * in) * sizeof *x);
    for (int64_t r = 0; r < rows; r++)
        x[r * in + r * in / rows] = 1;
    multiply(k, c, way, rows, col, x, y);
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r * in / rows, j = at / b, s = at % b;
        for (int64_t t = 0; t < out; t++) {
            int64_t i = t / b, turn = c->transposed ? s - t % b : t % b - s;
            float want = col[((c->transposed ? j * c->q + i : i * c->q + j) * b + (turn + b) % b)];
            near("response to an impulse", &y[r * out + t], &want, 1, 2e-6);
        }
    }
    free(col);
    free(x);
    free(y);
}

static void impulses(void **state)
{
    (void)state;
    each(impulse);
}

/* W(2 x - z) = 2 W x - W z, and (C + D) x = C x + D x. */
static void linear(const struct mc_kernels *k, const struct mc_circulant *c,
                   enum mc_circulant_way way)
{
    size_t nx = (size_t)(ROWS * in_of(c)), ny = (size_t)(ROWS * out_of(c));
    size_t nc = (size_t)(c->p * c->q * c->b);
    float *x = make(nx, 2), *z = make(nx, 3), *col = make(nc, 4), *more = make(nc, 5);
    float *yx = make(ny, 0), *yz = make(ny, 0), *y = make(ny, 0);
    multiply(k, c, way, ROWS, col, x, yx);
    multiply(k, c, way, ROWS, col, z, yz);
    for (size_t i = 0; i < nx; i++)
        z[i] = 2 * x[i] - z[i];
    multiply(k, c, way, ROWS, col, z, y);
    double tolerance = 4e-6 * sqrt((double)in_of(c)) * 6;
    for (size_t i = 0; i < ny; i++)
        yz[i] = 2 * yx[i] - yz[i];
    near("a product of a sum", y, yz, ny, tolerance);
    multiply(k, c, way, ROWS, more, x, yz);
    for (size_t i = 0; i < nc; i++)
        col[i] += more[i];
    multiply(k, c, way, ROWS, col, x, y);
    for (size_t i = 0; i < ny; i++)
        yz[i] += yx[i];
    near("a sum of products", y, yz, ny, tolerance);
    float *all[] = {x, z, col, more, yx, yz, y};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void linearity(void **state)
{
    (void)state;
    each(linear);
}

/* The gradient of sum(dy . W x) over columns is what a column changes it by, and dy . W x = W^T dy . x. */
static void adjoint(const struct mc_kernels *k, const struct mc_circulant *c,
                    enum mc_circulant_way way)
{
    struct mc_circulant forth = *c, back = *c;
    forth.transposed = false;
    back.transposed = true;
    size_t nx = (size_t)(ROWS * in_of(&forth)), ny = (size_t)(ROWS * out_of(&forth));
    size_t nc = (size_t)(c->p * c->q * c->b);
    float *x = make(nx, 6), *dy = make(ny, 7), *col = make(nc, 8);
    float *y = make(ny, 0), *dx = make(nx, 0), *dcol = make(nc, 0);
    multiply(k, &forth, way, ROWS, col, x, y);
    multiply(k, &back, way, ROWS, col, dy, dx);
    void *scratch = mc_alloc_aligned(k->circulant.gradient_scratch_bytes(&forth, way, ROWS, 1));
    assert_non_null(scratch);
    struct mc_circulant_gradient g = {forth, way, ROWS, dy, out_of(&forth), x, in_of(&forth), dcol};
    k->circulant.gradient(&g, scratch, NULL);
    double product = 0, transposed = 0, by_columns = 0, size = 0;
    for (size_t i = 0; i < ny; i++) {
        product += (double)dy[i] * (double)y[i];
        size += fabs((double)dy[i] * (double)y[i]);
    }
    for (size_t i = 0; i < nx; i++)
        transposed += (double)dx[i] * (double)x[i];
    for (size_t i = 0; i < nc; i++)
        by_columns += (double)dcol[i] * (double)col[i];
    if (!(fabs(transposed - product) <= 3e-6 * size) ||
        !(fabs(by_columns - product) <= 3e-6 * size))
        fail_msg("%s b %d way %d: dy W x is %g, x W' dy %g, gradient times columns %g", k->name,
                 (int)c->b, (int)way, product, transposed, by_columns);
    free(scratch);
    float *all[] = {x, dy, col, y, dx, dcol};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void adjoints(void **state)
{
    (void)state;
    each(adjoint);
}

/* The nearest columns: what is left is orthogonal to every circulant, so no other columns come nearer. */
static void projection(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const struct mc_circulant *c = &shapes[s];
        int64_t rows = c->p * c->b, cols = c->q * c->b, ld = cols + 3, nc = c->p * c->q * c->b;
        float *w = make((size_t)(rows * ld), 9), *near_w = make((size_t)(rows * ld), 0);
        float *col = make((size_t)nc, 0), *again = make((size_t)nc, 0),
              *other = make((size_t)nc, 10);
        mc_circulant_project(c, w, ld, col);
        mc_circulant_expand(c, col, near_w, ld);
        mc_circulant_project(c, near_w, ld, again);
        near("columns projected again", again, col, (size_t)nc, 1e-6);
        float *dense = make((size_t)(rows * ld), 0);
        mc_circulant_expand(c, other, dense, ld);
        double dot = 0, size = 0;
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t i = r * ld; i < r * ld + cols; i++) {
                dot += ((double)w[i] - (double)near_w[i]) * (double)dense[i];
                size += fabs((double)w[i] * (double)dense[i]);
            }
        }
        assert_true(fabs(dot) <= 1e-6 * size);
        if (c->b == 1)
            near("blocks of 1", col, near_w, 1, 0);
        float *all[] = {w, near_w, col, again, other, dense};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            free(all[i]);
    }
}

/* Blocks of one are the matrix itself. */
static void blocks_of_one(void **state)
{
    (void)state;
    struct mc_circulant c = {13, 9, 1, false};
    float *w = make(13 * 9, 11), *col = make(13 * 9, 0);
    mc_circulant_project(&c, w, 9, col);
    assert_memory_equal(w, col, 13 * 9 * sizeof *w);
    mc_circulant_expand(&c, w, col, 9);
    assert_memory_equal(w, col, 13 * 9 * sizeof *w);
    for (int l = 0; l < LEVELS; l++) {
        const struct mc_kernels *k = mc_kernels_get(levels[l], 4);
        assert_true(!k || k->circulant.choose(&c, 8) == MC_CIRCULANT_DENSE);
    }
    free(w);
    free(col);
}

/* One plan a length, and a transform there and back. */
static void transforms(void **state)
{
    (void)state;
    static const int lengths[] = {1, 2, 3, 8, 17, 100, 128, 129, 1000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int64_t n = lengths[i], step = mc_fourier_step(n), count = 11;
        const struct mc_fourier *f = mc_fourier_get(n);
        assert_ptr_equal(f, mc_fourier_get(n));
        size_t all = (size_t)(count * step);
        float *x = make(all, 12), *s = make(all, 0), *y = make(all, 0);
        mc_fourier_forward_all(f, count, x, s);
        mc_fourier_inverse_all(f, count, s, y);
        for (int64_t t = 0; t < count; t++) {
            double dc = 0;
            for (int64_t j = 0; j < n; j++)
                dc += x[t * step + 2 * j];
            assert_true(fabs(dc - s[t * step]) <= 1e-5 * sqrt((double)n));
            for (int64_t j = 0; j < 2 * n; j++)
                y[t * step + j] /= (float)n;
            near("there and back", y + t * step, x + t * step, (size_t)(2 * n), 3e-6);
        }
        memcpy(y, x, (size_t)(2 * n) * sizeof *y);
        mc_fourier_forward_here(f, y);
        near("in place", y, s, (size_t)(2 * n), 1e-5 * sqrt((double)n));
        free(x);
        free(s);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impulses),   cmocka_unit_test(linearity),     cmocka_unit_test(adjoints),
        cmocka_unit_test(projection), cmocka_unit_test(blocks_of_one), cmocka_unit_test(transforms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
