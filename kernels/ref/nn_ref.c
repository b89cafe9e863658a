#include <stddef.h>

#include "kernels/body_reduce.h"
#include "kernels/fill.h"
#include "kernels/ref/elem.h"
#include "kernels/ref/rnn_ref.h"

static void window_at(const struct mc_window *w, const elem *x, const int64_t o[3], elem *ret,
                      int64_t *ret_arg)
{
    elem best = -(elem)INFINITY, sum = 0;
    int64_t at = -1, inside = 0, counted = 0, k[3], p[3];
    for (k[0] = 0; k[0] < w->kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < w->kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < w->kernel[2]; k[2]++) {
                bool in = true, padded = true;
                for (int d = 0; d < 3; d++) {
                    p[d] = o[d] * w->stride[d] + k[d] * w->dilation[d] - w->pad[d];
                    in = in && p[d] >= 0 && p[d] < w->in[d];
                    padded = padded && p[d] < w->in[d] + w->end[d];
                }
                counted += padded;
                if (!in)
                    continue;
                int64_t i = (p[0] * w->in[1] + p[1]) * w->in[2] + p[2];
                inside++;
                sum += x[i];
                if (at < 0 || x[i] > best || (isnan(x[i]) && !isnan(best))) {
                    best = x[i];
                    at = i;
                }
            }
    *ret = w->average ? sum / (elem)(w->count_pad ? counted : inside) : best;
    *ret_arg = at;
}

static void window(const struct mc_window *w, struct mc_pool *pool)
{
    (void)pool;
    int64_t in = w->in[0] * w->in[1] * w->in[2], at = 0, arg, o[3];
    for (int64_t p = 0; p < w->planes; p++)
        for (o[0] = 0; o[0] < w->out[0]; o[0]++)
            for (o[1] = 0; o[1] < w->out[1]; o[1]++)
                for (o[2] = 0; o[2] < w->out[2]; o[2]++, at++) {
                    window_at(w, (const elem *)w->x + p * in, o, (elem *)w->y + at, &arg);
                    if (w->arg)
                        w->arg[at] = arg;
                }
}

static void softmax(const struct mc_softmax *s, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t r = 0; r < s->outer * s->inner; r++) {
        int64_t start = r / s->inner * s->n * s->inner + r % s->inner;
        const elem *x = (const elem *)s->x + start;
        elem *y = (elem *)s->y + start, top = -(elem)INFINITY, sum = 0;
        for (int64_t i = 0; i < s->n; i++)
            top = x[i * s->inner] > top ? x[i * s->inner] : top;
        for (int64_t i = 0; i < s->n; i++)
            sum += exp(x[i * s->inner] - top);
        for (int64_t i = 0; i < s->n; i++) {
            elem v = x[i * s->inner] - top;
            y[i * s->inner] = s->log ? v - log(sum) : exp(v) / sum;
        }
    }
}

static void norm(const struct mc_norm *m, struct mc_pool *pool)
{
    (void)pool;
    const elem *scale = m->scale, *bias = m->bias;
    for (int64_t r = 0; r < m->rows; r++) {
        const elem *x = (const elem *)m->x + r * m->n;
        elem *y = (elem *)m->y + r * m->n, mean = 0, var = 0;
        for (int64_t i = 0; i < m->n; i++)
            mean += x[i];
        mean = m->rms ? 0 : mean / (elem)m->n;
        for (int64_t i = 0; i < m->n; i++)
            var += (x[i] - mean) * (x[i] - mean);
        elem inv = 1 / sqrt(var / (elem)m->n + (elem)m->eps);
        for (int64_t i = 0; i < m->n; i++) {
            int64_t j = m->channels ? r % m->channels : i;
            y[i] = (x[i] - mean) * inv * (scale ? scale[j] : 1) + (bias ? bias[j] : 0);
        }
        if (m->mean)
            ((elem *)m->mean)[r] = mean;
        if (m->inv_std)
            ((elem *)m->inv_std)[r] = inv;
    }
}

static void affine(const struct mc_affine *a, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < a->outer * a->channels * a->inner; i++) {
        int64_t c = i / a->inner % a->channels;
        ((elem *)a->y)[i] =
            ((const elem *)a->x)[i] * ((const elem *)a->scale)[c] + ((const elem *)a->shift)[c];
    }
}

/* fn over the elements that `base` and the `over` dimensions select; top is for LOG_SUM_EXP. */
static elem reduce_all(const struct mc_reduce *r, enum mc_reduce_fn fn, const elem *x, elem top)
{
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < r->over_rank; d++)
        n *= r->over[d];
    elem sum = mc_reduce_start(fn);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int d = 0; d < r->over_rank; d++)
            at += index[d] * r->over_stride[d];
        sum = mc_reduce_step(fn, sum, x[at], top);
        for (int d = r->over_rank - 1; d >= 0 && ++index[d] == r->over[d]; d--)
            index[d] = 0;
    }
    return mc_reduce_end(fn, sum, top, (elem)n);
}

static void reduce(const struct mc_reduce *r, struct mc_pool *pool)
{
    (void)pool;
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < r->keep_rank; d++)
        n *= r->keep[d];
    for (int64_t i = 0; i < n; i++) {
        const elem *x = r->x;
        for (int d = 0; d < r->keep_rank; d++)
            x += index[d] * r->keep_stride[d];
        elem top = r->fn == MC_REDUCE_LOG_SUM_EXP ? reduce_all(r, MC_REDUCE_MAX, x, 0) : 0;
        ((elem *)r->y)[i] = reduce_all(r, r->fn, x, isinf(top) ? 0 : top);
        for (int d = r->keep_rank - 1; d >= 0 && ++index[d] == r->keep[d]; d--)
            index[d] = 0;
    }
}

static void argext(const struct mc_argext *a, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t r = 0; r < a->outer * a->inner; r++) {
        const elem *x = (const elem *)a->x + r / a->inner * a->n * a->inner + r % a->inner;
        int64_t best = 0;
        for (int64_t i = 1; i < a->n; i++) {
            elem v = x[i * a->inner], top = x[best * a->inner];
            if (mc_argext_better(a->smallest, a->last, v, top))
                best = i;
        }
        a->y[r] = best;
    }
}

void MC_REF(mc_nn_fill)(struct mc_nn_kernels *k)
{
    *k = (struct mc_nn_kernels){window,
                                softmax,
                                norm,
                                affine,
                                reduce,
                                argext,
                                MC_REF(mc_lstm_cell),
                                MC_REF(mc_gru_reset),
                                MC_REF(mc_gru_cell),
                                MC_REF(mc_rnn_cell)};
}
