#include "passes/prune/mask_inputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/run/observe.h"

struct sums {
    const struct mc_mask_sites *s;
    double **sum;
    int64_t *count; /* numbers in each sum */
    size_t *at;     /* of a site: its value among those observed */
};

static int64_t length_of(const struct mc_mask_site *m)
{
    const struct mc_shape *s = &mc_constant(m->value)->shape;
    return s->dim[m->axis] * m->groups;
}

static int add(const struct mc_mask_site *m, const struct mc_array *a, double *sum, int64_t *count,
               struct mc_err *err)
{
    int rank = a->shape.rank, axis = m->x_axis < 0 ? rank + m->x_axis : m->x_axis;
    axis = rank == 1 ? 0 : axis;
    int64_t all = mc_shape_count(&a->shape);
    if (axis < 0 || axis >= rank || a->shape.dim[axis] != length_of(m) || all == 0)
        return 0;
    float *own = NULL;
    const float *x = a->data;
    if (a->dtype != MC_DTYPE_F32) {
        own = mc_calloc((size_t)all, sizeof *own);
        int rc = own ? mc_dtype_to_f32(a->dtype, a->data, own, (size_t)all, err)
                     : mc_fail(err, MC_ENOMEM, "out of memory for a mask");
        if (rc) {
            free(own);
            return rc;
        }
        x = own;
    }
    int64_t n = a->shape.dim[axis], inner = mc_shape_span(&a->shape, axis + 1, rank);
    for (int64_t i = 0; i < all; i += inner) {
        double part = 0;
        for (int64_t k = 0; k < inner; k++)
            part += (double)x[i + k] * (double)x[i + k];
        sum[i / inner % n] += part;
    }
    *count += all / n;
    free(own);
    return 0;
}

static int look(void *ctx, const struct mc_array *const *values, int64_t first_sample,
                const struct mc_batch *batch, struct mc_err *err)
{
    (void)first_sample;
    (void)batch;
    struct sums *s = ctx;
    int rc = 0;
    for (size_t i = 0; i < s->s->n && !rc; i++)
        if (s->sum[i])
            rc = add(&s->s->item[i], values[s->at[i]], s->sum[i], &s->count[i], err);
    return rc;
}

static int gather(struct mc_pass_ctx *ctx, const struct mc_graph *g, struct sums *s,
                  struct mc_err *err)
{
    const char **names = mc_calloc(s->s->n + 1, sizeof *names);
    size_t n = 0;
    int rc = names ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a mask");
    for (size_t i = 0; i < s->s->n && !rc; i++) {
        const struct mc_mask_site *m = &s->s->item[i];
        if (m->why || !m->x)
            continue;
        for (s->at[i] = 0; s->at[i] < n && strcmp(names[s->at[i]], m->x->name) != 0;)
            s->at[i]++;
        if (s->at[i] == n)
            names[n++] = m->x->name;
        s->sum[i] = mc_calloc((size_t)length_of(m), sizeof **s->sum);
        rc = s->sum[i] ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a mask");
    }
    struct mc_observe_opts o = {.pool = ctx->pool,
                                .count = ctx->calib_count,
                                .progress = ctx->progress,
                                .what = "what weights are multiplied with"};
    if (!rc && n)
        rc = mc_observe(g, ctx->calib, names, n, &o, look, s, NULL, err);
    free(names);
    return rc;
}

int mc_mask_inputs(struct mc_pass_ctx *ctx, const struct mc_graph *g, const struct mc_mask_sites *s,
                   double **ret, struct mc_err *err)
{
    struct sums u = {s, mc_calloc(s->n + 1, sizeof *u.sum), mc_calloc(s->n + 1, sizeof *u.count),
                     mc_calloc(s->n + 1, sizeof *u.at)};
    int rc = u.sum && u.count && u.at ? gather(ctx, g, &u, err)
                                      : mc_fail(err, MC_ENOMEM, "out of memory for a mask");
    for (size_t i = 0; u.sum && i < s->n; i++) {
        for (int64_t k = 0; u.sum[i] && u.count[i] && k < length_of(&s->item[i]); k++)
            u.sum[i][k] /= (double)u.count[i];
        if (rc || !u.count[i]) {
            free(u.sum[i]);
            u.sum[i] = NULL;
        }
        if (!rc)
            ret[i] = u.sum[i];
    }
    free(u.sum);
    free(u.count);
    free(u.at);
    return rc;
}
