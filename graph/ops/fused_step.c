#include "graph/ops/fused_step.h"

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static int chain_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_chain chain = *c->chain;
    for (int i = 0; i < c->n_in; i++)
        chain.in[i] = c->in[i].data;
    chain.z = c->out[0].data;
    c->k->elementwise.chain(&chain, c->pool);
    return 0;
}

static int norm_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_norm m = *c->norm;
    const struct mc_buf *scale = mc_op_arg(c, 1), *bias = mc_op_arg(c, 2);
    m.x = c->in[0].data;
    m.scale = scale ? scale->data : NULL;
    m.bias = bias ? bias->data : NULL;
    m.y = c->out[0].data;
    c->k->nn.norm(&m, c->pool);
    return 0;
}

const struct mc_op mc_op_chain = {.domain = MC_FUSED_DOMAIN,
                                  .name = "Chain",
                                  .flags = MC_OP_INPLACE_ANY,
                                  .run = chain_run};
const struct mc_op mc_op_norm = {.domain = MC_FUSED_DOMAIN,
                                 .name = "Norm",
                                 .flags = MC_OP_INPLACE,
                                 .run = norm_run};

static bool chain_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->elementwise.chain;
}

static bool norm_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->nn.norm;
}

const struct mc_op_gpu mc_op_gpu_fused_step[] = {
    {MC_FUSED_DOMAIN, "Chain", .can = chain_can},
    {MC_FUSED_DOMAIN, "Norm", .can = norm_can},
    {0},
};
