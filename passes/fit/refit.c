#include "passes/fit/refit.h"

#include <math.h>
#include <stdlib.h>

#include "base/threads.h"
#include "graph/constant.h"
#include "passes/fit/refit_rounds.h"
#include "passes/fit/refit_rows.h"
#include "passes/fit/refit_solve.h"

enum { BLOCK = 512 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting a product");
}

struct batch {
    struct mc_refit *f;
    struct mc_linalg *la;
    struct mc_refit_rows t;
    struct mc_rows is, should;
    int64_t first, samples, all, take;
};

/* ---- sums ---- */

static bool too_large(const struct mc_refit *f)
{
    double n = (double)f->n, m = (double)f->m;
    return f->most && !f->few && f->folds * (double)f->groups * n * (n + m) > (double)f->most;
}

static int begin_sums(const struct mc_refit *f, struct mc_refit_sums *s, struct mc_err *err)
{
    size_t n = (size_t)f->n, m = (size_t)f->m, g = (size_t)f->groups;
    s->t = mc_calloc(g, n * sizeof *s->t);
    s->e = mc_calloc(g, m * sizeof *s->e);
    s->square = mc_calloc(g, m * sizeof *s->square);
    if (!f->few) {
        s->second = mc_calloc(g * n, n * sizeof *s->second);
        s->cross = mc_calloc(g * m, n * sizeof *s->cross);
    }
    return s->t && s->e && s->square && (f->few || (s->second && s->cross)) ? 0 : no_memory(err);
}

static int begin_kept(struct mc_refit *f, const struct batch *b, struct mc_err *err)
{
    int64_t most = b->t.r.each ? ((b->all - 1) / f->folds + 1) * b->take : 0;
    int64_t m = f->m * f->groups, n = f->n * f->groups;
    if (!most || (double)f->folds * (double)most * (double)(n + 2 * m) > (double)f->keeps)
        return 0;
    f->few = f->groups == 1 && f->folds * most < n;
    for (int i = 0; i < f->folds; i++) {
        struct mc_refit_kept *k = &f->kept[i];
        k->most = most;
        k->t = mc_calloc((size_t)n, (size_t)most * sizeof *k->t);
        k->is = mc_calloc((size_t)m, (size_t)most * sizeof *k->is);
        k->should = mc_calloc((size_t)m, (size_t)most * sizeof *k->should);
        if (!k->t || !k->is || !k->should)
            return no_memory(err);
    }
    return 0;
}

static int begin(struct mc_refit *f, struct batch *b, struct mc_err *err)
{
    int64_t few = b->t.r.total < BLOCK ? b->t.r.total : BLOCK;
    float *row = mc_calloc((size_t)f->n, sizeof *row);
    f->shift = mc_calloc((size_t)f->groups, (size_t)f->n * sizeof *f->shift);
    int rc = f->shift && row ? begin_kept(f, b, err) : no_memory(err);
    if (!rc && too_large(f))
        rc = mc_fail(err, MC_EUNSUP, "%s '%s': its sums would take too much memory",
                     f->node->op_type, mc_node_label(f->node));
    for (int i = 0; !rc && i < f->folds; i++)
        rc = begin_sums(f, &f->sums[i], err);
    for (int64_t g = 0; !rc && f->bias && g < f->groups; g++)
        for (int64_t i = 0; i < few; i++) {
            mc_refit_rows_get(&b->t, g, i * (b->t.r.total / few), row);
            for (int64_t j = 0; j < f->n; j++)
                f->shift[g * f->n + j] += row[j] / (float)few;
        }
    free(row);
    return rc;
}

struct piece { /* a group's rows of a fold */
    struct batch *b;
    struct mc_refit_sums *s;
    const struct mc_refit_kept *kept;
    struct mc_refit_rows t;
    int64_t group, every, begin;
    float *rows, *is, *should; /* of the block that is worked on */
};

/* k rows from number i of the fold on. */
static void fill(const struct piece *p, int64_t i, int64_t k)
{
    const struct batch *b = p->b;
    struct mc_refit *f = b->f;
    struct mc_refit_rows t = p->t;
    const float *shift = f->shift + p->group * f->n;
    double *sum_t = p->s->t + p->group * f->n;
    int64_t each = t.r.each ? t.r.each : t.r.total;
    float *row = p->rows;
    for (int64_t r = 0; r < k; r++, row += f->n) {
        int64_t s = p->begin + (i + r) / b->take * p->every;
        int64_t at = s * each + mc_rows_spread(each, b->take, (i + r) % b->take, b->first + s);
        mc_refit_rows_get(&t, p->group, at, row);
        mc_refit_rows_result(f, &b->should, p->group, at, p->should + r * f->m);
        mc_refit_rows_result(f, &b->is, p->group, at, p->is + r * f->m);
        for (int64_t j = 0; j < f->n; j++)
            sum_t[j] += row[j] -= shift[j];
    }
}

static int add_rows(struct piece *p, int64_t rows, struct mc_err *err)
{
    struct mc_refit *f = p->b->f;
    int64_t most = rows < BLOCK ? rows : BLOCK, n = f->n, m = f->m;
    const struct mc_refit_kept *kept = p->kept;
    int64_t place = kept->t ? p->group * kept->most + p->s->rows : 0;
    float *own = NULL, *e = mc_calloc((size_t)most, (size_t)m * sizeof *e);
    if (!kept->t)
        own = mc_calloc((size_t)most, (size_t)(n + 2 * m) * sizeof *own);
    int rc = e && (own || kept->t) ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < rows; i += BLOCK) {
        int64_t k = rows - i < BLOCK ? rows - i : BLOCK;
        p->rows = own ? own : kept->t + (place + i) * n;
        p->is = own ? own + most * n : kept->is + (place + i) * m;
        p->should = own ? own + most * (n + m) : kept->should + (place + i) * m;
        fill(p, i, k);
        if (!f->few)
            rc = mc_linalg_syrk(p->b->la, n, k, 1, p->rows, n, 1, p->s->second + p->group * n * n,
                                n, err);
        if (!rc)
            rc = mc_refit_lacks(f, p->b->la, p->s, p->group, false, k, p->rows, p->is, p->should, e,
                                err);
    }
    free(own);
    free(e);
    return rc;
}

struct pieces {
    struct batch *b;
    int *rc;
    struct mc_err *errs;
};

/* Rows of a fold in this batch; *ret_begin: its first sample. */
static int64_t fold_rows(const struct batch *b, int fold, int64_t *ret_begin)
{
    int folds = b->t.r.each ? b->f->folds : 1; /* without a batch axis no half can be held back */
    *ret_begin = folds > 1 ? ((fold - b->first) % folds + folds) % folds : 0;
    if (fold >= folds)
        return 0;
    int64_t all = b->t.r.each ? b->samples : 1;
    int64_t rows = all > *ret_begin ? ((all - *ret_begin - 1) / folds + 1) * b->take : 0;
    int64_t room = b->f->kept[fold].most - b->f->sums[fold].rows;
    /* samples that differ in shape can be more than was planned for */
    return b->f->kept[fold].t && rows > room ? room : rows;
}

static void one(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct pieces *p = ctx;
    struct batch *b = p->b;
    int fold = (int)(i / b->f->groups);
    struct piece q = {.b = b,
                      .s = &b->f->sums[fold],
                      .kept = &b->f->kept[fold],
                      .t = b->t,
                      .group = i % b->f->groups,
                      .every = b->f->folds};
    int64_t rows = fold_rows(b, fold, &q.begin);
    p->rc[i] = rows > 0 ? add_rows(&q, rows, &p->errs[i]) : 0;
}

static int add_all(struct batch *b, struct mc_pool *pool, struct mc_err *err)
{
    struct mc_refit *f = b->f;
    size_t n = (size_t)(f->folds * f->groups);
    struct pieces p = {b, mc_calloc(n, sizeof *p.rc), mc_calloc(n, sizeof *p.errs)};
    int rc = p.rc && p.errs ? 0 : no_memory(err);
    if (!rc)
        mc_pool_run(pool, (int64_t)n, one, &p);
    for (size_t i = 0; !rc && i < n; i++)
        if (p.rc[i])
            rc = mc_fail(err, p.rc[i], "%s", p.errs[i].msg);
    for (int i = 0; !rc && i < f->folds; i++) {
        int64_t from;
        f->sums[i].rows += fold_rows(b, i, &from);
    }
    free(p.rc);
    free(p.errs);
    return rc;
}

int mc_refit_add(struct mc_refit *f, struct mc_linalg *la, struct mc_pool *pool,
                 const struct mc_array *t, const struct mc_array *is, const struct mc_array *should,
                 int64_t first, int64_t samples, int64_t all, struct mc_err *err)
{
    struct batch b = {.f = f, .la = la, .first = first, .samples = samples, .all = all};
    int rc = mc_refit_rows_in(f, t, samples, &b.t, err);
    if (!rc)
        rc = mc_refit_rows_out(f, is, b.t.r.total, &b.is, err);
    if (!rc)
        rc = mc_refit_rows_out(f, should, b.t.r.total, &b.should, err);
    if (!rc && b.t.r.total > 0) {
        b.take = mc_rows_take(&b.t.r, all);
        rc = f->shift ? 0 : begin(f, &b, err);
        if (!rc)
            rc = add_all(&b, pool, err);
    }
    free(b.t.r.own);
    free(b.is.own);
    free(b.should.own);
    return rc;
}

/* ---- the result ---- */

static int replace(struct mc_value *v, const float *x, struct mc_spill *spill, struct mc_err *err)
{
    const struct mc_tensor *old = mc_constant(v);
    struct mc_tensor *t;
    int rc = mc_constant_make(x, &old->shape, old->dtype, spill, &t, err);
    if (rc)
        return rc;
    rc = mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

/* What a slope this small gives back is no news of the product. */
static float by(const float *slope, int64_t i)
{
    return !slope ? 1 : fabsf(slope[i]) > 1e-6F ? 1 / slope[i] : 0;
}

/* Drops what it has added: large weights are many times there otherwise. */
static int put(struct mc_refit *f, struct mc_refit_answer *answer, struct mc_spill *spill,
               struct mc_err *err)
{
    float *a = NULL, *b = NULL;
    int64_t count;
    int rc = mc_constant_f32(f->weight, &a, &count, err);
    if (!rc && f->bias)
        rc = mc_constant_f32(f->bias, &b, &count, err);
    for (int64_t g = 0; !rc && g < f->groups; g++)
        for (int64_t i = 0; i < f->m; i++) {
            const float *row = answer->d + (g * f->m + i) * f->n;
            float *at = a + g * f->at_group + i * f->at_m, scale = by(f->slope, g * f->m + i);
            for (int64_t j = 0; j < f->n; j++)
                at[j / f->taps * f->at_n + j % f->taps] += scale * row[j];
            if (b)
                b[g * f->m + i] +=
                    (float)answer->more[g * f->m + i] * by(f->slope_bias, g * f->m + i);
        }
    free(answer->d);
    answer->d = NULL;
    if (!rc)
        rc = replace(f->weight, a, spill, err);
    if (!rc && b)
        rc = replace(f->bias, b, spill, err);
    free(a);
    free(b);
    return rc;
}

int mc_refit_solve(struct mc_refit *f, struct mc_linalg *la, struct mc_spill *spill,
                   bool *ret_better, struct mc_err *err)
{
    struct mc_refit_answer a = {0};
    int rc = mc_refit_answer(f, la, &a, err);
    if (!rc && a.better && f->clipped && f->kept[0].t)
        rc = mc_refit_rounds(f, la, &a, err);
    if (!rc && a.better)
        rc = put(f, &a, spill, err);
    if (!rc && ret_better)
        *ret_better = a.better;
    free(a.d);
    free(a.more);
    return rc;
}

void mc_refit_release(struct mc_refit *f)
{
    for (int i = 0; i < MC_REFIT_FOLDS; i++) {
        free(f->sums[i].t);
        free(f->sums[i].e);
        free(f->sums[i].square);
        free(f->sums[i].second);
        free(f->sums[i].cross);
        free(f->kept[i].t);
        free(f->kept[i].is);
        free(f->kept[i].should);
    }
    free(f->shift);
    free(f->slope);
    free(f->slope_bias);
    *f = (struct mc_refit){0};
}
