/* Dense weights of circulant convolutions while they are trained, of ai.mcompress.grad, and sizes:
 *
 *     CirculantExpand(C)                         to W [p b, q b, taps…]
 *     CirculantFold(dW, shape of C)              to dC: sums along wrapped diagonals */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/circulant_node.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "kernels/kernels.h"

int64_t mc_circulant_features(const struct mc_shape *c, bool rows)
{
    struct mc_shape s = mc_shape_of(2, (const int64_t[]){c->dim[!rows], c->dim[2]});
    return mc_shape_count(&s);
}

bool mc_circulant_of(const struct mc_shape *s, struct mc_circulant *ret)
{
    *ret = (struct mc_circulant){.p = s->dim[0], .q = s->dim[1], .b = s->dim[2]};
    return ret->p > 0 && ret->q > 0 && ret->b > 0;
}

/* W has a dimension less than C. */
static int expand_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    struct mc_shape w;
    if (!rc && c->in[0]->ranked)
        mc_circulant_dense_shape(&c->in[0]->shape, &w);
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, c->in[0]->ranked ? &w : NULL);
    return rc;
}

void mc_circulant_dense_shape(const struct mc_shape *c, struct mc_shape *ret)
{
    ret->rank = c->rank - 1;
    ret->dim[0] = mc_circulant_features(c, true);
    ret->dim[1] = mc_circulant_features(c, false);
    for (int d = 3; d < c->rank; d++)
        ret->dim[d - 1] = c->dim[d];
}

struct dense_job {
    struct mc_circulant c;
    int64_t taps;
    const char *col;
    char *w;
    int elem_bytes;
};

/* Row r of W. */
static void expand_row(void *ctx, int64_t r, int worker)
{
    (void)worker;
    const struct dense_job *j = ctx;
    int64_t b = j->c.b, bytes = j->taps * j->elem_bytes, columns = j->c.q * b;
    for (int64_t k = 0; k < columns; k++) {
        int64_t at = (r / b * j->c.q + k / b) * b + (r % b - k % b + b) % b;
        memcpy(j->w + (r * columns + k) * bytes, j->col + at * bytes, (size_t)bytes);
    }
}

void mc_circulant_dense_weight(const struct mc_shape *c, const void *col, int elem_bytes, void *w,
                               struct mc_pool *pool)
{
    struct dense_job j = {
        .taps = mc_shape_span(c, 3, c->rank), .col = col, .w = w, .elem_bytes = elem_bytes};
    if (mc_circulant_of(c, &j.c) && j.taps > 0)
        mc_pool_run(pool, j.c.p * j.c.b, expand_row, &j);
}

static int expand_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    mc_circulant_dense_weight(&c->in[0].shape, c->in[0].data, c->k->elem_bytes, c->out[0].data,
                              c->pool);
    return 0;
}

static int fold_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_shape shape;
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_given_shape(c, 1, &shape, err);
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, shape.rank >= 0 ? &shape : NULL);
    return rc;
}

static int fold_setup(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *s = &c->out[0].shape;
    char text[2][MC_SHAPE_TEXT];
    struct mc_shape w;
    if (s->rank >= 3)
        mc_circulant_dense_shape(s, &w);
    if (s->rank >= 3 && mc_shape_equal(&w, &c->in[0].shape))
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "%s is no gradient of the weight of columns %s",
                      mc_shape_text(&c->in[0].shape, text[0]), mc_shape_text(s, text[1]));
}

/* Columns of block i. */
static void fold_block(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct mc_call *c = ctx;
    const struct mc_shape *s = &c->out[0].shape;
    int64_t q = s->dim[1], b = s->dim[2], taps = mc_shape_span(s, 3, s->rank);
    for (int64_t k = 0; k < b * taps; k++) {
        int64_t turn = k / taps, tap = k % taps;
        double sum = 0;
        for (int64_t col = 0; col < b; col++) {
            int64_t row = (turn + col) % b;
            int64_t at = ((i / q * b + row) * q + i % q) * b + col;
            sum += mc_buf_param(&c->in[0], at * taps + tap);
        }
        mc_buf_put(&c->out[0], i * b * taps + k, sum);
    }
}

static int fold_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *s = &c->out[0].shape;
    mc_pool_run(c->pool, s->dim[0] * s->dim[1], fold_block, c);
    return 0;
}

const struct mc_op mc_ops_circulant_dense[] = {
    {MC_GRAD_DOMAIN, "CirculantExpand", 1, 0, expand_infer, NULL, expand_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "CirculantFold", 1, 0, fold_infer, fold_setup, fold_run, NULL, NULL, NULL},
    {0},
};

/* ---- on a device ---- */

static bool device_can(const struct mc_call *c)
{
    return c->k->circulant.expand && c->k->circulant.fold && mc_op_gpu_floats(c);
}

static int device_expand(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *s = &c->in[0].shape;
    struct mc_circulant k;
    int64_t taps = mc_shape_span(s, 3, s->rank);
    if (mc_circulant_of(s, &k) && taps > 0)
        c->k->circulant.expand(&k, taps, c->in[0].data, c->out[0].data, c->pool);
    return 0;
}

static int device_fold(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *s = &c->out[0].shape;
    struct mc_circulant k;
    int64_t taps = mc_shape_span(s, 3, s->rank);
    if (mc_circulant_of(s, &k) && taps > 0)
        c->k->circulant.fold(&k, taps, c->in[0].data, c->out[0].data, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_circulant_dense[] = {
    {MC_GRAD_DOMAIN, "CirculantExpand", device_can, 0, NULL, device_expand, NULL, false},
    {MC_GRAD_DOMAIN, "CirculantFold", device_can, 1 << 1, fold_setup, device_fold, NULL, false},
    {0},
};
