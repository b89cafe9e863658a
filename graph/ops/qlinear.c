/* Operators of com.microsoft on quantised tensors that are an operator of ai.onnx between two conversions:
 * inputs to floats, that operator, its result back. The operator runs on a copy of the node under its name. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/op_gpu.h"

enum { NO = -1, REAL = 3 };

struct form {
    const char *name, *inner;
    int version;     /* of the inner operator; 0: attribute opset */
    int n;           /* inner inputs; 0: those from `first` on, any number of them */
    int first[REAL]; /* tensor, followed by its scale and zero point */
    int raw;         /* bit i: inner input i is taken as it is, alone */
    int y;           /* scale of the result, followed by its zero point */
};
static const struct form forms[] = {
    {"QLinearAdd", "Add", 14, 2, {0, 3}, 0, 6},
    {"QLinearMul", "Mul", 14, 2, {0, 3}, 0, 6},
    {"QLinearSigmoid", "Sigmoid", 13, 1, {0}, 0, 3},
    {"QLinearLeakyRelu", "LeakyRelu", 16, 1, {0}, 0, 3},
    {"QLinearAveragePool", "AveragePool", 11, 1, {0}, 0, 3},
    {"QLinearGlobalAveragePool", "GlobalAveragePool", 1, 1, {0}, 0, 3},
    {"QLinearSoftmax", "Softmax", 0, 1, {0}, 0, 3},
    {"QLinearWhere", "Where", 9, 3, {0, 1, 4}, 1, 7},
    {"QLinearConcat", "Concat", 13, 0, {2}, 0, 0},
};

static const struct form *form_of(const struct mc_node *n)
{
    const struct form *f = forms;
    while (strcmp(f->name, n->op_type) != 0)
        f++;
    return f;
}

static int inner_count(const struct form *f, int n_in)
{
    return f->n ? f->n : (n_in - f->first[0]) / 3;
}

/* Input of the node that inner input i is made of. */
static int tensor_at(const struct form *f, int i)
{
    return f->n ? f->first[i] : f->first[0] + 3 * i;
}

static bool is_raw(const struct form *f, int i)
{
    return f->raw >> i & 1;
}

/* The node as its inner operator sees it. */
static struct mc_node inner_node(const struct mc_node *n, const struct form *f, int count)
{
    struct mc_node inner = *n;
    inner.op_type = f->inner;
    inner.domain = (char *)(uintptr_t) "";
    inner.version = f->version ? f->version : (int)mc_node_int(n, "opset", 13);
    inner.n_in = (size_t)count;
    return inner;
}

static const struct mc_op *inner_op(const struct mc_node *inner)
{
    return mc_op_find(inner);
}

/* ---- inference ---- */

static int check_inputs(const struct mc_infer_ctx *c, const struct form *f, int count,
                        struct mc_err *err)
{
    int least = f->n ? f->y + 1 : 5;
    int rc = mc_op_arity(c, 1, f->n ? f->y + 2 : INT32_MAX, err);
    if (!rc && (c->n_in < least || (!f->n && (c->n_in - f->first[0]) % 3)))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%d inputs are too few", c->n_in);
    for (int i = 0; i < count && !rc; i++) {
        int at = tensor_at(f, i);
        if (!mc_op_in(c, at))
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", at);
        if (is_raw(f, i))
            continue;
        if (!mc_op_in(c, at + 1))
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", at + 1);
        rc = mc_int8_need(c, at, err);
        rc = rc ? rc : mc_int8_need_params(c, at + 1, at + 2, at, false, err);
    }
    if (!rc && !mc_op_in(c, f->y))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", f->y);
    rc = rc ? rc : mc_int8_need_params(c, f->y, f->y + 1, NO, false, err);
    if (!rc && mc_node_int(c->node, "channels_last", 0))
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "channels_last cannot run");
    return rc;
}

static int qlinear_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct form *f = form_of(c->node);
    int count = inner_count(f, c->n_in), rc = check_inputs(c, f, count, err);
    if (rc)
        return rc;
    struct mc_node node = inner_node(c->node, f, count);
    const struct mc_op *op = inner_op(&node);
    if (!op)
        return mc_op_fail(err, MC_EUNSUP, c->node, "opset %d is not known", node.version);
    struct mc_vtype *in = mc_calloc((size_t)count, sizeof *in), y = {0}, *out = &y;
    const struct mc_vtype **list = mc_calloc((size_t)count, sizeof *list);
    rc = in && list ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; i < count && !rc; i++) {
        in[i] = *c->in[tensor_at(f, i)];
        in[i].known = NULL;
        in[i].partial = NULL;
        if (!is_raw(f, i))
            in[i].dtype = MC_DTYPE_F32;
        list[i] = &in[i];
    }
    if (!rc) {
        struct mc_infer_ctx inner = {
            .node = &node, .n_in = count, .n_out = 1, .in = list, .out = &out, .inf = c->inf};
        struct mc_err why = {0};
        rc = op->infer(&inner, &why);
        if (rc) /* which names the inner operator */
            mc_op_fail(err, rc, c->node, "%s", why.msg);
    }
    const struct mc_vtype *zero = mc_op_in(c, f->y + 1);
    enum mc_dtype type = zero ? zero->dtype : c->in[tensor_at(f, f->raw ? 1 : 0)]->dtype;
    if (!rc)
        mc_op_give(c, 0, type, y.ranked ? &y.shape : NULL);
    free(in);
    free(list);
    return rc;
}

/* ---- running ---- */

struct state {
    struct mc_node node;
    struct mc_call call; /* of the inner operator */
    struct mc_op op;     /* on a device: the inner operator as it runs there */
    struct mc_buf buf[]; /* its inputs, then its output */
};

/* Give the inner buffers and the inner scratch their places; during setup only the size counts. */
static size_t layout_scratch(const struct mc_call *c, const struct form *f, struct state *s)
{
    size_t at = 0, elem = (size_t)c->k->elem_bytes;
    for (int i = 0; i <= s->call.n_in; i++) {
        struct mc_buf *b = &s->buf[i];
        if (i < s->call.n_in && is_raw(f, i))
            b->data = c->in[tensor_at(f, i)].data;
        else
            b->data = mc_op_scratch(c, &at, (size_t)mc_op_count(b) * elem);
    }
    s->call.scratch = mc_op_scratch(c, &at, s->call.scratch_bytes);
    return at;
}

/* What the inner operator sees, without its memory. NULL: out of memory. */
static struct state *state_of(const struct mc_call *c)
{
    const struct form *f = form_of(c->node);
    int count = inner_count(f, c->n_in);
    enum mc_dtype real = c->k->elem_bytes == 8 ? MC_DTYPE_F64 : MC_DTYPE_F32;
    struct state *s = mc_calloc(1, sizeof *s + ((size_t)count + 1) * sizeof *s->buf);
    if (!s)
        return NULL;
    s->node = inner_node(c->node, f, count);
    for (int i = 0; i < count; i++) {
        s->buf[i] = c->in[tensor_at(f, i)];
        s->buf[i].constant = false;
        if (!is_raw(f, i))
            s->buf[i].dtype = real;
    }
    s->buf[count] = c->out[0];
    s->buf[count].dtype = real;
    s->call = (struct mc_call){.node = &s->node,
                               .op = inner_op(&s->node),
                               .n_in = count,
                               .n_out = 1,
                               .in = s->buf,
                               .out = s->buf + count,
                               .k = c->k,
                               .pool = c->pool,
                               .packs = c->packs};
    return s;
}

static int qlinear_setup(struct mc_call *c, struct mc_err *err)
{
    struct state *s = state_of(c);
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->state = s;
    const struct mc_op_gpu *row = c->k->device ? mc_op_gpu_find(s->call.op) : NULL;
    if (row && row->run) {
        s->op = *s->call.op;
        s->op.setup = row->setup;
        s->op.run = row->run;
        s->op.teardown = row->teardown;
        s->call.op = &s->op;
    }
    int rc = s->call.op->setup ? s->call.op->setup(&s->call, err) : 0;
    if (!rc)
        c->scratch_bytes = layout_scratch(c, form_of(c->node), s);
    return rc;
}

static void qlinear_teardown(struct mc_call *c)
{
    struct state *s = c->state;
    if (s && s->call.op->teardown)
        s->call.op->teardown(&s->call);
    free(s);
    c->state = NULL;
}

static struct mc_quant_row row_of(const struct mc_call *c, int scale, enum mc_dtype dtype,
                                  float *store)
{
    *store = mc_int8_scale(mc_op_arg(c, scale), 0, 1);
    struct mc_quant_row r = {.zero = mc_int8_first(mc_op_arg(c, scale + 1)), .scale = store};
    mc_int8_range(dtype, &r.lo, &r.hi);
    return r;
}

/* On a device scale and zero point are read there. */
static struct mc_quant_all all_of(const struct mc_call *c, int scale, const struct mc_buf *whole)
{
    const struct mc_buf *zero = mc_op_arg(c, scale + 1);
    struct mc_quant_all q = {.outer = 1,
                             .axis = 1,
                             .inner = mc_op_count(whole),
                             .block = 1,
                             .scale = c->in[scale].data,
                             .zero = zero ? zero->data : NULL};
    mc_int8_range(whole->dtype, &q.lo, &q.hi);
    return q;
}

static void to_real(const struct mc_call *c, int at, struct mc_buf *to)
{
    const struct mc_buf *x = &c->in[at];
    int64_t n = mc_op_count(x);
    if (c->k->device) {
        const struct mc_quant_all q = all_of(c, at + 1, x);
        c->k->quant.dequantize_all(&q, x->data, to->data, c->pool);
        return;
    }
    float scale;
    struct mc_quant_row r = row_of(c, at + 1, x->dtype, &scale);
    if (to->dtype == MC_DTYPE_F32) {
        mc_int8_dequantize(&c->k->quant, &r, n, x->data, to->data, c->pool);
        return;
    }
    r.n = 1;
    for (int64_t i = 0; i < n; i++) {
        float v;
        c->k->quant.dequantize(&r, (const uint8_t *)x->data + i, &v);
        ((double *)to->data)[i] = (double)v;
    }
}

static void from_real(const struct mc_call *c, int scale_at, const struct mc_buf *from)
{
    struct mc_buf *y = &c->out[0];
    int64_t n = mc_op_count(y);
    if (c->k->device) {
        const struct mc_quant_all q = all_of(c, scale_at, y);
        c->k->quant.quantize_all(&q, from->data, y->data, c->pool);
        return;
    }
    float scale;
    struct mc_quant_row r = row_of(c, scale_at, y->dtype, &scale);
    if (from->dtype == MC_DTYPE_F32) {
        mc_int8_quantize(&c->k->quant, &r, n, from->data, y->data, c->pool);
        return;
    }
    r.n = 1;
    for (int64_t i = 0; i < n; i++) {
        float v = (float)((const double *)from->data)[i];
        c->k->quant.quantize(&r, &v, (uint8_t *)y->data + i);
    }
}

static int qlinear_run(struct mc_call *c, struct mc_err *err)
{
    const struct form *f = form_of(c->node);
    struct state *s = c->state;
    layout_scratch(c, f, s);
    for (int i = 0; i < s->call.n_in; i++)
        if (!is_raw(f, i))
            to_real(c, tensor_at(f, i), &s->buf[i]);
    int rc = s->call.op->run(&s->call, err);
    if (!rc)
        from_real(c, f->y, s->call.out);
    return rc;
}

#define ROW(name)                                                                                  \
    {                                                                                              \
        "com.microsoft", name, 1, 0, qlinear_infer, qlinear_setup, qlinear_run, qlinear_teardown,  \
            NULL, NULL                                                                             \
    }
const struct mc_op mc_ops_qlinear[] = {
    ROW("QLinearAdd"),         ROW("QLinearMul"),
    ROW("QLinearSigmoid"),     ROW("QLinearLeakyRelu"),
    ROW("QLinearAveragePool"), ROW("QLinearGlobalAveragePool"),
    ROW("QLinearSoftmax"),     ROW("QLinearWhere"),
    ROW("QLinearConcat"),      {0},
};

/* ---- on a device: where the inner operator runs there, and reads nothing on the host ---- */

static bool gpu_can(const struct mc_call *c)
{
    if (!mc_op_gpu_floats(c) || !c->k->quant.quantize_all || !c->k->quant.dequantize_all)
        return false;
    struct state *s = state_of(c);
    const struct mc_op_gpu *row = s ? mc_op_gpu_find(s->call.op) : NULL;
    bool can = row && !row->host_in && !row->unrecorded &&
               (row->can ? row->can : mc_op_gpu_floats)(&s->call);
    free(s);
    return can;
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        "com.microsoft", name, .can = gpu_can                                                      \
    }
const struct mc_op_gpu mc_op_gpu_qlinear[] = {
    GPU("QLinearAdd"),         GPU("QLinearMul"),
    GPU("QLinearSigmoid"),     GPU("QLinearLeakyRelu"),
    GPU("QLinearAveragePool"), GPU("QLinearGlobalAveragePool"),
    GPU("QLinearSoftmax"),     GPU("QLinearWhere"),
    GPU("QLinearConcat"),      {0},
};
