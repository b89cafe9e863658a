/* CumSum and CumProd: running sums and products along one axis. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static int cumulative_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    if (!rc && !mc_op_is_integer(c->in[0]->dtype))
        rc = mc_op_need_float(c, 0, err);
    struct mc_contents axis;
    int d, rank = mc_op_rank(c, 0);
    if (!rc && rank >= 0 && mc_op_numbers(c, 1, &axis) && axis.n == 1)
        rc = mc_op_need_axis(c->node, "axis", axis.value[0], rank, &d, err);
    if (rc)
        return rc;
    mc_op_give(c, 0, c->in[0]->dtype, c->in[0]->ranked ? &c->in[0]->shape : NULL);
    return 0;
}

struct lanes { /* [outer, n, inner], read along n from `first` in steps of `step` */
    int64_t outer, n, inner, first, step;
    bool product, exclusive;
    const void *x;
    void *y;
};

/* Integers are summed without sign, so that overflow wraps; float32 in float64. */
#define CUMULATE(type, sum_type, name)                                                             \
    static void cumulate_##name(const struct lanes *l)                                             \
    {                                                                                              \
        for (int64_t o = 0; o < l->outer; o++)                                                     \
            for (int64_t i = 0; i < l->inner; i++) {                                               \
                const type *x = (const type *)l->x + (o * l->n + l->first) * l->inner + i;         \
                type *y = (type *)l->y + (o * l->n + l->first) * l->inner + i;                     \
                sum_type sum = (sum_type)l->product;                                               \
                for (int64_t k = 0; k < l->n; k++) {                                               \
                    int64_t at = k * l->step * l->inner;                                           \
                    sum_type v = (sum_type)x[at], before = sum;                                    \
                    sum = l->product ? sum * v : sum + v;                                          \
                    y[at] = (type)(l->exclusive ? before : sum);                                   \
                }                                                                                  \
            }                                                                                      \
    }
CUMULATE(float, double, f32)
CUMULATE(double, double, f64)
CUMULATE(uint8_t, uint64_t, 1)
CUMULATE(uint16_t, uint64_t, 2)
CUMULATE(uint32_t, uint64_t, 4)
CUMULATE(uint64_t, uint64_t, 8)

static int cumulative_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank, axis;
    int64_t given = 0;
    mc_op_ints(&c->in[1], &given, 1);
    int rc = mc_op_need_axis(c->node, "axis", given, rank, &axis, err);
    if (rc)
        return rc;
    bool reverse = mc_node_int(c->node, "reverse", 0) != 0;
    struct lanes l = {.outer = mc_op_span(x, 0, axis),
                      .n = x->shape.dim[axis],
                      .inner = mc_op_span(x, axis + 1, rank),
                      .first = reverse ? x->shape.dim[axis] - 1 : 0,
                      .step = reverse ? -1 : 1,
                      .product = !strcmp(c->node->op_type, "CumProd"),
                      .exclusive = mc_node_int(c->node, "exclusive", 0) != 0,
                      .x = x->data,
                      .y = c->out[0].data};
    if (l.n == 0)
        return 0;
    switch (mc_op_elem(x->dtype)) {
    case MC_ELEM_F32: cumulate_f32(&l); break;
    case MC_ELEM_F64: cumulate_f64(&l); break;
    case MC_ELEM_I8:
    case MC_ELEM_U8: cumulate_1(&l); break;
    case MC_ELEM_I16:
    case MC_ELEM_U16: cumulate_2(&l); break;
    case MC_ELEM_I32:
    case MC_ELEM_U32: cumulate_4(&l); break;
    default: cumulate_8(&l); break;
    }
    return 0;
}

const struct mc_op mc_ops_cumulative[] = {
    {"", "CumSum", 11, MC_OP_INPLACE, cumulative_infer, NULL, cumulative_run, NULL, NULL, NULL},
    {"", "CumProd", 26, MC_OP_INPLACE, cumulative_infer, NULL, cumulative_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.running;
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank, axis;
    int64_t given = 0;
    mc_op_ints(&c->in[1], &given, 1);
    int rc = mc_op_need_axis(c->node, "axis", given, rank, &axis, err);
    if (rc)
        return rc;
    const struct mc_running r = {.type = mc_op_elem(x->dtype),
                                 .outer = mc_op_span(x, 0, axis),
                                 .n = x->shape.dim[axis],
                                 .inner = mc_op_span(x, axis + 1, rank),
                                 .reverse = mc_node_int(c->node, "reverse", 0) != 0,
                                 .product = mc_node_is(c->node, "CumProd"),
                                 .exclusive = mc_node_int(c->node, "exclusive", 0) != 0,
                                 .x = x->data,
                                 .y = c->out[0].data};
    c->k->values.running(&r);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_cumulative[] = {
    {"", "CumSum", .can = gpu_can, .host_in = 1 << 1, .run = gpu_run},
    {"", "CumProd", .can = gpu_can, .host_in = 1 << 1, .run = gpu_run},
    {0},
};
