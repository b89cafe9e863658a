/* Sequences and optionals: arguments only. What is in them is known when it runs, by graph/run. */
#include "graph/ops/helper.h"

static int takes_one(struct mc_infer_ctx *c, struct mc_err *err)
{
    return mc_op_arity(c, 1, 1, err);
}

static int takes_any(struct mc_infer_ctx *c, struct mc_err *err)
{
    (void)c, (void)err;
    return 0;
}

static int takes_some(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, -1, err);
    for (int i = 0; i < c->n_in && !rc; i++)
        if (!c->in[i])
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "input %d is missing", i);
    return rc;
}

static int position(struct mc_infer_ctx *c, int least, int most, struct mc_err *err)
{
    int rc = mc_op_arity(c, least, most, err);
    rc = rc ? rc : mc_op_need_index(c, most - 1, err);
    return rc ? rc : mc_op_need_single(c, most - 1, err);
}

static int insert_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    return position(c, 2, 3, err);
}

static int erase_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    return position(c, 1, 2, err);
}

static int at_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    return position(c, 2, 2, err);
}

static int length_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (!rc)
        mc_op_give(c, 0, MC_DTYPE_I64, &(struct mc_shape){0});
    return rc;
}

static int has_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 0, 1, err);
    if (!rc)
        mc_op_give(c, 0, MC_DTYPE_BOOL, &(struct mc_shape){0});
    return rc;
}

static int split_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = mc_op_arity(c, 1, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 0, 1, err);
    if (!rc && mc_op_rank(c, 0) >= 0)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), mc_op_rank(c, 0),
                             &axis, err);
    return rc;
}

static int map_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(c->node, "body");
    int rc = takes_some(c, err);
    if (rc)
        return rc;
    if (!a || a->type != MC_ATTR_GRAPH || a->n != 1 || !a->graphs || !a->graphs[0])
        return mc_op_fail(err, MC_EUNSUP, c->node, "attribute 'body' must be a graph");
    const struct mc_graph *g = a->graphs[0];
    if (g->n_inputs != (size_t)c->n_in || g->n_outputs < (size_t)c->n_out)
        return mc_op_fail(err, MC_ESHAPE, c->node,
                          "the body has %zu inputs and %zu outputs for %d inputs and %d outputs",
                          g->n_inputs, g->n_outputs, c->n_in, c->n_out);
    return 0;
}

const struct mc_op mc_ops_sequence[] = {
    {"", "SequenceEmpty", 11, MC_OP_LIST, .infer = takes_any},
    {"", "SequenceConstruct", 11, MC_OP_LIST, .infer = takes_some},
    {"", "SequenceInsert", 11, MC_OP_LIST, .infer = insert_infer},
    {"", "SequenceErase", 11, MC_OP_LIST, .infer = erase_infer},
    {"", "SequenceAt", 11, MC_OP_LIST, .infer = at_infer},
    {"", "SequenceLength", 11, MC_OP_LIST, .infer = length_infer},
    {"", "SplitToSequence", 11, MC_OP_LIST, .infer = split_infer},
    {"", "ConcatFromSequence", 11, MC_OP_LIST, .infer = takes_one},
    {"", "SequenceMap", 17, MC_OP_BODY, .infer = map_infer},
    {"", "Optional", 15, MC_OP_LIST, .infer = takes_any},
    {"", "OptionalHasElement", 15, MC_OP_LIST, .infer = has_infer},
    {"", "OptionalGetElement", 15, MC_OP_LIST, .infer = takes_one},
    {0},
};
