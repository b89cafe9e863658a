#include "passes/quant/form/quant_site.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/opset.h"
#include "passes/fit/one_sample.h"
#include "passes/quant/form/quant_dynamic.h"
#include "passes/quant/form/quant_region_kind.h"
#include "passes/layer/layer.h"

/* Versions of ai.onnx with which DequantizeLinear takes an axis, blocks and 4 bits, 2 bits. */
enum { OPSET_AXIS = 13, OPSET_BLOCK = 21, OPSET_2_BITS = 25 };
enum { LEAST_BLOCK = 16 }; /* as --block has it */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- behind a layer ---- */

/* The node that alone reads y; NULL if there are several, or it is seen elsewhere. */
static struct mc_node *sole_reader(const struct mc_value *y)
{
    return y->n_uses == 1 && !y->is_output && y->uses[0].slot >= 0 ? y->uses[0].node : NULL;
}

static void find_add(struct mc_quant_site *s)
{
    struct mc_node *add = s->kind == MC_QUANT_MATMUL ? sole_reader(s->y) : NULL;
    if (!add || !mc_node_is(add, "Add") || add->n_in != 2 || !add->in[0] || !add->in[1])
        return;
    int slot = s->y->uses[0].slot == 0;
    const struct mc_tensor *c = mc_constant(add->in[slot]), *w = mc_constant(s->weight[0]);
    int64_t m = w->shape.dim[s->out_axis[0]];
    int rank = s->y_rank ? s->y_rank : 1; /* a bias of more would give the sum its own */
    if (!c || s->x_slot != 0 || c->shape.rank < 1 || c->shape.rank > rank ||
        c->shape.dim[c->shape.rank - 1] != m || mc_tensor_count(c) != m)
        return;
    s->add = add;
    s->add_slot = slot;
    s->y = add->out[0];
}

static void find_act(struct mc_quant_site *s)
{
    struct mc_node *act = sole_reader(s->y);
    if (!act || !act->out[0] || s->y->uses[0].slot != 0 || !mc_quant_is_act(act))
        return;
    s->act = act;
    s->y = act->out[0];
}

/* ---- which forms ---- */

/* Products with this weight: rank 2, and what is multiplied is the rows of x. */
static bool is_matrix(const struct mc_quant_site *s)
{
    return (s->kind == MC_QUANT_MATMUL || s->kind == MC_QUANT_GEMM) && s->x_slot == 0 &&
           mc_constant(s->weight[0])->shape.rank == 2;
}

/* What integers and their scales take, a few bytes a name included. */
static bool saves(const struct mc_quant_site *s, const struct mc_quant_rules *r)
{
    enum { NAMES = 150 };
    uint64_t after = 0;
    for (int k = 0; k < s->n_weights; k++) {
        const struct mc_tensor *t = mc_constant(s->weight[k]);
        uint64_t n = (uint64_t)mc_tensor_count(t);
        int bits = r->weight_bits > 4 ? 8 : r->weight_bits > 2 ? 4 : 2;
        after += NAMES + n * (unsigned)bits / 8 +
                 4 * (r->per_tensor ? 1 : (uint64_t)t->shape.dim[s->out_axis[k]]);
    }
    return after < s->bytes;
}

static const char *why_weight(const struct mc_quant_site *s, const struct mc_quant_rules *r,
                              int opset)
{
    int need = r->weight_bits > 4 ? 0 : r->weight_bits > 2 ? OPSET_BLOCK : OPSET_2_BITS;
    if (!s->n_weights)
        return "there is no weight";
    if (!saves(s, r))
        return "too small: scales and names would take more than integers save";
    return opset < need ? "the model cannot be lifted to an opset with integers of so few bits"
                        : NULL;
}

int mc_quant_block(const struct mc_quant_site *s, const struct mc_quant_rules *r, int k)
{
    int64_t n = mc_constant(s->weight[k])->shape.dim[s->in_axis[k]];
    int block = r->block;
    while (r->runtime == MC_QUANT_OPENVINO && block > 1 && n % block)
        block--;
    return block;
}

static const char *why_block(const struct mc_quant_site *s, const struct mc_quant_rules *r,
                             int opset)
{
    int need = r->block_bits > 2 ? OPSET_BLOCK : OPSET_2_BITS;
    if (s->kind == MC_QUANT_CELL || s->kind == MC_QUANT_TABLE || !s->n_weights || !is_matrix(s))
        return "only weights of matrix products are cut into blocks";
    if (opset < need)
        return "the model cannot be lifted to an opset that has scales of blocks";
    if (r->runtime == MC_QUANT_OPENVINO && mc_quant_block(s, r, 0) < LEAST_BLOCK)
        return "OpenVINO takes blocks that divide the inner dimension, and only short ones do";
    return saves(s, r) ? NULL : "too small: scales and names would take more than integers save";
}

static const char *why_dynamic(const struct mc_quant_site *s, const struct mc_quant_rules *r,
                               int opset)
{
    if (s->kind == MC_QUANT_CONV || s->kind == MC_QUANT_CONVT)
        return "convolutions with ranges of their own in every run are slower than floats";
    if (s->kind != MC_QUANT_CELL && (!s->n_weights || !is_matrix(s)))
        return "only products with a constant matrix have this form";
    if (r->runtime == MC_QUANT_OPENVINO)
        return "OpenVINO is slower with it than with floats, and with weights alone it is faster";
    if (s->dtype == MC_DTYPE_F64)
        return "the model computes in float64";
    if (opset < OPSET_AXIS)
        return "the model cannot be lifted to opset 13";
    return s->kind == MC_QUANT_CELL ? mc_quant_cell_why(s, r) : NULL;
}

/* ONNX Runtime 1.32: ConvTranspose is one of floats, whose weights are dequantised in every run; products of two activations take
 * 1.2 to 1.8 times as long as floats ([8,512,64] x [8,64,512] and smaller, one thread of a Sapphire Rapids). */
static const char *why_static(const struct mc_quant_site *s, const struct mc_quant_rules *r,
                              int opset)
{
    bool stock = r->runtime == MC_QUANT_STOCK || r->runtime == MC_QUANT_ORT;
    if (stock && s->kind == MC_QUANT_CONVT)
        return "ONNX Runtime has no integer kernel for it";
    if (stock && s->kind == MC_QUANT_PRODUCT)
        return "products of two activations are slower in integers than in floats";
    if (s->kind == MC_QUANT_CELL)
        return "no runtime has recurrent cells of integers with fixed ranges";
    if (s->kind == MC_QUANT_TABLE || s->kind == MC_QUANT_FUSED)
        return "this operator has no integer form";
    if (s->in_body)
        return "inside a body or a function: there are no samples of its inputs";
    if (s->n_weights && s->dtype == MC_DTYPE_F64)
        return "the model computes in float64";
    return opset < OPSET_AXIS ? "the model cannot be lifted to opset 13" : NULL;
}

static void find_forms(struct mc_quant_site *s, const struct mc_quant_rules *r, int opset)
{
    for (int f = MC_QUANT_WEIGHT; s->reason && f < MC_QUANT_FORMS; f++)
        s->why[f] = s->reason;
    if (s->reason)
        return;
    s->why[MC_QUANT_WEIGHT] = why_weight(s, r, opset);
    s->why[MC_QUANT_BLOCK] = why_block(s, r, opset);
    s->why[MC_QUANT_DYNAMIC] = why_dynamic(s, r, opset);
    s->why[MC_QUANT_STATIC] = why_static(s, r, opset);
    s->why[MC_QUANT_STATIC16] = s->why[MC_QUANT_STATIC];
    if (!s->why[MC_QUANT_STATIC16] && opset < OPSET_BLOCK)
        s->why[MC_QUANT_STATIC16] = "the model cannot be lifted to opset 21";
    if (r->runtime == MC_QUANT_OPENVINO)
        s->why[MC_QUANT_STATIC16] = "OpenVINO has no activations of 16 bits";
}

/* ---- one list ---- */

static bool is_read(const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && (n->out[i]->n_uses || n->out[i]->is_output))
            return true;
    return false;
}

static int add_node(struct mc_quant_sites *all, struct mc_node *n, const struct mc_model *m,
                    struct mc_err *err)
{
    struct mc_quant_site found[MC_QUANT_NODE_SITES];
    int count = is_read(n) ? mc_quant_describe(n, found) : 0;
    for (int i = 0; i < count; i++) {
        if (!MC_GROW(all->item, all->n, all->cap))
            return no_memory(err);
        struct mc_quant_site *s = &all->item[all->n++];
        *s = found[i];
        s->in_body = n->graph != m->graph;
        s->macs = NAN;
        s->y = n->out[0];
    }
    return 0;
}

struct held { /* a constant, and where it was seen */
    const struct mc_tensor *t;
    size_t at;
};

static int by_tensor(const void *pa, const void *pb)
{
    const struct held *a = pa, *b = pb;
    if (a->t != b->t)
        return (uintptr_t)a->t < (uintptr_t)b->t ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

static int find_shared(struct mc_quant_sites *all, struct mc_err *err)
{
    size_t n = 0;
    struct held *h = mc_calloc(2 * all->n + 1, sizeof *h);
    if (!h)
        return no_memory(err);
    for (size_t i = 0; i < all->n; i++)
        for (int k = 0; k < all->item[i].n_weights && !all->item[i].reason; k++)
            h[n++] = (struct held){mc_constant(all->item[i].weight[k]), i};
    qsort(h, n, sizeof *h, by_tensor);
    for (size_t i = 1, first = 0; i < n; i++) {
        first = h[i].t == h[first].t ? first : i;
        struct mc_quant_site *s = &all->item[h[i].at];
        if (first != i && h[first].at != h[i].at && !s->shared)
            s->shared = h[first].at + 1;
    }
    free(h);
    return 0;
}

static bool counts(const struct mc_tensor *t)
{
    return t && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT && mc_tensor_count(t) > 1;
}

/* Each float constant once. */
static int count_bytes(struct mc_quant_sites *all, struct mc_graph *const *graph, size_t n_graphs,
                       struct mc_err *err)
{
    size_t n = 0, cap = 0;
    struct held *h = NULL;
    for (size_t g = 0; g < n_graphs; g++)
        for (size_t i = 0; i < graph[g]->n_inits + graph[g]->n_nodes; i++) {
            const struct mc_node *c =
                i < graph[g]->n_inits ? NULL : graph[g]->nodes[i - graph[g]->n_inits];
            if (c && (!mc_node_is(c, "Constant") || c->n_out != 1 || !c->out[0]))
                continue;
            const struct mc_tensor *t = mc_constant(c ? c->out[0] : graph[g]->inits[i]);
            if (!counts(t))
                continue;
            if (!MC_GROW(h, n, cap)) {
                free(h);
                return no_memory(err);
            }
            h[n++] = (struct held){t, n};
        }
    if (n)
        qsort(h, n, sizeof *h, by_tensor);
    for (size_t i = 0; i < n; i++)
        if (!i || h[i].t != h[i - 1].t)
            all->weight_bytes += h[i].t->bytes;
    free(h);
    return 0;
}

static int find_macs(struct mc_quant_sites *all, const struct mc_model *m, struct mc_err *err)
{
    struct mc_infer *inf;
    struct mc_infer_opts o = {0};
    int rc = mc_one_sample(m->graph, 1, &o, err);
    if (!rc)
        rc = mc_infer_run(m->graph, &o, &inf, err);
    free((void *)o.inputs);
    if (rc)
        return rc == MC_ENOMEM ? rc : 0;
    for (size_t i = 0; i < all->n; i++) {
        struct mc_quant_site *s = &all->item[i];
        if (s->node->graph->function)
            continue;
        const struct mc_vtype *y = s->node->out[0] ? mc_infer_of(inf, s->node->out[0]) : NULL;
        double macs = mc_infer_macs(inf, s->node);
        s->y_rank = y && y->ranked ? y->shape.rank : 0;
        s->macs = macs < 0 ? NAN : macs;
    }
    mc_infer_free(inf);
    return 0;
}

/* The newest of the versions that matter; the model as it is where it cannot be lifted. */
static int find_opset(const struct mc_model *m, int *ret, struct mc_err *err)
{
    static const int versions[] = {OPSET_2_BITS, OPSET_BLOCK, OPSET_AXIS};
    int now = (int)mc_model_opset(m, "");
    for (size_t i = 0; i < sizeof versions / sizeof *versions && now < versions[i]; i++) {
        struct mc_model *copy;
        int rc = mc_model_clone(m, &copy, err);
        if (rc)
            return rc;
        rc = mc_opset_lift(copy, versions[i], err);
        mc_model_free(copy);
        if (rc == MC_ENOMEM)
            return rc;
        if (!rc)
            now = versions[i];
    }
    *ret = now;
    return 0;
}

/* A weight that is both looked up in and multiplied with stays one constant only where both hold it alike. */
static void tie_tables(struct mc_quant_sites *all)
{
    static const enum mc_quant_form apart[] = {MC_QUANT_BLOCK, MC_QUANT_STATIC, MC_QUANT_STATIC16};
    for (size_t i = 0; i < all->n; i++) {
        struct mc_quant_site *s = &all->item[i];
        struct mc_quant_site *first = s->shared ? &all->item[s->shared - 1] : NULL;
        if (!first || (s->kind == MC_QUANT_TABLE) == (first->kind == MC_QUANT_TABLE))
            continue;
        for (size_t f = 0; f < sizeof apart / sizeof *apart; f++) {
            if (!s->why[apart[f]])
                s->why[apart[f]] = "its weight is also a table, and would be stored twice";
            if (!first->why[apart[f]])
                first->why[apart[f]] = "its weight is also a table, and would be stored twice";
        }
    }
}

int mc_quant_sites_find(const struct mc_model *m, const struct mc_quant_rules *rules,
                        struct mc_quant_sites *ret, struct mc_err *err)
{
    struct mc_quant_sites all = {0};
    struct mc_graph **graph = NULL;
    size_t n = 0;
    int rc = mc_layer_graphs(m, &graph, &n, err);
    for (size_t g = 0; g < n && !rc; g++)
        for (size_t i = 0; i < graph[g]->n_nodes && !rc; i++)
            rc = add_node(&all, graph[g]->nodes[i], m, err);
    if (!rc)
        rc = find_shared(&all, err);
    if (!rc)
        rc = count_bytes(&all, graph, n, err);
    if (!rc)
        rc = find_macs(&all, m, err);
    if (!rc)
        rc = find_opset(m, &all.opset, err);
    free(graph);
    if (rc) {
        mc_quant_sites_free(&all);
        return rc;
    }
    for (size_t i = 0; i < all.n; i++) {
        if (!all.item[i].reason && all.item[i].y) {
            find_add(&all.item[i]);
            find_act(&all.item[i]);
        }
        find_forms(&all.item[i], rules, all.opset);
    }
    tie_tables(&all);
    *ret = all;
    return 0;
}

void mc_quant_sites_free(struct mc_quant_sites *s)
{
    free(s->item);
    *s = (struct mc_quant_sites){0};
}
