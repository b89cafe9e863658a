/* Recurrent cells: LSTM, GRU and RNN of ai.onnx, DynamicQuantizeLSTM of com.microsoft. The units are the hidden cells.
 *
 * A cell has a row of W, R and B for every gate (row i belongs to cell i mod H), a column of R, a number of every state and
 * of what comes out. Both directions of a bidirectional node have one axis in common, so a forward cell goes together with
 * the backward cell of the same place.
 *
 * A cell whose rows of W, R and B are zeros has a state of zeros, if it starts with zeros and its functions are the usual ones:
 * an LSTM's candidate is tanh(0), so c = f c stays 0 and h = o tanh(c) too; a GRU's is tanh(0), so h = (1 - z) 0 + z h
 * stays 0; an RNN's is f(0). With others it is a sequence of its own, but nobody reads it. Removing it is exact either way. */
#include "graph/edit.h"
#include "passes/couple/couple_table.h"

enum { X, W, R, B, LENS, FIRST_H, FIRST_C, PEEP, SCALES, INPUTS = SCALES + 4 };
enum { Y, LAST_H, LAST_C };

static const char over[] = "a recurrent cell goes over it";
static const char batched[] = "it is a batch of a recurrent cell";

struct cell {
    int rows, columns; /* axes of W and R: those of gates, and of what they read */
    int gates;
    const struct mc_units *h; /* [hidden] */
    int64_t hidden;
};

static struct mc_value *input(const struct mc_couple *w, size_t i)
{
    return i < w->n->n_in ? w->n->in[i] : NULL;
}

/* A quantised cell has its weights transposed. */
static struct cell cell_of(const struct mc_node *n)
{
    bool quantised = n->domain[0] != 0;
    return (struct cell){.rows = quantised ? 2 : 1,
                         .columns = quantised ? 1 : 2,
                         .gates = mc_node_is(n, "GRU")   ? 3
                                  : mc_node_is(n, "RNN") ? 1
                                                         : 4};
}

/* An axis of input i is `runs` runs of the hidden cells, one behind the other. */
static void gatewise(struct mc_couple *w, size_t i, int axis, int64_t runs, const struct cell *c,
                     enum mc_role role)
{
    const struct mc_couple_part part[] = {{NULL, runs}, {c->h, c->hidden}};
    if (!input(w, i))
        return;
    mc_couple_meet(w, input(w, i), axis, runs == 1 ? c->h : mc_couple_merge(w, part, 2),
                   "gates of a recurrent cell that stay");
    mc_couple_role(w, input(w, i), axis, role);
}

static void weights(struct mc_couple *w, const struct cell *c)
{
    static const size_t directed[] = {W, R, B, PEEP};
    mc_couple_role(w, input(w, R), c->columns, MC_ROLE_READS);
    gatewise(w, R, c->rows, c->gates, c, MC_ROLE_MAKES);
    gatewise(w, W, c->rows, c->gates, c, MC_ROLE_MAKES);
    gatewise(w, B, 1, 2 * c->gates, c, MC_ROLE_ALONG);
    gatewise(w, PEEP, 1, 3, c, MC_ROLE_ALONG);
    mc_couple_meet(w, input(w, W), c->columns, mc_couple_axis(w, input(w, X), 2),
                   "it is read by a recurrent cell with weights that stay, or stays itself");
    mc_couple_role(w, input(w, W), c->columns, MC_ROLE_READS);
    for (size_t i = 0; i < sizeof directed / sizeof *directed; i++)
        if (input(w, directed[i]))
            mc_couple_meet(w, input(w, directed[i]), 0, NULL, over);
}

/* Scales of the weights: one for a direction, or one for each row. What they multiply is quantised by its own range. */
static void scales(struct mc_couple *w, const struct cell *c)
{
    for (size_t i = SCALES; i < INPUTS; i++) {
        const struct mc_shape *s = mc_couple_shape(w, input(w, i));
        if (s && s->rank == 2)
            gatewise(w, i, 1, c->gates, c, MC_ROLE_ALONG);
        if (s && s->rank)
            mc_couple_meet(w, input(w, i), 0, NULL, over);
    }
    mc_couple_inexact(w, c->h);
    mc_couple_inexact(w, mc_couple_axis(w, input(w, X), 2));
}

static void states(struct mc_couple *w, const struct cell *c, int batch_axis,
                   const struct mc_units *batch)
{
    const struct mc_node *n = w->n;
    if (input(w, LENS))
        mc_couple_meet(w, input(w, LENS), 0, batch, batched);
    for (size_t i = FIRST_H; i <= FIRST_C; i++) {
        if (!input(w, i))
            continue;
        gatewise(w, i, 2, 1, c, MC_ROLE_ALONG);
        mc_couple_meet(w, input(w, i), batch_axis, batch, batched);
        mc_couple_meet(w, input(w, i), 1 - batch_axis, NULL, over);
    }
    for (size_t k = 0; k < n->n_out; k++) {
        if (!n->out[k])
            continue;
        mc_couple_put(w, n->out[k], k == Y ? 3 : 2, c->h);
        mc_couple_put(w, n->out[k], k == Y && batch_axis ? 2 : batch_axis, batch);
    }
}

static void walk(struct mc_couple *w)
{
    struct cell c = cell_of(w->n);
    int batch_axis = mc_node_int(w->n, "layout", 0) != 0 ? 0 : 1;
    const struct mc_shape *x = mc_couple_shape(w, input(w, X));
    const struct mc_shape *r = mc_couple_shape(w, input(w, R));
    if (!r || r->rank != 3 || r->dim[c.columns] < 1 || !input(w, W) || !x || x->rank != 3) {
        mc_couple_hold_node(w, "the size of the recurrent cell is not known");
        return;
    }
    c.hidden = r->dim[c.columns];
    c.h = mc_couple_axis(w, input(w, R), c.columns);
    mc_couple_kind(w, c.h, "states");
    weights(w, &c);
    if (w->n->domain[0])
        scales(w, &c);
    mc_couple_meet(w, input(w, X), 1 - batch_axis, NULL, over);
    states(w, &c, batch_axis, mc_couple_axis(w, input(w, X), batch_axis));
    mc_couple_kind(w, c.h, "states"); /* also where a first state had them before */
}

static int cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    int columns = cell_of(n).columns;
    if (!mc_node_attr(n, "hidden_size") || !mc_cutting_changed(k, n->in[R], columns))
        return 0;
    return mc_edit_attr_int(n, "hidden_size", mc_cutting_length(k, n->in[R], columns), err);
}

const struct mc_couple_rule mc_couple_cell[] = {
    {"", " LSTM GRU RNN ", walk, cut},
    {"com.microsoft", " DynamicQuantizeLSTM ", walk, cut},
    {0},
};
