#include "passes/quant/repair/quant_rows.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/quant/repair/quant_channel.h"

bool mc_quant_rows_read(struct mc_node *n, const struct mc_value *x, struct mc_refit *ret)
{
    bool product = mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm");
    return product && mc_quant_layer(n, ret) && ret->x == x && !ret->columns;
}

size_t mc_quant_rows_readers(const struct mc_value *x, int64_t channels)
{
    struct mc_refit f;
    size_t n = 0;
    for (size_t u = 0; u < x->n_uses; u++)
        n += x->uses[u].slot == 0 && mc_quant_rows_read(x->uses[u].node, x, &f) && f.n == channels;
    return n;
}

const struct mc_quant_stat *mc_quant_rows_stat(const struct mc_quant_stats *s,
                                               const struct mc_infer *inf, const struct mc_value *x)
{
    const struct mc_quant_stat *stat = mc_quant_stats_of(s, x->name);
    const struct mc_vtype *type = mc_infer_of(inf, x);
    bool last = stat && stat->channels > 1 && type->ranked && type->shape.rank > 0 &&
                type->shape.dim[type->shape.rank - 1] == stat->channels;
    return last ? stat : NULL;
}

int mc_quant_rows_each(const struct mc_value *x, mc_quant_rows_fn *fn, void *ctx,
                       struct mc_err *err)
{
    int rc = 0;
    for (size_t u = 0; !rc && u < x->n_uses; u++) {
        struct mc_refit f;
        float *w;
        int64_t count;
        if (!mc_quant_rows_read(x->uses[u].node, x, &f))
            continue;
        rc = mc_constant_f32(f.weight, &w, &count, err);
        if (!rc) {
            rc = fn(&f, w, ctx, err);
            free(w);
        }
    }
    return rc;
}

/* ---- errors ---- */

struct guess {
    const double *w_by;
    double step, square; /* of x: steps, and the sum over its channels of what a value squared is */
    double error;
};

/* A step of r leaves r²/12. */
static int add_error(const struct mc_refit *f, const float *w, void *ctx, struct mc_err *err)
{
    struct guess *e = ctx;
    double x = 0, weight = 0, *most = mc_calloc((size_t)f->m + 1, sizeof *most);
    if (!most)
        return mc_fail(err, MC_ENOMEM, "out of memory for what rounding loses");
    for (int64_t j = 0; j < f->n; j++)
        for (int64_t i = 0; i < f->m; i++) {
            double v = fabs((double)w[i * f->at_m + j * f->at_n]) * e->w_by[j];
            most[i] = fmax(most[i], v);
            x += v * v;
        }
    for (int64_t i = 0; i < f->m; i++)
        weight += most[i] * most[i];
    free(most);
    e->error += (e->step * e->step * x + weight / 127 / 127 * e->square) / 12;
    return 0;
}

int mc_quant_rows_error(const struct mc_value *x, const struct mc_quant_stat *s, const double *x_by,
                        const double *w_by, double *ret, struct mc_err *err)
{
    struct guess e = {.w_by = w_by};
    double low = 0, high = 0;
    for (int64_t j = 0; j < s->channels; j++) {
        double a = (double)s->ch_min[j] * x_by[j], b = (double)s->ch_max[j] * x_by[j];
        low = fmin(low, a);
        high = fmax(high, b);
        e.square += (a * a + a * b + b * b) / 3;
    }
    e.step = (high - low) / 255;
    int rc = mc_quant_rows_each(x, add_error, &e, err);
    *ret = e.error;
    return rc;
}
