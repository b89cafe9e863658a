#include "passes/layer/layer.h"

#include <stdlib.h>

#include "graph/constant.h"
#include "passes/layer/layer_slot.h"

/* ---- one node ---- */

static bool no(const char **ret_why, const char *why)
{
    *ret_why = why;
    return false;
}

static bool has_weights(const struct mc_node *n)
{
    static const char *const ops[] = {"ConvTranspose", "DeformConv", "Einsum"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

/* Does the caller of a function say what v is? */
static bool is_argument(const struct mc_value *v)
{
    while (v->outer)
        v = v->outer;
    return v->is_input && v->graph->function && !v->graph->parent;
}

/* Is v made of constants that unpacked would take more bytes (quantised, cast up, repeated)? */
static bool is_packed(const struct mc_value *v)
{
    while (v->outer)
        v = v->outer;
    const struct mc_node *n = v->producer;
    bool all = n && n->n_in > 0;
    for (size_t i = 0; all && i < n->n_in; i++)
        all = !n->in[i] || mc_constant(n->in[i]);
    return all;
}

bool mc_layer_weight_fits(const struct mc_value *v, int min_rank, int max_rank,
                          const char **ret_why)
{
    const struct mc_tensor *w = mc_constant(v);
    if (!w)
        return no(ret_why, is_argument(v) ? "the weight is an argument of a function"
                           : is_packed(v) ? "the weight is stored in a smaller form"
                                          : "there is no constant weight");
    const struct mc_dtype_info *info = mc_dtype_info(w->dtype);
    if (info->kind != MC_KIND_FLOAT || info->bits < 16)
        return no(ret_why, "the weight is not of a floating-point type of 16 bits or more");
    if (w->shape.rank < min_rank || w->shape.rank > max_rank)
        return no(ret_why, "the weight is not one matrix");
    if (mc_shape_count(&w->shape) <= 0)
        return no(ret_why, "the weight is empty");
    return true;
}

static bool groups_fit(const struct mc_node *n, const char **ret_why)
{
    int64_t groups = mc_node_int(n, "group", 1), m = mc_constant(n->in[1])->shape.dim[0];
    if (groups < 1 || m % groups)
        return no(ret_why, "the weight's shape does not fit the operator");
    return groups == 1 || m > groups ||
           no(ret_why, "a depthwise convolution has one row a group: there is no rank to lower");
}

bool mc_layer_applies(const struct mc_node *n, const char **ret_why)
{
    struct mc_layer_slot slot[MC_LAYER_SLOTS];
    int slots = mc_layer_slots(n, slot);
    for (int i = 0; i < slots; i++)
        if (!slot[i].why)
            return true;
    if (slots)
        return no(ret_why, slot[0].why);
    bool gemm = mc_node_is(n, "Gemm"), conv = mc_node_is(n, "Conv");
    if (!gemm && !conv && !mc_node_is(n, "MatMul"))
        return no(ret_why, has_weights(n) ? "weights of this operator are not factorised" : NULL);
    if (n->n_in < 2 || !n->in[0] || !n->in[1] || n->n_out < 1 || !n->out[0])
        return no(ret_why, "an input or the output is missing");
    if (gemm && mc_constant(n->in[0]) && !mc_constant(n->in[1]))
        return no(ret_why, "the constant is the left operand");
    if (!mc_layer_weight_fits(n->in[1], conv ? 3 : 2, conv ? MC_RANK_MAX : 2, ret_why))
        return false;
    if (gemm && mc_node_int(n, "transA", 0))
        return no(ret_why, "transA is set: the input is transposed");
    return !conv || groups_fit(n, ret_why);
}

size_t mc_layer_weight_slot(const struct mc_layer *l)
{
    return l->kind == MC_LAYER_RECURRENT                           ? 2
           : l->kind == MC_LAYER_LEFT || l->kind == MC_LAYER_TABLE ? 0
                                                                   : 1;
}

const struct mc_value *mc_layer_input(const struct mc_layer *l, const struct mc_layer_site *s)
{
    if (l->kind == MC_LAYER_RECURRENT)
        return s->node->n_out ? s->node->out[0] : NULL;
    return s->node->in[l->kind == MC_LAYER_LEFT || l->kind == MC_LAYER_TABLE];
}

/* ---- bias ---- */

/* The Add that gives a MatMul its bias: a constant of one element per output, or one for all. */
static void find_add(struct mc_layer_site *s, int64_t m)
{
    const struct mc_value *y = s->node->n_out ? s->node->out[0] : NULL;
    if (!y || y->n_uses != 1 || y->is_output || y->uses[0].slot < 0)
        return;
    struct mc_node *add = y->uses[0].node;
    if (add->graph != s->node->graph || !mc_node_is(add, "Add") || add->n_in != 2)
        return;
    int slot = y->uses[0].slot == 0;
    const struct mc_tensor *c = mc_constant(add->in[slot]);
    if (!c || c->shape.rank < 1 || c->shape.rank > 2 || c->shape.dim[c->shape.rank - 1] != m ||
        mc_tensor_count(c) != m)
        return;
    s->add = add;
    s->add_slot = slot;
    s->bias = true;
}

/* Gemm's C and Conv's B are there, or can be, unless something computes them or C has several rows. */
static void find_bias(struct mc_layer_site *s, const struct mc_layer *l)
{
    const struct mc_node *n = s->node;
    if (l->kind == MC_LAYER_MATMUL)
        find_add(s, l->m);
    if (l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT)
        s->bias = mc_layer_cell_bias(n, l->kind == MC_LAYER_RECURRENT);
    if (l->kind != MC_LAYER_GEMM && l->kind != MC_LAYER_CONV)
        return;
    const struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL;
    const struct mc_tensor *t = c ? mc_constant(c) : NULL;
    int64_t count = t ? mc_tensor_count(t) : 0;
    bool row = t && (count == 1 || (count == l->m && t->shape.rank > 0 &&
                                    t->shape.dim[t->shape.rank - 1] == l->m));
    bool silent = l->kind == MC_LAYER_GEMM && c && mc_node_float(n, "beta", 1) == 0;
    s->bias = !c || silent || row;
}

/* ---- all nodes ---- */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static struct mc_layer describe(const struct mc_node *n, enum mc_layer_kind kind)
{
    struct mc_layer l = {.kind = kind, .parts = 1};
    l.value = n->in[mc_layer_weight_slot(&l)];
    l.weight = mc_constant(l.value);
    const struct mc_shape *s = &l.weight->shape;
    l.out_major = kind != MC_LAYER_MATMUL && kind != MC_LAYER_TABLE &&
                  (kind != MC_LAYER_GEMM || mc_node_int(n, "transB", 0));
    l.m = s->dim[l.out_major ? 0 : 1];
    l.n = l.out_major ? mc_shape_span(s, 1, s->rank) : s->dim[0];
    if (kind == MC_LAYER_INPUT || kind == MC_LAYER_RECURRENT) {
        l.m = s->dim[0] * s->dim[1];
        l.n = s->dim[2];
        l.parts = kind == MC_LAYER_RECURRENT ? s->dim[0] : 1;
    }
    if (kind == MC_LAYER_CONV)
        l.parts = mc_node_int(n, "group", 1);
    return l;
}

static int add_site(struct mc_layer *l, struct mc_node *n, struct mc_err *err)
{
    if (!MC_GROW(l->sites, l->n_sites, l->cap_sites))
        return no_memory(err);
    l->sites[l->n_sites] = (struct mc_layer_site){.node = n, .cov = -1, .rows = -1};
    find_bias(&l->sites[l->n_sites++], l);
    return 0;
}

/* ---- weight -> layer ---- */

static size_t slot_of(const struct mc_layers *all, const struct mc_tensor *w)
{
    /* Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, section 6.4). */
    size_t h = ((uint64_t)(uintptr_t)w * 0x9E3779B97F4A7C15u) >> 32;
    for (;; h++) {
        uint32_t at = all->slots[h & (all->n_slots - 1)];
        if (!at || all->item[at - 1].weight == w)
            return h & (all->n_slots - 1);
    }
}

static struct mc_layer *layer_of(const struct mc_layers *all, const struct mc_tensor *w)
{
    uint32_t at = w && all->n_slots ? all->slots[slot_of(all, w)] : 0;
    return at ? &all->item[at - 1] : NULL;
}

static struct mc_layer *add_layer(struct mc_layers *all, const struct mc_layer *l)
{
    if (!MC_GROW(all->item, all->n, all->cap))
        return NULL;
    all->item[all->n++] = *l;
    if (2 * all->n > all->n_slots) {
        size_t n = all->n_slots ? 2 * all->n_slots : 64;
        uint32_t *slots = mc_calloc(n, sizeof *slots);
        if (!slots)
            return NULL;
        free(all->slots);
        all->slots = slots;
        all->n_slots = n;
        for (size_t i = 0; i + 1 < all->n; i++)
            slots[slot_of(all, all->item[i].weight)] = (uint32_t)(i + 1);
    }
    all->slots[slot_of(all, l->weight)] = (uint32_t)all->n;
    return &all->item[all->n - 1];
}

static int add_other(struct mc_layers *all, struct mc_node *n, const char *why, struct mc_err *err)
{
    if (!MC_GROW(all->others, all->n_others, all->cap_others))
        return no_memory(err);
    all->others[all->n_others] = (struct mc_layer){.reason = why};
    return add_site(&all->others[all->n_others++], n, err);
}

static int add_weight(struct mc_layers *all, struct mc_node *n, enum mc_layer_kind kind,
                      struct mc_err *err)
{
    struct mc_layer fresh = describe(n, kind), *l = layer_of(all, fresh.weight);
    if (!l) {
        if (!(l = add_layer(all, &fresh)))
            return no_memory(err);
    } else if (l->kind != fresh.kind || l->out_major != fresh.out_major ||
               l->parts != fresh.parts) {
        l->reason = "other nodes use the weight in another form";
    } else if (l->sites[0].node->graph != n->graph) {
        l->reason = "the weight is shared between graphs";
    }
    return add_site(l, n, err);
}

static enum mc_layer_kind kind_of(const struct mc_node *n)
{
    return mc_node_is(n, "Conv")   ? MC_LAYER_CONV
           : mc_node_is(n, "Gemm") ? MC_LAYER_GEMM
                                   : MC_LAYER_MATMUL;
}

static int add_node(struct mc_layers *all, struct mc_node *n, struct mc_err *err)
{
    struct mc_layer_slot slot[MC_LAYER_SLOTS];
    const char *why = NULL;
    int rc = 0, slots = mc_layer_slots(n, slot);
    for (int i = 0; !rc && i < slots; i++)
        rc = slot[i].why ? add_other(all, n, slot[i].why, err)
                         : add_weight(all, n, slot[i].kind, err);
    if (slots)
        return rc;
    if (mc_layer_applies(n, &why))
        return add_weight(all, n, kind_of(n), err);
    return why ? add_other(all, n, why, err) : 0;
}

int mc_layer_single(struct mc_node *n, struct mc_layer *ret, struct mc_err *err)
{
    struct mc_layer_slot slot[MC_LAYER_SLOTS];
    *ret = describe(n, mc_layer_slots(n, slot) ? slot[0].kind : kind_of(n));
    return add_site(ret, n, err);
}

/* ---- all graphs ---- */

/* By id: does an output of the graph depend on the node? */
static bool *find_live(const struct mc_graph *g)
{
    bool *live = mc_calloc(g->n_node_ids, sizeof *live);
    for (size_t i = g->n_nodes; live && i > 0; i--) {
        const struct mc_node *n = g->nodes[i - 1];
        for (size_t k = 0; k < n->n_out && !live[n->id]; k++) {
            const struct mc_value *v = n->out[k];
            bool any = v && v->is_output;
            for (size_t u = 0; v && u < v->n_uses && !any; u++)
                any = live[v->uses[u].node->id];
            live[n->id] = any;
        }
    }
    return live;
}

static int add_nodes(struct mc_layers *all, struct mc_graph *g, struct mc_err *err)
{
    bool *live = find_live(g);
    int rc = live ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (live[g->nodes[i]->id])
            rc = add_node(all, g->nodes[i], err);
    free(live);
    return rc;
}

/* Identity nodes only pass it on: their readers are counted. */
static void count_uses(const struct mc_layers *all, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in && !mc_node_is(n, "Identity"); i++) {
        struct mc_layer *l = n->in[i] ? layer_of(all, mc_constant(n->in[i])) : NULL;
        if (l)
            l->uses++;
    }
}

static void mark_outputs(const struct mc_layers *all, const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_outputs; i++) {
        struct mc_layer *l = layer_of(all, mc_constant(g->outputs[i]));
        if (l)
            l->reason = "the weight is also an output";
    }
}

const char mc_layer_no_rank[] = "no rank makes it smaller";

/* A weight that anything else reads as well stays in the file: factorising it would only add to it. */
static void judge(struct mc_layer *l)
{
    if (!l->reason && l->uses != l->n_sites)
        l->reason = "another node reads the weight too";
    if (!l->reason && mc_layer_rank_cap(l) < 1)
        l->reason = mc_layer_no_rank;
}

int mc_layers_collect(struct mc_model *m, struct mc_layers *ret, struct mc_err *err)
{
    struct mc_layers all = {0};
    struct mc_graph **graph;
    size_t n;
    int rc = mc_layer_graphs(m, &graph, &n, err);
    if (rc)
        return rc;
    for (size_t k = 0; !rc && k < n; k++)
        rc = add_nodes(&all, graph[k], err);
    for (size_t k = 0; !rc && k < n; k++) {
        for (size_t i = 0; i < graph[k]->n_nodes; i++)
            count_uses(&all, graph[k]->nodes[i]);
        mark_outputs(&all, graph[k]);
    }
    free(graph);
    for (size_t i = 0; !rc && i < all.n; i++)
        judge(&all.item[i]);
    if (rc)
        mc_layers_free(&all);
    else
        *ret = all;
    return rc;
}

void mc_layers_free(struct mc_layers *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->item[i].sites);
    for (size_t i = 0; i < l->n_others; i++)
        free(l->others[i].sites);
    free(l->item);
    free(l->slots);
    free(l->others);
    *l = (struct mc_layers){0};
}
