#include "passes/prune/importance_share.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

int mc_unit_share_open(const struct mc_coupling *c, bool raw, double *score,
                       struct mc_unit_share *ret, struct mc_err *err)
{
    struct mc_unit_share s = {.c = c, .raw = raw, .score = score};
    s.terms = mc_calloc(c->n_groups + 1, sizeof *s.terms);
    s.unit = mc_calloc((size_t)c->n_units + 1, sizeof *s.unit);
    s.touched = mc_calloc(c->n_groups + 1, sizeof *s.touched);
    s.is_touched = mc_calloc(c->n_groups + 1, sizeof *s.is_touched);
    *ret = s;
    if (s.terms && s.unit && s.touched && s.is_touched)
        return 0;
    mc_unit_share_close(ret);
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

void mc_unit_share_close(struct mc_unit_share *s)
{
    free(s->terms);
    free(s->unit);
    free(s->touched);
    free(s->is_touched);
    *s = (struct mc_unit_share){0};
}

size_t mc_unit_share_group(const struct mc_coupling *c, int32_t unit)
{
    return (size_t)(mc_coupling_group_of(c, unit) - c->group);
}

void mc_unit_share_add(struct mc_unit_share *s, int32_t unit, double x)
{
    if (unit < 0)
        return;
    size_t g = mc_unit_share_group(s->c, unit);
    s->unit[unit] += x;
    if (!s->is_touched[g])
        s->touched[s->n_touched++] = g;
    s->is_touched[g] = true;
}

void mc_unit_share_end(struct mc_unit_share *s)
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
        s->terms[s->touched[i]] += sum > 0;
        s->is_touched[s->touched[i]] = false;
    }
    s->n_touched = 0;
}

void mc_axis_sums(const struct mc_shape *shape, int axis, const float *x, bool square, double *ret)
{
    int64_t n = shape->dim[axis], inner = mc_shape_span(shape, axis + 1, shape->rank);
    int64_t outer = mc_shape_span(shape, 0, axis);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            const float *row = x + (o * n + i) * inner;
            double sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += square ? (double)row[k] * row[k] : fabs((double)row[k]);
            ret[i] += sum;
        }
}
