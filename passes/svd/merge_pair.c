#include "passes/svd/merge_pair.h"

#include <stdlib.h>

#include "graph/constant.h"
#include "passes/layer/layer_slot.h"

/* A product of more elements is not made: 1 GiB. */
static const double MOST_ELEMENTS = 1 << 28;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

bool mc_pairs_is_gone(const struct mc_pairs *g, const struct mc_node *n)
{
    for (size_t i = 0; i < g->n_gone; i++)
        if (g->gone[i] == n)
            return true;
    return false;
}

/* How many inputs of nodes of its own graph read v, 0 if anything else does. */
static size_t readers_of(const struct mc_pairs *g, const struct mc_value *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_uses; i++) {
        if (v->uses[i].slot < 0)
            return 0;
        n += !mc_pairs_is_gone(g, v->uses[i].node);
    }
    return v->is_output ? 0 : n;
}

/* ---- which pairs ---- */

/* The node as a layer of one site, which has none if it cannot be part of a pair. */
static int linear(struct mc_node *n, struct mc_layer *ret, struct mc_err *err)
{
    struct mc_layer_slot slot[MC_LAYER_SLOTS];
    const char *why;
    bool fits = mc_layer_slots(n, slot) ? slot[0].why == NULL : mc_layer_applies(n, &why);
    if (!fits || (mc_node_is(n, "Conv") && mc_node_int(n, "group", 1) != 1))
        return 0;
    return mc_layer_single(n, ret, err);
}

static bool kinds_fit(enum mc_layer_kind first, enum mc_layer_kind second)
{
    switch (second) {
    case MC_LAYER_CONV: return first == MC_LAYER_CONV;
    case MC_LAYER_LEFT: return first == MC_LAYER_LEFT;
    case MC_LAYER_MATMUL:
        return first == MC_LAYER_MATMUL || first == MC_LAYER_GEMM || first == MC_LAYER_TABLE;
    case MC_LAYER_GEMM: return first == MC_LAYER_MATMUL || first == MC_LAYER_GEMM;
    case MC_LAYER_INPUT: return first == MC_LAYER_MATMUL;
    default: return false;
    }
}

const struct mc_value *mc_pair_bias(const struct mc_layer *first, float *ret_scale)
{
    const struct mc_layer_site *s = first->sites;
    const struct mc_node *n = s->node;
    *ret_scale = first->kind == MC_LAYER_GEMM ? mc_node_float(n, "beta", 1) : 1;
    if (s->add)
        return s->add->in[s->add_slot];
    bool own = first->kind == MC_LAYER_GEMM || first->kind == MC_LAYER_CONV;
    return own && n->n_in > 2 && *ret_scale != 0 ? n->in[2] : NULL;
}

/* The bias of the first must be a row of constants, that of the second must be able to take it. */
static bool bias_fits(const struct mc_pair *p)
{
    float scale;
    const struct mc_value *b = mc_pair_bias(&p->first, &scale);
    if (!b)
        return true;
    const struct mc_layer *l = &p->second;
    return p->first.sites->bias && l->sites->bias && l->kind != MC_LAYER_INPUT &&
           (l->kind != MC_LAYER_GEMM || mc_node_float(l->sites->node, "beta", 1) != 0);
}

static bool fits(struct mc_pair *p)
{
    const struct mc_layer *a = &p->first, *b = &p->second;
    float scale;
    int64_t inner = b->kind == MC_LAYER_CONV ? b->weight->shape.dim[1] : b->n;
    if (!kinds_fit(a->kind, b->kind) || a->weight->dtype != b->weight->dtype || a->m != inner ||
        !bias_fits(p))
        return false;
    double elements = (double)b->m * (double)a->n;
    if (b->kind == MC_LAYER_CONV) {
        struct mc_merge_window w1, w2;
        if (!mc_merge_window_of(a->sites->node, &w1) || !mc_merge_window_of(b->sites->node, &w2) ||
            !mc_merge_windows(&w1, &w2, mc_pair_bias(a, &scale) != NULL, &p->window))
            return false;
        elements *= (double)b->n / (double)inner;
    }
    return elements <= MOST_ELEMENTS;
}

/* The pair of a cell and the node that makes its recurrent weights; without sites there is none. */
static int find_product(struct mc_node *n, struct mc_pair *ret, struct mc_err *err)
{
    int64_t gates, dirs;
    struct mc_value *r = n->n_in > 2 ? n->in[2] : NULL;
    struct mc_node *p = r ? r->producer : NULL;
    *ret = (struct mc_pair){0};
    if (!mc_layer_cell(n, &gates, &dirs) || !p || !mc_node_is(p, "MatMul") || p->n_in != 2)
        return 0;
    const struct mc_tensor *a = mc_constant(p->in[0]), *b = mc_constant(p->in[1]);
    if (!a || !b || a->dtype != b->dtype || a->shape.rank != 3 || b->shape.rank != 3 ||
        mc_dtype_info(a->dtype)->kind != MC_KIND_FLOAT || a->shape.dim[0] != b->shape.dim[0] ||
        a->shape.dim[2] != b->shape.dim[1] ||
        (double)mc_tensor_count(a) * (double)b->shape.dim[2] > MOST_ELEMENTS)
        return 0;
    *ret = (struct mc_pair){.product = p, .between = r, .w1 = p->in[0], .w2 = p->in[1]};
    ret->second.sites = mc_calloc(1, sizeof *ret->second.sites);
    if (!ret->second.sites)
        return no_memory(err);
    ret->second.sites->node = n;
    return 0;
}

static void free_pair(struct mc_pair *p)
{
    free(p->first.sites);
    free(p->second.sites);
    *p = (struct mc_pair){0};
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
static int find_pair(const struct mc_pairs *g, struct mc_node *n, struct mc_pair *ret,
                     struct mc_err *err)
{
    struct mc_layer *a = &ret->first, *b = &ret->second;
    *ret = (struct mc_pair){0};
    int rc = linear(n, b, err);
    if (rc || !b->sites)
        return rc;
    struct mc_node *add, *first = in_front(n->in[b->kind == MC_LAYER_LEFT], &add);
    ret->between = n->in[b->kind == MC_LAYER_LEFT];
    ret->readers = readers_of(g, ret->between);
    ret->w2 = b->value;
    bool several = b->kind == MC_LAYER_MATMUL || b->kind == MC_LAYER_GEMM;
    if (b->kind != MC_LAYER_TABLE && first && first->graph == n->graph &&
        (ret->readers == 1 || (ret->readers > 1 && several)))
        rc = linear(first, a, err);
    ret->w1 = a->value;
    if (rc || !a->sites || (ret->readers > 1 && a->kind == MC_LAYER_TABLE) ||
        (first != add && a->sites->add != add) || !fits(ret))
        free_pair(ret);
    return rc;
}

/* ---- tied weights: all their pairs or none ---- */

static void count_use(struct mc_pairs *g, const struct mc_value *v)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    for (size_t i = 0; t && i < g->n; i++) {
        g->item[i].uses1 += t == mc_constant(g->item[i].w1);
        g->item[i].uses2 += t == mc_constant(g->item[i].w2);
    }
}

static void count_uses(struct mc_pairs *g, struct mc_graph *const *graph, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < graph[k]->n_nodes; i++) {
            const struct mc_node *node = graph[k]->nodes[i];
            for (size_t s = 0; s < node->n_in && !mc_node_is(node, "Identity"); s++)
                if (!mc_pairs_is_gone(g, node))
                    count_use(g, node->in[s]);
        }
        for (size_t i = 0; i < graph[k]->n_outputs; i++)
            count_use(g, graph[k]->outputs[i]);
    }
}

bool mc_pair_alike(const struct mc_pair *a, const struct mc_pair *b)
{
    return mc_constant(a->w1) == mc_constant(b->w1) && mc_constant(a->w2) == mc_constant(b->w2) &&
           a->second.kind == b->second.kind && a->second.out_major == b->second.out_major &&
           a->first.kind == b->first.kind && a->first.out_major == b->first.out_major &&
           !a->product == !b->product &&
           a->second.sites->node->graph == b->second.sites->node->graph;
}

/* A factor that serves several readers goes with all of them, and only where it serves nobody else. */
static bool all_readers(const struct mc_pairs *g, const struct mc_pair *p)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        if (g->item[i].between == p->between) {
            if (g->item[i].uses1 != 1 || g->item[i].uses2 != 1)
                return false;
            n++;
        }
    return n == p->readers;
}

bool mc_pair_fits(const struct mc_pairs *g, const struct mc_pair *p)
{
    if (p->readers > 1)
        return all_readers(g, p);
    size_t n = 0;
    float scale = 1, other;
    if (p->first.kind == MC_LAYER_GEMM)
        scale = mc_node_float(p->first.sites->node, "alpha", 1);
    for (size_t i = 0; i < g->n; i++) {
        if (!mc_pair_alike(p, &g->item[i]))
            continue;
        other = g->item[i].first.kind == MC_LAYER_GEMM
                    ? mc_node_float(g->item[i].first.sites->node, "alpha", 1)
                    : 1;
        if (other != scale)
            return false;
        n++;
    }
    /* one product serves several cells */
    return p->product ? p->uses1 == 1 && p->uses2 == 1 && readers_of(g, p->between) == 1
                      : n == p->uses1 && n == p->uses2;
}

/* ---- all pairs ---- */

static int find_in(struct mc_pairs *g, struct mc_graph *graph, struct mc_err *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        struct mc_pair p;
        struct mc_node *n = graph->nodes[i];
        for (int product = 0; product < 2 && !mc_pairs_is_gone(g, n); product++) {
            int rc = product ? find_product(n, &p, err) : find_pair(g, n, &p, err);
            if (rc)
                return rc;
            if (!p.second.sites)
                continue;
            if (!MC_GROW(g->item, g->n, g->cap)) {
                free_pair(&p);
                return no_memory(err);
            }
            g->item[g->n++] = p;
        }
    }
    return 0;
}

void mc_pairs_clear(struct mc_pairs *g)
{
    for (size_t i = 0; i < g->n; i++)
        free_pair(&g->item[i]);
    g->n = 0;
}

int mc_pairs_find(struct mc_pairs *g, struct mc_graph *const *graph, size_t n, struct mc_err *err)
{
    int rc = 0;
    for (size_t k = 0; !rc && k < n; k++)
        rc = find_in(g, graph[k], err);
    if (!rc && g->n)
        count_uses(g, graph, n);
    return rc;
}

int mc_pairs_leave(struct mc_pairs *g, const struct mc_node *n, struct mc_err *err)
{
    if (!MC_GROW(g->gone, g->n_gone, g->cap_gone))
        return no_memory(err);
    g->gone[g->n_gone++] = n;
    return 0;
}

void mc_pairs_free(struct mc_pairs *g)
{
    mc_pairs_clear(g);
    free(g->item);
    free(g->gone);
    *g = (struct mc_pairs){0};
}
