/* y = f(x) of one input: activations and elementary functions. */
#include <math.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/ops/activation.h"
#include "graph/ops/fused_step.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "kernels/epilogue.h"

static const struct spec {
    const char *name;
    enum mc_unary_fn fn;
    bool integers; /* also defined for whole numbers */
    const char *a_name, *b_name;
    double a, b; /* used where the attribute is absent */
} specs[] = {
    {"Abs", MC_UNARY_ABS, true, NULL, NULL, 0, 0},
    {"Neg", MC_UNARY_NEG, true, NULL, NULL, 0, 0},
    {"Sign", MC_UNARY_SIGN, true, NULL, NULL, 0, 0},
    {"Reciprocal", MC_UNARY_RECIPROCAL, false, NULL, NULL, 0, 0},
    {"Sqrt", MC_UNARY_SQRT, false, NULL, NULL, 0, 0},
    {"Floor", MC_UNARY_FLOOR, false, NULL, NULL, 0, 0},
    {"Ceil", MC_UNARY_CEIL, false, NULL, NULL, 0, 0},
    {"Round", MC_UNARY_ROUND, false, NULL, NULL, 0, 0},
    {"Exp", MC_UNARY_EXP, false, NULL, NULL, 0, 0},
    {"Log", MC_UNARY_LOG, false, NULL, NULL, 0, 0},
    {"Erf", MC_UNARY_ERF, false, NULL, NULL, 0, 0},
    {"Relu", MC_UNARY_CLAMP, true, NULL, NULL, 0, INFINITY},
    {"LeakyRelu", MC_UNARY_LEAKY, false, "alpha", NULL, 0.01, 0},
    {"Sigmoid", MC_UNARY_SIGMOID, false, NULL, NULL, 0, 0},
    {"Tanh", MC_UNARY_TANH, false, NULL, NULL, 0, 0},
    {"Elu", MC_UNARY_ELU, false, "alpha", NULL, 1, 0},
    {"HardSigmoid", MC_UNARY_HARDSIGMOID, false, "alpha", "beta", 0.2, 0.5},
    {"HardSwish", MC_UNARY_HARDSWISH, false, NULL, NULL, 0, 0},
    {"Softplus", MC_UNARY_SOFTPLUS, false, NULL, NULL, 0, 0},
    {"Swish", MC_UNARY_SILU, false, "alpha", NULL, 1, 0},
    {"Gelu", MC_UNARY_GELU, false, NULL, NULL, 0, 0},
    {"Sin", MC_UNARY_SIN, false, NULL, NULL, 0, 0},
    {"Cos", MC_UNARY_COS, false, NULL, NULL, 0, 0},
    {"Tan", MC_UNARY_TAN, false, NULL, NULL, 0, 0},
    {"Asin", MC_UNARY_ASIN, false, NULL, NULL, 0, 0},
    {"Acos", MC_UNARY_ACOS, false, NULL, NULL, 0, 0},
    {"Atan", MC_UNARY_ATAN, false, NULL, NULL, 0, 0},
    {"Sinh", MC_UNARY_SINH, false, NULL, NULL, 0, 0},
    {"Cosh", MC_UNARY_COSH, false, NULL, NULL, 0, 0},
    {"Asinh", MC_UNARY_ASINH, false, NULL, NULL, 0, 0},
    {"Acosh", MC_UNARY_ACOSH, false, NULL, NULL, 0, 0},
    {"Atanh", MC_UNARY_ATANH, false, NULL, NULL, 0, 0},
    {"Selu", MC_UNARY_SELU, false, "alpha", "gamma", 1.67326319217681884765625,
     1.05070102214813232421875},
    {"Celu", MC_UNARY_CELU, false, "alpha", NULL, 1, 0},
    {"Mish", MC_UNARY_MISH, false, NULL, NULL, 0, 0},
    {"Softsign", MC_UNARY_SOFTSIGN, false, NULL, NULL, 0, 0},
    {"ThresholdedRelu", MC_UNARY_THRESHOLDED, false, "alpha", NULL, 1, 0},
    {"Shrink", MC_UNARY_SHRINK, false, "lambd", "bias", 0.5, 0},
    /* Of com.microsoft. */
    {"QuickGelu", MC_UNARY_SILU, false, "alpha", NULL, 1.702, 0},
};

/* Also of the function's derivative, which has its name and "Grad". */
static const struct spec *spec_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        size_t length = strlen(specs[i].name);
        const char *rest = n->op_type + length;
        if (!strncmp(specs[i].name, n->op_type, length) && (!*rest || !strcmp(rest, "Grad")))
            return &specs[i];
    }
    return NULL;
}

static int need_type(const struct mc_infer_ctx *c, int i, bool integers, struct mc_err *err)
{
    if (mc_op_in(c, i) && integers && mc_op_is_integer(c->in[i]->dtype))
        return 0;
    return mc_op_need_float(c, i, err);
}

static int unary_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : need_type(c, 0, spec_of(c->node)->integers, err);
    const char *how = mc_node_string(c->node, "approximate", "none");
    if (!rc && mc_node_is(c->node, "Gelu") && strcmp(how, "none") && strcmp(how, "tanh"))
        return mc_op_fail(err, MC_EUNSUP, c->node, "approximate '%s' is neither none nor tanh",
                          how);
    return rc ? rc : mc_op_same(c, err);
}

struct mc_unary mc_activation_function(const struct mc_node *n)
{
    const struct spec *s = spec_of(n);
    struct mc_unary u = {.fn = s->fn, .a = s->a, .b = s->b};
    if (s->a_name)
        u.a = (double)mc_node_float(n, s->a_name, (float)s->a);
    if (s->b_name)
        u.b = (double)mc_node_float(n, s->b_name, (float)s->b);
    if (s->fn == MC_UNARY_GELU && !strcmp(mc_node_string(n, "approximate", "none"), "tanh"))
        u.fn = MC_UNARY_GELU_TANH;
    return u;
}

static int unary_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_unary u = mc_activation_function(c->node);
    int64_t n = mc_op_count(&c->in[0]);
    u.n = n;
    u.x = c->in[0].data;
    u.y = c->out[0].data;
    if (mc_op_is_float(c->in[0].dtype))
        c->k->elementwise.unary(&u, c->pool);
    else
        c->k->typed.unary(mc_op_elem(c->in[0].dtype), u.fn, 0, INT64_MAX, n, u.x, u.y);
    return 0;
}

static bool unary_as_epilogue(const struct mc_node *n, struct mc_epilogue *e)
{
    const struct spec *s = spec_of(n);
    *e = (struct mc_epilogue){0};
    switch (s->fn) {
    case MC_UNARY_CLAMP:
        e->act = MC_ACT_CLAMP;
        e->hi = INFINITY;
        return true;
    case MC_UNARY_LEAKY:
        e->act = MC_ACT_LEAKY;
        e->lo = (double)mc_node_float(n, "alpha", (float)s->a);
        return true;
    case MC_UNARY_SIGMOID: e->act = MC_ACT_SIGMOID; return true;
    case MC_UNARY_TANH: e->act = MC_ACT_TANH; return true;
    case MC_UNARY_HARDSWISH: e->act = MC_ACT_HARDSWISH; return true;
    case MC_UNARY_SILU: e->act = MC_ACT_SILU; return mc_node_float(n, "alpha", 1) == 1;
    case MC_UNARY_GELU:
        e->act = MC_ACT_GELU;
        return !strcmp(mc_node_string(n, "approximate", "none"), "none");
    default: return false;
    }
}

/* ---- Clip: bounds are attributes before version 11, optional inputs from then on ---- */

static int clip_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool inputs = c->node->version >= 11;
    int rc = mc_op_arity(c, 1, inputs ? 3 : 1, err);
    rc = rc ? rc : need_type(c, 0, c->node->version >= 12, err);
    for (int i = 1; i < 3 && !rc; i++) {
        rc = mc_op_need_same(c, 0, i, err);
        rc = rc ? rc : mc_op_need_single(c, i, err);
    }
    return rc ? rc : mc_op_same(c, err);
}

static double bound_of(const struct mc_buf *b)
{
    return b->dtype == MC_DTYPE_F32 ? (double)*(const float *)b->data : *(const double *)b->data;
}

static int64_t whole_bound(const struct mc_buf *b, int64_t missing)
{
    int64_t v = missing;
    if (b)
        (void)mc_dtype_to_i64((int)b->dtype, b->data, &v, 1, NULL);
    return v;
}

static int clip_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *lo = mc_op_arg(c, 1), *hi = mc_op_arg(c, 2);
    int64_t n = mc_op_count(&c->in[0]);
    if (!mc_op_is_float(c->in[0].dtype)) {
        c->k->typed.unary(mc_op_elem(c->in[0].dtype), MC_UNARY_CLAMP, whole_bound(lo, INT64_MIN),
                          whole_bound(hi, INT64_MAX), n, c->in[0].data, c->out[0].data);
        return 0;
    }
    struct mc_unary u = {MC_UNARY_CLAMP, -INFINITY, INFINITY, n, c->in[0].data, c->out[0].data};
    if (c->node->version < 11) {
        u.a = (double)mc_node_float(c->node, "min", -INFINITY);
        u.b = (double)mc_node_float(c->node, "max", INFINITY);
    }
    if (lo)
        u.a = bound_of(lo);
    if (hi)
        u.b = bound_of(hi);
    c->k->elementwise.unary(&u, c->pool);
    return 0;
}

static bool constant_bound(const struct mc_node *n, size_t i, double *ret)
{
    if (i >= n->n_in || !n->in[i])
        return true;
    const struct mc_tensor *t = mc_constant(n->in[i]);
    return t && mc_tensor_count(t) == 1 && mc_dtype_info((int)t->dtype)->kind == MC_KIND_FLOAT &&
           mc_dtype_to_f64((int)t->dtype, t->data, ret, 1, NULL) == 0;
}

static bool clip_as_epilogue(const struct mc_node *n, struct mc_epilogue *e)
{
    *e = (struct mc_epilogue){.act = MC_ACT_CLAMP, .lo = -INFINITY, .hi = INFINITY};
    if (n->version < 11) {
        e->lo = (double)mc_node_float(n, "min", -INFINITY);
        e->hi = (double)mc_node_float(n, "max", INFINITY);
        return true;
    }
    return constant_bound(n, 1, &e->lo) && constant_bound(n, 2, &e->hi) && e->lo <= e->hi;
}

bool mc_activation_as_unary(const struct mc_call *c, struct mc_unary *ret)
{
    struct mc_epilogue clip;
    if (c->op->run == unary_run) {
        *ret = mc_activation_function(c->node);
        return true;
    }
    if (c->op->run != clip_run || !clip_as_epilogue(c->node, &clip))
        return false;
    *ret = (struct mc_unary){.fn = MC_UNARY_CLAMP, .a = clip.lo, .b = clip.hi};
    return true;
}

#define ROW(name, since)                                                                           \
    {                                                                                              \
        "", name, since, MC_OP_INPLACE, unary_infer, NULL, unary_run, NULL, NULL,                  \
            unary_as_epilogue                                                                      \
    }
const struct mc_op mc_ops_activation[] = {
    ROW("Abs", 6),
    ROW("Neg", 6),
    ROW("Sign", 9),
    ROW("Reciprocal", 6),
    ROW("Sqrt", 6),
    ROW("Floor", 6),
    ROW("Ceil", 6),
    ROW("Round", 11),
    ROW("Exp", 6),
    ROW("Log", 6),
    ROW("Erf", 9),
    ROW("Relu", 6),
    ROW("LeakyRelu", 6),
    ROW("Sigmoid", 6),
    ROW("Tanh", 6),
    ROW("Elu", 6),
    ROW("HardSigmoid", 6),
    ROW("HardSwish", 14),
    ROW("Softplus", 1),
    ROW("Swish", 24),
    ROW("Gelu", 20),
    ROW("Sin", 7),
    ROW("Cos", 7),
    ROW("Tan", 7),
    ROW("Asin", 7),
    ROW("Acos", 7),
    ROW("Atan", 7),
    ROW("Sinh", 9),
    ROW("Cosh", 9),
    ROW("Asinh", 9),
    ROW("Acosh", 9),
    ROW("Atanh", 9),
    ROW("Selu", 6),
    ROW("Celu", 12),
    ROW("Mish", 18),
    ROW("Softsign", 1),
    ROW("ThresholdedRelu", 10),
    ROW("Shrink", 9),
    {"com.microsoft", "Gelu", 1, MC_OP_INPLACE, unary_infer, NULL, unary_run, NULL, NULL,
     unary_as_epilogue},
    {"com.microsoft", "QuickGelu", 1, MC_OP_INPLACE, unary_infer, NULL, unary_run, NULL, NULL,
     NULL},
    {"", "Clip", 6, MC_OP_INPLACE, clip_infer, NULL, clip_run, NULL, NULL, clip_as_epilogue},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    bool whole = mc_op_is_integer(c->in[0].dtype);
    return mc_op_gpu_floats(c) &&
           (whole ? c->k->typed.unary != NULL : c->k->elementwise.unary != NULL);
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        "", name, .can = gpu_can                                                                   \
    }
const struct mc_op_gpu mc_op_gpu_activation[] = {
    GPU("Abs"),
    GPU("Neg"),
    GPU("Sign"),
    GPU("Reciprocal"),
    GPU("Sqrt"),
    GPU("Floor"),
    GPU("Ceil"),
    GPU("Round"),
    GPU("Exp"),
    GPU("Log"),
    GPU("Erf"),
    GPU("Relu"),
    GPU("LeakyRelu"),
    GPU("Sigmoid"),
    GPU("Tanh"),
    GPU("Elu"),
    GPU("HardSigmoid"),
    GPU("HardSwish"),
    GPU("Softplus"),
    GPU("Swish"),
    GPU("Gelu"),
    GPU("Sin"),
    GPU("Cos"),
    GPU("Tan"),
    GPU("Asin"),
    GPU("Acos"),
    GPU("Atan"),
    GPU("Sinh"),
    GPU("Cosh"),
    GPU("Asinh"),
    GPU("Acosh"),
    GPU("Atanh"),
    GPU("Selu"),
    GPU("Celu"),
    GPU("Mish"),
    GPU("Softsign"),
    GPU("ThresholdedRelu"),
    GPU("Shrink"),
    {"com.microsoft", "Gelu", .can = gpu_can},
    {"com.microsoft", "QuickGelu", .can = gpu_can},
    {"", "Clip", .can = gpu_can, .host_in = 1 << 1 | 1 << 2},
    {0},
};
