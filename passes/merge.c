#include "passes/merge.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/merge_weight.h"
#include "passes/svd_rewrite.h"
#include "passes/svd_slot.h"

/* A product of more elements is not made: 1 GiB. */
static const double MOST_ELEMENTS = 1 << 28;

/* Two nodes of which the first can be part of the second. */
struct pair {
    struct mc_svd_layer first, second; /* of one site each */
    struct mc_value *between;          /* what the second reads */
    struct mc_merge_window window;     /* of both together */
    struct mc_node
        *product; /* recurrent weights: the node that multiplies two constants, no `first` */
    struct mc_value *w1, *w2;
    size_t uses1, uses2; /* of their contents, by nodes that count */
    size_t readers;      /* of the value between: more than 1 where one factor serves several */
};

struct merging {
    struct mc_model *m;
    struct mc_linalg *la;
    struct mc_merges *all;
    struct pair *pair; /* of one round */
    size_t n_pairs, cap_pairs;
    const struct mc_node **gone; /* first nodes that nobody reads any more */
    size_t n_gone, cap_gone;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool is_gone(const struct merging *g, const struct mc_node *n)
{
    for (size_t i = 0; i < g->n_gone; i++)
        if (g->gone[i] == n)
            return true;
    return false;
}

/* How many inputs of nodes of its own graph read v, 0 if anything else does. */
static size_t readers_of(const struct merging *g, const struct mc_value *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_uses; i++) {
        if (v->uses[i].slot < 0)
            return 0;
        n += !is_gone(g, v->uses[i].node);
    }
    return v->is_output ? 0 : n;
}

/* ---- which pairs ---- */

/* The node as a layer of one site, which has none if it cannot be part of a pair. */
static int linear(struct mc_node *n, struct mc_svd_layer *ret, struct mc_err *err)
{
    struct mc_svd_slot slot[MC_SVD_SLOTS];
    const char *why;
    bool fits = mc_svd_slots(n, slot) ? slot[0].why == NULL : mc_svd_applies(n, &why);
    if (!fits || (mc_node_is(n, "Conv") && mc_node_int(n, "group", 1) != 1))
        return 0;
    return mc_svd_single(n, ret, err);
}

static bool kinds_fit(enum mc_svd_kind first, enum mc_svd_kind second)
{
    switch (second) {
    case MC_SVD_CONV: return first == MC_SVD_CONV;
    case MC_SVD_LEFT: return first == MC_SVD_LEFT;
    case MC_SVD_MATMUL:
        return first == MC_SVD_MATMUL || first == MC_SVD_GEMM || first == MC_SVD_TABLE;
    case MC_SVD_GEMM: return first == MC_SVD_MATMUL || first == MC_SVD_GEMM;
    case MC_SVD_INPUT: return first == MC_SVD_MATMUL;
    default: return false;
    }
}

/* What the first adds to its product, NULL: nothing. *ret_scale multiplies it. */
static const struct mc_value *bias_of(const struct mc_svd_layer *first, float *ret_scale)
{
    const struct mc_svd_site *s = first->sites;
    const struct mc_node *n = s->node;
    *ret_scale = first->kind == MC_SVD_GEMM ? mc_node_float(n, "beta", 1) : 1;
    if (s->add)
        return s->add->in[s->add_slot];
    bool own = first->kind == MC_SVD_GEMM || first->kind == MC_SVD_CONV;
    return own && n->n_in > 2 && *ret_scale != 0 ? n->in[2] : NULL;
}

/* The bias of the first must be a row of constants, that of the second must be able to take it. */
static bool bias_fits(const struct pair *p)
{
    float scale;
    const struct mc_value *b = bias_of(&p->first, &scale);
    if (!b)
        return true;
    const struct mc_svd_layer *l = &p->second;
    return p->first.sites->bias && l->sites->bias && l->kind != MC_SVD_INPUT &&
           (l->kind != MC_SVD_GEMM || mc_node_float(l->sites->node, "beta", 1) != 0);
}

static bool fits(struct pair *p)
{
    const struct mc_svd_layer *a = &p->first, *b = &p->second;
    float scale;
    int64_t inner = b->kind == MC_SVD_CONV ? b->weight->shape.dim[1] : b->n;
    if (!kinds_fit(a->kind, b->kind) || a->weight->dtype != b->weight->dtype || a->m != inner ||
        !bias_fits(p))
        return false;
    double elements = (double)b->m * (double)a->n;
    if (b->kind == MC_SVD_CONV) {
        struct mc_merge_window w1, w2;
        if (!mc_merge_window_of(a->sites->node, &w1) || !mc_merge_window_of(b->sites->node, &w2) ||
            !mc_merge_windows(&w1, &w2, bias_of(a, &scale) != NULL, &p->window))
            return false;
        elements *= (double)b->n / (double)inner;
    }
    return elements <= MOST_ELEMENTS;
}

/* The pair of a cell and the node that makes its recurrent weights; without sites there is none. */
static int find_product(struct mc_node *n, struct pair *ret, struct mc_err *err)
{
    int64_t gates, dirs;
    struct mc_value *r = n->n_in > 2 ? n->in[2] : NULL;
    struct mc_node *p = r ? r->producer : NULL;
    *ret = (struct pair){0};
    if (!mc_svd_cell(n, &gates, &dirs) || !p || !mc_node_is(p, "MatMul") || p->n_in != 2)
        return 0;
    const struct mc_tensor *a = mc_constant(p->in[0]), *b = mc_constant(p->in[1]);
    if (!a || !b || a->dtype != b->dtype || a->shape.rank != 3 || b->shape.rank != 3 ||
        mc_dtype_info(a->dtype)->kind != MC_KIND_FLOAT || a->shape.dim[0] != b->shape.dim[0] ||
        a->shape.dim[2] != b->shape.dim[1] ||
        (double)mc_tensor_count(a) * (double)b->shape.dim[2] > MOST_ELEMENTS)
        return 0;
    *ret = (struct pair){.product = p, .between = r, .w1 = p->in[0], .w2 = p->in[1]};
    ret->second.sites = mc_calloc(1, sizeof *ret->second.sites);
    if (!ret->second.sites)
        return no_memory(err);
    ret->second.sites->node = n;
    return 0;
}

static void free_pair(struct pair *p)
{
    free(p->first.sites);
    free(p->second.sites);
    *p = (struct pair){0};
}

/* The node in front of the second of a pair, and the Add between them, which may be the same; NULL: none. */
static struct mc_node *in_front(const struct mc_value *x, struct mc_node **ret_add)
{
    struct mc_node *add = *ret_add = x->producer;
    if (!add || !mc_node_is(add, "Add") || add->n_in != 2 || !add->in[0] || !add->in[1])
        return add;
    return add->in[mc_constant(add->in[0]) != NULL]->producer;
}

/* The pair whose second node is n; without sites there is none. */
static int find_pair(const struct merging *g, struct mc_node *n, struct pair *ret,
                     struct mc_err *err)
{
    struct mc_svd_layer *a = &ret->first, *b = &ret->second;
    *ret = (struct pair){0};
    int rc = linear(n, b, err);
    if (rc || !b->sites)
        return rc;
    struct mc_node *add, *first = in_front(n->in[b->kind == MC_SVD_LEFT], &add);
    ret->between = n->in[b->kind == MC_SVD_LEFT];
    ret->readers = readers_of(g, ret->between);
    ret->w2 = b->value;
    bool several = b->kind == MC_SVD_MATMUL || b->kind == MC_SVD_GEMM;
    if (b->kind != MC_SVD_TABLE && first && first->graph == n->graph &&
        (ret->readers == 1 || (ret->readers > 1 && several)))
        rc = linear(first, a, err);
    ret->w1 = a->value;
    if (rc || !a->sites || (ret->readers > 1 && a->kind == MC_SVD_TABLE) ||
        (first != add && a->sites->add != add) || !fits(ret))
        free_pair(ret);
    return rc;
}

/* ---- tied weights: all their pairs or none ---- */

static void count_use(struct merging *g, const struct mc_value *v)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    for (size_t i = 0; t && i < g->n_pairs; i++) {
        g->pair[i].uses1 += t == mc_constant(g->pair[i].w1);
        g->pair[i].uses2 += t == mc_constant(g->pair[i].w2);
    }
}

static void count_uses(struct merging *g, struct mc_graph *const *graph, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < graph[k]->n_nodes; i++) {
            const struct mc_node *node = graph[k]->nodes[i];
            for (size_t s = 0; s < node->n_in && !mc_node_is(node, "Identity"); s++)
                if (!is_gone(g, node))
                    count_use(g, node->in[s]);
        }
        for (size_t i = 0; i < graph[k]->n_outputs; i++)
            count_use(g, graph[k]->outputs[i]);
    }
}

static bool alike(const struct pair *a, const struct pair *b)
{
    return mc_constant(a->w1) == mc_constant(b->w1) && mc_constant(a->w2) == mc_constant(b->w2) &&
           a->second.kind == b->second.kind && a->second.out_major == b->second.out_major &&
           a->first.kind == b->first.kind && a->first.out_major == b->first.out_major &&
           !a->product == !b->product &&
           a->second.sites->node->graph == b->second.sites->node->graph;
}

/* A factor that serves several readers goes with all of them, and only where it serves nobody else. */
static bool all_readers(const struct merging *g, const struct pair *p)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_pairs; i++)
        if (g->pair[i].between == p->between) {
            if (g->pair[i].uses1 != 1 || g->pair[i].uses2 != 1)
                return false;
            n++;
        }
    return n == p->readers;
}

static bool all_or_none(const struct merging *g, const struct pair *p)
{
    if (p->readers > 1)
        return all_readers(g, p);
    size_t n = 0;
    float scale = 1, other;
    if (p->first.kind == MC_SVD_GEMM)
        scale = mc_node_float(p->first.sites->node, "alpha", 1);
    for (size_t i = 0; i < g->n_pairs; i++) {
        if (!alike(p, &g->pair[i]))
            continue;
        other = g->pair[i].first.kind == MC_SVD_GEMM
                    ? mc_node_float(g->pair[i].first.sites->node, "alpha", 1)
                    : 1;
        if (other != scale)
            return false;
        n++;
    }
    /* one product serves several cells */
    return p->product ? p->uses1 == 1 && p->uses2 == 1 && readers_of(g, p->between) == 1
                      : n == p->uses1 && n == p->uses2;
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
static void name_of(const struct pair *p, char *ret, size_t size)
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
static int merged_weight(struct merging *g, const struct pair *p, struct mc_value **ret,
                         struct mc_err *err)
{
    char name[1024];
    struct mc_tensor *t = NULL;
    float scale =
        p->first.kind == MC_SVD_GEMM ? mc_node_float(p->first.sites->node, "alpha", 1) : 1;
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

static int push_bias(struct merging *g, const struct pair *p, struct mc_merge *k,
                     struct mc_err *err)
{
    float scale, *b = NULL;
    int64_t n;
    const struct mc_value *v = bias_of(&p->first, &scale);
    const struct mc_svd_site *s = p->second.sites;
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
static int become_table(const struct pair *p, struct mc_merge *k, struct mc_err *err)
{
    struct mc_node *n = p->second.sites->node, *gather = p->first.sites->node;
    k->op = n->op_type;
    k->version = n->version;
    int rc = mc_edit_op(n, "", "Gather", gather->version, err);
    return rc ? rc : mc_edit_set_input(n, 1, gather->in[1], err);
}

static int join(struct merging *g, const struct pair *p, struct mc_value *w, struct mc_err *err)
{
    struct mc_node *n = p->second.sites->node;
    struct mc_node *first = p->product ? p->product : p->first.sites->node;
    bool left = p->second.kind == MC_SVD_LEFT, table = p->first.kind == MC_SVD_TABLE;
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
    if (!rc && p->second.kind == MC_SVD_CONV) {
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
    if (!MC_GROW(g->all->item, g->all->n, g->all->cap) || !MC_GROW(g->gone, g->n_gone, g->cap_gone))
        return no_memory(err);
    g->all->item[g->all->n++] = k;
    g->gone[g->n_gone++] = first;
    if (!p->product && p->first.sites->add) {
        if (!MC_GROW(g->gone, g->n_gone, g->cap_gone))
            return no_memory(err);
        g->gone[g->n_gone++] = p->first.sites->add;
    }
    return 0;
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
    struct pair *p = &g->pair[i];
    struct mc_value *w = NULL;
    if (is_gone(g, p->second.sites->node) || was_merged(g, from, p->second.sites->node) ||
        !all_or_none(g, p))
        return 0;
    /* a chain is merged from its front, one link a round */
    const struct mc_node *first = p->product ? NULL : p->first.sites->node;
    for (size_t k = i; first && k < g->n_pairs; k++)
        if (alike(p, &g->pair[k]) && was_merged(g, from, g->pair[k].first.sites->node))
            return 0;
    int rc = merged_weight(g, p, &w, err);
    for (size_t k = i; !rc && w && k < g->n_pairs; k++)
        if (k == i || alike(p, &g->pair[k]))
            rc = join(g, &g->pair[k], w, err);
    return rc;
}

static int find_pairs(struct merging *g, struct mc_graph *graph, struct mc_err *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        struct pair p;
        struct mc_node *n = graph->nodes[i];
        for (int product = 0; product < 2 && !is_gone(g, n); product++) {
            int rc = product ? find_product(n, &p, err) : find_pair(g, n, &p, err);
            if (rc)
                return rc;
            if (!p.second.sites)
                continue;
            if (!MC_GROW(g->pair, g->n_pairs, g->cap_pairs)) {
                free_pair(&p);
                return no_memory(err);
            }
            g->pair[g->n_pairs++] = p;
        }
    }
    return 0;
}

static void free_pairs(struct merging *g)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        free_pair(&g->pair[i]);
    g->n_pairs = 0;
}

static int merge_round(struct merging *g, struct mc_graph *const *graph, size_t n,
                       struct mc_err *err)
{
    size_t from = g->all->n;
    int rc = 0;
    for (size_t k = 0; !rc && k < n; k++)
        rc = find_pairs(g, graph[k], err);
    if (!rc && g->n_pairs)
        count_uses(g, graph, n);
    for (size_t i = 0; !rc && i < g->n_pairs; i++)
        rc = merge_group(g, i, from, err);
    free_pairs(g);
    return rc;
}

int mc_merge_pairs(struct mc_model *m, struct mc_linalg *la, struct mc_merges *ret,
                   struct mc_err *err)
{
    struct mc_merges all = {0};
    struct merging g = {.m = m, .la = la, .all = &all};
    struct mc_graph **graph;
    size_t n, had;
    int rc = mc_svd_graphs(m, &graph, &n, err);
    if (rc)
        return rc;
    do {
        had = all.n;
        rc = merge_round(&g, graph, n, err);
    } while (!rc && all.n > had);
    free(graph);
    free(g.pair);
    free(g.gone);
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
