/* LpNormalization, MeanVarianceNormalization, Hardmax. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

/* A pass over [outer, n, inner], the lanes of n elements along one axis. */
struct lane {
    int64_t at, step, n;
};

static int64_t lane_count(const struct mc_buf *x, int axis, int end)
{
    return mc_op_span(x, 0, axis) * mc_op_span(x, end, x->shape.rank);
}

static struct lane lane_of(const struct mc_buf *x, int axis, int end, int64_t i)
{
    int64_t inner = mc_op_span(x, end, x->shape.rank), n = mc_op_span(x, axis, end);
    return (struct lane){.at = i / inner * n * inner + i % inner, .step = inner, .n = n};
}

/* ---- LpNormalization ---- */

static int lp_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err), rank = mc_op_rank(c, 0), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    if (!rc && rank >= 0)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", -1), rank, &axis, err);
    int64_t p = mc_node_int(c->node, "p", 2);
    if (!rc && p != 1 && p != 2)
        return mc_op_fail(err, MC_EUNSUP, c->node, "p %lld is neither 1 nor 2", (long long)p);
    return rc ? rc : mc_op_same(c, err);
}

static int lp_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", -1), x->shape.rank);
    bool square = mc_node_int(c->node, "p", 2) == 2;
    for (int64_t i = 0, lanes = lane_count(x, axis, axis + 1); i < lanes; i++) {
        struct lane l = lane_of(x, axis, axis + 1, i);
        double sum = 0;
        for (int64_t k = 0; k < l.n; k++) {
            double v = mc_buf_param(x, l.at + k * l.step);
            sum += square ? v * v : fabs(v);
        }
        double norm = square ? sqrt(sum) : sum;
        for (int64_t k = 0; k < l.n; k++) {
            double v = mc_buf_param(x, l.at + k * l.step);
            mc_buf_put(y, l.at + k * l.step, norm == 0 ? 0 : v / norm);
        }
    }
    return 0;
}

/* ---- Hardmax: 1 at the first maximum; before version 13 over all dimensions from `axis` on ---- */

static int hardmax_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err), rank = mc_op_rank(c, 0), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    int64_t given = mc_node_int(c->node, "axis", c->node->version < 13 ? 1 : -1);
    if (!rc && rank >= 0 && !(c->node->version < 13 && given == rank))
        rc = mc_op_need_axis(c->node, "axis", given, rank, &axis, err);
    return rc ? rc : mc_op_same(c, err);
}

static int hardmax_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    bool old = c->node->version < 13;
    int64_t given = mc_node_int(c->node, "axis", old ? 1 : -1);
    int axis = (int)(given < 0 ? given + x->shape.rank : given);
    int end = old ? x->shape.rank : axis + 1;
    for (int64_t i = 0, lanes = lane_count(x, axis, end); i < lanes; i++) {
        struct lane l = lane_of(x, axis, end, i);
        int64_t best = 0;
        for (int64_t k = 1; k < l.n; k++)
            if (mc_buf_param(x, l.at + k * l.step) > mc_buf_param(x, l.at + best * l.step))
                best = k;
        for (int64_t k = 0; k < l.n; k++)
            mc_buf_put(y, l.at + k * l.step, k == best);
    }
    return 0;
}

/* ---- MeanVarianceNormalization ---- */

static const int64_t usual_axes[] = {0, 2, 3};

static int mvn_axes(const struct mc_node *n, int rank, bool *over, struct mc_err *err)
{
    size_t count;
    const int64_t *axes = mc_node_ints(n, "axes", &count);
    if (!axes) {
        axes = usual_axes;
        count = sizeof usual_axes / sizeof *usual_axes;
    }
    for (size_t i = 0; i < count; i++) {
        int d, rc = mc_op_need_axis(n, "axis", axes[i], rank, &d, err);
        if (rc)
            return rc;
        over[d] = true;
    }
    return 0;
}

static int mvn_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool over[MC_RANK_MAX] = {0};
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    if (!rc && mc_op_rank(c, 0) >= 0)
        rc = mvn_axes(c->node, mc_op_rank(c, 0), over, err);
    return rc ? rc : mc_op_same(c, err);
}

/* Offset in x of element i of the dimensions where over[d] is `which`. */
static int64_t offset_of(const struct mc_buf *x, const bool *over, bool which, int64_t i)
{
    int64_t at = 0, stride = 1;
    for (int d = x->shape.rank - 1; d >= 0; d--) {
        if (over[d] == which) {
            at += i % x->shape.dim[d] * stride;
            i /= x->shape.dim[d];
        }
        stride *= x->shape.dim[d];
    }
    return at;
}

static int mvn_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    bool over[MC_RANK_MAX] = {0};
    int rc = mvn_axes(c->node, x->shape.rank, over, err);
    int64_t n = 1, kept = 1;
    for (int d = 0; d < x->shape.rank; d++)
        *(over[d] ? &n : &kept) *= x->shape.dim[d];
    for (int64_t i = 0; i < kept && !rc; i++) {
        int64_t from = offset_of(x, over, false, i);
        double mean = 0, square = 0;
        for (int64_t k = 0; k < n; k++)
            mean += mc_buf_param(x, from + offset_of(x, over, true, k));
        mean /= (double)n;
        for (int64_t k = 0; k < n; k++) {
            double v = mc_buf_param(x, from + offset_of(x, over, true, k)) - mean;
            square += v * v;
        }
        double deviation = sqrt(square / (double)n) + 1e-9; /* as in the operator's definition */
        for (int64_t k = 0; k < n; k++) {
            int64_t at = from + offset_of(x, over, true, k);
            mc_buf_put(y, at, (mc_buf_param(x, at) - mean) / deviation);
        }
    }
    return rc;
}

const struct mc_op mc_ops_lpnorm[] = {
    {"", "LpNormalization", 1, MC_OP_INPLACE, lp_infer, NULL, lp_run, NULL, NULL, NULL},
    {"", "Hardmax", 1, MC_OP_INPLACE, hardmax_infer, NULL, hardmax_run, NULL, NULL, NULL},
    {"", "MeanVarianceNormalization", 9, MC_OP_INPLACE, mvn_infer, NULL, mvn_run, NULL, NULL, NULL},
    {0},
};
