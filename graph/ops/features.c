/* The simple operators of ai.onnx.ml on tables of features [rows, columns]. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/index.h"

static const float *floats_of(const struct mc_node *n, const char *name, size_t *ret_n)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    *ret_n = a && a->type == MC_ATTR_FLOATS ? a->n : 0;
    return *ret_n ? a->floats : NULL;
}

static double get(const struct mc_buf *b, int64_t i)
{
    double v = 0;
    size_t at = (size_t)i * (size_t)mc_op_elem_bytes(b->dtype);
    mc_dtype_to_f64((int)b->dtype, (const char *)b->data + at, &v, 1, NULL);
    return v;
}

static void put(const struct mc_buf *b, int64_t i, double v)
{
    if (b->dtype == MC_DTYPE_F64)
        ((double *)b->data)[i] = v;
    else
        ((float *)b->data)[i] = (float)v;
}

/* Columns and rows of a table; one row where the rank is 1. */
static int64_t columns_of(const struct mc_shape *s)
{
    return s->rank ? s->dim[s->rank - 1] : 1;
}

/* Numbers in, float32 of the same shape out. */
static int table_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_index_need_order(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    if (!rc)
        mc_op_give(c, 0, MC_DTYPE_F32, c->in[0]->ranked ? &c->in[0]->shape : NULL);
    return rc;
}

/* ---- ArrayFeatureExtractor ---- */

static int extract_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !at->ranked)
        return 0;
    struct mc_shape y = x->shape;
    int64_t n = mc_shape_count(&at->shape);
    if (y.rank == 1) /* one row */
        y = (struct mc_shape){2, {1, 0}};
    y.dim[y.rank - 1] = n >= 0 ? n : MC_DIM_ANY;
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

static int extract_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int64_t cols = columns_of(&x->shape), n = mc_op_count(at);
    int64_t rows = mc_op_span(x, 0, x->shape.rank - 1);
    size_t elem = (size_t)mc_op_elem_bytes(x->dtype);
    for (int64_t j = 0; j < n; j++) {
        int64_t pick;
        int rc = mc_index_at(c, at, j, cols, &pick, err);
        if (rc)
            return rc;
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)c->out[0].data + (size_t)(r * n + j) * elem,
                   (const char *)x->data + (size_t)(r * cols + pick) * elem, elem);
    }
    return 0;
}

/* ---- Binarizer ---- */

static int binarizer_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    return rc ? rc : mc_op_same(c, err);
}

static int binarizer_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    double threshold = (double)mc_node_float(c->node, "threshold", 0);
    for (int64_t i = 0, n = mc_op_count(&c->in[0]); i < n; i++)
        put(&c->out[0], i, get(&c->in[0], i) > threshold);
    return 0;
}

/* ---- Normalizer ---- */

enum norm { MAX, L1, L2 };

static int norm_of(const struct mc_node *n, enum norm *ret, struct mc_err *err)
{
    static const char *const names[] = {"MAX", "L1", "L2"};
    const char *norm = mc_node_string(n, "norm", "MAX");
    for (int i = 0; i < 3; i++)
        if (!strcmp(norm, names[i])) {
            *ret = (enum norm)i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "norm '%s' is not known", norm);
}

static int normalizer_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum norm how;
    int rc = norm_of(c->node, &how, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, 2, err);
    return rc ? rc : table_infer(c, err);
}

static int normalizer_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    enum norm how = MAX;
    int64_t cols = columns_of(&x->shape), rows = mc_op_span(x, 0, x->shape.rank - 1);
    int rc = norm_of(c->node, &how, err);
    for (int64_t r = 0; r < rows && !rc; r++) {
        double size = how == MAX ? -INFINITY : 0;
        for (int64_t j = 0; j < cols; j++) {
            double v = get(x, r * cols + j);
            size = how == MAX ? fmax(size, v) : how == L1 ? size + fabs(v) : size + v * v;
        }
        size = how == L2 ? sqrt(size) : size;
        for (int64_t j = 0; j < cols; j++)
            put(&c->out[0], r * cols + j, get(x, r * cols + j) / (size == 0 ? 1 : size));
    }
    return rc;
}

/* ---- Scaler ---- */

static int scaler_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    size_t n[2];
    int rc = table_infer(c, err);
    floats_of(c->node, "offset", &n[0]);
    floats_of(c->node, "scale", &n[1]);
    for (int i = 0; i < 2 && !rc && c->in[0]->ranked; i++) {
        int64_t cols = columns_of(&c->in[0]->shape);
        if (n[i] != 1 && cols >= 0 && (int64_t)n[i] != cols)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "%zu values of %s for %lld columns", n[i],
                            i ? "scale" : "offset", (long long)cols);
    }
    return rc;
}

static int scaler_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n_offset, n_scale;
    const float *offset = floats_of(c->node, "offset", &n_offset);
    const float *scale = floats_of(c->node, "scale", &n_scale);
    int64_t cols = columns_of(&c->in[0].shape);
    for (int64_t i = 0, n = mc_op_count(&c->in[0]); i < n; i++) {
        int64_t j = i % cols;
        put(&c->out[0], i,
            (get(&c->in[0], i) - (double)offset[n_offset > 1 ? j : 0]) *
                (double)scale[n_scale > 1 ? j : 0]);
    }
    return 0;
}

/* ---- LinearRegressor ---- */

static int regressor_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    size_t n, n_intercepts;
    int64_t targets = mc_node_int(c->node, "targets", 1), same;
    const char *post = mc_node_string(c->node, "post_transform", "NONE");
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_index_need_order(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, 2, err);
    if (rc)
        return rc;
    floats_of(c->node, "coefficients", &n);
    floats_of(c->node, "intercepts", &n_intercepts);
    if (strcmp(post, "NONE") != 0)
        return mc_op_fail(err, MC_EUNSUP, c->node, "post_transform '%s' cannot run", post);
    if (targets < 1 || n == 0 || n % (size_t)targets ||
        (n_intercepts && n_intercepts != (size_t)targets))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%zu coefficients, %zu intercepts, %lld targets",
                          n, n_intercepts, (long long)targets);
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, MC_DTYPE_F32, NULL);
    if (!x->ranked)
        return 0;
    struct mc_shape y = {2, {x->shape.rank > 1 ? x->shape.dim[0] : 1, targets}};
    rc = mc_op_need_dim(c->node, "columns and coefficients", columns_of(&x->shape),
                        (int64_t)n / targets, &same, err);
    mc_op_give(c, 0, MC_DTYPE_F32, &y);
    return rc;
}

static int regressor_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n, n_intercepts;
    const float *w = floats_of(c->node, "coefficients", &n);
    const float *b = floats_of(c->node, "intercepts", &n_intercepts);
    int64_t targets = c->out[0].shape.dim[1], cols = (int64_t)n / targets;
    for (int64_t i = 0, total = mc_op_count(&c->out[0]); i < total; i++) {
        int64_t row = i / targets, t = i % targets;
        double sum = b ? (double)b[t] : 0;
        for (int64_t j = 0; j < cols; j++)
            sum += get(&c->in[0], row * cols + j) * (double)w[t * cols + j];
        put(&c->out[0], i, sum);
    }
    return 0;
}

#define ML "ai.onnx.ml"
const struct mc_op mc_ops_features[] = {
    {ML, "ArrayFeatureExtractor", 1, 0, extract_infer, NULL, extract_run, NULL, NULL, NULL},
    {ML, "Binarizer", 1, 0, binarizer_infer, NULL, binarizer_run, NULL, NULL, NULL},
    {ML, "Normalizer", 1, 0, normalizer_infer, NULL, normalizer_run, NULL, NULL, NULL},
    {ML, "Scaler", 1, 0, scaler_infer, NULL, scaler_run, NULL, NULL, NULL},
    {ML, "LinearRegressor", 1, 0, regressor_infer, NULL, regressor_run, NULL, NULL, NULL},
    {0},
};
