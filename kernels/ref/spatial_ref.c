#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

/* Input position that tap k puts on output o of dimension d, -1 if there is none. */
static int64_t source(const struct mc_fold *f, int d, int64_t o, int64_t k)
{
    int64_t at = o + f->pad[d] - k * f->dilation[d];
    return at >= 0 && at % f->stride[d] == 0 && at / f->stride[d] < f->in[d] ? at / f->stride[d]
                                                                             : -1;
}

static elem fold_at(const struct mc_fold *f, const elem *x, const int64_t o[3])
{
    int64_t k[3], i[3], n = f->in[0] * f->in[1] * f->in[2];
    elem sum = 0;
    for (k[0] = 0; k[0] < f->kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < f->kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < f->kernel[2]; k[2]++, x += n) {
                for (int d = 0; d < 3; d++)
                    i[d] = source(f, d, o[d], k[d]);
                if (i[0] >= 0 && i[1] >= 0 && i[2] >= 0)
                    sum += x[(i[0] * f->in[1] + i[1]) * f->in[2] + i[2]];
            }
    return sum;
}

static void fold(const struct mc_fold *f, struct mc_pool *pool)
{
    (void)pool;
    const struct mc_epilogue *e = &f->epilogue;
    const elem *bias = e->bias, *residual = e->residual;
    int64_t step = f->in[0] * f->in[1] * f->in[2] * f->kernel[0] * f->kernel[1] * f->kernel[2];
    elem *y = f->y;
    int64_t at = 0, o[3];
    for (int64_t c = 0; c < f->channels; c++)
        for (o[0] = 0; o[0] < f->out[0]; o[0]++)
            for (o[1] = 0; o[1] < f->out[1]; o[1]++)
                for (o[2] = 0; o[2] < f->out[2]; o[2]++, at++) {
                    elem v = fold_at(f, (const elem *)f->x + c * step, o);
                    v += (bias ? bias[c] : 0) + (residual ? residual[at] : 0);
                    y[at] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
                }
}

static void resample(const struct mc_resample *r, struct mc_pool *pool)
{
    (void)pool;
    const elem *weight = r->weight;
    elem *y = r->y;
    for (int64_t o = 0; o < r->outer; o++)
        for (int64_t j = 0; j < r->n_out; j++)
            for (int64_t i = 0; i < r->inner; i++) {
                elem sum = 0;
                for (int64_t t = 0; t < r->taps; t++) {
                    int64_t from = o * r->n_in + r->index[t * r->n_out + j];
                    sum += weight[t * r->n_out + j] * ((const elem *)r->x)[from * r->inner + i];
                }
                y[(o * r->n_out + j) * r->inner + i] = sum;
            }
}

static void lrn(const struct mc_lrn *l, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = l->x;
    elem *y = l->y, scale = (elem)(l->alpha / (double)l->size);
    for (int64_t o = 0; o < l->outer; o++, x += l->channels * l->inner)
        for (int64_t c = 0; c < l->channels; c++)
            for (int64_t i = 0; i < l->inner; i++) {
                int64_t from = c - (l->size - 1) / 2, to = from + l->size;
                elem sum = 0;
                for (int64_t k = from < 0 ? 0 : from; k < to && k < l->channels; k++)
                    sum += x[k * l->inner + i] * x[k * l->inner + i];
                *y++ = x[c * l->inner + i] / pow((elem)l->bias + scale * sum, (elem)l->beta);
            }
}

void MC_REF(mc_spatial_fill)(struct mc_spatial_kernels *k)
{
    *k = (struct mc_spatial_kernels){fold, resample, lrn};
}
