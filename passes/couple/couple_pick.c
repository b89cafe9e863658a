#include "passes/couple/couple_pick.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_state.h"

int mc_pick_ints(const struct mc_infer *inf, const struct mc_value *v, int64_t *value, bool *known,
                 int max)
{
    const struct mc_vtype *t = v ? mc_infer_of(inf, v) : NULL;
    if (!t)
        return -1;
    const struct mc_tensor *c = t->known ? t->known : mc_constant(v);
    if (c) {
        int64_t n = mc_tensor_count(c);
        if (n > max || mc_dtype_to_i64(c->dtype, c->data, value, (size_t)n, NULL))
            return -1;
        for (int64_t i = 0; i < n; i++)
            known[i] = true;
        return (int)n;
    }
    if (!t->partial || t->partial->n > max)
        return -1;
    for (int i = 0; i < t->partial->n; i++) {
        known[i] = !t->partial->sym[i];
        value[i] = t->partial->value[i];
    }
    return t->partial->n;
}

int64_t *mc_pick_list(struct mc_couple *w, const struct mc_value *v, int64_t *ret_n)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    enum mc_dtype_kind kind = t ? mc_dtype_info(t->dtype)->kind : MC_KIND_OTHER;
    if (w->rc || (kind != MC_KIND_INT && kind != MC_KIND_UINT))
        return NULL;
    *ret_n = mc_tensor_count(t);
    int64_t *list = mc_calloc((size_t)*ret_n + 1, sizeof *list);
    if (!list)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
    else
        w->rc = mc_dtype_to_i64(t->dtype, t->data, list, (size_t)*ret_n, w->err);
    if (!w->rc)
        return list;
    free(list);
    return NULL;
}

bool mc_pick_is_index(struct mc_couple *w, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_infer_of(w->c->inf, v);
    bool is =
        t->dtype == MC_DTYPE_I64 || (t->dtype == MC_DTYPE_I32 && t->ranked && t->shape.rank <= 1);
    if (is)
        mc_couple_hold_node(w, "numbers that count or address something are made of it");
    return is;
}

bool mc_pick_ranked(struct mc_couple *w, const struct mc_value *x, const struct mc_value *y)
{
    if (mc_couple_shape(w, x) && mc_couple_shape(w, y))
        return true;
    mc_couple_hold_node(w, "a rank is not known");
    return false;
}

/* ---- after a cut ---- */

const struct mc_value *mc_pick_original(const struct mc_cutting *k, const struct mc_value *v)
{
    return mc_axis_origin(k->c, v);
}

int64_t mc_pick_kept(const struct mc_cutting *k, const struct mc_value *x, int x_axis,
                     const struct mc_value *y, int y_axis, const int64_t *index, int64_t **ret)
{
    int64_t n_x = mc_cutting_shape(k, x)->dim[x_axis], n_y = mc_cutting_shape(k, y)->dim[y_axis];
    int64_t *from = NULL, *to = NULL, n = -1;
    int64_t k_x = mc_cut_kept(mc_coupling_axis(k->c, x, x_axis), n_x, k->gone, &from);
    int64_t k_y = mc_cut_kept(mc_coupling_axis(k->c, y, y_axis), n_y, k->gone, &to);
    int64_t *place = mc_calloc((size_t)n_x + 1, sizeof *place);
    int64_t *list = mc_calloc((size_t)n_y + 1, sizeof *list);
    if (k_x < 0 || k_y < 0 || !place || !list)
        goto out;
    for (int64_t i = 0; i < k_x; i++)
        place[from ? from[i] : i] = i;
    for (int64_t i = 0; i < k_y; i++) {
        int64_t was = index[to ? to[i] : i];
        list[i] = was < 0 ? -1 : place[was];
    }
    n = k_y;
    *ret = list;
    list = NULL;
out:
    free(from);
    free(to);
    free(place);
    free(list);
    return n;
}

int mc_pick_gather(struct mc_graph *g, size_t pos, const char *name, struct mc_value *x, int axis,
                   const int64_t *index, int64_t n, struct mc_value *y, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(1, &n);
    struct mc_value *in[2] = {x, NULL};
    struct mc_tensor *t;
    struct mc_node *made;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, g->model->spill, &t, &data, err);
    if (rc)
        return rc;
    memcpy(data, index, (size_t)n * sizeof *index);
    rc = mc_constant_new(g, pos, "kept", t, &in[1], err);
    mc_tensor_unref(t);
    rc = rc ? rc : mc_edit_node(g, pos, "Gather", "", 0, name, in, 2, &y, 1, &made, err);
    return rc ? rc : mc_edit_attr_int(made, "axis", axis, err);
}
