/* Layers of binary weights as products of 8-bit integers, of signs or of activations rounded in the run.
 *
 * Source: Rastegari et al., XNOR-Net, 2016; deviates: activations have no scale, and a threshold in place of 0. Of all bodies
 * measured these are the fastest that are exact: signs as bytes 0 and 2 with zero point 1, which padding with the zero point
 * makes 0; runtimes have fast products of unsigned bytes with signed ones, and convolutions of unsigned bytes alone. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_binary.h"
#include "graph/own/own_body.h"

/* Inputs of Xnor…, then those of Binary…Fast. */
enum { X, T, P, S, B, TABLE };
enum { FX, FP, FS, FB, FTABLE };
enum { TABLE_ROWS = 256, TABLE_COLUMNS = 8 };

static bool is_conv(const struct mc_node *n)
{
    return strstr(n->op_type, "Conv") != NULL;
}

static bool is_signs(const struct mc_node *n)
{
    return !strncmp(n->op_type, "Xnor", 4);
}

/* ---- bodies ---- */

static int byte_of(struct mc_own_body *b, uint8_t v)
{
    return mc_body_tensor(b, MC_DTYPE_U8, 0, NULL, &v);
}

/* The matrix [M, K] of a table's bytes. */
static int unpack(struct mc_own_body *b, int packed, int table)
{
    int index = mc_body(b, "Cast", packed);
    mc_body_int(b, "to", MC_DTYPE_I32);
    int bytes = mc_body(b, "Gather", table, index);
    int rows = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    int whole = mc_body(b, "Reshape", bytes, rows);
    int from = mc_body_const(b, (const int64_t[]){0}, 1), to = mc_body_attr(b, "columns");
    int axes = mc_body_const(b, (const int64_t[]){1}, 1);
    return mc_body(b, "Slice", whole, from, to, axes);
}

/* Integers q with a zero point times the weight, as floats. */
static int product(struct mc_own_body *b, int q, int zero, int packed, int table, bool conv)
{
    int w = unpack(b, packed, table), sums;
    if (conv) {
        int shape = mc_body_attr(b, "shape");
        w = mc_body(b, "Reshape", w, shape);
        int one = byte_of(b, 1);
        sums = mc_body(b, "ConvInteger", q, w, zero, one);
        mc_body_ref(b, "strides", MC_ATTR_INTS, "strides");
        mc_body_ref(b, "pads", MC_ATTR_INTS, "pads");
        mc_body_ref(b, "dilations", MC_ATTR_INTS, "dilations");
    } else {
        w = mc_body(b, "Transpose", w);
        mc_body_ints(b, "perm", (const int64_t[]){1, 0}, 2);
        sums = mc_body(b, "MatMulInteger", q, w, zero);
    }
    int y = mc_body(b, "Cast", sums);
    mc_body_int(b, "to", MC_DTYPE_F32);
    return y;
}

static int xnor(struct mc_own_body *b, bool conv)
{
    int below = mc_body(b, "Less", mc_body_in(b, X), mc_body_in(b, T));
    int minus = byte_of(b, 0), plus = byte_of(b, 2);
    int signs = mc_body(b, "Where", below, minus, plus);
    int zero = byte_of(b, 1);
    int y = product(b, signs, zero, mc_body_in(b, P), mc_body_in(b, TABLE), conv);
    y = mc_body(b, "Mul", y, mc_body_in(b, S));
    return mc_body_end(b, mc_body(b, "Add", y, mc_body_in(b, B)));
}

static int fast(struct mc_own_body *b, bool conv)
{
    int q = mc_body(b, "DynamicQuantizeLinear", mc_body_in(b, FX));
    int step = mc_body_more(b, 1), zero = mc_body_more(b, 2);
    int y = product(b, q, zero, mc_body_in(b, FP), mc_body_in(b, FTABLE), conv);
    int scale = mc_body(b, "Mul", step, mc_body_in(b, FS));
    y = mc_body(b, "Mul", y, scale);
    return mc_body_end(b, mc_body(b, "Add", y, mc_body_in(b, FB)));
}

static int xnor_gemm(struct mc_own_body *b)
{
    return xnor(b, false);
}

static int xnor_conv(struct mc_own_body *b)
{
    return xnor(b, true);
}

static int fast_gemm(struct mc_own_body *b)
{
    return fast(b, false);
}

static int fast_conv(struct mc_own_body *b)
{
    return fast(b, true);
}

/* Bytes that the signs of a packed byte stand for: -1 and 1, of convolutions 0 and 2 with the zero point 1. */
static void table(const struct mc_node *call, int i, struct mc_own_table *ret)
{
    (void)i;
    bool conv = is_conv(call);
    ret->dtype = conv ? MC_DTYPE_U8 : MC_DTYPE_I8;
    ret->shape = mc_shape_of(2, (const int64_t[]){TABLE_ROWS, TABLE_COLUMNS});
    for (int k = 0; k < TABLE_ROWS * TABLE_COLUMNS; k++) {
        bool one = k / TABLE_COLUMNS >> k % TABLE_COLUMNS & 1;
        ret->at[k] = (float)((one ? 1 : -1) + conv);
    }
}

/* ---- what a call holds ---- */

static int need_attrs(const struct mc_node *call, const int64_t **ret_columns,
                      const int64_t **ret_shape, size_t *ret_rank, struct mc_err *err)
{
    int rc = mc_own_need_ints(call, "columns", 1, ret_columns, NULL, err);
    *ret_rank = 0;
    if (mc_node_attr(call, "group"))
        return mc_own_fail(err, MC_EUNSUP, call, "attribute group, which it does not have");
    if (rc || !is_conv(call))
        return rc;
    rc = mc_own_need_ints(call, "shape", -1, ret_shape, ret_rank, err);
    if (!rc && (*ret_rank < 3 || *ret_rank > 4))
        rc = mc_own_fail(err, MC_EUNSUP, call,
                         "attribute shape has %zu numbers: filters, channels and one or two sizes "
                         "of a window are supported",
                         *ret_rank);
    if (rc)
        return rc;
    struct mc_shape s = mc_shape_of((int)*ret_rank, *ret_shape);
    if (mc_shape_span(&s, 1, s.rank) != **ret_columns)
        return mc_own_fail(err, MC_ESHAPE, call, "columns is %lld, a filter of shape %s has others",
                           (long long)**ret_columns, mc_shape_text(&s, (char[MC_SHAPE_TEXT]){0}));
    return 0;
}

static int check(const struct mc_node *call, struct mc_err *err)
{
    const int64_t *columns = NULL, *shape = NULL;
    size_t rank;
    bool signs = is_signs(call);
    size_t p = signs ? P : FP, s = signs ? S : FS, b = signs ? B : FB;
    int rc = need_attrs(call, &columns, &shape, &rank, err);
    if (rc)
        return rc;
    enum mc_dtype x = mc_own_dtype(call, X);
    if (x != MC_DTYPE_NONE && x != MC_DTYPE_F32)
        return mc_own_fail(err, MC_EDTYPE, call, "X is %s, must be float32", mc_dtype_name(x));
    rc = mc_own_need_bits(call, p, shape ? shape[0] : -1, columns[0], err);
    const struct mc_tensor *bits = mc_own_constant(call, p);
    int64_t m = shape ? shape[0] : bits ? bits->shape.dim[0] : -1;
    int ones = shape ? (int)rank - 2 : 0;
    const int64_t each[] = {m, 1, 1}, of_x[] = {shape ? shape[1] : columns[0], 1, 1};
    rc = rc ? rc : mc_own_need(call, s, MC_DTYPE_F32, 1 + ones, each, err);
    rc = rc ? rc : mc_own_need(call, b, MC_DTYPE_F32, 1 + ones, each, err);
    const struct mc_tensor *t = signs ? mc_own_constant(call, T) : NULL;
    if (!rc && signs)
        rc = mc_own_need(call, T, MC_DTYPE_F32, t && t->shape.rank == 0 ? 0 : 1 + ones, of_x, err);
    return rc;
}

static void size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes)
{
    bool signs = is_signs(call);
    const struct mc_tensor *p = mc_own_constant(call, signs ? P : FP);
    const struct mc_tensor *s = mc_own_constant(call, signs ? S : FS);
    size_t n;
    const int64_t *columns = mc_node_ints(call, "columns", &n);
    *ret_weights = p ? p->shape.dim[0] * columns[0] : 0;
    *ret_bytes = (p ? p->bytes : 0) + (s ? s->bytes : 0);
}

/* Signs times `scale`, or NULL: [M, K], of convolutions [M, C, …]. */
static int weight(const struct mc_node *call, const float *scale, struct mc_tensor **ret,
                  struct mc_err *err)
{
    const struct mc_tensor *p = mc_own_constant(call, is_signs(call) ? P : FP);
    size_t n;
    const int64_t *columns = mc_node_ints(call, "columns", &n);
    void *w;
    if (!p)
        return mc_own_fail(err, MC_EUNSUP, call, "its packed weights are no constant");
    struct mc_shape shape = mc_shape_of(2, (const int64_t[]){p->shape.dim[0], columns[0]});
    if (is_conv(call))
        shape = mc_own_shape(call);
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, call->graph->model->spill, ret, &w, err);
    if (!rc)
        mc_own_unpack(p->data, scale, p->shape.dim[0], columns[0], w);
    return rc;
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    float *scale = NULL;
    int64_t n;
    size_t s = is_signs(call) ? S : FS;
    if (!mc_own_constant(call, s))
        return mc_own_fail(err, MC_EUNSUP, call, "its scales are no constant");
    int rc = mc_constant_f32(call->in[s], &scale, &n, err);
    rc = rc ? rc : weight(call, scale, ret, err);
    free(scale);
    return rc;
}

/* ---- the dense layer ---- */

struct maker {
    const struct mc_node *call;
    int rc;
    struct mc_err *err;
};

static struct mc_value *made(struct maker *m, const char *op, struct mc_value *const *in,
                             size_t n_in, struct mc_node **ret)
{
    struct mc_graph *g = m->call->graph;
    struct mc_value *out = m->rc ? NULL : mc_edit_fresh(g, m->call->out[0]->name);
    struct mc_node *n = NULL;
    if (m->rc)
        return NULL;
    m->rc = out ? mc_edit_node(g, m->call->pos, op, "", 0, "", in, n_in, &out, 1, &n, m->err)
                : mc_fail(m->err, MC_ENOMEM, "out of memory");
    if (ret)
        *ret = n;
    return m->rc ? NULL : out;
}

static struct mc_value *scalar(struct maker *m, const char *hint, float v)
{
    const struct mc_shape none = {0};
    struct mc_tensor *t = NULL;
    struct mc_value *ret = NULL;
    if (!m->rc)
        m->rc = mc_constant_make(&v, &none, MC_DTYPE_F32, NULL, &t, m->err);
    if (!m->rc)
        m->rc = mc_constant_new(m->call->graph, m->call->pos, hint, t, &ret, m->err);
    mc_tensor_unref(t);
    return ret;
}

static struct mc_value *signs_of(struct maker *m)
{
    struct mc_tensor *t = NULL;
    struct mc_value *ret = NULL;
    if (!m->rc)
        m->rc = weight(m->call, NULL, &t, m->err);
    if (!m->rc)
        m->rc = mc_constant_new(m->call->graph, m->call->pos,
                                m->call->in[is_signs(m->call) ? P : FP]->name, t, &ret, m->err);
    mc_tensor_unref(t);
    return ret;
}

/* Sums of a dense layer of signs, which are exact, scaled behind it: the same numbers as the call's. */
static int expand(const struct mc_node *call, struct mc_value **ret, struct mc_err *err)
{
    struct maker m = {.call = call, .err = err};
    bool signs = is_signs(call), conv = is_conv(call);
    struct mc_value *x = call->in[X], *y;
    struct mc_node *layer = NULL;
    if (signs) {
        struct mc_value *below = made(&m, "Less", (struct mc_value *[]){x, call->in[T]}, 2, NULL);
        struct mc_value *minus = scalar(&m, "minus", -1), *plus = scalar(&m, "plus", 1);
        x = made(&m, "Where", (struct mc_value *[]){below, minus, plus}, 3, NULL);
    }
    struct mc_value *w = signs_of(&m);
    if (!conv) {
        w = made(&m, "Transpose", &w, 1, &layer);
        if (!m.rc)
            m.rc = mc_edit_attr_ints(layer, "perm", (const int64_t[]){1, 0}, 2, err);
    }
    y = made(&m, conv ? "Conv" : "MatMul", (struct mc_value *[]){x, w}, 2, &layer);
    static const char *const geometry[] = {"strides", "pads", "dilations"};
    for (size_t i = 0; !m.rc && conv && i < sizeof geometry / sizeof *geometry; i++) {
        size_t n;
        const int64_t *v = mc_node_ints(call, geometry[i], &n);
        if (v)
            m.rc = mc_edit_attr_ints(layer, geometry[i], v, n, err);
    }
    y = made(&m, "Mul", (struct mc_value *[]){y, call->in[signs ? S : FS]}, 2, NULL);
    *ret = made(&m, "Add", (struct mc_value *[]){y, call->in[signs ? B : FB]}, 2, NULL);
    return m.rc;
}

#define GEMM_ATTRS         ((const char *const[]){"columns", NULL})
#define CONV_ATTRS         ((const char *const[]){"shape", "columns", "strides", "pads", "dilations", NULL})
#define SIGN_INPUTS(table) ((const char *const[]){"X", "T", "P", "S", "B", table})
#define REAL_INPUTS(table) ((const char *const[]){"X", "P", "S", "B", table})

const struct mc_own mc_own_xnor[] = {
    {"XnorGemm", 5, 1, SIGN_INPUTS("BYTES"), GEMM_ATTRS, "...ss", xnor_gemm, table, check, size,
     dense, expand, false},
    {"XnorConv", 5, 1, SIGN_INPUTS("CODES"), CONV_ATTRS, "...ss", xnor_conv, table, check, size,
     dense, expand, false},
    {"BinaryGemmFast", 4, 1, REAL_INPUTS("BYTES"), GEMM_ATTRS, "..ss", fast_gemm, table, check,
     size, dense, expand, true},
    {"BinaryConvFast", 4, 1, REAL_INPUTS("CODES"), CONV_ATTRS, "..ss", fast_conv, table, check,
     size, dense, expand, true},
    {0},
};
