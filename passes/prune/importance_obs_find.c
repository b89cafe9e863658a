#include "passes/prune/importance_obs_find.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"

/* Columns of which all products are summed: [n,n] floats, and n³ operations. */
enum { WHOLE_UP_TO = 2304, SUMMED_UP_TO = 4608 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

static const struct mc_shape *shape_of(const struct mc_coupling *c, const struct mc_value *v)
{
    const struct mc_vtype *t = v ? mc_infer_of(c->inf, v) : NULL;
    return t && t->ranked ? &t->shape : NULL;
}

static bool has_unit(const struct mc_units *u, const struct mc_coupling_group *g)
{
    for (int64_t i = 0; u && i < u->n * u->per; i++)
        if (u->unit[i] >= g->first && u->unit[i] < g->first + g->n)
            return true;
    return false;
}

/* ---- one site ---- */

/* Its output goes into a norm or a sum with a constant, and nowhere else. */
static bool bias_behind(const struct mc_node *n)
{
    const struct mc_value *y = n->out[0];
    if (y->n_uses != 1 || y->is_output || y->uses[0].slot < 0)
        return false;
    const struct mc_node *to = y->uses[0].node;
    return mc_node_is(to, "BatchNormalization") ||
           (mc_node_is(to, "Add") && mc_constant(to->in[1 - y->uses[0].slot]));
}

static bool has_input(const struct mc_node *n, size_t i)
{
    return n->n_in > i && n->in[i];
}

static bool conv(struct mc_obs_site *s, const struct mc_shape *w)
{
    int64_t group = mc_node_int(s->node, "group", 1);
    if (w->rank < 3 || w->rank > 5 || s->axis != 1 || group < 1 || w->dim[0] % group)
        return false;
    s->kind = MC_OBS_CONV;
    s->m = w->dim[0] / group;
    s->n = w->dim[1] * mc_shape_span(w, 2, w->rank);
    s->taps = mc_shape_span(w, 2, w->rank);
    s->parts = group > 1 ? (int)group : 0;
    s->y_axis = 1;
    s->bias = has_input(s->node, 2) || bias_behind(s->node);
    return true;
}

static bool transposed(struct mc_obs_site *s, const struct mc_shape *w)
{
    if (w->rank < 3 || s->axis != 0 || mc_node_int(s->node, "group", 1) != 1)
        return false;
    s->kind = MC_OBS_TRANSPOSED;
    s->repeat = mc_shape_span(w, 2, w->rank);
    s->m = w->dim[1] * s->repeat;
    s->n = w->dim[0];
    s->y_axis = 1;
    s->bias = has_input(s->node, 2) || bias_behind(s->node);
    return true;
}

static bool product(struct mc_obs_site *s, const struct mc_shape *w, size_t slot)
{
    bool gemm = mc_node_is(s->node, "Gemm");
    if (w->rank != 2 || (gemm && (slot != 1 || mc_node_int(s->node, "transA", 0))))
        return false;
    s->kind = slot == 1 ? MC_OBS_PLAIN : MC_OBS_LEFT;
    s->n = w->dim[s->axis];
    s->m = w->dim[1 - s->axis];
    s->y_axis = -1;
    s->bias = (gemm && has_input(s->node, 2)) || (slot == 1 && bias_behind(s->node));
    return s->kind == MC_OBS_PLAIN || s->axis == 1;
}

static bool cell(struct mc_obs_site *s, const struct mc_shape *w, size_t slot)
{
    if (w->rank != 3 || s->axis != 2 || (slot != 1 && slot != 2))
        return false;
    s->kind = slot == 1 ? MC_OBS_INPUT : MC_OBS_RECURRENT;
    s->parts = slot == 1 ? 0 : (int)w->dim[0];
    s->m = w->dim[1] * (slot == 1 ? w->dim[0] : 1);
    s->n = w->dim[2];
    s->y_axis = -1;
    s->bias = has_input(s->node, 3);
    return true;
}

/* What node's input `slot` is, as rows; false where it is none of these. */
static bool describe(struct mc_obs_site *s, size_t slot)
{
    const struct mc_shape *w = &mc_constant(s->weight)->shape;
    const struct mc_node *n = s->node;
    s->taps = s->repeat = 1;
    if (n->n_out == 0)
        return false;
    if (mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN"))
        return cell(s, w, slot);
    if (!n->out[0] || n->n_in < 2 || !n->in[0] || !n->in[1])
        return false;
    bool given = !mc_constant(n->in[1 - (slot ? 1 : 0)]) && slot < 2;
    return !given                                             ? false
           : mc_node_is(n, "Conv")                            ? slot == 1 && conv(s, w)
           : mc_node_is(n, "ConvTranspose")                   ? slot == 1 && transposed(s, w)
           : mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm") ? product(s, w, slot)
                                                              : false;
}

/* ---- where units end ---- */

/* Has an output units of the group of u's first? */
static bool goes_on(const struct mc_coupling *c, const struct mc_node *n,
                    const struct mc_coupling_group *g)
{
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_shape *s = shape_of(c, n->out[i]);
        for (int axis = 0; s && axis < s->rank; axis++)
            if (has_unit(mc_coupling_axis(c, n->out[i], axis), g))
                return true;
    }
    return false;
}

static const struct mc_coupling_group *ends(const struct mc_coupling *c, const struct mc_node *n,
                                            const struct mc_value *v, int axis)
{
    const struct mc_units *u = v ? mc_coupling_axis(c, v, axis) : NULL;
    for (int64_t i = 0; u && i < u->n * u->per; i++)
        if (u->unit[i] >= 0) {
            const struct mc_coupling_group *g = mc_coupling_group_of(c, u->unit[i]);
            return g->why || goes_on(c, n, g) ? NULL : g;
        }
    return NULL;
}

/* How rows are found on this axis of x, or false. */
static bool value(const struct mc_coupling *c, struct mc_obs_site *s, const struct mc_value *x)
{
    const struct mc_shape *shape = shape_of(c, x);
    *s = (struct mc_obs_site){.kind = MC_OBS_VALUE,
                              .node = s->node,
                              .weight = x,
                              .axis = s->axis,
                              .y_axis = s->axis == shape->rank - 1 ? -1 : s->axis,
                              .taps = 1,
                              .repeat = 1};
    s->n = s->m = shape->dim[s->axis];
    return s->axis == 1 || s->axis >= shape->rank - 2;
}

static int add(struct mc_obs_sites *l, struct mc_obs_site s, struct mc_err *err)
{
    int parts = s.parts ? s.parts : 1;
    for (s.part = 0; s.part < parts; s.part++) {
        if (!MC_GROW(l->item, l->n, l->cap))
            return no_memory(err);
        l->item[l->n++] = s;
    }
    return 0;
}

/* ---- the graph that is measured ---- */

static int make_probe(const struct mc_model *m, struct mc_obs_sites *l, struct mc_err *err)
{
    bool any = false;
    for (size_t i = 0; i < l->n; i++)
        any = any || l->item[i].kind == MC_OBS_INPUT || l->item[i].kind == MC_OBS_RECURRENT;
    if (!any)
        return 0;
    struct mc_layers layers = {0};
    int rc = mc_layers_collect((struct mc_model *)m, &layers, err);
    if (!rc)
        rc = mc_svd_probe_make(m, &layers, true, &l->probe, err);
    mc_layers_free(&layers);
    return rc;
}

static const struct mc_value *measured(const struct mc_obs_sites *l, const struct mc_value *v)
{
    return l->probe.model && v ? mc_graph_value(l->probe.model->graph, v->name) : v;
}

/* What it reads and gives there; false: it is not there. */
static bool locate(const struct mc_obs_sites *l, const struct mc_infer *inf, struct mc_obs_site *s)
{
    const struct mc_node *n = s->node;
    bool in_cell = s->kind == MC_OBS_INPUT || s->kind == MC_OBS_RECURRENT;
    if (in_cell && !l->probe.model)
        return false;
    s->x = s->kind == MC_OBS_RECURRENT ? l->probe.states[n->id]
                                       : measured(l, n->in[s->kind == MC_OBS_LEFT]);
    s->y = in_cell ? l->probe.sums[n->id] : measured(l, n->out[0]);
    if (s->kind == MC_OBS_VALUE) {
        s->x = s->y = measured(l, s->weight);
        s->y_m = s->m;
        return s->x;
    }
    if (s->kind == MC_OBS_LEFT) {
        const struct mc_vtype *y = mc_infer_of(inf, n->out[0]);
        s->y_axis = y->ranked ? y->shape.rank - 2 : -1;
        s->y = s->y_axis < 0 ? NULL : s->y;
    }
    s->y_first = s->kind == MC_OBS_RECURRENT || s->kind == MC_OBS_CONV ? s->part * s->m : 0;
    s->y_m = s->m / s->repeat * (s->parts ? s->parts : 1);
    return s->x;
}

/* How many neighbouring positions have the same units, all over the axis. */
static int64_t run_length(const struct mc_units *u)
{
    int64_t run = 1;
    while (run < u->n && !memcmp(u->unit, u->unit + run * u->per, (size_t)u->per * sizeof *u->unit))
        run++;
    for (int64_t i = 0; i < u->n; i++)
        if (memcmp(u->unit + i * u->per, u->unit + i / run * run * u->per,
                   (size_t)u->per * sizeof *u->unit))
            return 1;
    return u->n % run ? 1 : run;
}

static void choose_fold(const struct mc_coupling *c, struct mc_obs_site *s)
{
    s->fold = 1;
    if (s->n <= WHOLE_UP_TO)
        return;
    if (s->kind == MC_OBS_CONV && !s->parts)
        s->fold = s->taps;
    else if (s->kind == MC_OBS_PLAIN)
        s->fold = run_length(mc_coupling_axis(c, s->weight, s->axis));
}

/* Constants that the node multiplies by. *ret_any: there are some. */
static int find_products(const struct mc_coupling *c, struct mc_node *n, struct mc_obs_sites *l,
                         bool *ret_any, struct mc_err *err)
{
    int rc = 0;
    for (size_t k = 0; k < n->n_in && !rc; k++) {
        const struct mc_tensor *t = n->in[k] ? mc_constant(n->in[k]) : NULL;
        for (int axis = 0; t && axis < t->shape.rank && !rc; axis++) {
            struct mc_obs_site s = {.node = n, .weight = n->in[k], .axis = axis};
            if (mc_coupling_role(c, n->in[k], axis) == MC_ROLE_READS &&
                mc_coupling_axis(c, n->in[k], axis) && describe(&s, k)) {
                *ret_any = true;
                rc = add(l, s, err);
            }
        }
    }
    return rc;
}

/* Values whose units are in none of the node's outputs. */
static int find_ends(const struct mc_coupling *c, struct mc_node *n, struct mc_obs_sites *l,
                     struct mc_err *err)
{
    size_t first = l->n;
    int rc = 0;
    for (size_t k = 0; k < n->n_in && !rc; k++) {
        const struct mc_shape *x = shape_of(c, n->in[k]);
        bool given = n->in[k] && !mc_constant(n->in[k]);
        for (int axis = 0; given && x && axis < x->rank && !rc; axis++) {
            struct mc_obs_site s = {.node = n, .axis = axis};
            if (ends(c, n, n->in[k], axis) && value(c, &s, n->in[k]))
                rc = add(l, s, err);
        }
    }
    for (size_t i = first; i < l->n; i++)
        l->item[i].of = (int)(l->n - first);
    return rc;
}

int mc_obs_sites_find(const struct mc_model *m, const struct mc_coupling *c,
                      struct mc_obs_sites *ret, struct mc_err *err)
{
    struct mc_obs_sites l = {0};
    int rc = 0;
    for (size_t i = 0; i < m->graph->n_nodes && !rc; i++) {
        bool any = false;
        rc = find_products(c, m->graph->nodes[i], &l, &any, err);
        if (!rc && !any)
            rc = find_ends(c, m->graph->nodes[i], &l, err);
    }
    if (!rc)
        rc = make_probe(m, &l, err);
    size_t kept = 0;
    for (size_t i = 0; i < l.n && !rc; i++)
        if (locate(&l, c->inf, &l.item[i])) {
            choose_fold(c, &l.item[i]);
            if (l.item[i].n / l.item[i].fold <= SUMMED_UP_TO)
                l.item[kept++] = l.item[i];
        }
    l.n = kept;
    if (rc)
        mc_obs_sites_free(&l);
    else
        *ret = l;
    return rc;
}

void mc_obs_sites_free(struct mc_obs_sites *s)
{
    free(s->item);
    mc_svd_probe_free(&s->probe);
    *s = (struct mc_obs_sites){0};
}

/* ---- its columns and its numbers ---- */

int32_t mc_obs_site_unit(const struct mc_coupling *c, const struct mc_obs_site *s,
                         const struct mc_coupling_group *g, int64_t j)
{
    bool grouped = s->kind == MC_OBS_CONV && s->parts;
    const struct mc_units *u =
        grouped ? mc_coupling_axis(c, s->node->in[0], 1) : mc_coupling_axis(c, s->weight, s->axis);
    int64_t at = j * s->fold / s->taps + (grouped ? s->part * (s->n / s->taps) : 0);
    for (int k = 0; u && at < u->n && k < u->per; k++) {
        int32_t unit = u->unit[at * u->per + k];
        if (unit >= g->first && unit < g->first + g->n)
            return unit;
    }
    return -1;
}

bool mc_obs_site_reads(const struct mc_coupling *c, const struct mc_obs_site *s,
                       const struct mc_coupling_group *g)
{
    for (int64_t j = 0; j < s->n / s->fold; j++)
        if (mc_obs_site_unit(c, s, g, j) >= 0)
            return true;
    return false;
}

int mc_obs_site_weight(const struct mc_obs_site *s, float **ret, struct mc_err *err)
{
    float *all;
    int64_t count, size = s->m * s->n;
    int rc = mc_constant_f32(s->weight, &all, &count, err);
    if (rc)
        return rc;
    bool turned = s->kind == MC_OBS_TRANSPOSED || (s->kind == MC_OBS_PLAIN && s->axis == 0);
    bool whole = !turned && count == size;
    float *w = whole ? all : mc_calloc((size_t)size + 1, sizeof *w);
    float alpha = mc_node_is(s->node, "Gemm") ? mc_node_float(s->node, "alpha", 1) : 1;
    for (int64_t i = 0; w && turned && i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++)
            w[i * s->n + j] = all[j * s->m + i];
    if (w && !turned && !whole)
        memcpy(w, all + s->part * size, (size_t)size * sizeof *w);
    for (int64_t i = 0; w && alpha != 1 && i < size; i++)
        w[i] *= alpha;
    if (!whole)
        free(all);
    *ret = w;
    return w ? 0 : no_memory(err);
}
