#include "passes/svd/form_conv_kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"

/* One improvement takes 8 % of the error away that the first answer leaves, a second one 1 % more (reference resnet, keep
 * 0.25); a large layer does without. */
enum { SWEEPS = 1, SHARE_OF_WORK = 12, FEWEST_POINTS = 6 };

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

static struct mc_conv_chain chain_of(const struct mc_layer *l, const struct mc_conv_kind *k,
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
    const struct mc_conv_problem *p;
    struct mc_conv_split s;
    int64_t *column;
};

static void close_split(struct open *o)
{
    mc_conv_split_free(&o->s);
    free(o->column);
    o->column = NULL;
}

/* The highest rank that saves bytes; with Tucker's form that of the inputs. */
static int64_t most_rank(const struct mc_layer *l, const struct mc_conv_kind *k)
{
    struct mc_conv_dims d = mc_conv_dims(l);
    unsigned first = first_axes(&d, k);
    int64_t inner = d.c * along(&d, first), outer = d.m * along(&d, MC_CONV_ALL_AXES & ~first);
    struct mc_conv_chain one = chain_of(l, k, 1, 1);
    uint64_t whole = mc_layer_dense_bytes(l);
    int64_t most = k->tucker ? d.c : (int64_t)((whole - 1) / mc_conv_chain_bytes(l, &one));
    most = most < inner ? most : inner;
    return most < outer ? most : outer;
}

static int open_split(struct mc_svd_run *r, size_t layer, const struct mc_conv_kind *k,
                      struct open *ret, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[layer];
    struct mc_conv_dims d = mc_conv_dims(l);
    unsigned first = first_axes(&d, k);
    *ret = (struct open){0};
    int rc = mc_conv_open(r, layer, &ret->p, err);
    if (!rc)
        rc = columns(&d, first, &ret->column, err);
    if (!rc)
        rc = mc_conv_split_make(r->la, ret->p, ret->column, d.c * along(&d, first),
                                along(&d, MC_CONV_ALL_AXES & ~first), most_rank(l, k),
                                r->ctx->seed + layer, &ret->s, err);
    if (rc)
        close_split(ret);
    return rc;
}

/* Of a list of ranks the last and every step-th before it, so that fitting all takes no more than `work`. */
static size_t step_for(const struct mc_conv_split *s, const int64_t *rank, size_t n, double work)
{
    double sum = 0;
    size_t step = 1;
    for (size_t i = 0; i < n; i++)
        sum += mc_conv_fit_work(s, rank[i], 0);
    while (sum / (double)step > work && n / (step + 1) >= FEWEST_POINTS)
        step++;
    return step;
}

static int sweeps_for(const struct mc_conv_split *s, int64_t rank)
{
    return mc_conv_fit_work(s, rank, SWEEPS) <= mc_conv_work / SHARE_OF_WORK ? SWEEPS : 0;
}

/* ---- curves of one rank ---- */

static int one_rank(struct mc_svd_run *r, const struct mc_layer *l, const struct mc_conv_kind *k,
                    const struct mc_conv_split *s, double most, struct mc_conv_points *p,
                    struct mc_err *err)
{
    int64_t rank[MC_CONV_RANKS];
    size_t n = mc_conv_ranks(most_rank(l, k), rank), step = step_for(s, rank, n, mc_conv_work);
    int rc = 0;
    for (size_t i = (n - 1) % step; !rc && i < n; i += step) {
        struct mc_conv_fit f;
        struct mc_conv_chain c = chain_of(l, k, rank[i], 0);
        if ((double)mc_conv_chain_bytes(l, &c) > most)
            break;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_conv_fit(r->la, s, rank[i], 0, sweeps_for(s, rank[i]), false, &f, err);
        if (rc)
            break;
        rc = mc_conv_add_point(p, l, &c, rank[i], 0, f.error, err);
        mc_conv_fit_free(&f);
    }
    return rc;
}

/* ---- the curve of two ranks ---- */

/* Points with less than so many times the bytes of another are one. */
static const double CLOSE = 1.1;

/* All pairs of ranks, from the errors that one T for each r leaves. */
static int all_pairs(struct mc_svd_run *r, const struct mc_layer *l, const struct mc_conv_kind *k,
                     const struct mc_conv_split *s, double most, struct mc_conv_points *p,
                     struct mc_err *err)
{
    int64_t rank_r[MC_CONV_RANKS], rank_s[MC_CONV_RANKS];
    size_t n_r = mc_conv_ranks(most_rank(l, k), rank_r), n_s = mc_conv_ranks(s->m, rank_s);
    size_t step = step_for(s, rank_r, n_r, mc_conv_work / 2);
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

/* Of points that are close to each other in bytes the last, which has the least error; of the last ones none where more
 * may follow. */
static void thin(struct mc_conv_points *p, double most, bool all)
{
    size_t n = 0;
    for (size_t i = 0, j; i < p->n; i = j) {
        double end = CLOSE * (double)p->point[i].bytes;
        for (j = i + 1; j < p->n && (double)p->point[j].bytes < end;)
            j++;
        if (end <= most || all)
            p->point[n++] = p->point[j - 1];
    }
    p->n = n;
}

static int two_ranks(struct mc_svd_run *r, const struct mc_layer *l, const struct mc_conv_kind *k,
                     const struct mc_conv_split *s, double most, struct mc_conv_points *p,
                     struct mc_err *err)
{
    double whole = (double)mc_layer_dense_bytes(l) - 1, ahead = fmin(CLOSE * most, whole);
    int rc = all_pairs(r, l, k, s, ahead, p, err);
    if (rc)
        return rc;
    mc_conv_prune(p);
    thin(p, ahead, ahead >= whole);
    for (size_t i = 0; !rc && i < p->n; i++) {
        struct mc_svd_point *at = &p->point[i];
        struct mc_conv_fit f;
        int sweeps = sweeps_for(s, at->rank[0]);
        if (!sweeps)
            continue;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_conv_fit(r->la, s, at->rank[0], at->rank[1], sweeps, false, &f, err);
        if (rc)
            break;
        at->error = f.error;
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
    const struct mc_layer *l = &r->layers.item[layer];
    struct mc_conv_points p = {0};
    struct mc_conv_state *state = mc_calloc(1, sizeof *state);
    if (!state)
        return mc_conv_no_memory(err);
    double most = fmin(want * (double)it->bytes, (double)it->bytes - 1);
    struct open o;
    int rc = 0;
    if (most_rank(l, k) >= 1) {
        rc = open_split(r, layer, k, &o, err);
        if (!rc)
            rc = k->tucker ? two_ranks(r, l, k, &o.s, most, &p, err)
                           : one_rank(r, l, k, &o.s, most, &p, err);
        close_split(&o);
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

static int factors_of(struct mc_svd_run *r, size_t layer, const struct mc_conv_kind *k,
                      const struct open *o, struct mc_conv_fit *f, struct mc_conv_factors *ret,
                      struct mc_err *err)
{
    float *dense = NULL;
    int rc = mc_conv_fit_dense(r->la, &o->s, f, &dense, err);
    if (!rc)
        rc = mc_conv_mean_errors(r, layer, o->p, dense, ret, err);
    free(dense);
    if (!rc)
        rc = k->tucker ? mc_conv_unweigh(r->la, o->p, f->s, f->left, err)
                       : mc_conv_unweigh(r->la, o->p, o->s.b * f->r, f->p, err);
    if (rc)
        return rc;
    float *second = k->tucker ? f->core : f->p;
    int64_t rows = k->tucker ? f->s : o->s.m;
    balance(f->t, o->s.a, second, rows, o->s.b, f->r);
    ret->w[1] = swapped(second, rows, o->s.b, f->r);
    ret->w[0] = f->t;
    ret->w[2] = f->left;
    f->t = f->left = NULL;
    return ret->w[1] ? 0 : mc_conv_no_memory(err);
}

static int make(struct mc_svd_run *r, size_t layer, const struct mc_svd_point *at, const void *ctx,
                struct mc_conv_factors *ret, struct mc_err *err)
{
    const struct mc_conv_kind *k = ctx;
    struct open o;
    struct mc_conv_fit f;
    int rc = open_split(r, layer, k, &o, err);
    if (rc)
        return rc;
    rc = mc_conv_fit(r->la, &o.s, at->rank[0], at->rank[1], sweeps_for(&o.s, at->rank[0]), false,
                     &f, err);
    if (!rc) {
        rc = factors_of(r, layer, k, &o, &f, ret, err);
        mc_conv_fit_free(&f);
    }
    close_split(&o);
    return rc;
}

int mc_conv_kind_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                       const struct mc_svd_item *it, const struct mc_conv_kind *k,
                       const struct mc_svd_curve *c, const struct mc_svd_point *p, bool sizes_only,
                       struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_layer *l = &in_m->item[layer];
    struct mc_conv_chain chain = chain_of(l, k, p->rank[0], p->rank[1]);
    return mc_conv_place(r, m, l, layer, &chain, p, sizes_only ? NULL : c->state, make, k, err);
}
