#include "passes/quant/form/quant_region_kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"

/* Whether a space-separated list holds the operator of n. */
static bool listed(const char *list, const struct mc_node *n)
{
    size_t len = strlen(n->op_type);
    if (*n->domain)
        return false;
    for (const char *at = list; (at = strstr(at, n->op_type)); at += len)
        if (at > list && at[-1] == ' ' && at[len] == ' ')
            return true;
    return false;
}

bool mc_quant_number(const struct mc_value *v, float *ret)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return t && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT && mc_tensor_count(t) == 1 &&
           !mc_dtype_to_f32(t->dtype, t->data, ret, 1, NULL);
}

bool mc_quant_is_finite(const struct mc_tensor *t)
{
    enum { PART = 256 };
    float x[PART];
    size_t n = (size_t)mc_tensor_count(t), width = n ? t->bytes / n : 0;
    for (size_t i = 0; i < n; i += PART) {
        size_t part = n - i < PART ? n - i : PART;
        if (mc_dtype_to_f32(t->dtype, t->data + i * width, x, part, NULL))
            return false;
        for (size_t k = 0; k < part; k++)
            if (!isfinite(x[k]))
                return false;
    }
    return true;
}

/* One number of a constant; `missing` where the slot is empty. False: not constant. */
static bool bound(const struct mc_node *n, size_t slot, double missing, double *ret)
{
    float x;
    *ret = missing;
    if (slot >= n->n_in || !n->in[slot])
        return true;
    if (!mc_quant_number(n->in[slot], &x))
        return false;
    *ret = (double)x;
    return true;
}

bool mc_quant_act_bounds(const struct mc_node *act, double *ret_lo, double *ret_hi)
{
    *ret_lo = 0;
    *ret_hi = INFINITY;
    if (mc_node_is(act, "Relu"))
        return true;
    if (mc_node_attr(act, "min") || mc_node_attr(act, "max")) { /* before opset 11 */
        *ret_lo = (double)mc_node_float(act, "min", -INFINITY);
        *ret_hi = (double)mc_node_float(act, "max", INFINITY);
        return true;
    }
    return bound(act, 1, -INFINITY, ret_lo) && bound(act, 2, INFINITY, ret_hi);
}

bool mc_quant_is_act(const struct mc_node *n)
{
    double lo, hi;
    if (mc_node_is(n, "Relu"))
        return true;
    return mc_node_is(n, "Clip") && mc_quant_act_bounds(n, &lo, &hi) && lo <= 0 && hi > lo &&
           hi >= 0;
}

bool mc_quant_moves(const struct mc_node *n)
{
    if (!n->n_in || !n->in[0] || mc_constant(n->in[0]))
        return false;
    if (mc_node_is(n, "MaxPool"))
        return n->n_out == 1 || !n->out[1];
    if (mc_node_is(n, "Resize")) /* behind the edge of a crop stands a number of its own */
        return !strcmp(mc_node_string(n, "mode", "nearest"), "nearest") &&
               strcmp(mc_node_string(n, "coordinate_transformation_mode", ""),
                      "tf_crop_and_resize") != 0;
    return listed(" Reshape Transpose Squeeze Unsqueeze Flatten Slice Split Gather Tile "
                  "DepthToSpace ReduceMax ReduceMin ",
                  n);
}

int mc_quant_rescales(const struct mc_node *n, float *ret_factor)
{
    bool product = mc_node_is(n, "Mul");
    if ((!product && !mc_node_is(n, "Div")) || n->n_in != 2 || !n->in[0] || !n->in[1])
        return -1;
    int x = product && mc_constant(n->in[0]) ? 1 : 0;
    const struct mc_tensor *t = mc_constant(n->in[1 - x]);
    float number;
    if (!t || mc_constant(n->in[x]) || t->shape.rank > 1 || !mc_quant_number(n->in[1 - x], &number))
        return -1;
    *ret_factor = product ? number : 1 / number;
    return *ret_factor > 1e-6F && *ret_factor < 1e6F ? x : -1; /* scales stay normal numbers */
}

bool mc_quant_takes_several(const struct mc_node *n)
{
    return listed(" Add Mul Concat ", n);
}

/* Channels times 0 or 1: what that leaves out is to be out before anything is rounded. */
static bool is_mask(const struct mc_node *n)
{
    bool product = mc_node_is(n, "Mul") && n->n_in == 2 && n->in[1];
    const struct mc_tensor *t = product ? mc_constant(n->in[1]) : NULL;
    if (!t || t->dtype != MC_DTYPE_F32 || mc_tensor_count(t) < 2)
        return false;
    const float *x = (const float *)t->data;
    for (int64_t i = 0; i < mc_tensor_count(t); i++)
        if (x[i] != 0 && x[i] != 1)
            return false;
    return true;
}

bool mc_quant_combines(const struct mc_node *n)
{
    return (mc_quant_takes_several(n) && !is_mask(n)) || mc_quant_is_act(n) ||
           listed(" AveragePool GlobalAveragePool LeakyRelu Sigmoid HardSigmoid ", n);
}

bool mc_quant_operand(const struct mc_node *n, size_t k)
{
    const struct mc_tensor *t =
        mc_quant_takes_several(n) && n->in[k] ? mc_constant(n->in[k]) : NULL;
    return t && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT;
}

const struct mc_value *mc_quant_unit_result(const struct mc_quant_unit *u, const struct mc_node *n)
{
    return u->act ? u->act->out[0] : n->out[0];
}

bool mc_quant_site_reads(const struct mc_quant_site *s, size_t slot)
{
    switch (s->kind) {
    case MC_QUANT_MATMUL:
    case MC_QUANT_GEMM:
    case MC_QUANT_CONV:
    case MC_QUANT_CONVT: return (int)slot == s->x_slot;
    case MC_QUANT_PRODUCT: return slot < 2;
    default: return false;
    }
}

const struct mc_value *mc_quant_same(const struct mc_value *v)
{
    while (v->producer && v->producer->in[0] &&
           listed(" Reshape Transpose Squeeze Unsqueeze Flatten Identity ", v->producer))
        v = v->producer->in[0];
    return v;
}

const struct mc_quant_stat *mc_quant_stat_of(const struct mc_quant_stats *s,
                                             const struct mc_value *v)
{
    const struct mc_quant_stat *at = mc_quant_stats_of(s, v->name);
    return at ? at : mc_quant_stats_of(s, mc_quant_same(v)->name);
}

struct mc_quant_type mc_quant_act_type(const struct mc_quant_rules *r, bool wide)
{
    return (struct mc_quant_type){.bits = wide ? 16 : r->act_bits,
                                  .is_signed = r->act_symmetric,
                                  .symmetric = r->act_symmetric};
}

/* 255 steps from 0 to 1. */
const struct mc_quant_param mc_quant_hard_param = {1.0F / 255, 0};

/* The largest scale, near to p's, whose range lies within [lo, hi]; 0 does. */
static void fit_within(double lo, double hi, int32_t least, int32_t most, struct mc_quant_param *p)
{
    double scale = (double)p->scale;
    int32_t below = p->zero - least, above = most - p->zero;
    if (-lo < (double)below * scale) {
        double whole = isinf(hi) ? (double)(most - least) * scale : hi - lo;
        below = (int32_t)floor(-lo / fmin(scale, whole / (double)(most - least)));
        below = below < most - least ? below : most - least;
        above = most - least - below;
    }
    if (below && -lo < (double)below * scale)
        scale = -lo / (double)below;
    if (above && hi < (double)above * scale)
        scale = hi / (double)above;
    p->zero = least + below;
    p->scale = (float)scale;
    if ((above && hi < (double)p->scale * above) || (below && -lo < (double)p->scale * below))
        p->scale = nextafterf(p->scale, 0);
}

void mc_quant_act_param(const struct mc_quant_stat *s, const struct mc_quant_rules *r,
                        const struct mc_quant_type *t, const struct mc_node *act,
                        struct mc_quant_param *ret)
{
    double lo, hi;
    int32_t least, most;
    mc_quant_type_limits(t, &least, &most);
    if (s->fixed) {
        *ret = s->param; /* perhaps meant for more bits than these */
        ret->zero = ret->zero < least ? least : ret->zero > most ? most : ret->zero;
        return;
    }
    mc_quant_stat_range(s, t, r->method, r->percentile, ret);
    if (act && !t->symmetric && mc_quant_act_bounds(act, &lo, &hi))
        fit_within(lo, hi, least, most, ret);
}
