#include "passes/binarize/binarize_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/layer/layer_named.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

uint64_t mc_binarize_bytes(const struct mc_layer *l)
{
    return (uint64_t)l->m * ((uint64_t)(l->n + 7) / 8 + sizeof(float));
}

/* ---- where a layer is ---- */

struct places { /* by id of node: is there a layer before it, behind it? */
    const struct mc_graph *g;
    bool *layer, *before, *behind;
};

static bool fed_by(const struct places *p, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_node *from = n->in[i] ? n->in[i]->producer : NULL;
        if (from && (p->layer[from->id] || p->before[from->id]))
            return true;
    }
    return false;
}

static bool feeds(const struct places *p, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        for (size_t k = 0; n->out[i] && k < n->out[i]->n_uses; k++) {
            const struct mc_node *to = n->out[i]->uses[k].node;
            if (p->layer[to->id] || p->behind[to->id])
                return true;
        }
    return false;
}

static int find_places(const struct mc_graph *g, const struct mc_binarize_plan *plan,
                       struct places *p, struct mc_err *err)
{
    size_t n = g->n_node_ids + 1;
    *p = (struct places){g, mc_calloc(n, 1), mc_calloc(n, 1), mc_calloc(n, 1)};
    if (!p->layer || !p->before || !p->behind)
        return no_memory(err);
    for (size_t i = 0; i < plan->n; i++)
        for (size_t s = 0; s < plan->item[i].of->n_sites; s++) {
            const struct mc_node *at = plan->item[i].of->sites[s].node;
            if (at->graph == g)
                p->layer[at->id] = true;
        }
    for (size_t i = 0; i < g->n_nodes; i++)
        p->before[g->nodes[i]->id] = fed_by(p, g->nodes[i]);
    for (size_t i = g->n_nodes; i-- > 0;)
        p->behind[g->nodes[i]->id] = feeds(p, g->nodes[i]);
    return 0;
}

static void free_places(struct places *p)
{
    free(p->layer);
    free(p->before);
    free(p->behind);
}

/* Recurrent weights multiply states, which are never the model's input. */
static const char *edge_of(const struct places *p, const struct mc_layer *l)
{
    for (size_t s = 0; s < l->n_sites; s++) {
        uint32_t id = l->sites[s].node->id;
        if (!p->before[id] && l->kind != MC_LAYER_RECURRENT)
            return "the first layer stays real; --all takes it as well";
        if (!p->behind[id])
            return "the last layer stays real; --all takes it as well";
    }
    return NULL;
}

/* ---- what can be done ---- */

static const char *why_left(const struct mc_model *m, const struct places *p,
                            const struct mc_binarize_rules *rules, const struct mc_layer *l)
{
    if (l->reason && l->reason != mc_layer_no_rank)
        return l->reason;
    if (l->kind == MC_LAYER_TABLE)
        return "rows of a table are looked up, not multiplied";
    if (l->weight->dtype != MC_DTYPE_F32)
        return "its weight is not float32";
    for (size_t s = 0; s < l->n_sites; s++)
        if (l->sites[s].node->graph != m->graph)
            return "it is in a function or in the body of a node";
    if (l->kind == MC_LAYER_CONV && l->parts > 1 && !rules->depthwise)
        return "a convolution in groups stays real; --depthwise takes it as well";
    if (mc_binarize_bytes(l) >= l->weight->bytes)
        return "scales would take more than the weights";
    return rules->all ? NULL : edge_of(p, l);
}

/* The constant row that a node adds, or nothing. */
static bool bias_fits(const struct mc_node *n, int64_t m)
{
    const struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL;
    const struct mc_tensor *t = c ? mc_constant(c) : NULL;
    if (!c)
        return true;
    if (!t || t->dtype != MC_DTYPE_F32)
        return false;
    int64_t count = mc_tensor_count(t);
    return count == 1 || (count == m && t->shape.dim[t->shape.rank - 1] == m);
}

static const char *why_real(const struct mc_layer *l)
{
    if (l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT)
        return "inputs of a cell stay real";
    if (l->kind == MC_LAYER_LEFT)
        return "the weight is the left operand";
    if (l->kind == MC_LAYER_CONV && l->parts > 1)
        return "inputs of a convolution in groups stay real";
    for (size_t s = 0; s < l->n_sites; s++) {
        const struct mc_node *n = l->sites[s].node;
        if (l->kind == MC_LAYER_CONV && strcmp(mc_node_string(n, "auto_pad", "NOTSET"), "NOTSET"))
            return "its padding is not written as numbers (auto_pad)";
        if (l->kind != MC_LAYER_MATMUL && !bias_fits(n, l->m))
            return "its bias is no constant row";
        if (l->kind == MC_LAYER_MATMUL && l->sites[s].y_rank < 2)
            return "the rank of its input is not known";
        if (mc_constant(n->in[0]))
            return "its input is a constant";
    }
    return NULL;
}

static bool same_shape(const struct mc_layer *l)
{
    for (size_t s = 0; s < l->n_sites; s++) {
        const struct mc_layer_site *at = &l->sites[s];
        for (int i = 0; l->kind == MC_LAYER_CONV && i < l->weight->shape.rank - 2; i++)
            if (at->in_dim[i] < 1 || at->in_dim[i] != at->out_dim[i])
                return false;
    }
    return l->kind == MC_LAYER_CONV ? l->weight->shape.dim[1] == l->m : l->n == l->m;
}

/* ---- --only and --skip ---- */

static int match(struct mc_binarize_plan *p, const char *option, const char *text, bool keeps,
                 struct mc_err *err)
{
    struct mc_pattern pattern;
    struct mc_nearest near = {.word = text};
    bool any = false;
    int rc = mc_pattern_open(option, text, &pattern, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < p->n; i++) {
        bool hit = mc_layer_is_called(p->item[i].of, &pattern);
        mc_layer_offer(p->item[i].of, &near);
        any = any || hit;
        if (hit != keeps && !p->item[i].left)
            p->item[i].left = keeps ? "--only does not name it" : "--skip names it";
    }
    rc = any ? 0 : mc_pattern_missed(&pattern, &near, err);
    mc_pattern_close(&pattern);
    return rc;
}

/* ---- the plan ---- */

/* Depthwise convolutions have no rank to lower, so that they are no layers of layer.h; here they are. */
static int find_grouped(struct mc_binarize_plan *p, struct mc_err *err)
{
    p->grouped = mc_calloc(p->layers.n_others + 1, sizeof *p->grouped);
    if (!p->grouped)
        return no_memory(err);
    for (size_t i = 0; i < p->layers.n_others; i++) {
        struct mc_node *n = p->layers.others[i].sites[0].node;
        const char *why;
        int64_t groups = mc_node_int(n, "group", 1);
        if (!mc_node_is(n, "Conv") || n->n_in < 2 || !n->in[0] || !n->in[1] || n->n_out < 1 ||
            !n->out[0] || !mc_layer_weight_fits(n->in[1], 3, MC_RANK_MAX, &why) || groups < 2 ||
            mc_constant(n->in[1])->shape.dim[0] != groups)
            continue;
        struct mc_layer *l = &p->grouped[p->n_grouped];
        int rc = mc_layer_single(n, l, err);
        if (rc)
            return rc;
        p->n_grouped++;
        if (l->value->n_uses != 1)
            l->reason = "another node reads the weight too";
    }
    return 0;
}

static int judge(struct mc_model *m, const struct mc_binarize_rules *rules,
                 struct mc_binarize_plan *p, struct mc_err *err)
{
    struct places at;
    int rc = find_places(m->graph, p, &at, err);
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct mc_binarize_layer *b = &p->item[i];
        b->left = why_left(m, &at, rules, b->of);
        b->real = rules->activations ? why_real(b->of) : "";
        b->fast = rules->fast && !rules->activations && !why_real(b->of);
        b->around = rules->activations && rules->shortcut && !b->real && same_shape(b->of);
    }
    free_places(&at);
    if (!rc && rules->only)
        rc = match(p, "only", rules->only, true, err);
    if (!rc && rules->skip)
        rc = match(p, "skip", rules->skip, false, err);
    for (size_t i = 0; i < p->n && !rc; i++)
        p->n_left += p->item[i].left != NULL;
    return rc;
}

int mc_binarize_plan(struct mc_model *m, const struct mc_binarize_rules *rules,
                     struct mc_binarize_plan *ret, struct mc_err *err)
{
    struct mc_binarize_plan p = {0};
    int rc = mc_layers_collect(m, &p.layers, err);
    rc = rc ? rc : mc_layers_extents(m, &p.layers, err);
    rc = rc ? rc : find_grouped(&p, err);
    if (!rc && !(p.item = mc_calloc(p.layers.n + p.n_grouped + 1, sizeof *p.item)))
        rc = no_memory(err);
    for (size_t i = 0; i < p.layers.n && !rc; i++)
        p.item[p.n++].of = &p.layers.item[i];
    for (size_t i = 0; i < p.n_grouped && !rc; i++)
        p.item[p.n++].of = &p.grouped[i];
    rc = rc ? rc : judge(m, rules, &p, err);
    if (rc)
        mc_binarize_plan_free(&p);
    else
        *ret = p;
    return rc;
}

void mc_binarize_plan_free(struct mc_binarize_plan *p)
{
    for (size_t i = 0; i < p->n_grouped; i++)
        free(p->grouped[i].sites);
    free(p->grouped);
    free(p->item);
    mc_layers_free(&p->layers);
    *p = (struct mc_binarize_plan){0};
}
