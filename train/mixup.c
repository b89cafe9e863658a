#include "train/mixup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/augment.h"

/* Logarithm of a draw from Gamma(a, 1), as small ones underflow; draw number `index` of `stream` and
 * attempts behind it.
 * Source: Marsaglia, Tsang, A Simple Method for Generating Gamma Variables, 2000; for a < 1 its section 6. */
static double log_gamma_draw(double a, uint64_t seed, uint64_t stream, uint64_t index)
{
    enum { ATTEMPTS = 64 }; /* one fails with probability under 0.05 */
    double d = (a < 1 ? a + 1 : a) - 1.0 / 3, c = 1 / sqrt(9 * d), boost = 0, v = 1;
    if (a < 1) {
        uint32_t w[4];
        mc_rng_words(seed, stream, index * (ATTEMPTS + 1) + ATTEMPTS, w);
        boost = log(((double)w[0] + 0.5) * 0x1p-32) / a;
    }
    for (uint64_t k = 0; k < ATTEMPTS; k++) {
        uint64_t at = index * (ATTEMPTS + 1) + k;
        uint32_t w[4];
        mc_rng_words(seed, stream, at, w);
        /* The deviate is made of the first two words. */
        double u = ((double)w[3] + 0.5) * 0x1p-32, x = mc_rng_normal(seed, stream, at);
        v = pow(1 + c * x, 3);
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            break;
    }
    return log(d) + log(v > 0 ? v : 1) + boost;
}

double mc_mixup_beta(double a, uint64_t seed, uint64_t stream, uint64_t index)
{
    double x = log_gamma_draw(a, seed, stream, 2 * index);
    double y = log_gamma_draw(a, seed, stream, 2 * index + 1);
    return 1 / (1 + exp(y - x));
}

static void blend(struct mc_array *x, const void *old, int64_t n, const int64_t *partner,
                  const double *t)
{
    int64_t each = mc_shape_count(&x->shape) / n;
    for (int64_t i = 0; i < n; i++) {
        int64_t a = i * each, b = partner[i] * each;
        if (x->dtype == MC_DTYPE_F32) {
            float *y = (float *)x->data + a, s = (float)t[i];
            const float *p = (const float *)old + a, *q = (const float *)old + b;
            for (int64_t j = 0; j < each; j++)
                y[j] = s * p[j] + (1 - s) * q[j];
        } else {
            double *y = (double *)x->data + a;
            const double *p = (const double *)old + a, *q = (const double *)old + b;
            for (int64_t j = 0; j < each; j++)
                y[j] = t[i] * p[j] + (1 - t[i]) * q[j];
        }
    }
}

static int mix_labels(const struct mc_batch *b, const int64_t *partner, const double *t,
                      float *probs, int64_t classes, struct mc_err *err)
{
    memset(probs, 0, (size_t)(b->n * classes) * sizeof *probs);
    for (int64_t i = 0; i < b->n; i++) {
        int64_t y = b->labels[i], z = b->labels[partner[i]];
        if (y < 0 || y >= classes)
            return mc_fail(err, MC_EDATA,
                           "label %lld of sample %lld is none of the %lld classes of the output",
                           (long long)y, (long long)b->index[i], (long long)classes);
        if (z < 0 || z >= classes)
            continue; /* told when its own turn comes */
        probs[i * classes + y] += (float)t[i];
        probs[i * classes + z] += (float)(1 - t[i]);
    }
    return 0;
}

int mc_mixup(double alpha, uint64_t seed, int64_t epoch, int64_t first, struct mc_batch *b,
             float *probs, int64_t classes, struct mc_err *err)
{
    size_t n = (size_t)b->n;
    int64_t *partner = mc_calloc(n, sizeof *partner);
    double *t = mc_calloc(n, sizeof *t);
    int rc = partner && t ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < n; i++) {
        uint64_t at = (uint64_t)first + i;
        partner[i] = mc_rng_below(seed, mc_feed_stream(epoch, MC_FEED_PARTNER), at, (uint32_t)n);
        t[i] = mc_mixup_beta(alpha, seed, mc_feed_stream(epoch, MC_FEED_MIXUP), at);
    }
    for (int k = 0; !rc && n && k < b->n_arrays; k++) {
        struct mc_array *x = &b->arrays[k];
        if (x->dtype != MC_DTYPE_F32 && x->dtype != MC_DTYPE_F64)
            continue;
        void *old = mc_alloc_aligned(x->bytes);
        if (old) {
            memcpy(old, x->data, x->bytes);
            blend(x, old, b->n, partner, t);
        } else {
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        }
        free(old);
    }
    if (!rc && probs)
        rc = mix_labels(b, partner, t, probs, classes, err);
    free(partner);
    free(t);
    return rc;
}
