#include "passes/svd/merge_window.h"

#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"

static const char *const names[MC_WINDOW_INTS] = {"kernel_shape", "strides", "pads", "dilations"};

static bool fill(const struct mc_node *n, const char *name, int64_t missing, int64_t *ret,
                 int count)
{
    size_t k;
    const int64_t *v = mc_node_ints(n, name, &k);
    for (int i = 0; i < count && (!v || k == (size_t)count); i++)
        ret[i] = v ? v[i] : missing;
    return !v || k == (size_t)count;
}

bool mc_merge_window_of(const struct mc_node *n, struct mc_merge_window *ret)
{
    const struct mc_shape *s = &mc_constant(n->in[1])->shape;
    const char *pad = mc_node_string(n, "auto_pad", "NOTSET");
    int64_t kernel[MC_RANK_MAX] = {0};
    *ret = (struct mc_merge_window){.axes = s->rank - 2};
    memcpy(ret->kernel, s->dim + 2, (size_t)ret->axes * sizeof *ret->kernel);
    bool fits = fill(n, "kernel_shape", 0, kernel, ret->axes) &&
                fill(n, "strides", 1, ret->stride, ret->axes) &&
                fill(n, "dilations", 1, ret->dilation, ret->axes);
    for (int i = 0; i < ret->axes; i++)
        fits = fits && (!kernel[i] || kernel[i] == ret->kernel[i]);
    if (!strcmp(pad, "NOTSET"))
        return fits && fill(n, "pads", 0, ret->pad, 2 * ret->axes);
    if (strcmp(pad, "VALID") != 0)
        ret->same = pad;
    return fits;
}

static bool is_padded(const struct mc_merge_window *w)
{
    bool padded = w->same != NULL;
    for (int i = 0; i < 2 * w->axes; i++)
        padded = padded || w->pad[i];
    return padded;
}

/* One position in, the same one out. */
static bool is_point(const struct mc_merge_window *w)
{
    bool point = true;
    for (int i = 0; i < w->axes; i++)
        point = point && w->kernel[i] == 1 && w->stride[i] == 1;
    return point && (w->same || !is_padded(w)); /* of a point, "same" is no padding */
}

bool mc_merge_windows(const struct mc_merge_window *first, const struct mc_merge_window *second,
                      bool bias, struct mc_merge_window *ret)
{
    if (first->axes != second->axes || (bias && is_padded(second) && !is_point(second)))
        return false;
    if (is_point(first) || is_point(second)) {
        *ret = is_point(first) ? *second : *first;
        return true;
    }
    if (first->same || second->same)
        return false;
    int n = first->axes;
    *ret = (struct mc_merge_window){.axes = n};
    for (int i = 0; i < n; i++) {
        bool by_first = second->kernel[i] == 1 && !second->pad[i] && !second->pad[n + i];
        bool by_second =
            first->kernel[i] == 1 && first->stride[i] == 1 && !first->pad[i] && !first->pad[n + i];
        if (!by_first && !by_second)
            return false;
        const struct mc_merge_window *w = by_first ? first : second;
        ret->kernel[i] = w->kernel[i];
        ret->dilation[i] = w->dilation[i];
        ret->pad[i] = w->pad[i];
        ret->pad[n + i] = w->pad[n + i];
        ret->stride[i] = first->stride[i] * second->stride[i];
    }
    return true;
}

int mc_window_attrs_get(struct mc_node *n, struct mc_window_attrs *ret, struct mc_err *err)
{
    struct mc_arena *mem = &n->graph->model->arena;
    *ret = (struct mc_window_attrs){0};
    bool ok = true;
    for (int i = 0; i < MC_WINDOW_INTS; i++) {
        const int64_t *v = mc_node_ints(n, names[i], &ret->n[i]);
        if (v)
            ok = (ret->ints[i] = mc_arena_memdup(mem, v, ret->n[i] * sizeof *v)) && ok;
    }
    const char *pad = mc_node_string(n, "auto_pad", NULL);
    if (pad)
        ok = (ret->auto_pad = mc_arena_strdup(mem, pad)) && ok;
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

int mc_window_attrs_put(struct mc_node *n, const struct mc_window_attrs *a, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; !rc && i < MC_WINDOW_INTS; i++)
        if (a->ints[i])
            rc = mc_edit_attr_ints(n, names[i], a->ints[i], a->n[i], err);
        else
            mc_edit_attr_remove(n, names[i]);
    if (!rc && a->auto_pad)
        return mc_edit_attr_string(n, "auto_pad", a->auto_pad, err);
    mc_edit_attr_remove(n, "auto_pad");
    return rc;
}

int mc_merge_window_put(struct mc_node *n, const struct mc_merge_window *w, struct mc_err *err)
{
    size_t axes = (size_t)w->axes;
    struct mc_window_attrs a = {
        .ints = {w->kernel, w->stride, w->same ? NULL : w->pad, w->dilation},
        .n = {axes, axes, 2 * axes, axes},
        .auto_pad = w->same};
    return mc_window_attrs_put(n, &a, err);
}
