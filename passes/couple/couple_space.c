/* Channels into space and back, and what changes lengths of space alone. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

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

/* Scales of an axis of Resize or Upsample, where they are written: 1? */
static bool is_scale_one(const struct mc_couple *w, int axis, int rank)
{
    const struct mc_node *n = w->n;
    size_t slot = mc_node_is(n, "Resize") && n->version >= 11 ? 2 : 1, n_axes;
    const struct mc_attr *a = mc_node_attr(n, "scales");
    const int64_t *axes = mc_node_ints(n, "axes", &n_axes);
    const struct mc_value *v = slot < n->n_in ? n->in[slot] : NULL;
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    float scale[MC_RANK_MAX];
    const float *given = a && a->floats ? a->floats : scale;
    size_t count = a && a->floats ? a->n : 0, at = (size_t)axis;
    t = v && !t ? mc_infer_of(w->c->inf, v)->known : t;
    if (t && !count && mc_tensor_count(t) <= MC_RANK_MAX) {
        count = (size_t)mc_tensor_count(t);
        if (mc_dtype_to_f32(t->dtype, t->data, scale, count, NULL))
            return false;
    }
    for (size_t i = 0; axes && i < n_axes; i++)
        if (mc_shape_axis(axes[i], rank) == axis) {
            at = i;
            axes = NULL;
        }
    return axes || (at < count && given[at] == 1);
}

/* Is a scale of 1 (or sizes that are not for its sake) all that an axis gets? */
static bool is_left_alone(struct mc_couple *w, int axis)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *x = mc_couple_shape(w, n->in[0]), *y = mc_couple_shape(w, n->out[0]);
    const char *how = mc_node_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *ratio = mc_node_string(n, "keep_aspect_ratio_policy", "stretch");
    const char *nearest = mc_node_string(n, "nearest_mode", "round_prefer_floor");
    /* Half a position off, which rounding down puts right. */
    bool off = !strcmp(how, "tf_half_pixel_for_nn") &&
               (strcmp(mc_node_string(n, "mode", "nearest"), "nearest") != 0 ||
                (strcmp(nearest, "floor") != 0 && strcmp(nearest, "round_prefer_floor") != 0));
    return x->dim[axis] == y->dim[axis] && !off && strcmp(how, "tf_crop_and_resize") != 0 &&
           !strcmp(ratio, "stretch") && (has_sizes(n) || is_scale_one(w, axis, x->rank));
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
