#include "graph/ops/op_gpu.h"

#include <string.h>

#include "graph/ops/op_registry.h"
#include "kernels/gpu.h"

const struct mc_op_gpu *mc_op_gpu_find(const struct mc_op *op)
{
    for (const struct mc_op_gpu *const *f = mc_op_gpu_families; *f; f++)
        for (const struct mc_op_gpu *row = *f; row->name; row++)
            if (!strcmp(row->name, op->name) && !strcmp(row->domain, op->domain))
                return row;
    return NULL;
}

bool mc_op_gpu_floats(const struct mc_call *c)
{
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const struct mc_buf *b = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (b->dtype != MC_DTYPE_F32 && b->dtype != MC_DTYPE_NONE &&
            mc_dtype_info(b->dtype)->kind == MC_KIND_FLOAT)
            return false;
    }
    return true;
}

int mc_op_gpu_keep(const struct mc_call *c, const void *data, size_t bytes, void **ret,
                   struct mc_err *err)
{
    struct mc_gpu *g = mc_pool_gpu(c->pool);
    void *p;
    int rc = mc_gpu_alloc(g, bytes, &p, err);
    if (rc)
        return rc;
    if ((rc = mc_gpu_put(g, p, data, bytes, err))) {
        mc_gpu_free(g, p);
        return rc;
    }
    *ret = p;
    return 0;
}
