/* BatchNormalization: with given statistics one multiplication and addition per channel; in training mode the
 * batch's own statistics, which also move the given ones.
 *
 * That of ai.mcompress.grad is always in training mode and has the batch's mean and variance as outputs 3 and 4,
 * as ONNX had before version 14. */
#include <math.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

enum { X, SCALE, BIAS, MEAN, VAR, INPUTS };

static bool is_own(const struct mc_node *n)
{
    return n->domain[0] != 0;
}

/* Before version 9, spatial 0 makes a channel of every position. */
static bool per_position(const struct mc_node *n)
{
    return n->version < 9 && !mc_node_int(n, "spatial", 1);
}

/* Since version 14 an attribute says so; before, the outputs that are there. */
static bool may_train(const struct mc_node *n)
{
    return n->version < 14 || mc_node_int(n, "training_mode", 0);
}

/* Shape of the parameters for an input of known rank. */
static struct mc_shape params_of(const struct mc_node *n, const struct mc_shape *x)
{
    if (x->rank < 2)
        return (struct mc_shape){1, {1}};
    return mc_shape_of(per_position(n) ? x->rank - 1 : 1, x->dim + 1);
}

static int batch_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, INPUTS, INPUTS, err);
    rc = rc ? rc : mc_op_need_rank(c, X, 1, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_one_width(c, err);
    const struct mc_vtype *x = c->in[X];
    struct mc_shape p = {0};
    if (!rc && x->ranked)
        p = params_of(c->node, &x->shape);
    for (int i = 0; i < INPUTS && !rc; i++) {
        const struct mc_shape *own = &c->in[i]->shape;
        int64_t same;
        rc = mc_op_need_float(c, i, err);
        if (rc || i == X || !x->ranked || !c->in[i]->ranked)
            continue;
        rc = mc_op_need_rank(c, i, p.rank, p.rank, err);
        for (int d = 0; d < p.rank && !rc; d++)
            rc = mc_op_need_dim(c->node, "parameter and channels", own->dim[d], p.dim[d], &same,
                                err);
    }
    if (rc)
        return rc;
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    for (int i = 1; i < c->n_out; i++) {
        if (c->out[i] && !may_train(c->node))
            return mc_op_fail(err, MC_ESHAPE, c->node, "output %d needs training_mode 1", i);
        const struct mc_vtype *like = c->in[i % 2 ? MEAN : VAR];
        mc_op_give(c, i, like->dtype, x->ranked ? &p : NULL);
    }
    return 0;
}

struct space { /* [channels] each */
    void *scale, *shift, *mean, *var;
};

static size_t layout(const struct mc_call *c, struct space *s)
{
    size_t at = 0, bytes = (size_t)(mc_op_count(&c->in[SCALE]) * c->k->elem_bytes);
    s->scale = mc_op_scratch(c, &at, bytes);
    s->shift = mc_op_scratch(c, &at, bytes);
    s->mean = mc_op_scratch(c, &at, bytes);
    s->var = mc_op_scratch(c, &at, bytes);
    return at;
}

static int batch_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct space s;
    c->scratch_bytes = layout(c, &s);
    return 0;
}

/* Outputs 1 and 2 are the given statistics moved towards the batch's, if it is not empty; 3 and 4 the batch's own. */
static void put_stats(const struct mc_call *c, const struct space *s)
{
    int elem = c->k->elem_bytes;
    bool empty = mc_op_count(&c->in[X]) == 0;
    double momentum = empty ? 1 : (double)mc_node_float(c->node, "momentum", 0.9f);
    for (int i = 1; i < 5; i++) {
        struct mc_buf *to = mc_op_res(c, i);
        const struct mc_buf *old = &c->in[i % 2 ? MEAN : VAR];
        for (int64_t k = 0, n = to ? mc_op_count(to) : 0; k < n; k++) {
            double v = mc_param(i % 2 ? s->mean : s->var, elem, k);
            if (i < 3)
                v = mc_buf_param(old, k) * momentum + v * (1 - momentum);
            mc_set_param(to->data, to->dtype == MC_DTYPE_F64 ? 8 : 4, k, v);
        }
    }
}

static bool trains(const struct mc_call *c)
{
    bool more = false;
    for (int i = 1; i < c->n_out; i++)
        more = more || mc_op_res(c, i);
    return may_train(c->node) && (c->node->version >= 14 || more || is_own(c->node));
}

static void run_given(const struct mc_call *c, struct mc_affine *a, const struct space *s,
                      double eps)
{
    for (int64_t i = 0; i < a->channels; i++) {
        double scale = mc_buf_param(&c->in[SCALE], i) / sqrt(mc_buf_param(&c->in[VAR], i) + eps);
        double shift = mc_buf_param(&c->in[BIAS], i) - mc_buf_param(&c->in[MEAN], i) * scale;
        mc_set_param(s->scale, c->k->elem_bytes, i, scale);
        mc_set_param(s->shift, c->k->elem_bytes, i, shift);
    }
    a->scale = s->scale;
    a->shift = s->shift;
    c->k->nn.affine(a, c->pool);
}

static struct mc_affine sizes_of(const struct mc_call *c)
{
    const struct mc_buf *x = &c->in[X];
    int rank = x->shape.rank, lead = per_position(c->node) ? rank : 2;
    return (struct mc_affine){.outer = rank ? x->shape.dim[0] : 1,
                              .channels = mc_op_count(&c->in[SCALE]),
                              .inner = lead < rank ? mc_op_span(x, lead, rank) : 1,
                              .x = x->data,
                              .y = c->out[0].data};
}

static int batch_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct space s;
    layout(c, &s);
    double eps = (double)mc_node_float(c->node, "epsilon", 1e-5f);
    struct mc_affine a = sizes_of(c);
    if (!trains(c)) {
        run_given(c, &a, &s, eps);
        return 0;
    }
    struct mc_batch_norm b = {.outer = a.outer,
                              .channels = a.channels,
                              .inner = a.inner,
                              .eps = eps,
                              .x = a.x,
                              .scale = c->in[SCALE].data,
                              .bias = c->in[BIAS].data,
                              .y = a.y,
                              .mean = s.mean,
                              .var = s.var,
                              .epilogue = c->epilogue};
    c->k->norm.batch(&b, c->pool);
    put_stats(c, &s);
    return 0;
}

const struct mc_op mc_ops_batchnorm[] = {
    {"", "BatchNormalization", 1, MC_OP_INPLACE, batch_infer, batch_setup, batch_run, NULL, NULL,
     NULL},
    {MC_GRAD_DOMAIN, "BatchNormalization", 1, MC_OP_INPLACE | MC_OP_EPILOGUE, batch_infer,
     batch_setup, batch_run, NULL, NULL, NULL},
    {0},
};

/* ---- on a GPU ---- */

/* As put_stats; the batch's own statistics are in their outputs, or s, already. */
static void gpu_stats(const struct mc_call *c, const void *own[2])
{
    double momentum = (double)mc_node_float(c->node, "momentum", 0.9f);
    if (mc_op_count(&c->in[X]) == 0)
        momentum = 1;
    for (int i = 1; i < 3; i++) {
        struct mc_buf *to = mc_op_res(c, i);
        if (!to)
            continue;
        const struct mc_blend b = {.n = mc_op_count(to),
                                   .a = momentum,
                                   .b = 1 - momentum,
                                   .x = c->in[i % 2 ? MEAN : VAR].data,
                                   .y = own[i - 1],
                                   .z = to->data};
        c->k->optim.blend(&b, c->pool);
    }
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct space s;
    layout(c, &s);
    const struct mc_affine a = sizes_of(c);
    bool given = !trains(c);
    const struct mc_buf *mean = mc_op_res(c, 3), *var = mc_op_res(c, 4);
    const struct mc_batch_norm b = {.given = given,
                                    .outer = a.outer,
                                    .channels = a.channels,
                                    .inner = a.inner,
                                    .eps = (double)mc_node_float(c->node, "epsilon", 1e-5f),
                                    .x = a.x,
                                    .scale = c->in[SCALE].data,
                                    .bias = c->in[BIAS].data,
                                    .y = a.y,
                                    .mean = given  ? c->in[MEAN].data
                                            : mean ? mean->data
                                                   : s.mean,
                                    .var = given ? c->in[VAR].data
                                           : var ? var->data
                                                 : s.var,
                                    .epilogue = c->epilogue};
    c->k->norm.batch(&b, c->pool);
    if (!given)
        gpu_stats(c, (const void *[]){b.mean, b.var});
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->norm.batch && c->k->optim.blend;
}

const struct mc_op_gpu mc_op_gpu_batchnorm[] = {
    {"", "BatchNormalization", .can = gpu_can, .setup = batch_setup, .run = gpu_run},
    {MC_GRAD_DOMAIN, "BatchNormalization", .can = gpu_can, .setup = batch_setup, .run = gpu_run},
    {0},
};
