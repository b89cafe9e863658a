#include "passes/prune/prune_run.h"

int mc_prune_build(const struct mc_prune_run *r, const bool *gone, bool sizes_only,
                   struct mc_model **ret, struct mc_err *err)
{
    struct mc_model *m = NULL;
    int rc = mc_model_clone(r->before, &m, err);
    if (!rc) {
        m->spill = r->before->spill;
        rc = mc_cut(r->c, m, gone, sizes_only ? MC_CUT_SIZES : 0, err);
    }
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}
