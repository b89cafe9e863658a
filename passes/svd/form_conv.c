#include "passes/svd/form_conv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "passes/svd/svd_norm.h"

const double mc_conv_work = 3e10;

/* ---- sizes ---- */

struct mc_conv_dims mc_conv_dims(const struct mc_layer *l)
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
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    if (it->n_layers != 1 || l->kind != MC_LAYER_CONV ||
        mc_node_int(l->sites[0].node, "group", 1) != 1)
        return false;
    return mc_conv_dims(l).window > 1;
}

struct mc_conv_stage mc_conv_stage(const struct mc_layer *l, int64_t out, int64_t in, unsigned axes,
                                   const char *suffix)
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

int mc_conv_add_point(struct mc_conv_points *p, const struct mc_layer *l,
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

struct mc_conv_last {
    size_t layer;
    struct mc_svd_norm_hold hold; /* what p borrows */
    struct mc_conv_problem p;
};

void mc_conv_close(struct mc_svd_run *r)
{
    if (r->conv) {
        mc_conv_problem_free(&r->conv->p);
        mc_svd_norm_free(&r->conv->hold);
    }
    free(r->conv);
    r->conv = NULL;
}

static int fill(struct mc_svd_run *r, size_t layer, struct mc_conv_last *last, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[layer];
    struct mc_svd_norm norm;
    float *w;
    last->layer = layer;
    int rc = mc_svd_norm_of(r, layer, &norm, &last->hold, err);
    if (!rc)
        rc = mc_layer_read(l, &w, err);
    return rc ? rc : mc_conv_problem_make(r->la, w, l->m, l->n, &norm, &last->p, err);
}

int mc_conv_open(struct mc_svd_run *r, size_t layer, const struct mc_conv_problem **ret,
                 struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    if (!rc && !(r->conv && r->conv->layer == layer)) {
        mc_conv_close(r);
        r->conv = mc_calloc(1, sizeof *r->conv);
        rc = r->conv ? fill(r, layer, r->conv, err) : mc_conv_no_memory(err);
        if (rc)
            mc_conv_close(r);
    }
    if (rc)
        return rc;
    *ret = &r->conv->p;
    if (isnan(r->raw_total[layer]))
        r->raw_total[layer] = r->conv->p.total;
    return 0;
}

/* ---- placing ---- */

static void free_factors(struct mc_conv_factors *f)
{
    for (size_t i = 0; i < MC_CONV_STAGES; i++)
        free(f->w[i]);
    for (size_t s = 0; f->error && s < f->n_sites; s++)
        free(f->error[s]);
    free(f->error);
    *f = (struct mc_conv_factors){0};
}

void mc_conv_state_free(void *state)
{
    struct mc_conv_state *s = state;
    for (size_t i = 0; s && i < MC_CONV_KEPT; i++)
        free_factors(&s->kept[i]);
    free(s);
}

/* (W - W') mean at every site that has a bias to take it. */
int mc_conv_mean_errors(struct mc_svd_run *r, size_t layer, const struct mc_conv_problem *p,
                        float *dense, struct mc_conv_factors *ret, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[layer];
    ret->n_sites = l->n_sites;
    ret->error = mc_calloc(l->n_sites, sizeof *ret->error);
    int rc = ret->error ? mc_conv_unweigh(r->la, p, l->n, dense, err) : mc_conv_no_memory(err);
    for (int64_t i = 0; !rc && i < l->m * l->n; i++)
        dense[i] = p->w[i] - dense[i];
    for (size_t s = 0; !rc && s < l->n_sites; s++) {
        const float *mean = mc_svd_norm_mean(r, layer, s);
        ret->error[s] = mean ? mc_conv_floats(l->m, 1) : NULL;
        if (mean && !ret->error[s])
            return mc_conv_no_memory(err);
        for (int64_t o = 0; mean && o < l->m; o++)
            ret->error[s][o] = (float)mc_conv_dot(dense + o * l->n, mean, l->n);
    }
    return rc;
}

/* A shift that is only counted has the right size and no content. */
static int place_sizes(struct mc_svd_run *r, struct mc_model *m, const struct mc_layer *l,
                       size_t layer, const struct mc_conv_chain *c, struct mc_err *err)
{
    float *zeros = mc_calloc((size_t)l->m, sizeof *zeros);
    float **error = mc_calloc(l->n_sites, sizeof *error);
    int rc = zeros && error ? 0 : mc_conv_no_memory(err);
    for (size_t s = 0; !rc && s < l->n_sites; s++)
        error[s] = mc_svd_norm_mean(r, layer, s) ? zeros : NULL;
    if (!rc)
        rc = mc_conv_chain_place(m, l, c, error, err);
    free(error);
    free(zeros);
    return rc;
}

static const struct mc_conv_factors *find(const struct mc_conv_state *s,
                                          const struct mc_svd_point *at)
{
    for (size_t i = 0; i < MC_CONV_KEPT; i++)
        if (s->kept[i].w[0] && !memcmp(s->kept[i].rank, at->rank, sizeof at->rank))
            return &s->kept[i];
    return NULL;
}

int mc_conv_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layer *l, size_t layer,
                  struct mc_conv_chain *c, const struct mc_svd_point *at,
                  struct mc_conv_state *state,
                  int (*make)(struct mc_svd_run *r, size_t layer, const struct mc_svd_point *at,
                              const void *ctx, struct mc_conv_factors *ret, struct mc_err *err),
                  const void *ctx, struct mc_err *err)
{
    if (!state)
        return place_sizes(r, m, l, layer, c, err);
    const struct mc_conv_factors *f = find(state, at);
    if (!f) {
        struct mc_conv_factors made = {.rank = {at->rank[0], at->rank[1]}};
        int rc = make(r, layer, at, ctx, &made, err);
        if (rc) {
            free_factors(&made);
            return rc;
        }
        struct mc_conv_factors *slot = &state->kept[state->next++ % MC_CONV_KEPT];
        free_factors(slot);
        *slot = made;
        f = slot;
    }
    for (size_t i = 0; i < c->n; i++)
        c->stage[i].w = f->w[i];
    return mc_conv_chain_place(m, l, c, f->error, err);
}
