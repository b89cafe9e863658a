/* Weights in small forms, bits that products of signs hand on, and conversions of whole tensors, on a device: against
 * formulas in double or in whole numbers. */
#include <math.h>
#include <string.h>

#include "check.h"

static uint8_t *draw_bytes(struct check *c, int64_t n)
{
    uint8_t *x = check_alloc(c, (size_t)n, 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (uint8_t)check_below(c, 256);
    return x;
}

static float *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(float), sizeof(float));
}

static double *sums(struct check *c, int64_t n)
{
    double *x = check_alloc(c, (size_t)n * sizeof *x, sizeof *x);
    memset(x, 0, (size_t)n * sizeof *x);
    return x;
}

/* ---- weights ---- */

static void test_binary(struct check *c)
{
    struct mc_small_binary b = {.rows = check_size(c, 8, 40), .columns = check_size(c, 64, 700)};
    int64_t n = b.rows * b.columns, bytes = (b.columns + 7) / 8;
    const uint8_t *bits = draw_bytes(c, b.rows * bytes);
    const float *scale = check_floats(c, b.rows, false), *d = check_floats(c, n, false);
    float *w = room(c, n), *sum = room(c, b.rows);
    double *want = sums(c, b.rows), *size = sums(c, b.rows);
    check_describe(c, "binary %d x %d", (int)b.rows, (int)b.columns);
    b.bits = bits;
    b.scale = scale;
    b.w = w;
    c->k->small.binary(&b, NULL);
    b.w = (void *)(uintptr_t)d;
    b.sums = sum;
    c->k->small.binary_gradient(&b, NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = i / b.columns, at = i % b.columns;
        bool plus = bits[r * bytes + at / 8] >> at % 8 & 1;
        if (w[i] != (plus ? scale[r] : -scale[r]))
            check_fail(c, "weight %d is %g", (int)i, (double)w[i]);
        want[r] += plus ? (double)d[i] : -(double)d[i];
        size[r] += fabs((double)d[i]);
    }
    check_close(c, "sum", sum, want, size, 1e-7, 0, b.rows);
}

static void test_shared(struct check *c)
{
    struct mc_small_shared s = {.count = check_size(c, 1024, 5000), .planes = check_coin(c)};
    s.bits = s.planes ? 1 + (int)check_below(c, 7) : 1 << check_below(c, 4);
    int64_t each = (s.count + 7) / 8, book = (int64_t)1 << s.bits;
    const uint8_t *index = draw_bytes(c, s.planes ? each * s.bits : (s.count * s.bits + 7) / 8);
    const float *values = check_floats(c, book, false), *d = check_floats(c, s.count, false);
    float *w = room(c, s.count), *sum = room(c, book);
    double *want = sums(c, book), *size = sums(c, book);
    check_describe(c, "shared %d, %d bits%s", (int)s.count, s.bits, s.planes ? " in planes" : "");
    s.index = index;
    s.book = values;
    s.w = w;
    c->k->small.shared(&s, NULL);
    s.w = (void *)(uintptr_t)d;
    s.sums = sum;
    c->k->small.shared_gradient(&s, NULL);
    for (int64_t i = 0; i < s.count; i++) {
        int at = 0;
        for (int p = 0; p < s.bits; p++) {
            int64_t bit = i * s.bits + p;
            at |= (s.planes ? index[p * each + i / 8] >> i % 8 & 1 : index[bit / 8] >> bit % 8 & 1)
                  << p;
        }
        if (w[i] != values[at])
            check_fail(c, "weight %d is %g, not number %d", (int)i, (double)w[i], at);
        want[at] += (double)d[i];
        size[at] += fabs((double)d[i]);
    }
    check_close(c, "sum", sum, want, size, 1e-7, 0, book);
}

static void test_gate(struct check *c)
{
    struct mc_small_gate g = {1 + check_below(c, 3),
                              1 + check_below(c, 3),
                              check_size(c, 8, 20),
                              check_size(c, 16, 40),
                              NULL,
                              NULL,
                              1,
                              1,
                              NULL};
    g.scale_rows = check_coin(c) ? g.rows : 1;
    g.scale_cols = check_coin(c) ? g.columns : 1;
    int64_t gates = g.groups * g.gates, n = gates * g.rows * g.columns;
    const float *x = check_floats(c, g.groups * g.rows * g.columns, false);
    const float *s = check_floats(c, gates * g.scale_rows * g.scale_cols, false);
    float *y = room(c, n);
    check_describe(c, "gates %d of %d x %d", (int)gates, (int)g.rows, (int)g.columns);
    g.x = x;
    g.scale = s;
    g.y = y;
    c->k->small.gate(&g, NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i % g.columns, row = i / g.columns % g.rows, gate = i / g.columns / g.rows;
        int64_t from = (gate * g.scale_rows + (g.scale_rows > 1 ? row : 0)) * g.scale_cols;
        float v = x[(gate / g.gates * g.rows + row) * g.columns + at];
        if (y[i] != v * s[from + (g.scale_cols > 1 ? at : 0)])
            check_fail(c, "element %d is %g", (int)i, (double)y[i]);
    }
}

static void test_sign(struct check *c)
{
    bool last = check_coin(c);
    struct mc_small_sign s = {.outputs = check_size(c, 8, 40), .n = check_size(c, 256, 700)};
    int64_t n = s.outputs * s.n;
    s.output_step = last ? 1 : s.n;
    s.step = last ? s.outputs : 1;
    const float *w = check_floats(c, n, false);
    float *y = room(c, n), *plain = room(c, n);
    double *want = sums(c, n);
    check_describe(c, "signs of %d x %d%s", (int)s.outputs, (int)s.n, last ? " last" : "");
    s.w = w;
    s.y = y;
    c->k->small.sign_weight(&s, NULL);
    c->k->small.sign(n, w, plain, NULL);
    for (int64_t o = 0; o < s.outputs; o++) {
        double alpha = 0;
        for (int64_t i = 0; i < s.n; i++)
            alpha += fabs((double)w[o * s.output_step + i * s.step]) / (double)s.n;
        for (int64_t i = 0; i < s.n; i++) {
            int64_t at = o * s.output_step + i * s.step;
            want[at] = w[at] < 0 ? -alpha : alpha;
            if (plain[at] != (w[at] < 0 ? -1 : 1))
                check_fail(c, "sign of %g is %g", (double)w[at], (double)plain[at]);
        }
    }
    check_close(c, "alpha", y, want, NULL, 1e-6, 0, n);
}

static void test_circulant(struct check *c)
{
    struct mc_circulant m = {1 + check_below(c, 4), 1 + check_below(c, 4), 1 + check_below(c, 20),
                             false};
    int64_t taps = 1 + check_below(c, 9), cols = m.p * m.q * m.b * taps, n = cols * m.b;
    const float *col = check_floats(c, cols, false);
    float *w = room(c, n), *back = room(c, cols);
    double *want = sums(c, cols);
    check_describe(c, "columns %d x %d x %d, %d taps", (int)m.p, (int)m.q, (int)m.b, (int)taps);
    c->k->circulant.expand(&m, taps, col, w, NULL);
    c->k->circulant.fold(&m, taps, w, back, NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t tap = i % taps, s = i / taps % (m.q * m.b), r = i / taps / (m.q * m.b);
        int64_t at = (r / m.b * m.q + s / m.b) * m.b + (r % m.b - s % m.b + m.b) % m.b;
        if (w[i] != col[at * taps + tap])
            check_fail(c, "element %d is %g", (int)i, (double)w[i]);
        want[at * taps + tap] += (double)w[i];
    }
    check_close(c, "fold", back, want, NULL, 1e-6, 0, cols);
}

static void test_weights(struct check *c)
{
    void (*const tests[])(struct check *) = {test_binary, test_shared, test_gate, test_sign,
                                             test_circulant};
    tests[check_below(c, sizeof tests / sizeof *tests)](c);
}

const struct check_row check_small = {"small", 200, test_weights, NULL};

/* ---- bits handed on ---- */

static bool pooled(const struct mc_xnor_hand *h, int64_t image, int64_t channel, int64_t y,
                   int64_t x)
{
    int64_t words = MC_XNOR_WORDS(h->channels), plane = (image * words + channel / 32) * h->in[0];
    bool any = false;
    for (int64_t i = 0; i < h->kernel[0]; i++)
        for (int64_t j = 0; j < h->kernel[1]; j++) {
            int64_t r = y * h->stride[0] - h->pad[0] + i * h->dilation[0];
            int64_t s = x * h->stride[1] - h->pad[1] + j * h->dilation[1];
            if (r >= 0 && r < h->in[0] && s >= 0 && s < h->in[1])
                any |= h->bits[(plane + r) * h->in[1] + s] >> channel % 32 & 1;
        }
    return any != (h->turned && h->turned[channel / 32] >> channel % 32 & 1);
}

static uint32_t *draw_words(struct check *c, int64_t n)
{
    uint32_t *x = check_alloc(c, (size_t)n * sizeof *x, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = check_below(c, UINT32_MAX);
    return x;
}

static void test_hand(struct check *c)
{
    struct mc_xnor_hand h = {
        .n = 1 + check_below(c, 3), .channels = check_size(c, 32, 70), .flat = check_coin(c)};
    int64_t words = MC_XNOR_WORDS(h.channels);
    for (int d = 0; d < 2; d++) {
        h.kernel[d] = 1 + check_below(c, 3);
        h.stride[d] = 1 + check_below(c, 2);
        h.dilation[d] = 1 + check_below(c, 2);
        h.pad[d] = check_below(c, (uint32_t)h.kernel[d]);
        int64_t span = (h.kernel[d] - 1) * h.dilation[d] + 1;
        h.in[d] = span + check_below(c, 6);
        h.out[d] = (h.in[d] + 2 * h.pad[d] - span) / h.stride[d] + 1;
    }
    h.bits = draw_words(c, h.n * words * h.in[0] * h.in[1]);
    h.turned = check_coin(c) ? draw_words(c, words) : NULL;
    check_describe(c, "hand n %d channels %d out %d,%d%s", (int)h.n, (int)h.channels, (int)h.out[0],
                   (int)h.out[1], h.flat ? " flat" : "");
    int64_t pixels = h.out[0] * h.out[1], row = MC_XNOR_BYTES(h.channels * pixels);
    size_t bytes = h.flat ? (size_t)(h.n * row) : (size_t)(h.n * words * pixels) * 4;
    uint8_t *to = check_alloc(c, bytes, 4);
    h.to = to;
    c->k->xnor.hand(&h, NULL);
    for (int64_t i = 0; i < h.n * h.channels * pixels; i++) {
        int64_t at = i % pixels, channel = i / pixels % h.channels, image = i / pixels / h.channels;
        int64_t bit = h.flat ? (image * row) * 8 + channel * pixels + at
                             : ((image * words + channel / 32) * pixels + at) * 32 + channel % 32;
        if ((to[bit / 8] >> bit % 8 & 1) !=
            pooled(&h, image, channel, at / h.out[1], at % h.out[1]))
            check_fail(c, "bit of image %d, channel %d, place %d", (int)image, (int)channel,
                       (int)at);
    }
    for (int64_t i = 0; i < h.n && h.flat && h.channels * pixels % 8; i++)
        if (to[(i + 1) * row - 1] >> h.channels * pixels % 8)
            check_fail(c, "bits behind row %d are set", (int)i);
}

const struct check_row check_xnor_hand = {"xnor_hand", 150, test_hand, NULL};

/* ---- whole tensors ---- */

static int32_t whole_at(const struct mc_quant_all *q, const void *x, int64_t i)
{
    bool wide = q->hi - q->lo > UINT8_MAX;
    if (q->lo < 0)
        return wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i];
    return wide ? ((const uint16_t *)x)[i] : ((const uint8_t *)x)[i];
}

static void test_all(struct check *c)
{
    static const int32_t lows[] = {-128, 0, -32768, 0}, highs[] = {127, 255, 32767, 65535};
    uint32_t type = check_below(c, 4), kind = check_below(c, 3);
    struct mc_quant_all q = {.outer = 1 + check_below(c, 4),
                             .axis = check_size(c, 8, 30),
                             .inner = check_size(c, 16, 50),
                             .block = 1,
                             .lo = lows[type],
                             .hi = highs[type]};
    size_t wide = type > 1 ? 2 : 1;
    int64_t n = q.outer * q.axis * q.inner, scales = 1;
    if (kind == 1) { /* along the axis */
        q.a_step = 1;
        scales = q.axis;
    } else if (kind == 2) { /* in blocks */
        q.block = 1 + check_below(c, (uint32_t)q.axis);
        q.i_step = 1;
        q.a_step = q.inner;
        q.o_step = (q.axis + q.block - 1) / q.block * q.inner;
        scales = q.outer * q.o_step;
    }
    float *scale = room(c, scales), *x = check_floats(c, n, true), *back = room(c, n);
    for (int64_t i = 0; i < scales; i++) /* powers of two: float and double agree on halves */
        scale[i] = exp2f((float)(int)check_below(c, 8) - 4);
    uint8_t *zero = check_coin(c) ? draw_bytes(c, scales * 2) : NULL;
    void *y = check_alloc(c, (size_t)n * wide, wide);
    void *aligned = check_alloc(c, (size_t)scales * 2, 2);
    if (zero)
        memcpy(aligned, zero, (size_t)scales * 2);
    q.zero = zero ? aligned : NULL;
    q.scale = scale;
    check_describe(c, "tensor %d x %d x %d lo %d kind %u%s", (int)q.outer, (int)q.axis,
                   (int)q.inner, q.lo, kind, zero ? " zero" : "");
    c->k->quant.quantize_all(&q, x, y, NULL);
    c->k->quant.dequantize_all(&q, y, back, NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i / q.inner / q.axis * q.o_step + i / q.inner % q.axis / q.block * q.a_step +
                     i % q.inner * q.i_step;
        int32_t z = q.zero ? whole_at(&q, q.zero, at) : 0, got = whole_at(&q, y, i);
        double v = rint((double)x[i] / (double)scale[at]) + z;
        int32_t want = !(v > q.lo) ? q.lo : v > q.hi ? q.hi : (int32_t)v;
        if (got != want)
            check_fail(c, "%g became %d, not %d", (double)x[i], got, want);
        if (back[i] != (float)(got - z) * scale[at])
            check_fail(c, "%d came back as %g", got, (double)back[i]);
    }
}

static void test_dynamic(struct check *c)
{
    int64_t n = check_size(c, 256, 3000);
    float *x = check_floats(c, n, false), scale_want, lo = 0, hi = 0;
    float shift = (float)(int)check_below(c, 5) - 2;
    uint8_t *y = check_alloc(c, (size_t)n, 1), *zero = check_alloc(c, 1, 1);
    float *scale = room(c, 1);
    for (int64_t i = 0; i < n; i++) {
        x[i] = check_below(c, 8) ? x[i] + 3 * shift : 0;
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    check_describe(c, "dynamic %d", (int)n);
    c->k->quant.dynamic(n, x, y, scale, zero, NULL);
    scale_want = hi == lo ? 1 : (hi - lo) / 255;
    if (*scale != scale_want || *zero != (uint8_t)fminf(fmaxf(rintf(-lo / scale_want), 0), 255))
        check_fail(c, "scale %g and zero point %d of %g to %g", (double)*scale, *zero, (double)lo,
                   (double)hi);
    for (int64_t i = 0; i < n; i++) {
        float v = rintf(x[i] / scale_want) + *zero;
        if (y[i] != (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v))
            check_fail(c, "%g became %d", (double)x[i], y[i]);
    }
    int32_t *wide = check_alloc(c, (size_t)n * sizeof *wide, sizeof *wide);
    bool is_signed = check_coin(c);
    c->k->quant.widen(n, is_signed, y, wide, NULL);
    for (int64_t i = 0; i < n; i++)
        if (wide[i] != (is_signed ? (int8_t)y[i] : (int)y[i]))
            check_fail(c, "byte %d became %d", y[i], wide[i]);
}

static void test_quant(struct check *c)
{
    if (check_below(c, 3))
        test_all(c);
    else
        test_dynamic(c);
}

const struct check_row check_quant_all = {"quant_all", 200, test_quant, NULL};
