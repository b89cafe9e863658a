#include <stdbool.h>
#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

static int64_t span(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

static int64_t at(const int64_t size[3], const int64_t i[3])
{
    return (i[0] * size[1] + i[1]) * size[2] + i[2];
}

/* Next index of a box in row-major order; false after the last. */
static bool next(const int64_t size[3], int64_t i[3])
{
    for (int d = 2; d >= 0; d--) {
        if (++i[d] < size[d])
            return true;
        i[d] = 0;
    }
    return false;
}

/* The output whose tap k reads input i; false if there is none. */
static bool output_of(const struct mc_conv *c, const int64_t i[3], const int64_t k[3], int64_t o[3])
{
    for (int d = 0; d < 3; d++) {
        int64_t shifted = i[d] + c->pad[d] - k[d] * c->dilation[d];
        if (shifted < 0 || shifted % c->stride[d] || shifted / c->stride[d] >= c->out[d])
            return false;
        o[d] = shifted / c->stride[d];
    }
    return true;
}

static size_t no_bytes(const struct mc_conv *c, int threads)
{
    (void)c;
    (void)threads;
    return 0;
}

static elem input_at(const struct mc_conv_grad *g, int64_t n, int64_t ic, const int64_t i[3])
{
    const struct mc_conv *c = &g->c;
    int64_t group_c = c->c / c->group, group_oc = c->oc / c->group, taps = span(c->kernel);
    int64_t group = ic / group_c;
    elem sum = 0;
    for (int64_t oc = group * group_oc; oc < (group + 1) * group_oc; oc++) {
        const elem *w = (const elem *)g->w + (oc * group_c + ic % group_c) * taps;
        const elem *dy = (const elem *)g->dy + (n * c->oc + oc) * span(c->out);
        int64_t k[3] = {0}, o[3];
        for (int64_t t = 0; t < taps; t++, next(c->kernel, k))
            if (output_of(c, i, k, o))
                sum += w[t] * dy[at(c->out, o)];
    }
    return sum;
}

static void input_plane(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_conv_grad *g = ctx;
    const struct mc_conv *c = &g->c;
    const struct mc_epilogue *e = &c->epilogue;
    const elem *scale = e->scale, *bias = e->bias, *residual = e->residual;
    int64_t ic = chunk % c->c, n = span(c->in), i[3] = {0};
    for (int64_t j = chunk * n; j < (chunk + 1) * n; j++, next(c->in, i)) {
        elem v = input_at(g, chunk / c->c, ic, i);
        v = (scale ? v * scale[ic] : v) + (bias ? bias[ic] : 0) + (residual ? residual[j] : 0);
        ((elem *)g->dx)[j] = act_ref(e->act, (elem)e->lo, (elem)e->hi, v);
    }
}

static void input(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, g->c.n * g->c.c, input_plane, (void *)g);
}

/* Padding is zeros: an infinite dy meets them too and gives NaN. */
static elem weight_at(const struct mc_conv_grad *g, int64_t oc, int64_t ic, const int64_t k[3])
{
    const struct mc_conv *c = &g->c;
    int64_t in = span(c->in), out = span(c->out);
    elem sum = 0;
    for (int64_t n = 0; n < c->n; n++) {
        const elem *x = (const elem *)g->x + (n * c->c + ic) * in;
        const elem *dy = (const elem *)g->dy + (n * c->oc + oc) * out;
        int64_t o[3] = {0}, i[3];
        for (int64_t p = 0; p < out; p++, next(c->out, o)) {
            bool inside = true;
            for (int d = 0; d < 3; d++) {
                i[d] = o[d] * c->stride[d] + k[d] * c->dilation[d] - c->pad[d];
                inside = inside && i[d] >= 0 && i[d] < c->in[d];
            }
            sum += dy[p] * (inside ? x[at(c->in, i)] : 0);
        }
    }
    return sum;
}

static void weight_channel(void *ctx, int64_t oc, int worker)
{
    (void)worker;
    const struct mc_conv_grad *g = ctx;
    const struct mc_conv *c = &g->c;
    int64_t group_c = c->c / c->group, taps = span(c->kernel), out = span(c->out);
    int64_t first = oc / (c->oc / c->group) * group_c;
    elem *dw = (elem *)g->dw + oc * group_c * taps, db = 0;
    for (int64_t ic = 0; ic < group_c; ic++) {
        int64_t k[3] = {0};
        for (int64_t t = 0; t < taps; t++, next(c->kernel, k))
            *dw++ = weight_at(g, oc, first + ic, k);
    }
    if (!g->db)
        return;
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t p = 0; p < out; p++)
            db += ((const elem *)g->dy)[(n * c->oc + oc) * out + p];
    ((elem *)g->db)[oc] = db;
}

static void weight(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    mc_pool_run(pool, g->c.oc, weight_channel, (void *)g);
}

/* ---- pools ---- */

/* What comes back to the window of output o: for a maximum its place, for a mean all of it. */
static void window_at(const struct mc_window *w, const elem *x, const int64_t o[3], elem y, elem dy,
                      elem *dx)
{
    int64_t k[3] = {0}, p[3], inside = 0, counted = 0;
    for (int pass = 0; pass < (w->average ? 2 : 1); pass++) {
        for (int64_t t = 0; t < span(w->kernel); t++, next(w->kernel, k)) {
            bool in = true, padded = true;
            for (int d = 0; d < 3; d++) {
                p[d] = o[d] * w->stride[d] + k[d] * w->dilation[d] - w->pad[d];
                in = in && p[d] >= 0 && p[d] < w->in[d];
                padded = padded && p[d] < w->in[d] + w->end[d];
            }
            int64_t i = at(w->in, p);
            if (w->average && pass == 0) {
                inside += in;
                counted += padded;
            } else if (in && w->average) {
                dx[i] += dy / (elem)(w->count_pad ? counted : inside);
            } else if (in && (x[i] == y || (isnan(x[i]) && isnan(y)))) {
                dx[i] += dy;
                return;
            }
        }
    }
}

static void window_plane(void *ctx, int64_t plane, int worker)
{
    (void)worker;
    const struct mc_window_grad *g = ctx;
    const struct mc_window *w = &g->w;
    int64_t in = span(w->in), out = span(w->out), o[3] = {0};
    const elem *x = w->average ? NULL : (const elem *)w->x + plane * in;
    elem *dx = (elem *)g->dx + plane * in;
    memset(dx, 0, (size_t)in * sizeof *dx);
    for (int64_t j = plane * out; j < (plane + 1) * out; j++, next(w->out, o))
        window_at(w, x, o, w->average ? 0 : ((const elem *)w->y)[j], ((const elem *)g->dy)[j], dx);
}

static void window(const struct mc_window_grad *g, struct mc_pool *pool)
{
    mc_pool_run(pool, g->w.planes, window_plane, (void *)g);
}

void MC_REF(mc_conv_grad_fill)(struct mc_conv_grad_kernels *k)
{
    *k = (struct mc_conv_grad_kernels){no_bytes, input, no_bytes, weight, window};
}
