#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

static const enum mc_circulant_way ways[] = {MC_CIRCULANT_DENSE, MC_CIRCULANT_DFT,
                                             MC_CIRCULANT_FFT};
static const char *const names[] = {"dense", "dft", "fft"};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* Numbers of one case; everything in f32. */
struct circulant_case {
    struct mc_circulant_product m;
    const float *col;
    int64_t in, out, cols, x_count, y_count;
    bool in_place;
};

static void draw(struct check *c, struct circulant_case *t)
{
    static const int lengths[] = {1, 2, 3, 4, 5, 8, 9, 15, 16, 31, 32, 49, 64, 100, 128, 257, 300};
    struct mc_circulant_product *m = &t->m;
    *t = (struct circulant_case){0};
    m->c.b = lengths[check_below(c, sizeof lengths / sizeof lengths[0])];
    int64_t most = m->c.b < 16   ? 40
                   : m->c.b < 64 ? 20
                                 : 6; /* blocks, so that the definition takes no time */
    m->c.p = check_size(c, 4, most);
    m->c.q = check_size(c, 4, most);
    m->c.transposed = check_coin(c);
    m->rows = check_below(c, 30) ? check_size(c, check_coin(c) ? 32 : 8, 110) : 0;
    if (m->c.b * m->c.p > 200 || m->c.b * m->c.q > 200)
        m->rows = check_below(c, 12);
    t->in = (m->c.transposed ? m->c.p : m->c.q) * m->c.b;
    t->out = (m->c.transposed ? m->c.q : m->c.p) * m->c.b;
    m->ldx = t->in + check_below(c, 3);
    m->ldy = t->out + check_below(c, 3);
    t->cols = m->c.p * m->c.q * m->c.b;
    t->x_count = m->rows * m->ldx;
    t->y_count = m->rows * m->ldy;
    t->col = check_floats(c, t->cols, false);
    m->x = check_floats(c, t->x_count, false);
    struct mc_epilogue *e = &m->epilogue;
    e->act = check_below(c, MC_ACT_HARDSWISH + 1);
    e->lo = e->act == MC_ACT_CLAMP ? 0 : 0.1;
    e->hi = check_coin(c) ? INFINITY : 6;
    if (check_coin(c))
        e->bias = check_floats(c, t->out, false);
    if (check_coin(c))
        e->residual = check_floats(c, t->y_count, false);
    t->in_place = e->residual && check_coin(c);
    check_describe(c, "p %d q %d b %d%s rows %d ld %d,%d act %d%s%s%s", (int)m->c.p, (int)m->c.q,
                   (int)m->c.b, m->c.transposed ? " transposed" : "", (int)m->rows, (int)m->ldx,
                   (int)m->ldy, (int)e->act, e->bias ? " bias" : "", e->residual ? " residual" : "",
                   t->in_place ? " in place" : "");
}

/* Run m, whose pointers fit `k`, on the columns at col. */
static void call(struct check *c, const struct mc_kernels *k, struct mc_circulant_product *m,
                 const void *col, struct mc_pool *pool)
{
    void *packed = check_alloc(c, k->circulant.pack_bytes(&m->c, m->way), MC_ALIGN);
    void *scratch = check_alloc(
        c, k->circulant.scratch_bytes(&m->c, m->way, m->rows, mc_pool_threads(pool)), MC_ALIGN);
    k->circulant.pack(&m->c, m->way, col, packed, pool);
    m->packed = packed;
    k->circulant.run(m, scratch, pool);
}

static double *reference(struct check *c, const struct circulant_case *t)
{
    struct mc_circulant_product m = t->m;
    m.x = check_widen(c, t->m.x, t->x_count);
    m.epilogue.bias = check_widen(c, t->m.epilogue.bias, t->out);
    m.epilogue.residual = check_widen(c, t->m.epilogue.residual, t->y_count);
    double *y = check_alloc(c, (size_t)t->y_count * sizeof *y, sizeof *y);
    m.y = y;
    call(c, c->ref, &m, check_widen(c, t->col, t->cols), c->pool[0]);
    return y;
}

static double norm(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Errors of transforms are spread over a row: they are measured by |x| |w| of rows, not term by term. Two rows go through one
 * transform, so the larger of the tile's counts. */
static double *error_scale(struct check *c, const struct circulant_case *t)
{
    double *scale = check_alloc(c, (size_t)t->y_count * sizeof *scale, sizeof *scale);
    double w = 0, x = 0;
    for (int64_t i = 0; i < t->m.c.p * t->m.c.q; i++)
        w = fmax(w, norm(t->col + i * t->m.c.b, t->m.c.b));
    for (int64_t r = 0; r < t->m.rows; r++)
        x = fmax(x, norm((const float *)t->m.x + r * t->m.ldx, t->in));
    w *= sqrt((double)t->in / (double)t->m.c.b);
    for (int64_t i = 0; i < t->y_count; i++)
        scale[i] = w * x + 1;
    return scale;
}

static void test_way(struct check *c, const struct circulant_case *t, const double *want,
                     const double *scale)
{
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        struct mc_circulant_product m = t->m;
        float *y = check_alloc(c, (size_t)t->y_count * sizeof *y, sizeof *y);
        if (t->in_place) {
            memcpy(y, m.epilogue.residual, (size_t)t->y_count * sizeof *y);
            m.epilogue.residual = y;
        }
        m.y = y;
        call(c, c->k, &m, t->col, c->pool[p]);
        for (int64_t r = 0; r < m.rows && p == 0; r++) {
            check_close(c, names[m.way], y + r * m.ldy, want + r * m.ldy, scale + r * m.ldy,
                        tol_sum(16), m.epilogue.act > MC_ACT_LEAKY ? TOL_ACT : 0, t->out);
            for (int64_t i = t->out; i < m.ldy; i++) {
                float was =
                    t->in_place ? ((const float *)t->m.epilogue.residual)[r * m.ldy + i] : NAN;
                if (t->in_place ? y[r * m.ldy + i] != was && !isnan(was) : !isnan(y[r * m.ldy + i]))
                    check_fail(c, "the gap after row %d was written", (int)r);
            }
        }
        if (first)
            check_same(c, "another number of threads", y, first, (size_t)t->y_count * sizeof *y);
        first = y;
    }
}

/* W from mc_circulant_expand, by another library. */
static void test_expand(struct check *c, const struct circulant_case *t, const double *want)
{
    const struct mc_circulant *s = &t->m.c;
    int64_t rows = s->p * s->b, cols = s->q * s->b, ld = cols + 1;
    float *w = check_alloc(c, (size_t)(rows * ld) * sizeof *w, sizeof *w);
    float *again = check_alloc(c, (size_t)t->cols * sizeof *again, sizeof *again);
    mc_circulant_expand(s, t->col, w, ld);
    mc_circulant_project(s, w, ld, again);
    for (int64_t i = 0; i < t->cols; i++) {
        if (!(fabsf(again[i] - t->col[i]) <= 1e-6f * fabsf(t->col[i])))
            check_fail(c, "column %d changes by expanding and projecting", (int)i);
    }
    if (t->m.epilogue.act || t->m.epilogue.bias || t->m.epilogue.residual)
        return;
    double *wide = check_widen(c, w, rows * ld);
    for (int64_t r = 0; r < t->m.rows; r++) {
        double *y = check_alloc(c, (size_t)t->out * sizeof *y, sizeof *y);
        double *x = check_widen(c, (const float *)t->m.x + r * t->m.ldx, t->in);
        cblas_dgemv(CblasRowMajor, s->transposed ? CblasTrans : CblasNoTrans, (int)rows, (int)cols,
                    1, wide, (int)ld, x, 1, 0, y, 1);
        for (int64_t i = 0; i < t->out; i++) {
            if (!(fabs(y[i] - want[r * t->m.ldy + i]) <= 1e-10 * (double)(t->in + 10)))
                check_fail(c, "the definition says %.17g, BLAS %.17g", want[r * t->m.ldy + i],
                           y[i]);
        }
    }
}

static void test_gradient(struct check *c, const struct circulant_case *t)
{
    struct mc_circulant_gradient g = {.c = t->m.c, .rows = t->m.rows};
    g.c.transposed = false;
    int64_t nx = g.c.q * g.c.b, ny = g.c.p * g.c.b;
    g.ldx = nx + check_below(c, 3);
    g.lddy = ny + check_below(c, 3);
    const float *x = check_floats(c, g.rows * g.ldx, false),
                *dy = check_floats(c, g.rows * g.lddy, false);
    double *want = check_alloc(c, (size_t)t->cols * sizeof *want, sizeof *want), scale = 1;
    double *scales = check_alloc(c, (size_t)t->cols * sizeof *scales, sizeof *scales);
    g.x = check_widen(c, x, g.rows * g.ldx);
    g.dy = check_widen(c, dy, g.rows * g.lddy);
    g.dcol = want;
    c->ref->circulant.gradient(&g, NULL, c->pool[0]);
    g.x = x;
    g.dy = dy;
    for (int64_t r = 0; r < g.rows; r++)
        scale = fmax(scale, norm(x + r * g.ldx, nx) * norm(dy + r * g.lddy, ny));
    for (int64_t i = 0; i < t->cols; i++)
        scales[i] = scale * sqrt((double)(g.rows + 1) / (double)(g.c.p * g.c.q));
    for (int w = 0; w < WAYS; w++) {
        const float *first = NULL;
        g.way = ways[w];
        for (int p = 0; p < CHECK_POOLS; p++) {
            float *dcol = check_alloc(c, (size_t)t->cols * sizeof *dcol, sizeof *dcol);
            void *scratch = check_alloc(c,
                                        c->k->circulant.gradient_scratch_bytes(
                                            &g.c, g.way, g.rows, mc_pool_threads(c->pool[p])),
                                        MC_ALIGN);
            g.dcol = dcol;
            c->k->circulant.gradient(&g, scratch, c->pool[p]);
            char what[40];
            snprintf(what, sizeof what, "%s gradient", names[w]);
            if (first)
                check_same(c, "another number of threads", dcol, first,
                           (size_t)t->cols * sizeof *dcol);
            else
                check_close(c, what, dcol, want, scales, tol_sum((double)(g.rows * g.c.b)), 0,
                            t->cols);
            first = dcol;
        }
    }
}

/* Random sizes of a convolution; the reference is the dense one. */
static void draw_conv(struct check *c, struct mc_circulant_conv *m)
{
    static const int lengths[] = {1, 2, 3, 4, 8, 9, 16, 33};
    struct mc_conv *v = &m->conv;
    *m = (struct mc_circulant_conv){0};
    m->c.b = lengths[check_below(c, sizeof lengths / sizeof lengths[0])];
    m->c.p = 1 + check_below(c, 5);
    m->c.q = 1 + check_below(c, 5);
    v->n = 1 + check_below(c, 2);
    v->group = 1;
    v->c = m->c.q * m->c.b;
    v->oc = m->c.p * m->c.b;
    for (int d = 0; d < 3; d++) {
        bool flat = d == 0 || check_below(c, 8) == 0;
        v->kernel[d] = flat ? 1 : 1 + check_below(c, 3);
        v->stride[d] = flat ? 1 : 1 + check_below(c, 2);
        v->dilation[d] = flat ? 1 : 1 + check_below(c, 2);
        v->pad[d] = flat ? 0 : check_below(c, 2);
        v->in[d] = flat ? 1 : 5 + check_below(c, 9);
        v->out[d] =
            (v->in[d] + 2 * v->pad[d] - (v->kernel[d] - 1) * v->dilation[d] - 1) / v->stride[d] + 1;
    }
    v->epilogue.act = check_below(c, MC_ACT_HARDSWISH + 1);
    v->epilogue.lo = v->epilogue.act == MC_ACT_CLAMP ? 0 : 0.1;
    v->epilogue.hi = INFINITY;
}

static void call_conv(struct check *c, const struct mc_kernels *k, struct mc_circulant_conv *m,
                      const void *col, struct mc_pool *pool)
{
    void *packed = check_alloc(c, k->circulant.conv_pack_bytes(m), MC_ALIGN);
    void *scratch =
        check_alloc(c, k->circulant.conv_scratch_bytes(m, mc_pool_threads(pool)), MC_ALIGN);
    k->circulant.conv_pack(m, col, packed, pool);
    m->packed = packed;
    k->circulant.conv_run(m, scratch, pool);
}

static void test_conv(struct check *c)
{
    struct mc_circulant_conv m;
    draw_conv(c, &m);
    struct mc_conv *v = &m.conv;
    struct mc_epilogue *e = &v->epilogue;
    check_describe(c, "conv p %d q %d b %d images %d in %dx%d kernel %dx%d stride %d act %d",
                   (int)m.c.p, (int)m.c.q, (int)m.c.b, (int)v->n, (int)v->in[1], (int)v->in[2],
                   (int)v->kernel[1], (int)v->kernel[2], (int)v->stride[1], (int)e->act);
    int64_t taps = v->kernel[1] * v->kernel[2], nc = m.c.p * m.c.q * m.c.b * taps;
    int64_t nx = v->n * v->c * v->in[1] * v->in[2], ny = v->n * v->oc * v->out[1] * v->out[2];
    const float *col = check_floats(c, nc, false), *x = check_floats(c, nx, false);
    const float *bias = check_coin(c) ? check_floats(c, v->oc, false) : NULL;
    const float *scale = check_coin(c) ? check_floats(c, v->oc, false) : NULL;
    const float *residual = check_coin(c) ? check_floats(c, ny, false) : NULL;
    double *want = check_alloc(c, (size_t)ny * sizeof *want, sizeof *want);
    double *scales = check_alloc(c, (size_t)ny * sizeof *scales, sizeof *scales);
    struct mc_circulant_conv ref = m;
    ref.conv.x = check_widen(c, x, nx);
    ref.conv.y = want;
    ref.conv.epilogue.bias = check_widen(c, bias, v->oc);
    ref.conv.epilogue.scale = check_widen(c, scale, v->oc);
    ref.conv.epilogue.residual = check_widen(c, residual, ny);
    call_conv(c, c->ref, &ref, check_widen(c, col, nc), c->pool[0]);
    for (int64_t i = 0; i < ny; i++)
        scales[i] = 4 * (1 + sqrt((double)(v->c * taps)) * 6);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y = check_alloc(c, (size_t)ny * sizeof *y, sizeof *y);
        v->x = x;
        v->y = y;
        e->bias = bias;
        e->scale = scale;
        e->residual = residual;
        call_conv(c, c->k, &m, col, c->pool[p]);
        if (first)
            check_same(c, "another number of threads", y, first, (size_t)ny * sizeof *y);
        else
            check_close(c, "conv", y, want, scales, tol_sum(16),
                        e->act > MC_ACT_LEAKY ? TOL_ACT : 0, ny);
        first = y;
    }
}

static void test(struct check *c)
{
    struct circulant_case t;
    draw(c, &t);
    const double *want = reference(c, &t), *scale = error_scale(c, &t);
    test_expand(c, &t, want);
    for (int w = 0; w < WAYS; w++) {
        t.m.way = ways[w];
        test_way(c, &t, want, scale);
    }
    test_gradient(c, &t);
    test_conv(c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_kernels *k;
    struct mc_circulant_product m;
    const float *w;
    void *scratch;
};

static void product(void *ctx)
{
    struct timing *t = ctx;
    t->k->circulant.run(&t->m, t->scratch, NULL);
}

static void openblas(void *ctx)
{
    const struct timing *t = ctx;
    int n = (int)(t->m.c.p * t->m.c.b);
    if (t->m.rows == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, n, n, 1, t->w, n, t->m.x, 1, 0, t->m.y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->m.rows, n, n, 1, t->m.x, n,
                    t->w, n, 0, t->m.y, n);
}

/* Every size beside sgemm: tests/bench/time_circulant.c. */
static void bench(struct check *c)
{
    static const int shapes[][3] = {
        /* n, block, rows */
        {1024, 8, 1},    {1024, 8, 64},   {1024, 16, 64},   {1024, 64, 1},  {1024, 64, 64},
        {1024, 256, 64}, {1024, 1024, 1}, {1024, 1024, 64}, {1000, 40, 64}, {1023, 33, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t n = shapes[i][0], b = shapes[i][1];
        struct timing t = {.k = c->k};
        struct mc_circulant_product *m = &t.m;
        m->c = (struct mc_circulant){n / b, n / b, b, false};
        m->rows = shapes[i][2];
        m->way = c->k->circulant.choose(&m->c, m->rows);
        m->x = check_floats(c, m->rows * n, false);
        m->ldx = m->ldy = n;
        m->y = check_alloc(c, (size_t)(m->rows * n) * sizeof(float), MC_ALIGN);
        t.w = check_floats(c, n * n, false);
        void *packed = check_alloc(c, c->k->circulant.pack_bytes(&m->c, m->way), MC_ALIGN);
        c->k->circulant.pack(&m->c, m->way, t.w, packed, NULL);
        m->packed = packed;
        t.scratch =
            check_alloc(c, c->k->circulant.scratch_bytes(&m->c, m->way, m->rows, 1), MC_ALIGN);
        struct bench p = {.fn = product, .ctx = &t, .rival = openblas};
        bench_line(&p, "circulant %s %d/%d %d rows %s", c->k->name, (int)n, (int)b, (int)m->rows,
                   names[m->way]);
    }
}

const struct check_row check_circulant = {"circulant", 150, test, bench};
