#include "passes/binarize/binarize_pack.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for signs of weights");
}

/* All elements as floats, for free(). */
static int read_all(const struct mc_tensor *t, int64_t n, float **ret, struct mc_err *err)
{
    float *x = NULL;
    int rc = mc_tensor_count(t) == n
                 ? 0
                 : mc_fail(err, MC_ESHAPE, "%lld elements where %lld are expected",
                           (long long)mc_tensor_count(t), (long long)n);
    if (!rc && !(x = mc_calloc((size_t)n + 1, sizeof *x)))
        rc = no_memory(err);
    if (!rc)
        rc = mc_dtype_to_f32((int)t->dtype, t->data, x, (size_t)n, err);
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}

static int check_finite(const char *name, const float *x, int64_t n, struct mc_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= FLT_MAX))
            return mc_fail(err, MC_EDATA, "element %lld of weight '%s' is %s", (long long)i, name,
                           isnan(x[i]) ? "NaN" : "infinite");
    return 0;
}

static void pack_row(const float *x, const struct mc_signs_of *of, int64_t row, const bool *flip,
                     int64_t each, uint8_t *bits, double *ret_sum)
{
    int64_t at = of->last ? row : row * of->n, step = of->last ? of->m : 1;
    double sum = 0;
    for (int64_t i = 0; i < of->n; i++, at += step) {
        bool negative = x[at] < 0;
        sum += fabs((double)x[at]);
        if (flip && flip[i / each])
            negative = !negative;
        if (!negative)
            bits[i / 8] |= (uint8_t)(1U << (i % 8));
    }
    *ret_sum = sum;
}

int mc_signs_pack(const char *name, const struct mc_tensor *w, const struct mc_signs_of *of,
                  const bool *flip, int64_t each, double by, struct mc_tensor **ret_bits,
                  struct mc_tensor **ret_scale, struct mc_err *err)
{
    const int64_t row = (of->n + 7) / 8, dims[2] = {of->m, row}, one[2] = {of->m, 1};
    const struct mc_shape shape = mc_shape_of(2, dims), scales = mc_shape_of(2, one);
    struct mc_tensor *bits = NULL, *scale = NULL;
    void *b, *s;
    float *x;
    int rc = read_all(w, of->m * of->n, &x, err);
    if (rc)
        return rc;
    rc = check_finite(name, x, of->m * of->n, err);
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_U8, &shape, NULL, &bits, &b, err);
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_F32, &scales, NULL, &scale, &s, err);
    for (int64_t i = 0; i < of->m && !rc; i++) {
        double sum;
        pack_row(x, of, i, flip, each, (uint8_t *)b + i * row, &sum);
        ((float *)s)[i] = (float)(sum / (double)of->n * by);
    }
    free(x);
    if (rc) {
        mc_tensor_unref(bits);
        mc_tensor_unref(scale);
        return rc;
    }
    *ret_bits = bits;
    *ret_scale = scale;
    return 0;
}

int mc_signs_unpack(const struct mc_tensor *bits, const struct mc_tensor *scale, int64_t n,
                    const struct mc_shape *shape, struct mc_spill *spill, struct mc_tensor **ret,
                    struct mc_err *err)
{
    int64_t m = mc_tensor_count(scale), row = (n + 7) / 8;
    struct mc_tensor *t;
    void *data;
    float *s;
    if (n < 1 || mc_tensor_count(bits) != m * row || mc_shape_count(shape) != m * n)
        return mc_fail(err, MC_ESHAPE,
                       "signs of %lld rows of %lld weights do not fit %lld elements", (long long)m,
                       (long long)n, (long long)mc_shape_count(shape));
    int rc = read_all(scale, m, &s, err);
    if (rc)
        return rc;
    rc = mc_tensor_new(MC_DTYPE_F32, shape, spill, &t, &data, err);
    for (int64_t i = 0; i < m && !rc; i++)
        for (int64_t j = 0; j < n; j++) {
            bool plus = bits->data[i * row + j / 8] >> (j % 8) & 1;
            ((float *)data)[i * n + j] = plus ? s[i] : -s[i];
        }
    free(s);
    if (!rc)
        *ret = t;
    return rc;
}

int mc_signs_error(const struct mc_tensor *w, const struct mc_signs_of *of, double *ret,
                   struct mc_err *err)
{
    double squares = 0, kept = 0;
    float *x;
    int rc = read_all(w, of->m * of->n, &x, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < of->m; i++) {
        double sum = 0;
        for (int64_t j = 0; j < of->n; j++) {
            double v = (double)x[of->last ? j * of->m + i : i * of->n + j];
            sum += fabs(v);
            squares += v * v;
        }
        kept += sum * sum / (double)of->n;
    }
    free(x);
    *ret = squares > 0 ? sqrt(fmax(1 - kept / squares, 0)) : 0;
    return 0;
}
