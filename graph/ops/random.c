/* Random numbers: RandomNormal, RandomUniform and their Like forms, Bernoulli, Multinomial.
 *
 * The generator is ours (base/rng.h): the same numbers in every run, with the seed of the attribute, and a
 * stream for each node, so that nodes without a seed differ from each other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"
#include "kernels/gpu.h"

static uint64_t seed_of(const struct mc_node *n)
{
    float seed = mc_node_float(n, "seed", 0);
    uint32_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return bits;
}

/* Element type of the result: the attribute, else `missing`. */
static int out_type(const struct mc_infer_ctx *c, enum mc_dtype missing, bool floats,
                    enum mc_dtype *ret, struct mc_err *err)
{
    int64_t d = mc_node_int(c->node, "dtype", missing);
    const struct mc_dtype_info *info = mc_dtype_info(d > 0 && d < MC_DTYPE_COUNT ? (int)d : 0);
    bool fits = info->kind == MC_KIND_FLOAT || (!floats && info->kind != MC_KIND_OTHER);
    *ret = (enum mc_dtype)d;
    if (d == MC_DTYPE_NONE || (fits && info->bits >= 8))
        return 0;
    return mc_op_fail(err, MC_EUNSUP, c->node, "random numbers of type %lld cannot run",
                      (long long)d);
}

static int shape_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    size_t rank;
    const int64_t *dims = mc_node_ints(c->node, "shape", &rank);
    enum mc_dtype dtype;
    int rc = mc_op_arity(c, 0, 0, err);
    rc = rc ? rc : out_type(c, MC_DTYPE_F32, true, &dtype, err);
    if (rc)
        return rc;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %zu, at most %d can run", rank,
                          MC_RANK_MAX);
    for (size_t d = 0; d < rank; d++)
        if (dims[d] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "shape holds %lld", (long long)dims[d]);
    struct mc_shape y = mc_shape_of((int)rank, dims);
    mc_op_give(c, 0, dtype, &y);
    return 0;
}

static int like_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool bernoulli = mc_node_is(c->node, "Bernoulli");
    enum mc_dtype dtype = MC_DTYPE_NONE;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc || !bernoulli ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : out_type(c, c->in[0]->dtype, !bernoulli, &dtype, err);
    if (rc)
        return rc;
    mc_op_give(c, 0, dtype, c->in[0]->ranked ? &c->in[0]->shape : NULL);
    return 0;
}

static void fill(const struct mc_node *n, const struct mc_buf *y)
{
    bool normal = strstr(n->op_type, "Normal") != NULL;
    double low = (double)mc_node_float(n, "low", 0), high = (double)mc_node_float(n, "high", 1);
    double mean = (double)mc_node_float(n, "mean", 0), scale = (double)mc_node_float(n, "scale", 1);
    uint64_t seed = seed_of(n);
    for (int64_t i = 0, count = mc_op_count(y); i < count; i++) {
        double v = normal ? mean + scale * (double)mc_rng_normal(seed, n->id, (uint64_t)i)
                          : low + (high - low) * (double)mc_rng_uniform(seed, n->id, (uint64_t)i);
        mc_buf_put(y, i, v);
    }
}

static int fill_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    fill(c->node, &c->out[0]);
    return 0;
}

static int bernoulli_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    uint64_t seed = seed_of(c->node);
    int each = mc_op_elem_bytes(y->dtype), rc = 0;
    for (int64_t i = 0, n = mc_op_count(x); i < n && !rc; i++) {
        double u = (double)mc_rng_uniform(seed, c->node->id, (uint64_t)i);
        double v = u < mc_buf_param(x, i);
        rc = mc_dtype_from_f64((int)y->dtype, &v, (char *)y->data + i * each, 1, err);
    }
    return rc;
}

/* ---- Multinomial: rows of unnormalised log-probabilities ---- */

static int multinomial_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int64_t n = mc_node_int(c->node, "sample_size", 1), d = mc_node_int(c->node, "dtype", 6);
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, 2, err);
    if (rc)
        return rc;
    if (n < 1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "sample_size %lld", (long long)n);
    if (d != MC_DTYPE_I32 && d != MC_DTYPE_I64)
        return mc_op_fail(err, MC_EUNSUP, c->node, "dtype %lld is neither int32 nor int64",
                          (long long)d);
    const struct mc_vtype *x = c->in[0];
    if (x->ranked && x->shape.dim[1] == 0)
        return mc_op_fail(err, MC_ESHAPE, c->node, "no classes");
    struct mc_shape y = {2, {x->ranked ? x->shape.dim[0] : MC_DIM_ANY, n}};
    mc_op_give(c, 0, (enum mc_dtype)d, &y);
    return 0;
}

static int multinomial_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    int64_t classes = x->shape.dim[1], n = y->shape.dim[1];
    uint64_t seed = seed_of(c->node);
    for (int64_t r = 0; r < x->shape.dim[0]; r++) {
        double top = -INFINITY, total = 0;
        for (int64_t k = 0; k < classes; k++)
            top = fmax(top, mc_buf_param(x, r * classes + k));
        for (int64_t k = 0; k < classes; k++)
            total += exp(mc_buf_param(x, r * classes + k) - top);
        for (int64_t i = 0; i < n; i++) {
            double left = total * (double)mc_rng_uniform(seed, c->node->id, (uint64_t)(r * n + i));
            int64_t k = 0;
            for (; k < classes - 1; k++) {
                left -= exp(mc_buf_param(x, r * classes + k) - top);
                if (left < 0)
                    break;
            }
            if (y->dtype == MC_DTYPE_I32)
                ((int32_t *)y->data)[r * n + i] = (int32_t)k;
            else
                ((int64_t *)y->data)[r * n + i] = k;
        }
    }
    return 0;
}

#define ROW(name, since, infer, run)                                                               \
    {                                                                                              \
        "", name, since, MC_OP_RANDOM, infer, NULL, run, NULL, NULL, NULL                          \
    }
const struct mc_op mc_ops_random[] = {
    ROW("RandomNormal", 1, shape_infer, fill_run),
    ROW("RandomUniform", 1, shape_infer, fill_run),
    ROW("RandomNormalLike", 1, like_infer, fill_run),
    ROW("RandomUniformLike", 1, like_infer, fill_run),
    ROW("Bernoulli", 15, like_infer, bernoulli_run),
    ROW("Multinomial", 7, multinomial_infer, multinomial_run),
    {0},
};

/* ---- on a GPU: the numbers are the same in every run, so they are drawn once, by the CPU ---- */

static int gpu_setup(struct mc_call *c, struct mc_err *err)
{
    struct mc_gpu *gpu = mc_pool_gpu(c->pool);
    struct mc_buf y = c->out[0];
    size_t bytes = (size_t)mc_op_count(&y) * sizeof(float);
    y.data = malloc(bytes + 1);
    if (!y.data)
        return mc_fail(err, MC_ENOMEM, "out of memory for random numbers");
    fill(c->node, &y);
    int rc = mc_gpu_alloc(gpu, bytes, &c->state, err);
    rc = rc ? rc : mc_gpu_put(gpu, c->state, y.data, bytes, err);
    free(y.data);
    return rc;
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_buf drawn = c->out[0];
    drawn.data = c->state;
    mc_op_copy(c, &drawn, &c->out[0]);
    return 0;
}

static void gpu_teardown(struct mc_call *c)
{
    mc_gpu_free(mc_pool_gpu(c->pool), c->state);
    c->state = NULL;
}

static bool gpu_can(const struct mc_call *c)
{
    return c->out[0].dtype == MC_DTYPE_F32 && c->k->move.run;
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        "", name, .can = gpu_can, .setup = gpu_setup, .run = gpu_run, .teardown = gpu_teardown     \
    }
const struct mc_op_gpu mc_op_gpu_random[] = {
    GPU("RandomNormal"),
    GPU("RandomUniform"),
    GPU("RandomNormalLike"),
    GPU("RandomUniformLike"),
    {0},
};
