#include "passes/layer/layer_slot.h"

#include <string.h>

#include "graph/constant.h"

bool mc_layer_cell(const struct mc_node *n, int64_t *ret_gates, int64_t *ret_dirs)
{
    int64_t gates = mc_node_is(n, "LSTM") ? 4 : mc_node_is(n, "GRU") ? 3 : mc_node_is(n, "RNN");
    *ret_gates = gates;
    *ret_dirs = strcmp(mc_node_string(n, "direction", "forward"), "bidirectional") ? 1 : 2;
    return gates > 0;
}

/* W [dirs, gates h, n] and R [dirs, gates h, h]. Without an input the sequence is empty: nobody writes that. */
static int cell_slots(const struct mc_node *n, int64_t gates, int64_t dirs,
                      struct mc_layer_slot *ret)
{
    static const enum mc_layer_kind kind[] = {MC_LAYER_INPUT, MC_LAYER_RECURRENT};
    for (size_t k = 0; k < 2; k++) {
        ret[k] = (struct mc_layer_slot){kind[k], NULL};
        if (n->n_in < 3 || !n->in[0] || !n->in[1] || !n->in[2])
            ret[k].why = "an input or the output is missing";
        else if (mc_layer_weight_fits(n->in[k + 1], 3, 3, &ret[k].why)) {
            const int64_t *d = mc_constant(n->in[k + 1])->shape.dim;
            if (d[0] != dirs || d[1] % gates)
                ret[k].why = "the weight's shape does not fit the operator";
        }
    }
    if (!ret[1].why && (n->n_out < 1 || !n->out[0]) && (n->n_out < 2 || !n->out[1]))
        ret[1].why = "an input or the output is missing";
    return 2;
}

bool mc_layer_cell_bias(const struct mc_node *n, bool recurrent)
{
    if (recurrent && mc_node_is(n, "GRU") && !mc_node_int(n, "linear_before_reset", 0))
        return false;
    const struct mc_value *b = n->n_in > 3 ? n->in[3] : NULL;
    return !b || mc_constant(b);
}

/* Numbers that are looked up, not weights that are learnt: integers, and tables of one row or one column. */
static bool is_table(const struct mc_node *n)
{
    const struct mc_tensor *t = mc_node_is(n, "Gather") && n->n_in == 2 && n->in[0] && n->in[1]
                                    ? mc_constant(n->in[0])
                                    : NULL;
    int64_t axis = mc_node_int(n, "axis", 0);
    return t && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT && t->shape.rank == 2 &&
           (axis == 0 || axis == -2) && t->shape.dim[0] > 1 && t->shape.dim[1] > 1;
}

int mc_layer_slots(const struct mc_node *n, struct mc_layer_slot ret[MC_LAYER_SLOTS])
{
    int64_t gates, dirs;
    if (mc_layer_cell(n, &gates, &dirs))
        return cell_slots(n, gates, dirs, ret);
    bool out = n->n_out > 0 && n->out[0];
    if (is_table(n)) {
        ret[0] = (struct mc_layer_slot){MC_LAYER_TABLE,
                                        out ? NULL : "an input or the output is missing"};
        if (out)
            mc_layer_weight_fits(n->in[0], 2, 2, &ret[0].why);
        return 1;
    }
    if (mc_node_is(n, "MatMul") && n->n_in == 2 && n->in[0] && n->in[1] && out &&
        mc_constant(n->in[0]) && !mc_constant(n->in[1])) {
        ret[0] = (struct mc_layer_slot){MC_LAYER_LEFT, NULL};
        mc_layer_weight_fits(n->in[0], 2, 2, &ret[0].why);
        return 1;
    }
    return 0;
}
