/* Gradients of Concat and Split: each other. */
#include "base/mem.h"
#include "graph/grad/rule.h"

static void concat_rule(struct mc_grad *g, struct mc_node *n)
{
    int axis = (int)mc_node_int(n, "axis", n->version < 4 ? 1 : 0), last = (int)n->n_in - 1;
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (n->n_in == 1) {
        mc_grad_give(g, n, 0, dy);
        return;
    }
    struct mc_value **size =
        mc_arena_alloc(&mc_grad_graph(g)->model->arena, n->n_in * sizeof *size);
    if (!size) {
        mc_grad_fail(g, MC_ENOMEM, n, "out of memory");
        return;
    }
    for (size_t i = 0; i < n->n_in; i++)
        size[i] = mc_grad_dim(g, n->in[i], axis);
    struct mc_value *sizes = mc_grad_emit(g, "", "Concat", size, n->n_in);
    mc_emit_int(g, "axis", 0);
    struct mc_value **part = size;
    part[0] = mc_emit(g, "Split", dy, sizes);
    mc_emit_int(g, "axis", axis);
    mc_emit_output(g, last); /* the sizes are those of all parts, wanted or not */
    for (int i = 1; i <= last; i++)
        part[i] = mc_grad_wants(g, n, i) ? mc_emit_output(g, i) : NULL;
    for (int i = 0; i <= last; i++)
        if (mc_grad_wants(g, n, i))
            mc_grad_give(g, n, i, part[i]);
}

/* A part that leads nowhere has a gradient of zeros. */
static void split_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value **part =
        mc_arena_alloc(&mc_grad_graph(g)->model->arena, n->n_out * sizeof *part);
    if (!part) {
        mc_grad_fail(g, MC_ENOMEM, n, "out of memory");
        return;
    }
    for (int i = 0; i < (int)n->n_out; i++) {
        part[i] = mc_grad_of(g, n, i);
        if (!part[i])
            part[i] = mc_grad_zeros(g, n->in[0], mc_grad_shape(g, mc_grad_output(g, n, i)));
    }
    struct mc_value *d = mc_grad_emit(g, "", "Concat", part, n->n_out);
    mc_emit_int(g, "axis", mc_node_int(n, "axis", 0));
    mc_grad_give(g, n, 0, d);
}

const struct mc_rule mc_rules_joining[] = {
    {"", "Concat", 1, concat_rule},
    {"", "Split", 2, split_rule},
    {0},
};
