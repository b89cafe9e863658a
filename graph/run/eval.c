#include <stdlib.h>

#include "base/mem.h"
#include "graph/ops/pack.h"
#include "graph/run/plan.h"

int mc_eval_call(struct mc_call *c, struct mc_err *err)
{
    int rc = mc_pack_cache_new(&c->packs, err);
    if (rc)
        return rc;
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
    return rc;
}
