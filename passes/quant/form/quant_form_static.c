#include "passes/quant/form/quant_form_static.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_region_kind.h"

enum { NAME = 32, NOTE = 200 };

int mc_quant_static_no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

int mc_quant_static_const(struct mc_quant_static *s, const char *kind, size_t number,
                          enum mc_dtype dtype, const struct mc_shape *shape, const void *data,
                          struct mc_value **ret, struct mc_err *err)
{
    char name[NAME];
    struct mc_tensor *t;
    void *content;
    int rc = mc_tensor_new(dtype, shape, s->b->b->m->spill, &t, &content, err);
    if (rc)
        return rc;
    if (data && t->bytes)
        memcpy(content, data, t->bytes);
    snprintf(name, sizeof name, "%s%zu", kind, number);
    rc = mc_constant_new(s->g, 0, name, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

int mc_quant_static_node(struct mc_quant_static *s, size_t pos, const char *op, int need,
                         const char *kind, size_t number, struct mc_value *const *in, size_t n_in,
                         struct mc_value **ret, struct mc_node **ret_node, struct mc_err *err)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s%zu", kind, number);
    *ret = mc_edit_fresh(s->g, name);
    if (!*ret)
        return mc_quant_static_no_memory(err);
    int version = need > mc_graph_opset(s->g, "") ? need : 0;
    return mc_edit_node(s->g, pos, op, "", version, "", in, n_in, ret, 1, ret_node, err);
}

int mc_quant_static_declare(struct mc_value *v, enum mc_dtype dtype, struct mc_err *err)
{
    if (v->type.kind != MC_TYPE_TENSOR ||
        mc_edit_type(v, dtype, v->type.ranked ? v->type.rank : -1, v->type.dim))
        return 0;
    return mc_quant_static_no_memory(err);
}

int mc_quant_static_cast(struct mc_quant_static *s, struct mc_value *v, enum mc_dtype from,
                         enum mc_dtype to, struct mc_value **ret, struct mc_err *err)
{
    struct mc_node *n;
    const struct mc_tensor *t = mc_constant(v);
    *ret = v;
    if (from == to)
        return 0;
    if (t && to == MC_DTYPE_F32) {
        float *x;
        int64_t count;
        int rc = mc_constant_f32(v, &x, &count, err);
        if (rc)
            return rc;
        rc = mc_quant_static_const(s, "c", v->index, to, &t->shape, x, ret, err);
        free(x);
        return rc;
    }
    size_t pos = v->producer ? v->producer->pos + 1 : 0;
    int rc = mc_quant_static_node(s, pos, "Cast", 6, "c", v->index, &v, 1, ret, &n, err);
    if (!rc && v->type.kind == MC_TYPE_TENSOR &&
        !mc_edit_type(*ret, to, v->type.ranked ? v->type.rank : -1, v->type.dim))
        return mc_quant_static_no_memory(err);
    return rc ? rc : mc_edit_attr_int(n, "to", to, err);
}

/* ---- half types: a region computes in float32 between its integers ---- */

static enum mc_dtype type_of(const struct mc_quant_static *s, const struct mc_node *before)
{
    for (size_t k = 0; k < before->n_in; k++)
        if (mc_quant_region_data(&s->r, s->b->sites, before, k) && !mc_quant_operand(before, k))
            return s->r.at[before->in[k]->index].dtype;
    return MC_DTYPE_F32;
}

/* Constants and casts of what a node reads beside its data, and the declared type of what it gives. */
static int widen_node(struct mc_quant_static *s, struct mc_node *n, const bool *data,
                      enum mc_dtype from, struct mc_err *err)
{
    for (size_t k = 0; k < n->n_in; k++) {
        const struct mc_tensor *t = n->in[k] ? mc_constant(n->in[k]) : NULL;
        struct mc_value *v;
        if (!t || (data && data[k]) || t->dtype != from)
            continue;
        int rc = mc_quant_static_cast(s, n->in[k], from, MC_DTYPE_F32, &v, err);
        if (!rc)
            rc = mc_edit_set_input(n, k, v, err);
        if (rc)
            return rc;
    }
    for (size_t k = 0; k < n->n_out; k++) {
        struct mc_value *y = n->out[k];
        int rc;
        if (y && y->type.kind == MC_TYPE_TENSOR && y->type.dtype == from &&
            (rc = mc_quant_static_declare(y, MC_DTYPE_F32, err)))
            return rc;
    }
    return 0;
}

/* What a unit computes in float32 goes on as the type that its readers take. */
static int narrow_result(struct mc_quant_static *s, const struct mc_value *before,
                         enum mc_dtype type, struct mc_err *err)
{
    struct mc_value *y = mc_quant_value(s->b, before), *c;
    const struct mc_quant_point *at = &s->r.at[before->index];
    if (!y || (at->on && at->all))
        return 0;
    int rc = mc_quant_static_cast(s, y, MC_DTYPE_F32, type, &c, err);
    struct mc_node *cast = rc ? NULL : c->producer;
    if (!rc)
        rc = mc_edit_replace_uses(y, c, err);
    if (!rc)
        rc = mc_edit_set_input(cast, 0, y, err);
    if (!rc) /* as an output of the model, it took the type of y */
        rc = mc_quant_static_declare(c, type, err);
    return rc ? rc : mc_quant_static_declare(y, MC_DTYPE_F32, err);
}

static int widen_unit(struct mc_quant_static *s, const struct mc_node *before, struct mc_err *err)
{
    const struct mc_quant_unit *u = &s->r.unit[before->id];
    const struct mc_quant_site *site =
        u->kind == MC_QUANT_LAYER ? &s->b->sites->item[u->site] : NULL;
    enum mc_dtype type = type_of(s, before);
    const struct mc_node *part[3] = {before, site ? site->add : NULL, u->act};
    const struct mc_value *y = site ? site->y : mc_quant_unit_result(u, before);
    int rc = 0;
    if (type == MC_DTYPE_F32 || u->kind == MC_QUANT_RESCALE)
        return 0;
    for (int i = 0; i < 3 && !rc; i++)
        if (part[i] && s->node[part[i]->id])
            rc = widen_node(s, s->node[part[i]->id], NULL, type, err);
    for (size_t k = 0; u->kind == MC_QUANT_MOVE && k < before->n_out && !rc; k++)
        if (before->out[k])
            rc = narrow_result(s, before->out[k], type, err);
    return rc || u->kind == MC_QUANT_MOVE ? rc : narrow_result(s, y, type, err);
}

/* ---- wiring ---- */

static int wire(struct mc_quant_static *s, const struct mc_node *before, struct mc_err *err)
{
    struct mc_node *n = s->node[before->id];
    int rc = 0;
    for (size_t k = 0; n && k < before->n_in && !rc; k++) {
        struct mc_value *v = NULL;
        if (!mc_quant_region_data(&s->r, s->b->sites, before, k))
            continue;
        if (mc_quant_operand(before, k))
            rc = mc_quant_static_operand(s, n->in[k], &v, err);
        else
            v = s->pair[before->in[k]->index].v;
        if (!rc && v)
            rc = mc_edit_set_input(n, k, v, err);
    }
    return rc;
}

/* ---- account ---- */

static const char *note(struct mc_quant_static *s, size_t site)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    const struct mc_value *x = t->node->in[t->x_slot], *root = mc_quant_region_root(&s->r, x);
    char text[NOTE];
    int n =
        snprintf(text, sizeof text, "%s",
                 s->r.at[t->y->index].on && s->r.at[t->y->index].all ? "integers in and out"
                                                                     : "integers in, floats out");
    if (root != x && n > 0)
        snprintf(text + n, sizeof text - (size_t)n, "; the scale of '%s'", root->name);
    return mc_arena_strdup(&s->b->b->m->arena, text);
}

static int finish(struct mc_quant_static *s, struct mc_err *err)
{
    const struct mc_graph *g = s->r.g;
    for (size_t i = 0; i < s->b->sites->n; i++) {
        const struct mc_quant_site *t = &s->b->sites->item[i];
        struct mc_quant_placed *at = &s->b->b->at[i];
        if (s->b->form[i] != MC_QUANT_STATIC && s->b->form[i] != MC_QUANT_STATIC16)
            continue;
        at->node = mc_quant_node(s->b, i);
        at->x = at->node->in[t->x_slot];
        at->y = mc_quant_value(s->b, t->y);
        if (s->b->form[i] == MC_QUANT_STATIC && !(at->note = note(s, i)))
            return mc_quant_static_no_memory(err);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_quant_unit *u = &s->r.unit[g->nodes[i]->id];
        s->b->b->quantised_nodes += u->integer && u->kind != MC_QUANT_LAYER;
    }
    return 0;
}

/* ---- */

static int start(struct mc_quant_static *s, struct mc_err *err)
{
    const struct mc_graph *g = s->b->before->graph;
    s->g = s->b->b->m->graph;
    s->node = mc_calloc(s->g->n_node_ids + 1, sizeof(void *));
    s->pair = mc_calloc(g->n_values + 1, sizeof *s->pair);
    s->wide = mc_calloc(g->n_values + 1, sizeof *s->wide);
    if (!s->node || !s->pair || !s->wide)
        return mc_quant_static_no_memory(err);
    for (size_t i = 0; i < s->g->n_nodes; i++)
        s->node[s->g->nodes[i]->id] = s->g->nodes[i];
    return mc_quant_region_plan(s->b->before, s->b->sites, s->b->rules, s->b->stats, s->b->form,
                                &s->r, err);
}

int mc_quant_form_static(struct mc_quant_builder *b, struct mc_err *err)
{
    struct mc_quant_static s = {.b = b};
    int rc = start(&s, err);
    const struct mc_graph *g = s.r.g;
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (s.r.unit[g->nodes[i]->id].integer)
            rc = widen_unit(&s, g->nodes[i], err);
    if (!rc)
        rc = mc_quant_static_pairs(&s, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (s.r.unit[g->nodes[i]->id].integer)
            rc = wire(&s, g->nodes[i], err);
    for (size_t i = 0; !rc && i < b->sites->n; i++)
        if (b->form[i] == MC_QUANT_STATIC || b->form[i] == MC_QUANT_STATIC16)
            rc = mc_quant_static_layer(&s, i, err);
    if (!rc)
        rc = finish(&s, err);
    free(s.node);
    free(s.pair);
    free(s.wide);
    mc_infer_free(s.inf);
    mc_quant_region_free(&s.r);
    return rc;
}
