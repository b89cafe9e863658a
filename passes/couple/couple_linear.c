/* Products: rows of a weight are the channels that come out, its columns those that go in. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_state.h"
#include "passes/couple/couple_table.h"
#include "passes/couple/cut_tensor.h"

static const char *const unequal = "what it is multiplied with stays";

/* ---- Gemm, MatMul ---- */

static void gemm(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    bool ta = mc_node_int(n, "transA", 0), tb = mc_node_int(n, "transB", 0);
    const struct mc_value *a = n->in[0], *b = n->in[1], *y = n->out[0];
    const struct mc_couple_at sum[2] = {{a, !ta}, {b, tb}};
    mc_couple_together(w, sum, 2, unequal);
    mc_couple_role(w, b, tb, MC_ROLE_READS);
    mc_couple_role(w, b, !tb, MC_ROLE_MAKES);
    mc_couple_role(w, a, !ta, MC_ROLE_READS);
    mc_couple_role(w, a, ta, MC_ROLE_MAKES);
    mc_couple_put(w, y, 0, mc_couple_axis(w, a, ta));
    mc_couple_put(w, y, 1, mc_couple_axis(w, b, !tb));
    const struct mc_value *c = n->n_in > 2 ? n->in[2] : NULL;
    const struct mc_shape *cs = mc_couple_shape(w, c);
    if (c && !cs)
        mc_couple_hold_node(w, "a rank is not known");
    for (int i = 0; cs && i < cs->rank; i++)
        if (cs->dim[i] != 1) {
            mc_couple_meet(w, c, i, mc_couple_axis(w, y, 2 - cs->rank + i),
                           "a bias that stays is added");
            mc_couple_role(w, c, i, MC_ROLE_ALONG);
        }
}

static void matmul(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_value *a = n->in[0], *b = n->in[1], *y = n->out[0];
    const struct mc_shape *sa = mc_couple_shape(w, a), *sb = mc_couple_shape(w, b),
                          *sy = mc_couple_shape(w, y);
    if (!sa || !sb || !sy || !sa->rank || !sb->rank) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    int ra = sa->rank, rb = sb->rank, ry = sy->rank;
    int ka = ra - 1, kb = rb > 1 ? rb - 2 : 0;
    int batch = (ra > rb ? ra : rb) - 2;
    const struct mc_couple_at sum[2] = {{a, ka}, {b, kb}};
    mc_couple_together(w, sum, 2, unequal);
    mc_couple_role(w, a, ka, MC_ROLE_READS);
    mc_couple_role(w, b, kb, MC_ROLE_READS);
    for (int i = 0; i < batch; i++) {
        struct mc_couple_at at[2];
        int count = 0;
        if (ra - 2 - batch + i >= 0)
            at[count++] = (struct mc_couple_at){a, ra - 2 - batch + i};
        if (rb - 2 - batch + i >= 0)
            at[count++] = (struct mc_couple_at){b, rb - 2 - batch + i};
        mc_couple_put(w, y, i, mc_couple_together(w, at, count, unequal));
        for (int k = 0; k < count; k++)
            mc_couple_role(w, at[k].v, at[k].axis, MC_ROLE_MAKES);
    }
    if (ra > 1) {
        mc_couple_role(w, a, ra - 2, MC_ROLE_MAKES);
        mc_couple_put(w, y, ry - (rb > 1 ? 2 : 1), mc_couple_axis(w, a, ra - 2));
    }
    if (rb > 1) {
        mc_couple_role(w, b, rb - 1, MC_ROLE_MAKES);
        mc_couple_put(w, y, ry - 1, mc_couple_axis(w, b, rb - 1));
    }
}

/* ---- Conv, ConvTranspose ---- */

/* Where a weight cannot be cut by its node: its axis of columns means other channels in every group. */
static bool is_own_constant(const struct mc_value *v)
{
    for (; v->outer; v = v->outer)
        if (v->n_uses != 1)
            return false;
    return v->n_uses == 1 && !v->is_output && mc_axis_is_constant(v);
}

/* Groups cut evenly, each with a choice of its own; otherwise whole groups go. */
static bool is_even(const struct mc_node *n, int64_t groups, int64_t width)
{
    return groups < width && is_own_constant(n->in[1]);
}

static void grouped(struct mc_couple *w, int64_t groups)
{
    const struct mc_node *n = w->n;
    const struct mc_value *x = n->in[0], *k = n->in[1], *y = n->out[0];
    const struct mc_shape *ks = mc_couple_shape(w, k);
    const struct mc_units *in[2], *out[2], *ux = mc_couple_axis(w, x, 1);
    if (ks->dim[0] < 0 || ks->dim[0] % groups || ks->dim[1] < 1) {
        mc_couple_hold_node(w, "groups of a length that is not known");
        return;
    }
    int64_t rows = ks->dim[0] / groups, columns = ks->dim[1];
    mc_couple_role(w, k, 0, columns == 1 && rows == 1 ? MC_ROLE_ALONG : MC_ROLE_MAKES);
    if (columns == 1 && rows == 1) {
        mc_couple_meet(w, k, 0, ux, unequal);
        mc_couple_put(w, y, 1, ux);
        return;
    }
    const struct mc_units *uk = mc_couple_axis(w, k, 0);
    mc_couple_put(w, y, 1, uk);
    /* Other nodes may have said something of the columns; these mean other channels in every group. */
    mc_couple_meet(w, k, 1, NULL, "it is a column of groups");
    if (columns > 1 && is_even(n, groups, columns)) {
        mc_couple_balance(w, ux, groups);
        mc_couple_balance(w, uk, groups);
        return;
    }
    mc_couple_split(w, ux, (const int64_t[]){groups, columns}, 2, in);
    mc_couple_split(w, uk, (const int64_t[]){groups, rows}, 2, out);
    mc_couple_same(w, in[0], out[0], "groups of a convolution that stays");
    mc_couple_kind(w, out[0], columns > 1 ? "groups" : "channels");
    mc_couple_kind(w, out[1], columns > 1 ? "channels" : "multiplier");
    if (columns > 1) {
        mc_couple_hold(w, in[1], "only whole groups go");
        mc_couple_hold(w, out[1], "only whole groups go");
    }
}

static void grouped_transposed(struct mc_couple *w, int64_t groups)
{
    const struct mc_node *n = w->n;
    const struct mc_value *x = n->in[0], *k = n->in[1], *y = n->out[0];
    const struct mc_shape *ks = mc_couple_shape(w, k);
    const struct mc_units *in[2], *ux = mc_couple_axis(w, x, 1);
    if (ks->dim[0] < 0 || ks->dim[0] % groups || ks->dim[1] < 1 ||
        ks->dim[1] > INT32_MAX / groups) {
        mc_couple_hold_node(w, "groups of a length that is not known");
        return;
    }
    int64_t width = ks->dim[0] / groups;
    mc_couple_meet(w, k, 0, ux, unequal);
    mc_couple_role(w, k, 0, width == 1 ? MC_ROLE_ALONG : MC_ROLE_READS);
    mc_couple_role(w, k, 1, MC_ROLE_MAKES);
    const struct mc_units *uk = mc_couple_axis(w, k, 1);
    if (groups < width) {
        mc_couple_balance(w, ux, groups);
        in[0] = NULL;
    } else if (width == 1) {
        in[0] = ux;
    } else {
        mc_couple_split(w, ux, (const int64_t[]){groups, width}, 2, in);
        mc_couple_hold(w, in[1], "only whole groups go");
        mc_couple_kind(w, in[0], "groups");
    }
    mc_couple_put(
        w, y, 1,
        mc_couple_merge(w, (const struct mc_couple_part[]){{in[0], groups}, {uk, ks->dim[1]}}, 2));
}

/* x [N,C,…], w [M,C/g,…] or, transposed, [C,M/g,…], b [M]. */
static void convolution(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    bool transposed = mc_node_is(n, "ConvTranspose");
    int64_t groups = mc_node_int(n, "group", 1);
    const struct mc_value *x = n->in[0], *k = n->in[1], *y = n->out[0];
    const struct mc_shape *xs = mc_couple_shape(w, x), *ks = mc_couple_shape(w, k);
    if (!xs || !ks || !mc_couple_shape(w, y) || xs->rank < 3 || ks->rank != xs->rank ||
        groups < 1) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    mc_couple_put(w, y, 0, mc_couple_axis(w, x, 0));
    for (int i = 2; i < xs->rank; i++) {
        mc_couple_hold(w, mc_couple_axis(w, x, i), "a window goes over it");
        mc_couple_meet(w, k, i, NULL, "a place in a window");
    }
    if (groups == 1) {
        const struct mc_couple_at sum[2] = {{x, 1}, {k, !transposed}};
        mc_couple_together(w, sum, 2, unequal);
        mc_couple_role(w, k, !transposed, MC_ROLE_READS);
        mc_couple_role(w, k, transposed, MC_ROLE_MAKES);
        mc_couple_put(w, y, 1, mc_couple_axis(w, k, transposed));
    } else if (transposed) {
        grouped_transposed(w, groups);
    } else {
        grouped(w, groups);
    }
    if (n->n_in > 2 && n->in[2]) {
        mc_couple_meet(w, n->in[2], 0, mc_couple_axis(w, y, 1), "a bias that stays is added");
        mc_couple_role(w, n->in[2], 0, MC_ROLE_ALONG);
    }
}

/* ---- after a cut ---- */

/* Columns of a grouped weight whose rows are cut: those of group i are the places that stay in group i of x. */
static int cut_columns(struct mc_cutting *k, struct mc_node *n, int64_t groups, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(n->in[1]);
    const struct mc_shape *was = mc_cutting_shape(k, n->in[1]);
    int64_t channels = groups * was->dim[1], *kept;
    int64_t n_kept = mc_cut_kept(mc_coupling_axis(k->c, n->in[0], 1), channels, k->gone, &kept);
    if (n_kept < 0)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_tensor *made = NULL;
    int rc = 0;
    if (kept && n_kept % groups)
        rc = mc_fail(err, MC_ESHAPE, "Conv '%s': %lld channels stay in %lld groups",
                     mc_node_label(n), (long long)n_kept, (long long)groups);
    for (int64_t i = 0; kept && i < n_kept && !rc; i++)
        kept[i] -= i / (n_kept / groups) * was->dim[1];
    if (!rc && kept)
        rc = mc_cut_tensor_grouped(k, t, kept, n_kept / groups, groups, &made, err);
    if (!rc && made)
        rc = mc_constant_replace(n->in[1], made, err);
    mc_tensor_unref(made);
    free(kept);
    return rc;
}

static int cut_convolution(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    int64_t groups = mc_node_int(n, "group", 1);
    const struct mc_shape *was = mc_cutting_shape(k, n->in[1]);
    if (groups == 1 || !was)
        return 0;
    bool transposed = mc_node_is(n, "ConvTranspose");
    int64_t width = transposed ? was->dim[0] / groups : was->dim[1];
    if (width > 1 && (transposed ? groups < width : is_even(n, groups, width)))
        return transposed ? 0 : cut_columns(k, n, groups, err);
    int64_t left = mc_cutting_length(k, n->in[0], 1) / width;
    return left == groups ? 0 : mc_edit_attr_int(n, "group", left, err);
}

const struct mc_couple_rule mc_couple_linear[] = {
    {"", " Gemm ", gemm, NULL},
    {"", " MatMul ", matmul, NULL},
    {"", " Conv ConvTranspose ", convolution, cut_convolution},
    {0},
};
