#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_half_parts.h"

/* The halves that another site has put in place for the same constant; NULL: none. */
static struct mc_value *shared_half(const struct mc_quant_builder *b, size_t site, int k)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    const struct mc_tensor *w = mc_constant(s->weight[k]);
    for (size_t i = s->shared ? s->shared - 1 : site; i < site; i++) {
        const struct mc_quant_site *o = &b->sites->item[i];
        for (int j = 0; b->form[i] == MC_QUANT_HALF && j < o->n_weights; j++)
            if (mc_constant(o->weight[j]) == w && b->b->at[i].w[j].q)
                return b->b->at[i].w[j].q;
    }
    return NULL;
}

static int put_half(struct mc_quant_builder *b, size_t site, int k, struct mc_value **ret,
                    struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_quant_placed_weight *to = &b->b->at[site].w[k];
    const struct mc_value *v = s->weight[k];
    const struct mc_tensor *w = mc_constant(v);
    struct mc_graph *g = b->node[site]->graph;
    struct mc_tensor *half;
    const char *why;
    struct mc_value *q = shared_half(b, site, k);
    int rc = 0;
    if (!q) {
        rc = mc_quant_half_tensor(w, MC_DTYPE_F16, b->b->m->spill, &half, &to->error, &why, err);
        *ret = NULL;
        if (rc || !half)
            return rc;
        while (v->outer)
            v = v->outer;
        rc = mc_constant_new(b->graph[v->graph->index], 0, v->name, half, &q, err);
        to->bytes = half->bytes;
        mc_tensor_unref(half);
        if (rc)
            return rc;
        b->b->compressed += w->bytes;
    }
    while (q->outer)
        q = q->outer;
    to->q = q;
    to->axis = -1;
    *ret = q->graph == g ? q : mc_edit_resolve(g, q->name);
    return *ret ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_quant_form_half(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_node *n = b->node[site], *cast;
    int rc = 0;
    for (int k = 0; !rc && k < s->n_weights; k++) {
        struct mc_value *q, *f;
        rc = put_half(b, site, k, &q, err);
        if (rc)
            return rc;
        if (!q) { /* halves cannot hold it */
            b->b->at[site].form = k ? MC_QUANT_HALF : MC_QUANT_FLOAT;
            continue;
        }
        f = mc_edit_fresh(n->graph, "h");
        if (!f)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        size_t pos = q->producer && q->producer->graph == n->graph ? q->producer->pos + 1 : n->pos;
        rc = mc_edit_node(n->graph, pos, "Cast", "", 0, "", &q, 1, &f, 1, &cast, err);
        if (!rc)
            rc = mc_edit_attr_int(cast, "to", MC_DTYPE_F32, err);
        if (!rc)
            rc = mc_edit_set_input(n, (size_t)s->slot[k], f, err);
    }
    return rc;
}
