/* Conv, Gemm and MatMul of two dequantised tensors, the second a constant; QLinearConv, QLinearMatMul and QGemm. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/run/fuse_integer.h"

enum { MOST_SUM = 1 << 30 }; /* of products, and of a bias: together they fit 32 bits */

struct product {
    struct mc_integers *f;
    struct mc_fuse_group g;
    struct mc_step *st;
    bool conv;
    int axis; /* of the weight: output channels */
    int64_t n;
    struct mc_quantised x, r; /* r: a residual of integers */
    struct mc_value *w;
    const struct mc_buf *w_scale, *w_zero; /* w_zero may be NULL */
    float *scale;                          /* [n] of the sums */
    double *shift;                         /* [n] of the result */
    struct mc_integer what;
};

/* ---- the weight ---- */

static int weight_axis(const struct mc_node *n, bool conv)
{
    bool turned = strstr(n->op_type, "Gemm") && mc_node_int(n, "transB", 0) != 0;
    return conv || turned ? 0 : 1;
}

/* One parameter, or one for each channel of a weight that is laid out so. */
static bool fits(const struct product *p, const struct mc_buf *b)
{
    return !b || mc_op_count(b) == 1 || (mc_op_count(b) == p->n && b->shape.rank == 1);
}

/* The weight `w` with these parameters. The products of a sum fit 32 bits. */
static bool take_weight(struct product *p, struct mc_value *w, const struct mc_value *scale,
                        const struct mc_value *zero)
{
    const struct mc_buf *b = mc_integer_constant(p->f, w);
    p->w_scale = mc_integer_constant(p->f, scale);
    p->w_zero = zero ? mc_integer_constant(p->f, zero) : NULL;
    if (!b || !mc_integer_is_bytes(p->f->p, w) || !p->w_scale || (zero && !p->w_zero) ||
        p->w_scale->dtype != MC_DTYPE_F32 || (p->conv ? b->shape.rank < 3 : b->shape.rank != 2) ||
        b->shape.dim[p->axis] != p->n || !fits(p, p->w_scale) || !fits(p, p->w_zero))
        return false;
    int32_t most = b->dtype == MC_DTYPE_I8 ? 128 : UINT8_MAX;
    for (int64_t i = 0, n = p->w_zero ? mc_op_count(p->w_zero) : 0; i < n; i++)
        most = ((const int8_t *)p->w_zero->data)[i] != 0 ? UINT8_MAX : most;
    p->w = w;
    return (double)mc_op_count(b) / (double)p->n * most * UINT8_MAX < MOST_SUM;
}

static bool is_along(const struct product *p, const struct mc_node *dequantise,
                     const struct mc_buf *w)
{
    int64_t axis = mc_node_int(dequantise, "axis", 1);
    return mc_op_count(w) == 1 || (axis < 0 ? axis + (p->conv ? 0 : 2) : axis) == p->axis;
}

static bool find_weight(struct product *p)
{
    const struct mc_value *v = p->st->in[1];
    const struct mc_node *n = v->producer;
    const struct mc_pvalue *pv = &p->f->p->values[v->index];
    return pv->buf.constant && pv->buf.dtype == MC_DTYPE_F32 && n &&
           !strcmp(n->op_type, "DequantizeLinear") && !mc_node_int(n, "block_size", 0) &&
           take_weight(p, n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : NULL) &&
           is_along(p, n, p->w_scale);
}

/* ---- scale and shift of a channel ---- */

static bool make_lists(struct product *p)
{
    struct mc_arena *mem = &p->f->p->mem;
    p->scale = mc_arena_array(mem, (size_t)p->n + 1, sizeof *p->scale);
    p->shift = mc_arena_array(mem, (size_t)p->n + 1, sizeof *p->shift);
    if (!p->scale || !p->shift)
        return false;
    for (int64_t j = 0; j < p->n; j++)
        p->scale[j] = p->x.side.scale *
                      ((const float *)p->w_scale->data)[mc_op_count(p->w_scale) > 1 ? j : 0];
    return true;
}

static bool is_positive(const struct product *p)
{
    for (int64_t j = 0; j < p->n; j++)
        if (!(p->scale[j] > 0) || !isfinite(p->scale[j]) || !isfinite(p->shift[j]))
            return false;
    return true;
}

/* A constant row of floats is added, times `by`. */
static bool add_row(struct product *p, const struct mc_buf *b, double by)
{
    int64_t count = mc_op_count(b);
    if (!b->constant || !b->data || b->dtype != MC_DTYPE_F32 || (count != 1 && count != p->n) ||
        (count > 1 && b->shape.dim[b->shape.rank - 1] != p->n))
        return false;
    for (int64_t j = 0; j < p->n; j++)
        p->shift[j] += by * (double)((const float *)b->data)[count > 1 ? j : 0];
    return true;
}

/* What the node and its epilogue scale and add; the rest of the epilogue is left. */
static bool take_epilogue(struct product *p)
{
    const struct mc_step *st = p->st;
    const struct mc_epilogue *e = st->call.epilogue;
    const struct mc_value *bias = st->call.n_in > 2 ? st->in[2] : NULL;
    bool gemm = mc_node_is(st->call.node, "Gemm");
    float alpha = gemm ? mc_node_float(st->call.node, "alpha", 1) : 1;
    float beta = gemm ? mc_node_float(st->call.node, "beta", 1) : 1;
    if (st->bias)
        return false;
    for (int64_t j = 0; j < p->n; j++)
        p->scale[j] *= alpha * (e && e->scale ? ((const float *)e->scale)[j] : 1);
    for (int64_t j = 0; e && e->bias && j < p->n; j++)
        p->shift[j] = (double)((const float *)e->bias)[j];
    return !bias || (p->conv && e && e->bias) ||
           add_row(p, &p->f->p->values[bias->index].buf, (double)beta);
}

/* ---- what comes out ---- */

/* Is every weight of channel j 0? */
static bool is_dead(const struct product *p, int64_t j)
{
    const struct mc_buf *w = &p->f->p->values[p->w->index].buf;
    int32_t zero =
        p->w_zero ? ((const uint8_t *)p->w_zero->data)[mc_op_count(p->w_zero) > 1 ? j : 0] : 0;
    const uint8_t *data = w->data;
    int64_t each = mc_op_count(w) / p->n, step = p->axis ? p->n : 1, from = p->axis ? j : j * each;
    for (int64_t i = 0; i < each; i++)
        if (data[from + i * step] != (uint8_t)zero)
            return false;
    return true;
}

/* A bias in units of its channel's scale; a channel whose sums are 0 may have another scale. */
static bool whole_bias(struct product *p, float *scale)
{
    int32_t *bias = mc_arena_array(&p->f->p->mem, (size_t)p->n + 1, sizeof *bias);
    bool some = false;
    for (int64_t j = 0; bias && j < p->n; j++) {
        double v = rint(p->shift[j] / (double)p->scale[j]);
        if (fabs(v) >= MOST_SUM) {
            if (!is_dead(p, j))
                return false;
            scale[j] *= (float)(fabs(p->shift[j]) / (double)p->scale[j] / (1 << 24));
            v = p->shift[j] > 0 ? 1 << 24 : -(1 << 24);
        }
        bias[j] = (int32_t)v;
        some |= bias[j] != 0;
    }
    p->what.to.bias = some ? bias : NULL;
    return bias != NULL;
}

/* Integers with the parameters `y` come out, of the type of `out`. */
static bool give_integers(struct product *p, const struct mc_integer_side *y, enum mc_dtype dtype,
                          double least, double most)
{
    float *scale = mc_arena_array(&p->f->p->mem, (size_t)p->n + 1, sizeof *scale);
    if (!scale)
        return false;
    for (int64_t j = 0; j < p->n; j++)
        scale[j] = p->scale[j] / y->scale;
    if (!whole_bias(p, scale))
        return false;
    for (int64_t j = 0; j < p->n; j++)
        if (!(scale[j] > 0) || !isfinite(scale[j]))
            return false;
    p->what.y = *y;
    p->what.to.scale = scale;
    p->what.to.scale_step = 1;
    mc_integer_range(y, dtype, least, most, &p->what.to);
    return true;
}

static bool give_floats(struct product *p, double least, double most)
{
    float *shift = mc_arena_array(&p->f->p->mem, (size_t)p->n + 1, sizeof *shift);
    if (!shift)
        return false;
    for (int64_t j = 0; j < p->n; j++)
        shift[j] = (float)p->shift[j];
    p->what.to = (struct mc_s8_out){.type = MC_S8_F32,
                                    .scale = p->scale,
                                    .scale_step = 1,
                                    .shift = shift,
                                    .least = (float)least,
                                    .most = (float)most};
    return true;
}

static void set_act(struct mc_integer *s, const struct mc_epilogue *e)
{
    static const enum mc_unary_fn fn[] = {
        [MC_ACT_CLAMP] = MC_UNARY_CLAMP,        [MC_ACT_LEAKY] = MC_UNARY_LEAKY,
        [MC_ACT_SIGMOID] = MC_UNARY_SIGMOID,    [MC_ACT_TANH] = MC_UNARY_TANH,
        [MC_ACT_SILU] = MC_UNARY_SILU,          [MC_ACT_GELU] = MC_UNARY_GELU,
        [MC_ACT_HARDSWISH] = MC_UNARY_HARDSWISH};
    s->acts = e->act != MC_ACT_NONE;
    if (!s->acts)
        return;
    s->act = (struct mc_unary){.fn = fn[e->act], .a = e->lo, .b = e->hi};
    if (e->act == MC_ACT_SILU)
        s->act.a = 1;
}

/* Make the step: its operands are found, and its result decided. */
static bool replace(struct product *p)
{
    const struct mc_step *st = p->st;
    struct mc_value *in[3] = {p->x.v, p->w, NULL};
    struct mc_integer_side side[3] = {p->x.side};
    if (p->w_zero) {
        int64_t n = mc_op_count(p->w_zero);
        int32_t *zero = mc_arena_array(&p->f->p->mem, (size_t)n, sizeof *zero);
        if (!zero)
            return false;
        p->what.w_zero = mc_int8_zero(p->w_zero, zero);
    }
    if (p->what.residual)
        in[2] = p->r.v ? p->r.v : (struct mc_value *)(uintptr_t)st->residual;
    side[2] = p->r.side;
    p->what.x = side;
    return mc_integer_replace(&p->g, p->conv ? &mc_op_integer_conv : &mc_op_integer_product, in,
                              p->what.residual ? 3 : 2, &p->what);
}

/* ---- between floats ---- */

static bool finish_floats(struct product *p)
{
    struct mc_integers *f = p->f;
    const struct mc_step *st = p->st;
    static const struct mc_epilogue none;
    const struct mc_epilogue *e = st->call.epilogue ? st->call.epilogue : &none;
    double least = e->act == MC_ACT_CLAMP ? e->lo : -INFINITY;
    double most = e->act == MC_ACT_CLAMP ? e->hi : INFINITY;
    struct mc_integer_side y;
    bool plain = e->act == MC_ACT_NONE || e->act == MC_ACT_CLAMP;
    bool whole = !st->residual || mc_integer_from(f, st->residual, false, &p->r);
    int q = plain && whole ? mc_integer_to(f, st->out[0], &y) : -1;
    p->what.residual = st->residual != NULL;
    if (q >= 0 && give_integers(p, &y, f->p->steps[q].call.out[0].dtype, least, most))
        return mc_fuse_group_add(&p->g, q) && replace(p);
    p->r = (struct mc_quantised){0};
    if (st->residual || !plain) {
        set_act(&p->what, e);
        least = -INFINITY;
        most = INFINITY;
    }
    return give_floats(p, least, most) && replace(p);
}

static bool from_floats(struct product *p)
{
    const struct mc_step *st = p->st;
    p->axis = weight_axis(st->call.node, p->conv);
    return st->call.out[0].dtype == MC_DTYPE_F32 &&
           mc_integer_from(p->f, st->in[0], false, &p->x) && find_weight(p) && make_lists(p) &&
           take_epilogue(p) && is_positive(p) && finish_floats(p);
}

/* ---- operators on integers ---- */

enum { X, X_SCALE, X_ZERO, W, W_SCALE, W_ZERO, REST };

static bool from_integers(struct product *p)
{
    struct mc_step *st = p->st;
    bool gemm = mc_integer_is(st, "QGemm");
    int n_in = st->call.n_in, y = gemm ? REST + 1 : REST;
    int at = p->conv ? REST + 2 : gemm ? REST : -1;
    const struct mc_value *bias = at >= 0 && n_in > at ? st->in[at] : NULL;
    struct mc_integer_side side;
    p->axis = weight_axis(st->call.node, p->conv);
    p->x.v = st->in[X];
    if (!mc_integer_side_of(p->f, st->in[X_SCALE], st->in[X_ZERO], &p->x.side) ||
        !take_weight(p, st->in[W], st->in[W_SCALE], st->in[W_ZERO]) || !make_lists(p))
        return false;
    float alpha = gemm ? mc_node_float(st->call.node, "alpha", 1) : 1;
    const struct mc_buf *b = bias ? mc_integer_constant(p->f, bias) : NULL;
    if (bias && (!b || b->dtype != MC_DTYPE_I32 || mc_op_count(b) != p->n ||
                 b->shape.dim[b->shape.rank - 1] != p->n))
        return false;
    for (int64_t j = 0; j < p->n; j++) {
        p->scale[j] *= alpha;
        p->shift[j] = b ? (double)((const int32_t *)b->data)[j] * (double)p->scale[j] : 0;
    }
    if (!is_positive(p))
        return false;
    if (n_in <= y || !st->in[y])
        return give_floats(p, -INFINITY, INFINITY) && replace(p);
    return mc_integer_side_of(p->f, st->in[y], n_in > y + 1 ? st->in[y + 1] : NULL, &side) &&
           give_integers(p, &side, st->call.out[0].dtype, -INFINITY, INFINITY) && replace(p);
}

bool mc_integer_product(struct mc_integers *f, int i)
{
    struct mc_step *st = &f->p->steps[i];
    struct product p = {.f = f, .g = {.p = f->p, .step = {i}, .n = 1}, .st = st};
    bool conv = mc_integer_is(st, "Conv"), linear = mc_integer_is(st, "QLinearConv");
    bool product = mc_node_is(st->call.node, "Gemm") || mc_node_is(st->call.node, "MatMul");
    bool whole = mc_integer_is(st, "QLinearMatMul") || mc_integer_is(st, "QGemm");
    if (!(conv || linear || whole || (product && mc_integer_is(st, st->call.node->op_type))) ||
        st->call.n_out != 1 || !st->out[0])
        return false;
    const struct mc_shape *y = &st->call.out[0].shape, *x = &st->call.in[0].shape;
    p.conv = conv || linear;
    if (p.conv ? y->rank < 3 : y->rank < 1 || x->rank < 1)
        return false;
    p.n = y->dim[p.conv ? 1 : y->rank - 1];
    return p.n > 0 && (linear || whole ? from_integers(&p) : from_floats(&p));
}
