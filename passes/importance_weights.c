#include "passes/importance_parts.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"

struct sums {
    const struct mc_coupling *c;
    enum mc_importance_kind kind;
    bool raw;
    bool along;      /* only what is along units, of groups that have nothing else */
    bool *is_bare;   /* [n_groups] these */
    double *unit;    /* [n_units] of the axis at hand */
    size_t *touched; /* [n_touched] groups that it has units of */
    size_t n_touched;
    bool *is_touched; /* [n_groups] */
    int64_t *axes;    /* [n_groups] that gave it something */
    double *score;    /* [n_units] */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* Scale of a norm: as much a unit's weight as what makes it. */
static bool is_scale(const struct mc_value *v)
{
    static const char *const norms[] = {"BatchNormalization",    "LayerNormalization",
                                        "InstanceNormalization", "GroupNormalization",
                                        "RMSNormalization",      NULL};
    for (size_t i = 0; i < v->n_uses; i++)
        for (int k = 0; v->uses[i].slot == 1 && norms[k]; k++)
            if (mc_node_is(v->uses[i].node, norms[k]))
                return true;
    return false;
}

static bool counts(const struct sums *s, const struct mc_value *v, int axis)
{
    switch (mc_coupling_role(s->c, v, axis)) {
    case MC_ROLE_MAKES:
    case MC_ROLE_READS: return !s->along;
    case MC_ROLE_ALONG: return s->along || is_scale(v);
    default: return false;
    }
}

/* Sum of |w| or w² of each position of an axis. */
static void add_positions(const struct mc_shape *shape, int axis, const float *w, bool square,
                          double *ret)
{
    int64_t n = shape->dim[axis], inner = mc_shape_span(shape, axis + 1, shape->rank);
    int64_t outer = mc_shape_span(shape, 0, axis);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            const float *row = w + (o * n + i) * inner;
            double sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += square ? (double)row[k] * row[k] : fabs((double)row[k]);
            ret[i] += sum;
        }
}

/* From positions to units. */
static void to_units(struct sums *s, const struct mc_units *u, const double *position)
{
    for (int64_t i = 0; i < u->n * u->per; i++) {
        if (u->unit[i] < 0)
            continue;
        size_t g = (size_t)(mc_coupling_group_of(s->c, u->unit[i]) - s->c->group);
        if (s->along && !s->is_bare[g])
            continue;
        s->unit[u->unit[i]] += position[i / u->per];
        if (!s->is_touched[g])
            s->touched[s->n_touched++] = g;
        s->is_touched[g] = true;
    }
}

/* Each tensor's part in a unit is its share of what the group has there: else the largest would decide alone. */
static void to_scores(struct sums *s)
{
    for (size_t i = 0; i < s->n_touched; i++) {
        const struct mc_coupling_group *of = &s->c->group[s->touched[i]];
        double sum = 0;
        for (int64_t k = 0; k < of->n; k++)
            sum += s->unit[of->first + k];
        for (int64_t k = 0; k < of->n; k++) {
            s->score[of->first + k] += sum > 0 ? s->unit[of->first + k] / (s->raw ? 1 : sum) : 0;
            s->unit[of->first + k] = 0;
        }
        s->axes[s->touched[i]] += sum > 0;
        s->is_touched[s->touched[i]] = false;
    }
    s->n_touched = 0;
}

static int add_axis(struct sums *s, const struct mc_value *v, const struct mc_tensor *t, int axis,
                    const float *w, struct mc_err *err)
{
    const struct mc_units *u = mc_coupling_axis(s->c, v, axis);
    double *position = u ? mc_calloc((size_t)u->n + 1, sizeof *position) : NULL;
    if (!u)
        return 0;
    if (!position)
        return no_memory(err);
    add_positions(&t->shape, axis, w, s->kind != MC_IMPORTANCE_L1, position);
    for (int64_t i = 0; i < u->n; i++)
        if (!isfinite(position[i])) {
            free(position);
            return mc_fail(err, MC_EDATA, "'%s' holds a NaN or infinite number", v->name);
        }
    to_units(s, u, position);
    to_scores(s);
    free(position);
    return 0;
}

static int add_constant(struct sums *s, const struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    float *w = NULL;
    int64_t n;
    bool any = false;
    int rc = 0;
    if (!t || (v->producer && !mc_node_is(v->producer, "Constant")))
        return 0;
    for (int axis = 0; axis < t->shape.rank && !any; axis++)
        any = mc_coupling_axis(s->c, v, axis) && counts(s, v, axis);
    if (any)
        rc = mc_constant_f32(v, &w, &n, err);
    for (int axis = 0; any && !rc && axis < t->shape.rank; axis++)
        if (counts(s, v, axis))
            rc = add_axis(s, v, t, axis, w, err);
    free(w);
    return rc;
}

static int add_constants(struct sums *s, const struct mc_model *m, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < m->graph->n_values; i++)
        if (m->graph->values[i])
            rc = add_constant(s, m->graph->values[i], err);
    return rc;
}

static int add_all(struct sums *s, const struct mc_model *m, struct mc_err *err)
{
    int rc = add_constants(s, m, err);
    for (size_t g = 0; g < s->c->n_groups; g++) {
        s->is_bare[g] = s->c->group[g].first >= 0 && !s->axes[g];
        s->along |= s->is_bare[g];
    }
    return rc || !s->along ? rc : add_constants(s, m, err);
}

int mc_importance_weights(const struct mc_model *m, const struct mc_coupling *c, bool raw,
                          struct mc_importance *ret, struct mc_err *err)
{
    struct sums s = {.c = c, .kind = ret->kind, .raw = raw, .score = ret->score};
    s.unit = mc_calloc((size_t)c->n_units + 1, sizeof *s.unit);
    s.touched = mc_calloc(c->n_groups + 1, sizeof *s.touched);
    s.is_touched = mc_calloc(c->n_groups + 1, sizeof *s.is_touched);
    s.is_bare = mc_calloc(c->n_groups + 1, sizeof *s.is_bare);
    s.axes = mc_calloc(c->n_groups + 1, sizeof *s.axes);
    bool ok = s.unit && s.touched && s.is_touched && s.is_bare && s.axes;
    int rc = ok ? add_all(&s, m, err) : no_memory(err);
    for (int32_t u = 0; !rc && ret->kind == MC_IMPORTANCE_L2 && u < c->n_units; u++)
        ret->score[u] = sqrt(ret->score[u]);
    free(s.unit);
    free(s.touched);
    free(s.is_touched);
    free(s.is_bare);
    free(s.axes);
    return rc;
}
