#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

/* Rows of random bits; those behind n are 0 unless `dirty`. */
static uint8_t *draw_bits(struct check *c, int64_t rows, int64_t n, int64_t step, bool dirty)
{
    uint8_t *x = check_alloc(c, (size_t)(rows * step), 1);
    uint32_t ends = check_below(c, 4); /* all alike: sums go as far as they can */
    for (int64_t i = 0; i < rows * step; i++)
        x[i] = ends < 2 ? (uint8_t)(0 - ends) : (uint8_t)check_below(c, 256);
    for (int64_t i = 0; i < rows && n % 8 && !dirty; i++)
        x[i * step + n / 8] &= (uint8_t)((1 << n % 8) - 1);
    return x;
}

static int sign_at(const uint8_t *row, int64_t i)
{
    return row[i / 8] >> i % 8 & 1 ? 1 : -1;
}

/* Thresholds: one or one for each of n, some at the ends of the numbers. */
static float *draw_thresholds(struct check *c, int64_t n, int64_t *ret_step)
{
    static const float ends[] = {INFINITY, -INFINITY, NAN, 0, -0.0f};
    *ret_step = check_coin(c);
    float *t = check_floats(c, n, false);
    for (int i = 0; i < 3 && n > 0; i++)
        t[check_below(c, (uint32_t)n)] = ends[check_below(c, 5)];
    return t;
}

/* ---- packing ---- */

static void test_rows(struct check *c)
{
    struct mc_xnor_pack p = {.rows = check_size(c, 4, 20), .cols = check_size(c, 64, 300)};
    p.x_row = p.cols + check_below(c, 4);
    p.bits_row = MC_XNOR_BYTES(p.cols) + check_below(c, 4);
    const float *x = check_floats(c, p.rows * p.x_row, true);
    const float *t = draw_thresholds(c, p.cols, &p.t_step);
    p.x = x;
    p.threshold = t;
    check_describe(c, "rows %d cols %d step %d", (int)p.rows, (int)p.cols, (int)p.t_step);
    for (int pool = 0; pool < CHECK_POOLS; pool++) {
        p.bits = check_alloc(c, (size_t)(p.rows * p.bits_row), 1);
        memset(p.bits, 0x5a, (size_t)(p.rows * p.bits_row));
        c->k->xnor.pack(&p, c->pool[pool]);
        for (int64_t i = 0; i < p.rows; i++) {
            for (int64_t j = 0; j < 8 * MC_XNOR_BYTES(p.cols); j++) {
                bool want = j < p.cols && !(x[i * p.x_row + j] < t[j * p.t_step]);
                if (want != (sign_at(p.bits + i * p.bits_row, j) == 1))
                    check_fail(c, "bit %d of row %d is not %d", (int)j, (int)i, want);
            }
            for (int64_t j = MC_XNOR_BYTES(p.cols); j < p.bits_row; j++) {
                if (p.bits[i * p.bits_row + j] != 0x5a)
                    check_fail(c, "byte %d of the gap after row %d was written", (int)j, (int)i);
            }
        }
    }
}

static void test_image(struct check *c)
{
    struct mc_xnor_image p = {.n = 1 + check_below(c, 2),
                              .channels = check_size(c, 32, 100),
                              .pixels = check_size(c, 16, 60)};
    int64_t words = MC_XNOR_WORDS(p.channels);
    const float *x = check_floats(c, p.n * p.channels * p.pixels, true);
    const float *t = draw_thresholds(c, p.channels, &p.t_step);
    p.x = x;
    p.threshold = t;
    check_describe(c, "image n %d channels %d pixels %d step %d", (int)p.n, (int)p.channels,
                   (int)p.pixels, (int)p.t_step);
    for (int pool = 0; pool < CHECK_POOLS; pool++) {
        p.bits = check_alloc(c, (size_t)(p.n * words * p.pixels) * sizeof(uint32_t), 4);
        c->k->xnor.pack_image(&p, c->pool[pool]);
        for (int64_t i = 0; i < p.n; i++)
            for (int64_t ch = 0; ch < 32 * words; ch++)
                for (int64_t at = 0; at < p.pixels; at++) {
                    uint32_t word = p.bits[(i * words + ch / 32) * p.pixels + at];
                    bool want = ch < p.channels &&
                                !(x[(i * p.channels + ch) * p.pixels + at] < t[ch * p.t_step]);
                    if (want != (word >> ch % 32 & 1))
                        check_fail(c, "bit %d of pixel %d is not %d", (int)ch, (int)at, want);
                }
    }
}

static void test_pack(struct check *c)
{
    if (check_coin(c))
        test_rows(c);
    else
        test_image(c);
}

struct pack_timing {
    const struct mc_kernels *k;
    struct mc_xnor_pack p;
    struct mc_xnor_image image;
};

static void run_pack(void *ctx)
{
    const struct pack_timing *t = ctx;
    t->k->xnor.pack(&t->p, NULL);
}

static void run_image(void *ctx)
{
    const struct pack_timing *t = ctx;
    t->k->xnor.pack_image(&t->image, NULL);
}

static void bench_pack(struct check *c)
{
    enum { N = 4096, CHANNELS = 256, PIXELS = 3136 };
    struct pack_timing t = {.k = c->k};
    t.p = (struct mc_xnor_pack){.rows = N,
                                .cols = N,
                                .x = check_floats(c, N * N, false),
                                .x_row = N,
                                .threshold = check_floats(c, N, false),
                                .t_step = 1,
                                .bits_row = N / 8};
    t.p.bits = check_alloc(c, N * N / 8, MC_ALIGN);
    t.image = (struct mc_xnor_image){.n = 1,
                                     .channels = CHANNELS,
                                     .pixels = PIXELS,
                                     .x = t.p.x,
                                     .threshold = t.p.threshold,
                                     .t_step = 1,
                                     .bits = (uint32_t *)t.p.bits};
    struct bench line = {.bytes = 4.0 * N * N, .fn = run_pack, .ctx = &t};
    bench_line(&line, "xnor pack %s %dx%d", c->k->name, N, N);
    line = (struct bench){.bytes = 4.0 * CHANNELS * PIXELS, .fn = run_image, .ctx = &t};
    bench_line(&line, "xnor pack image %s %dx56x56", c->k->name, CHANNELS);
}

const struct check_row check_xnor_pack = {"xnor_pack", 300, test_pack, bench_pack};

/* ---- the output stage ---- */

/* For n outputs of sums of k signs. */
static void draw_out(struct check *c, struct mc_xnor_out *to, int64_t n, int64_t k)
{
    *to = (struct mc_xnor_out){0};
    if (check_below(c, 3) == 0) {
        int32_t *limit = check_alloc(c, (size_t)(2 * n) * sizeof *limit, sizeof *limit);
        for (int64_t i = 0; i < 2 * n; i++) {
            limit[i] = (int32_t)check_below(c, (uint32_t)(2 * k + 1)) - (int32_t)k;
            limit[i] = check_below(c, 4) ? limit[i] / 4 : i < n ? INT32_MIN : INT32_MAX;
        }
        to->least = limit;
        to->most = limit + n;
        return;
    }
    if (check_coin(c))
        to->scale = check_floats(c, n, check_below(c, 4) == 0);
    if (check_coin(c))
        to->bias = check_floats(c, n, check_below(c, 4) == 0);
}

static bool bit_of(const struct mc_xnor_out *to, int64_t sum, int64_t j)
{
    return sum >= to->least[j] && sum <= to->most[j];
}

static void check_float(struct check *c, const struct mc_xnor_out *to, int64_t sum, int64_t j,
                        float got)
{
    float want = (float)sum;
    if (to->scale)
        want *= ((const float *)to->scale)[j];
    if (to->bias)
        want += ((const float *)to->bias)[j];
    bool same = isnan(want) ? isnan(got) : want == got && signbit(want) == signbit(got);
    if (!same)
        check_fail(c, "output %d is %.9g, not %.9g (sum %d)", (int)j, (double)got, (double)want,
                   (int)sum);
}

/* ---- the product ---- */

static void check_product(struct check *c, const struct mc_xnor_gemm *g, const uint8_t *b)
{
    int64_t b_row = MC_XNOR_BYTES(g->k);
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            int64_t sum = 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += sign_at(g->a + i * g->a_row, p) * sign_at(b + j * b_row, p);
            if (!g->to.least)
                check_float(c, &g->to, sum, j, ((const float *)g->y)[i * g->y_row + j]);
            else if (bit_of(&g->to, sum, j) !=
                     (sign_at((const uint8_t *)g->y + i * g->y_row, j) == 1))
                check_fail(c, "bit %d of row %d is wrong (sum %d)", (int)j, (int)i, (int)sum);
        }
}

/* What lies behind the outputs: bits of 0 up to whole bytes, then what was there. */
static void check_behind(struct check *c, const struct mc_xnor_gemm *g)
{
    bool bits = g->to.least;
    int64_t each = bits ? 1 : 4, used = bits ? MC_XNOR_BYTES(g->n) : g->n;
    for (int64_t i = 0; i < g->m; i++) {
        const uint8_t *row = (const uint8_t *)g->y + i * g->y_row * each;
        for (int64_t j = g->n; bits && j < 8 * used; j++) {
            if (sign_at(row, j) == 1)
                check_fail(c, "bit %d behind row %d is set", (int)j, (int)i);
        }
        for (int64_t j = used * each; i + 1 < g->m && j < g->y_row * each; j++) {
            if (row[j] != 0xff)
                check_fail(c, "byte %d of the gap after row %d was written", (int)j, (int)i);
        }
    }
}

static void test_gemm(struct check *c)
{
    struct mc_xnor_gemm g = {.m = check_size(c, 4, check_below(c, 8) ? 20 : 150),
                             .n = check_size(c, 32, check_below(c, 8) ? 80 : 600),
                             .k = check_below(c, 30) ? check_size(c, 64, 300) : 0};
    if (check_below(c, 6) == 0) { /* beyond what bytes can count */
        g.k = 3900 + check_below(c, 800);
        g.m = 1 + check_below(c, 12);
        g.n = 1 + check_below(c, 40);
    }
    g.a_row = MC_XNOR_BYTES(g.k) + check_below(c, 3);
    g.a = draw_bits(c, g.m, g.k, g.a_row, false);
    const uint8_t *b = draw_bits(c, g.n, g.k, MC_XNOR_BYTES(g.k), check_coin(c));
    draw_out(c, &g.to, g.n, g.k);
    int64_t row = g.to.least ? MC_XNOR_BYTES(g.n) : g.n, each = g.to.least ? 1 : 4;
    g.y_row = row + check_below(c, 3);
    check_describe(c, "m %d n %d k %d%s%s%s", (int)g.m, (int)g.n, (int)g.k,
                   g.to.scale ? " scale" : "", g.to.bias ? " bias" : "",
                   g.to.least ? " to bits" : "");
    for (int p = 0; p < CHECK_POOLS; p++) {
        const struct mc_xnor_kernels *k = &c->k->xnor;
        void *packed = check_alloc(c, k->pack_b_bytes(g.k, g.n), MC_ALIGN);
        void *scratch = check_alloc(c, k->scratch_bytes(g.m, g.n, g.k, p + 1), MC_ALIGN);
        k->pack_b(g.k, g.n, b, packed, c->pool[p]);
        g.packed_b = packed;
        g.y = check_alloc(c, (size_t)(((g.m - 1) * g.y_row + row) * each), (size_t)each);
        k->gemm(&g, scratch, c->pool[p]);
        check_product(c, &g, b);
        check_behind(c, &g);
    }
}

struct timing {
    const struct mc_kernels *k;
    struct mc_xnor_pack pack;
    struct mc_xnor_gemm g;
    struct mc_gemm f;
    void *scratch, *f_scratch;
};

static void run_xnor(void *ctx)
{
    const struct timing *t = ctx;
    t->k->xnor.gemm(&t->g, t->scratch, NULL);
}

static void run_both(void *ctx)
{
    const struct timing *t = ctx;
    t->k->xnor.pack(&t->pack, NULL);
    t->k->xnor.gemm(&t->g, t->scratch, NULL);
}

static void run_f32(void *ctx)
{
    const struct timing *t = ctx;
    t->k->gemm.run(&t->f, t->f_scratch, NULL);
}

static void draw_timing(struct check *c, struct timing *t, int64_t m, int64_t n, int64_t k)
{
    const struct mc_kernels *kernels = c->k;
    *t = (struct timing){.k = kernels};
    const float *x = check_floats(c, m * k, false), *scale = check_floats(c, n, false);
    void *packed = check_alloc(c, kernels->xnor.pack_b_bytes(k, n), MC_ALIGN);
    kernels->xnor.pack_b(k, n, draw_bits(c, n, k, MC_XNOR_BYTES(k), false), packed, NULL);
    uint8_t *bits = check_alloc(c, (size_t)(m * MC_XNOR_BYTES(k)), MC_ALIGN);
    float *y = check_alloc(c, (size_t)(m * n) * sizeof *y, MC_ALIGN);
    t->pack = (struct mc_xnor_pack){.rows = m,
                                    .cols = k,
                                    .x = x,
                                    .x_row = k,
                                    .threshold = check_floats(c, k, false),
                                    .t_step = 1,
                                    .bits = bits,
                                    .bits_row = MC_XNOR_BYTES(k)};
    kernels->xnor.pack(&t->pack, NULL);
    t->g = (struct mc_xnor_gemm){.m = m,
                                 .n = n,
                                 .k = k,
                                 .a = bits,
                                 .a_row = MC_XNOR_BYTES(k),
                                 .packed_b = packed,
                                 .to = {.scale = scale, .bias = scale},
                                 .y = y,
                                 .y_row = n};
    t->scratch = check_alloc(c, kernels->xnor.scratch_bytes(m, n, k, 1), MC_ALIGN);
    void *f_packed = check_alloc(c, kernels->gemm.pack_b_bytes(k, n), MC_ALIGN);
    kernels->gemm.pack_b(k, n, check_floats(c, k * n, false), n, 1, f_packed, NULL);
    t->f_scratch = check_alloc(c, kernels->gemm.scratch_bytes(m, n, k, 1), MC_ALIGN);
    t->f = (struct mc_gemm){.m = m,
                            .n = n,
                            .k = k,
                            .a = x,
                            .a_row = k,
                            .a_col = 1,
                            .packed_b = f_packed,
                            .c = y,
                            .c_row = n,
                            .alpha = 1};
}

/* Beside the same product in float32; the second line of a shape includes the signs of a. */
static void bench_gemm(struct check *c)
{
    static const int shapes[][3] = {{1024, 1024, 1024}, {4096, 4096, 4096}, {64, 4096, 4096},
                                    {1, 4096, 4096},    {4, 4096, 4096},    {8, 4096, 4096},
                                    {64, 512, 512},     {1, 1024, 1024}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        struct timing t;
        draw_timing(c, &t, m, n, k);
        struct bench line = {.flops = 2.0 * m * n * k,
                             .bytes = m == 1 ? (double)n * k / 8 : 0,
                             .fn = run_xnor,
                             .ctx = &t,
                             .rival = m <= 1024 ? run_f32 : NULL};
        bench_line(&line, "xnor %s %dx%dx%d (rival: float32)", c->k->name, m, n, k);
        line.fn = run_both;
        bench_line(&line, "xnor with packing");
    }
}

const struct check_row check_xnor_gemm = {"xnor_gemm", 400, test_gemm, bench_gemm};

/* ---- numbers with signs ---- */

static void run_signs(struct check *c, const struct mc_kernels *k, struct mc_xnor_signs g,
                      const uint8_t *rows, struct mc_pool *pool)
{
    void *packed = check_alloc(c, k->xnor.pack_b_bytes(g.k, g.n), MC_ALIGN);
    void *scratch = check_alloc(c, k->xnor.signs_scratch_bytes(g.k), MC_ALIGN);
    k->xnor.pack_b(g.k, g.n, rows, packed, pool);
    g.packed_b = packed;
    k->xnor.signs(&g, scratch, pool);
}

static void test_signs(struct check *c)
{
    struct mc_xnor_signs g = {.m = 1 + check_below(c, 9),
                              .n = check_size(c, 32, check_below(c, 8) ? 80 : 600),
                              .k = check_below(c, 30) ? check_size(c, 64, 300) : 0};
    bool specials = check_below(c, 6) == 0;
    g.x_row = g.k + check_below(c, 3);
    g.y_row = g.n;
    const uint8_t *rows = draw_bits(c, g.n, g.k, MC_XNOR_BYTES(g.k), check_coin(c));
    const float *x = check_floats(c, g.m * g.x_row, specials);
    const float *scale = check_coin(c) ? check_floats(c, g.n, false) : NULL;
    const float *bias = check_coin(c) ? check_floats(c, g.n, false) : NULL;
    check_describe(c, "signs m %d n %d k %d%s%s%s", (int)g.m, (int)g.n, (int)g.k,
                   scale ? " scale" : "", bias ? " bias" : "", specials ? " specials" : "");
    size_t count = (size_t)(g.m * g.n);
    double *want = check_alloc(c, count * sizeof *want, sizeof *want);
    double *size = check_alloc(c, count * sizeof *size, sizeof *size);
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++) {
            double sum = 0, s = scale ? (double)scale[j] : 1, most = 0;
            for (int64_t p = 0; p < g.k; p++) {
                double v = (double)x[i * g.x_row + p];
                sum += sign_at(rows + j * MC_XNOR_BYTES(g.k), p) * v;
                most += fabs(v);
            }
            want[i * g.n + j] = s * sum + (bias ? (double)bias[j] : 0);
            size[i * g.n + j] = fabs(s) * most;
        }
    g.x = x;
    g.scale = scale;
    g.bias = bias;
    float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        g.y = check_alloc(c, count * sizeof(float), sizeof(float));
        run_signs(c, c->k, g, rows, c->pool[p]);
        check_close(c, "y", g.y, want, size, 1e-6, 1e-6, (int64_t)count);
        first = p ? first : g.y;
        check_same(c, "y of more threads", g.y, first, count * sizeof(float));
    }
}

struct signs_timing {
    const struct mc_kernels *k;
    struct mc_xnor_signs g;
    struct mc_gemm f;
    void *scratch, *f_scratch;
};

static void time_signs(void *ctx)
{
    const struct signs_timing *t = ctx;
    t->k->xnor.signs(&t->g, t->scratch, NULL);
}

static void time_dense(void *ctx)
{
    const struct signs_timing *t = ctx;
    t->k->gemm.run(&t->f, t->f_scratch, NULL);
}

static void bench_signs(struct check *c)
{
    static const int shapes[][3] = {{1, 4096, 4096},  {4, 4096, 4096}, {8, 4096, 4096},
                                    {16, 4096, 4096}, {1, 1024, 1024}, {8, 1024, 1024},
                                    {1, 512, 512}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        struct timing all;
        draw_timing(c, &all, m, n, k);
        struct signs_timing t = {.k = c->k, .f = all.f, .f_scratch = all.f_scratch};
        t.g = (struct mc_xnor_signs){.m = m,
                                     .n = n,
                                     .k = k,
                                     .x = all.f.a,
                                     .x_row = k,
                                     .packed_b = all.g.packed_b,
                                     .scale = all.g.to.scale,
                                     .y = all.g.y,
                                     .y_row = n};
        t.scratch = check_alloc(c, c->k->xnor.signs_scratch_bytes(k), MC_ALIGN);
        struct bench line = {
            .flops = 2.0 * m * n * k, .fn = time_signs, .ctx = &t, .rival = time_dense};
        bench_line(&line, "signs %s %dx%dx%d (rival: float32)", c->k->name, m, n, k);
    }
}

const struct check_row check_xnor_signs = {"xnor_signs", 300, test_signs, bench_signs};

/* ---- the convolution ---- */

static void draw_conv(struct check *c, struct mc_xnor_conv *v)
{
    *v = (struct mc_xnor_conv){.n = 1 + check_below(c, 3),
                               .channels = check_size(c, check_coin(c) ? 8 : 32, 100),
                               .filters = check_size(c, 4, check_below(c, 6) ? 20 : 150)};
    for (int d = 0; d < 2; d++) {
        v->kernel[d] = 1 + check_below(c, 4);
        v->stride[d] = 1 + check_below(c, 3);
        v->dilation[d] = 1 + check_below(c, 2);
        int64_t span = (v->kernel[d] - 1) * v->dilation[d] + 1;
        v->pad[d] = check_below(c, (uint32_t)(check_below(c, 4) ? span : 2 * span + 1));
        int64_t size = check_size(c, 8, 20), end = check_below(c, 3);
        v->in[d] = size + v->pad[d] + end < span ? span : size;
        v->out[d] = (v->in[d] + v->pad[d] + end - span) / v->stride[d] + 1;
    }
    if (check_below(c, 5) == 0)
        for (int d = 0; d < 2; d++) { /* pointwise */
            v->kernel[d] = v->stride[d] = v->dilation[d] = 1;
            v->pad[d] = 0;
            v->out[d] = v->in[d];
        }
    draw_out(c, &v->to, v->filters, v->channels * v->kernel[0] * v->kernel[1]);
    check_describe(c,
                   "n %d channels %d filters %d in %d,%d kernel %d,%d stride %d,%d dilation %d,%d "
                   "pad %d,%d%s",
                   (int)v->n, (int)v->channels, (int)v->filters, (int)v->in[0], (int)v->in[1],
                   (int)v->kernel[0], (int)v->kernel[1], (int)v->stride[0], (int)v->stride[1],
                   (int)v->dilation[0], (int)v->dilation[1], (int)v->pad[0], (int)v->pad[1],
                   v->to.least ? " to bits" : "");
}

/* Sum at an output place, from the words and from rows as in a file. */
static int64_t conv_sum(const struct mc_xnor_conv *v, const uint8_t *row, int64_t image, int64_t oy,
                        int64_t ox)
{
    int64_t sum = 0, at = 0, words = MC_XNOR_WORDS(v->channels);
    for (int64_t ch = 0; ch < v->channels; ch++)
        for (int64_t ky = 0; ky < v->kernel[0]; ky++)
            for (int64_t kx = 0; kx < v->kernel[1]; kx++, at++) {
                int64_t y = oy * v->stride[0] + ky * v->dilation[0] - v->pad[0];
                int64_t x = ox * v->stride[1] + kx * v->dilation[1] - v->pad[1];
                if (y < 0 || y >= v->in[0] || x < 0 || x >= v->in[1])
                    continue;
                uint32_t word = v->x[((image * words + ch / 32) * v->in[0] + y) * v->in[1] + x];
                sum += (word >> ch % 32 & 1 ? 1 : -1) * sign_at(row, at);
            }
    return sum;
}

static void check_conv_output(struct check *c, const struct mc_xnor_conv *v, const uint8_t *rows)
{
    int64_t row = MC_XNOR_BYTES(v->channels * v->kernel[0] * v->kernel[1]);
    int64_t pixels = v->out[0] * v->out[1], words = MC_XNOR_WORDS(v->filters);
    for (int64_t i = 0; i < v->n; i++)
        for (int64_t at = 0; at < pixels; at++)
            for (int64_t f = 0; f < (v->to.least ? 32 * words : v->filters); f++) {
                const uint32_t *word = (const uint32_t *)v->y + (i * words + f / 32) * pixels + at;
                int64_t sum = f >= v->filters
                                  ? 0
                                  : conv_sum(v, rows + f * row, i, at / v->out[1], at % v->out[1]);
                if (!v->to.least)
                    check_float(c, &v->to, sum, f,
                                ((const float *)v->y)[(i * v->filters + f) * pixels + at]);
                else if ((f < v->filters && bit_of(&v->to, sum, f)) != (*word >> f % 32 & 1))
                    check_fail(c, "bit %d of pixel %d is wrong (sum %d)", (int)f, (int)at,
                               (int)sum);
            }
}

static uint32_t *draw_words(struct check *c, int64_t n, int64_t channels, int64_t pixels)
{
    int64_t words = MC_XNOR_WORDS(channels);
    uint32_t *x = check_alloc(c, (size_t)(n * words * pixels) * sizeof *x, sizeof *x);
    for (int64_t i = 0; i < n * words * pixels; i++) {
        int64_t used = channels - i / pixels % words * 32;
        x[i] = check_below(c, UINT32_MAX);
        x[i] &= used < 32 ? (1u << used) - 1 : UINT32_MAX;
    }
    return x;
}

static void test_conv(struct check *c)
{
    struct mc_xnor_conv v;
    draw_conv(c, &v);
    v.x = draw_words(c, v.n, v.channels, v.in[0] * v.in[1]);
    int64_t k = v.channels * v.kernel[0] * v.kernel[1], pixels = v.out[0] * v.out[1];
    const uint8_t *rows = draw_bits(c, v.filters, k, MC_XNOR_BYTES(k), check_coin(c));
    int64_t planes = v.to.least ? MC_XNOR_WORDS(v.filters) : v.filters;
    for (int p = 0; p < CHECK_POOLS; p++) {
        const struct mc_xnor_kernels *x = &c->k->xnor;
        void *packed = check_alloc(c, x->pack_w_bytes(&v), MC_ALIGN);
        void *scratch = check_alloc(c, x->conv_scratch_bytes(&v, p + 1), MC_ALIGN);
        x->pack_w(&v, rows, packed, c->pool[p]);
        v.packed_w = packed;
        v.y = check_alloc(c, (size_t)(v.n * planes * pixels) * sizeof(float), sizeof(float));
        x->conv(&v, scratch, c->pool[p]);
        check_conv_output(c, &v, rows);
    }
}

struct conv_timing {
    const struct mc_kernels *k;
    struct mc_xnor_image pack;
    struct mc_xnor_conv v;
    struct mc_conv f;
    void *scratch, *f_scratch;
};

static void run_conv(void *ctx)
{
    const struct conv_timing *t = ctx;
    t->k->xnor.conv(&t->v, t->scratch, NULL);
}

static void run_conv_both(void *ctx)
{
    const struct conv_timing *t = ctx;
    t->k->xnor.pack_image(&t->pack, NULL);
    t->k->xnor.conv(&t->v, t->scratch, NULL);
}

static void run_conv_f32(void *ctx)
{
    const struct conv_timing *t = ctx;
    t->k->conv.run(&t->f, t->f_scratch, NULL);
}

static void draw_conv_timing(struct check *c, struct conv_timing *t, const int *s)
{
    int64_t size = s[3], kernel = s[4], pad = kernel / 2, out = (size - 1) / s[5] + 1;
    int64_t k = s[1] * kernel * kernel;
    const struct mc_kernels *kernels = c->k;
    const float *x = check_floats(c, s[0] * s[1] * size * size, false);
    uint32_t *bits = draw_words(c, s[0], s[1], size * size);
    float *y = check_alloc(c, (size_t)(s[0] * s[2] * out * out) * sizeof *y, MC_ALIGN);
    *t = (struct conv_timing){.k = kernels};
    t->pack = (struct mc_xnor_image){.n = s[0],
                                     .channels = s[1],
                                     .pixels = size * size,
                                     .x = x,
                                     .threshold = check_floats(c, s[1], false),
                                     .t_step = 1,
                                     .bits = bits};
    t->v = (struct mc_xnor_conv){.n = s[0],
                                 .channels = s[1],
                                 .filters = s[2],
                                 .in = {size, size},
                                 .out = {out, out},
                                 .kernel = {kernel, kernel},
                                 .stride = {s[5], s[5]},
                                 .dilation = {1, 1},
                                 .pad = {pad, pad},
                                 .x = bits,
                                 .to = {.scale = check_floats(c, s[2], false)},
                                 .y = y};
    void *packed = check_alloc(c, kernels->xnor.pack_w_bytes(&t->v), MC_ALIGN);
    kernels->xnor.pack_w(&t->v, draw_bits(c, s[2], k, MC_XNOR_BYTES(k), false), packed, NULL);
    t->v.packed_w = packed;
    t->scratch = check_alloc(c, kernels->xnor.conv_scratch_bytes(&t->v, 1), MC_ALIGN);
    t->f = (struct mc_conv){.n = s[0],
                            .c = s[1],
                            .oc = s[2],
                            .group = 1,
                            .in = {1, size, size},
                            .out = {1, out, out},
                            .kernel = {1, kernel, kernel},
                            .stride = {1, s[5], s[5]},
                            .dilation = {1, 1, 1},
                            .pad = {0, pad, pad},
                            .x = x,
                            .y = y};
    void *f_packed = check_alloc(c, kernels->conv.pack_w_bytes(&t->f), MC_ALIGN);
    kernels->conv.pack_w(&t->f, check_floats(c, s[2] * k, false), f_packed, NULL);
    t->f.packed_w = f_packed;
    t->f_scratch = check_alloc(c, kernels->conv.scratch_bytes(&t->f, 1), MC_ALIGN);
}

static void bench_conv(struct check *c)
{
    static const int shapes[][6] = {/* n, channels, filters, size, kernel, stride */
                                    {1, 64, 64, 56, 3, 1},   {1, 128, 128, 28, 3, 1},
                                    {1, 256, 256, 14, 3, 1}, {8, 256, 256, 14, 3, 1},
                                    {1, 512, 512, 7, 3, 1},  {64, 32, 32, 14, 3, 1},
                                    {1, 256, 64, 56, 1, 1},  {1, 64, 128, 56, 3, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int *s = shapes[i];
        struct conv_timing t;
        draw_conv_timing(c, &t, s);
        struct bench line = {.flops = 2.0 * (double)(t.v.n * t.v.filters * t.v.out[0]) *
                                      (double)(t.v.out[1] * t.v.channels * s[4] * s[4]),
                             .fn = run_conv,
                             .ctx = &t,
                             .rival = run_conv_f32};
        bench_line(&line, "xnor conv %s %dx%d>%d %dx%d %dx%d/%d (rival: float32)", c->k->name, s[0],
                   s[1], s[2], s[3], s[3], s[4], s[4], s[5]);
        line.fn = run_conv_both;
        bench_line(&line, "xnor conv with packing");
    }
}

const struct check_row check_xnor_conv = {"xnor_conv", 300, test_conv, bench_conv};
