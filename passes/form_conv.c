#include "passes/form_conv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "passes/svd_norm.h"

const double mc_conv_work = 3e10;

/* ---- sizes ---- */

struct mc_conv_dims mc_conv_dims(const struct mc_svd_layer *l)
{
    const struct mc_shape *s = &l->weight->shape;
    struct mc_conv_dims d = {.m = s->dim[0], .c = s->dim[1], .window = 1, .axes = s->rank - 2};
    for (int i = 0; i < d.axes; i++) {
        d.kernel[i] = s->dim[i + 2];
        d.window *= d.kernel[i];
    }
    return d;
}

bool mc_conv_has_window(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_svd_layer *l = &r->layers.item[it->layer[0]];
    if (it->n_layers != 1 || l->kind != MC_SVD_CONV ||
        mc_node_int(l->sites[0].node, "group", 1) != 1)
        return false;
    return mc_conv_dims(l).window > 1;
}

struct mc_conv_stage mc_conv_stage(const struct mc_svd_layer *l, int64_t out, int64_t in,
                                   unsigned axes, const char *suffix)
{
    struct mc_conv_stage s = {
        .shape = l->weight->shape, .axes = axes, .group = 1, .suffix = suffix};
    s.shape.dim[0] = out;
    s.shape.dim[1] = in;
    for (int i = 2; i < s.shape.rank; i++)
        s.shape.dim[i] = axes >> (i - 2) & 1 ? s.shape.dim[i] : 1;
    return s;
}

/* ---- curves ---- */

int mc_conv_add_point(struct mc_conv_points *p, const struct mc_svd_layer *l,
                      const struct mc_conv_chain *c, int64_t rank0, int64_t rank1, double error,
                      struct mc_err *err)
{
    if (!MC_GROW(p->point, p->n, p->cap))
        return mc_conv_no_memory(err);
    p->point[p->n++] = (struct mc_svd_point){.rank = {rank0, rank1},
                                             .bytes = mc_conv_chain_bytes(l, c),
                                             .macs = mc_conv_chain_macs(l, c),
                                             .error = error};
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    const struct mc_svd_point *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->error > y->error) - (x->error < y->error);
}

void mc_conv_prune(struct mc_conv_points *p)
{
    size_t n = 0;
    if (p->n)
        qsort(p->point, p->n, sizeof *p->point, by_bytes);
    for (size_t i = 0; i < p->n; i++)
        if (n == 0 || p->point[i].error < p->point[n - 1].error)
            p->point[n++] = p->point[i];
    p->n = n;
}

void mc_conv_curve(struct mc_svd_run *r, size_t layer, struct mc_conv_points *p, bool complete,
                   struct mc_svd_curve *c)
{
    double scale = mc_svd_run_scale(r, layer);
    mc_conv_prune(p);
    for (size_t i = 0; i < p->n; i++)
        p->point[i].error *= scale;
    free(c->point);
    c->point = p->point;
    c->n = p->n;
    c->complete = complete;
    *p = (struct mc_conv_points){0};
}

/* ---- problems ---- */

int mc_conv_open(struct mc_svd_run *r, size_t layer, struct mc_conv_open *ret, struct mc_err *err)
{
    const struct mc_svd_layer *l = &r->layers.item[layer];
    struct mc_svd_norm norm;
    float *w;
    *ret = (struct mc_conv_open){0};
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_norm_of(r, layer, &norm, &ret->hold, err);
    if (!rc)
        rc = mc_svd_read(l, &w, err);
    if (!rc)
        rc = mc_conv_problem_make(r->la, w, l->m, l->n, &norm, &ret->p, err);
    if (rc)
        mc_conv_close(ret);
    else if (isnan(r->raw_total[layer]))
        r->raw_total[layer] = ret->p.total;
    return rc;
}

void mc_conv_close(struct mc_conv_open *o)
{
    mc_conv_problem_free(&o->p);
    mc_svd_norm_free(&o->hold);
}

/* ---- placing ---- */

/* (W - W') mean at every site that has a bias to take it; y is W'. */
static int mean_errors(struct mc_svd_run *r, const struct mc_svd_layer *l, size_t layer,
                       const struct mc_conv_problem *p, const float *y, float *row, float **error,
                       struct mc_err *err)
{
    for (size_t s = 0; s < l->n_sites; s++) {
        const float *mean = mc_svd_norm_mean(r, layer, s);
        if (!mean)
            continue;
        error[s] = mc_conv_floats(l->m, 1);
        if (!error[s])
            return mc_conv_no_memory(err);
        for (int64_t o = 0; o < l->m; o++) {
            for (int64_t j = 0; y && j < l->n; j++)
                row[j] = p->w[o * l->n + j] - y[o * l->n + j];
            error[s][o] = y ? (float)mc_conv_dot(row, mean, l->n) : 0;
        }
    }
    return 0;
}

int mc_conv_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_svd_layer *l,
                  size_t layer, const struct mc_conv_chain *c, const struct mc_conv_problem *p,
                  float *dense, struct mc_err *err)
{
    float **error = mc_calloc(l->n_sites, sizeof *error), *row = mc_conv_floats(l->n, 1);
    int rc = error && row ? 0 : mc_conv_no_memory(err);
    if (!rc && dense)
        rc = mc_conv_unweigh(r->la, p, l->n, dense, err);
    if (!rc)
        rc = mean_errors(r, l, layer, p, dense, row, error, err);
    if (!rc)
        rc = mc_conv_chain_place(m, l, c, error, err);
    for (size_t s = 0; error && s < l->n_sites; s++)
        free(error[s]);
    free(error);
    free(row);
    return rc;
}
