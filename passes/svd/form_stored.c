/* Recurrent weights: the node has no place for two factors, but its R [directions, gates h, h] may be the product of two
 * constants, A [directions, gates h, r] B [directions, r, h], which a runtime multiplies once when it loads the model.
 * The file gets smaller; what a step costs stays. */
#include <stdio.h>

#include "graph/edit.h"
#include "passes/svd/form_parts.h"
#include "passes/svd/svd_rewrite.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    return it->n_layers == 1 && l->kind == MC_LAYER_RECURRENT && mc_layer_rank_cap(l) >= 1;
}

/* ---- the factors ---- */

static int put_product(struct mc_model *m, const struct mc_layer *l, int64_t rank,
                       const struct mc_svd_parts_factors *f, struct mc_err *err)
{
    char name[1024];
    struct mc_graph *g = l->sites[0].node->graph;
    struct mc_shape a = mc_shape_of(3, (int64_t[]){l->parts, l->m / l->parts, rank});
    struct mc_shape b = mc_shape_of(3, (int64_t[]){l->parts, rank, l->n});
    struct mc_value *in[2], *whole;
    struct mc_node *product;
    int rc = mc_svd_factor(m, l, &a, f->a, "_expand", &in[0], err);
    if (!rc)
        rc = mc_svd_factor(m, l, &b, f->b, "_reduce", &in[1], err);
    if (rc)
        return rc;
    size_t first = l->sites[0].node->pos;
    for (size_t k = 1; k < l->n_sites; k++)
        first = l->sites[k].node->pos < first ? l->sites[k].node->pos : first;
    snprintf(name, sizeof name, "%.900s_product", l->value->name);
    whole = mc_edit_fresh(g, name);
    if (!whole)
        return no_memory(err);
    rc = mc_edit_node(g, first, "MatMul", "", 0, name, in, 2, &whole, 1, &product, err);
    for (size_t k = 0; !rc && k < l->n_sites; k++)
        rc = mc_edit_set_input(l->sites[k].node, mc_layer_weight_slot(l), whole, err);
    return rc;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    const struct mc_layer *l = &in_m->item[it->layer[0]];
    struct mc_svd_parts_factors f = {0};
    int rc =
        mc_svd_parts_factors(r, l, it->layer[0], sizes_only ? NULL : c->state, p->rank[0], &f, err);
    if (!rc)
        rc = put_product(m, l, p->rank[0], &f, err);
    for (size_t k = 0; !rc && k < l->n_sites; k++)
        if (f.shift[k])
            rc = mc_svd_shift_site(m, l, &l->sites[k], f.shift[k], err);
    mc_svd_parts_factors_free(&f, l->n_sites);
    return rc;
}

const struct mc_svd_form mc_svd_form_stored = {"stored", applies, mc_svd_parts_analyse, place,
                                               mc_svd_parts_release};
