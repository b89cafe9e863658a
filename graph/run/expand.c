#include "graph/run/expand.h"

#include "graph/inline.h"
#include "graph/run/fold.h"

int mc_expand(const struct mc_graph *g, struct mc_model **ret, struct mc_err *err)
{
    bool calls, branches = false;
    size_t folded;
    struct mc_model *m;
    *ret = NULL;
    if (g != g->model->graph)
        return 0;
    int rc = mc_inline_needed(g->model, &calls, err);
    if (!rc && !calls)
        rc = mc_branches_known(g, &branches, err);
    if (rc || (!calls && !branches))
        return rc;
    rc = mc_model_clone(g->model, &m, err);
    if (rc)
        return rc;
    rc = mc_inline(m, err);
    if (!rc)
        rc = mc_branches_fold(m->graph, &folded, err);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}
