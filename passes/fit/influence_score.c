#include "passes/fit/influence_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static const double EVEN_SHARE = 0.1; /* see the header */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_score_new(const struct mc_value *const *outputs, size_t n, uint64_t seed,
                 struct mc_score *ret, struct mc_err *err)
{
    struct mc_score s = {.n = n, .seed = seed};
    s.out = mc_calloc(n, sizeof *s.out);
    if (!s.out)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        s.out[i].value = outputs[i];
    *ret = s;
    return 0;
}

void mc_score_free(struct mc_score *s)
{
    for (size_t i = 0; s->out && i < s->n; i++) {
        free(s->out[i].base);
        free(s->out[i].p);
    }
    free(s->out);
    free(s->full);
    *s = (struct mc_score){0};
}

static bool is_of(const struct mc_value *v, const char *op)
{
    return v->producer && mc_node_is(v->producer, op);
}

static bool is_probability(const struct mc_value *v)
{
    return is_of(v, "Softmax");
}

/* ---- base ---- */

static void softmax(const float *z, float *p, int64_t n)
{
    float top = z[0];
    double sum = 0;
    for (int64_t k = 1; k < n; k++)
        top = fmaxf(top, z[k]);
    for (int64_t k = 0; k < n; k++)
        sum += p[k] = expf(z[k] - top);
    for (int64_t k = 0; k < n; k++)
        p[k] = (float)(p[k] / sum);
}

/* Class scores: a tenth of the mean Fisher information of one score. Others: 1 / variance, in all. Of the samples
 * seen so far. */
static void set_even(struct mc_score_output *o, int64_t samples)
{
    for (int64_t i = 0; i < samples * o->width; i++) {
        double x = o->p ? o->p[i] : o->base[i];
        o->sum += x;
        o->square += x * x;
    }
    o->count += (double)samples * (double)o->width;
    double mean = o->sum / o->count, square = o->square / o->count;
    if (o->p)
        o->even = sqrt(EVEN_SHARE * fmax(0, mean - square));
    else
        o->even = square > mean * mean ? 1 / sqrt((square - mean * mean) * (double)o->width) : 0;
}

static int base_of(struct mc_score_output *o, const struct mc_array *a, int64_t samples,
                   struct mc_err *err)
{
    int64_t count = mc_shape_count(&a->shape);
    o->width = count / samples;
    free(o->base);
    free(o->p);
    o->p = NULL;
    o->base = mc_calloc((size_t)count, sizeof *o->base);
    if (!o->base)
        return no_memory(err);
    int rc = mc_dtype_to_f32(a->dtype, a->data, o->base, (size_t)count, err);
    if (rc || a->shape.rank != 2 || a->shape.dim[0] != samples || o->width < 2 ||
        is_of(o->value, "Sigmoid"))
        return rc;
    o->p = mc_calloc((size_t)count, sizeof *o->p);
    if (!o->p)
        return no_memory(err);
    for (int64_t i = 0; i < samples; i++)
        if (is_probability(o->value))
            memcpy(o->p + i * o->width, o->base + i * o->width, (size_t)o->width * sizeof *o->p);
        else
            softmax(o->base + i * o->width, o->p + i * o->width, o->width);
    return 0;
}

int mc_score_base(struct mc_score *s, const struct mc_array *const *results, int64_t samples,
                  struct mc_err *err)
{
    int64_t raw = 0;
    for (size_t i = 0; i < s->n; i++)
        if (mc_shape_count(&results[i]->shape) % samples != 0)
            samples = 1; /* no batch axis: the whole is one sample */
    for (size_t i = 0; i < s->n; i++) {
        int rc = base_of(&s->out[i], results[i], samples, err);
        if (rc)
            return rc;
        raw += s->out[i].width * (s->out[i].p ? 2 : 1);
        if (s->seen < MC_SCORE_SAMPLES)
            set_even(&s->out[i], samples);
    }
    s->seen += samples;
    s->samples = samples;
    if (!s->full || raw != s->raw) {
        free(s->full);
        s->full = mc_calloc((size_t)raw, sizeof *s->full);
        s->raw = raw;
    }
    s->width = raw < MC_SCORE_WIDTH ? raw : MC_SCORE_WIDTH;
    return s->full ? 0 : no_memory(err);
}

/* ---- change ---- */

/* One sample: the Fisher part (class scores only), then the even part. Returns how many numbers. */
static int64_t changed(const struct mc_score_output *o, const float *z, int64_t sample, float step,
                       float *dst)
{
    const float *base = o->base + sample * o->width;
    const float *p = o->p ? o->p + sample * o->width : NULL;
    int64_t n = o->width, at = 0;
    if (p && is_probability(o->value)) { /* sum of dp² / p */
        for (int64_t k = 0; k < n; k++)
            dst[at++] = (z[k] - base[k]) / step / sqrtf(fmaxf(p[k], 1e-6f));
    } else if (p) { /* sum of p (dz - mean dz)² */
        double mean = 0;
        for (int64_t k = 0; k < n; k++)
            mean += (double)p[k] * (z[k] - base[k]);
        for (int64_t k = 0; k < n; k++)
            dst[at++] = (float)(z[k] - base[k] - mean) / step * sqrtf(p[k]);
    }
    for (int64_t k = 0; k < n; k++)
        dst[at++] = (float)o->even * (z[k] - base[k]) / step;
    return at;
}

/* Each number goes to one place of `width` with a random sign: lengths are kept on the average.
 * Source: Charikar, Chen, Farach-Colton, Finding frequent items in data streams, 2002. */
static void fold(const struct mc_score *s, float *dst, int64_t stride)
{
    for (int64_t k = 0; k < s->width; k++)
        dst[k * stride] = 0;
    for (int64_t k = 0; k < s->raw; k++) {
        if (s->raw <= s->width) {
            dst[k * stride] = s->full[k];
            continue;
        }
        uint32_t w[4];
        mc_rng_words(s->seed, 0, (uint64_t)k, w);
        dst[(w[0] % (uint32_t)s->width) * stride] += w[1] & 1 ? s->full[k] : -s->full[k];
    }
}

int mc_score_change(struct mc_score *s, const struct mc_array *const *results, float step,
                    float *dst, int64_t stride, struct mc_err *err)
{
    float **z = mc_calloc(s->n, sizeof *z);
    int rc = z ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < s->n; i++) {
        size_t count = (size_t)(s->samples * s->out[i].width);
        z[i] = mc_calloc(count, sizeof **z);
        rc = z[i] ? mc_dtype_to_f32(results[i]->dtype, results[i]->data, z[i], count, err)
                  : no_memory(err);
    }
    for (int64_t b = 0; !rc && b < s->samples; b++) {
        int64_t at = 0;
        for (size_t i = 0; i < s->n; i++)
            at += changed(&s->out[i], z[i] + b * s->out[i].width, b, step, s->full + at);
        fold(s, dst + b * s->width * stride, stride);
    }
    for (size_t i = 0; z && i < s->n; i++)
        free(z[i]);
    free(z);
    return rc;
}

/* ---- roots ---- */

enum { EXACT_RANK = 16 };

int64_t mc_score_roots(const struct mc_score *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->out[i].width;
    return n <= EXACT_RANK ? n : 0;
}

static double prior(float p)
{
    return fmax((double)p, 1e-6);
}

/* Column k of a root of H of one sample: of diag(p) - p pᵀ + even² the Cholesky factor. */
static void root_column(const struct mc_score_output *o, const float *p, int64_t k, float *dst)
{
    int64_t n = o->width;
    double even = o->even * o->even, l[EXACT_RANK * EXACT_RANK] = {0};
    memset(dst, 0, (size_t)n * sizeof *dst);
    if (!p || is_probability(o->value)) {
        dst[k] = (float)sqrt(even + (p ? 1 / prior(p[k]) : 0));
        return;
    }
    for (int64_t j = 0; j <= k; j++)
        for (int64_t i = j; i < n; i++) {
            double a = (i == j ? p[i] + even : 0) - (double)p[i] * p[j];
            for (int64_t t = 0; t < j; t++)
                a -= l[i * n + t] * l[j * n + t];
            double d = l[j * n + j];
            l[i * n + j] = i == j ? sqrt(fmax(a, 0)) : d > 0 ? a / d : 0;
        }
    for (int64_t i = k; i < n; i++)
        dst[i] = (float)l[i * n + k];
}

struct signs { /* one stream of random bits, 128 at a time */
    uint64_t seed, stream, at;
    uint32_t w[4];
};

static float next_sign(struct signs *s)
{
    uint64_t bit = s->at % 128;
    if (bit == 0)
        mc_rng_words(s->seed, s->stream, s->at / 128, s->w);
    s->at++;
    return s->w[bit / 32] >> (bit % 32) & 1 ? 1 : -1;
}

/* All columns of a root with random signs: those of diag(sqrt p) - p sqrt(p)ᵀ, then even. */
static void root_signs(const struct mc_score_output *o, const float *p, float scale,
                       struct signs *s, float *dst)
{
    int64_t n = o->width;
    bool centred = p && !is_probability(o->value);
    double mean = 0;
    for (int64_t k = 0; k < n; k++) {
        double root = p ? next_sign(s) * (centred ? sqrt((double)p[k]) : 1 / sqrt(prior(p[k]))) : 0;
        dst[k] = (float)root;
        mean += centred ? root * sqrt((double)p[k]) : 0;
    }
    for (int64_t k = 0; k < n; k++)
        dst[k] =
            scale * (dst[k] - (centred ? (float)mean * p[k] : 0) + next_sign(s) * (float)o->even);
}

void mc_score_vector(const struct mc_score *s, int64_t k, int64_t of, int64_t first,
                     float *const *dst)
{
    bool exact = of == mc_score_roots(s);
    for (int64_t b = 0; b < s->samples; b++) {
        struct signs signs = {.seed = s->seed,
                              .stream = 1 + (uint64_t)(first + b) * 4096 + (uint64_t)k};
        int64_t at = k;
        for (size_t i = 0; i < s->n; i++) {
            const struct mc_score_output *o = &s->out[i];
            const float *p = o->p ? o->p + b * o->width : NULL;
            float *v = dst[i] + b * o->width;
            if (!exact)
                root_signs(o, p, 1 / sqrtf((float)of), &signs, v);
            else if (at >= 0 && at < o->width)
                root_column(o, p, at, v);
            else
                memset(v, 0, (size_t)o->width * sizeof *v);
            at -= o->width;
        }
    }
}
