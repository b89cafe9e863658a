#include <stdlib.h>

#include "graph/infer.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_region_kind.h"

struct wanted {
    struct mc_quant_want *item;
    size_t n, cap;
    bool *there; /* by value index */
};

static int add(struct wanted *w, const struct mc_value *v, int axis, struct mc_err *err)
{
    if (w->there[v->index])
        return 0;
    if (!MC_GROW(w->item, w->n, w->cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    w->there[v->index] = true;
    w->item[w->n++] = (struct mc_quant_want){v->name, axis};
    return 0;
}

/* The axis of an activation that the layer sums over; -1: there is none, or its rank is not known. */
static int axis_of(const struct mc_quant_site *s, const struct mc_infer *inf)
{
    const struct mc_vtype *t = mc_infer_of(inf, s->node->in[s->x_slot]);
    switch (s->kind) {
    case MC_QUANT_CONV:
    case MC_QUANT_CONVT: return 1;
    case MC_QUANT_GEMM: return mc_node_int(s->node, "transA", 0) ? 0 : 1;
    case MC_QUANT_MATMUL:
        return !t->ranked || !t->shape.rank          ? -1
               : s->x_slot == 0 || t->shape.rank < 2 ? t->shape.rank - 1
                                                     : t->shape.rank - 2;
    default: return -1;
    }
}

/* Inputs of layers, channel by channel; then what else a region of all of them has. */
static int add_all(struct wanted *w, const struct mc_model *m, const struct mc_quant_sites *sites,
                   const struct mc_quant_region *r, const struct mc_infer *inf, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < sites->n && !rc; i++) {
        const struct mc_quant_site *s = &sites->item[i];
        for (size_t k = 0; k < s->node->n_in && !rc; k++)
            if (s->node->graph == m->graph && !s->reason && mc_quant_site_reads(s, k) &&
                s->node->in[k])
                rc = add(w, s->node->in[k], axis_of(s, inf), err);
    }
    for (size_t i = 0; i < m->graph->n_values && !rc; i++) {
        const struct mc_value *v = m->graph->values[i];
        if (v && r->at[i].on && !w->there[i] && !w->there[mc_quant_same(v)->index])
            rc = add(w, mc_quant_same(v), -1, err);
    }
    return rc;
}

int mc_quant_wanted(const struct mc_model *m, const struct mc_quant_sites *sites,
                    const struct mc_quant_rules *rules, struct mc_quant_want **ret, size_t *ret_n,
                    struct mc_err *err)
{
    struct mc_quant_region r = {0};
    struct mc_infer *inf = NULL;
    enum mc_quant_form *form = mc_calloc(sites->n + 1, sizeof *form);
    struct wanted w = {.there = mc_calloc(m->graph->n_values + 1, sizeof(bool))};
    int rc = form && w.there ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < sites->n; i++)
        form[i] = sites->item[i].reason || sites->item[i].why[MC_QUANT_STATIC] ? MC_QUANT_FLOAT
                                                                               : MC_QUANT_STATIC;
    if (!rc)
        rc = mc_quant_region_plan(m, sites, rules, NULL, form, &r, err);
    if (!rc)
        rc = mc_infer_run(m->graph, NULL, &inf, err);
    if (!rc)
        rc = add_all(&w, m, sites, &r, inf, err);
    mc_infer_free(inf);
    mc_quant_region_free(&r);
    free(form);
    free(w.there);
    if (rc) {
        free(w.item);
        return rc;
    }
    *ret = w.item;
    *ret_n = w.n;
    return 0;
}
