/* Gradients of what picks elements by index: Gather, Scatter and their kin, TopK, Compress. */
#include <string.h>

#include "graph/grad/rule.h"

/* dx of rows taken from x: those of dy added up where they came from. */
static void gather_back(struct mc_grad *g, struct mc_node *n, const char *op, const char *attr)
{
    struct mc_value *d =
        mc_emit_own(g, op, mc_grad_of(g, n, 0), n->in[1], mc_grad_shape(g, n->in[0]));
    mc_emit_copy(g, n, attr);
    mc_grad_give(g, n, 0, d);
}

static void gather_rule(struct mc_grad *g, struct mc_node *n)
{
    gather_back(g, n, "GatherGrad", "axis");
}

static void gather_elements_rule(struct mc_grad *g, struct mc_node *n)
{
    gather_back(g, n, "GatherElementsGrad", "axis");
}

static void gather_nd_rule(struct mc_grad *g, struct mc_node *n)
{
    gather_back(g, n, "GatherNDGrad", "batch_dims");
}

/* Values are the elements that the indices name. */
static void topk_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *at = mc_grad_output(g, n, 1), *shape = mc_grad_shape(g, n->in[0]);
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (!dy)
        return;
    struct mc_value *d = mc_emit_own(g, "GatherElementsGrad", dy, at, shape);
    mc_emit_int(g, "axis", mc_node_int(n, "axis", -1));
    mc_grad_give(g, n, 0, d);
}

/* Rows along an axis, or elements of all, at the places that are not 0. */
static void compress_rule(struct mc_grad *g, struct mc_node *n)
{
    int64_t flat = -1;
    bool all = !mc_node_attr(n, "axis");
    struct mc_value *row = mc_grad_ints(g, &flat, 1), *place = mc_emit(g, "NonZero", n->in[1]);
    place = mc_emit(g, "Reshape", place, row);
    struct mc_value *shape = mc_grad_shape(g, n->in[0]), *sizes = shape;
    if (all) {
        struct mc_value *count = mc_emit(g, "Size", n->in[0]);
        sizes = mc_emit(g, "Reshape", count, row);
    }
    struct mc_value *d = mc_emit_own(g, "GatherGrad", mc_grad_of(g, n, 0), place, sizes);
    mc_emit_copy(g, n, "axis");
    mc_grad_give(g, n, 0, all ? mc_emit(g, "Reshape", d, shape) : d);
}

/* data with elements or rows of it replaced by, or increased by, the updates. */
static void scatter(struct mc_grad *g, struct mc_node *n, const char *gather)
{
    const char *how = mc_node_string(n, "reduction", "none");
    struct mc_value *dy = mc_grad_of(g, n, 0), *at = n->in[1], *updates = n->in[2];
    bool none = !strcmp(how, "none");
    if (!none && strcmp(how, "add") != 0) {
        mc_grad_refuse(g, n, "reduction '%s' has no gradient yet", how);
        return;
    }
    if (mc_grad_wants(g, n, 2)) {
        struct mc_value *d = mc_emit(g, gather, dy, at);
        mc_emit_copy(g, n, "axis");
        mc_grad_give(g, n, 2, d);
    }
    if (!mc_grad_wants(g, n, 0))
        return;
    struct mc_value *d = dy;
    if (none) {
        struct mc_value *zeros = mc_grad_zeros(g, updates, mc_grad_shape(g, updates));
        d = mc_emit(g, !strcmp(gather, "GatherND") ? "ScatterND" : "ScatterElements", dy, at,
                    zeros);
        mc_emit_copy(g, n, "axis");
    }
    mc_grad_give(g, n, 0, d);
}

static void scatter_elements_rule(struct mc_grad *g, struct mc_node *n)
{
    scatter(g, n, "GatherElements");
}

static void scatter_nd_rule(struct mc_grad *g, struct mc_node *n)
{
    scatter(g, n, "GatherND");
}

/* The indices have no gradient, and the values hardly ever lead to a parameter. */
static void onehot_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_refuse(g, n, "its values have no gradient yet");
}

const struct mc_rule mc_rules_index[] = {
    {"", "Gather", 1, gather_rule},
    {"", "GatherElements", 11, gather_elements_rule},
    {"", "GatherND", 11, gather_nd_rule},
    {"", "TopK", 1, topk_rule},
    {"", "Compress", 9, compress_rule},
    {"", "Scatter", 9, scatter_elements_rule},
    {"", "ScatterElements", 11, scatter_elements_rule},
    {"", "ScatterND", 11, scatter_nd_rule},
    {"", "OneHot", 9, onehot_rule},
    {"", "ArgMax", 1, mc_rule_zero},
    {"", "ArgMin", 1, mc_rule_zero},
    {"", "NonZero", 9, mc_rule_zero},
    {"", "Shape", 1, mc_rule_zero},
    {"", "Size", 1, mc_rule_zero},
    {"", "ConstantOfShape", 9, mc_rule_zero},
    {"", "EyeLike", 9, mc_rule_zero},
    {0},
};
