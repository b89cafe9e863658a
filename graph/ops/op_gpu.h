/* Which operators run on a GPU, and how. An operator without a row here runs on the CPU.
 *
 * A row says that run() of the operator, or the one in this row, hands data only to functions of c->k, which is the
 * device's table then (c->k->device): it neither reads nor writes elements itself, but for those inputs that are kept
 * on the host. Inputs, outputs, scratch and what is packed are device memory, from setup on; at setup only constants
 * have data. Where the CPU's way does not do, the row has a way of its own, made for the device.
 *
 * A family is one word in the list of meson.build: it has the table mc_op_gpu_FAMILY, at the end of FAMILY.c or in
 * FAMILY_gpu.c. */
#ifndef MC_GRAPH_OPS_OP_GPU_H
#define MC_GRAPH_OPS_OP_GPU_H

#include "graph/ops/op.h"

struct mc_op_gpu {
    const char *domain, *name; /* every version; name NULL closes a table */
    /* Can this call run there? Sees shapes, types, attributes and c->k, no data. NULL: whenever its floats are
     * float32. NULL entries of c->k that run() would call are a reason to say no. */
    bool (*can)(const struct mc_call *c);
    /* Bit i: input i is read by setup() or run() itself, so it is host memory (the last bit: and all after it). Such a
     * node can be recorded only if that input is constant. */
    uint64_t host_in;
    /* In place of the operator's; `run` NULL: the operator's own three. */
    int (*setup)(struct mc_call *c, struct mc_err *err);
    int (*run)(struct mc_call *c, struct mc_err *err);
    void (*teardown)(struct mc_call *c);
    bool
        unrecorded; /* run() waits for the device, or does something else that cannot be recorded */
};

/* Row for an operator, or NULL. */
const struct mc_op_gpu *mc_op_gpu_find(const struct mc_op *op);

/* Memory of the device that the call runs on, with a copy of these bytes of the host: what setup() keeps in the
 * node's state. Released by mc_gpu_free(mc_pool_gpu(c->pool), it). Errors: MC_ENOMEM, those of earlier work. */
int mc_op_gpu_keep(const struct mc_call *c, const void *data, size_t bytes, void **ret,
                   struct mc_err *err);

/* What can() is where it is NULL: inputs and outputs of floating type are float32. */
bool mc_op_gpu_floats(const struct mc_call *c);

#endif
