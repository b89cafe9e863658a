/* Products of 8-bit integers: MatMulInteger gives the sums, QLinearMatMul and QGemm quantise them again,
 * MatMulIntegerToFloat and DynamicQuantizeMatMul scale them to floats. */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/matmul_node.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/pack.h"

enum { NO = -1 }; /* NO: the operator has no such input */

struct places { /* of the inputs, A is 0 */
    const char *op;
    int a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, bias, least, most;
};
static const struct places all_places[] = {
    {"MatMulInteger", NO, 2, 1, NO, 3, NO, NO, NO, 2, 4},
    {"QLinearMatMul", 1, 2, 3, 4, 5, 6, 7, NO, 8, 8},
    {"MatMulIntegerToFloat", 2, 4, 1, 3, 5, NO, NO, 6, 4, 7},
    {"DynamicQuantizeMatMul", NO, NO, 1, 2, 3, NO, NO, 4, 3, 5},
    {"QGemm", 1, 2, 3, 4, 5, 7, 8, 6, 6, 9},
};

static const struct places *places_of(const struct mc_node *n)
{
    const struct places *p = all_places;
    while (strcmp(p->op, n->op_type) != 0)
        p++;
    return p;
}

static bool is_gemm(const struct places *p)
{
    return !strcmp(p->op, "QGemm");
}

static bool is_dynamic(const struct places *p)
{
    return p->a_scale == NO && p->b_scale != NO;
}

static const struct mc_buf *arg(const struct mc_call *c, int i)
{
    return i < 0 ? NULL : mc_op_arg(c, i);
}

static const struct mc_vtype *vtype(const struct mc_infer_ctx *c, int i)
{
    return i < 0 ? NULL : mc_op_in(c, i);
}

/* ---- inference ---- */

/* Parameters in input i: one, or `each` of them (where that is known) for every matrix or for all. */
static int need_count(const struct mc_infer_ctx *c, int i, int64_t each, struct mc_err *err)
{
    const struct mc_vtype *p = vtype(c, i);
    int64_t n = p && p->ranked ? mc_shape_count(&p->shape) : -1;
    if (n < 0 || n == 1 || each < 0 || (each > 0 && n % each == 0))
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has %lld elements, must have 1 or %lld", i,
                      (long long)n, (long long)each);
}

static int gemm_shape(struct mc_infer_ctx *c, const struct places *p, enum mc_dtype dtype,
                      struct mc_err *err)
{
    const struct mc_vtype *a = c->in[0], *b = c->in[p->b];
    int ta = mc_node_int(c->node, "transA", 0) != 0, tb = mc_node_int(c->node, "transB", 0) != 0;
    int rc = mc_op_need_rank(c, 0, 2, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, p->b, 2, 2, err);
    if (rc)
        return rc;
    int64_t k;
    struct mc_shape y = {2, {MC_DIM_ANY, MC_DIM_ANY}};
    if (a->ranked)
        y.dim[0] = a->shape.dim[ta];
    if (b->ranked)
        y.dim[1] = b->shape.dim[!tb];
    if (a->ranked && b->ranked)
        rc = mc_op_need_dim(c->node, "inner dimensions of A and B", a->shape.dim[!ta],
                            b->shape.dim[tb], &k, err);
    mc_op_give(c, 0, dtype, &y);
    return rc;
}

static int check_types(const struct mc_infer_ctx *c, const struct places *p, struct mc_err *err)
{
    int rc = mc_op_arity(c, p->least, p->most, err);
    rc = rc ? rc : is_dynamic(p) ? mc_op_need_float(c, 0, err) : mc_int8_need(c, 0, err);
    rc = rc ? rc : mc_int8_need(c, p->b, err);
    if (!rc && p->a_zero != NO)
        rc = mc_int8_need_params(c, p->a_scale, p->a_zero, 0, true, err);
    rc = rc ? rc : mc_int8_need_params(c, p->b_scale, p->b_zero, p->b, true, err);
    if (!rc && p->y_scale != NO && mc_op_in(c, p->y_scale))
        rc = mc_int8_need_params(c, p->y_scale, p->y_zero, NO, false, err);
    const struct mc_vtype *bias = vtype(c, p->bias);
    if (!rc && bias && is_gemm(p) && bias->dtype && bias->dtype != MC_DTYPE_I32)
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "C is %s, must be int32",
                        mc_dtype_name((int)bias->dtype));
    else if (!rc && bias && !is_gemm(p))
        rc = mc_op_need_float(c, p->bias, err);
    return rc;
}

static enum mc_dtype result_type(const struct mc_infer_ctx *c, const struct places *p)
{
    if (p->y_scale != NO && mc_op_in(c, p->y_scale))
        return mc_op_in(c, p->y_zero) ? mc_op_in(c, p->y_zero)->dtype : MC_DTYPE_NONE;
    return p->b_scale != NO ? c->in[p->b_scale]->dtype : MC_DTYPE_I32;
}

/* C of QGemm broadcasts to the result; other biases have one value, or one for each of n columns. */
static int need_bias(const struct mc_infer_ctx *c, const struct places *p, int64_t n,
                     struct mc_err *err)
{
    const struct mc_vtype *bias = vtype(c, p->bias);
    const struct mc_shape *y = &c->out[0]->shape;
    struct mc_shape sum;
    char text[MC_SHAPE_TEXT], to[MC_SHAPE_TEXT];
    if (!bias || !bias->ranked)
        return 0;
    int64_t count = mc_shape_count(&bias->shape);
    bool fits = count < 0 || n < 0 || count == 1 || count == n;
    if (is_gemm(p)) {
        fits = mc_shape_broadcast(&bias->shape, y, &sum) && sum.rank == 2;
        for (int d = 0; d < 2 && fits; d++)
            fits = y->dim[d] < 0 || sum.dim[d] == y->dim[d];
    }
    if (fits)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "the bias %s does not fit the result %s",
                      mc_shape_text(&bias->shape, text), mc_shape_text(y, to));
}

static int product_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct places *p = places_of(c->node);
    int rc = check_types(c, p, err);
    if (!rc && vtype(c, p->y_scale) && !mc_op_in(c, p->y_zero))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "a scale of the result without a zero point");
    if (rc)
        return rc;
    enum mc_dtype dtype = result_type(c, p);
    rc = is_gemm(p) ? gemm_shape(c, p, dtype, err) : mc_matmul_infer(c, p->b, dtype, err);
    if (rc || !c->out[0] || !c->out[0]->ranked || !c->in[0]->ranked || !c->in[p->b]->ranked)
        return rc;
    const struct mc_shape *y = &c->out[0]->shape;
    bool row = c->in[0]->shape.rank == 1, col = c->in[p->b]->shape.rank == 1;
    int64_t n = col ? 1 : y->dim[y->rank - 1], m = row ? 1 : y->dim[y->rank - 1 - !col];
    const int by_row[] = {p->a_scale, p->a_zero}, by_col[] = {p->b_scale, p->b_zero};
    for (int i = 0; i < 2 && !rc; i++) {
        rc = need_count(c, by_row[i], m, err);
        rc = rc ? rc : need_count(c, by_col[i], n, err);
    }
    return rc ? rc : need_bias(c, p, n, err);
}

static double product_macs(const struct mc_infer_ctx *c)
{
    const struct places *p = places_of(c->node);
    int64_t out = c->out[0]->ranked ? mc_shape_count(&c->out[0]->shape) : -1;
    bool ta = is_gemm(p) && mc_node_int(c->node, "transA", 0);
    int rank = mc_op_rank(c, 0);
    int64_t k = rank > ta ? c->in[0]->shape.dim[rank - 1 - ta] : -1;
    return out < 0 || k < 0 ? -1 : (double)out * (double)k;
}

/* ---- setup ---- */

struct product {
    const struct places *p;
    int64_t batch, m, n, k, b_count, strip; /* strip: rows whose sums are in scratch at a time */
    struct mc_s8_side a, b;
    size_t packed_each;
    const void *packed; /* of a constant B, or NULL */
};

static size_t round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

static struct product product_of(const struct mc_call *c)
{
    struct product t = {.p = places_of(c->node), .batch = 1, .b_count = 1};
    const struct mc_shape *a = &c->in[0].shape, *b = &c->in[t.p->b].shape;
    bool ta = false, tb = false;
    if (is_gemm(t.p)) {
        ta = mc_node_int(c->node, "transA", 0) != 0;
        tb = mc_node_int(c->node, "transB", 0) != 0;
    }
    t.m = a->rank > 1 ? a->dim[a->rank - 2 + ta] : 1;
    t.k = a->dim[a->rank - 1 - ta];
    t.n = b->rank > 1 ? b->dim[b->rank - 1 - tb] : 1;
    if (b->rank > 2)
        t.b_count = mc_shape_span(b, 0, b->rank - 2);
    t.batch =
        mc_shape_span(&c->out[0].shape, 0, c->out[0].shape.rank - (a->rank > 1) - (b->rank > 1));
    t.a = (struct mc_s8_side){NULL, c->in[0].dtype == MC_DTYPE_I8, ta ? 1 : t.k, ta ? t.m : 1};
    t.b = (struct mc_s8_side){NULL, c->in[t.p->b].dtype == MC_DTYPE_I8, tb ? 1 : t.n, tb ? t.k : 1};
    const struct mc_buf *zero = arg(c, t.p->a_zero), *scale = arg(c, t.p->a_scale);
    bool one = (!zero || mc_op_count(zero) == 1) && (!scale || mc_op_count(scale) == 1);
    if (t.b_count == 1 && a->rank > 1 && one && !ta) { /* rows of all matrices of A as one matrix */
        t.m *= t.batch;
        t.batch = 1;
    }
    enum { SUMS = 1 << 20 };
    t.strip =
        c->k->device || c->out[0].dtype == MC_DTYPE_I32 ? t.m : SUMS / (t.n > 0 ? t.n : 1) + 64;
    t.strip = t.strip < t.m ? t.strip : t.m;
    t.packed_each = round_up(c->k->gemm_s8.pack_b_bytes(t.k, t.n));
    return t;
}

static void pack_matrices(const struct mc_call *c, const struct product *t, void *dst)
{
    for (int64_t i = 0; i < t->b_count; i++) {
        struct mc_s8_side b = t->b;
        b.data = (const uint8_t *)c->in[t->p->b].data + i * t->k * t->n;
        c->k->gemm_s8.pack_b(t->k, t->n, &b, (char *)dst + (size_t)i * t->packed_each, c->pool);
    }
}

static int pack_constant(struct mc_call *c, struct product *t, struct mc_err *err)
{
    const struct mc_buf *b = &c->in[t->p->b];
    if (!b->constant)
        return 0;
    const int64_t layout[] = {MC_PACK_B_S8, t->b_count, t->k, t->n, t->b.row, t->b.is_signed};
    void *block;
    bool fresh;
    int rc = mc_pack_get(c->packs, b->data, layout, 6, t->packed_each * (size_t)t->b_count, &block,
                         &fresh, err);
    if (!rc && fresh)
        pack_matrices(c, t, block);
    if (!rc)
        t->packed = block;
    return rc;
}

struct space { /* parts of the scratch */
    void *packed, *kernel;
    uint8_t *a; /* of DynamicQuantizeMatMul */
    float *narrow, *scale, *bias;
    float *a_scale; /* on a device, of DynamicQuantizeMatMul: with its zero point behind it */
    int32_t *a_zero, *b_zero, *sums;
};

static size_t layout_scratch(const struct mc_call *c, const struct product *t, struct space *s)
{
    const struct mc_buf *a_zero = arg(c, t->p->a_zero), *b_zero = arg(c, t->p->b_zero);
    size_t at = 0, count = (size_t)mc_op_count(&c->in[0]);
    *s = (struct space){0};
    if (!t->packed)
        s->packed = mc_op_scratch(c, &at, t->packed_each * (size_t)t->b_count);
    int threads = mc_pool_threads(c->pool);
    s->kernel = mc_op_scratch(c, &at, c->k->gemm_s8.scratch_bytes(t->strip, t->n, t->k, threads));
    if (is_dynamic(t->p))
        s->a = mc_op_scratch(c, &at, count);
    if (is_dynamic(t->p) && c->k->device)
        s->a_scale = mc_op_scratch(c, &at, 2 * sizeof(float));
    if (c->in[0].dtype == MC_DTYPE_F64)
        s->narrow = mc_op_scratch(c, &at, count * sizeof(float));
    s->scale = mc_op_scratch(c, &at, (size_t)t->n * sizeof(float));
    s->bias = mc_op_scratch(c, &at, (size_t)t->n * sizeof(float));
    size_t zeros = 1 + (a_zero ? (size_t)mc_op_count(a_zero) : 0);
    s->a_zero = mc_op_scratch(c, &at, zeros * sizeof(int32_t));
    zeros = 1 + (b_zero ? (size_t)mc_op_count(b_zero) : 0);
    s->b_zero = mc_op_scratch(c, &at, zeros * sizeof(int32_t));
    if (c->out[0].dtype != MC_DTYPE_I32)
        s->sums = mc_op_scratch(c, &at, (size_t)(t->strip * t->n) * sizeof(int32_t));
    return at;
}

static int product_setup(struct mc_call *c, struct mc_err *err)
{
    struct product t = product_of(c);
    struct space s;
    int rc = pack_constant(c, &t, err);
    if (rc)
        return rc;
    c->scratch_bytes = layout_scratch(c, &t, &s);
    c->state = malloc(sizeof t);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &t, sizeof t);
    return 0;
}

static void product_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

/* ---- running ---- */

struct finish { /* from sums to results, row by row */
    const struct mc_call *c;
    const struct product *t;
    const struct space *s;
    int64_t first, b_at; /* row of the result, matrix of B */
    float a_scale;       /* where it is computed here */
};

/* Parameter for row or column i of matrix `at`, of `each` per matrix. */
static int64_t param_at(const struct mc_buf *b, int64_t at, int64_t each, int64_t i)
{
    int64_t n = b ? mc_op_count(b) : 1;
    return n == 1 ? 0 : n == each ? i : at * each + i;
}

static float row_scale(const struct finish *f, int64_t row)
{
    const struct product *t = f->t;
    if (t->p->a_scale == NO)
        return f->a_scale;
    const struct mc_buf *scale = arg(f->c, t->p->a_scale);
    return mc_int8_scale(scale, param_at(scale, row / t->m, t->m, row % t->m), 1);
}

/* Scales of a row's sums in s->scale, alike for all rows whose own scale is `by`. */
static void column_scales(const struct finish *f, float by)
{
    const struct mc_buf *scale = arg(f->c, f->t->p->b_scale), *y = arg(f->c, f->t->p->y_scale);
    float alpha = is_gemm(f->t->p) ? mc_node_float(f->c->node, "alpha", 1) : 1;
    float to = mc_int8_scale(y, 0, 1);
    for (int64_t j = 0; j < f->t->n; j++) {
        int64_t at = param_at(scale, f->b_at, f->t->n, j);
        f->s->scale[j] = alpha * by * mc_int8_scale(scale, at, 1) / to;
    }
}

/* C of QGemm: one value, a row, a column, or a matrix. */
static void add_whole_bias(const struct finish *f, int64_t row, uint32_t *sums)
{
    const struct mc_buf *b = arg(f->c, f->t->p->bias);
    if (!b || !is_gemm(f->t->p))
        return;
    int64_t stride[MC_RANK_MAX];
    mc_op_broadcast_strides(&b->shape, &f->c->out[0].shape, stride);
    const int32_t *from = (const int32_t *)b->data + row * stride[0];
    for (int64_t j = 0; j < f->t->n; j++)
        sums[j] += (uint32_t)from[j * stride[1]];
}

static void device_give(const struct finish *f);

static void give_row(const struct finish *f, int64_t row, int32_t *sums)
{
    const struct mc_call *c = f->c;
    const struct mc_buf *y = &c->out[0];
    int64_t n = f->t->n;
    add_whole_bias(f, row, (uint32_t *)sums);
    if (arg(c, f->t->p->y_scale)) {
        struct mc_quant_row r = {.n = n,
                                 .zero = mc_int8_first(arg(c, f->t->p->y_zero)),
                                 .scale = f->s->scale,
                                 .step = 1};
        mc_int8_range(y->dtype, &r.lo, &r.hi);
        c->k->quant.requantize(&r, sums, (uint8_t *)y->data + row * n);
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        float v = (float)sums[j] * f->s->scale[j] + f->s->bias[j];
        if (y->dtype == MC_DTYPE_F64)
            ((double *)y->data)[row * n + j] = (double)v;
        else
            ((float *)y->data)[row * n + j] = v;
    }
}

static void float_bias(const struct mc_call *c, const struct product *t, const struct space *s)
{
    const struct mc_buf *b = is_gemm(t->p) ? NULL : arg(c, t->p->bias);
    for (int64_t j = 0; j < t->n; j++)
        s->bias[j] = b ? mc_int8_scale(b, mc_op_count(b) > 1 ? j : 0, 0) : 0;
}

/* One matrix of A with one of B: rows of the result from `row` on. */
static void one_product(const struct finish *f, const uint8_t *a, const void *packed,
                        struct mc_s8_zero a_zero, struct mc_s8_zero b_zero)
{
    const struct product *t = f->t;
    const struct mc_call *c = f->c;
    struct mc_gemm_s8 g = {.n = t->n,
                           .k = t->k,
                           .a = t->a,
                           .packed_b = packed,
                           .b_signed = t->b.is_signed,
                           .b_zero = b_zero,
                           .c_row = t->n};
    float last = 0;
    for (int64_t i = 0; i < t->m; i += t->strip) {
        g.m = t->m - i < t->strip ? t->m - i : t->strip;
        g.a.data = a + i * t->a.row;
        g.a_zero = a_zero;
        if (a_zero.value)
            g.a_zero.value += i * a_zero.step;
        g.c = f->s->sums ? f->s->sums : (int32_t *)c->out[0].data + (f->first + i) * t->n;
        c->k->gemm_s8.run(&g, f->s->kernel, c->pool);
        if (c->k->device && f->s->sums)
            device_give(f);
        for (int64_t r = 0; r < g.m && f->s->sums && !c->k->device; r++) {
            float by = row_scale(f, f->first + i + r);
            if ((i == 0 && r == 0) || by != last)
                column_scales(f, by);
            last = by;
            give_row(f, f->first + i + r, f->s->sums + r * t->n);
        }
    }
}

/* Zero points of matrix `at`, of `each` per matrix, out of those of all. */
static struct mc_s8_zero zeros_at(struct mc_s8_zero all, const struct mc_buf *b, int64_t at,
                                  int64_t each)
{
    if (b && all.value && mc_op_count(b) > each)
        all.value += at * each;
    return all;
}

static void all_products(struct finish *f, const uint8_t *from, struct mc_s8_zero a_zero,
                         struct mc_s8_zero b_zero)
{
    const struct mc_call *c = f->c;
    const struct product *t = f->t;
    const struct places *p = t->p;
    const struct mc_shape *a = &c->in[0].shape, *b = &c->in[p->b].shape, *y = &c->out[0].shape;
    int rank = y->rank - (a->rank > 1) - (b->rank > 1);
    struct mc_shape to = mc_shape_of(rank, y->dim);
    struct mc_shape lead_a = mc_shape_of(a->rank > 2 ? a->rank - 2 : 0, a->dim);
    struct mc_shape lead_b = mc_shape_of(b->rank > 2 ? b->rank - 2 : 0, b->dim);
    int64_t a_stride[MC_RANK_MAX], b_stride[MC_RANK_MAX];
    mc_op_broadcast_strides(&lead_a, &to, a_stride);
    mc_op_broadcast_strides(&lead_b, &to, b_stride);
    for (int64_t i = 0; i < t->batch; i++) {
        int64_t a_at = 0, rest = i;
        f->b_at = 0;
        for (int d = rank - 1; d >= 0 && t->batch > 1; d--) {
            a_at += rest % to.dim[d] * a_stride[d];
            f->b_at += rest % to.dim[d] * b_stride[d];
            rest /= to.dim[d];
        }
        f->first = i * t->m;
        one_product(f, from + a_at * t->m * t->k,
                    (const char *)(t->packed ? t->packed : f->s->packed) +
                        (size_t)f->b_at * t->packed_each,
                    zeros_at(a_zero, arg(c, p->a_zero), a_at, t->m),
                    zeros_at(b_zero, arg(c, p->b_zero), f->b_at, t->n));
    }
}

static int product_run(struct mc_call *c, struct mc_err *err)
{
    const struct product *t = c->state;
    const struct places *p = t->p;
    struct space s;
    layout_scratch(c, t, &s);
    struct finish f = {.c = c, .t = t, .s = &s};
    struct mc_s8_zero a_zero = mc_int8_zero(arg(c, p->a_zero), s.a_zero);
    struct mc_s8_zero b_zero = mc_int8_zero(arg(c, p->b_zero), s.b_zero);
    const uint8_t *from = c->in[0].data;
    if (is_dynamic(p)) {
        int64_t n = mc_op_count(&c->in[0]);
        int rc =
            s.narrow ? mc_dtype_to_f32(MC_DTYPE_F64, c->in[0].data, s.narrow, (size_t)n, err) : 0;
        if (rc)
            return rc;
        mc_int8_dynamic(&c->k->quant, s.narrow ? s.narrow : c->in[0].data, n, s.a, &f.a_scale,
                        s.a_zero, c->pool);
        a_zero = (struct mc_s8_zero){s.a_zero, 0};
        from = s.a;
    }
    if (!t->packed)
        pack_matrices(c, t, s.packed);
    float_bias(c, t, &s);
    all_products(&f, from, a_zero, b_zero);
    return 0;
}

#define ROW(domain, name, since)                                                                   \
    {                                                                                              \
        domain, name, since, 0, product_infer, product_setup, product_run, product_teardown,       \
            product_macs, NULL                                                                     \
    }
const struct mc_op mc_ops_integer_matmul[] = {
    ROW("", "MatMulInteger", 10),
    ROW("", "QLinearMatMul", 10),
    ROW("com.microsoft", "MatMulIntegerToFloat", 1),
    ROW("com.microsoft", "DynamicQuantizeMatMul", 1),
    ROW("com.microsoft", "QGemm", 1),
    {0},
};

/* ---- on a device, whose scales and zero points it knows itself ---- */

/* Where parameters begin for matrix `at`, of `each` per matrix, and their step. */
static const float *scales_at(const struct mc_buf *b, int64_t at, int64_t each, int64_t *step)
{
    int64_t n = mc_op_count(b);
    *step = n > 1;
    return (const float *)b->data + (n > each ? at * each : 0);
}

/* Sums of the rows from f->first on to results. */
static void device_give(const struct finish *f)
{
    const struct mc_call *c = f->c;
    const struct product *t = f->t;
    const struct places *p = t->p;
    const struct mc_buf *y_scale = arg(c, p->y_scale), *zero = arg(c, p->y_zero);
    const struct mc_buf *bias = arg(c, p->bias), *y = &c->out[0];
    struct mc_quant_sums s = {.rows = t->m,
                              .n = t->n,
                              .sums = f->s->sums,
                              .alpha = is_gemm(p) ? mc_node_float(c->node, "alpha", 1) : 1,
                              .a_scale = f->s->a_scale,
                              .y_scale = y_scale ? y_scale->data : NULL,
                              .zero = zero ? zero->data : NULL};
    size_t each = (size_t)mc_op_elem_bytes(y->dtype);
    s.y = (char *)y->data + (size_t)(f->first * t->n) * each;
    if (p->a_scale != NO)
        s.a_scale = scales_at(arg(c, p->a_scale), f->first / t->m, t->m, &s.a_step);
    s.b_scale = scales_at(arg(c, p->b_scale), f->b_at, t->n, &s.b_step);
    if (y_scale)
        mc_int8_range(y->dtype, &s.lo, &s.hi);
    if (bias && is_gemm(p)) {
        int64_t stride[MC_RANK_MAX];
        mc_op_broadcast_strides(&bias->shape, &y->shape, stride);
        s.whole = bias->data;
        s.whole_row = stride[0];
        s.whole_col = stride[1];
    } else if (bias) {
        s.bias = bias->data;
        s.bias_step = mc_op_count(bias) > 1;
    }
    c->k->quant.sums(&s, c->pool);
}

static bool device_can(const struct mc_call *c)
{
    return c->k->gemm_s8.run && c->k->quant.widen;
}

static bool device_can_scale(const struct mc_call *c)
{
    return device_can(c) && mc_op_gpu_floats(c) && c->k->quant.sums && c->k->quant.dynamic;
}

static int device_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct product *t = c->state;
    struct space s;
    layout_scratch(c, t, &s);
    struct finish f = {.c = c, .t = t, .s = &s};
    struct mc_s8_zero a_zero = mc_int8_device_zero(c, arg(c, t->p->a_zero), s.a_zero);
    struct mc_s8_zero b_zero = mc_int8_device_zero(c, arg(c, t->p->b_zero), s.b_zero);
    const uint8_t *from = c->in[0].data;
    if (is_dynamic(t->p)) {
        uint8_t *zero = (uint8_t *)(s.a_scale + 1);
        c->k->quant.dynamic(mc_op_count(&c->in[0]), c->in[0].data, s.a, s.a_scale, zero, c->pool);
        c->k->quant.widen(1, false, zero, s.a_zero, c->pool);
        a_zero = (struct mc_s8_zero){s.a_zero, 0};
        from = s.a;
    }
    if (!t->packed)
        pack_matrices(c, t, s.packed);
    all_products(&f, from, a_zero, b_zero);
    return 0;
}

#define GPU(domain, name, can)                                                                     \
    {                                                                                              \
        domain, name, can, 0, product_setup, device_run, product_teardown, false                   \
    }
const struct mc_op_gpu mc_op_gpu_integer_matmul[] = {
    GPU("", "MatMulInteger", device_can),
    GPU("", "QLinearMatMul", device_can_scale),
    GPU("com.microsoft", "MatMulIntegerToFloat", device_can_scale),
    GPU("com.microsoft", "DynamicQuantizeMatMul", device_can_scale),
    GPU("com.microsoft", "QGemm", device_can_scale),
    {0},
};
