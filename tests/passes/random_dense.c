/* Blocks on [batch, width], and products over the last axis of anything. */
#include "random_graph.h"

#include <math.h>

static struct rv gemm(struct rg *r, struct rv x, int64_t width)
{
    struct mc_node *n;
    int64_t from = x.d[1];
    bool turned = rg_chance(r, 60);
    double scale = 1 / sqrt((double)from);
    struct mc_value *in[3] = {x.v,
                              rg_weight(r, 2, turned ? D(width, from) : D(from, width), scale, 0)};
    uint32_t shift = rg_below(r, 4);
    if (shift)
        in[2] = shift == 1 ? rg_plain(r, 2, D(1, width), 0.3, 0) : rg_weight(r, 1, &width, 0.3, 0);
    struct rv y = rg_node(r, "Gemm", shift ? 3 : 2, in, 2, D(x.d[0], width), &n);
    if (turned)
        rg_int(n, "transB", 1);
    if (rg_chance(r, 20))
        assert_int_equal(mc_edit_attr_float(n, "alpha", 0.5f, NULL), 0);
    return y;
}

/* Wᵀ x for columns x, as some exporters write it. */
static struct rv from_the_left(struct rg *r, struct rv x, int64_t width)
{
    struct rv t = rg_transpose(r, x, D(1, 0));
    struct mc_value *in[2] = {rg_weight(r, 2, D(width, x.d[1]), 0.4, 0), t.v};
    t = rg_node(r, "MatMul", 2, in, 2, D(width, x.d[0]), NULL);
    return rg_transpose(r, t, D(1, 0));
}

static struct rv by_equation(struct rg *r, struct rv x, int64_t width)
{
    struct mc_node *n;
    struct rv y = x;
    y.d[x.rank - 1] = width;
    struct mc_value *in[2] = {x.v, rg_weight(r, 2, D(width, x.d[x.rank - 1]), 0.4, 0)};
    y = rg_node(r, "Einsum", 2, in, x.rank, y.d, &n);
    const char *equation = x.rank == 2 ? "nk,ok->no" : "ntk,ok->nto";
    assert_int_equal(mc_edit_attr_string(n, "equation", equation, NULL), 0);
    return y;
}

struct rv rg_linear(struct rg *r, struct rv x, int64_t width)
{
    int64_t from = x.d[x.rank - 1];
    if (x.rank == 2 && rg_chance(r, 60))
        return rg_chance(r, 90) ? gemm(r, x, width) : from_the_left(r, x, width);
    if (r->opset >= 12 && x.rank < 4 && rg_chance(r, 8))
        return by_equation(r, x, width);
    struct rv y = x;
    y.d[x.rank - 1] = width;
    struct mc_value *in[2] = {x.v, rg_weight(r, 2, D(from, width), 1 / sqrt((double)from), 0)};
    y = rg_node(r, "MatMul", 2, in, x.rank, y.d, NULL);
    return rg_chance(r, 70) ? rg_two(r, "Add", y, rg_weight(r, 1, &width, 0.3, 0)) : y;
}

static int64_t some_width(struct rg *r)
{
    return 4 + 2 * (int64_t)rg_below(r, 4);
}

static struct rv hidden(struct rg *r, struct rv x)
{
    x = rg_linear(r, x, some_width(r));
    if (rg_chance(r, 25)) {
        int64_t c = x.d[1];
        struct mc_value *in[5] = {x.v, rg_weight(r, 1, &c, 0.2, 1), rg_weight(r, 1, &c, 0.2, 0),
                                  rg_plain(r, 1, &c, 0.2, 0), rg_plain(r, 1, &c, 0.05, 1)};
        x = rg_node(r, "BatchNormalization", 5, in, 2, x.d, NULL);
    } else if (rg_chance(r, 25)) {
        x = rg_layer_norm(r, x);
    }
    return rg_activation(r, x);
}

static struct rv around(struct rg *r, struct rv x)
{
    return rg_two(r, "Add", rg_linear(r, hidden(r, x), x.d[1]), x.v);
}

static struct rv joined(struct rg *r, struct rv x)
{
    struct rv part[2] = {x, hidden(r, x)};
    return rg_concat(r, 1, 2, part);
}

static struct rv gated(struct rg *r, struct rv x)
{
    int64_t width = some_width(r);
    struct rv part[2];
    if (rg_chance(r, 50)) {
        rg_split(r, rg_linear(r, x, 2 * width), 1, 2, D(width, width), part);
    } else {
        part[0] = rg_linear(r, x, width);
        part[1] = rg_linear(r, x, width);
    }
    return rg_linear(r, rg_two(r, "Mul", rg_activation(r, part[0]), part[1].v), x.d[1]);
}

/* Blocks of columns, each with a weight of its own. */
static struct rv by_blocks(struct rg *r, struct rv x)
{
    int64_t k = x.d[1] / 2;
    if (x.d[1] % 2)
        return x;
    struct rv y = rg_transpose(r, rg_reshape(r, x, 3, D(RG_BATCH, 2, k)), D(1, 0, 2));
    struct mc_value *in[2] = {y.v, rg_weight(r, 3, D(2, k, 3), 0.5, 0)};
    y = rg_node(r, "MatMul", 2, in, 3, D(2, RG_BATCH, 3), NULL);
    y = rg_transpose(r, y, D(1, 0, 2));
    return rg_reshape(r, y, 2, D(RG_BATCH, 6));
}

/* The larger of pairs. */
static struct rv largest(struct rg *r, struct rv x)
{
    struct mc_node *n;
    int64_t half = x.d[1] / 2;
    if (x.d[1] % 2 || r->opset >= 18)
        return x;
    struct rv y = rg_reshape(r, x, 3, D(RG_BATCH, half, 2));
    y = rg_node(r, "ReduceMax", 1, &y.v, 2, D(RG_BATCH, half), &n);
    rg_list(n, "axes", 1, D(2));
    rg_int(n, "keepdims", 0);
    return y;
}

static struct rv weighed(struct rg *r, struct rv x)
{
    struct mc_node *n;
    struct rv s = rg_linear(r, x, x.d[1]);
    s = rg_node(r, "Softmax", 1, &s.v, 2, s.d, &n);
    rg_int(n, "axis", 1);
    return rg_two(r, "Mul", x, s.v);
}

static struct rv stretched(struct rg *r, struct rv x)
{
    struct rv y = rg_unsqueeze(r, x, 1);
    struct mc_value *in[2] = {y.v, rg_ints(r, 3, D(1, 3, 1))};
    y = rg_node(r, rg_chance(r, 50) ? "Tile" : "Expand", 2, in, 3, D(RG_BATCH, 3, x.d[1]), NULL);
    y = rg_two(r, "Mul", y, rg_plain(r, 2, D(3, x.d[1]), 1, 0));
    return rg_reshape(r, y, 2, D(RG_BATCH, 3 * x.d[1]));
}

static struct rv sliced(struct rg *r, struct rv x)
{
    if (x.d[1] < 3)
        return x;
    struct rv part[2] = {rg_slice(r, x, 1, 0, x.d[1] - 1, 2), rg_slice(r, x, 1, 1, x.d[1], 1)};
    return rg_concat(r, 1, 2, part);
}

struct rv rg_dense_block(struct rg *r, struct rv x)
{
    static struct rv (*const block[])(struct rg *, struct rv) = {
        hidden, around, joined, gated, by_blocks, largest, weighed, stretched, sliced,
    };
    if (x.d[1] > 24)
        return hidden(r, x);
    uint32_t which = rg_below(r, 12);
    return which < 9 ? block[which](r, x) : which < 11 ? around(r, x) : hidden(r, x);
}
