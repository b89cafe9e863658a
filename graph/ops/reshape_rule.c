/* Gradients of what gives the input's elements another shape or order, or repeats them. */
#include "graph/grad/rule.h"

static void reshape_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_give(g, n, 0, mc_grad_reshape_as(g, mc_grad_of(g, n, 0), n->in[0]));
}

static void identity_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_give(g, n, 0, mc_grad_of(g, n, 0));
}

static void transpose_rule(struct mc_grad *g, struct mc_node *n)
{
    size_t len;
    const int64_t *perm = mc_node_ints(n, "perm", &len);
    int64_t back[MC_RANK_MAX];
    struct mc_value *d = mc_emit(g, "Transpose", mc_grad_of(g, n, 0));
    for (size_t i = 0; perm && i < len; i++)
        back[perm[i]] = (int64_t)i;
    if (perm)
        mc_emit_ints(g, "perm", back, len);
    mc_grad_give(g, n, 0, d);
}

static void expand_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_give(g, n, 0, mc_grad_sum_to(g, mc_grad_of(g, n, 0), n->out[0], n->in[0]));
}

/* Each dimension as (repeat, element); the repeats are summed. */
static void tile_rule(struct mc_grad *g, struct mc_node *n)
{
    int rank = mc_grad_rank(g, n->in[0]);
    int64_t one = 1, flat = -1, axes[MC_RANK_MAX];
    if (rank < 0) {
        mc_grad_refuse(g, n, "the rank of its input is not known");
        return;
    }
    for (int i = 0; i < rank; i++)
        axes[i] = 2 * i;
    struct mc_value *column = mc_grad_ints(g, &one, 1), *row = mc_grad_ints(g, &flat, 1);
    struct mc_value *shape = mc_emit(g, "Unsqueeze", mc_grad_shape(g, n->in[0]), column);
    struct mc_value *repeat = mc_emit(g, "Unsqueeze", n->in[1], column);
    struct mc_value *both = mc_emit(g, "Concat", repeat, shape);
    mc_emit_int(g, "axis", 1);
    both = mc_emit(g, "Reshape", both, row);
    struct mc_value *d = mc_emit(g, "Reshape", mc_grad_of(g, n, 0), both);
    mc_emit_int(g, "allowzero", 1);
    mc_grad_give(g, n, 0, rank ? mc_grad_reduce_sum(g, d, axes, (size_t)rank, false) : d);
}

/* ---- blocks of pixels and channels ---- */

/* The inverse by hand: [b, c, h s, w s] as [b, c, h, s, w, s], then its channels from the three in front. */
static struct mc_value *to_crd(struct mc_grad *g, struct mc_node *n, int64_t s)
{
    static const int64_t perm[] = {0, 1, 3, 5, 2, 4};
    struct mc_value *x = n->in[0], *y = n->out[0], *block = mc_grad_ints(g, &s, 1);
    struct mc_value *b = mc_grad_dim(g, x, 0), *c = mc_grad_dim(g, y, 1);
    struct mc_value *h = mc_grad_dim(g, x, 2), *w = mc_grad_dim(g, x, 3);
    struct mc_value *shape = mc_emit(g, "Concat", b, c, h, block, w, block);
    mc_emit_int(g, "axis", 0);
    struct mc_value *d = mc_emit(g, "Reshape", mc_grad_of(g, n, 0), shape);
    d = mc_emit(g, "Transpose", d);
    mc_emit_ints(g, "perm", perm, 6);
    return mc_grad_reshape_as(g, d, x);
}

static void depth_to_space_rule(struct mc_grad *g, struct mc_node *n)
{
    int64_t s = mc_node_int(n, "blocksize", 1);
    struct mc_value *d;
    if (mc_node_string(n, "mode", "DCR")[0] == 'C') {
        d = to_crd(g, n, s);
    } else {
        d = mc_emit(g, "SpaceToDepth", mc_grad_of(g, n, 0));
        mc_emit_int(g, "blocksize", s);
    }
    mc_grad_give(g, n, 0, d);
}

static void space_to_depth_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit(g, "DepthToSpace", mc_grad_of(g, n, 0));
    mc_emit_int(g, "blocksize", mc_node_int(n, "blocksize", 1));
    mc_grad_give(g, n, 0, d);
}

const struct mc_rule mc_rules_reshape[] = {
    {"", "Reshape", 1, reshape_rule},
    {"", "Flatten", 1, reshape_rule},
    {"", "Squeeze", 1, reshape_rule},
    {"", "Unsqueeze", 1, reshape_rule},
    {"", "Identity", 1, identity_rule},
    {"", "Transpose", 1, transpose_rule},
    {"", "Expand", 8, expand_rule},
    {"", "Tile", 6, tile_rule},
    {"", "DepthToSpace", 1, depth_to_space_rule},
    {"", "SpaceToDepth", 1, space_to_depth_rule},
    {0},
};
