#include "passes/svd/merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/svd/merge_pair.h"
#include "passes/svd/merge_weight.h"
#include "passes/svd/svd_rewrite.h"

struct merging {
    struct mc_model *m;
    struct mc_linalg *la;
    struct mc_merges *all;
    struct mc_pairs pairs; /* of one round */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- one pair ---- */

static bool remember(struct mc_merge *k, const struct mc_node *n, size_t slot, bool add)
{
    const struct mc_value *v = slot < n->n_in ? n->in[slot] : NULL;
    const char *name = v ? mc_arena_strdup(&n->graph->model->arena, v->name) : NULL;
    k->put[k->n_put++] = (struct mc_merge_put){name, (int)slot, add};
    return !v || name;
}

static bool ends_in(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n > k && !strcmp(s + n - k, suffix);
}

/* Of what came apart here: the name from before. */
static void name_of(const struct mc_pair *p, char *ret, size_t size)
{
    const char *a = p->w1->name, *b = p->w2->name;
    if (p->product) { /* stored as (expand, reduce) */
        const char *swap = a;
        a = b;
        b = swap;
    }
    size_t n = strlen(a) - strlen("_reduce");
    bool same = ends_in(a, "_reduce") && ends_in(b, "_expand") &&
                strlen(b) == n + strlen("_expand") && !strncmp(a, b, n);
    snprintf(ret, size, "%.*s", same ? (int)(n < size ? n : size - 1) : 900, b);
}

/* The merged weight of p and of all pairs like it that follow in this round; NULL where it cannot be held. */
static int merged_weight(struct merging *g, const struct mc_pair *p, struct mc_value **ret,
                         struct mc_err *err)
{
    char name[1024];
    struct mc_tensor *t = NULL;
    float scale =
        p->first.kind == MC_LAYER_GEMM ? mc_node_float(p->first.sites->node, "alpha", 1) : 1;
    int rc = p->product ? mc_merge_product(g->la, mc_constant(p->w1), mc_constant(p->w2),
                                           g->m->spill, &t, err)
                        : mc_merge_weights(g->la, &p->first, &p->second, scale, &p->window,
                                           g->m->spill, &t, err);
    *ret = NULL;
    if (rc == MC_EDATA) /* not finite: whoever reads the weight itself will say so */
        return 0;
    if (rc || !t)
        return rc;
    name_of(p, name, sizeof name);
    rc = mc_constant_new(p->second.sites->node->graph, 0, name, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

static int push_bias(struct merging *g, const struct mc_pair *p, struct mc_merge *k,
                     struct mc_err *err)
{
    float scale, *b = NULL;
    int64_t n;
    const struct mc_value *v = mc_pair_bias(&p->first, &scale);
    const struct mc_layer_site *s = p->second.sites;
    if (!v)
        return 0;
    if (!remember(k, s->add ? s->add : s->node, s->add ? (size_t)s->add_slot : 2, s->add != NULL))
        return no_memory(err);
    int rc = mc_constant_f32(v, &b, &n, err);
    float *row = mc_calloc((size_t)p->first.m, sizeof *row);
    float *shift = mc_calloc((size_t)p->second.m, sizeof *shift);
    if (!rc && (!row || !shift))
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < p->first.m; i++)
        row[i] = scale * b[n == 1 ? 0 : i];
    if (!rc)
        rc = mc_merge_bias(&p->second, row, shift, err);
    if (!rc)
        rc = mc_svd_shift_site(g->m, &p->second, s, shift, err);
    free(b);
    free(row);
    free(shift);
    return rc;
}

/* Behind a table the product becomes the look-up. */
static int become_table(const struct mc_pair *p, struct mc_merge *k, struct mc_err *err)
{
    struct mc_node *n = p->second.sites->node, *gather = p->first.sites->node;
    k->op = n->op_type;
    k->version = n->version;
    int rc = mc_edit_op(n, "", "Gather", gather->version, err);
    return rc ? rc : mc_edit_set_input(n, 1, gather->in[1], err);
}

static int join(struct merging *g, const struct mc_pair *p, struct mc_value *w, struct mc_err *err)
{
    struct mc_node *n = p->second.sites->node;
    struct mc_node *first = p->product ? p->product : p->first.sites->node;
    bool left = p->second.kind == MC_LAYER_LEFT, table = p->first.kind == MC_LAYER_TABLE;
    size_t weight = p->product ? 2 : left || table ? 0 : 1, input = left ? 1 : 0;
    struct mc_merge k = {.node = n, .before = -1, .first = first->out[0]->name};
    uint64_t bytes = mc_constant(p->w1)->bytes;
    double macs = table || p->product ? 0 : (double)mc_tensor_count(p->first.weight);
    for (size_t i = g->all->n; i > 0 && k.before < 0; i--)
        if (g->all->item[i - 1].node == first) {
            k.before = (int)i - 1;
            bytes = g->all->item[i - 1].bytes;
            macs = g->all->item[i - 1].macs;
        }
    if (p->readers > 1) {
        k.shared = first->out[0]->name;
        bytes /= p->readers;
        macs /= (double)p->readers;
    }
    k.bytes = bytes + mc_constant(p->w2)->bytes;
    k.macs = p->product ? 0 : macs + (double)mc_tensor_count(p->second.weight);
    bool ok =
        remember(&k, n, weight, false) && (p->product || remember(&k, n, table ? 1 : input, false));
    int rc = !ok ? no_memory(err) : p->product ? 0 : push_bias(g, p, &k, err);
    if (!rc && p->second.kind == MC_LAYER_CONV) {
        rc = mc_window_attrs_get(n, &k.attrs, err);
        if (!rc)
            rc = mc_merge_window_put(n, &p->window, err);
    }
    if (!rc && table)
        rc = become_table(p, &k, err);
    else if (!rc && !p->product)
        rc = mc_edit_set_input(n, input, first->in[input], err);
    if (!rc)
        rc = mc_edit_set_input(n, weight, w, err);
    if (rc)
        return rc;
    if (!MC_GROW(g->all->item, g->all->n, g->all->cap))
        return no_memory(err);
    g->all->item[g->all->n++] = k;
    rc = mc_pairs_leave(&g->pairs, first, err);
    if (!rc && !p->product && p->first.sites->add)
        rc = mc_pairs_leave(&g->pairs, p->first.sites->add, err);
    return rc;
}

/* ---- all pairs ---- */

static bool was_merged(const struct merging *g, size_t from, const struct mc_node *n)
{
    for (size_t i = from; i < g->all->n; i++)
        if (g->all->item[i].node == n)
            return true;
    return false;
}

static int merge_group(struct merging *g, size_t i, size_t from, struct mc_err *err)
{
    struct mc_pair *p = &g->pairs.item[i];
    struct mc_value *w = NULL;
    if (mc_pairs_is_gone(&g->pairs, p->second.sites->node) ||
        was_merged(g, from, p->second.sites->node) || !mc_pair_fits(&g->pairs, p))
        return 0;
    /* a chain is merged from its front, one link a round */
    const struct mc_node *first = p->product ? NULL : p->first.sites->node;
    for (size_t k = i; first && k < g->pairs.n; k++)
        if (mc_pair_alike(p, &g->pairs.item[k]) &&
            was_merged(g, from, g->pairs.item[k].first.sites->node))
            return 0;
    int rc = merged_weight(g, p, &w, err);
    for (size_t k = i; !rc && w && k < g->pairs.n; k++)
        if (k == i || mc_pair_alike(p, &g->pairs.item[k]))
            rc = join(g, &g->pairs.item[k], w, err);
    return rc;
}

static int merge_round(struct merging *g, struct mc_graph *const *graph, size_t n,
                       struct mc_err *err)
{
    size_t from = g->all->n;
    int rc = mc_pairs_find(&g->pairs, graph, n, err);
    for (size_t i = 0; !rc && i < g->pairs.n; i++)
        rc = merge_group(g, i, from, err);
    mc_pairs_clear(&g->pairs);
    return rc;
}

int mc_merge_pairs(struct mc_model *m, struct mc_linalg *la, struct mc_merges *ret,
                   struct mc_err *err)
{
    struct mc_merges all = {0};
    struct merging g = {.m = m, .la = la, .all = &all};
    struct mc_graph **graph;
    size_t n, had;
    int rc = mc_layer_graphs(m, &graph, &n, err);
    if (rc)
        return rc;
    do {
        had = all.n;
        rc = merge_round(&g, graph, n, err);
    } while (!rc && all.n > had);
    free(graph);
    mc_pairs_free(&g.pairs);
    if (rc)
        mc_merges_free(&all);
    else
        *ret = all;
    return rc;
}

void mc_merges_free(struct mc_merges *m)
{
    free(m->item);
    *m = (struct mc_merges){0};
}
