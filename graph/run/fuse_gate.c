#include "graph/run/fuse_gate.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum part_kind { END, ADD, DIVIDE, CLIP, FUNCTION, GATE };

struct part {
    enum part_kind kind;
    double by;      /* ADD, DIVIDE: the constant; CLIP: from 0 to it; HardSigmoid: its alpha */
    const char *op; /* FUNCTION */
};

static const struct {
    enum mc_act act;
    struct part part[MC_GATE_STEPS + 1];
} gates[] = {
    {MC_ACT_SILU, {{FUNCTION, 0, "Sigmoid"}, {GATE, 0, NULL}}},
    {MC_ACT_HARDSWISH, {{FUNCTION, 1.0 / 6, "HardSigmoid"}, {GATE, 0, NULL}}},
    {MC_ACT_HARDSWISH, {{ADD, 3, NULL}, {CLIP, 6, NULL}, {GATE, 0, NULL}, {DIVIDE, 6, NULL}}},
    {MC_ACT_HARDSWISH, {{ADD, 3, NULL}, {CLIP, 6, NULL}, {DIVIDE, 6, NULL}, {GATE, 0, NULL}}},
    {MC_ACT_GELU,
     {{DIVIDE, 1.41421356237309505, NULL},
      {FUNCTION, 0, "Erf"},
      {ADD, 1, NULL},
      {GATE, 0, NULL},
      {DIVIDE, 2, NULL}}},
};
enum { N_GATES = sizeof gates / sizeof *gates };

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* Content of a constant of one float; NaN if it is none. */
static double single(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_buf *b = v ? &p->values[v->index].buf : NULL;
    if (!b || !b->constant || !b->data || mc_shape_count(&b->shape) != 1)
        return NAN;
    return b->dtype == MC_DTYPE_F32   ? (double)*(const float *)b->data
           : b->dtype == MC_DTYPE_F64 ? *(const double *)b->data
                                      : NAN;
}

static bool is_clip(const struct mc_step *st, double top)
{
    struct mc_epilogue e = {0};
    return mc_node_is(st->call.node, "Clip") && st->call.op->as_epilogue &&
           st->call.op->as_epilogue(st->call.node, &e) && e.lo == 0 && e.hi == top;
}

static bool is_function(const struct mc_step *st, const struct part *part)
{
    const struct mc_node *n = st->call.node;
    bool hard = part->by > 0;
    return mc_node_is(n, part->op) &&
           (!hard || (near((double)mc_node_float(n, "alpha", 0.2F), part->by) &&
                      mc_node_float(n, "beta", 0.5F) == 0.5F));
}

/* Does step st do this part to x, where the gated value is v? */
static bool does(const struct mc_plan *p, const struct mc_step *st, const struct part *part,
                 const struct mc_value *x, const struct mc_value *v)
{
    const struct mc_node *n = st->call.node;
    bool mul = mc_node_is(n, "Mul");
    if (part->kind == CLIP)
        return st->in[0] == x && is_clip(st, part->by);
    if (part->kind == FUNCTION)
        return st->in[0] == x && is_function(st, part);
    if (st->call.n_in != 2)
        return false;
    const struct mc_value *other = st->in[st->in[0] == x];
    if (part->kind == GATE)
        return mul && other == v && x != v;
    double c = single(p, other);
    if (part->kind == ADD)
        return mc_node_is(n, "Add") && near(c, part->by);
    return (mul && near(1 / c, part->by)) ||
           (mc_node_is(n, "Div") && st->in[0] == x && near(c, part->by));
}

static bool reads(const struct mc_step *st, const struct mc_value *v)
{
    for (int i = 0; i < st->call.n_in; i++)
        if (st->in[i] == v)
            return true;
    return st->residual == v;
}

/* The step after `from` that does a part to x; -1 if there is none. */
static int find(const struct mc_plan *p, int from, const struct part *part,
                const struct mc_value *x, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[x->index];
    if (pv->last == INT_MAX || pv->apart || pv->uses != (x == v ? 2 : 1))
        return -1;
    for (int i = from; i <= pv->last; i++) {
        const struct mc_step *st = &p->steps[i];
        if (!st->skip && st->call.n_out == 1 && st->out[0] && reads(st, x) &&
            mc_shape_equal(&st->call.out[0].shape, &p->values[v->index].buf.shape) &&
            does(p, st, part, x, v))
            return i;
    }
    return -1;
}

int mc_fuse_gate(const struct mc_plan *p, const struct mc_value *v, int step[MC_GATE_STEPS],
                 struct mc_epilogue *e)
{
    for (int g = 0; g < N_GATES; g++) {
        const struct mc_value *x = v;
        int n = 0, from = p->values[v->index].def + 1;
        while (gates[g].part[n].kind != END) {
            int i = find(p, from, &gates[g].part[n], x, v);
            if (i < 0)
                break;
            step[n++] = i;
            from = i + 1;
            x = p->steps[i].out[0];
        }
        if (gates[g].part[n].kind == END) {
            e->act = gates[g].act;
            return n;
        }
    }
    return 0;
}
