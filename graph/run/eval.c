#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/ops/pack.h"
#include "graph/run/plan.h"

int mc_eval_size(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err)
{
    struct mc_buf *b = &c->out[i];
    size_t bytes;
    assert(!b->data);
    if (!mc_dtype_bytes(b->dtype, mc_shape_count(shape), &bytes) ||
        !(b->data = mc_alloc_aligned(bytes))) {
        char text[MC_SHAPE_TEXT];
        return mc_op_fail(err, MC_ENOMEM, c->node, "out of memory: output %d of shape %s", i,
                          mc_shape_text(shape, text));
    }
    b->shape = *shape;
    return 0;
}

int mc_eval_call(struct mc_call *c, struct mc_err *err)
{
    int rc = mc_pack_cache_new(&c->packs, err);
    if (rc)
        return rc;
    c->size = mc_eval_size;
    if (c->op->setup)
        rc = c->op->setup(c, err);
    if (!rc) {
        c->scratch = mc_alloc_aligned(c->scratch_bytes);
        rc = c->scratch ? c->op->run(c, err)
                        : mc_op_fail(err, MC_ENOMEM, c->node, "out of memory: %zu bytes of scratch",
                                     c->scratch_bytes);
    }
    if (c->op->teardown)
        c->op->teardown(c);
    free(c->scratch);
    c->scratch = NULL;
    mc_pack_cache_free(c->packs);
    c->packs = NULL;
    c->size = NULL;
    return rc;
}
