/* The plain product of a grouped convolution: every group by itself, r channels each, then 1x1 with the same groups. */
#include "passes/svd/form_conv.h"
#include "passes/svd/form_parts.h"

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    return it->n_layers == 1 && l->kind == MC_LAYER_CONV && l->parts > 1 &&
           mc_layer_rank_cap(l) >= 1;
}

static struct mc_conv_chain chain_of(const struct mc_layer *l, int64_t rank)
{
    struct mc_conv_chain c = {.n = 2};
    c.stage[0] =
        mc_conv_stage(l, l->parts * rank, l->weight->shape.dim[1], MC_CONV_ALL_AXES, "_reduce");
    c.stage[1] = mc_conv_stage(l, l->m, rank, 0, "_expand");
    c.stage[0].group = c.stage[1].group = l->parts;
    return c;
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    int rc = mc_svd_parts_analyse(r, it, want, c, err);
    for (size_t i = 0; !rc && i < c->n; i++) {
        struct mc_conv_chain chain = chain_of(l, c->point[i].rank[0]);
        c->point[i].macs = mc_conv_chain_macs(l, &chain);
    }
    return rc;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    const struct mc_layer *l = &in_m->item[it->layer[0]];
    struct mc_conv_chain chain = chain_of(l, p->rank[0]);
    struct mc_svd_parts_factors f = {0};
    int rc =
        mc_svd_parts_factors(r, l, it->layer[0], sizes_only ? NULL : c->state, p->rank[0], &f, err);
    chain.stage[0].w = f.b;
    chain.stage[1].w = f.a;
    if (!rc)
        rc = mc_conv_chain_place(m, l, &chain, f.shift, err);
    mc_svd_parts_factors_free(&f, l->n_sites);
    return rc;
}

const struct mc_svd_form mc_svd_form_group = {"grouped", applies, analyse, place,
                                              mc_svd_parts_release};
