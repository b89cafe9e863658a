#include <math.h>
#include <string.h>

#include "check.h"

/* Compared with the reference; sums and products of two also with the formula in double, where it is not near a
 * half. */

static uint8_t *draw_bytes(struct check *c, int64_t n)
{
    uint8_t *x = check_alloc(c, (size_t)n, 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (uint8_t)check_below(c, 256);
    return x;
}

static int32_t value(const uint8_t *x, bool is_signed, int64_t i)
{
    return is_signed ? (int8_t)x[i] : x[i];
}

static int32_t draw_zero(struct check *c, bool is_signed)
{
    return (int32_t)check_below(c, 256) - (is_signed ? 128 : 0);
}

static void draw_range(struct check *c, int32_t *ret_zero, int32_t *ret_lo, int32_t *ret_hi)
{
    int32_t least = check_coin(c) ? -128 : 0;
    *ret_zero = least + (int32_t)check_below(c, 256);
    *ret_lo = least;
    *ret_hi = least + 255;
    if (check_below(c, 3) == 0) { /* a Relu, a Clip */
        *ret_lo = *ret_zero;
        *ret_hi = *ret_lo + (int32_t)check_below(c, (uint32_t)(least + 256 - *ret_lo));
    }
    if (least < 0 && *ret_lo >= 0)
        *ret_lo = -1; /* lo tells the type */
}

/* `got` must be v, rounded into the range; where v is nearly a half, either neighbour will do. */
static void check_value(struct check *c, uint8_t got, double v, int32_t zero, int32_t lo,
                        int32_t hi)
{
    double whole = rint(v), gap = fabs(fabs(v - floor(v)) - 0.5);
    int32_t is = lo < 0 ? (int8_t)got : got;
    double want = fmin(fmax(whole + zero, lo), hi), slack = gap < 1e-4 * (1 + fabs(v)) ? 1 : 0;
    if (!(fabs(is - want) <= slack))
        check_fail(c, "%g became %d, not %g", v + zero, is, want);
}

static void test_pair(struct check *c)
{
    struct mc_pair_s8 p = {.n = check_size(c, 64, 300), .b_step = check_below(c, 4) > 0};
    p.a_signed = check_coin(c);
    p.b_signed = check_coin(c);
    p.a_zero = draw_zero(c, p.a_signed);
    p.b_zero = draw_zero(c, p.b_signed);
    p.a_scale = 0.01f + 0.001f * (float)(int)check_below(c, 2000);
    p.b_scale = 0.01f + 0.001f * (float)(int)check_below(c, 2000);
    draw_range(c, &p.zero, &p.lo, &p.hi);
    bool product = check_coin(c), in_place = check_below(c, 4) == 0;
    const uint8_t *a = draw_bytes(c, p.n), *b = draw_bytes(c, p.b_step ? p.n : 1);
    check_describe(c, "%s n %d step %d lo %d", product ? "mul" : "add", (int)p.n, (int)p.b_step,
                   p.lo);
    uint8_t *want = check_alloc(c, (size_t)p.n, 1), *got = check_alloc(c, (size_t)p.n, 1);
    p.a = a;
    p.b = b;
    p.y = want;
    (product ? c->ref->rows_s8.mul : c->ref->rows_s8.add)(&p);
    if (in_place) {
        memcpy(got, a, (size_t)p.n);
        p.a = got;
    }
    p.y = got;
    (product ? c->k->rows_s8.mul : c->k->rows_s8.add)(&p);
    check_same(c, "y", got, want, (size_t)p.n);
    for (int64_t i = 0; i < p.n; i++) {
        double left = value(a, p.a_signed, i) - p.a_zero;
        double right = value(b, p.b_signed, i * p.b_step) - p.b_zero;
        double v = product ? left * right * (double)p.a_scale
                           : left * (double)p.a_scale + right * (double)p.b_scale;
        check_value(c, got[i], v, p.zero, p.lo, p.hi);
    }
}

static void test_look_up(struct check *c)
{
    int64_t n = check_size(c, 64, 400);
    const uint8_t *x = draw_bytes(c, n), *table = draw_bytes(c, 256);
    uint8_t *y = check_alloc(c, (size_t)n, 1), *want = check_alloc(c, (size_t)n, 1);
    check_describe(c, "look_up n %d", (int)n);
    for (int64_t i = 0; i < n; i++)
        want[i] = table[x[i]];
    if (check_coin(c)) {
        memcpy(y, x, (size_t)n);
        x = y;
    }
    c->k->rows_s8.look_up(n, x, table, y);
    check_same(c, "y", y, want, (size_t)n);
}

static void draw_pool(struct check *c, struct mc_pool_s8 *p)
{
    int dims = 1 + (int)check_below(c, 3);
    bool wide = dims == 1 && check_below(c, 4) == 0;
    *p = (struct mc_pool_s8){.average = check_coin(c),
                             .count_pad = check_coin(c),
                             .n = 1 + check_below(c, 3),
                             .c = check_size(c, 16, check_below(c, 8) ? 40 : 300),
                             .layout = check_coin(c) ? MC_S8_NHWC : MC_S8_NCHW,
                             .x_signed = check_coin(c)};
    for (int d = 0; d < 3; d++) {
        bool there = d >= 3 - dims;
        p->kernel[d] = there ? 1 + check_below(c, wide ? 1500 : 4) : 1;
        p->stride[d] = there ? 1 + check_below(c, 3) : 1;
        p->dilation[d] = there ? 1 + check_below(c, 2) : 1;
        p->pad[d] = there ? check_below(c, (uint32_t)p->kernel[d]) : 0;
        p->end[d] = there ? check_below(c, (uint32_t)p->kernel[d]) : 0;
        int64_t span = (p->kernel[d] - 1) * p->dilation[d] + 1;
        int64_t size = there ? check_size(c, 8, dims == 1 ? 2500 : 24) : 1;
        p->in[d] = size + p->pad[d] + p->end[d] < span ? span : size;
        p->out[d] = (p->in[d] + p->pad[d] + p->end[d] - span) / p->stride[d] + 1;
        /* One more that begins inside, as with ceil_mode: its end is beyond the padding. */
        if (there && check_below(c, 3) == 0 && p->out[d] * p->stride[d] < p->in[d] + p->pad[d])
            p->out[d]++;
    }
    bool global = check_below(c, 5) == 0;
    for (int d = 0; d < 3 && global; d++) {
        p->kernel[d] = p->in[d];
        p->out[d] = p->stride[d] = p->dilation[d] = 1;
        p->pad[d] = p->end[d] = 0;
    }
    if (wide)
        p->c = 1 + check_below(c, 3);
    p->x_zero = draw_zero(c, p->x_signed);
    p->scale = 0.1f + 0.01f * (float)(int)check_below(c, 300);
    draw_range(c, &p->zero, &p->lo, &p->hi);
    if (!p->average)
        p->lo = p->x_signed ? -128 : 0;
    check_describe(c, "pool %s n %d c %d in %d,%d,%d kernel %d,%d,%d %s",
                   p->average ? "avg" : "max", (int)p->n, (int)p->c, (int)p->in[0], (int)p->in[1],
                   (int)p->in[2], (int)p->kernel[0], (int)p->kernel[1], (int)p->kernel[2],
                   p->layout == MC_S8_NHWC ? "last" : "first");
}

static void test_pool(struct check *c)
{
    struct mc_pool_s8 p;
    draw_pool(c, &p);
    p.x = draw_bytes(c, p.n * p.c * p.in[0] * p.in[1] * p.in[2]);
    size_t bytes = (size_t)(p.n * p.c * p.out[0] * p.out[1] * p.out[2]);
    uint8_t *want = check_alloc(c, bytes, 1);
    p.y = want;
    c->ref->rows_s8.pool(&p, NULL);
    for (int i = 0; i < CHECK_POOLS; i++) {
        uint8_t *got = check_alloc(c, bytes, 1);
        p.y = got;
        c->k->rows_s8.pool(&p, c->pool[i]);
        check_same(c, "y", got, want, bytes);
    }
}

static void test_transpose(struct check *c)
{
    int64_t n = 1 + check_below(c, 3), rows = check_size(c, 16, 100),
            cols = check_size(c, 16, 1000);
    const uint8_t *x = draw_bytes(c, n * rows * cols);
    check_describe(c, "transpose %d x %d x %d", (int)n, (int)rows, (int)cols);
    for (int p = 0; p < CHECK_POOLS; p++) {
        uint8_t *y = check_alloc(c, (size_t)(n * rows * cols), 1);
        c->k->rows_s8.transpose(n, rows, cols, x, y, c->pool[p]);
        for (int64_t i = 0; i < n * rows * cols; i++) {
            int64_t image = i / (rows * cols), row = i / cols % rows, col = i % cols;
            if (y[image * rows * cols + col * rows + row] != x[i])
                check_fail(c, "element %d is elsewhere", (int)i);
        }
    }
}

static void test_rows(struct check *c)
{
    switch (check_below(c, 5)) {
    case 0: test_look_up(c); break;
    case 3: test_transpose(c); break;
    case 1: test_pool(c); break;
    case 2: test_pool(c); break;
    default: test_pair(c);
    }
}

const struct check_row check_rows_s8 = {"rows_s8", 600, test_rows, NULL};
