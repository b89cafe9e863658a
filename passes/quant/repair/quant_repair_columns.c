#include "passes/quant/repair/quant_repair_columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/fit/covariance.h"
#include "passes/quant/repair/quant_channel.h"
#include "passes/quant/repair/quant_columns.h"
#include "passes/quant/repair/quant_mend.h"

/* Larger inputs take minutes; of many groups each has a matrix of its own. */
enum { N_MAX = 8192, GROUPS_MAX = 1024, GROUPED_N_MAX = 64, FEW_GROUPS = 64 };
enum { SAMPLES = 256, SAMPLES_MIN = 16 };
/* Multiply-accumulates of all covariances: some ten seconds of one thread. */
static const double WORK = 5e11;
static const double WAVE = 256e6; /* bytes of covariances gathered in one run */

struct target {
    size_t site;
    struct mc_refit f; /* of the model before */
    size_t cov;        /* the first of its groups */
    struct mc_tensor *made;
    int rc;
    struct mc_err err;
};

struct wave {
    struct mc_quant_repair *r;
    const struct mc_quant_columns_job *job;
    struct mc_linalg *la;
    struct target *target;
    size_t n, cap;
    struct mc_cov *cov;
    size_t n_cov, cap_cov;
    double bytes;
    int64_t samples;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for rounding");
}

/* ---- which layers ---- */

static bool find_target(const struct wave *w, size_t i, struct target *ret)
{
    const struct mc_quant_site *s = &w->r->sites->item[i];
    const struct mc_quant_placed *p = &w->r->b->at[i];
    *ret = (struct target){.site = i};
    bool product = s->kind == MC_QUANT_MATMUL || s->kind == MC_QUANT_GEMM;
    if ((!product && s->kind != MC_QUANT_CONV) || s->in_body || !(w->job->forms >> p->form & 1) ||
        s->transposed[0])
        return false;
    const struct mc_value *q = p->w[0].q;
    if (!q || !mc_quant_alone(q) || !mc_constant(p->w[0].scale) ||
        (p->w[0].zero && !mc_constant(p->w[0].zero)))
        return false;
    if (w->job->built && (!p->x || !p->node || strcmp(p->node->op_type, s->node->op_type) != 0))
        return false;
    return mc_refit_of(s->node, &ret->f) && ret->f.weight == s->weight[0] && ret->f.n <= N_MAX &&
           ret->f.groups <= (ret->f.n <= GROUPED_N_MAX ? GROUPS_MAX : FEW_GROUPS);
}

/* Of samples, as far as covariances take rows of them (layer_rows.h). */
static double work_of(const struct wave *w, const struct target *t, int64_t samples)
{
    const struct mc_refit *f = &t->f;
    double n = (double)f->n, weights = (double)(f->groups * f->m) * n;
    double macs = w->r->sites->item[t->site].macs;
    double rows = isfinite(macs) ? macs / weights * (double)samples : INFINITY;
    return fmin(rows, fmax(16 * n, 16384)) * n * n * (double)f->groups;
}

static int64_t count_samples(const struct wave *w)
{
    int64_t most = w->r->fit_count < SAMPLES ? w->r->fit_count : SAMPLES;
    int64_t samples = mc_quant_mend_samples(w->r, most, 1);
    for (double work = INFINITY; samples > SAMPLES_MIN && work > WORK;) {
        struct target t;
        work = 0;
        for (size_t i = 0; i < w->r->sites->n; i++)
            work += find_target(w, i, &t) ? work_of(w, &t, samples) : 0;
        samples = work > WORK ? (samples + 1) / 2 : samples;
    }
    return samples;
}

/* Products that read the same rows share a covariance. */
static bool find_cov(const struct wave *w, const struct mc_cov *c, size_t *ret)
{
    for (size_t i = 0; i < w->n_cov; i++)
        if (!c->parts && !w->cov[i].parts && w->cov[i].x == c->x && w->cov[i].n == c->n &&
            w->cov[i].columns == c->columns && !mc_node_is(c->node, "Conv") &&
            !mc_node_is(w->cov[i].node, "Conv")) {
            *ret = i;
            return true;
        }
    return false;
}

static int add_target(struct wave *w, struct target *t, struct mc_err *err)
{
    const struct mc_quant_placed *p = &w->r->b->at[t->site];
    const struct mc_refit *f = &t->f;
    struct mc_cov c = {.node = f->node, /* in the built model the weight is no constant */
                       .x = w->job->built ? p->x : f->x,
                       .n = f->n,
                       .columns = f->columns,
                       .parts = f->groups > 1 ? (int)f->groups : 0};
    t->cov = w->n_cov;
    bool shared = find_cov(w, &c, &t->cov);
    for (int64_t g = 0; !shared && g < f->groups; g++) {
        c.part = (int)g;
        if (!MC_GROW(w->cov, w->n_cov, w->cap_cov))
            return no_memory(err);
        w->cov[w->n_cov++] = c;
        w->bytes += (double)f->n * (double)f->n * 4;
    }
    if (!MC_GROW(w->target, w->n, w->cap))
        return no_memory(err);
    w->target[w->n++] = *t;
    return 0;
}

/* ---- one layer ---- */

struct layout {            /* of a weight's integers */
    struct mc_shape shape; /* of q */
    bool transposed;
    int axis, block;
    int64_t inner, dim, blocks; /* behind the axis; of it; scales along it */
    int64_t scales;
};

static struct layout layout_of(const struct mc_quant_placed_weight *w)
{
    struct layout l = {.shape = mc_constant(w->q)->shape,
                       .transposed = w->transposed,
                       .axis = w->axis,
                       .block = w->block,
                       .scales = mc_tensor_count(mc_constant(w->scale))};
    if (l.axis >= 0) {
        l.dim = l.shape.dim[l.axis];
        l.inner = mc_shape_span(&l.shape, l.axis + 1, l.shape.rank);
        l.blocks = l.block ? (l.dim + l.block - 1) / l.block : l.dim;
    }
    return l;
}

/* Where element e of the weight, as the layer has it, is among the integers. */
static int64_t place_of(const struct layout *l, int64_t e)
{
    if (!l->transposed)
        return e;
    int64_t rows = l->shape.dim[1], columns = l->shape.dim[0]; /* of the weight */
    return e % columns * rows + e / columns;
}

static int64_t scale_at(const struct layout *l, int64_t at)
{
    if (l->scales == 1)
        return 0;
    int64_t along = at / l->inner % l->dim;
    if (!l->block)
        return along;
    return (at / l->inner / l->dim * l->blocks + along / l->block) * l->inner + at % l->inner;
}

struct numbers { /* a layer's, as floats in the order of the tensors */
    float *w, *q, *scale, *zero;
};

static int load(const struct wave *w, const struct target *t, struct numbers *ret,
                struct mc_err *err)
{
    const struct mc_quant_placed_weight *p = &w->r->b->at[t->site].w[0];
    int64_t n;
    int rc = mc_constant_f32(t->f.weight, &ret->w, &n, err);
    rc = rc ? rc : mc_constant_f32(p->q, &ret->q, &n, err);
    rc = rc ? rc : mc_constant_f32(p->scale, &ret->scale, &n, err);
    if (!rc && p->zero)
        rc = mc_constant_f32(p->zero, &ret->zero, &n, err);
    return rc;
}

/* Mean of x xᵀ. */
static float *moments(const struct mc_cov *c)
{
    size_t n = (size_t)c->n;
    float *h = mc_calloc(n * n + 1, sizeof *h);
    const float *second = h ? (const float *)c->second->data : NULL;
    for (size_t j = 0; h && j < n; j++)
        for (size_t k = 0; k <= j; k++)
            h[j * n + k] = second[j * n + k] + c->mean[j] * c->mean[k];
    return h;
}

static int round_group(struct wave *w, struct target *t, int64_t g, struct numbers *x, float *room,
                       bool *better, struct mc_err *err)
{
    const struct mc_refit *f = &t->f;
    const struct mc_quant_placed *p = &w->r->b->at[t->site];
    struct layout l = layout_of(&p->w[0]);
    struct mc_quant_type type = mc_quant_weight_type(w->r->rules, p->form);
    int64_t all = f->m * f->n;
    int32_t low, high;
    mc_quant_type_limits(&type, &low, &high);
    float *part[4] = {room, room + all, room + 2 * all, room + 3 * all};
    for (int64_t j = 0; j < f->n; j++)
        for (int64_t i = 0; i < f->m; i++) {
            int64_t e = g * f->at_group + i * f->at_m + j / f->taps * f->at_n + j % f->taps;
            int64_t at = place_of(&l, e), s = scale_at(&l, at), to = j * f->m + i;
            part[0][to] = x->w[e];
            part[1][to] = x->q[at];
            part[2][to] = x->scale[s];
            part[3][to] = x->zero ? x->zero[s] : 0;
        }
    struct mc_quant_columns c = {.m = f->m,
                                 .n = f->n,
                                 .w = part[0],
                                 .q = part[1],
                                 .scale = part[2],
                                 .zero = x->zero ? part[3] : NULL,
                                 .each = true,
                                 .low = (float)low,
                                 .high = (float)high};
    float *h = moments(&w->cov[t->cov + (size_t)g]);
    int rc = h ? mc_quant_round_columns(w->la, h, w->job->damping, w->job->sweeps, &c, err)
               : no_memory(err);
    free(h);
    *better |= !rc && c.after < c.before;
    for (int64_t j = 0; !rc && j < f->n; j++)
        for (int64_t i = 0; i < f->m; i++) {
            int64_t e = g * f->at_group + i * f->at_m + j / f->taps * f->at_n + j % f->taps;
            x->q[place_of(&l, e)] = part[1][j * f->m + i];
        }
    return rc == MC_EDATA || rc == MC_EFAIL ? 0 : rc; /* nothing is known of it: it stays */
}

static int round_target(struct wave *w, struct target *t, struct mc_err *err)
{
    const struct mc_tensor *q = mc_constant(w->r->b->at[t->site].w[0].q);
    struct numbers x = {0};
    bool better = false;
    void *data;
    float *room = mc_calloc((size_t)(t->f.m * t->f.n) + 1, 4 * sizeof *room);
    int rc = room ? load(w, t, &x, err) : no_memory(err);
    for (int64_t g = 0; !rc && g < t->f.groups; g++)
        rc = round_group(w, t, g, &x, room, &better, err);
    if (!rc && better) {
        rc = mc_tensor_new(q->dtype, &q->shape, NULL, &t->made, &data, err);
        rc = rc ? rc : mc_dtype_from_f32(q->dtype, x.q, data, (size_t)mc_tensor_count(q), err);
    }
    free(room);
    free(x.w);
    free(x.q);
    free(x.scale);
    free(x.zero);
    return rc;
}

static void one(void *ctx, int64_t i, int worker)
{
    struct wave *w = ctx;
    struct target *t = &w->target[i];
    (void)worker;
    t->rc = mc_interrupt_check(&t->err);
    if (!t->rc)
        t->rc = round_target(w, t, &t->err);
}

/* ---- a wave: covariances that are gathered together ---- */

static int run_wave(struct wave *w, struct mc_quant_mend *mend, struct mc_err *err)
{
    struct mc_quant_repair *r = w->r;
    struct mc_cov_opts o = {.pool = r->ctx->pool, .spill = r->b->m->spill, .samples = w->samples};
    const struct mc_graph *g = w->job->built ? r->b->m->graph : r->before->graph;
    int rc = w->n ? mc_cov_gather(g, r->fit, w->la, w->cov, w->n_cov, &o, err) : 0;
    if (!rc)
        mc_pool_run(r->ctx->pool, (int64_t)w->n, one, w);
    for (size_t i = 0; i < w->n; i++) {
        struct target *t = &w->target[i];
        if (!rc && t->rc)
            rc = mc_fail(err, t->rc, "%s", t->err.msg);
        if (!rc && t->made) {
            rc = mc_quant_mend_put(mend, r->b->at[t->site].w[0].q, t->made, err);
            mend->result->layers++;
        }
        mc_tensor_unref(t->made);
    }
    for (size_t i = 0; i < w->n_cov; i++)
        mc_cov_release(&w->cov[i]);
    w->n = w->n_cov = 0;
    w->bytes = 0;
    return rc;
}

int mc_quant_repair_columns(struct mc_quant_repair *r, const struct mc_quant_columns_job *job,
                            struct mc_quant_repair_result *ret, struct mc_err *err)
{
    struct wave w = {.r = r, .job = job};
    struct mc_quant_mend mend;
    struct target t;
    int rc = mc_quant_mend_begin(&mend, r, job->name, ret, err);
    if (!rc)
        rc = mc_linalg_new_on(mc_pool_gpu(r->ctx->pool), &w.la, err);
    w.samples = count_samples(&w);
    for (size_t i = 0; !rc && i < r->sites->n; i++) {
        if (!find_target(&w, i, &t))
            continue;
        double more = (double)t.f.n * (double)t.f.n * (double)t.f.groups * 4;
        if (w.n && w.bytes + more > WAVE)
            rc = run_wave(&w, &mend, err);
        if (!rc)
            rc = add_target(&w, &t, err);
    }
    if (!rc)
        rc = run_wave(&w, &mend, err);
    for (size_t i = 0; i < w.n_cov; i++)
        mc_cov_release(&w.cov[i]);
    free(w.cov);
    free(w.target);
    mc_linalg_free(w.la);
    return mc_quant_mend_end(&mend, rc, err);
}
