/* Sums and products of two dequantised tensors, pools and concatenations of them; QLinearAdd, QLinearMul,
 * QLinearConcat, QLinearAveragePool, QLinearGlobalAveragePool. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/run/fuse_integer.h"

enum { MOST_INPUTS = 64 }; /* of a concatenation */

/* What is behind step i: perhaps a Relu or Clip, then the QuantizeLinear. False if that is not so. */
static bool take_end(struct mc_integers *f, struct mc_fuse_group *g, int i, struct mc_integer *what)
{
    struct mc_epilogue e = {.act = MC_ACT_NONE};
    const struct mc_value *v = f->p->steps[i].out[0];
    int next = mc_integer_reader(f->p, v);
    const struct mc_step *st = next < 0 ? NULL : &f->p->steps[next];
    if (st && !st->skip && st->call.op->as_epilogue && !st->call.epilogue && st->in[0] == v &&
        st->call.n_out == 1 && st->call.op->as_epilogue(st->call.node, &e) &&
        e.act == MC_ACT_CLAMP) {
        if (!mc_fuse_group_add(g, next))
            return false;
        v = st->out[0];
    } else {
        e = (struct mc_epilogue){.lo = -INFINITY, .hi = INFINITY};
    }
    int q = v ? mc_integer_to(f, v, &what->y) : -1;
    if (q < 0 || !mc_fuse_group_add(g, q))
        return false;
    mc_integer_range(&what->y, f->p->steps[q].call.out[0].dtype, e.lo, e.hi, &what->to);
    return true;
}

static bool is_single(const struct mc_step *st)
{
    return st->call.n_out >= 1 && st->out[0] && !st->call.epilogue && !st->call.integer &&
           (st->call.n_out == 1 || !st->out[1]);
}

/* Operand: an 8-bit tensor in input `at` with its parameters behind it. */
static bool operand(struct mc_integers *f, const struct mc_step *st, int at,
                    struct mc_quantised *ret)
{
    ret->v = st->call.n_in > at + 1 ? st->in[at] : NULL;
    return ret->v && mc_integer_is_bytes(f->p, ret->v) &&
           mc_integer_side_of(f, st->in[at + 1], st->call.n_in > at + 2 ? st->in[at + 2] : NULL,
                              &ret->side);
}

/* Parameters of the result in inputs from `at` on. */
static bool result(struct mc_integers *f, const struct mc_step *st, int at, struct mc_integer *what)
{
    if (st->call.n_in <= at || !mc_integer_is_bytes(f->p, st->out[0]) ||
        !mc_integer_side_of(f, st->in[at], st->call.n_in > at + 1 ? st->in[at + 1] : NULL,
                            &what->y))
        return false;
    mc_integer_range(&what->y, st->call.out[0].dtype, -INFINITY, INFINITY, &what->to);
    return true;
}

/* ---- pairs ---- */

/* Along the last dimension at most one of them repeats, and one of them is as long as the result: its rows are
 * what the kernel works on. */
static bool has_rows(const struct mc_plan *p, const struct mc_quantised x[2],
                     const struct mc_shape *y)
{
    bool whole = false;
    for (int i = 0; i < 2; i++)
        whole |= mc_shape_equal(&p->values[x[i].v->index].buf.shape, y);
    return whole && y->rank >= 1 && y->rank <= MC_MOVE_RANK;
}

bool mc_integer_pair(struct mc_integers *f, int i)
{
    enum { LINEAR_Y = 6 };
    const struct mc_step *st = &f->p->steps[i];
    struct mc_fuse_group g = {.p = f->p, .step = {i}, .n = 1};
    struct mc_quantised x[2];
    struct mc_integer what = {.multiply = mc_integer_is(st, "Mul"),
                              .subtract = mc_integer_is(st, "Sub")};
    bool linear = mc_integer_is(st, "QLinearAdd") || mc_integer_is(st, "QLinearMul");
    if (!is_single(st))
        return false;
    if (linear) {
        what.multiply = mc_integer_is(st, "QLinearMul");
        if (!operand(f, st, 0, &x[0]) || !operand(f, st, 3, &x[1]) ||
            !result(f, st, LINEAR_Y, &what))
            return false;
    } else if (!(what.multiply || what.subtract || mc_integer_is(st, "Add") ||
                 mc_integer_is(st, "Sum")) ||
               st->call.n_in != 2 || st->call.node->version < 7 ||
               !mc_integer_from(f, st->in[0], true, &x[0]) ||
               !mc_integer_from(f, st->in[1], true, &x[1]) || !take_end(f, &g, i, &what)) {
        return false;
    }
    if (!has_rows(f->p, x, &st->call.out[0].shape))
        return false;
    struct mc_value *in[2] = {x[0].v, x[1].v};
    struct mc_integer_side side[2] = {x[0].side, x[1].side};
    what.x = side;
    return mc_integer_replace(&g, &mc_op_integer_pair, in, 2, &what);
}

/* ---- pools ---- */

/* Is the mean over all spatial dimensions and no other? */
static bool is_spatial_mean(const struct mc_step *st)
{
    int64_t axes[MC_RANK_MAX];
    int rank = st->call.in[0].shape.rank, n = -1;
    size_t len;
    const int64_t *attr = mc_node_ints(st->call.node, "axes", &len);
    if (attr && len <= MC_RANK_MAX) {
        memcpy(axes, attr, len * sizeof *axes);
        n = (int)len;
    } else if (!attr && st->call.n_in > 1 && st->in[1] && st->call.in[1].constant) {
        n = mc_op_ints(&st->call.in[1], axes, MC_RANK_MAX);
    }
    bool spatial = n == rank - 2 && n > 0;
    for (int i = 0; i < n && spatial; i++)
        spatial = (axes[i] < 0 ? axes[i] + rank : axes[i]) >= 2;
    return spatial;
}

static bool same_side(const struct mc_integer_side *a, const struct mc_integer_side *b)
{
    return a->scale == b->scale && a->zero == b->zero;
}

bool mc_integer_pool(struct mc_integers *f, int i)
{
    const struct mc_step *st = &f->p->steps[i];
    struct mc_fuse_group g = {.p = f->p, .step = {i}, .n = 1};
    struct mc_quantised x;
    bool linear = mc_integer_is(st, "QLinearAveragePool");
    bool all = mc_integer_is(st, "QLinearGlobalAveragePool");
    bool most = mc_integer_is(st, "MaxPool") || mc_integer_is(st, "GlobalMaxPool");
    bool mean = mc_integer_is(st, "AveragePool") || mc_integer_is(st, "GlobalAveragePool") ||
                mc_integer_is(st, "ReduceMean");
    if (!(linear || all || most || mean) || !is_single(st) || st->call.in[0].shape.rank < 3 ||
        st->call.in[0].shape.rank > 5 || (mc_integer_is(st, "ReduceMean") && !is_spatial_mean(st)))
        return false;
    struct mc_integer what = {.average = !most,
                              .global = mc_integer_is(st, "ReduceMean") ||
                                        strstr(st->call.op->name, "Global")};
    bool bytes = most && mc_integer_is_bytes(f->p, st->in[0]);
    if (linear || all) {
        if (mc_node_int(st->call.node, "channels_last", 0) || !operand(f, st, 0, &x) ||
            !result(f, st, 3, &what))
            return false;
    } else if (bytes) {
        x = (struct mc_quantised){st->in[0], {.scale = 1}};
        what.y = x.side;
        mc_integer_range(&what.y, st->call.out[0].dtype, -INFINITY, INFINITY, &what.to);
    } else if (!mc_integer_from(f, st->in[0], false, &x) || !take_end(f, &g, i, &what)) {
        return false;
    }
    enum mc_dtype to = f->p->steps[g.step[g.n - 1]].call.out[0].dtype;
    if (most &&
        (g.n > 2 || !same_side(&x.side, &what.y) || f->p->values[x.v->index].buf.dtype != to))
        return false;
    what.x = &x.side;
    return mc_integer_replace(&g, &mc_op_integer_pool, &x.v, 1, &what);
}

/* ---- concatenations ---- */

/* y of every x: the same number with other parameters. */
static void requantise(const struct mc_integer_side *x, enum mc_dtype from,
                       const struct mc_integer *what, uint8_t *table)
{
    for (int i = 0; i < MC_INTEGER_TABLE; i++) {
        int32_t v = from == MC_DTYPE_I8 ? (int8_t)(uint8_t)i : i;
        float q = rintf((float)(v - x->zero) * x->scale / what->y.scale) + (float)what->to.zero;
        table[i] = (uint8_t)(int32_t)(!(q > (float)what->to.lo) ? (float)what->to.lo
                                      : q > (float)what->to.hi  ? (float)what->to.hi
                                                                : q);
    }
}

bool mc_integer_concat(struct mc_integers *f, int i)
{
    const struct mc_step *st = &f->p->steps[i];
    struct mc_fuse_group g = {.p = f->p, .step = {i}, .n = 1};
    struct mc_quantised x[MOST_INPUTS];
    struct mc_integer what = {0};
    bool linear = mc_integer_is(st, "QLinearConcat");
    int n = linear ? (st->call.n_in - 2) / 3 : st->call.n_in;
    if (!(linear || mc_integer_is(st, "Concat")) || !is_single(st) || n < 1 || n > MOST_INPUTS)
        return false;
    for (int k = 0; k < n; k++)
        if (linear ? !operand(f, st, 2 + 3 * k, &x[k])
                   : !st->in[k] || !mc_integer_from(f, st->in[k], true, &x[k]))
            return false;
    if (linear ? !result(f, st, 0, &what) : !take_end(f, &g, i, &what))
        return false;
    uint8_t *table = mc_arena_array(&f->p->mem, (size_t)n * MC_INTEGER_TABLE, 1);
    struct mc_value *in[MOST_INPUTS];
    struct mc_integer_side side[MOST_INPUTS];
    if (!table)
        return false;
    for (int k = 0; k < n; k++) {
        in[k] = x[k].v;
        side[k] = x[k].side;
        requantise(&x[k].side, f->p->values[in[k]->index].buf.dtype, &what,
                   table + k * MC_INTEGER_TABLE);
    }
    what.x = side;
    what.table = table;
    return mc_integer_replace(&g, &mc_op_integer_concat, in, n, &what);
}
