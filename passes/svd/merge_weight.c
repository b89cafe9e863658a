#include "passes/svd/merge_weight.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"

static const float HALF_MAX = 65504; /* IEEE 754 binary16 */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t n;
    return mc_size_mul((size_t)rows, (size_t)cols, &n) ? mc_calloc(n, sizeof(float)) : NULL;
}

static bool holds(enum mc_dtype dtype, const float *x, int64_t n)
{
    float most = dtype == MC_DTYPE_F16 ? HALF_MAX : FLT_MAX;
    bool ok = true;
    for (int64_t i = 0; i < n; i++)
        ok = ok && fabsf(x[i]) <= most;
    return ok;
}

static int make(const float *x, const struct mc_shape *shape, enum mc_dtype dtype,
                struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    *ret = NULL;
    return holds(dtype, x, mc_shape_count(shape))
               ? mc_constant_make(x, shape, dtype, spill, ret, err)
               : 0;
}

/* ---- convolutions ---- */

/* Tap number `at` of a window as coordinates. */
static void tap(const int64_t *kernel, int axes, int64_t at, int64_t *ret)
{
    for (int d = axes - 1; d >= 0; d--) {
        ret[d] = at % kernel[d];
        at /= kernel[d];
    }
}

/* Where taps i of the first and j of the second window meet: along each axis one of them is 0. */
static int64_t meeting(const struct mc_layer *first, const struct mc_layer *second,
                       const struct mc_merge_window *both, int64_t i, int64_t j)
{
    int64_t a[MC_RANK_MAX], b[MC_RANK_MAX], at = 0;
    tap(first->weight->shape.dim + 2, both->axes, i, a);
    tap(second->weight->shape.dim + 2, both->axes, j, b);
    for (int d = 0; d < both->axes; d++)
        at = at * both->kernel[d] + a[d] + b[d];
    return at;
}

/* W [m, c, taps of both] = sum over r of W2 [m, r, its taps] W1 [r, c, its taps]. */
static int convolve(struct mc_linalg *la, const struct mc_layer *first,
                    const struct mc_layer *second, const float *w1, const float *w2,
                    const struct mc_merge_window *both, float *ret, struct mc_err *err)
{
    int64_t m = second->m, r = first->m, n1 = first->n, k2 = second->n / r;
    int64_t channels = first->weight->shape.dim[1], k1 = n1 / channels, k = 1;
    for (int d = 0; d < both->axes; d++)
        k *= both->kernel[d];
    float *some = floats(m, r), *product = floats(m, n1);
    int rc = some && product ? 0 : no_memory(err);
    for (int64_t j = 0; !rc && j < k2; j++) {
        for (int64_t i = 0; i < m * r; i++)
            some[i] = w2[i * k2 + j];
        rc = mc_linalg_gemm(la, 'n', 'n', m, n1, r, 1, some, r, w1, n1, 0, product, n1, err);
        for (int64_t i = 0; !rc && i < k1; i++) {
            int64_t at = meeting(first, second, both, i, j);
            for (int64_t row = 0; row < m * channels; row++)
                ret[row * k + at] = product[row * k1 + i];
        }
    }
    free(some);
    free(product);
    return rc;
}

static struct mc_shape conv_shape(const struct mc_layer *first, const struct mc_layer *second,
                                  const struct mc_merge_window *both)
{
    struct mc_shape s = first->weight->shape;
    s.dim[0] = second->m;
    for (int d = 0; d < both->axes; d++)
        s.dim[2 + d] = both->kernel[d];
    return s;
}

/* ---- matrices ---- */

/* As the second stores its own, or, behind a table, as a table. */
static struct mc_shape matrix_shape(const struct mc_layer *first, const struct mc_layer *second,
                                    bool out_major)
{
    struct mc_shape s = second->weight->shape;
    if (out_major)
        s.dim[s.rank - 1] = first->n;
    else
        s.dim[0] = first->n;
    return s;
}

static void transpose(const float *x, int64_t rows, int64_t cols, float *ret)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            ret[j * rows + i] = x[i * cols + j];
}

static int multiply(struct mc_linalg *la, const struct mc_layer *first,
                    const struct mc_layer *second, const float *w1, const float *w2, bool out_major,
                    float *ret, struct mc_err *err)
{
    int64_t m = second->m, n = first->n, r = second->n;
    float *whole = out_major ? ret : floats(m, n);
    int rc = whole ? mc_linalg_gemm(la, 'n', 'n', m, n, r, 1, w2, r, w1, n, 0, whole, n, err)
                   : no_memory(err);
    if (!rc && !out_major)
        transpose(whole, m, n, ret);
    if (!out_major)
        free(whole);
    return rc;
}

int mc_merge_weights(struct mc_linalg *la, const struct mc_layer *first,
                     const struct mc_layer *second, float scale, const struct mc_merge_window *both,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    bool conv = second->kind == MC_LAYER_CONV;
    bool out_major = second->out_major && first->kind != MC_LAYER_TABLE;
    struct mc_shape shape =
        conv ? conv_shape(first, second, both) : matrix_shape(first, second, out_major);
    int64_t count = mc_shape_count(&shape);
    float *w1 = NULL, *w2 = NULL, *w = floats(count, 1);
    int rc = w ? mc_layer_read(first, &w1, err) : no_memory(err);
    if (!rc)
        rc = mc_layer_read(second, &w2, err);
    if (!rc)
        rc = conv ? convolve(la, first, second, w1, w2, both, w, err)
                  : multiply(la, first, second, w1, w2, out_major, w, err);
    for (int64_t i = 0; !rc && scale != 1 && i < count; i++)
        w[i] *= scale;
    if (!rc)
        rc = make(w, &shape, second->weight->dtype, spill, ret, err);
    free(w1);
    free(w2);
    free(w);
    return rc;
}

static int as_f32(const struct mc_tensor *t, float **ret, struct mc_err *err)
{
    size_t n = (size_t)mc_tensor_count(t);
    *ret = mc_calloc(n, sizeof **ret);
    return *ret ? mc_dtype_to_f32(t->dtype, t->data, *ret, n, err) : no_memory(err);
}

int mc_merge_product(struct mc_linalg *la, const struct mc_tensor *a, const struct mc_tensor *b,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err)
{
    int64_t parts = a->shape.dim[0], m = a->shape.dim[1], r = a->shape.dim[2], n = b->shape.dim[2];
    struct mc_shape shape = mc_shape_of(3, (int64_t[]){parts, m, n});
    float *x = NULL, *y = NULL, *w = floats(parts * m, n);
    int rc = w ? as_f32(a, &x, err) : no_memory(err);
    if (!rc)
        rc = as_f32(b, &y, err);
    for (int64_t p = 0; !rc && p < parts; p++)
        rc = mc_linalg_gemm(la, 'n', 'n', m, n, r, 1, x + p * m * r, r, y + p * r * n, n, 0,
                            w + p * m * n, n, err);
    if (!rc)
        rc = make(w, &shape, a->dtype, spill, ret, err);
    free(x);
    free(y);
    free(w);
    return rc;
}

int mc_merge_bias(const struct mc_layer *second, const float *b1, float *ret, struct mc_err *err)
{
    float *w;
    int rc = mc_layer_read(second, &w, err);
    if (rc)
        return rc;
    int64_t taps = second->kind == MC_LAYER_CONV ? second->n / second->weight->shape.dim[1] : 1;
    for (int64_t i = 0; i < second->m; i++) {
        double sum = 0;
        for (int64_t j = 0; j < second->n; j++)
            sum += (double)w[i * second->n + j] * b1[j / taps];
        ret[i] = (float)sum;
    }
    free(w);
    return 0;
}
