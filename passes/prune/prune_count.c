/* What a model costs by how many units of each group stay. A weight of [out, in] costs the product of both, so costs of
 * groups do not add up; but they are known without building anything. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/summary.h"
#include "passes/fit/one_sample.h"
#include "passes/prune/prune_run.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- axes ---- */

/* Groups of a position, ascending. */
static void groups_of(const struct mc_prune_run *r, const struct mc_units *u, int64_t at,
                      struct mc_prune_part *ret)
{
    *ret = (struct mc_prune_part){.positions = 1};
    for (int k = 0; k < u->per; k++) {
        int32_t unit = u->unit[at * u->per + k];
        if (unit < 0)
            continue;
        size_t g = (size_t)(mc_coupling_group_of(r->c, unit) - r->c->group);
        int i = ret->n++;
        for (; i > 0 && ret->group[i - 1] > g; i--)
            ret->group[i] = ret->group[i - 1];
        ret->group[i] = g;
    }
}

static bool is_same(const struct mc_prune_part *a, const struct mc_prune_part *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if (a->group[i] != b->group[i])
            return false;
    return true;
}

/* One more axis of w; runs of equal groups are found quickly, others by search. */
static int add_axis(struct mc_prune_run *r, struct mc_prune_weight *w, const struct mc_value *v,
                    int a, struct mc_err *err)
{
    const struct mc_units *u = mc_coupling_axis(r->c, v, a);
    if (!u || w->n_axes == MC_PRUNE_AXES)
        return 0;
    struct mc_prune_axis axis = {.role = w->value ? mc_coupling_role(r->c, v, a) : MC_ROLE_NONE,
                                 .first = r->n_parts,
                                 .length = (double)u->n};
    size_t last = r->n_parts;
    for (int64_t i = 0; i < u->n; i++) {
        struct mc_prune_part p;
        groups_of(r, u, i, &p);
        if (last >= r->n_parts || !is_same(&r->part[last], &p))
            for (last = axis.first; last < r->n_parts && !is_same(&r->part[last], &p);)
                last++;
        if (last < r->n_parts) {
            r->part[last].positions++;
            continue;
        }
        if (!MC_GROW(r->part, r->n_parts, r->cap_parts))
            return no_memory(err);
        r->part[r->n_parts++] = p;
    }
    axis.n = r->n_parts - axis.first;
    w->axis[w->n_axes++] = axis;
    return 0;
}

bool mc_prune_makes(const struct mc_prune_run *r, const struct mc_prune_weight *w, size_t group)
{
    for (int a = 0; w->value && a < w->n_axes; a++)
        for (size_t p = 0; w->axis[a].role == MC_ROLE_MAKES && p < w->axis[a].n; p++)
            for (int k = 0; k < r->part[w->axis[a].first + p].n; k++)
                if (r->part[w->axis[a].first + p].group[k] == group)
                    return true;
    return false;
}

/* Of the groups that it makes the first that may be cut, else one that it is read by. */
static size_t owner_of(const struct mc_prune_run *r, const struct mc_prune_weight *w)
{
    static const enum mc_role order[] = {MC_ROLE_MAKES, MC_ROLE_ALONG, MC_ROLE_READS, MC_ROLE_NONE};
    size_t held = r->n;
    for (int k = 0; k < 4; k++)
        for (int a = 0; a < w->n_axes; a++)
            for (size_t p = 0; w->axis[a].role == order[k] && p < w->axis[a].n; p++) {
                const struct mc_prune_part *part = &r->part[w->axis[a].first + p];
                if (part->n && !r->group[part->group[0]].why)
                    return part->group[0];
                if (part->n && held == r->n)
                    held = part->group[0];
            }
    return held;
}

void mc_prune_owners(struct mc_prune_run *r)
{
    for (size_t i = 0; i < r->n_weights; i++)
        r->weight[i].owner = r->weight[i].value ? owner_of(r, &r->weight[i]) : r->n;
    for (size_t g = 0; g < r->n; g++)
        for (size_t i = 0; i < r->n_weights && !*r->group[g].op; i++)
            if (mc_prune_makes(r, &r->weight[i], g) && r->weight[i].value->n_uses)
                r->group[g].op = r->weight[i].value->uses[0].node->op_type;
}

/* ---- constants ---- */

static bool is_own(const struct mc_value *v)
{
    return v->tensor || (v->producer && mc_node_is(v->producer, "Constant"));
}

static bool is_parameter(const struct mc_tensor *t)
{
    enum { SMALL = 64 }; /* graph/summary.h */
    enum mc_dtype_kind kind = mc_dtype_info(t->dtype)->kind;
    return kind == MC_KIND_FLOAT ||
           ((kind == MC_KIND_INT || kind == MC_KIND_UINT) && mc_tensor_count(t) > SMALL);
}

static int add_constant(struct mc_prune_run *r, const struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = is_own(v) ? mc_constant(v) : NULL;
    struct mc_prune_weight w = {.value = v};
    int rc = 0;
    if (!t)
        return 0;
    for (int a = 0; !rc && a < t->shape.rank; a++)
        rc = add_axis(r, &w, v, a, err);
    if (rc || !w.n_axes)
        return rc;
    w.amount[MC_PRUNE_PARAMS] = is_parameter(t) ? (double)mc_tensor_count(t) : 0;
    w.amount[MC_PRUNE_BYTES] = (double)t->bytes;
    if (!MC_GROW(r->weight, r->n_weights, r->cap_weights))
        return no_memory(err);
    r->weight[r->n_weights++] = w;
    return 0;
}

/* ---- multiply-accumulates ---- */

static struct mc_prune_weight *weight_of(const struct mc_prune_run *r, const size_t *at,
                                         const struct mc_value *v)
{
    return v && at[v->index] ? &r->weight[at[v->index] - 1] : NULL;
}

/* Work that no constant stands for: a product of two values. */
static int add_product(struct mc_prune_run *r, const struct mc_node *n, double macs,
                       struct mc_err *err)
{
    const struct mc_shape *x =
        n->n_in > 1 && n->in[0] && n->in[1] ? &mc_infer_of(r->c->inf, n->in[0])->shape : NULL;
    struct mc_prune_weight w = {.value = NULL};
    int rc = 0;
    w.amount[MC_PRUNE_MACS] = macs;
    if (!x || !mc_node_is(n, "MatMul"))
        return 0;
    for (int a = 0; !rc && a < x->rank; a++)
        rc = add_axis(r, &w, n->in[0], a, err);
    int last = mc_infer_of(r->c->inf, n->in[1])->shape.rank - 1;
    if (!rc && last >= 1)
        rc = add_axis(r, &w, n->in[1], last, err);
    if (rc || !w.n_axes)
        return rc;
    if (!MC_GROW(r->weight, r->n_weights, r->cap_weights))
        return no_memory(err);
    r->weight[r->n_weights++] = w;
    return 0;
}

/* Is it multiplied with, not added? */
static bool is_factor(const struct mc_node *n, size_t i)
{
    if (mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN"))
        return i == 1 || i == 2;
    return !mc_node_is(n, "Gemm") || i < 2;
}

/* The work of a node goes to its constants by their sizes. */
static int add_macs(struct mc_prune_run *r, const struct mc_infer *inf, const size_t *at,
                    const struct mc_node *n, struct mc_err *err)
{
    double macs = mc_infer_macs(inf, n), all = 0;
    if (!(macs > 0))
        return 0;
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_prune_weight *w = weight_of(r, at, n->in[i]);
        const struct mc_tensor *t = w ? mc_constant(w->value) : NULL;
        all += t && is_factor(n, i) && t->shape.rank > 1 ? (double)mc_tensor_count(t) : 0;
    }
    if (!(all > 0))
        return add_product(r, n, macs, err);
    for (size_t i = 0; i < n->n_in; i++) {
        struct mc_prune_weight *w = weight_of(r, at, n->in[i]);
        const struct mc_tensor *t = w ? mc_constant(w->value) : NULL;
        if (t && is_factor(n, i) && t->shape.rank > 1)
            w->amount[MC_PRUNE_MACS] += macs * (double)mc_tensor_count(t) / all;
    }
    return 0;
}

static int count_macs(struct mc_prune_run *r, struct mc_err *err)
{
    const struct mc_graph *g = r->before->graph;
    struct mc_infer *inf = NULL;
    size_t *at = mc_calloc(g->n_values + 1, sizeof *at);
    int rc = at ? mc_sample_infer(r->ctx, g, &inf, err) : no_memory(err);
    for (size_t i = 0; !rc && i < r->n_weights; i++)
        if (r->weight[i].value && r->weight[i].value->graph == g)
            at[r->weight[i].value->index] = i + 1;
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        rc = add_macs(r, inf, at, g->nodes[i], err);
    mc_infer_free(inf);
    free(at);
    return rc;
}

/* ---- nodes ---- */

static bool has_tuple(const struct mc_prune_run *r, size_t from, const struct mc_prune_part *p)
{
    for (size_t i = from; i < r->n_weights; i++)
        if (is_same(&r->part[r->weight[i].axis[0].first], p))
            return true;
    return false;
}

/* Nodes that a set of groups makes together: a head's width is cut as a whole and by heads. */
static int add_nodes(struct mc_prune_run *r, const struct mc_prune_part *p, struct mc_err *err)
{
    struct mc_prune_weight w = {.n_axes = 1};
    double nodes = p->n == 1 ? (double)r->group[p->group[0]].of->nodes : 1;
    for (int k = 0; k < p->n; k++)
        nodes *= (double)r->group[p->group[k]].of->n;
    w.amount[MC_PRUNE_NODES] = nodes;
    w.axis[0] = (struct mc_prune_axis){.first = r->n_parts, .n = 1, .length = nodes};
    if (!MC_GROW(r->part, r->n_parts, r->cap_parts) ||
        !MC_GROW(r->weight, r->n_weights, r->cap_weights))
        return no_memory(err);
    r->part[r->n_parts] = *p;
    r->part[r->n_parts++].positions = nodes;
    r->weight[r->n_weights++] = w;
    for (int k = 0; k < p->n; k++)
        if (r->group[p->group[k]].together < p->n)
            r->group[p->group[k]].together = p->n;
    return 0;
}

/* Each set of groups that weights make once. */
static int count_nodes(struct mc_prune_run *r, struct mc_err *err)
{
    size_t constants = r->n_weights;
    int rc = 0;
    for (size_t i = 0; i < constants; i++)
        for (int a = 0; a < r->weight[i].n_axes; a++) {
            const struct mc_prune_axis axis = r->weight[i].axis[a];
            for (size_t p = axis.first;
                 !rc && axis.role == MC_ROLE_MAKES && p < axis.first + axis.n; p++) {
                struct mc_prune_part part = r->part[p];
                if (part.n && !has_tuple(r, constants, &part))
                    rc = add_nodes(r, &part, err);
            }
        }
    for (size_t g = 0; !rc && g < r->n; g++) /* what no weight makes */
        if (r->group[g].of->first >= 0 && !r->group[g].together)
            rc = add_nodes(r, &(struct mc_prune_part){.group = {g}, .n = 1}, err);
    return rc;
}

int mc_prune_weights(struct mc_prune_run *r, struct mc_err *err)
{
    struct mc_summary sum;
    uint64_t bytes;
    int rc = 0;
    for (size_t k = 0; k < r->before->n_graphs; k++) { /* bodies too */
        const struct mc_graph *g = r->before->graphs[k];
        for (size_t i = 0; !rc && i < g->n_values; i++)
            if (g->values[i] && !g->values[i]->outer)
                rc = add_constant(r, g->values[i], err);
    }
    if (!rc)
        rc = count_macs(r, err);
    if (!rc)
        rc = count_nodes(r, err);
    if (!rc)
        rc = mc_summary(r->before, &sum, err);
    if (!rc)
        rc = r->ctx->bytes_of(r->ctx->host, r->before, &bytes, err);
    if (rc)
        return rc;
    double whole[] = {0, (double)sum.parameters, (double)bytes, sum.macs < 0 ? NAN : sum.macs};
    memcpy(r->rest, whole, sizeof whole);
    for (size_t i = 0; i < r->n_weights; i++)
        for (int k = 0; k < MC_PRUNE_UNITS; k++)
            if (k == MC_PRUNE_NODES)
                whole[k] += r->weight[i].amount[k];
            else
                r->rest[k] -= r->weight[i].amount[k];
    memcpy(r->before_of, whole, sizeof whole);
    return 0;
}

/* ---- asking ---- */

static double share(const struct mc_prune_run *r, const size_t *level, size_t g)
{
    const struct mc_prune_group *a = &r->group[g];
    return level && a->n_levels ? (double)a->level[level[g]].keep / (double)a->of->n : 1;
}

static double part_share(const struct mc_prune_run *r, const size_t *level,
                         const struct mc_prune_part *p)
{
    double s = 1;
    for (int k = 0; k < p->n; k++)
        s *= share(r, level, p->group[k]);
    return s;
}

static double axis_share(const struct mc_prune_run *r, const size_t *level,
                         const struct mc_prune_axis *a)
{
    double kept = 0;
    for (size_t i = 0; i < a->n; i++)
        kept += r->part[a->first + i].positions * part_share(r, level, &r->part[a->first + i]);
    return kept / a->length;
}

static double weight_share(const struct mc_prune_run *r, const size_t *level,
                           const struct mc_prune_weight *w)
{
    double s = 1;
    for (int a = 0; a < w->n_axes; a++)
        s *= axis_share(r, level, &w->axis[a]);
    return s;
}

void mc_prune_count(const struct mc_prune_run *r, const size_t *level, double ret[MC_PRUNE_UNITS])
{
    memcpy(ret, r->rest, sizeof r->rest);
    for (size_t i = 0; i < r->n_weights; i++) {
        double s = weight_share(r, level, &r->weight[i]);
        for (int k = 0; k < MC_PRUNE_UNITS; k++)
            ret[k] += s * r->weight[i].amount[k];
    }
}

void mc_prune_count_row(const struct mc_prune_run *r, const size_t *level, size_t group,
                        double ret[MC_PRUNE_UNITS])
{
    for (int k = 0; k < MC_PRUNE_UNITS; k++)
        ret[k] = 0;
    for (size_t i = 0; i < r->n_weights; i++)
        for (int k = 1; k < MC_PRUNE_UNITS && r->weight[i].owner == group; k++)
            ret[k] += weight_share(r, level, &r->weight[i]) * r->weight[i].amount[k];
}

/* each: what a position of the axis is worth. */
static void add_prices(const struct mc_prune_run *r, const size_t *level,
                       const struct mc_prune_axis *axis, double each, double *ret)
{
    for (size_t p = axis->first; p < axis->first + axis->n; p++) {
        const struct mc_prune_part *part = &r->part[p];
        for (int k = 0; k < part->n; k++) {
            double rest = part->positions;
            for (int o = 0; o < part->n; o++)
                rest *= o == k ? 1 : share(r, level, part->group[o]);
            ret[part->group[k]] += each * rest / (double)r->group[part->group[k]].of->n;
        }
    }
}

void mc_prune_prices(const struct mc_prune_run *r, const size_t *level, enum mc_prune_unit unit,
                     double *ret)
{
    for (size_t g = 0; g < r->n; g++)
        ret[g] = 0;
    for (size_t i = 0; i < r->n_weights; i++) {
        const struct mc_prune_weight *w = &r->weight[i];
        double now[MC_PRUNE_AXES];
        for (int a = 0; a < w->n_axes && w->amount[unit] > 0; a++)
            now[a] = axis_share(r, level, &w->axis[a]);
        for (int a = 0; a < w->n_axes && w->amount[unit] > 0; a++) {
            double each = w->amount[unit] / w->axis[a].length;
            for (int b = 0; b < w->n_axes; b++)
                each *= a == b ? 1 : now[b];
            add_prices(r, level, &w->axis[a], each, ret);
        }
    }
}
