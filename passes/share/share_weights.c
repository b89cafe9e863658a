#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/own/own.h"
#include "passes/layer/layer_slot.h"
#include "passes/share/share_run.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- layers, depthwise convolutions among them ---- */

static bool is_depthwise(const struct mc_node *n)
{
    const struct mc_tensor *w = n->n_in > 1 && n->in[1] ? mc_constant(n->in[1]) : NULL;
    return mc_node_is(n, "Conv") && w && w->shape.rank >= 3 && w->shape.dim[0] > 1 &&
           mc_node_int(n, "group", 1) == w->shape.dim[0] && w->shape.dim[1] == 1;
}

/* What the collection leaves because it has no rank to lower is as good as any other here. */
static int admit(struct mc_layers *l, struct mc_err *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i].reason && l->item[i].n_sites == 1 && l->item[i].uses == 1 &&
            mc_layer_rank_cap(&l->item[i]) < 1)
            l->item[i].reason = NULL;
    for (size_t i = 0; i < l->n_others; i++) {
        struct mc_node *n = l->others[i].sites[0].node;
        struct mc_layer one;
        const char *why;
        if (!is_depthwise(n) || !mc_layer_weight_fits(n->in[1], 3, MC_RANK_MAX, &why))
            continue;
        int rc = mc_layer_single(n, &one, err);
        if (rc)
            return rc;
        if (!MC_GROW(l->item, l->n, l->cap)) {
            free(one.sites);
            return no_memory(err);
        }
        one.uses = 1;
        for (size_t k = 0; k < l->n; k++)
            if (l->item[k].weight == one.weight)
                one.reason = "several layers have the weight";
        l->item[l->n++] = one;
    }
    return 0;
}

/* ---- weights ---- */

struct list {
    struct mc_share_weight *item;
    size_t n, cap;
};

static const struct mc_value *root(const struct mc_value *v)
{
    while (v->outer)
        v = v->outer;
    return v;
}

static const char *why_not(const struct mc_share_weight *w)
{
    const struct mc_dtype_info *info = mc_dtype_info(w->tensor->dtype);
    const struct mc_value *v = root(w->value);
    if (v->graph->function)
        return "weights in functions are left";
    if (info->kind != MC_KIND_FLOAT || info->bits < 16)
        return "the weight is not of a floating-point type of 16 bits or more";
    if (v->is_output)
        return "the weight is also an output";
    return w->tensor->dtype == MC_DTYPE_F64 ? "weights of 64 bits would lose their precision"
                                            : NULL;
}

static int add(struct list *l, struct mc_share_weight w, struct mc_err *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i].tensor == w.tensor)
            return 0;
    if (!MC_GROW(l->item, l->n, l->cap))
        return no_memory(err);
    w.total = NAN;
    w.reason = why_not(&w);
    l->item[l->n++] = w;
    return 0;
}

static int add_layers(struct list *list, const struct mc_layers *l, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < l->n; i++) {
        const struct mc_layer *k = &l->item[i];
        rc = add(list,
                 (struct mc_share_weight){.value = k->value,
                                          .tensor = k->weight,
                                          .node = k->sites[0].node,
                                          .layer = k->reason ? -1 : (int64_t)i,
                                          .m = k->m,
                                          .n = k->n,
                                          .out_major = k->out_major},
                 err);
    }
    return rc;
}

/* Of operators that have weights but no form as a layer: every float constant of two dimensions and more. */
static int add_others(struct list *list, const struct mc_layers *l, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < l->n_others; i++) {
        struct mc_node *n = l->others[i].sites[0].node;
        int64_t gates, dirs;
        size_t slots =
            mc_layer_cell(n, &gates, &dirs) ? 3 : n->n_in; /* of a cell no biases, no states */
        for (size_t k = 0; !rc && k < n->n_in && k < slots; k++) {
            const struct mc_tensor *t = n->in[k] ? mc_constant(n->in[k]) : NULL;
            if (!t || t->shape.rank < 2 || mc_tensor_count(t) < 1 ||
                mc_dtype_info(t->dtype)->kind != MC_KIND_FLOAT)
                continue;
            rc = add(list,
                     (struct mc_share_weight){.value = n->in[k],
                                              .tensor = t,
                                              .node = n,
                                              .layer = -1,
                                              .m = t->shape.dim[0],
                                              .n = mc_tensor_count(t) / t->shape.dim[0],
                                              .out_major = true},
                     err);
        }
    }
    return rc;
}

/* Weights of calls of ours that are floats in the file: the one matrix of all gates, first columns of circulant blocks. */
static int add_calls(struct list *list, struct mc_model *m, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        struct mc_node *n = m->graph->nodes[i];
        const struct mc_own *own = mc_own_find(n);
        for (size_t k = 0; !rc && own && k < n->n_in && (int)k < own->n_in; k++) {
            const struct mc_tensor *t = n->in[k] ? mc_constant(n->in[k]) : NULL;
            if (own->roles[k] != 'w' || !t || t->shape.rank < 2 || mc_tensor_count(t) < 1)
                continue;
            int64_t columns = t->shape.dim[t->shape.rank - 1];
            rc = add(list,
                     (struct mc_share_weight){.value = n->in[k],
                                              .tensor = t,
                                              .node = n,
                                              .layer = -1,
                                              .m = mc_tensor_count(t) / columns,
                                              .n = columns,
                                              .out_major = true},
                     err);
        }
    }
    return rc;
}

int mc_share_collect(struct mc_model *m, struct mc_layers *ret_layers, struct mc_share_weight **ret,
                     size_t *ret_n, struct mc_err *err)
{
    struct mc_layers l = {0};
    struct list list = {0};
    int rc = mc_layers_collect(m, &l, err);
    if (!rc)
        rc = admit(&l, err);
    if (!rc)
        rc = add_layers(&list, &l, err);
    if (!rc)
        rc = add_others(&list, &l, err);
    if (!rc)
        rc = add_calls(&list, m, err);
    if (rc) {
        mc_layers_free(&l);
        free(list.item);
        return rc;
    }
    *ret_layers = l;
    *ret = list.item;
    *ret_n = list.n;
    return 0;
}

/* ---- content ---- */

int mc_share_read(const struct mc_share_run *r, const struct mc_share_weight *w, float **ret,
                  struct mc_err *err)
{
    float *x;
    int64_t n;
    (void)r;
    int rc = mc_constant_f32(w->value, &x, &n, err);
    if (rc)
        return rc;
    float *y = w->out_major ? x : mc_calloc((size_t)n + 1, sizeof *y);
    if (!y)
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < n; i++) {
        if (!isfinite(x[i]))
            rc = mc_fail(err, MC_EDATA, "%s '%s': element %lld of its weight '%s' is %g",
                         w->node->op_type, mc_node_label(w->node), (long long)i, w->value->name,
                         (double)x[i]);
        if (!w->out_major && !rc)
            y[i % w->m * w->n + i / w->m] = x[i];
    }
    if (y != x)
        free(x);
    if (rc)
        free(y);
    else
        *ret = y;
    return rc;
}
