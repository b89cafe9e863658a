#include "graph/run/expand.h"

#include "graph/inline.h"

int mc_expand(const struct mc_graph *g, struct mc_model **ret, struct mc_err *err)
{
    bool calls;
    struct mc_model *m;
    *ret = NULL;
    if (g != g->model->graph)
        return 0;
    int rc = mc_inline_needed(g->model, &calls, err);
    if (rc || !calls)
        return rc;
    rc = mc_model_clone(g->model, &m, err);
    if (rc)
        return rc;
    rc = mc_inline(m, err);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}
