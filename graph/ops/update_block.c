/* What a step graph does with its blocks (graph/grad/update.h), of ai.mcompress.grad:
 *     w1, w2, … = Unpack(block)            offsets, ranks and dims (all in a row) as attributes
 *     block = Pack(g1, g2, …)              offsets, size; gaps are zero
 *     norm = BlockNorm(block)
 *     params', moment' = Sgd(params, moment or none, gradients, lr, step, norm, apply or none)
 *     params', m', v' = Adam(params, m, v, gradients, lr, step, norm, apply or none)
 *     average' = Ema(average, params', step, norm, apply or none)
 *     sum' = Accumulate(sum, gradients, scale)
 *     sum' = Clear(sum, apply)             zeros where apply is not 0
 *     block' = Keep(old, new, norm)        old where the norm is not finite
 * Sgd, Adam and Ema give back what they got where the norm is not finite, or apply is 0. Hyperparameters are
 * scalar double tensors: 1 - beta2 of a float would be off in the fifth digit. */
#include "graph/ops/update_block.h"

#include <math.h>
#include <string.h>

#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"

double mc_update_number(const struct mc_node *n, const char *name)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    double v = 0;
    if (a && a->type == MC_ATTR_TENSOR && a->tensors[0]->dtype == MC_DTYPE_F64 &&
        a->tensors[0]->bytes == sizeof v)
        memcpy(&v, a->tensors[0]->data, sizeof v);
    return v;
}

static size_t elem_of(const struct mc_buf *b)
{
    return (size_t)mc_op_elem_bytes(b->dtype);
}

/* ---- parts ---- */

static int block_infer(const struct mc_infer_ctx *c, int i, int64_t *ret_n, struct mc_err *err)
{
    int rc = mc_op_need_float(c, i, err);
    rc = rc ? rc : mc_op_need_rank(c, i, 1, 1, err);
    *ret_n = !rc && c->in[i]->ranked ? c->in[i]->shape.dim[0] : -1;
    return rc;
}

/* Part k of `count` elements is inside the block and before part k + 1. */
static int check_part(const struct mc_node *node, const int64_t *offset, size_t n, size_t k,
                      int64_t count, int64_t size, struct mc_err *err)
{
    int64_t end = k + 1 < n ? offset[k + 1] : size;
    if (offset[k] < 0 || count < 0 || (end >= 0 && (offset[k] > end || count > end - offset[k])))
        return mc_op_fail(err, MC_ESHAPE, node,
                          "part %zu of %lld elements at %lld ends behind %lld", k, (long long)count,
                          (long long)offset[k], (long long)end);
    return 0;
}

static int unpack_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    size_t n, n_ranks, n_dims, at = 0;
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    const int64_t *rank = mc_node_ints(c->node, "ranks", &n_ranks);
    const int64_t *dim = mc_node_ints(c->node, "dims", &n_dims);
    int64_t size;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : block_infer(c, 0, &size, err);
    if (!rc && (n != (size_t)c->n_out || n_ranks != n))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%zu offsets and %zu ranks for %d outputs", n,
                        n_ranks, c->n_out);
    for (size_t k = 0; k < n && !rc; k++) {
        if (rank[k] < 0 || rank[k] > MC_RANK_MAX || (size_t)rank[k] > n_dims - at)
            return mc_op_fail(err, MC_ESHAPE, c->node, "output %zu has rank %lld", k,
                              (long long)rank[k]);
        struct mc_shape s = mc_shape_of((int)rank[k], dim + at);
        at += (size_t)rank[k];
        rc = check_part(c->node, offset, n, k, mc_shape_count(&s), size, err);
        if (!rc)
            mc_op_give(c, (int)k, c->in[0]->dtype, &s);
    }
    return rc;
}

static int unpack_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n;
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    for (int i = 0; i < c->n_out; i++) {
        struct mc_buf *y = mc_op_res(c, i);
        const char *part = (char *)c->in[0].data + (size_t)offset[i] * elem_of(&c->in[0]);
        if (y && y->data != part && mc_op_count(y) > 0)
            memcpy(y->data, part, (size_t)mc_op_count(y) * elem_of(y));
    }
    return 0;
}

static int pack_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    size_t n;
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    int64_t size = mc_node_int(c->node, "size", -1);
    int rc = mc_op_arity(c, 1, -1, err);
    if (!rc && (n != (size_t)c->n_in || size < 0))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "%zu offsets for %d inputs, size %lld", n, c->n_in,
                        (long long)size);
    for (int i = 0; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", i);
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        int64_t count = c->in[i]->ranked ? mc_shape_count(&c->in[i]->shape) : -1;
        if (!rc && count >= 0)
            rc = check_part(c->node, offset, n, (size_t)i, count, size, err);
    }
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, &(struct mc_shape){1, {size}});
    return rc;
}

static int pack_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n, elem = elem_of(&c->out[0]);
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    char *block = c->out[0].data;
    int64_t end = 0;
    for (int i = 0; i <= c->n_in; i++) {
        int64_t from = i < c->n_in ? offset[i] : mc_op_count(&c->out[0]);
        if (from > end)
            memset(block + (size_t)end * elem, 0, (size_t)(from - end) * elem);
        if (i == c->n_in)
            break;
        char *part = block + (size_t)from * elem;
        end = from + mc_op_count(&c->in[i]);
        if (c->in[i].data != part && end > from)
            memcpy(part, c->in[i].data, (size_t)(end - from) * elem);
    }
    return 0;
}

/* ---- norm ---- */

static int norm_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int64_t size;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : block_infer(c, 0, &size, err);
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, &(struct mc_shape){0});
    return rc;
}

static int norm_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int64_t chunks = mc_op_count(&c->in[0]) / MC_SQUARES_CHUNK + 1;
    c->scratch_bytes = (size_t)chunks * sizeof(double);
    return 0;
}

static int norm_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_squares s = {mc_op_count(&c->in[0]), c->in[0].data, c->scratch};
    mc_buf_put(&c->out[0], 0, sqrt(c->k->optim.squares(&s, c->pool)));
    return 0;
}

/* ---- steps ---- */

/* Of a step: n blocks and their gradients, or for an average the new parameters, then scalars. */
enum { LR, STEP, NORM, APPLY, SCALARS };

/* Blocks of one length and type in inputs [0, blocks) where they are there; that of each of the first `results`
 * is that of output i. */
static int blocks_infer(struct mc_infer_ctx *c, int blocks, int results, struct mc_err *err)
{
    int rc = 0;
    int64_t first = -1, size;
    for (int i = 0; i < blocks && !rc; i++) {
        if (!mc_op_in(c, i))
            continue;
        rc = block_infer(c, i, &size, err);
        rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        rc = rc ? rc : mc_op_need_dim(c->node, "lengths of the blocks", first, size, &first, err);
    }
    for (int i = blocks; i < c->n_in && !rc; i++)
        rc = mc_op_need_single(c, i, err);
    for (int i = 0; i < c->n_out && i < results && !rc; i++) {
        if (mc_op_out(c, i) && !mc_op_in(c, i))
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "output %d replaces an input left out", i);
        else
            mc_op_give(c, i, c->in[0]->dtype, &(struct mc_shape){1, {first}});
    }
    return rc;
}

static int step_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int blocks = strcmp(c->node->op_type, "Sgd") ? 3 : 2;
    int rc = mc_op_arity(c, 1, blocks + 1 + SCALARS, err);
    for (int i = blocks; i < blocks + 1 + APPLY && !rc; i++)
        if (!mc_op_in(c, i))
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "input %d is missing", i);
    for (int i = 1; i < blocks && !rc; i++)
        if (!mc_op_in(c, i) != !mc_op_out(c, i) || (!mc_op_in(c, i) && blocks > 2))
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "moment %d goes in or out alone", i);
    rc = rc ? rc : blocks_infer(c, blocks + 1, blocks, err);
    rc = rc ? rc : mc_op_need_index(c, blocks + 1 + STEP, err);
    return rc ? rc : mc_op_need_index(c, blocks + 1 + APPLY, err);
}

static int64_t whole(const struct mc_buf *b, int64_t missing)
{
    int64_t v;
    return mc_op_ints(b, &v, 1) == 1 ? v : missing;
}

/* Whether the update takes place; if not, blocks [0, n) stay as they are. */
static bool applies(struct mc_call *c, const struct mc_buf *norm, const struct mc_buf *apply, int n)
{
    if (isfinite(mc_buf_param(norm, 0)) && whole(apply, 1) != 0)
        return true;
    for (int i = 0; i < n; i++)
        if (mc_op_res(c, i))
            mc_op_copy(c, &c->in[i], &c->out[i]);
    return false;
}

/* Factor that limits the norm of all gradients together.
 * Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013, with the
 * 1e-6 of torch.nn.utils.clip_grad_norm_. */
static double clip_factor(const struct mc_node *n, double norm)
{
    double clip = mc_update_number(n, "clip"), factor = clip / (norm + 1e-6);
    return clip > 0 && factor < 1 ? factor : 1;
}

static void *data_of(const struct mc_buf *b)
{
    return b ? b->data : NULL;
}

static int sgd_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_node *n = c->node;
    const struct mc_buf *scalar = c->in + 3;
    if (!applies(c, scalar + NORM, mc_op_arg(c, 3 + APPLY), 2))
        return 0;
    const struct mc_sgd s = {.n = mc_op_count(&c->in[0]),
                             .decays = mc_node_int(n, "decays", 0),
                             .lr = mc_buf_param(scalar + LR, 0),
                             .scale = clip_factor(n, mc_buf_param(scalar + NORM, 0)),
                             .momentum = mc_update_number(n, "momentum"),
                             .decay = mc_update_number(n, "decay"),
                             .nesterov = mc_node_int(n, "nesterov", 0) != 0,
                             .grad = c->in[2].data,
                             .w = c->in[0].data,
                             .m = data_of(mc_op_arg(c, 1)),
                             .w_new = c->out[0].data,
                             .m_new = data_of(mc_op_res(c, 1))};
    c->k->optim.sgd(&s, c->pool);
    return 0;
}

static int adam_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_node *n = c->node;
    const struct mc_buf *scalar = c->in + 4;
    if (!applies(c, scalar + NORM, mc_op_arg(c, 4 + APPLY), 3))
        return 0;
    int64_t step = whole(scalar + STEP, 1);
    if (step < 1)
        return mc_op_fail(err, MC_EDATA, n, "step %lld: the first is 1", (long long)step);
    const struct mc_adam a = {.n = mc_op_count(&c->in[0]),
                              .decays = mc_node_int(n, "decays", 0),
                              .step = step,
                              .lr = mc_buf_param(scalar + LR, 0),
                              .scale = clip_factor(n, mc_buf_param(scalar + NORM, 0)),
                              .beta1 = mc_update_number(n, "beta1"),
                              .beta2 = mc_update_number(n, "beta2"),
                              .epsilon = mc_update_number(n, "epsilon"),
                              .decay = mc_update_number(n, "decay"),
                              .decoupled = mc_node_int(n, "decoupled", 0) != 0,
                              .grad = c->in[3].data,
                              .w = c->in[0].data,
                              .m = c->in[1].data,
                              .v = c->in[2].data,
                              .w_new = c->out[0].data,
                              .m_new = c->out[1].data,
                              .v_new = c->out[2].data};
    c->k->optim.adam(&a, c->pool);
    return 0;
}

/* ---- average, sum, choice ---- */

static int ema_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 4, 5, err);
    rc = rc ? rc : blocks_infer(c, 2, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    return rc ? rc : mc_op_need_index(c, 4, err);
}

/* average' = d average + (1 - d) params' with d = min(decay, (1 + step) / (10 + step)): the start counts less.
 * Source: tf.train.ExponentialMovingAverage. */
static int ema_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    if (!applies(c, &c->in[3], mc_op_arg(c, 4), 1))
        return 0;
    double step = (double)whole(&c->in[2], 1);
    double d = fmin(mc_update_number(c->node, "decay"), (1 + step) / (10 + step));
    const struct mc_blend b = {.n = mc_op_count(&c->in[0]),
                               .a = d,
                               .b = 1 - d,
                               .x = c->in[0].data,
                               .y = c->in[1].data,
                               .z = c->out[0].data};
    c->k->optim.blend(&b, c->pool);
    return 0;
}

static int accumulate_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    return rc ? rc : blocks_infer(c, 2, 1, err);
}

static int accumulate_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_blend b = {.n = mc_op_count(&c->in[0]),
                               .a = 1,
                               .b = mc_buf_param(&c->in[2], 0),
                               .x = c->in[0].data,
                               .y = c->in[1].data,
                               .z = c->out[0].data};
    c->k->optim.blend(&b, c->pool);
    return 0;
}

static int clear_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : blocks_infer(c, 1, 1, err);
    return rc ? rc : mc_op_need_index(c, 1, err);
}

static int clear_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t bytes = (size_t)mc_op_count(&c->out[0]) * elem_of(&c->out[0]);
    if (!whole(&c->in[1], 1))
        mc_op_copy(c, &c->in[0], &c->out[0]);
    else if (bytes)
        memset(c->out[0].data, 0, bytes);
    return 0;
}

static int keep_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    return rc ? rc : blocks_infer(c, 2, 1, err);
}

static int keep_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    mc_op_copy(c, &c->in[isfinite(mc_buf_param(&c->in[2], 0)) != 0], &c->out[0]);
    return 0;
}

#define ROW(name, flags, infer, setup, run)                                                        \
    {                                                                                              \
        "ai.mcompress.grad", name, 1, flags, infer, setup, run, NULL, NULL, NULL                   \
    }
const struct mc_op mc_ops_update_block[] = {
    ROW("Unpack", MC_OP_PARTS, unpack_infer, NULL, unpack_run),
    ROW("Pack", MC_OP_PACKS, pack_infer, NULL, pack_run),
    ROW("BlockNorm", 0, norm_infer, norm_setup, norm_run),
    ROW("Sgd", MC_OP_INPLACE_PAIRS, step_infer, NULL, sgd_run),
    ROW("Adam", MC_OP_INPLACE_PAIRS, step_infer, NULL, adam_run),
    ROW("Ema", MC_OP_INPLACE_PAIRS, ema_infer, NULL, ema_run),
    ROW("Accumulate", MC_OP_INPLACE_PAIRS, accumulate_infer, NULL, accumulate_run),
    ROW("Clear", MC_OP_INPLACE_PAIRS, clear_infer, NULL, clear_run),
    ROW("Keep", MC_OP_INPLACE_PAIRS, keep_infer, NULL, keep_run),
    {0},
};
