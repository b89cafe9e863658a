/* Dropout: at inference the data as they are; in training mode those elements that a random mask keeps, scaled.
 *
 * The mask is what NumPy draws for a seed, as in ONNX's definition: uniform numbers of the Mersenne Twister,
 * one after the other, so that it does not depend on threads. Source: Matsumoto, Nishimura, Mersenne Twister:
 * A 623-Dimensionally Equidistributed Uniform Pseudorandom Number Generator, ACM TOMACS 1998. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"

enum { TWISTER = 624, MIDDLE = 397 };

struct twister {
    uint32_t state[TWISTER];
    int at;
};

static void twister_seed(struct twister *t, uint32_t seed)
{
    t->state[0] = seed;
    for (uint32_t i = 1; i < TWISTER; i++)
        t->state[i] = 1812433253u * (t->state[i - 1] ^ (t->state[i - 1] >> 30)) + i;
    t->at = TWISTER;
}

static uint32_t twister_next(struct twister *t)
{
    for (int i = 0; t->at == TWISTER && i < TWISTER; i++) {
        uint32_t y = (t->state[i] & 0x80000000u) | (t->state[(i + 1) % TWISTER] & 0x7fffffffu);
        t->state[i] = t->state[(i + MIDDLE) % TWISTER] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at %= TWISTER;
    uint32_t y = t->state[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* In [0, 1), with 53 bits. */
static double twister_uniform(struct twister *t)
{
    uint32_t high = twister_next(t) >> 5, low = twister_next(t) >> 6;
    return ((double)high * 0x1p26 + (double)low) * 0x1p-53;
}

static int dropout_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, c->node->version >= 12 ? 3 : 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_float(c, 1, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    rc = rc ? rc : mc_op_need_single(c, 2, err);
    if (rc)
        return rc;
    const struct mc_vtype *mode = mc_op_in(c, 2);
    if (mode && mode->dtype && mode->dtype != MC_DTYPE_BOOL)
        return mc_op_fail(err, MC_EDTYPE, c->node, "training_mode is %s, must be bool",
                          mc_dtype_name((int)mode->dtype));
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    /* The mask has the data's type up to version 9. */
    mc_op_give(c, 1, c->node->version >= 10 ? MC_DTYPE_BOOL : x->dtype,
               x->ranked ? &x->shape : NULL);
    return 0;
}

/* The data and a mask of ones. */
static void keep_all(const struct mc_call *c)
{
    mc_op_copy(c, &c->in[0], &c->out[0]);
    struct mc_buf *mask = mc_op_res(c, 1);
    double store;
    if (mask) {
        int bytes = mc_op_elem_bytes(mask->dtype);
        const void *one = bytes == 1 ? (const void *)&(uint8_t){1} : mc_op_scalar(bytes, 1, &store);
        c->k->move.fill(mask->data, mc_op_count(mask), one, bytes, c->pool);
    }
}

static int dropout_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *given = mc_op_arg(c, 1), *mode = mc_op_arg(c, 2);
    double ratio = given ? mc_buf_param(given, 0) : 0.5;
    bool training = mode && *(const uint8_t *)mode->data;
    if (training && !(ratio >= 0 && ratio < 1))
        return mc_op_fail(err, MC_EDATA, c->node, "ratio %g, must be at least 0 and below 1",
                          ratio);
    if (!training || ratio == 0) {
        keep_all(c);
        return 0;
    }
    struct mc_buf *mask = mc_op_res(c, 1);
    struct twister t;
    /* Without a seed, nodes still differ from each other. */
    twister_seed(&t, (uint32_t)mc_node_int(c->node, "seed", (int64_t)c->node->id + 1));
    for (int64_t i = 0, n = mc_op_count(&c->in[0]); i < n; i++) {
        bool keep = twister_uniform(&t) >= ratio;
        double v = keep ? mc_buf_param(&c->in[0], i) / (1 - ratio) : 0;
        mc_set_param(c->out[0].data, c->k->elem_bytes, i, v);
        if (mask)
            ((uint8_t *)mask->data)[i] = keep;
    }
    return 0;
}

const struct mc_op mc_ops_dropout[] = {
    {"", "Dropout", 6, MC_OP_INPLACE, dropout_infer, NULL, dropout_run, NULL, NULL, NULL},
    {"", "Dropout", 12, MC_OP_INPLACE | MC_OP_RANDOM, dropout_infer, NULL, dropout_run, NULL, NULL,
     NULL},
    {0},
};

/* On a GPU as at inference; in training the mask is one number after the other. */
static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    keep_all(c);
    return 0;
}

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && !mc_op_arg(c, 2) && c->k->move.run && c->k->move.fill;
}

const struct mc_op_gpu mc_op_gpu_dropout[] = {
    {"", "Dropout", .can = gpu_can, .run = gpu_run},
    {0},
};
