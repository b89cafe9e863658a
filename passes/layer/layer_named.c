#include "passes/layer/layer_named.h"

#include "graph/own/own.h"

bool mc_layer_is_called(const struct mc_layer *l, const struct mc_pattern *p)
{
    if (l->value && mc_pattern_fits(p, l->value->name))
        return true;
    for (size_t s = 0; s < l->n_sites; s++)
        if (mc_pattern_fits(p, mc_node_label(l->sites[s].node)))
            return true;
    return false;
}

void mc_layer_offer(const struct mc_layer *l, struct mc_nearest *near)
{
    mc_nearest_offer(near, l->value->name);
    for (size_t s = 0; s < l->n_sites; s++)
        mc_nearest_offer(near, mc_node_label(l->sites[s].node));
}

const struct mc_node *mc_layer_call(const struct mc_model *m)
{
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (mc_own_find(m->graph->nodes[i]))
            return m->graph->nodes[i];
    return NULL;
}

int mc_layer_none(const struct mc_model *m, const char *done, struct mc_err *err)
{
    const struct mc_node *call = mc_layer_call(m);
    if (!call)
        return mc_fail(err, MC_EUNSUP, "the model has no layers that could be %s", done);
    return mc_fail(err, MC_EUNSUP,
                   "no layers are left that could be %s: weights are in smaller forms already, "
                   "such as %s '%s'",
                   done, call->op_type, mc_node_label(call));
}
