#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/prune/importance_parts.h"
#include "passes/prune/importance_share.h"

/* One walk over the constants: which axes of which are taken, and what is summed. */
struct walk {
    struct mc_unit_share share;
    enum { SUM, SQUARES, DISTANCES } what;
    bool makes, reads, scales;
    bool bn;          /* scales of BatchNormalization alone */
    bool along;       /* what is along units, in place of all of these */
    const bool *only; /* [n_groups], or NULL: all */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* Scale of a norm: as much a unit's weight as what makes it. */
static bool is_scale(const struct mc_value *v, bool bn)
{
    static const char *const norms[] = {"BatchNormalization", "LayerNormalization",
                                        "InstanceNormalization", "GroupNormalization",
                                        "RMSNormalization"};
    for (size_t i = 0; i < v->n_uses; i++)
        for (size_t k = 0; v->uses[i].slot == 1 && k < (bn ? 1 : sizeof norms / sizeof *norms); k++)
            if (mc_node_is(v->uses[i].node, norms[k]))
                return true;
    return false;
}

static bool counts(const struct walk *w, const struct mc_value *v, int axis)
{
    switch (mc_coupling_role(w->share.c, v, axis)) {
    case MC_ROLE_MAKES: return w->makes;
    case MC_ROLE_READS: return w->reads;
    case MC_ROLE_ALONG: return w->along || ((w->scales || w->bn) && is_scale(v, w->bn));
    default: return false;
    }
}

static bool is_wanted(const struct walk *w, int32_t unit)
{
    return unit >= 0 && (!w->only || w->only[mc_unit_share_group(w->share.c, unit)]);
}

/* ---- sums ---- */

static int add_sums(struct walk *w, const struct mc_units *u, const struct mc_shape *shape,
                    int axis, const float *x, struct mc_err *err)
{
    double *position = mc_calloc((size_t)u->n + 1, sizeof *position);
    if (!position)
        return no_memory(err);
    mc_axis_sums(shape, axis, x, w->what == SQUARES, position);
    for (int64_t i = 0; i < u->n * u->per; i++)
        if (is_wanted(w, u->unit[i]))
            mc_unit_share_add(&w->share, u->unit[i], position[i / u->per]);
    free(position);
    return 0;
}

/* ---- distances ---- */

enum { MEDIAN_STEPS = 50 };

struct rows { /* of the units of one group */
    int64_t n, length;
    float *x;        /* [n, length] */
    int64_t *filled; /* [n] */
};

/* Geometric median of the rows, and how far each is from it.
 * Source: Weiszfeld, Sur le point pour lequel la somme des distances de n points donnés est minimum, 1937. */
static void median_distances(const struct rows *r, double *median, double *distance)
{
    double *next = median + r->length, last = 0;
    for (int64_t k = 0; k < r->length; k++) {
        median[k] = 0;
        for (int64_t i = 0; i < r->n; i++)
            median[k] += r->x[i * r->length + k] / (double)r->n;
    }
    for (int step = 0;; step++) {
        double sum = 0, weights = 0;
        for (int64_t i = 0; i < r->n; i++) {
            double square = 0;
            for (int64_t k = 0; k < r->length; k++) {
                double d = r->x[i * r->length + k] - median[k];
                square += d * d;
            }
            distance[i] = sqrt(square);
            sum += distance[i];
        }
        if (step == MEDIAN_STEPS || sum == 0 || (step && last - sum <= 1e-7 * sum))
            return;
        last = sum;
        for (int64_t k = 0; k < r->length; k++)
            next[k] = 0;
        for (int64_t i = 0; i < r->n;
             i++) { /* a row that lies on the median pulls hard, not without end */
            double pull = 1 / fmax(distance[i], 1e-6 * sum / (double)r->n);
            weights += pull;
            for (int64_t k = 0; k < r->length; k++)
                next[k] += pull * r->x[i * r->length + k];
        }
        for (int64_t k = 0; k < r->length; k++)
            median[k] = next[k] / weights;
    }
}

/* Put position i of the axis behind what the row has. */
static void put_row(struct rows *r, int64_t row, const struct mc_shape *shape, int axis, int64_t i,
                    const float *x)
{
    int64_t n = shape->dim[axis], inner = mc_shape_span(shape, axis + 1, shape->rank);
    int64_t outer = mc_shape_span(shape, 0, axis);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++)
            r->x[row * r->length + r->filled[row]++] = x[(o * n + i) * inner + k];
}

/* Rows of unequal length are compared as if zeros followed. */
static int group_distances(struct walk *w, const struct mc_coupling_group *of,
                           const struct mc_units *u, const struct mc_shape *shape, int axis,
                           const float *x, struct mc_err *err)
{
    struct rows r = {.n = of->n};
    int64_t most = 0, per = u->n ? mc_shape_count(shape) / u->n : 0;
    r.filled = mc_calloc((size_t)r.n, sizeof *r.filled);
    double *distance = mc_calloc((size_t)r.n, sizeof *distance), *median = NULL;
    for (int64_t i = 0; r.filled && i < u->n * u->per; i++) {
        int64_t row = u->unit[i] - of->first;
        if (u->unit[i] >= 0 && row >= 0 && row < of->n && ++r.filled[row] > most)
            most = r.filled[row];
    }
    r.length = most * per;
    r.x = mc_calloc((size_t)r.n, (size_t)r.length * sizeof *r.x);
    median = mc_calloc((size_t)r.length, 2 * sizeof *median);
    int rc = r.filled && distance && r.x && median ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < r.n; i++)
        r.filled[i] = 0;
    for (int64_t i = 0; !rc && i < u->n * u->per; i++) {
        int64_t row = u->unit[i] - of->first;
        if (u->unit[i] >= 0 && row >= 0 && row < of->n)
            put_row(&r, row, shape, axis, i / u->per, x);
    }
    if (!rc)
        median_distances(&r, median, distance);
    for (int64_t i = 0; !rc && i < r.n; i++)
        mc_unit_share_add(&w->share, of->first + (int32_t)i, distance[i]);
    free(r.filled);
    free(r.x);
    free(distance);
    free(median);
    return rc;
}

static int add_distances(struct walk *w, const struct mc_units *u, const struct mc_shape *shape,
                         int axis, const float *x, struct mc_err *err)
{
    const struct mc_coupling *c = w->share.c;
    bool *done = mc_calloc(c->n_groups + 1, sizeof *done);
    int rc = done ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < u->n * u->per; i++) {
        if (!is_wanted(w, u->unit[i]))
            continue;
        size_t g = mc_unit_share_group(c, u->unit[i]);
        if (!done[g])
            rc = group_distances(w, &c->group[g], u, shape, axis, x, err);
        done[g] = true;
    }
    free(done);
    return rc;
}

/* ---- walks ---- */

static int add_axis(struct walk *w, const struct mc_value *v, const struct mc_shape *shape,
                    int axis, const float *x, struct mc_err *err)
{
    const struct mc_units *u = mc_coupling_axis(w->share.c, v, axis);
    if (!u || !counts(w, v, axis))
        return 0;
    int rc = w->what == DISTANCES ? add_distances(w, u, shape, axis, x, err)
                                  : add_sums(w, u, shape, axis, x, err);
    mc_unit_share_end(&w->share);
    return rc;
}

static int add_constant(struct walk *w, const struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    float *x = NULL;
    int64_t n = 0;
    bool any = false;
    if (!t || (v->producer && !mc_node_is(v->producer, "Constant")))
        return 0;
    for (int axis = 0; axis < t->shape.rank && !any; axis++)
        any = mc_coupling_axis(w->share.c, v, axis) && counts(w, v, axis);
    int rc = any ? mc_constant_f32(v, &x, &n, err) : 0;
    for (int64_t i = 0; !rc && i < n; i++)
        if (!isfinite(x[i]))
            rc = mc_fail(err, MC_EDATA, "'%s' holds NaN or infinity: its layer has no importance",
                         v->name);
    for (int axis = 0; any && !rc && axis < t->shape.rank; axis++)
        rc = add_axis(w, v, &t->shape, axis, x, err);
    free(x);
    return rc;
}

static int walk(struct walk *w, const struct mc_model *m, struct mc_err *err)
{
    int rc = 0;
    for (size_t k = 0; k < m->n_graphs; k++) /* bodies too */
        for (size_t i = 0; !rc && i < m->graphs[k]->n_values; i++)
            if (m->graphs[k]->values[i] && !m->graphs[k]->values[i]->outer)
                rc = add_constant(w, m->graphs[k]->values[i], err);
    return rc;
}

/* Groups that got nothing from a walk: *ret_n of them. bare: [n_groups]. */
static void find_bare(const struct walk *w, bool *bare, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t g = 0; g < w->share.c->n_groups; g++) {
        bare[g] = w->share.c->group[g].first >= 0 && !w->share.terms[g];
        *ret_n += bare[g];
    }
}

/* The same walk over other constants, for groups that have nothing yet. */
static int walk_bare(struct walk *w, const struct mc_model *m, bool *bare, size_t *ret_n,
                     struct mc_err *err)
{
    find_bare(w, bare, ret_n);
    w->only = bare;
    return *ret_n ? walk(w, m, err) : 0;
}

/* ---- criteria ---- */

/* Norm over all that is the unit's; what nothing makes or reads has what lies along it. */
static int by_norm(struct walk *w, const struct mc_model *m, bool *bare, struct mc_err *err)
{
    size_t n;
    int rc = walk(w, m, err);
    w->makes = w->reads = w->scales = false;
    w->along = true;
    w->what = w->what == DISTANCES ? SQUARES : w->what;
    return rc ? rc : walk_bare(w, m, bare, &n, err);
}

static void take_root(const struct mc_coupling *c, double *score)
{
    for (int32_t u = 0; u < c->n_units; u++)
        score[u] = sqrt(score[u]);
}

/* Source: He, Fan, Qian, Tan, Yu, Reshaping deep neural network for fast decoding by node-pruning, ICASSP 2014;
 * deviates: the product of both norms, which does not change when a factor moves from one side of a ReLU to the
 * other. A side without weights counts as 1. */
static int by_node(const struct mc_model *m, const struct mc_coupling *c, bool raw, double *score,
                   struct mc_err *err)
{
    struct walk side[2] = {{.what = SQUARES, .makes = true}, {.what = SQUARES, .reads = true}};
    double *square[2] = {NULL};
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        square[i] = mc_calloc((size_t)c->n_units + 1, sizeof **square);
        rc =
            square[i] ? mc_unit_share_open(c, raw, square[i], &side[i].share, err) : no_memory(err);
        if (!rc)
            rc = walk(&side[i], m, err);
    }
    for (int32_t u = 0; !rc && u < c->n_units; u++) {
        size_t g = mc_unit_share_group(c, u);
        double in = side[0].share.terms[g] ? sqrt(square[0][u]) : 1;
        score[u] = in * (side[1].share.terms[g] ? sqrt(square[1][u]) : 1);
    }
    for (int i = 0; i < 2; i++) {
        mc_unit_share_close(&side[i].share);
        free(square[i]);
    }
    return rc;
}

/* Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017. */
static int by_bn(struct walk *w, const struct mc_model *m, bool *bare, struct mc_importance *i,
                 struct mc_err *err)
{
    const struct mc_coupling *c = w->share.c;
    size_t n, groups = 0;
    int rc = walk(w, m, err);
    for (size_t g = 0; g < c->n_groups; g++)
        groups += c->group[g].first >= 0;
    if (rc)
        return rc;
    find_bare(w, bare, &n);
    if (groups && n == groups)
        return mc_fail(err, MC_EUSAGE,
                       "no layer that can be pruned has a BatchNormalization: its scales cannot "
                       "rank anything, take another criterion (l2)");
    if (n)
        i->why = "layers without BatchNormalization go by their norm";
    *w = (struct walk){.share = w->share, .what = SUM, .makes = true, .reads = true};
    return walk_bare(w, m, bare, &n, err);
}

static int by_kind(struct walk *w, const struct mc_model *m, bool *bare, struct mc_importance *i,
                   struct mc_err *err)
{
    int rc;
    w->what = i->kind == MC_IMPORTANCE_FPGM ? DISTANCES
              : i->kind == MC_IMPORTANCE_L2 ? SQUARES
                                            : SUM;
    if (i->kind == MC_IMPORTANCE_BN) {
        w->bn = true;
        return by_bn(w, m, bare, i, err);
    }
    w->makes = true;
    w->reads = w->scales = i->kind != MC_IMPORTANCE_FPGM;
    rc = by_norm(w, m, bare, err);
    if (!rc && i->kind == MC_IMPORTANCE_L2)
        take_root(w->share.c, i->score);
    return rc;
}

int mc_importance_weights(const struct mc_model *m, const struct mc_coupling *c, bool raw,
                          struct mc_importance *ret, struct mc_err *err)
{
    struct walk w = {0};
    if (ret->kind == MC_IMPORTANCE_NODE)
        return by_node(m, c, raw, ret->score, err);
    bool *bare = mc_calloc(c->n_groups + 1, sizeof *bare);
    int rc = bare ? mc_unit_share_open(c, raw, ret->score, &w.share, err) : no_memory(err);
    if (!rc)
        rc = by_kind(&w, m, bare, ret, err);
    mc_unit_share_close(&w.share);
    free(bare);
    return rc;
}
