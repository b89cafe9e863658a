/* Arithmetic of two or more broadcast inputs: Add Sub Mul Div Mod Pow PRelu, BitShift and the Bitwise
 * operators, Min Max Sum Mean. */
#include <string.h>

#include "graph/ops/fused_step.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static const struct spec {
    const char *name;
    enum mc_binary_fn fn;
    int least, most; /* inputs */
} specs[] = {
    {"Add", MC_BINARY_ADD, 2, 2},           {"Sub", MC_BINARY_SUB, 2, 2},
    {"Mul", MC_BINARY_MUL, 2, 2},           {"Div", MC_BINARY_DIV, 2, 2},
    {"Pow", MC_BINARY_POW, 2, 2},           {"PRelu", MC_BINARY_PRELU, 2, 2},
    {"Mod", MC_BINARY_MOD, 2, 2},           {"BitShift", MC_BINARY_SHIFT_LEFT, 2, 2},
    {"BitwiseAnd", MC_BINARY_BITAND, 2, 2}, {"BitwiseOr", MC_BINARY_BITOR, 2, 2},
    {"BitwiseXor", MC_BINARY_BITXOR, 2, 2}, {"Min", MC_BINARY_MIN, 1, INT32_MAX},
    {"Max", MC_BINARY_MAX, 1, INT32_MAX},   {"Sum", MC_BINARY_ADD, 1, INT32_MAX},
    {"Mean", MC_BINARY_ADD, 1, INT32_MAX},
};

static const struct spec *spec_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (!strcmp(specs[i].name, n->op_type))
            return &specs[i];
    return NULL;
}

static bool is_number(enum mc_dtype d)
{
    return d == MC_DTYPE_F16 || d == MC_DTYPE_BF16 || mc_op_is_float(d) || mc_op_is_integer(d);
}

/* The function of a node: Mod and BitShift have two each. */
static enum mc_binary_fn fn_of(const struct mc_node *n)
{
    enum mc_binary_fn fn = spec_of(n)->fn;
    if (fn == MC_BINARY_MOD && mc_node_int(n, "fmod", 0))
        return MC_BINARY_FMOD;
    if (fn == MC_BINARY_SHIFT_LEFT && !strcmp(mc_node_string(n, "direction", ""), "RIGHT"))
        return MC_BINARY_SHIFT_RIGHT;
    return fn;
}

static bool divides(enum mc_binary_fn fn)
{
    return fn == MC_BINARY_DIV || fn == MC_BINARY_MOD || fn == MC_BINARY_FMOD;
}

/* One element of small integer contents; a symbol survives where the other side is neutral. */
static bool combine(enum mc_binary_fn fn, const struct mc_contents *a, const struct mc_contents *b,
                    int i, struct mc_contents *ret)
{
    int ia = a->n == 1 ? 0 : i, ib = b->n == 1 ? 0 : i;
    int64_t x = a->value[ia], y = b->value[ib], sx = a->sym[ia], sy = b->sym[ib];
    ret->sym[i] = 0;
    ret->value[i] = 0;
    if (!sx && !sy) {
        struct mc_binary one = {fn, 1, {1}, {{0}, {0}}, &x, &y, &ret->value[i]};
        if (divides(fn) && y == 0)
            return false; /* run() says so */
        mc_typed_binary(MC_ELEM_I64, &one);
        return true;
    }
    ret->sym[i] = MC_DIM_ANY;
    int64_t neutral = fn == MC_BINARY_MUL || fn == MC_BINARY_DIV ? 1 : 0;
    if (sx && !sy && y == neutral && fn <= MC_BINARY_DIV)
        ret->sym[i] = sx;
    else if (sy && !sx && x == neutral && (fn == MC_BINARY_ADD || fn == MC_BINARY_MUL))
        ret->sym[i] = sy;
    return true;
}

static int carry_contents(struct mc_infer_ctx *c, enum mc_binary_fn fn, struct mc_err *err)
{
    struct mc_contents sum, next, out;
    if (!mc_op_contents(c, 0, &sum) || (mc_node_is(c->node, "Mean") && c->n_in > 1))
        return 0;
    for (int i = 1; i < c->n_in; i++) {
        if (!mc_op_contents(c, i, &next) || (sum.n != next.n && sum.n != 1 && next.n != 1))
            return 0;
        out.n = sum.n == 1 ? next.n : sum.n;
        for (int j = 0; j < out.n; j++)
            if (!combine(fn, &sum, &next, j, &out))
                return 0;
        sum = out;
    }
    return mc_op_set_contents(c, 0, &sum, err);
}

static int arith_types(const struct mc_infer_ctx *c, const struct spec *s, struct mc_err *err)
{
    bool floats = !strcmp(s->name, "Sum") || !strcmp(s->name, "Mean") ||
                  (s->most > 2 && c->node->version < 12);
    for (int i = 0; i < c->n_in; i++) {
        const struct mc_vtype *x = mc_op_in(c, i);
        if (!x)
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", i);
        /* The exponent may be of another type from version 12 on. */
        int rc =
            s->fn == MC_BINARY_POW && c->node->version >= 12 ? 0 : mc_op_need_same(c, 0, i, err);
        rc = rc || !floats ? rc : mc_op_need_float(c, i, err);
        if (rc)
            return rc;
        if (x->dtype && !is_number(x->dtype))
            return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be of numbers", i,
                              mc_dtype_name((int)x->dtype));
        if (s->fn >= MC_BINARY_BITAND && x->dtype && !mc_op_is_integer(x->dtype))
            return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be of whole numbers",
                              i, mc_dtype_name((int)x->dtype));
    }
    return 0;
}

/* Before version 7 the second operand began at dimension `axis` of the first, a slope at dimension 1: dimensions
 * of 1 behind it say the same. */
static int aligned(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *y,
                   struct mc_shape *ret, struct mc_err *err)
{
    *ret = *y;
    if (n->version >= 7 || spec_of(n)->least != 2 || y->rank == 0)
        return 0;
    bool slope = spec_of(n)->fn == MC_BINARY_PRELU;
    if (slope ? y->rank != 1 || x->rank < 2 || y->dim[0] == 1 : !mc_node_attr(n, "axis"))
        return 0;
    int axis,
        rc = mc_op_need_axis(n, "axis", slope ? 1 : mc_node_int(n, "axis", 0), x->rank, &axis, err);
    if (!rc && axis + y->rank > x->rank)
        return mc_op_fail(err, MC_ESHAPE, n, "an operand of rank %d at axis %d of rank %d", y->rank,
                          axis, x->rank);
    for (; !rc && ret->rank < x->rank - axis; ret->rank++)
        ret->dim[ret->rank] = 1;
    return rc;
}

static int arith_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct spec *s = spec_of(c->node);
    int rc = mc_op_arity(c, s->least, s->most, err);
    rc = rc ? rc : arith_types(c, s, err);
    const char *direction = mc_node_string(c->node, "direction", "");
    if (!rc && s->fn == MC_BINARY_SHIFT_LEFT && strcmp(direction, "LEFT") &&
        strcmp(direction, "RIGHT"))
        return mc_op_fail(err, MC_EUNSUP, c->node, "direction '%s' is neither LEFT nor RIGHT",
                          direction);
    if (!rc && s->fn != MC_BINARY_POW)
        rc = mc_op_need_one_width(c, err);
    if (rc)
        return rc;
    struct mc_shape y = c->in[0]->shape, next;
    bool ranked = c->in[0]->ranked;
    enum mc_dtype dtype = c->in[0]->dtype;
    for (int i = 1; i < c->n_in; i++) {
        const struct mc_vtype *x = c->in[i];
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        if (s->fn != MC_BINARY_POW && !dtype)
            dtype = x->dtype;
        ranked = ranked && x->ranked;
        struct mc_shape at;
        if (ranked && (rc = aligned(c->node, &y, &x->shape, &at, err)))
            return rc;
        if (ranked && !mc_shape_broadcast(&y, &at, &next))
            return mc_op_fail(err, MC_ESHAPE, c->node, "%s and %s do not broadcast",
                              mc_shape_text(&y, a), mc_shape_text(&x->shape, b));
        if (ranked)
            y = next;
    }
    if (s->fn == MC_BINARY_PRELU && ranked && c->in[0]->ranked && mc_shape_known(&y) &&
        mc_shape_known(&c->in[0]->shape) && !mc_shape_equal(&y, &c->in[0]->shape))
        return mc_op_fail(err, MC_ESHAPE, c->node, "the slope has more elements than the input");
    mc_op_give(c, 0, dtype, ranked ? &y : NULL);
    return carry_contents(c, fn_of(c->node), err);
}

/* Bytes of scratch: for a second operand in the type of the first (Pow), and on a device for the divisor of Mean. */
static size_t scratch_bytes(const struct mc_call *c)
{
    if (c->k->device && mc_node_is(c->node, "Mean"))
        return sizeof(double);
    if (c->n_in < 2 || c->in[1].dtype == c->in[0].dtype)
        return 0;
    return (size_t)mc_op_count(&c->in[1]) * (size_t)mc_op_elem_bytes(c->in[0].dtype);
}

static int arith_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->scratch_bytes = scratch_bytes(c);
    return 0;
}

/* Exponents of another type: to the base's float type, or to its integer type through float64. */
static int cast_operand(const struct mc_call *c, const struct mc_buf *from, enum mc_dtype to,
                        struct mc_buf *ret, struct mc_err *err)
{
    size_t n = (size_t)mc_op_count(from);
    *ret = *from;
    ret->dtype = to;
    ret->data = c->scratch;
    if (c->k->device) {
        const struct mc_cast cast = {.from = mc_op_elem(from->dtype),
                                     .to = mc_op_elem(to),
                                     .nearest = true,
                                     .n = (int64_t)n,
                                     .x = from->data,
                                     .y = c->scratch};
        c->k->values.cast(&cast);
        return 0;
    }
    if (to == MC_DTYPE_F64)
        return mc_dtype_to_f64((int)from->dtype, from->data, c->scratch, n, err);
    if (to == MC_DTYPE_F32)
        return mc_dtype_to_f32((int)from->dtype, from->data, c->scratch, n, err);
    for (size_t i = 0; i < n; i++) {
        double v;
        int rc = mc_dtype_to_f64(
            (int)from->dtype, (const char *)from->data + i * (size_t)mc_op_elem_bytes(from->dtype),
            &v, 1, err);
        rc = rc ? rc
                : mc_dtype_from_f64((int)to, &v,
                                    (char *)c->scratch + i * (size_t)mc_op_elem_bytes(to), 1, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* z = fn(x, y) over the shape of z. */
static int apply(const struct mc_call *c, enum mc_binary_fn fn, const struct mc_buf *x,
                 const struct mc_buf *y, const struct mc_buf *z, struct mc_err *err)
{
    struct mc_binary b = {
        .fn = fn, .rank = z->shape.rank, .x = x->data, .y = y->data, .z = z->data};
    memcpy(b.dim, z->shape.dim, sizeof *b.dim * (size_t)b.rank);
    mc_op_broadcast_strides(&x->shape, &z->shape, b.stride[0]);
    mc_op_broadcast_strides(&y->shape, &z->shape, b.stride[1]);
    b.rank = mc_move_merge(b.rank, b.dim, 2, b.stride);
    if (mc_op_is_float(z->dtype)) {
        /* A float32 power with a float64 exponent has the other table. */
        bool other = c->k->elem_bytes != mc_op_elem_bytes(z->dtype);
        const struct mc_kernels *k =
            other ? mc_kernels_get("ref", mc_op_elem_bytes(z->dtype)) : c->k;
        k->elementwise.binary(&b, c->pool);
        return 0;
    }
    enum mc_elem elem = mc_op_elem(z->dtype);
    if (divides(fn) && !c->k->device && mc_typed_any_zero(elem, mc_op_count(y), y->data))
        return mc_op_fail(err, MC_EDATA, c->node, "division of whole numbers by zero");
    c->k->typed.binary(elem, &b);
    return 0;
}

static int arith_run(struct mc_call *c, struct mc_err *err)
{
    const struct spec *s = spec_of(c->node);
    const struct mc_buf *z = &c->out[0];
    if (c->n_in == 1) {
        mc_op_copy(c, &c->in[0], &c->out[0]);
        return 0;
    }
    struct mc_buf y = c->in[1];
    int rc = y.dtype != c->in[0].dtype ? cast_operand(c, &c->in[1], c->in[0].dtype, &y, err) : 0;
    rc = rc ? rc : aligned(c->node, &c->in[0].shape, &c->in[1].shape, &y.shape, err);
    rc = rc ? rc : apply(c, fn_of(c->node), &c->in[0], &y, z, err);
    for (int i = 2; i < c->n_in && !rc; i++)
        rc = apply(c, s->fn, z, &c->in[i], z, err);
    if (!rc && !strcmp(s->name, "Mean")) {
        struct mc_buf n = {.dtype = z->dtype};
        double store;
        n.data = (void *)(uintptr_t)mc_op_scalar(c->k->elem_bytes, c->n_in, &store);
        if (c->k->device) {
            c->k->move.fill(c->scratch, 1, n.data, c->k->elem_bytes, c->pool);
            n.data = c->scratch;
        }
        rc = apply(c, MC_BINARY_DIV, z, &n, z, err);
    }
    return rc;
}

bool mc_arith_as_binary(const struct mc_call *c, enum mc_binary_fn *ret)
{
    if (c->op->run != arith_run || c->n_in != 2 || c->node->version < 7 ||
        mc_node_is(c->node, "Mean"))
        return false;
    *ret = fn_of(c->node);
    return *ret < MC_BINARY_COUNT;
}

#define ROW(name, since, flags)                                                                    \
    {                                                                                              \
        "", name, since, flags, arith_infer, arith_setup, arith_run, NULL, NULL, NULL              \
    }
const struct mc_op mc_ops_arith[] = {
    ROW("Add", 1, MC_OP_INPLACE_ANY),
    ROW("Sub", 1, MC_OP_INPLACE_ANY),
    ROW("Mul", 1, MC_OP_INPLACE_ANY),
    ROW("Div", 1, MC_OP_INPLACE_ANY),
    ROW("Pow", 1, MC_OP_INPLACE),
    ROW("PRelu", 1, MC_OP_INPLACE),
    ROW("Mod", 10, MC_OP_INPLACE_ANY),
    ROW("BitShift", 11, MC_OP_INPLACE_ANY),
    ROW("BitwiseAnd", 18, MC_OP_INPLACE_ANY),
    ROW("BitwiseOr", 18, MC_OP_INPLACE_ANY),
    ROW("BitwiseXor", 18, MC_OP_INPLACE_ANY),
    ROW("Min", 6, 0),
    ROW("Max", 6, 0),
    ROW("Sum", 6, 0),
    ROW("Mean", 6, 0),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    bool other = c->n_in > 1 && c->in[1].dtype != c->in[0].dtype;
    if (!mc_op_gpu_floats(c) || (other && !c->k->values.cast))
        return false;
    if ((c->n_in == 1 || mc_node_is(c->node, "Mean")) && (!c->k->move.run || !c->k->move.fill))
        return false;
    return mc_op_is_float(c->in[0].dtype) ? c->k->elementwise.binary != NULL
                                          : c->k->typed.binary != NULL;
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        "", name, .can = gpu_can                                                                   \
    }
const struct mc_op_gpu mc_op_gpu_arith[] = {
    GPU("Add"),        GPU("Sub"),       GPU("Mul"),        GPU("Div"),
    GPU("Pow"),        GPU("PRelu"),     GPU("Mod"),        GPU("BitShift"),
    GPU("BitwiseAnd"), GPU("BitwiseOr"), GPU("BitwiseXor"), GPU("Min"),
    GPU("Max"),        GPU("Sum"),       GPU("Mean"),       {0},
};
