#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/svd/merge.h"

/* The last merge of a layer's site, -1: none. Recurrent weights and those of the inputs are two layers of one node. */
static int merge_of(const struct mc_merges *all, const struct mc_layer *l, size_t site)
{
    for (size_t i = all->n; i > 0; i--) {
        const struct mc_merge *k = &all->item[i - 1];
        bool recurrent = k->put[0].slot == 2;
        if (k->node == l->sites[site].node && recurrent == (l->kind == MC_LAYER_RECURRENT))
            return (int)i - 1;
    }
    return -1;
}

void mc_merge_tell(const struct mc_merges *all, struct mc_layers *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct mc_layer *one = &l->item[i];
        int k = merge_of(all, one, 0);
        if (k < 0 || all->item[k].bytes >= one->weight->bytes)
            continue;
        one->given_bytes = all->item[k].bytes;
        one->given_macs = all->item[k].macs;
        one->given_share = all->item[k].shared;
        if (!one->reason && mc_layer_rank_cap(one) < 1)
            one->reason = "no rank makes it smaller";
    }
}

static struct mc_node *first_of(const struct mc_merge *k, const struct mc_graph *g)
{
    struct mc_value *v = mc_graph_value(g, k->first);
    return v ? v->producer : NULL;
}

/* The node that adds a product's bias is the one reader of it. */
static struct mc_node *holder(const struct mc_merge_put *p, struct mc_node *n)
{
    return p->add ? n->out[0]->uses[0].node : n;
}

static int undo(const struct mc_merges *all, const struct mc_merge *k, struct mc_node *n,
                struct mc_err *err)
{
    int rc = 0;
    if (k->op) {
        mc_edit_attr_remove(n, "axis");
        rc = mc_edit_op(n, "", k->op, k->version, err);
    }
    if (!rc && mc_node_is(n, "Conv"))
        rc = mc_window_attrs_put(n, &k->attrs, err);
    for (int i = 0; !rc && i < k->n_put; i++) {
        const struct mc_merge_put *p = &k->put[i];
        struct mc_value *v = p->name ? mc_edit_resolve(n->graph, p->name) : NULL;
        struct mc_node *to = holder(p, n);
        if (p->name || (size_t)p->slot < to->n_in)
            rc = mc_edit_set_input(to, (size_t)p->slot, v, err);
    }
    struct mc_node *first = k->before < 0 ? NULL : first_of(k, n->graph);
    return rc || !first ? rc : undo(all, &all->item[k->before], first, err);
}

int mc_merge_undo(const struct mc_merges *all, const struct mc_layers *mine,
                  const struct mc_layers *in_m, size_t i, struct mc_err *err)
{
    int rc = 0;
    if (!mine->item[i].given_bytes)
        return 0;
    for (size_t s = 0; !rc && s < in_m->item[i].n_sites; s++) {
        int k = merge_of(all, &mine->item[i], s);
        if (k >= 0)
            rc = undo(all, &all->item[k], in_m->item[i].sites[s].node, err);
    }
    return rc;
}
