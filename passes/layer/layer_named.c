#include "passes/layer/layer_named.h"

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
