/* Recurrent cells: LSTM, GRU and RNN of ai.onnx. The units are the hidden cells.
 *
 * A cell has a row of W, R and B for every gate (row i belongs to cell i mod H), a column of R, a number of every state and
 * of what comes out. Both directions of a bidirectional node have one axis in common, so a forward cell goes together with
 * the backward cell of the same place.
 *
 * A cell whose rows of W, R and B are zeros has a state of zeros, if it starts with zeros and its functions are the usual ones:
 * an LSTM's candidate is tanh(0), so c = f c stays 0 and h = o tanh(c) too; a GRU's is tanh(0), so h = (1 - z) 0 + z h
 * stays 0; an RNN's is f(0). With others it is a sequence of its own, but nobody reads it. Removing it is exact either way. */
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple_rule.h"

enum { X, W, R, B, LENS, FIRST_H, FIRST_C, PEEP };
enum { Y, LAST_H, LAST_C };

static struct mc_value *input(const struct mc_couple *w, size_t i)
{
    return i < w->n->n_in ? w->n->in[i] : NULL;
}

static int gates_of(const struct mc_node *n)
{
    return mc_node_is(n, "LSTM") ? 4 : mc_node_is(n, "GRU") ? 3 : 1;
}

/* Axis 1 of input i is `runs` runs of the hidden cells, one behind the other. */
static void gatewise(struct mc_couple *w, size_t i, int64_t runs, const struct mc_units *h,
                     int64_t hidden, enum mc_role role)
{
    if (!input(w, i))
        return;
    const struct mc_couple_part part[] = {{NULL, runs}, {h, hidden}};
    const struct mc_units *rows = mc_couple_axis(w, input(w, i), 1);
    mc_couple_same(w, rows, mc_couple_merge(w, part, 2),
                   "the gates of a recurrent cell have no common axis");
    mc_couple_role(w, input(w, i), 1, role);
}

/* Directions do not go. Those of a constant are not asked for, and so have no units. */
static void hold_axis(struct mc_couple *w, const struct mc_value *v, int axis)
{
    if (v && !mc_constant(v))
        mc_couple_hold(w, mc_couple_axis(w, v, axis), "a recurrent cell goes over it");
}

static void walk(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *r = mc_couple_shape(w, input(w, R));
    bool batch_first = mc_node_int(n, "layout", 0) != 0;
    if (!r || r->rank != 3 || r->dim[2] < 1 || !mc_couple_shape(w, input(w, X))) {
        mc_couple_hold_node(w, "the size of the recurrent cell is not known");
        return;
    }
    int64_t hidden = r->dim[2];
    int gates = gates_of(n), batch_axis = batch_first ? 0 : 1;
    const struct mc_units *h = mc_couple_axis(w, input(w, R), 2);
    const struct mc_units *batch = mc_couple_axis(w, input(w, X), batch_axis);
    mc_couple_kind(w, h, "states");
    mc_couple_role(w, input(w, R), 2, MC_ROLE_READS);
    gatewise(w, R, gates, h, hidden, MC_ROLE_MAKES);
    gatewise(w, W, gates, h, hidden, MC_ROLE_MAKES);
    gatewise(w, B, 2 * gates, h, hidden, MC_ROLE_ALONG);
    gatewise(w, PEEP, 3, h, hidden, MC_ROLE_ALONG);
    for (size_t i = W; i <= PEEP; i++)
        if (i < LENS || i == PEEP)
            hold_axis(w, input(w, i), 0);
    mc_couple_same(w, mc_couple_axis(w, input(w, X), 2), mc_couple_axis(w, input(w, W), 2),
                   "a recurrent cell reads it with weights that stay");
    mc_couple_role(w, input(w, W), 2, MC_ROLE_READS);
    hold_axis(w, input(w, X), 1 - batch_axis);
    if (input(w, LENS))
        mc_couple_same(w, batch, mc_couple_axis(w, input(w, LENS), 0),
                       "it is a batch of a recurrent cell");
    for (size_t i = FIRST_H; i <= FIRST_C; i++) {
        if (!input(w, i))
            continue;
        mc_couple_same(w, h, mc_couple_axis(w, input(w, i), 2),
                       "a state of the recurrent cell is given whole");
        mc_couple_role(w, input(w, i), 2, MC_ROLE_ALONG);
        hold_axis(w, input(w, i), 1 - batch_axis);
        mc_couple_same(w, batch, mc_couple_axis(w, input(w, i), batch_axis),
                       "it is a batch of a recurrent cell");
    }
    for (size_t k = 0; k < n->n_out; k++) {
        if (!n->out[k])
            continue;
        mc_couple_put(w, n->out[k], k == Y ? 3 : 2, h);
        mc_couple_put(w, n->out[k], batch_first ? 0 : k == Y ? 2 : 1, batch);
    }
}

static int cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    if (!mc_node_attr(n, "hidden_size") || !mc_cutting_changed(k, n->in[R], 2))
        return 0;
    return mc_edit_attr_int(n, "hidden_size", mc_cutting_length(k, n->in[R], 2), err);
}

const struct mc_couple_rule mc_couple_cell[] = {{"", " LSTM GRU RNN ", walk, cut}, {0}};
