/* Gradients of LayerNormalization and its kin, Group-, Instance-, Lp- and MeanVarianceNormalization. */
#include <string.h>

#include "graph/grad/rule.h"

/* ---- norms of rows ---- */

static const struct form {
    const char *name;
    bool rms;
    int scale, bias; /* inputs; -1 where there is none, as below */
    int skip,
        skip_add; /* input added to the first, and a vector added too; their sum is output 3 */
} forms[] = {
    {"LayerNormalization", false, 1, 2, -1, -1},
    {"RMSNormalization", true, 1, -1, -1, -1},
    {"SimplifiedLayerNormalization", true, 1, -1, -1, -1},
    {"SkipLayerNormalization", false, 2, 3, 1, 4},
    {"SkipSimplifiedLayerNormalization", true, 2, -1, 1, 3},
};
enum { SKIP_SUM = 3 };

/* Does the parameter have the shape of the last dimensions of x from axis on? */
static bool fits(const struct mc_grad *g, const struct mc_value *p, const struct mc_value *x,
                 int axis)
{
    const struct mc_vtype *tp = mc_grad_type(g, p), *tx = mc_grad_type(g, x);
    int rank = tx->shape.rank - axis;
    if (!tp->ranked || !tx->ranked || tp->shape.rank != rank)
        return false;
    for (int d = 0; d < rank; d++)
        if (tp->shape.dim[d] != tx->shape.dim[axis + d] || tp->shape.dim[d] == MC_DIM_ANY)
            return false;
    return true;
}

/* Gradient of a parameter from that of the last dimensions. */
static void give_param(struct mc_grad *g, struct mc_node *n, int i, struct mc_value *d, int axis)
{
    if (i < 0 || !mc_grad_wants(g, n, i))
        return;
    if (!fits(g, n->in[i], n->in[0], axis))
        d = mc_emit_own(g, "SumTo", d, mc_grad_shape(g, n->in[i]));
    mc_grad_give(g, n, i, d);
}

/* dx of a norm over the last dimensions of x, NULL if no gradient arrives; scale and bias are given theirs. */
static struct mc_value *rows_back(struct mc_grad *g, struct mc_node *n, const struct form *f,
                                  struct mc_value *x, int axis, double eps)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *scale = n->in[f->scale], *d[3] = {NULL};
    if (!dy)
        return NULL;
    if (!fits(g, scale, n->in[0], axis)) {
        struct mc_value *shape = mc_emit(g, "Shape", n->in[0]);
        mc_emit_int(g, "start", axis);
        scale = mc_emit(g, "Expand", scale, shape);
    }
    d[0] = mc_emit_own(g, "LayerNormGrad", dy, x, scale);
    mc_emit_int(g, "axis", axis);
    mc_emit_int(g, "rms", f->rms);
    mc_emit_float(g, "epsilon", (double)mc_node_float(n, "epsilon", (float)eps));
    if (mc_grad_wants(g, n, f->scale))
        d[1] = mc_emit_output(g, 1);
    if (f->bias >= 0 && mc_grad_wants(g, n, f->bias))
        d[2] = mc_emit_output(g, 2);
    give_param(g, n, f->scale, d[1], axis);
    give_param(g, n, f->bias, d[2], axis);
    return d[0];
}

static void layer_rule(struct mc_grad *g, struct mc_node *n)
{
    const struct form *f = forms;
    while (strcmp(f->name, n->op_type) != 0)
        f++;
    int rank = mc_grad_rank(g, n->in[0]);
    int64_t axis = f->skip < 0 ? mc_node_int(n, "axis", -1) : -1;
    if (rank < 0) {
        mc_grad_refuse(g, n, "the rank of its input is not known");
        return;
    }
    for (int i = 1; i < SKIP_SUM; i++)
        if (mc_grad_of(g, n, i))
            mc_grad_refuse(g, n, "its mean and deviation have no gradient yet");
    struct mc_value *x = f->skip < 0 ? n->in[0] : mc_grad_output(g, n, SKIP_SUM);
    struct mc_value *d =
        rows_back(g, n, f, x, (int)(axis < 0 ? axis + rank : axis), f->skip < 0 ? 1e-5 : 1e-12);
    struct mc_value *more = f->skip < 0 ? NULL : mc_grad_of(g, n, SKIP_SUM);
    if (more)
        d = d ? mc_emit(g, "Add", d, more) : more;
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, d);
    const int sums[] = {f->skip, f->skip_add};
    for (int i = 0; i < 2; i++)
        if (sums[i] >= 0 && mc_grad_wants(g, n, sums[i]))
            mc_grad_give(g, n, sums[i], mc_grad_sum_to(g, d, n->in[0], n->in[sums[i]]));
}

/* ---- EmbedLayerNormalization ---- */

/* Gradient of rows of a table that were taken by index. */
static void give_table(struct mc_grad *g, struct mc_node *n, int table, struct mc_value *d,
                       struct mc_value *index)
{
    if (mc_grad_wants(g, n, table))
        mc_grad_give(g, n, table,
                     mc_emit_own(g, "GatherGrad", d, index, mc_grad_shape(g, n->in[table])));
}

static void embed_rule(struct mc_grad *g, struct mc_node *n)
{
    enum {
        WORDS,
        SEGMENTS,
        WORD_TABLE,
        POSITION_TABLE,
        SEGMENT_TABLE,
        GAMMA,
        BETA,
        MASK,
        POSITIONS
    };
    struct mc_value *sum = mc_grad_output(g, n, 2), *positions = NULL;
    struct mc_value *dy = mc_grad_of(g, n, 0), *d = mc_grad_of(g, n, 2), *dx = NULL;
    if (dy) {
        double eps = (double)mc_node_float(n, "epsilon", 1e-12f);
        dx = mc_emit_own(g, "LayerNormGrad", dy, sum, n->in[GAMMA]);
        mc_emit_float(g, "epsilon", eps);
        struct mc_value *dscale = mc_grad_wants(g, n, GAMMA) ? mc_emit_output(g, 1) : NULL;
        struct mc_value *dbias = mc_grad_wants(g, n, BETA) ? mc_emit_output(g, 2) : NULL;
        if (dscale)
            mc_grad_give(g, n, GAMMA, dscale);
        if (dbias)
            mc_grad_give(g, n, BETA, dbias);
        d = d ? mc_emit(g, "Add", dx, d) : dx;
    }
    give_table(g, n, WORD_TABLE, d, n->in[WORDS]);
    if (n->in[SEGMENTS])
        give_table(g, n, SEGMENT_TABLE, d, n->in[SEGMENTS]);
    if (!mc_grad_wants(g, n, POSITION_TABLE))
        return;
    if (n->n_in > POSITIONS && n->in[POSITIONS]) {
        positions = mc_emit(g, "Expand", n->in[POSITIONS], mc_grad_shape(g, n->in[WORDS]));
    } else {
        int64_t batch = 0;
        struct mc_value *length = mc_grad_dim(g, n->in[WORDS], 1), *none = mc_grad_ints(g, NULL, 0);
        length = mc_emit(g, "Reshape", length, none);
        positions = mc_emit(g, "Range", mc_grad_int(g, 0), length, mc_grad_int(g, 1));
        d = mc_grad_reduce_sum(g, d, &batch, 1, false);
    }
    give_table(g, n, POSITION_TABLE, d, positions);
}

/* ---- norms of channels ---- */

static void group_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dscale = NULL, *dbias = NULL;
    struct mc_value *dx = mc_emit_own(g, "GroupNormGrad", mc_grad_of(g, n, 0), n->in[0], n->in[1]);
    mc_emit_copy(g, n, "num_groups");
    mc_emit_copy(g, n, "epsilon");
    if (mc_grad_wants(g, n, 1))
        dscale = mc_emit_output(g, 1);
    if (mc_grad_wants(g, n, 2))
        dbias = mc_emit_output(g, 2);
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, dx);
    if (dscale)
        mc_grad_give(g, n, 1, dscale);
    if (dbias)
        mc_grad_give(g, n, 2, dbias);
}

/* ---- norms without parameters ---- */

/* An operator that reduces to 1 along axes. */
static struct mc_value *reduce(struct mc_grad *g, const char *op, struct mc_value *x,
                               struct mc_value *axes)
{
    struct mc_value *y = mc_emit(g, op, x, axes);
    mc_emit_int(g, "keepdims", 1);
    return y;
}

/* y = x / |x|: dx = (dy - y sum(dy y)) / |x|, with the sign of x for y where p is 1; 0 where |x| is. */
static void lp_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0], *y = n->out[0];
    bool one = mc_node_int(n, "p", 2) == 1;
    int64_t axis = mc_node_int(n, "axis", -1);
    struct mc_value *axes = mc_grad_ints(g, &axis, 1), *zero = mc_grad_scalar(g, x, 0);
    struct mc_value *norm = reduce(g, one ? "ReduceL1" : "ReduceL2", x, axes);
    struct mc_value *along = reduce(g, "ReduceSum", mc_emit(g, "Mul", dy, y), axes);
    struct mc_value *way = one ? mc_emit(g, "Sign", x) : y;
    struct mc_value *d = mc_emit(g, "Sub", dy, mc_emit(g, "Mul", way, along));
    d = mc_emit(g, "Div", d, norm);
    mc_grad_give(g, n, 0, mc_emit(g, "Where", mc_emit(g, "Equal", norm, zero), zero, d));
}

/* y = (x - mean) / s: dx = (dy - mean(dy) - y mean(dy y)) / s, s the deviation and 1e-9. */
static void mean_variance_rule(struct mc_grad *g, struct mc_node *n)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t count;
    const int64_t *given = mc_node_ints(n, "axes", &count);
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0], *y = n->out[0];
    struct mc_value *axes = given ? mc_grad_ints(g, given, count) : mc_grad_ints(g, usual, 3);
    struct mc_value *d = mc_emit(g, "Sub", x, reduce(g, "ReduceMean", x, axes));
    struct mc_value *s = mc_emit(g, "Sqrt", reduce(g, "ReduceMean", mc_emit(g, "Mul", d, d), axes));
    s = mc_emit(g, "Add", s, mc_grad_scalar(g, x, 1e-9));
    struct mc_value *along = reduce(g, "ReduceMean", mc_emit(g, "Mul", dy, y), axes);
    struct mc_value *dx = mc_emit(g, "Sub", dy, reduce(g, "ReduceMean", dy, axes));
    dx = mc_emit(g, "Sub", dx, mc_emit(g, "Mul", y, along));
    mc_grad_give(g, n, 0, mc_emit(g, "Div", dx, s));
}

const struct mc_rule mc_rules_norm[] = {
    {"", "LayerNormalization", 1, layer_rule},
    {"", "SimplifiedLayerNormalization", 1, layer_rule},
    {"", "RMSNormalization", 23, layer_rule},
    {"com.microsoft", "SkipLayerNormalization", 1, layer_rule},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 1, layer_rule},
    {"com.microsoft", "EmbedLayerNormalization", 1, embed_rule},
    {"", "GroupNormalization", 18, group_rule},
    {"", "InstanceNormalization", 6, group_rule},
    {"", "LpNormalization", 1, lp_rule},
    {"", "MeanVarianceNormalization", 9, mean_variance_rule},
    {0},
};
