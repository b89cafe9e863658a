#include <stdlib.h>

#include "base/mem.h"
#include "passes/prune_run.h"

int mc_prune_build(const struct mc_prune_run *r, const size_t *level, bool sizes_only,
                   struct mc_model **ret, struct mc_err *err)
{
    struct mc_model *m = NULL;
    bool *gone = mc_calloc((size_t)r->c->n_units + 1, sizeof *gone);
    int rc = gone ? mc_prune_gone(r, level, gone, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_model_clone(r->before, &m, err);
    if (!rc) {
        m->spill = r->before->spill;
        rc = mc_cut(r->c, m, gone, sizes_only ? MC_CUT_SIZES : 0, err);
    }
    free(gone);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}
