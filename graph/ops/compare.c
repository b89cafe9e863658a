/* Comparisons, logic and selection: Equal Less LessOrEqual Greater GreaterOrEqual, And Or Xor Not, Where; and of one
 * input: IsNaN, IsInf, BitwiseNot. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/float_elem.h"

static const struct spec {
    const char *name;
    enum mc_compare_fn fn;
    bool swap, logic;
} specs[] = {
    {"Equal", MC_COMPARE_EQUAL, false, false},
    {"Less", MC_COMPARE_LESS, false, false},
    {"LessOrEqual", MC_COMPARE_LESS_EQUAL, false, false},
    {"Greater", MC_COMPARE_LESS, true, false},
    {"GreaterOrEqual", MC_COMPARE_LESS_EQUAL, true, false},
    {"And", MC_COMPARE_AND, false, true},
    {"Or", MC_COMPARE_OR, false, true},
    {"Xor", MC_COMPARE_XOR, false, true},
};

static const struct spec *spec_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (!strcmp(specs[i].name, n->op_type))
            return &specs[i];
    return NULL;
}

static bool comparable(enum mc_dtype d, bool logic)
{
    if (logic)
        return d == MC_DTYPE_BOOL;
    return d == MC_DTYPE_F16 || d == MC_DTYPE_BF16 || mc_op_elem(d) != MC_ELEM_COUNT;
}

/* Shape of the first `n` inputs broadcast, in *ret; *ret_ranked false where a rank is not known. */
static int broadcast(const struct mc_infer_ctx *c, int n, struct mc_shape *ret, bool *ret_ranked,
                     struct mc_err *err)
{
    struct mc_shape sum;
    *ret = (struct mc_shape){0};
    *ret_ranked = true;
    for (int i = 0; i < n; i++) {
        *ret_ranked = *ret_ranked && c->in[i]->ranked;
        if (!*ret_ranked)
            return 0;
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        if (!mc_shape_broadcast(ret, &c->in[i]->shape, &sum))
            return mc_op_fail(err, MC_ESHAPE, c->node, "%s and %s do not broadcast",
                              mc_shape_text(ret, a), mc_shape_text(&c->in[i]->shape, b));
        *ret = sum;
    }
    return 0;
}

static int compare_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct spec *s = spec_of(c->node);
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    struct mc_shape y;
    bool ranked = false;
    rc = rc ? rc : broadcast(c, 2, &y, &ranked, err);
    if (rc)
        return rc;
    enum mc_dtype d = c->in[0]->dtype;
    if (d == MC_DTYPE_STRING)
        return mc_op_fail(err, MC_EUNSUP, c->node, "comparing strings cannot run");
    if (d && !comparable(d, s->logic))
        return mc_op_fail(err, MC_EDTYPE, c->node, "inputs are %s", mc_dtype_name((int)d));
    mc_op_give(c, 0, MC_DTYPE_BOOL, ranked ? &y : NULL);
    return 0;
}

static int compare_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct spec *s = spec_of(c->node);
    const struct mc_buf *x = &c->in[s->swap], *y = &c->in[!s->swap], *z = &c->out[0];
    struct mc_compare job = {
        .fn = s->fn, .rank = z->shape.rank, .x = x->data, .y = y->data, .z = z->data};
    memcpy(job.dim, z->shape.dim, sizeof *job.dim * (size_t)job.rank);
    mc_op_broadcast_strides(&x->shape, &z->shape, job.stride[0]);
    mc_op_broadcast_strides(&y->shape, &z->shape, job.stride[1]);
    job.rank = mc_move_merge(job.rank, job.dim, 2, job.stride);
    c->k->typed.compare(mc_op_elem(x->dtype), &job);
    return 0;
}

static int not_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (rc)
        return rc;
    if (c->in[0]->dtype && c->in[0]->dtype != MC_DTYPE_BOOL)
        return mc_op_fail(err, MC_EDTYPE, c->node, "input is %s, must be bool",
                          mc_dtype_name((int)c->in[0]->dtype));
    return mc_op_same(c, err);
}

static int not_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const uint8_t *x = c->in[0].data;
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0, n = mc_op_count(&c->in[0]); i < n; i++)
        y[i] = !x[i];
    return 0;
}

/* ---- IsNaN, IsInf ---- */

static int is_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    if (!rc)
        mc_op_give(c, 0, MC_DTYPE_BOOL, c->in[0]->ranked ? &c->in[0]->shape : NULL);
    return rc;
}

static int is_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    bool nan = mc_node_is(c->node, "IsNaN");
    bool below = !nan && mc_node_int(c->node, "detect_negative", 1) != 0;
    bool above = !nan && mc_node_int(c->node, "detect_positive", 1) != 0;
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0, n = mc_op_count(x); i < n; i++) {
        double v = mc_buf_param(x, i);
        y[i] = nan ? isnan(v) : (below && v == -INFINITY) || (above && v == INFINITY);
    }
    return 0;
}

/* ---- BitwiseNot ---- */

static int flip_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (rc)
        return rc;
    if (c->in[0]->dtype && !mc_op_is_integer(c->in[0]->dtype))
        return mc_op_fail(err, MC_EDTYPE, c->node, "input is %s, must be of whole numbers",
                          mc_dtype_name((int)c->in[0]->dtype));
    return mc_op_same(c, err);
}

static int flip_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const uint8_t *x = c->in[0].data;
    uint8_t *y = c->out[0].data;
    for (int64_t i = 0, n = mc_op_count(&c->in[0]) * mc_op_elem_bytes(c->in[0].dtype); i < n; i++)
        y[i] = (uint8_t)~x[i];
    return 0;
}

static int where_contents(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_contents test, x, y, z;
    if (!mc_op_numbers(c, 0, &test) || !mc_op_contents(c, 1, &x) || !mc_op_contents(c, 2, &y))
        return 0;
    z.n = test.n > x.n ? test.n : x.n;
    z.n = z.n > y.n ? z.n : y.n;
    for (int i = 0; i < z.n; i++) {
        const struct mc_contents *from = test.value[test.n == 1 ? 0 : i] ? &x : &y;
        int at = from->n == 1 ? 0 : i;
        z.value[i] = from->value[at];
        z.sym[i] = from->sym[at];
    }
    return mc_op_set_contents(c, 0, &z, err);
}

static int where_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_same(c, 1, 2, err);
    struct mc_shape y;
    bool ranked = false;
    rc = rc ? rc : broadcast(c, 3, &y, &ranked, err);
    if (rc)
        return rc;
    if (c->in[0]->dtype && c->in[0]->dtype != MC_DTYPE_BOOL)
        return mc_op_fail(err, MC_EDTYPE, c->node, "the condition is %s, must be bool",
                          mc_dtype_name((int)c->in[0]->dtype));
    enum mc_dtype d = c->in[1]->dtype ? c->in[1]->dtype : c->in[2]->dtype;
    if (d && !comparable(d, false))
        return mc_op_fail(err, MC_EUNSUP, c->node, "selecting elements of type %s cannot run",
                          mc_dtype_name((int)d));
    mc_op_give(c, 0, d, ranked ? &y : NULL);
    return where_contents(c, err);
}

static int where_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *z = &c->out[0];
    struct mc_select s = {.rank = z->shape.rank,
                          .elem_bytes = mc_op_elem_bytes(z->dtype),
                          .test = c->in[0].data,
                          .x = c->in[1].data,
                          .y = c->in[2].data,
                          .z = z->data};
    memcpy(s.dim, z->shape.dim, sizeof *s.dim * (size_t)s.rank);
    for (int i = 0; i < 3; i++)
        mc_op_broadcast_strides(&c->in[i].shape, &z->shape, s.stride[i]);
    s.rank = mc_move_merge(s.rank, s.dim, 3, s.stride);
    c->k->typed.select(&s);
    return 0;
}

#define ROW(name, since)                                                                           \
    {                                                                                              \
        "", name, since, 0, compare_infer, NULL, compare_run, NULL, NULL, NULL                     \
    }
const struct mc_op mc_ops_compare[] = {
    ROW("Equal", 7),
    ROW("Less", 7),
    ROW("LessOrEqual", 12),
    ROW("Greater", 7),
    ROW("GreaterOrEqual", 12),
    ROW("And", 7),
    ROW("Or", 7),
    ROW("Xor", 7),
    {"", "Not", 1, MC_OP_INPLACE, not_infer, NULL, not_run, NULL, NULL, NULL},
    {"", "BitwiseNot", 18, MC_OP_INPLACE, flip_infer, NULL, flip_run, NULL, NULL, NULL},
    {"", "IsNaN", 9, 0, is_infer, NULL, is_run, NULL, NULL, NULL},
    {"", "IsInf", 10, 0, is_infer, NULL, is_run, NULL, NULL, NULL},
    {"", "Where", 9, 0, where_infer, NULL, where_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->typed.compare;
}

static bool gpu_can_select(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->typed.select;
}

static bool gpu_can_flip(const struct mc_call *c)
{
    return c->k->values.flip != NULL;
}

static int gpu_flip(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int64_t bytes = mc_op_count(x) * mc_op_elem_bytes(x->dtype);
    c->k->values.flip(x->dtype == MC_DTYPE_BOOL, bytes, x->data, c->out[0].data);
    return 0;
}

static bool gpu_can_test(const struct mc_call *c)
{
    return c->k->values.test && c->in[0].dtype == MC_DTYPE_F32;
}

static int gpu_test(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int tests = MC_TEST_NAN;
    if (!mc_node_is(c->node, "IsNaN"))
        tests = (mc_node_int(c->node, "detect_negative", 1) ? MC_TEST_BELOW : 0) |
                (mc_node_int(c->node, "detect_positive", 1) ? MC_TEST_ABOVE : 0);
    c->k->values.test(tests, mc_op_count(&c->in[0]), c->in[0].data, c->out[0].data);
    return 0;
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        "", name, .can = gpu_can                                                                   \
    }
const struct mc_op_gpu mc_op_gpu_compare[] = {
    GPU("Equal"),
    GPU("Less"),
    GPU("LessOrEqual"),
    GPU("Greater"),
    GPU("GreaterOrEqual"),
    GPU("And"),
    GPU("Or"),
    GPU("Xor"),
    {"", "Where", .can = gpu_can_select},
    {"", "Not", .can = gpu_can_flip, .run = gpu_flip},
    {"", "BitwiseNot", .can = gpu_can_flip, .run = gpu_flip},
    {"", "IsNaN", .can = gpu_can_test, .run = gpu_test},
    {"", "IsInf", .can = gpu_can_test, .run = gpu_test},
    {0},
};
