#include "kernels/norm.h"

#include "kernels/fill.h"
#include "kernels/ref/act_ref.h"

static void batch(const struct mc_batch_norm *b, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = b->x, *residual = b->epilogue ? b->epilogue->residual : NULL;
    elem *y = b->y, m = (elem)b->outer * (elem)b->inner;
    for (int64_t c = 0; c < b->channels; c++) {
        elem mean = 0, var = 0;
        for (int64_t i = 0; i < b->outer * b->inner; i++)
            mean += x[(i / b->inner * b->channels + c) * b->inner + i % b->inner];
        mean = m > 0 ? mean / m : 0;
        for (int64_t i = 0; i < b->outer * b->inner; i++) {
            elem d = x[(i / b->inner * b->channels + c) * b->inner + i % b->inner] - mean;
            var += d * d;
        }
        var = m > 0 ? var / m : 0;
        elem inv = 1 / sqrt(var + (elem)b->eps);
        for (int64_t i = 0; i < b->outer * b->inner; i++) {
            int64_t at = (i / b->inner * b->channels + c) * b->inner + i % b->inner;
            elem v = (x[at] - mean) * inv * ((const elem *)b->scale)[c] +
                     ((const elem *)b->bias)[c] + (residual ? residual[at] : 0);
            y[at] = b->epilogue
                        ? act_ref(b->epilogue->act, (elem)b->epilogue->lo, (elem)b->epilogue->hi, v)
                        : v;
        }
        ((elem *)b->mean)[c] = mean;
        ((elem *)b->var)[c] = var;
    }
}

static void batch_grad(const struct mc_batch_grad *b, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = b->x, *dy = b->dy;
    elem *dx = b->dx, m = (elem)b->outer * (elem)b->inner;
    for (int64_t c = 0; c < b->channels; c++) {
        elem mean = ((const elem *)b->mean)[c], dbias = 0, dscale = 0;
        elem inv = 1 / sqrt(((const elem *)b->var)[c] + (elem)b->eps);
        for (int64_t i = 0; i < b->outer * b->inner; i++) {
            int64_t at = (i / b->inner * b->channels + c) * b->inner + i % b->inner;
            dbias += dy[at];
            dscale += dy[at] * (x[at] - mean) * inv;
        }
        for (int64_t i = 0; dx && i < b->outer * b->inner; i++) {
            int64_t at = (i / b->inner * b->channels + c) * b->inner + i % b->inner;
            elem h = (x[at] - mean) * inv, d = dy[at];
            if (!b->frozen)
                d -= dbias / m + h * dscale / m;
            dx[at] = ((const elem *)b->scale)[c] * inv * d;
        }
        if (b->dscale)
            ((elem *)b->dscale)[c] = dscale;
        if (b->dbias)
            ((elem *)b->dbias)[c] = dbias;
    }
}

static size_t norm_grad_scratch(const struct mc_norm_grad *g)
{
    (void)g;
    return 0;
}

static void grad_row(const struct mc_norm_grad *g, int64_t r)
{
    const elem *x = (const elem *)g->x + r * g->n, *dy = (const elem *)g->dy + r * g->n;
    elem *dx = g->dx ? (elem *)g->dx + r * g->n : NULL, n = (elem)g->n;
    elem mean = 0, var = 0, sum = 0, product = 0;
    for (int64_t i = 0; i < g->n; i++)
        mean += x[i];
    mean = g->rms ? 0 : mean / n;
    for (int64_t i = 0; i < g->n; i++)
        var += (x[i] - mean) * (x[i] - mean);
    elem inv = 1 / sqrt(var / n + (elem)g->eps);
    int64_t first = r % g->groups * (g->n / g->inner);
    for (int64_t i = 0; i < g->n; i++) {
        int64_t p = first + i / g->inner;
        elem h = (x[i] - mean) * inv, e = dy[i] * (g->scale ? ((const elem *)g->scale)[p] : 1);
        sum += e;
        product += e * h;
        if (g->dscale)
            ((elem *)g->dscale)[p] += dy[i] * h;
        if (g->dbias)
            ((elem *)g->dbias)[p] += dy[i];
    }
    for (int64_t i = 0; dx && i < g->n; i++) {
        elem e = dy[i] * (g->scale ? ((const elem *)g->scale)[first + i / g->inner] : 1);
        dx[i] = (e - (g->rms ? 0 : sum / n) - (x[i] - mean) * inv * product / n) * inv;
    }
}

static void norm_grad(const struct mc_norm_grad *g, void *scratch, struct mc_pool *pool)
{
    (void)scratch;
    (void)pool;
    for (int64_t p = 0; p < g->groups * (g->n / g->inner); p++) {
        if (g->dscale)
            ((elem *)g->dscale)[p] = 0;
        if (g->dbias)
            ((elem *)g->dbias)[p] = 0;
    }
    for (int64_t r = 0; r < g->rows; r++)
        grad_row(g, r);
}

void MC_REF(mc_norm_fill)(struct mc_norm_kernels *k)
{
    *k = (struct mc_norm_kernels){batch, batch_grad, norm_grad_scratch, norm_grad};
}
