/* Channels into space and back, and what changes lengths of space alone. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple_pick.h"
#include "passes/couple_table.h"

static void hold_space(struct mc_couple *w, const struct mc_value *x)
{
    for (int i = 2; i < mc_couple_shape(w, x)->rank; i++)
        mc_couple_hold(w, mc_couple_axis(w, x, i), "an axis of space");
}

static void depth_to_space(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    if (!mc_pick_ranked(w, x, y))
        return;
    int64_t b = mc_node_int(w->n, "blocksize", 1), c = mc_couple_shape(w, y)->dim[1];
    bool crd = !strcmp(mc_node_string(w->n, "mode", "DCR"), "CRD");
    const struct mc_units *u = mc_couple_axis(w, x, 1), *part[2];
    int64_t dim[2] = {crd ? c : b * b, crd ? b * b : c};
    hold_space(w, x);
    mc_couple_put(w, y, 0, mc_couple_axis(w, x, 0));
    if (!u)
        return;
    mc_couple_split(w, u, dim, 2, part);
    mc_couple_hold(w, part[crd], "it becomes space");
    mc_couple_put(w, y, 1, part[!crd]);
}

static void space_to_depth(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    if (!mc_pick_ranked(w, x, y))
        return;
    int64_t b = mc_node_int(w->n, "blocksize", 1);
    struct mc_couple_part part[2] = {{NULL, b * b},
                                     {mc_couple_axis(w, x, 1), mc_couple_shape(w, x)->dim[1]}};
    hold_space(w, x);
    mc_couple_put(w, y, 0, mc_couple_axis(w, x, 0));
    if (part[1].u)
        mc_couple_put(w, y, 1, mc_couple_merge(w, part, 2));
}

/* ---- Resize ---- */

enum { SIZES = 3 };

static bool has_sizes(const struct mc_node *n)
{
    return mc_node_is(n, "Resize") && n->n_in > SIZES && n->in[SIZES];
}

/* Is a scale of 1 (or sizes that are not for its sake) all that an axis gets? */
static bool is_left_alone(struct mc_couple *w, int axis)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    const char *how = mc_node_string(w->n, "coordinate_transformation_mode", "half_pixel");
    const char *ratio = mc_node_string(w->n, "keep_aspect_ratio_policy", "stretch");
    return mc_couple_shape(w, x)->dim[axis] == mc_couple_shape(w, y)->dim[axis] &&
           strcmp(how, "tf_crop_and_resize") != 0 && !strcmp(ratio, "stretch");
}

static void resize(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    int64_t written[MC_RANK_MAX];
    size_t n_axes;
    if (!mc_pick_ranked(w, x, y))
        return;
    bool axes = mc_node_ints(w->n, "axes", &n_axes);
    bool can_write =
        !has_sizes(w->n) || !axes || mc_constant_ints(w->n->in[SIZES], written, MC_RANK_MAX) >= 0;
    for (int i = 0; i < mc_couple_shape(w, x)->rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, x, i);
        if (u && can_write && is_left_alone(w, i))
            mc_couple_put(w, y, i, u);
        else
            mc_couple_hold(w, u, "its length is changed by a Resize");
    }
}

static int resize_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int64_t size[MC_RANK_MAX];
    size_t n_axes;
    const int64_t *axes = mc_node_ints(n, "axes", &n_axes);
    bool any = false;
    if (!has_sizes(n) || !x)
        return 0;
    if (!axes)
        return mc_cutting_target(k, n, SIZES, err);
    int count = mc_constant_ints(n->in[SIZES], size, MC_RANK_MAX);
    for (int i = 0; i < count && (size_t)i < n_axes; i++) {
        int d = mc_shape_axis(axes[i], x->rank);
        if (d < 0 || !mc_cutting_changed(k, n->out[0], d))
            continue;
        size[i] = mc_cutting_length(k, n->out[0], d);
        any = true;
    }
    return any ? mc_cutting_ints(k, n, SIZES, size, count, err) : 0;
}

/* ---- what samples or crops space: channels are handed on ---- */

static void sampled(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    if (!mc_pick_ranked(w, x, y))
        return;
    hold_space(w, x);
    mc_couple_hold(w, mc_couple_axis(w, x, 0), "its items have numbers");
    for (size_t i = 1; i < w->n->n_in; i++)
        if (w->n->in[i])
            mc_couple_hold_value(w, w->n->in[i], "they are places");
    mc_couple_put(w, y, 1, mc_couple_axis(w, x, 1));
}

const struct mc_couple_rule mc_couple_space[] = {
    {"", " DepthToSpace ", depth_to_space, NULL},
    {"", " SpaceToDepth ", space_to_depth, NULL},
    {"", " Resize Upsample ", resize, resize_cut},
    {"", " GridSample RoiAlign MaxRoiPool ", sampled, NULL},
    {0},
};
