/* Implicit matrix product: weights [oc, k] packed once as A; for a block of output places at a time their
 * patches are gathered as rows [k, places], packed as B (both stay in L2) and multiplied. Where a group has a
 * single channel, a row of the output at a time is summed tap by tap instead. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/vec.h"
#include "kernels/fill.h"

enum {
    PATCH_BYTES = 192 << 10, /* of gathered patches */
    PLACES_LEAST = 64,       /* a few panels */
    BLOCKS = 8,              /* wanted per image and group, for threads */
    ROW_PLACES = 1024,       /* of an output row summed at a time, 4 KiB */
};

struct conv_plan {
    struct mc_conv_s8 c; /* in its simplest equal form */
    int64_t rows, k, places, per_block, blocks;
    size_t group_w; /* bytes of one group's packed weights */
    size_t patches, packed, worker;
    struct mc_gemm_s8_kernels gemm;
};

/* Depthwise, or nearly: too few products for a matrix. */
static bool single(const struct mc_conv_s8 *c)
{
    return c->group > 1 && c->group == c->c;
}

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

/* A pointwise convolution sees an image as one row. */
static struct mc_conv_s8 simplify(const struct mc_conv_s8 *given)
{
    struct mc_conv_s8 c = *given;
    bool pointwise = true;
    for (int i = 0; i < 3; i++)
        pointwise &= c.kernel[i] == 1 && c.stride[i] == 1 && c.pad[i] == 0 && c.in[i] == c.out[i];
    if (pointwise) {
        c.in[2] *= c.in[0] * c.in[1];
        c.out[2] = c.in[2];
        c.in[0] = c.in[1] = c.out[0] = c.out[1] = 1;
    }
    return c;
}

static struct conv_plan make_plan(const struct mc_conv_s8 *given)
{
    struct conv_plan p = {.c = simplify(given)};
    const struct mc_conv_s8 *c = &p.c;
    MC_CPU(mc_gemm_s8_fill)(&p.gemm);
    p.rows = c->oc / c->group;
    p.k = c->c / c->group * c->kernel[0] * c->kernel[1] * c->kernel[2];
    p.places = c->out[0] * c->out[1] * c->out[2];
    p.per_block = max64(PATCH_BYTES / max64(p.k, 1), PLACES_LEAST);
    p.per_block = min64(p.per_block, max64(ceil_div(p.places, BLOCKS), PLACES_LEAST));
    p.per_block = min64(ceil_div(p.per_block, PLACES_LEAST) * PLACES_LEAST, max64(p.places, 1));
    p.blocks = ceil_div(p.places, p.per_block);
    p.group_w = round_up(p.gemm.pack_a_bytes(p.rows, p.k));
    p.patches = round_up((size_t)(p.k * p.per_block));
    p.packed = round_up(p.gemm.pack_b_bytes(p.k, p.per_block));
    p.worker = p.patches + p.packed;
    return p;
}

static size_t pack_w_bytes(const struct mc_conv_s8 *c)
{
    struct conv_plan p = make_plan(c);
    return single(c) ? (size_t)(c->oc * p.k) : (size_t)c->group * p.group_w;
}

static void pack_w(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *pool)
{
    struct conv_plan p = make_plan(c);
    if (single(c)) {
        memcpy(dst, w, pack_w_bytes(c));
        return;
    }
    for (int64_t g = 0; g < c->group; g++) {
        struct mc_s8_side a = {(const uint8_t *)w + g * p.rows * p.k, c->w_signed, p.k, 1};
        p.gemm.pack_a(p.rows, p.k, &a, (char *)dst + (size_t)g * p.group_w, pool);
    }
}

static size_t scratch_bytes(const struct mc_conv_s8 *c, int threads)
{
    return single(c) ? 0 : make_plan(c).worker * (size_t)threads;
}

/* ---- patches ---- */

/* Input position of output position o under tap k. */
static int64_t input_at(const struct mc_conv_s8 *c, int d, int64_t o, int64_t k)
{
    return o * c->stride[d] + k * c->dilation[d] - c->pad[d];
}

/* n places of an output row from o on, under tap k of the input row `from`. */
static void gather_row(const struct mc_conv_s8 *c, const uint8_t *from, int64_t o, int64_t n,
                       int64_t k, uint8_t *to)
{
    int64_t stride = c->stride[2], first = input_at(c, 2, o, k), size = c->in[2];
    /* Places [lead, inside) lie in the row. */
    int64_t lead = first < 0 ? min64(n, ceil_div(-first, stride)) : 0;
    int64_t inside = first < size ? min64(n, (size - 1 - first) / stride + 1) : 0;
    inside = max64(inside, lead);
    memset(to, c->x_zero, (size_t)lead);
    if (stride == 1) {
        if (inside > lead)
            memcpy(to + lead, from + first + lead, (size_t)(inside - lead));
    } else {
        for (int64_t i = lead; i < inside; i++)
            to[i] = from[first + i * stride];
    }
    memset(to + inside, c->x_zero, (size_t)(n - inside));
}

/* One row of patches: places [from, from + n) under tap k of one channel. */
static void gather_tap(const struct mc_conv_s8 *c, const uint8_t *x, int64_t from, int64_t n,
                       const int64_t k[3], uint8_t *to)
{
    int64_t width = c->out[2];
    for (int64_t at = from, step; at < from + n; at += step, to += step) {
        int64_t o2 = at % width, o1 = at / width % c->out[1], o0 = at / width / c->out[1];
        int64_t i0 = input_at(c, 0, o0, k[0]), i1 = input_at(c, 1, o1, k[1]);
        step = min64(width - o2, from + n - at);
        if (i0 < 0 || i0 >= c->in[0] || i1 < 0 || i1 >= c->in[1])
            memset(to, c->x_zero, (size_t)step);
        else
            gather_row(c, x + (i0 * c->in[1] + i1) * c->in[2], o2, step, k[2], to);
    }
}

static void gather(const struct conv_plan *p, const uint8_t *x, int64_t from, int64_t n,
                   uint8_t *to)
{
    const struct mc_conv_s8 *c = &p->c;
    int64_t k[3], size = c->in[0] * c->in[1] * c->in[2];
    for (int64_t ic = 0; ic < c->c / c->group; ic++, x += size)
        for (k[0] = 0; k[0] < c->kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < c->kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < c->kernel[2]; k[2]++, to += n)
                    gather_tap(c, x, from, n, k, to);
}

struct conv_job {
    const struct conv_plan *p;
    char *scratch;
};

static void conv_block(void *ctx, int64_t chunk, int worker)
{
    const struct conv_job *j = ctx;
    const struct conv_plan *p = j->p;
    const struct mc_conv_s8 *c = &p->c;
    int64_t block = chunk % p->blocks, g = chunk / p->blocks % c->group;
    int64_t image = chunk / p->blocks / c->group, per = c->c / c->group;
    int64_t from = block * p->per_block, n = min64(p->per_block, p->places - from);
    char *scratch = j->scratch + (size_t)worker * p->worker;
    const uint8_t *x =
        (const uint8_t *)c->x + (image * c->c + g * per) * c->in[0] * c->in[1] * c->in[2];
    struct mc_s8_side b = {scratch, c->x_signed, n, 1};
    if (p->k == per && c->in[0] * c->in[1] == 1 && p->places == c->in[2] && c->stride[2] == 1 &&
        c->pad[2] == 0) {
        b.data = x + from; /* pointwise: the image is its own matrix */
        b.row = p->places;
    } else {
        gather(p, x, from, n, (uint8_t *)scratch);
    }
    p->gemm.pack_b(p->k, n, &b, scratch + p->patches, NULL);
    struct mc_gemm_s8 product = {
        .m = p->rows,
        .n = n,
        .k = p->k,
        .packed_a = (const char *)c->packed_w + (size_t)g * p->group_w,
        .packed_b = scratch + p->patches,
        .a_signed = c->w_signed,
        .b_signed = c->x_signed,
        .a_zero = c->w_zero,
        .b_zero = {&c->x_zero, 0},
        .c = c->y + ((image * c->oc + g * p->rows) * p->places + from),
        .c_row = p->places,
    };
    if (product.a_zero.value)
        product.a_zero.value += g * p->rows * product.a_zero.step;
    p->gemm.run(&product, NULL, NULL);
}

/* ---- a single channel per group ---- */

static inline int32_t value_of(const void *data, bool is_signed, int64_t at)
{
    return is_signed ? ((const int8_t *)data)[at] : ((const uint8_t *)data)[at];
}

/* y[i] += w (x[i*step] - zero) */
#define ADD_TAP(name, type)                                                                        \
    static void add_##name(uint32_t *y, int64_t n, const type *x, int64_t step, int32_t w,         \
                           int32_t zero)                                                           \
    {                                                                                              \
        if (step == 1) {                                                                           \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] += (uint32_t)(w * (x[i] - zero));                                             \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++)                                                        \
                y[i] += (uint32_t)(w * (x[i * step] - zero));                                      \
        }                                                                                          \
    }
ADD_TAP(signed, int8_t)
ADD_TAP(unsigned, uint8_t)

/* Places [o, o + n) of a row: tap k of the input row at element `row`. */
static void tap_row(const struct mc_conv_s8 *c, int64_t row, int64_t o, int64_t n, int64_t k,
                    int32_t w, uint32_t *y)
{
    int64_t stride = c->stride[2], first = input_at(c, 2, o, k), size = c->in[2];
    int64_t lead = first < 0 ? min64(n, ceil_div(-first, stride)) : 0;
    int64_t inside = first < size ? min64(n, (size - 1 - first) / stride + 1) : 0;
    if (inside <= lead)
        return;
    int64_t at = row + first + lead * stride;
    if (c->x_signed)
        add_signed(y + lead, inside - lead, (const int8_t *)c->x + at, stride, w, c->x_zero);
    else
        add_unsigned(y + lead, inside - lead, (const uint8_t *)c->x + at, stride, w, c->x_zero);
}

/* One output channel of one image. */
static void conv_single(void *ctx, int64_t plane, int worker)
{
    (void)worker;
    const struct conv_job *j = ctx;
    const struct mc_conv_s8 *c = &j->p->c;
    int64_t image = plane / c->oc, oc = plane % c->oc, channel = oc / j->p->rows, o[2], k[3];
    int64_t from = (image * c->c + channel) * c->in[0] * c->in[1] * c->in[2];
    int32_t zero = c->w_zero.value ? c->w_zero.value[oc * c->w_zero.step] : 0;
    uint32_t *y = (uint32_t *)c->y + plane * j->p->places;
    memset(y, 0, (size_t)j->p->places * sizeof *y);
    for (o[0] = 0; o[0] < c->out[0]; o[0]++)
        for (o[1] = 0; o[1] < c->out[1]; o[1]++, y += c->out[2])
            for (int64_t at = 0; at < c->out[2]; at += ROW_PLACES) {
                int64_t n = min64(ROW_PLACES, c->out[2] - at), tap = oc * j->p->k;
                for (k[0] = 0; k[0] < c->kernel[0]; k[0]++)
                    for (k[1] = 0; k[1] < c->kernel[1]; k[1]++) {
                        int64_t i0 = input_at(c, 0, o[0], k[0]), i1 = input_at(c, 1, o[1], k[1]);
                        bool outside = i0 < 0 || i0 >= c->in[0] || i1 < 0 || i1 >= c->in[1];
                        for (k[2] = 0; k[2] < c->kernel[2]; k[2]++, tap++)
                            if (!outside)
                                tap_row(c, from + (i0 * c->in[1] + i1) * c->in[2], at, n, k[2],
                                        value_of(c->packed_w, c->w_signed, tap) - zero, y + at);
                    }
            }
}

static void run(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool)
{
    struct conv_plan p = make_plan(c);
    struct conv_job j = {&p, scratch};
    if (p.places == 0)
        return;
    if (single(c))
        mc_pool_run(pool, c->n * c->oc, conv_single, &j);
    else
        mc_pool_run(pool, c->n * c->group * p.blocks, conv_block, &j);
}

void MC_CPU(mc_conv_s8_fill)(struct mc_conv_s8_kernels *k)
{
    *k = (struct mc_conv_s8_kernels){pack_w_bytes, pack_w, scratch_bytes, run};
}
