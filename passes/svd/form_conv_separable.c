/* A window of every channel by itself, several times, then 1x1: depthwise-separable.
 * Source: Guo, Li, Lin, Chen, Huang, Network Decoupling: From Regular to Depthwise Separable Convolutions, BMVC 2018;
 * deviates: in the norm of the data, with all channels fitted together. */
#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "passes/svd/form_conv.h"
#include "passes/svd/form_conv_separate.h"

enum { SWEEPS = 1, SHARE_OF_WORK = 4 };

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    /* With one channel it is the plain product. */
    return mc_conv_has_window(r, it) && mc_conv_dims(&r->layers.item[it->layer[0]]).c > 1;
}

static struct mc_conv_chain chain_of(const struct mc_layer *l, int64_t q)
{
    struct mc_conv_dims d = mc_conv_dims(l);
    struct mc_conv_chain c = {.n = 2};
    c.stage[0] = mc_conv_stage(l, d.c * q, 1, MC_CONV_ALL_AXES, "_channels");
    c.stage[0].group = d.c;
    c.stage[1] = mc_conv_stage(l, d.m, d.c * q, 0, "_expand");
    return c;
}

static int sweeps_for(const struct mc_conv_problem *p, int64_t c, int64_t q)
{
    return mc_conv_separate_work(p, c, q, SWEEPS) <= mc_conv_work / SHARE_OF_WORK ? SWEEPS : 0;
}

/* Few filters first: where all are too much work the last ones are left out. */
static int find_points(struct mc_svd_run *r, const struct mc_layer *l,
                       const struct mc_conv_problem *p, int64_t most, struct mc_conv_points *points,
                       struct mc_err *err)
{
    int64_t c = mc_conv_dims(l).c;
    double work = 0;
    int rc = 0;
    for (int64_t q = 1; !rc && q <= most; q++) {
        struct mc_conv_filters f;
        work += mc_conv_separate_work(p, c, q, 0);
        if (q > 1 && work > mc_conv_work)
            break;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_conv_separate(r->la, p, c, q, sweeps_for(p, c, q), &f, err);
        if (rc)
            break;
        struct mc_conv_chain chain = chain_of(l, q);
        rc = mc_conv_add_point(points, l, &chain, q, 0, f.error, err);
        mc_conv_filters_free(&f);
    }
    return rc;
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_layer *l = &r->layers.item[layer];
    struct mc_conv_points p = {0};
    struct mc_conv_chain one = chain_of(l, 1);
    double bytes = fmin(want * (double)it->bytes, (double)it->bytes - 1);
    int64_t most = (int64_t)(bytes / (double)mc_conv_chain_bytes(l, &one));
    most = most < mc_conv_dims(l).window ? most : mc_conv_dims(l).window - 1;
    struct mc_conv_state *state = mc_calloc(1, sizeof *state);
    const struct mc_conv_problem *problem;
    int rc = state ? 0 : mc_conv_no_memory(err);
    if (!rc && most >= 1) {
        rc = mc_conv_open(r, layer, &problem, err);
        if (!rc)
            rc = find_points(r, l, problem, most, &p, err);
    }
    if (rc) {
        free(p.point);
        free(state);
        return rc;
    }
    mc_conv_curve(r, layer, &p, want >= 1, c);
    mc_conv_state_free(c->state);
    c->state = state;
    return 0;
}

/* Equal norms of a filter and what the product takes from it. */
static void balance(struct mc_conv_filters *f)
{
    int64_t all = f->c * f->q;
    for (int64_t i = 0; i < all; i++) {
        float *d = f->d + i * f->k;
        double from = mc_conv_dot(d, d, f->k), to = 0;
        for (int64_t o = 0; o < f->m; o++)
            to += (double)f->w[o * all + i] * f->w[o * all + i];
        float s = from > 0 && to > 0 ? (float)sqrt(sqrt(to / from)) : 1;
        for (int64_t j = 0; j < f->k; j++)
            d[j] *= s;
        for (int64_t o = 0; o < f->m; o++)
            f->w[o * all + i] /= s;
    }
}

static int make(struct mc_svd_run *r, size_t layer, const struct mc_svd_point *at, const void *ctx,
                struct mc_conv_factors *ret, struct mc_err *err)
{
    (void)ctx;
    int64_t c = mc_conv_dims(&r->layers.item[layer]).c, q = at->rank[0];
    const struct mc_conv_problem *p;
    struct mc_conv_filters f = {0};
    float *dense = NULL;
    int rc = mc_conv_open(r, layer, &p, err);
    if (!rc)
        rc = mc_conv_separate(r->la, p, c, q, sweeps_for(p, c, q), &f, err);
    if (!rc)
        rc = mc_conv_filters_dense(r->la, &f, &dense, err);
    if (!rc)
        rc = mc_conv_mean_errors(r, layer, p, dense, ret, err);
    free(dense);
    if (!rc)
        rc = mc_conv_unweigh(r->la, p, c * q, f.w, err);
    if (rc) {
        mc_conv_filters_free(&f);
        return rc;
    }
    balance(&f);
    ret->w[0] = f.d;
    ret->w[1] = f.w;
    return 0;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_layer *l = &in_m->item[layer];
    struct mc_conv_chain chain = chain_of(l, p->rank[0]);
    return mc_conv_place(r, m, l, layer, &chain, p, sizes_only ? NULL : c->state, make, NULL, err);
}

const struct mc_svd_form mc_svd_form_separable = {"separable", applies, analyse, place,
                                                  mc_conv_state_free};
