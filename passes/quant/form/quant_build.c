#include "passes/quant/form/quant_build.h"

#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/verify.h"
#include "passes/quant/form/quant_put.h"
#include "passes/layer/layer.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- the same in both models ---- */

struct mc_node *mc_quant_node(const struct mc_quant_builder *b, size_t site)
{
    return b->node[site];
}

struct mc_value *mc_quant_value(const struct mc_quant_builder *b, const struct mc_value *v)
{
    const struct mc_graph *g = b->graph[v->graph->index];
    return v->index < g->n_values ? g->values[v->index] : NULL;
}

/* Graphs are met in the same order; nodes and values have the places that they had. */
static int map_graphs(struct mc_quant_builder *b, struct mc_err *err)
{
    struct mc_graph **from = NULL, **to = NULL;
    size_t n_from = 0, n_to = 0;
    int rc = mc_layer_graphs(b->before, &from, &n_from, err);
    if (!rc)
        rc = mc_layer_graphs(b->b->m, &to, &n_to, err);
    if (!rc && n_from != n_to)
        rc = mc_fail(err, MC_EFAIL, "the model to change is no copy of the one that was looked at");
    for (size_t i = 0; i < n_from && !rc; i++)
        b->graph[from[i]->index] = to[i];
    free(from);
    free(to);
    return rc;
}

static int start(struct mc_quant_builder *b, struct mc_err *err)
{
    size_t n = b->sites->n;
    b->graph = mc_calloc(b->before->n_graphs + 1, sizeof *b->graph);
    b->node = mc_calloc(n + 1, sizeof(void *));
    b->b->at = mc_calloc(n + 1, sizeof *b->b->at);
    b->b->n = n;
    if (!b->graph || !b->node || !b->b->at)
        return no_memory(err);
    int rc = map_graphs(b, err);
    for (size_t i = 0; i < n && !rc; i++) {
        const struct mc_quant_site *s = &b->sites->item[i];
        struct mc_node *node = b->graph[s->node->graph->index]->nodes[s->node->pos];
        struct mc_value *x = (size_t)s->x_slot < node->n_in ? node->in[s->x_slot] : NULL;
        b->node[i] = node;
        b->b->at[i] = (struct mc_quant_placed){
            .node = node, .x = x, .y = s->y ? mc_quant_value(b, s->y) : NULL};
    }
    return rc;
}

/* ---- forms ---- */

static int check(const struct mc_quant_builder *b, size_t i, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[i];
    enum mc_quant_form f = b->form[i];
    if (f == MC_QUANT_FLOAT || !s->why[f])
        return 0;
    return mc_fail(err, MC_EUSAGE, "%s '%s' cannot have the form %s: %s", s->node->op_type,
                   mc_node_label(s->node), mc_quant_form_names[f], s->why[f]);
}

static bool is_static(enum mc_quant_form f)
{
    return f == MC_QUANT_STATIC || f == MC_QUANT_STATIC16;
}

static int build_site(struct mc_quant_builder *b, size_t i, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[i];
    switch (b->form[i]) {
    case MC_QUANT_HALF: return mc_quant_form_half(b, i, err);
    case MC_QUANT_WEIGHT:
    case MC_QUANT_BLOCK:
        return s->kind == MC_QUANT_CELL    ? mc_quant_form_cell(b, i, err)
               : s->kind == MC_QUANT_TABLE ? mc_quant_form_table(b, i, err)
                                           : mc_quant_form_weight(b, i, err);
    case MC_QUANT_DYNAMIC:
        return s->kind == MC_QUANT_CELL ? mc_quant_form_cell(b, i, err)
                                        : mc_quant_form_dynamic(b, i, err);
    default: return 0;
    }
}

/* Tables first: what shares their weight turns it where it needs to, and rows are looked up as they lie. */
static int build_all(struct mc_quant_builder *b, struct mc_err *err)
{
    bool any_static = false;
    int rc = 0;
    for (size_t i = 0; i < b->sites->n && !rc; i++) {
        rc = check(b, i, err);
        any_static |= is_static(b->form[i]);
        b->b->at[i].form = b->form[i];
    }
    for (int tables = 1; tables >= 0 && !rc; tables--)
        for (size_t i = 0; i < b->sites->n && !rc; i++)
            if ((b->sites->item[i].kind == MC_QUANT_TABLE) == tables)
                rc = build_site(b, i, err);
    return !rc && any_static ? mc_quant_form_static(b, err) : rc;
}

/* Float weights that nobody reads any more, in functions too. */
static void sweep(struct mc_model *m)
{
    mc_edit_sweep(m->graph);
    for (size_t i = 0; i < m->n_functions; i++)
        mc_edit_sweep(m->functions[i]->body);
}

int mc_quant_build_into(struct mc_pass_ctx *ctx, const struct mc_model *before,
                        const struct mc_quant_sites *sites, const struct mc_quant_rules *rules,
                        const struct mc_quant_stats *stats, const enum mc_quant_form *form,
                        struct mc_quant_cache *cache, bool sizes_only, struct mc_model *m,
                        struct mc_quant_built *ret, struct mc_err *err)
{
    struct mc_quant_built built = {.m = m};
    struct mc_quant_builder b = {.ctx = ctx,
                                 .before = before,
                                 .sites = sites,
                                 .rules = rules,
                                 .stats = stats,
                                 .form = form,
                                 .cache = cache,
                                 .sizes_only = sizes_only,
                                 .b = &built};
    int rc = start(&b, err);
    if (!rc)
        rc = build_all(&b, err);
    if (!rc) {
        sweep(m);
        rc = mc_verify(m, err);
    }
    free(b.graph);
    free(b.node);
    free(b.put);
    if (rc)
        mc_quant_built_free(&built);
    else
        *ret = built;
    return rc;
}

int mc_quant_build(struct mc_pass_ctx *ctx, const struct mc_model *before,
                   const struct mc_quant_sites *sites, const struct mc_quant_rules *rules,
                   const struct mc_quant_stats *stats, const enum mc_quant_form *form,
                   struct mc_quant_cache *cache, bool sizes_only, struct mc_quant_built *ret,
                   struct mc_err *err)
{
    struct mc_model *m;
    int rc = mc_model_clone(before, &m, err);
    if (rc)
        return rc;
    rc =
        mc_quant_build_into(ctx, before, sites, rules, stats, form, cache, sizes_only, m, ret, err);
    if (rc)
        mc_model_free(m);
    else
        ret->owned = true;
    return rc;
}

void mc_quant_built_free(struct mc_quant_built *b)
{
    free(b->at);
    if (b->owned)
        mc_model_free(b->m);
    *b = (struct mc_quant_built){0};
}
