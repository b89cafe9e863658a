/* Weights in small forms (graph/own), and the gradients of what they are made of, of ai.mcompress.grad:
 *
 *     BinaryWeightGrad(dy, P, S)     to dS [M, 1]: sum over a row of dy * sign; attributes of the call
 *     SharedWeightGrad(dy, I, D)     to dD [2^bits]: sum of dy over the weights of an index
 *     SharedPlanesGrad(dy, I, D) */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/own/own_shared.h"

enum { SMALL, SCALE }; /* inputs: bits, indices or the matrix; scales or the codebook */
enum { CHUNK = 1 << 16, PIECE = 4096, ROWS = 16, BOOK = 256 };

/* ---- inference ---- */

static int need_shape(const struct mc_infer_ctx *c, int i, int rank, const int64_t *dims,
                      struct mc_err *err)
{
    const struct mc_vtype *x = c->in[i];
    int64_t same;
    int rc = mc_op_need_rank(c, i, rank, rank, err);
    for (int k = 0; k < rank && !rc && x->ranked; k++)
        rc = mc_op_need_dim(c->node, "its inputs", x->shape.dim[k], dims[k], &same, err);
    return rc;
}

static int need_bytes(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    enum mc_dtype d = c->in[i]->dtype;
    return d == MC_DTYPE_NONE || d == MC_DTYPE_U8
               ? 0
               : mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, not uint8", i,
                            mc_dtype_name(d));
}

/* Inputs x + SMALL and x + SCALE of a node with a weight's attributes fit together. */
static int need_binary(const struct mc_infer_ctx *c, int x, struct mc_err *err)
{
    size_t n;
    const int64_t *columns = mc_node_ints(c->node, "columns", &n);
    struct mc_shape s = mc_own_shape(c->node);
    int64_t count = mc_shape_count(&s);
    if (n != 1 || columns[0] < 1 || count < 1 || count % columns[0])
        return mc_op_fail(err, MC_ESHAPE, c->node, "its attributes do not fit");
    int64_t rows = count / columns[0];
    int rc = need_bytes(c, x + SMALL, err);
    rc = rc ? rc : mc_op_need_float(c, x + SCALE, err);
    rc = rc ? rc
            : need_shape(c, x + SMALL, 2,
                         (const int64_t[]){rows, columns[0] / 8 + (columns[0] % 8 != 0)}, err);
    return rc ? rc : need_shape(c, x + SCALE, 2, (const int64_t[]){rows, 1}, err);
}

static bool is_planes(const struct mc_node *n)
{
    return !strncmp(n->op_type, "SharedPlanes", sizeof "SharedPlanes" - 1);
}

static int need_shared(const struct mc_infer_ctx *c, int x, struct mc_err *err)
{
    struct mc_shape s = mc_own_shape(c->node);
    int64_t count = mc_shape_count(&s);
    int bits = mc_own_index_bits(c->node);
    bool planes = is_planes(c->node);
    if (count < 1 || !bits || (planes ? bits == 8 : 8 % bits))
        return mc_op_fail(err, MC_ESHAPE, c->node, "its attributes do not fit");
    int64_t bytes = mc_own_index_bytes(bits, planes, count);
    int rc = need_bytes(c, x + SMALL, err);
    rc = rc ? rc : mc_op_need_float(c, x + SCALE, err);
    if (!rc && planes)
        rc = need_shape(c, x + SMALL, 2, (const int64_t[]){bits, bytes / bits}, err);
    else if (!rc)
        rc = need_shape(c, x + SMALL, 1, &bytes, err);
    return rc ? rc : need_shape(c, x + SCALE, 1, &(int64_t){1 << bits}, err);
}

static int weight_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 4, err);
    rc = rc ? rc : mc_own_check(c->node, err);
    if (rc)
        return rc;
    rc =
        !strcmp(c->node->op_type, "BinaryWeight") ? need_binary(c, 0, err) : need_shared(c, 0, err);
    struct mc_shape shape = mc_own_shape(c->node);
    if (!rc)
        mc_op_give(c, 0, c->in[SCALE]->dtype, &shape);
    return rc;
}

static int gate_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_own_check(c->node, err);
    rc = rc ? rc : mc_op_need_float(c, SMALL, err);
    rc = rc ? rc : mc_op_need_same(c, SMALL, SCALE, err);
    rc = rc ? rc : mc_op_need_rank(c, SMALL, 3, 3, err);
    rc = rc ? rc : mc_op_need_rank(c, SCALE, 4, 4, err);
    if (rc)
        return rc;
    struct mc_shape shape = mc_own_shape(c->node);
    const struct mc_vtype *w = c->in[SMALL], *a = c->in[SCALE];
    int64_t same, n = w->ranked ? w->shape.dim[1] : MC_DIM_ANY;
    if (n == 0)
        return mc_op_fail(err, MC_ESHAPE, c->node, "its matrix is empty");
    if (w->ranked)
        rc = need_shape(c, SMALL, 3, (const int64_t[]){shape.dim[0], n, shape.dim[2]}, err);
    if (!rc && a->ranked)
        rc = mc_op_need_dim(c->node, "its inputs", a->shape.dim[0], shape.dim[0], &same, err);
    for (int k = 2; k < 4 && !rc && a->ranked; k++)
        if (a->shape.dim[k] != 1)
            rc = mc_op_need_dim(c->node, "its inputs", a->shape.dim[k], k == 2 ? n : shape.dim[2],
                                &same, err);
    if (!rc && a->ranked && n > 0 && a->shape.dim[1] >= 0 &&
        (shape.dim[1] % n || shape.dim[1] / n != a->shape.dim[1]))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%lld gates of %lld rows are not %lld",
                        (long long)a->shape.dim[1], (long long)n, (long long)shape.dim[1]);
    if (!rc)
        mc_op_give(c, 0, w->dtype, &shape);
    return rc;
}

/* ---- weights ---- */

struct job {
    const struct mc_call *c;
    const uint8_t *small;
    int64_t count, columns, bytes; /* of a row */
    int bits;
    bool planes, wide; /* elements are doubles */
    double *sums;
};

static struct job job_of(const struct mc_call *c, int x)
{
    struct job j = {.c = c, .small = c->in[x + SMALL].data};
    size_t n;
    const int64_t *columns = mc_node_ints(c->node, "columns", &n);
    struct mc_shape shape = mc_own_shape(c->node);
    j.count = mc_shape_count(&shape);
    j.columns = n == 1 ? columns[0] : 1;
    j.bytes = (j.columns + 7) / 8;
    j.bits = mc_own_index_bits(c->node);
    j.planes = is_planes(c->node);
    j.wide = c->in[x + SCALE].dtype == MC_DTYPE_F64;
    return j;
}

static int64_t chunks(int64_t n, int64_t of)
{
    return (n + of - 1) / of;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Four weights at once: what a half byte stands for. */
static void binary_row(const struct job *j, int64_t r, float *w)
{
    const uint8_t *bits = j->small + r * j->bytes;
    float s = ((const float *)j->c->in[SCALE].data)[r], four[16][4];
    int64_t k = 0;
    for (int i = 0; i < 16 * 4; i++)
        four[i / 4][i % 4] = i / 4 >> i % 4 & 1 ? s : -s;
    for (; k + 8 <= j->columns; k += 8) {
        memcpy(w + k, four[bits[k / 8] & 15], sizeof *four);
        memcpy(w + k + 4, four[bits[k / 8] >> 4], sizeof *four);
    }
    for (; k < j->columns; k++)
        w[k] = bits[k / 8] >> k % 8 & 1 ? s : -s;
}

static void binary_rows(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t rows = j->count / j->columns;
    for (int64_t r = chunk * ROWS; r < least(rows, (chunk + 1) * ROWS); r++) {
        if (!j->wide) {
            binary_row(j, r, (float *)j->c->out[0].data + r * j->columns);
            continue;
        }
        double s = ((const double *)j->c->in[SCALE].data)[r],
               *w = (double *)j->c->out[0].data + r * j->columns;
        for (int64_t k = 0; k < j->columns; k++)
            w[k] = j->small[r * j->bytes + k / 8] >> k % 8 & 1 ? s : -s;
    }
}

static int binary_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct job j = job_of(c, 0);
    mc_pool_run(c->pool, chunks(j.count / j.columns, ROWS), binary_rows, &j);
    return 0;
}

/* Indices [at, at + n) of the packed ones, n at most CHUNK; `at` is a multiple of 8. */
static void indices(const struct job *j, int64_t at, int64_t n, uint8_t *index)
{
    if (j->planes) {
        int64_t bytes = (j->count + 7) / 8;
        memset(index, 0, (size_t)n);
        for (int p = 0; p < j->bits; p++) {
            const uint8_t *row = j->small + p * bytes + at / 8;
            for (int64_t i = 0; i < n; i++)
                index[i] |= (uint8_t)((row[i / 8] >> i % 8 & 1) << p);
        }
        return;
    }
    int per = 8 / j->bits, mask = (1 << j->bits) - 1;
    const uint8_t *from = j->small + at / per;
    for (int64_t i = 0; i < n; i++)
        index[i] = (uint8_t)(from[i / per] >> i % per * j->bits & mask);
}

/* All weights that a byte stands for at once; elements of `wide` bytes. */
static void tuples_chunk(const struct job *j, int64_t at, int64_t n, size_t wide)
{
    enum { LONGEST = 8 };
    double space[256 * LONGEST];
    char *tuples = (char *)space, *w = (char *)j->c->out[0].data + (size_t)at * wide;
    const char *book = j->c->in[SCALE].data;
    int per = 8 / j->bits, mask = (1 << j->bits) - 1;
    const uint8_t *from = j->small + at / per;
    size_t tuple = (size_t)per * wide;
    for (int i = 0; i < 256 * per; i++)
        memcpy(tuples + (size_t)i * wide,
               book + (size_t)(i / per >> i % per * j->bits & mask) * wide, wide);
    int64_t whole = n / per;
    for (int64_t i = 0; i < whole; i++)
        memcpy(w + (size_t)i * tuple, tuples + from[i] * tuple, tuple);
    if (n % per)
        memcpy(w + (size_t)whole * tuple, tuples + from[whole] * tuple, (size_t)(n % per) * wide);
}

static void planes_piece(const struct job *j, int64_t at, int64_t n, const uint8_t *index)
{
    if (j->wide)
        for (int64_t i = 0; i < n; i++)
            ((double *)j->c->out[0].data)[at + i] =
                ((const double *)j->c->in[SCALE].data)[index[i]];
    else
        for (int64_t i = 0; i < n; i++)
            ((float *)j->c->out[0].data)[at + i] = ((const float *)j->c->in[SCALE].data)[index[i]];
}

static void shared_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    uint8_t index[PIECE];
    int64_t end = least(j->count, (chunk + 1) * CHUNK), at = chunk * CHUNK;
    if (!j->planes) {
        tuples_chunk(j, at, end - at, j->wide ? sizeof(double) : sizeof(float));
        return;
    }
    for (; at < end; at += PIECE) {
        indices(j, at, least(PIECE, end - at), index);
        planes_piece(j, at, least(PIECE, end - at), index);
    }
}

static int shared_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct job j = job_of(c, 0);
    mc_pool_run(c->pool, chunks(j.count, CHUNK), shared_chunk, &j);
    return 0;
}

static void gate_row(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct mc_call *c = ctx;
    const int64_t *w = c->in[SMALL].shape.dim, *a = c->in[SCALE].shape.dim;
    int64_t row = i % w[1], gate = i / w[1], from = gate / a[1] * w[1] + row;
    int64_t scale = (gate * a[2] + (a[2] > 1 ? row : 0)) * a[3];
    int step = a[3] > 1;
    if (c->out[0].dtype == MC_DTYPE_F64) {
        const double *x = (const double *)c->in[SMALL].data + from * w[2];
        const double *s = (const double *)c->in[SCALE].data + scale;
        for (int64_t k = 0; k < w[2]; k++)
            ((double *)c->out[0].data)[i * w[2] + k] = x[k] * s[k * step];
        return;
    }
    const float *x = (const float *)c->in[SMALL].data + from * w[2];
    const float *s = (const float *)c->in[SCALE].data + scale;
    for (int64_t k = 0; k < w[2]; k++)
        ((float *)c->out[0].data)[i * w[2] + k] = x[k] * s[k * step];
}

static int gate_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *y = &c->out[0].shape;
    mc_pool_run(c->pool, y->dim[0] * y->dim[1], gate_row, c);
    return 0;
}

/* ---- gradients ---- */

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1 + SCALE, err);
    if (rc)
        return rc;
    struct mc_shape shape = mc_own_shape(c->node);
    rc = !strcmp(c->node->op_type, "BinaryWeightGrad") ? need_binary(c, 1, err)
                                                       : need_shared(c, 1, err);
    rc = rc ? rc : need_shape(c, 0, shape.rank, shape.dim, err);
    const struct mc_vtype *s = c->in[1 + SCALE];
    if (!rc)
        mc_op_give(c, 0, s->dtype, s->ranked ? &s->shape : NULL);
    return rc;
}

static void binary_sums(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t rows = j->count / j->columns;
    for (int64_t r = chunk * ROWS; r < least(rows, (chunk + 1) * ROWS); r++) {
        double sum = 0;
        for (int64_t k = 0; k < j->columns; k++) {
            double d = mc_buf_param(&j->c->in[0], r * j->columns + k);
            sum += j->small[r * j->bytes + k / 8] >> k % 8 & 1 ? d : -d;
        }
        mc_buf_put(&j->c->out[0], r, sum);
    }
}

static int binary_grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct job j = job_of(c, 1);
    mc_pool_run(c->pool, chunks(j.count / j.columns, ROWS), binary_sums, &j);
    return 0;
}

static void shared_sums(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    uint8_t index[PIECE];
    double *sums = j->sums + chunk * BOOK;
    int64_t end = least(j->count, (chunk + 1) * CHUNK);
    memset(sums, 0, BOOK * sizeof *sums);
    for (int64_t at = chunk * CHUNK; at < end; at += PIECE) {
        int64_t n = least(PIECE, end - at);
        indices(j, at, n, index);
        for (int64_t i = 0; i < n; i++)
            sums[index[i]] += mc_buf_param(&j->c->in[0], at + i);
    }
}

static int shared_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct job j = job_of(c, 1);
    c->scratch_bytes = (size_t)chunks(j.count, CHUNK) * BOOK * sizeof *j.sums;
    return 0;
}

static int shared_grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct job j = job_of(c, 1);
    int64_t n = chunks(j.count, CHUNK);
    j.sums = c->scratch;
    mc_pool_run(c->pool, n, shared_sums, &j);
    for (int64_t i = 0; i < 1 << j.bits; i++) {
        double sum = 0;
        for (int64_t k = 0; k < n; k++)
            sum += j.sums[k * BOOK + i];
        mc_buf_put(&c->out[0], i, sum);
    }
    return 0;
}

const struct mc_op mc_ops_own_weight[] = {
    {MC_OWN_DOMAIN, "BinaryWeight", 1, MC_OP_WEIGHT, weight_infer, NULL, binary_run, NULL, NULL,
     NULL},
    {MC_OWN_DOMAIN, "SharedWeight", 1, MC_OP_WEIGHT, weight_infer, NULL, shared_run, NULL, NULL,
     NULL},
    {MC_OWN_DOMAIN, "SharedPlanes", 1, MC_OP_WEIGHT, weight_infer, NULL, shared_run, NULL, NULL,
     NULL},
    {MC_OWN_DOMAIN, "GateWeight", 1, MC_OP_WEIGHT, gate_infer, NULL, gate_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "BinaryWeightGrad", 1, 0, grad_infer, NULL, binary_grad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "SharedWeightGrad", 1, 0, grad_infer, shared_setup, shared_grad_run, NULL,
     NULL, NULL},
    {MC_GRAD_DOMAIN, "SharedPlanesGrad", 1, 0, grad_infer, shared_setup, shared_grad_run, NULL,
     NULL, NULL},
    {0},
};

/* ---- on a device ---- */

static bool device_can(const struct mc_call *c)
{
    return c->k->small.shared_gradient && mc_op_gpu_floats(c);
}

static struct mc_small_binary binary_of(const struct mc_call *c, int x)
{
    struct job j = job_of(c, x);
    return (struct mc_small_binary){
        .rows = j.count / j.columns, .columns = j.columns, .bits = j.small};
}

static int device_binary(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_small_binary b = binary_of(c, 0);
    b.scale = c->in[SCALE].data;
    b.w = c->out[0].data;
    c->k->small.binary(&b, c->pool);
    return 0;
}

static int device_binary_grad(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_small_binary b = binary_of(c, 1);
    b.w = c->in[0].data;
    b.sums = c->out[0].data;
    c->k->small.binary_gradient(&b, c->pool);
    return 0;
}

static struct mc_small_shared shared_of(const struct mc_call *c, int x)
{
    struct job j = job_of(c, x);
    return (struct mc_small_shared){
        .count = j.count, .bits = j.bits, .planes = j.planes, .index = j.small};
}

static int device_shared(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_small_shared s = shared_of(c, 0);
    s.book = c->in[SCALE].data;
    s.w = c->out[0].data;
    c->k->small.shared(&s, c->pool);
    return 0;
}

static int device_shared_grad(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_small_shared s = shared_of(c, 1);
    s.w = c->in[0].data;
    s.sums = c->out[0].data;
    c->k->small.shared_gradient(&s, c->pool);
    return 0;
}

static int device_gate(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const int64_t *w = c->in[SMALL].shape.dim, *a = c->in[SCALE].shape.dim;
    struct mc_small_gate g = {.groups = w[0],
                              .gates = a[1],
                              .rows = w[1],
                              .columns = w[2],
                              .x = c->in[SMALL].data,
                              .scale = c->in[SCALE].data,
                              .scale_rows = a[2],
                              .scale_cols = a[3],
                              .y = c->out[0].data};
    c->k->small.gate(&g, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_own_weight[] = {
    {MC_OWN_DOMAIN, "BinaryWeight", device_can, 0, NULL, device_binary, NULL, false},
    {MC_OWN_DOMAIN, "SharedWeight", device_can, 0, NULL, device_shared, NULL, false},
    {MC_OWN_DOMAIN, "SharedPlanes", device_can, 0, NULL, device_shared, NULL, false},
    {MC_OWN_DOMAIN, "GateWeight", device_can, 0, NULL, device_gate, NULL, false},
    {MC_GRAD_DOMAIN, "BinaryWeightGrad", device_can, 0, NULL, device_binary_grad, NULL, false},
    {MC_GRAD_DOMAIN, "SharedWeightGrad", device_can, 0, NULL, device_shared_grad, NULL, false},
    {MC_GRAD_DOMAIN, "SharedPlanesGrad", device_can, 0, NULL, device_shared_grad, NULL, false},
    {0},
};
