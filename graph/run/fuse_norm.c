#include <math.h>

#include "base/mem.h"
#include "graph/ops/fused_step.h"
#include "graph/run/fuse_group.h"

/* y = (x - mean) / sqrt(mean of squares + eps) * scale + bias, written as nodes: by PyTorch before opset 17, and
 * without mean and bias by most language models. The mean is over the last dimensions. */

struct rows {
    struct mc_fuse_group g;
    const struct mc_value *x, *scale, *bias;
    struct mc_norm norm;
};

/* The step that makes v, where it is of operator `op`; it is taken in. */
static const struct mc_step *take(struct mc_fuse_group *g, const struct mc_value *v, const char *op)
{
    const struct mc_step *st = mc_fuse_maker(g->p, v);
    if (!st || !mc_node_is(st->call.node, op))
        return NULL;
    int at = g->p->values[v->index].def;
    return mc_fuse_group_has(g, at) || mc_fuse_group_add(g, at) ? st : NULL;
}

/* A constant of one float; NaN if it is none. */
static double single(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_buf *b = &p->values[v->index].buf;
    return b->constant && b->data && b->dtype == MC_DTYPE_F32 && mc_shape_count(&b->shape) == 1
               ? (double)*(const float *)b->data
               : NAN;
}

static bool same_shape(const struct mc_plan *p, const struct mc_value *a, const struct mc_value *b)
{
    return mc_shape_equal(&p->values[a->index].buf.shape, &p->values[b->index].buf.shape);
}

/* Input 0 of a ReduceMean that makes v, whose last dimensions from *axis on are 1 then. */
static const struct mc_value *mean_of(struct rows *r, const struct mc_value *v, int *axis)
{
    const struct mc_step *st = take(&r->g, v, "ReduceMean");
    if (!st)
        return NULL;
    const struct mc_shape *x = &st->call.in[0].shape, *y = &st->call.out[0].shape;
    if (x->rank != y->rank || st->call.in[0].dtype != MC_DTYPE_F32)
        return NULL;
    int a = x->rank;
    while (a > 0 && y->dim[a - 1] == 1)
        a--;
    for (int d = 0; d < a; d++)
        if (x->dim[d] != y->dim[d])
            return NULL;
    *axis = a;
    return st->in[0];
}

/* b of the step b * b or b to the power of 2 that makes v. */
static const struct mc_value *squared(struct rows *r, const struct mc_value *v)
{
    const struct mc_step *st = take(&r->g, v, "Pow");
    if (st)
        return single(r->g.p, st->in[1]) == 2 ? st->in[0] : NULL;
    st = take(&r->g, v, "Mul");
    return st && st->in[0] == st->in[1] ? st->in[0] : NULL;
}

/* From the root of v = sqrt(mean of squares + eps): what is squared, and the axis. */
static const struct mc_value *root_of(struct rows *r, const struct mc_value *v, int *axis)
{
    const struct mc_step *root = take(&r->g, v, "Sqrt");
    const struct mc_step *add = root ? take(&r->g, root->in[0], "Add") : NULL;
    if (!add)
        return NULL;
    int at = isnan(single(r->g.p, add->in[1])) ? 0 : 1;
    r->norm.eps = single(r->g.p, add->in[at]);
    if (!(r->norm.eps >= 0) || !same_shape(r->g.p, add->in[!at], v))
        return NULL;
    const struct mc_value *mean = mean_of(r, add->in[!at], axis);
    return mean ? squared(r, mean) : NULL;
}

/* Is b the difference of x and its mean over the same dimensions? */
static const struct mc_value *centred(struct rows *r, const struct mc_value *b, int axis)
{
    const struct mc_step *sub = take(&r->g, b, "Sub");
    int over;
    if (!sub || !same_shape(r->g.p, sub->in[0], b))
        return NULL;
    const struct mc_value *x = mean_of(r, sub->in[1], &over);
    return x == sub->in[0] && over == axis ? x : NULL;
}

/* The quotient `st`: of what is squared in its divisor, or of a twin of that; or the product with 1 / root. */
static bool match_quotient(struct rows *r, const struct mc_step *st)
{
    const struct mc_value *a = st->in[0], *root = st->in[1];
    int axis;
    if (mc_node_is(st->call.node, "Mul")) {
        const struct mc_step *inv = mc_fuse_maker(r->g.p, root);
        if (!inv ||
            !(mc_node_is(inv->call.node, "Reciprocal") || mc_node_is(inv->call.node, "Div"))) {
            root = st->in[0];
            a = st->in[1];
            inv = mc_fuse_maker(r->g.p, root);
        }
        bool div = inv && mc_node_is(inv->call.node, "Div");
        if (!inv || (div && single(r->g.p, inv->in[0]) != 1) ||
            !take(&r->g, root, div ? "Div" : "Reciprocal"))
            return false;
        root = inv->in[div];
    }
    const struct mc_value *b = root_of(r, root, &axis);
    if (!b || !same_shape(r->g.p, b, st->out[0]))
        return false;
    struct rows plain = *r;
    r->x = centred(r, b, axis);
    if (r->x && b != a)
        r->x = centred(r, a, axis) == r->x ? r->x : NULL;
    if (!r->x && a == b) {
        *r = plain;
        r->x = b;
        r->norm.rms = true;
    }
    if (!r->x || r->g.p->values[r->x->index].buf.dtype != MC_DTYPE_F32)
        return false;
    const struct mc_shape *s = &r->g.p->values[r->x->index].buf.shape;
    r->norm.rows = r->norm.n = 1;
    for (int d = 0; d < s->rank; d++)
        *(d < axis ? &r->norm.rows : &r->norm.n) *= s->dim[d];
    return r->norm.n > 0;
}

/* The other operand of a step `op` that alone reads the group's result, where it has an element for each column
 * and nothing before them; the step is taken in. */
static const struct mc_value *per_column(struct rows *r, const char *op)
{
    struct mc_plan *p = r->g.p;
    const struct mc_value *y = p->steps[r->g.step[r->g.n - 1]].out[0];
    const struct mc_pvalue *pv = &p->values[y->index];
    if (pv->uses != 1 || pv->apart || pv->last < 0 || pv->last >= p->n_steps)
        return NULL;
    const struct mc_step *st = &p->steps[pv->last];
    if (st->skip || st->boundary || st->call.epilogue || !mc_node_is(st->call.node, op) ||
        st->call.n_in != 2 || !st->out[0] || !same_shape(p, st->out[0], y))
        return NULL;
    const struct mc_value *other = st->in[st->in[0] == y];
    const struct mc_buf *b = &p->values[other->index].buf;
    const struct mc_shape *s = &p->values[y->index].buf.shape;
    int64_t n = 1;
    for (int d = 1; d <= s->rank && d <= b->shape.rank && n < r->norm.n; d++) {
        if (b->shape.dim[b->shape.rank - d] != s->dim[s->rank - d])
            return NULL;
        n *= s->dim[s->rank - d];
    }
    return b->dtype == MC_DTYPE_F32 && n == r->norm.n && mc_shape_count(&b->shape) == n &&
                   mc_fuse_group_add(&r->g, pv->last)
               ? other
               : NULL;
}

/* Nothing but the group reads what its steps make, except the last. */
static bool closed(const struct mc_fuse_group *g)
{
    for (int k = 0; k < g->n - 1; k++)
        if (!mc_fuse_group_owns(g, g->p->steps[g->step[k]].out[0]))
            return false;
    return true;
}

static void replace(const struct rows *r)
{
    struct mc_plan *p = r->g.p;
    struct mc_norm *norm = mc_arena_array(&p->mem, 1, sizeof *norm);
    const struct mc_value *const from[3] = {r->x, r->scale, r->bias};
    struct mc_value *in[3];
    for (int i = 0; i < 3; i++)
        in[i] = from[i] ? (struct mc_value *)(uintptr_t)from[i] : NULL;
    struct mc_step *st = norm ? mc_fuse_group_replace(&r->g, &mc_op_norm, in, 3) : NULL;
    if (!st)
        return;
    *norm = r->norm;
    st->call.norm = norm;
}

void mc_fuse_norms(struct mc_plan *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        struct rows r = {.g = {.p = p, .step = {i}, .n = 1}};
        if (!(mc_node_is(st->call.node, "Div") || mc_node_is(st->call.node, "Mul")) || st->skip ||
            st->boundary || st->call.n_in != 2 || !st->out[0] || !match_quotient(&r, st) ||
            !closed(&r.g))
            continue;
        r.scale = per_column(&r, "Mul");
        r.bias = per_column(&r, "Add");
        replace(&r);
    }
}
