#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

/* Random bytes with many extremes: those are where 16-bit sums would saturate. */
static uint8_t *draw_bytes(struct check *c, int64_t n)
{
    static const uint8_t ends[] = {0, 127, 128, 255};
    uint8_t *x = check_alloc(c, (size_t)n, 1);
    bool extreme = check_coin(c);
    for (int64_t i = 0; i < n; i++)
        x[i] = extreme ? ends[check_below(c, 4)] : (uint8_t)check_below(c, 256);
    return x;
}

/* Zero points within the type: none, one, or one for each of n. */
static struct mc_s8_zero draw_zero(struct check *c, int64_t n, bool is_signed)
{
    uint32_t how = check_below(c, 3);
    if (how == 0)
        return (struct mc_s8_zero){0};
    int32_t *v = check_alloc(c, (size_t)n * sizeof *v, sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = (int32_t)check_below(c, 256) - (is_signed ? 128 : 0);
    return (struct mc_s8_zero){v, how - 1};
}

static int64_t value(const void *x, bool is_signed, int64_t at)
{
    return is_signed ? ((const int8_t *)x)[at] : ((const uint8_t *)x)[at];
}

static int64_t zero_of(const struct mc_s8_zero *z, int64_t i)
{
    return z->value ? z->value[i * z->step] : 0;
}

/* An output stage for `count` sums of k products in n channels. */
static void draw_out(struct check *c, struct mc_s8_out *to, int64_t n, int64_t count, int64_t k)
{
    *to = (struct mc_s8_out){.type = (enum mc_s8_type)check_below(c, 4)};
    if (check_coin(c)) {
        int32_t *bias = check_alloc(c, (size_t)n * sizeof *bias, sizeof *bias);
        for (int64_t i = 0; i < n; i++)
            bias[i] = check_below(c, 20) ? (int32_t)check_below(c, 20000) - 10000 : INT32_MAX;
        to->bias = bias;
    }
    if (to->type == MC_S8_I32)
        return;
    to->scale_step = check_coin(c);
    float *scale = check_floats(c, to->scale_step ? n : 1, false);
    float usual = 1 / (50 * sqrtf((float)(k + 1))); /* most sums become values of a byte */
    for (int64_t i = 0; i < (to->scale_step ? n : 1); i++)
        scale[i] = check_below(c, 10) ? usual * (fabsf(scale[i]) + 0.01f) : 1e6f;
    to->scale = scale;
    if (to->type == MC_S8_F32) {
        to->shift = check_coin(c) ? check_floats(c, n, false) : NULL;
        to->least = check_coin(c) ? 0 : -INFINITY;
        to->most = check_coin(c) ? 6 : INFINITY;
        return;
    }
    bool is_signed = to->type == MC_S8_I8;
    int32_t least = is_signed ? -128 : 0;
    to->zero = least + (int32_t)check_below(c, 256);
    to->lo = check_coin(c) ? to->zero : least;
    to->hi = check_coin(c) ? to->lo + (int32_t)check_below(c, (uint32_t)(least + 256 - to->lo))
                           : least + 255;
    if (check_coin(c)) {
        to->residual = draw_bytes(c, count);
        to->r_signed = check_coin(c);
        to->r_zero = (int32_t)check_below(c, 256) - (to->r_signed ? 128 : 0);
        to->r_scale = check_coin(c) ? 0.37f : 1.0f;
    }
}

/* ---- gemm_s8 ---- */

struct s8_case {
    struct mc_gemm_s8 g;
    struct mc_s8_side b;
};

static void draw_product(struct check *c, struct s8_case *t)
{
    struct mc_gemm_s8 *g = &t->g;
    *t = (struct s8_case){0};
    g->m = check_size(c, 12, 60);
    g->n = check_size(c, 32, 100);
    g->k = check_below(c, 40) ? check_size(c, 16, check_below(c, 6) ? 90 : 2300) : 0;
    int64_t gap = check_below(c, 3);
    bool ta = check_coin(c), tb = check_coin(c);
    g->a = (struct mc_s8_side){NULL, check_coin(c), ta ? 1 : g->k + gap, ta ? g->m + gap : 1};
    t->b = (struct mc_s8_side){NULL, check_coin(c), tb ? 1 : g->n + gap, tb ? g->k + gap : 1};
    if (check_below(c, 5) == 0) { /* no neighbours at all */
        g->a.row = 2;
        g->a.col = 2 * g->m;
    }
    g->a.data = draw_bytes(c, g->m * g->a.row + g->k * g->a.col);
    t->b.data = draw_bytes(c, g->k * t->b.row + g->n * t->b.col);
    g->b_signed = t->b.is_signed;
    g->a_zero = draw_zero(c, g->m, g->a.is_signed);
    g->b_zero = draw_zero(c, g->n, g->b_signed);
    g->c_row = g->n + check_below(c, 3);
    draw_out(c, &g->to, g->n, (g->m - 1) * g->c_row + g->n, g->k);
    check_describe(c, "m %d n %d k %d a %s %d,%d b %s %d,%d%s%s", (int)g->m, (int)g->n, (int)g->k,
                   g->a.is_signed ? "s8" : "u8", (int)g->a.row, (int)g->a.col,
                   g->b_signed ? "s8" : "u8", (int)t->b.row, (int)t->b.col,
                   g->a_zero.value ? " a zero" : "", g->b_zero.value ? " b zero" : "");
}

/* C by the sums themselves where they are stored, else by the reference. */
static void *want_product(struct check *c, struct s8_case *t, size_t bytes)
{
    struct mc_gemm_s8 *g = &t->g;
    void *want = check_alloc(c, bytes, sizeof(int32_t));
    if (g->to.type != MC_S8_I32) {
        void *packed = check_alloc(c, c->ref->gemm_s8.pack_b_bytes(g->k, g->n), MC_ALIGN);
        c->ref->gemm_s8.pack_b(g->k, g->n, &t->b, packed, NULL);
        g->packed_b = packed;
        g->c = want;
        c->ref->gemm_s8.run(g, NULL, NULL);
        return want;
    }
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            int64_t sum = g->to.bias ? g->to.bias[j] : 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += (value(g->a.data, g->a.is_signed, i * g->a.row + p * g->a.col) -
                        zero_of(&g->a_zero, i)) *
                       (value(t->b.data, g->b_signed, p * t->b.row + j * t->b.col) -
                        zero_of(&g->b_zero, j));
            ((int32_t *)want)[i * g->c_row + j] = (int32_t)sum;
        }
    return want;
}

static void test_gemm(struct check *c)
{
    struct s8_case t;
    draw_product(c, &t);
    struct mc_gemm_s8 *g = &t.g;
    const struct mc_gemm_s8_kernels *k = &c->k->gemm_s8;
    size_t each = (size_t)mc_s8_bytes(g->to.type);
    size_t count = (size_t)((g->m - 1) * g->c_row + g->n), row = (size_t)g->c_row * each;
    const char *want = want_product(c, &t, count * each);
    for (int p = 0; p < CHECK_POOLS; p++) {
        void *b = check_alloc(c, k->pack_b_bytes(g->k, g->n), MC_ALIGN);
        void *scratch = check_alloc(c, k->scratch_bytes(g->m, g->n, g->k, p + 1), MC_ALIGN);
        char *got = check_alloc(c, count * each, each);
        k->pack_b(g->k, g->n, &t.b, b, c->pool[p]);
        g->packed_b = b;
        g->c = got;
        k->run(g, scratch, c->pool[p]);
        for (int64_t i = 0; i < g->m; i++) {
            size_t at = (size_t)i * row;
            check_same(c, "a row of C", got + at, want + at, (size_t)g->n * each);
            if (i + 1 < g->m) /* both start as the same bytes */
                check_same(c, "the gap after a row", got + at + (size_t)g->n * each,
                           want + at + (size_t)g->n * each, row - (size_t)g->n * each);
        }
    }
}

struct timing {
    const struct mc_kernels *k;
    struct mc_gemm_s8 g;
    struct mc_gemm f;
    void *scratch, *f_scratch;
};

static void run_s8(void *ctx)
{
    const struct timing *t = ctx;
    t->k->gemm_s8.run(&t->g, t->scratch, NULL);
}

static void run_f32(void *ctx)
{
    const struct timing *t = ctx;
    t->k->gemm.run(&t->f, t->f_scratch, NULL);
}

/* Beside the same product in float32. */
static void bench_gemm(struct check *c)
{
    static const int shapes[][3] = {{512, 512, 512}, {1024, 1024, 1024}, {64, 512, 784},
                                    {256, 512, 512}, {1, 4096, 4096},    {16, 4096, 4096}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        struct timing t = {.k = c->k};
        struct mc_s8_side b = {draw_bytes(c, k * n), true, n, 1};
        void *packed = check_alloc(c, c->k->gemm_s8.pack_b_bytes(k, n), MC_ALIGN);
        c->k->gemm_s8.pack_b(k, n, &b, packed, NULL);
        t.scratch = check_alloc(c, c->k->gemm_s8.scratch_bytes(m, n, k, 1), MC_ALIGN);
        t.g = (struct mc_gemm_s8){.m = m,
                                  .n = n,
                                  .k = k,
                                  .a = {draw_bytes(c, m * k), false, k, 1},
                                  .packed_b = packed,
                                  .b_signed = true,
                                  .a_zero = {&(int32_t){128}, 0},
                                  .c_row = n};
        t.g.c = check_alloc(c, (size_t)(m * n) * sizeof(int32_t), MC_ALIGN);
        void *f_packed = check_alloc(c, c->k->gemm.pack_b_bytes(k, n), MC_ALIGN);
        c->k->gemm.pack_b(k, n, check_floats(c, k * n, false), n, 1, f_packed, NULL);
        t.f_scratch = check_alloc(c, c->k->gemm.scratch_bytes(m, n, k, 1), MC_ALIGN);
        t.f = (struct mc_gemm){.m = m,
                               .n = n,
                               .k = k,
                               .a = check_floats(c, m * k, false),
                               .a_row = k,
                               .a_col = 1,
                               .packed_b = f_packed,
                               .c = check_alloc(c, (size_t)(m * n) * sizeof(float), MC_ALIGN),
                               .c_row = n,
                               .alpha = 1};
        struct bench line = {.flops = 2.0 * (double)m * (double)n * (double)k,
                             .bytes = m == 1 ? (double)(k * n) : 0,
                             .fn = run_s8,
                             .ctx = &t,
                             .rival = run_f32};
        bench_line(&line, "gemm_s8 %s %dx%dx%d (rival: float32)", c->k->name, (int)m, (int)n,
                   (int)k);
    }
}

const struct check_row check_gemm_s8 = {"gemm_s8", 300, test_gemm, bench_gemm};

/* ---- conv_s8: against the reference, which is a plain sum over taps ---- */

static void draw_conv(struct check *c, struct mc_conv_s8 *v)
{
    int dims = 1 + (int)check_below(c, 3);
    int64_t per = check_size(c, 4, 9), fold = check_size(c, 4, 14);
    bool depthwise = check_below(c, 4) == 0;
    *v = (struct mc_conv_s8){.n = 1 + check_below(c, 2), .group = 1 + check_below(c, 3)};
    if (depthwise) {
        per = 1;
        fold = 1 + check_below(c, 2);
    }
    v->c = per * v->group;
    v->oc = fold * v->group;
    if (check_below(c, 30) == 0)
        *(check_coin(c) ? &v->n : &v->oc) = 0;
    for (int d = 0; d < 3; d++) {
        bool there = d >= 3 - dims;
        v->kernel[d] = there ? 1 + check_below(c, 4) : 1;
        v->stride[d] = there ? 1 + check_below(c, 2) : 1;
        v->dilation[d] = there ? 1 + check_below(c, 2) : 1;
        v->pad[d] = there ? check_below(c, (uint32_t)v->kernel[d]) : 0;
        int64_t span = (v->kernel[d] - 1) * v->dilation[d] + 1;
        int64_t size = there ? check_size(c, 8, dims == 1 ? 300 : 24) : 1, end = v->pad[d];
        v->in[d] = size + v->pad[d] + end < span ? span : size;
        v->out[d] = (v->in[d] + v->pad[d] + end - span) / v->stride[d] + 1;
    }
    v->x_layout = check_coin(c) ? MC_S8_NHWC : MC_S8_NCHW;
    v->y_layout = check_coin(c) ? MC_S8_NHWC : MC_S8_NCHW;
    v->x_signed = check_coin(c);
    v->w_signed = check_coin(c);
    v->x_zero = (int32_t)check_below(c, 256) - (v->x_signed ? 128 : 0);
    v->w_zero = draw_zero(c, v->oc, v->w_signed);
    check_describe(c, "n %d c %d oc %d group %d in %d,%d,%d kernel %d,%d,%d", (int)v->n, (int)v->c,
                   (int)v->oc, (int)v->group, (int)v->in[0], (int)v->in[1], (int)v->in[2],
                   (int)v->kernel[0], (int)v->kernel[1], (int)v->kernel[2]);
}

static void *call_conv(struct check *c, const struct mc_kernels *k, struct mc_conv_s8 v,
                       const void *w, struct mc_pool *pool, size_t bytes)
{
    void *packed = check_alloc(c, k->conv_s8.pack_w_bytes(&v), MC_ALIGN);
    void *scratch = check_alloc(c, k->conv_s8.scratch_bytes(&v, mc_pool_threads(pool)), MC_ALIGN);
    v.y = check_alloc(c, bytes, (size_t)mc_s8_bytes(v.to.type));
    k->conv_s8.pack_w(&v, w, packed, pool);
    v.packed_w = packed;
    k->conv_s8.run(&v, scratch, pool);
    return v.y;
}

static void test_conv(struct check *c)
{
    struct mc_conv_s8 v;
    draw_conv(c, &v);
    int64_t taps = v.kernel[0] * v.kernel[1] * v.kernel[2];
    int64_t count = v.n * v.oc * v.out[0] * v.out[1] * v.out[2];
    draw_out(c, &v.to, v.oc, count, taps * v.c / v.group);
    v.x = draw_bytes(c, v.n * v.c * v.in[0] * v.in[1] * v.in[2]);
    const uint8_t *w = draw_bytes(c, v.oc * v.c / v.group * taps);
    size_t bytes = (size_t)(count * mc_s8_bytes(v.to.type));
    const void *want = call_conv(c, c->ref, v, w, NULL, bytes);
    for (int p = 0; p < CHECK_POOLS; p++)
        check_same(c, "y", call_conv(c, c->k, v, w, c->pool[p], bytes), want, bytes);
}

struct conv_timing {
    const struct mc_kernels *k;
    struct mc_conv_s8 v;
    void *scratch;
};

static void run_conv(void *ctx)
{
    const struct conv_timing *t = ctx;
    t->k->conv_s8.run(&t->v, t->scratch, NULL);
}

/* Channels last, bytes to bytes. */
static void bench_conv(struct check *c)
{
    static const int shapes[][7] = {
        /* n, group, c, oc, size, kernel, stride */
        {1, 1, 64, 64, 56, 3, 1},  {1, 1, 256, 256, 14, 3, 1}, {1, 1, 512, 512, 7, 3, 1},
        {64, 1, 32, 32, 14, 3, 1}, {1, 1, 256, 64, 56, 1, 1},  {1, 1, 3, 64, 224, 7, 2},
        {64, 1, 1, 16, 28, 3, 1},  {1, 96, 96, 96, 56, 3, 1},  {1, 192, 192, 192, 28, 3, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int *s = shapes[i];
        int64_t size = s[4], kernel = s[5], pad = kernel / 2, out = (size - 1) / s[6] + 1;
        struct conv_timing t = {
            .k = c->k,
            .v = {.n = s[0],
                  .c = s[2],
                  .oc = s[3],
                  .group = s[1],
                  .in = {1, size, size},
                  .out = {1, out, out},
                  .kernel = {1, kernel, kernel},
                  .stride = {1, s[6], s[6]},
                  .dilation = {1, 1, 1},
                  .pad = {0, pad, pad},
                  .x_layout = MC_S8_NHWC,
                  .y_layout = MC_S8_NHWC,
                  .w_signed = true,
                  .x_zero = 128,
                  .to = {.type = MC_S8_U8, .scale = &(float){0.001f}, .zero = 128, .hi = 255}}};
        struct mc_conv_s8 *v = &t.v;
        int64_t each = v->c / v->group * kernel * kernel;
        void *packed = check_alloc(c, c->k->conv_s8.pack_w_bytes(v), MC_ALIGN);
        c->k->conv_s8.pack_w(v, draw_bytes(c, v->oc * each), packed, NULL);
        v->packed_w = packed;
        v->x = draw_bytes(c, v->n * v->c * size * size);
        v->y = check_alloc(c, (size_t)(v->n * v->oc * out * out), MC_ALIGN);
        t.scratch = check_alloc(c, c->k->conv_s8.scratch_bytes(v, 1), MC_ALIGN);
        struct bench line = {
            .flops = 2.0 * (double)(v->n * v->oc * out * out * each), .fn = run_conv, .ctx = &t};
        bench_line(&line, "conv_s8 %s %dx%d>%d %dx%d %dx%d/%d", c->k->name, s[0], s[2], s[3], s[4],
                   s[4], s[5], s[5], s[6]);
    }
}

const struct check_row check_conv_s8 = {"conv_s8", 300, test_conv, bench_conv};

/* ---- quant: against the formula in double ---- */

static void draw_row(struct check *c, struct mc_quant_row *r)
{
    static const int32_t lows[] = {-128, 0, -32768, 0}, highs[] = {127, 255, 32767, 65535};
    uint32_t type = check_below(c, 4);
    *r = (struct mc_quant_row){.n = check_size(c, 16, 100), .step = check_below(c, 2)};
    r->lo = lows[type];
    r->hi = highs[type];
    r->zero = check_coin(c) ? r->lo + (int32_t)check_below(c, (uint32_t)(r->hi - r->lo) + 1) : 0;
    float *scale = check_floats(c, r->n, false);
    for (int64_t i = 0; i < r->n; i++) /* powers of two, so that double and float agree on halves */
        scale[i] = exp2f((float)(int)check_below(c, 8) - 4);
    r->scale = scale;
    check_describe(c, "n %d lo %d zero %d step %d", (int)r->n, r->lo, r->zero, (int)r->step);
}

static int32_t rounded(const struct mc_quant_row *r, double v)
{
    v = rint(v) + r->zero;
    return isnan(v) || v < r->lo ? r->lo : v > r->hi ? r->hi : (int32_t)v;
}

static void test_quant(struct check *c)
{
    struct mc_quant_row r;
    draw_row(c, &r);
    bool wide = r.hi - r.lo > 255;
    size_t n = (size_t)r.n, bytes = n * (wide ? 2 : 1);
    float *x = check_floats(c, r.n, true), *back = check_alloc(c, n * sizeof *back, sizeof *back);
    int32_t *whole = check_alloc(c, n * sizeof *whole, sizeof *whole);
    int32_t *want = check_alloc(c, 2 * n * sizeof *want, sizeof *want), *again = want + n;
    for (int64_t i = 0; i < r.n; i++) {
        double scale = (double)r.scale[i * r.step];
        x[i] = rintf(x[i] * 64) * (float)scale / 2; /* many halves */
        whole[i] = (int32_t)check_below(c, 2001) - 1000;
        want[i] = rounded(&r, (double)x[i] / scale);
        again[i] = rounded(&r, whole[i] * scale);
    }
    void *y = check_alloc(c, bytes, wide ? 2 : 1), *z = check_alloc(c, bytes, wide ? 2 : 1);
    c->k->quant.quantize(&r, x, y);
    c->k->quant.requantize(&r, whole, z);
    c->k->quant.dequantize(&r, y, back);
    for (int64_t i = 0; i < r.n; i++) {
        uint32_t mask = wide ? 0xffff : 0xff, got, got_again;
        got = wide ? ((uint16_t *)y)[i] : ((uint8_t *)y)[i];
        got_again = wide ? ((uint16_t *)z)[i] : ((uint8_t *)z)[i];
        if (got != ((uint32_t)want[i] & mask))
            check_fail(c, "%g became %u, must be %d", (double)x[i], got, want[i]);
        if (got_again != ((uint32_t)again[i] & mask))
            check_fail(c, "%d became %u, must be %d", whole[i], got_again, again[i]);
        if (back[i] != (float)(want[i] - r.zero) * r.scale[i * r.step])
            check_fail(c, "%d came back as %g", want[i], (double)back[i]);
    }
}

const struct check_row check_quant = {"quant", 400, test_quant, NULL};
