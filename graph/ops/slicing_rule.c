/* Gradients of parts and margins: Slice, Pad, Trilu; and of what walks along an axis: ReverseSequence, CumSum. */
#include <string.h>

#include "graph/grad/rule.h"

static void slice_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *range[4] = {NULL};
    for (size_t i = 1; n->version >= 10 && i < n->n_in && i <= 4; i++)
        range[i - 1] = n->in[i];
    static const char *const names[] = {"starts", "ends", "axes"};
    for (int i = 0; n->version < 10 && i < 3; i++) {
        size_t len;
        const int64_t *v = mc_node_ints(n, names[i], &len);
        if (v)
            range[i] = mc_grad_ints(g, v, len);
    }
    struct mc_value *shape = mc_grad_shape(g, n->in[0]), *dy = mc_grad_of(g, n, 0);
    mc_grad_give(g, n, 0,
                 mc_emit_own(g, "SliceGrad", dy, shape, range[0], range[1], range[2], range[3]));
}

/* Pads as a value, whatever the version. */
static struct mc_value *pads_of(struct mc_grad *g, const struct mc_node *n)
{
    size_t len;
    if (n->version >= 11)
        return n->in[1];
    const int64_t *v = mc_node_ints(n, "pads", &len);
    return mc_grad_ints(g, v, v ? len : 0);
}

static struct mc_value *sum_all(struct mc_grad *g, struct mc_value *x)
{
    struct mc_value *y = mc_emit(g, "ReduceSum", x);
    mc_emit_int(g, "keepdims", 0);
    return y;
}

/* A constant margin is cut off again: Pad by the negative amount, which also puts zeros where it had cut. */
static void pad_rule(struct mc_grad *g, struct mc_node *n)
{
    const char *mode = mc_node_string(n, "mode", "constant");
    struct mc_value *pads = pads_of(g, n), *dy = mc_grad_of(g, n, 0);
    struct mc_value *axes = n->version >= 18 && n->n_in > 3 ? n->in[3] : NULL;
    if (strcmp(mode, "constant") != 0) {
        if (!mc_grad_wants(g, n, 0))
            return;
        struct mc_value *shape = mc_grad_shape(g, n->in[0]);
        struct mc_value *d = mc_emit_own(g, "PadGrad", dy, shape, pads, axes);
        mc_emit_string(g, "mode", mode);
        mc_grad_give(g, n, 0, d);
        return;
    }
    struct mc_value *back = mc_emit(g, "Neg", pads);
    struct mc_value *d = mc_emit(g, "Pad", dy, back, NULL, axes);
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, d);
    if (mc_grad_wants(g, n, 2)) { /* the value of the margin: all but what is not margin */
        struct mc_value *all = sum_all(g, dy), *inside = sum_all(g, d);
        mc_grad_give(g, n, 2, mc_grad_reshape_as(g, mc_emit(g, "Sub", all, inside), n->in[2]));
    }
}

static void trilu_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit(g, "Trilu", mc_grad_of(g, n, 0), n->n_in > 1 ? n->in[1] : NULL);
    mc_emit_copy(g, n, "upper");
    mc_grad_give(g, n, 0, d);
}

/* Its own inverse. */
static void reverse_sequence_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit(g, "ReverseSequence", mc_grad_of(g, n, 0), n->in[1]);
    mc_emit_copy(g, n, "batch_axis");
    mc_emit_copy(g, n, "time_axis");
    mc_grad_give(g, n, 0, d);
}

static void cumsum_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit(g, "CumSum", mc_grad_of(g, n, 0), n->in[1]);
    mc_emit_copy(g, n, "exclusive");
    mc_emit_int(g, "reverse", !mc_node_int(n, "reverse", 0));
    mc_grad_give(g, n, 0, d);
}

/* Margins that were cut become zeros, those that were added are cut: the same node with the sizes of x. */
static void center_rule(struct mc_grad *g, struct mc_node *n)
{
    size_t len;
    const int64_t *axes = mc_node_ints(n, "axes", &len);
    int64_t at[MC_RANK_MAX];
    int rank = mc_grad_rank(g, n->in[0]);
    struct mc_value *sizes = mc_grad_shape(g, n->in[0]);
    for (size_t i = 0; axes && i < len && i < MC_RANK_MAX; i++)
        at[i] = axes[i] < 0 ? axes[i] + rank : axes[i];
    if (axes && (rank < 0 || len > MC_RANK_MAX)) {
        mc_grad_refuse(g, n, "the rank of its input is not known");
        return;
    }
    if (axes) {
        struct mc_value *which = mc_grad_ints(g, at, len);
        sizes = mc_emit(g, "Gather", sizes, which);
    }
    struct mc_value *d = mc_emit(g, "CenterCropPad", mc_grad_of(g, n, 0), sizes);
    mc_emit_copy(g, n, "axes");
    mc_grad_give(g, n, 0, d);
}

const struct mc_rule mc_rules_slicing[] = {
    {"", "Slice", 1, slice_rule},
    {"", "Pad", 2, pad_rule},
    {"", "CenterCropPad", 18, center_rule},
    {"", "Trilu", 14, trilu_rule},
    {"com.microsoft", "Trilu", 1, trilu_rule},
    {"", "ReverseSequence", 10, reverse_sequence_rule},
    {"", "CumSum", 11, cumsum_rule},
    {0},
};
