#include "passes/form_conv_kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEPS = 2, FEWEST_POINTS = 6 };

struct state { /* what makes a fit again what it was */
    int64_t want;
    int sweeps;
};

/* ---- sizes ---- */

static unsigned first_axes(const struct mc_conv_dims *d, const struct mc_conv_kind *k)
{
    return k->first == MC_CONV_NO_AXIS      ? 0
           : k->first == MC_CONV_FIRST_AXIS ? 1u
                                            : 1u << (d->axes - 1);
}

/* Positions of the window along the axes of a mask. */
static int64_t along(const struct mc_conv_dims *d, unsigned axes)
{
    int64_t n = 1;
    for (int i = 0; i < d->axes; i++)
        n *= axes >> i & 1 ? d->kernel[i] : 1;
    return n;
}

bool mc_conv_kind_applies(const struct mc_svd_run *r, const struct mc_svd_item *it,
                          const struct mc_conv_kind *k)
{
    if (!mc_conv_has_window(r, it))
        return false;
    struct mc_conv_dims d = mc_conv_dims(&r->layers.item[it->layer[0]]);
    unsigned first = first_axes(&d, k);
    if (!first)
        return d.c > 1 && d.m > 1;
    return along(&d, first) > 1 && along(&d, ~first) > 1;
}

static struct mc_conv_chain chain_of(const struct mc_svd_layer *l, const struct mc_conv_kind *k,
                                     int64_t r, int64_t s)
{
    struct mc_conv_dims d = mc_conv_dims(l);
    unsigned first = first_axes(&d, k), rest = MC_CONV_ALL_AXES & ~first;
    struct mc_conv_chain c = {.n = k->tucker ? 3 : 2};
    c.stage[0] = mc_conv_stage(l, r, d.c, first, k->suffix);
    c.stage[1] = mc_conv_stage(l, k->tucker ? s : d.m, r, rest, k->tucker ? "_core" : "_expand");
    if (k->tucker)
        c.stage[2] = mc_conv_stage(l, d.m, s, 0, "_expand");
    return c;
}

/* Pairs of an inner index, channels and what the first stage has of the window, and an outer one. */
static int columns(const struct mc_conv_dims *d, unsigned first, int64_t **ret, struct mc_err *err)
{
    int64_t inner = along(d, first), a = d->c * inner;
    int64_t *column = mc_calloc((size_t)(d->c * d->window), sizeof *column);
    if (!column)
        return mc_conv_no_memory(err);
    for (int64_t w = 0; w < d->window; w++) {
        int64_t in = 0, out = 0, left = w, digit[MC_RANK_MAX];
        for (int i = d->axes - 1; i >= 0; i--) {
            digit[i] = left % d->kernel[i];
            left /= d->kernel[i];
        }
        for (int i = 0; i < d->axes; i++)
            if (first >> i & 1)
                in = in * d->kernel[i] + digit[i];
            else
                out = out * d->kernel[i] + digit[i];
        for (int64_t c = 0; c < d->c; c++)
            column[out * a + c * inner + in] = c * d->window + w;
    }
    *ret = column;
    return 0;
}

struct open {
    struct mc_conv_open o;
    struct mc_conv_split s;
    int64_t *column;
};

static void close_split(struct open *o)
{
    mc_conv_split_free(&o->s);
    free(o->column);
    mc_conv_close(&o->o);
}

static int open_split(struct mc_svd_run *r, size_t layer, const struct mc_conv_kind *k,
                      int64_t want, struct open *ret, struct mc_err *err)
{
    struct mc_conv_dims d = mc_conv_dims(&r->layers.item[layer]);
    unsigned first = first_axes(&d, k);
    *ret = (struct open){0};
    int rc = mc_conv_open(r, layer, &ret->o, err);
    if (!rc)
        rc = columns(&d, first, &ret->column, err);
    if (!rc)
        rc = mc_conv_split_make(r->la, &ret->o.p, ret->column, d.c * along(&d, first),
                                along(&d, MC_CONV_ALL_AXES & ~first), want, r->ctx->seed + layer,
                                &ret->s, err);
    if (rc)
        close_split(ret);
    return rc;
}

/* ---- curves of one rank ---- */

static int one_rank(struct mc_svd_run *r, const struct mc_svd_layer *l,
                    const struct mc_conv_kind *k, const struct mc_conv_split *s,
                    struct state *state, struct mc_conv_points *p, struct mc_err *err)
{
    int64_t rank[MC_CONV_RANKS];
    size_t n = mc_conv_ranks(state->want, rank), step = 1;
    double work[SWEEPS + 1] = {0};
    for (int sweeps = 0; sweeps <= SWEEPS; sweeps++)
        for (size_t i = 0; i < n; i++)
            work[sweeps] += mc_conv_fit_work(s, rank[i], sweeps);
    state->sweeps = SWEEPS;
    while (state->sweeps > 0 && work[state->sweeps] > mc_conv_work)
        state->sweeps--;
    while (work[state->sweeps] / (double)step > mc_conv_work && n / (step + 1) >= FEWEST_POINTS)
        step++;
    int rc = 0;
    for (size_t i = (n - 1) % step; !rc && i < n; i += step) {
        struct mc_conv_fit f;
        rc = mc_conv_fit(r->la, s, rank[i], 0, state->sweeps, false, &f, err);
        if (rc)
            break;
        struct mc_conv_chain c = chain_of(l, k, rank[i], 0);
        rc = mc_conv_add_point(p, l, &c, rank[i], 0, f.error, err);
        mc_conv_fit_free(&f);
    }
    return rc;
}

/* ---- the curve of two ranks ---- */

/* All pairs of ranks, from the errors that one T for each r leaves. */
static int all_pairs(struct mc_svd_run *r, const struct mc_svd_layer *l,
                     const struct mc_conv_kind *k, const struct mc_conv_split *s, double most,
                     struct mc_conv_points *p, struct mc_err *err)
{
    int64_t rank_r[MC_CONV_RANKS], rank_s[MC_CONV_RANKS];
    size_t n_r = mc_conv_ranks(s->known, rank_r), n_s = mc_conv_ranks(s->m, rank_s), step = 1;
    double work = 0;
    for (size_t i = 0; i < n_r; i++)
        work += mc_conv_fit_work(s, rank_r[i], 0);
    while (work / (double)step > mc_conv_work / 2 && n_r / (step + 1) >= FEWEST_POINTS)
        step++;
    int rc = 0;
    for (size_t i = (n_r - 1) % step; !rc && i < n_r; i += step) {
        struct mc_conv_fit f;
        struct mc_conv_chain least = chain_of(l, k, rank_r[i], 1);
        if ((double)mc_conv_chain_bytes(l, &least) > most)
            break;
        rc = mc_conv_fit(r->la, s, rank_r[i], 0, 0, true, &f, err);
        if (rc)
            break;
        for (size_t j = 0; !rc && j < n_s; j++) {
            struct mc_conv_chain c = chain_of(l, k, rank_r[i], rank_s[j]);
            bool rank_exists = rank_s[j] <= rank_r[i] * s->b;
            if (rank_exists && (double)mc_conv_chain_bytes(l, &c) <= most)
                rc = mc_conv_add_point(p, l, &c, rank_r[i], rank_s[j], f.tail[rank_s[j]], err);
        }
        mc_conv_fit_free(&f);
    }
    return rc;
}

/* Of points that are close to each other in bytes the last, which has the least error. */
static void thin(struct mc_conv_points *p)
{
    static const double CLOSE = 1.1;
    size_t n = 0;
    for (size_t i = 0, j; i < p->n; i = j) {
        for (j = i + 1; j < p->n && (double)p->point[j].bytes < CLOSE * (double)p->point[i].bytes;)
            j++;
        p->point[n++] = p->point[j - 1];
    }
    p->n = n;
}

static int two_ranks(struct mc_svd_run *r, const struct mc_svd_layer *l,
                     const struct mc_conv_kind *k, const struct mc_conv_split *s, double most,
                     struct state *state, struct mc_conv_points *p, struct mc_err *err)
{
    int rc = all_pairs(r, l, k, s, most, p, err);
    if (rc)
        return rc;
    mc_conv_prune(p);
    thin(p);
    double work[SWEEPS + 1] = {0};
    for (int sweeps = 0; sweeps <= SWEEPS; sweeps++)
        for (size_t i = 0; i < p->n; i++)
            work[sweeps] += mc_conv_fit_work(s, p->point[i].rank[0], sweeps);
    state->sweeps = SWEEPS;
    while (state->sweeps > 0 && work[state->sweeps] > mc_conv_work)
        state->sweeps--;
    for (size_t i = 0; !rc && state->sweeps && i < p->n; i++) {
        struct mc_conv_fit f;
        rc = mc_conv_fit(r->la, s, p->point[i].rank[0], p->point[i].rank[1], state->sweeps, false,
                         &f, err);
        if (rc)
            break;
        p->point[i].error = f.error;
        mc_conv_fit_free(&f);
    }
    return rc;
}

/* ---- the form ---- */

int mc_conv_kind_analyse(struct mc_svd_run *r, const struct mc_svd_item *it,
                         const struct mc_conv_kind *k, double want, struct mc_svd_curve *c,
                         struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_svd_layer *l = &r->layers.item[layer];
    struct mc_conv_dims d = mc_conv_dims(l);
    struct mc_conv_points p = {0};
    struct state *state = mc_calloc(1, sizeof *state);
    if (!state)
        return mc_conv_no_memory(err);
    double most = fmin(want * (double)it->bytes, (double)it->bytes - 1);
    struct mc_conv_chain one = chain_of(l, k, 1, 1);
    int64_t inner = d.c * along(&d, first_axes(&d, k));
    int64_t outer = d.m * along(&d, MC_CONV_ALL_AXES & ~first_axes(&d, k));
    state->want = k->tucker ? d.c : (int64_t)(most / (double)mc_conv_chain_bytes(l, &one));
    state->want = state->want < inner ? state->want : inner;
    state->want = state->want < outer ? state->want : outer;
    struct open o;
    int rc = 0;
    if (state->want >= 1) {
        rc = open_split(r, layer, k, state->want, &o, err);
        if (!rc)
            rc = k->tucker ? two_ranks(r, l, k, &o.s, most, state, &p, err)
                           : one_rank(r, l, k, &o.s, state, &p, err);
        close_split(&o);
    }
    if (rc) {
        free(p.point);
        free(state);
        return rc;
    }
    mc_conv_curve(r, layer, &p, want >= 1, c);
    free(c->state);
    c->state = state;
    return 0;
}

/* Equal norms of what a channel between two stages comes from and goes to. */
static void balance(float *t, int64_t a, float *p, int64_t rows, int64_t b, int64_t r)
{
    for (int64_t k = 0; k < r; k++) {
        double from = mc_conv_dot(t + k * a, t + k * a, a), to = 0;
        for (int64_t i = 0; i < rows * b; i++)
            to += (double)p[i * r + k] * p[i * r + k];
        float f = from > 0 && to > 0 ? (float)sqrt(sqrt(to / from)) : 1;
        for (int64_t i = 0; i < a; i++)
            t[k * a + i] *= f;
        for (int64_t i = 0; i < rows * b; i++)
            p[i * r + k] /= f;
    }
}

/* x [rows, (β,ρ)] as [rows, (ρ,β)]: new. */
static float *swapped(const float *x, int64_t rows, int64_t b, int64_t r)
{
    float *y = mc_conv_floats(rows, b * r);
    for (int64_t o = 0; y && o < rows; o++)
        for (int64_t i = 0; i < b; i++)
            for (int64_t k = 0; k < r; k++)
                y[(o * r + k) * b + i] = x[(o * b + i) * r + k];
    return y;
}

static int place_fit(struct mc_svd_run *r, struct mc_model *m, const struct mc_svd_layer *l,
                     size_t layer, const struct mc_conv_kind *k, struct open *o,
                     struct mc_conv_fit *f, struct mc_err *err)
{
    const struct mc_conv_problem *p = &o->o.p;
    struct mc_conv_chain c = chain_of(l, k, f->r, f->s);
    float *dense = NULL, *last = NULL;
    int rc = mc_conv_fit_dense(r->la, &o->s, f, &dense, err);
    if (!rc)
        rc = k->tucker ? mc_conv_unweigh(r->la, p, f->s, f->left, err)
                       : mc_conv_unweigh(r->la, p, o->s.b * f->r, f->p, err);
    if (!rc) {
        float *second = k->tucker ? f->core : f->p;
        int64_t rows = k->tucker ? f->s : o->s.m;
        balance(f->t, o->s.a, second, rows, o->s.b, f->r);
        last = swapped(second, rows, o->s.b, f->r);
        rc = last ? 0 : mc_conv_no_memory(err);
    }
    if (!rc) {
        c.stage[0].w = f->t;
        c.stage[1].w = last;
        c.stage[2].w = f->left;
        rc = mc_conv_place(r, m, l, layer, &c, p, dense, err);
    }
    free(dense);
    free(last);
    return rc;
}

int mc_conv_kind_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_svd_layers *in_m,
                       const struct mc_svd_item *it, const struct mc_conv_kind *k,
                       const struct mc_svd_curve *c, const struct mc_svd_point *p, bool sizes_only,
                       struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_svd_layer *l = &in_m->item[layer];
    const struct state *state = c->state;
    if (sizes_only) {
        struct mc_conv_chain chain = chain_of(l, k, p->rank[0], p->rank[1]);
        return mc_conv_place(r, m, l, layer, &chain, NULL, NULL, err);
    }
    struct open o;
    struct mc_conv_fit f;
    int rc = open_split(r, layer, k, state->want, &o, err);
    if (rc)
        return rc;
    rc = mc_conv_fit(r->la, &o.s, p->rank[0], p->rank[1], state->sweeps, false, &f, err);
    if (!rc) {
        rc = place_fit(r, m, l, layer, k, &o, &f, err);
        mc_conv_fit_free(&f);
    }
    close_split(&o);
    return rc;
}
