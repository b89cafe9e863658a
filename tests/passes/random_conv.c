/* Blocks on [batch, channels, height, width]. */
#include "random_graph.h"

#include <math.h>

static struct rv per_channel(struct rg *r, const char *op, struct rv x, double middle)
{
    int64_t c = x.d[1];
    bool short_form = rg_chance(r, 60);
    return rg_two(r, op, x,
                  short_form ? rg_plain(r, 3, D(c, 1, 1), 0.2, middle)
                             : rg_plain(r, 4, D(1, c, 1, 1), 0.2, middle));
}

/* Size stays: padded. */
struct rv rg_conv(struct rg *r, struct rv x, int64_t channels, int kernel, int64_t group)
{
    struct mc_node *n;
    int64_t c = x.d[1], k = kernel, per = c / group;
    double scale = 1 / sqrt((double)(per * k * k));
    struct mc_value *in[3] = {x.v, rg_weight(r, 4, D(channels, per, k, k), scale, 0)};
    bool bias = rg_chance(r, 50);
    if (bias)
        in[2] = rg_weight(r, 1, &channels, 0.3, 0);
    int64_t dilation = k > 1 && rg_chance(r, 20) ? 2 : 1, pad = dilation * (k / 2);
    struct rv y = rg_node(r, "Conv", bias ? 3 : 2, in, 4, D(x.d[0], channels, x.d[2], x.d[3]), &n);
    rg_list(n, "pads", 4, D(pad, pad, pad, pad));
    rg_list(n, "dilations", 2, D(dilation, dilation));
    if (rg_chance(r, 50))
        rg_list(n, "kernel_shape", 2, D(k, k));
    if (group > 1)
        rg_int(n, "group", group);
    return y;
}

static struct rv batch_norm(struct rg *r, struct rv x)
{
    int64_t c = x.d[1];
    struct mc_value *in[5] = {x.v, rg_weight(r, 1, &c, 0.2, 1), rg_weight(r, 1, &c, 0.2, 0),
                              rg_plain(r, 1, &c, 0.2, 0), rg_plain(r, 1, &c, 0.05, 1)};
    return rg_node(r, "BatchNormalization", 5, in, x.rank, x.d, NULL);
}

static struct rv group_norm(struct rg *r, struct rv x)
{
    int64_t groups = x.d[1] % 2 ? 1 : 2;
    struct mc_value *in[3] = {NULL, rg_plain(r, 1, &groups, 0, 1), rg_plain(r, 1, &groups, 0, 0)};
    struct rv y = rg_reshape(r, x, 3, D(RG_BATCH, groups, x.d[1] / groups * x.d[2] * x.d[3]));
    in[0] = y.v;
    y = rg_node(r, "InstanceNormalization", 3, in, 3, y.d, NULL);
    y = rg_reshape(r, y, 4, x.d);
    return per_channel(r, "Add", per_channel(r, "Mul", y, 1), 0);
}

static struct rv some_norm(struct rg *r, struct rv x)
{
    int64_t c = x.d[1];
    switch (rg_below(r, 8)) {
    case 0: {
        struct mc_value *in[3] = {x.v, rg_weight(r, 1, &c, 0.2, 1), rg_weight(r, 1, &c, 0.2, 0)};
        return rg_node(r, "InstanceNormalization", 3, in, 4, x.d, NULL);
    }
    case 1: return group_norm(r, x);
    case 2: /* channels last, normed, channels first */
        return rg_transpose(r, rg_layer_norm(r, rg_transpose(r, x, D(0, 2, 3, 1))), D(0, 3, 1, 2));
    case 3: return x;
    default: return batch_norm(r, x);
    }
}

static struct rv activation(struct rg *r, struct rv x)
{
    if (!rg_chance(r, 15))
        return rg_activation(r, x);
    struct mc_value *in[2] = {x.v, rg_plain(r, 3, D(x.d[1], 1, 1), 0.1, 0.2)};
    return rg_node(r, "PRelu", 2, in, 4, x.d, NULL);
}

static struct rv conv_norm(struct rg *r, struct rv x, int64_t channels)
{
    int64_t group = rg_chance(r, 25) && x.d[1] % 2 == 0 && channels % 2 == 0 ? 2 : 1;
    x = rg_conv(r, x, channels, rg_chance(r, 60) ? 3 : 1, group);
    return activation(r, some_norm(r, x));
}

static struct rv depthwise(struct rg *r, struct rv x)
{
    int64_t times = rg_chance(r, 25) ? 2 : 1;
    x = rg_conv(r, x, x.d[1] * times, 3, x.d[1]);
    return activation(r, some_norm(r, x));
}

static struct rv gate(struct rg *r, struct rv x)
{
    int64_t c = x.d[1], few = 2 + (int64_t)rg_below(r, 3);
    struct rv s = rg_node(r, "GlobalAveragePool", 1, &x.v, 4, D(RG_BATCH, c, 1, 1), NULL);
    if (rg_chance(r, 50)) { /* by dense layers */
        s = rg_reshape(r, s, 2, D(RG_BATCH, c));
        s = rg_linear(r, rg_activation(r, rg_linear(r, s, few)), c);
        s = rg_reshape(r, s, 4, D(RG_BATCH, c, 1, 1));
    } else {
        s = rg_conv(r, rg_activation(r, rg_conv(r, s, few, 1, 1)), c, 1, 1);
    }
    return rg_two(r, "Mul", x, rg_like(r, rg_chance(r, 50) ? "Sigmoid" : "HardSigmoid", s).v);
}

static struct rv residual(struct rg *r, struct rv x)
{
    int64_t inner = 4 + 2 * (int64_t)rg_below(r, 3), c = x.d[1];
    struct rv y = conv_norm(r, x, inner);
    if (rg_chance(r, 50))
        y = depthwise(r, y);
    if (rg_chance(r, 30))
        y = gate(r, y);
    y = rg_conv(r, y, c, 1, 1);
    if (rg_chance(r, 50))
        y = batch_norm(r, y);
    x = rg_two(r, "Add", y, x.v);
    return rg_chance(r, 50) ? rg_like(r, "Relu", x) : x;
}

static struct rv branches(struct rg *r, struct rv x)
{
    struct rv part[3];
    int n = 2 + (int)rg_below(r, 2);
    for (int i = 0; i < n; i++)
        part[i] = i == 0 && rg_chance(r, 50) ? x : conv_norm(r, x, 2 + 2 * (int64_t)rg_below(r, 2));
    return rg_concat(r, 1, n, part);
}

static struct rv split_and_join(struct rg *r, struct rv x)
{
    struct rv part[2];
    int64_t c = x.d[1], a = rg_chance(r, 60) ? c / 2 : 1 + (int64_t)rg_below(r, (uint32_t)c - 1);
    rg_split(r, x, 1, 2, D(a, c - a), part);
    if (a == c - a && rg_chance(r, 40)) /* a gated unit */
        return rg_two(r, "Mul", part[0], rg_like(r, "Sigmoid", part[1]).v);
    part[1] = conv_norm(r, part[1], part[1].d[1]);
    if (rg_chance(r, 50)) {
        struct rv swap = part[0];
        part[0] = part[1];
        part[1] = swap;
    }
    return rg_concat(r, 1, 2, part);
}

static struct rv shuffle(struct rg *r, struct rv x)
{
    int64_t c = x.d[1], h = x.d[2], w = x.d[3];
    if (c % 2)
        return x;
    struct rv y = rg_reshape(r, x, 5, D(RG_BATCH, 2, c / 2, h, w));
    y = rg_transpose(r, y, D(0, 2, 1, 3, 4));
    y = rg_reshape(r, y, 4, x.d);
    return rg_conv(r, y, c, 1, rg_chance(r, 50) ? 2 : 1);
}

static struct rv pixels(struct rg *r, struct rv x)
{
    struct mc_node *n;
    int64_t c = 2 + (int64_t)rg_below(r, 2), h = x.d[2], w = x.d[3];
    x = rg_conv(r, x, c * 4, 1, 1);
    x = rg_node(r, "DepthToSpace", 1, &x.v, 4, D(RG_BATCH, c, 2 * h, 2 * w), &n);
    rg_int(n, "blocksize", 2);
    if (rg_chance(r, 50))
        assert_int_equal(mc_edit_attr_string(n, "mode", "CRD", NULL), 0);
    x = conv_norm(r, x, 4);
    x = rg_node(r, "SpaceToDepth", 1, &x.v, 4, D(RG_BATCH, 16, h, w), &n);
    rg_int(n, "blocksize", 2);
    return conv_norm(r, x, 6);
}

static struct rv pooled(struct rg *r, struct rv x)
{
    struct mc_node *n;
    bool half = x.d[2] >= 4 && x.d[3] >= 4;
    int64_t h = half ? x.d[2] / 2 : x.d[2], w = half ? x.d[3] / 2 : x.d[3], k = half ? 2 : 1;
    x = rg_node(r, rg_chance(r, 50) ? "MaxPool" : "AveragePool", 1, &x.v, 4,
                D(RG_BATCH, x.d[1], h, w), &n);
    rg_list(n, "kernel_shape", 2, D(k, k));
    rg_list(n, "strides", 2, D(k, k));
    return x;
}

/* Down and up again, joined with what it was: a U. */
static struct rv up(struct rg *r, struct rv x)
{
    struct mc_node *n;
    if (x.d[2] % 2 || x.d[3] % 2 || x.d[2] < 4 || x.d[3] < 4)
        return x;
    int64_t c = x.d[1], group = rg_chance(r, 30) && c % 2 == 0 ? 2 : 1;
    struct rv y = pooled(r, x);
    if (rg_chance(r, 50)) {
        struct mc_value *in[3] = {y.v, rg_weight(r, 4, D(c, 4 / group, 2, 2), 0.3, 0),
                                  rg_weight(r, 1, D(4), 0.3, 0)};
        y = rg_node(r, "ConvTranspose", rg_chance(r, 50) ? 3 : 2, in, 4,
                    D(RG_BATCH, 4, x.d[2], x.d[3]), &n);
        rg_list(n, "strides", 2, D(2, 2));
        if (group > 1)
            rg_int(n, "group", group);
    } else {
        static const float scales[4] = {1, 1, 2, 2};
        struct mc_value *in[3] = {y.v, NULL,
                                  build_const(r->g, "scales", MC_DTYPE_F32, 1, D(4), scales)};
        if (r->opset < 13)
            in[1] = build_const(r->g, "roi", MC_DTYPE_F32, 1, D(0), NULL);
        y = rg_node(r, "Resize", 3, in, 4, D(RG_BATCH, c, x.d[2], x.d[3]), &n);
    }
    struct rv part[2] = {x, y};
    return rg_concat(r, 1, 2, part);
}

static struct rv padded(struct rg *r, struct rv x)
{
    int64_t c = rg_chance(r, 40) ? 2 : 0; /* channels of zeros, as narrow shortcuts have them */
    int64_t pads[8] = {0, 0, 1, 0, 0, c, 0, 1};
    struct mc_value *in[2] = {x.v, rg_ints(r, 8, pads)};
    return rg_node(r, "Pad", 2, in, 4, D(RG_BATCH, x.d[1] + c, x.d[2] + 1, x.d[3] + 1), NULL);
}

static struct rv picked(struct rg *r, struct rv x)
{
    int64_t index[32], n = x.d[1];
    for (int64_t i = 0; i < n; i++)
        index[i] = rg_chance(r, 80) ? n - 1 - i : (int64_t)rg_below(r, (uint32_t)n);
    struct mc_node *node;
    struct mc_value *in[2] = {x.v, rg_ints(r, (int)n, index)};
    x = rg_node(r, "Gather", 2, in, 4, x.d, &node);
    rg_int(node, "axis", 1);
    return conv_norm(r, x, 4);
}

/* One weight for two branches. */
static struct rv twins(struct rg *r, struct rv x)
{
    int64_t c = x.d[1];
    struct mc_value *w = rg_weight(r, 4, D(c, c, 1, 1), 0.4, 0);
    struct rv a = rg_conv(r, x, c, 3, 1), b = rg_activation(r, x);
    struct mc_value *in[2] = {a.v, w};
    a = rg_node(r, "Conv", 2, in, 4, x.d, NULL);
    in[0] = b.v;
    b = rg_node(r, "Conv", 2, in, 4, x.d, NULL);
    return rg_two(r, rg_chance(r, 50) ? "Add" : "Mul", a, b.v);
}

/* Through eight bits and back. */
static struct rv quantised(struct rg *r, struct rv x)
{
    struct mc_value *in[3] = {x.v, rg_number(r, 0.05f),
                              build_const(r->g, "zero", MC_DTYPE_I8, 0, NULL, NULL)};
    struct rv q = rg_node(r, "QuantizeLinear", 3, in, 4, x.d, NULL);
    in[0] = q.v;
    return conv_norm(r, rg_node(r, "DequantizeLinear", 3, in, 4, x.d, NULL), 6);
}

static struct rv spatial_gate(struct rg *r, struct rv x)
{
    struct rv m = rg_mean(r, x, 1, true);
    return rg_two(r, "Mul", x, rg_like(r, "Sigmoid", rg_conv(r, m, 1, 3, 1)).v);
}

struct rv rg_conv_block(struct rg *r, struct rv x)
{
    static struct rv (*const block[])(struct rg *, struct rv) = {
        residual, branches, split_and_join, shuffle, pixels,    pooled,       up,
        padded,   picked,   twins,          gate,    quantised, spatial_gate, depthwise,
    };
    uint32_t which = rg_below(r, 18);
    if (x.d[1] > 16)
        return conv_norm(r, x, 6);
    return which < 14 ? block[which](r, x) : which < 16 ? residual(r, x) : conv_norm(r, x, 6);
}
