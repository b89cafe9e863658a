#include "passes/svd_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "graph/edit.h"
#include "passes/svd_norm.h"
#include "passes/svd_rewrite.h"

int mc_svd_run_analyse(struct mc_svd_run *r, size_t i, int64_t want, struct mc_err *err)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    struct mc_svd_spectrum *s = &r->spectrum[i];
    struct mc_svd_choice *c = &r->choice[i];
    struct mc_svd_norm norm;
    struct mc_svd_norm_hold hold = {0};
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_norm_of(r, i, &norm, &hold, err);
    if (!rc)
        rc = mc_svd_analyse(r->la, l, &norm, r->method, want, r->ctx->seed + i, r->model->spill, s,
                            err);
    mc_svd_norm_free(&hold);
    if (rc)
        return rc;
    if (r->ctx->dry_run) { /* ranks are all that is asked for */
        mc_tensor_unref(s->out);
        mc_tensor_unref(s->in);
        s->out = s->in = NULL;
    }
    c->tail = s->tail;
    c->known = s->known;
    c->weight = mc_svd_norm_worth(r, i, s->total);
    c->dense_bytes = mc_svd_dense_bytes(l);
    c->rank_bytes = mc_svd_rank_bytes(l);
    return 0;
}

static bool changes(const struct mc_svd_run *r, size_t i)
{
    return !r->layers.item[i].reason && r->choice[i].rank > 0;
}

/* Per site the mean, or what stands for it where only sizes count. */
static int shifts(const struct mc_svd_run *r, size_t i, const float ***ret, struct mc_err *err)
{
    const float **mean = mc_calloc(r->layers.item[i].n_sites, sizeof *mean);
    if (!mean)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t s = 0; s < r->layers.item[i].n_sites; s++)
        mean[s] = mc_svd_norm_mean(r, i, s);
    *ret = mean;
    return 0;
}

/* Rewrite a clone's layer with factors that have sizes and no content. */
static int place(const struct mc_svd_run *r, size_t i, struct mc_model *clone,
                 const struct mc_svd_layer *l, struct mc_err *err)
{
    const float **mean = NULL;
    int rc = shifts(r, i, &mean, err);
    if (rc)
        return rc;
    float *zeros = mc_calloc((size_t)l->m, sizeof *zeros);
    float **shift = mc_calloc(l->n_sites, sizeof *shift);
    if (!zeros || !shift)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t s = 0; !rc && s < l->n_sites; s++)
        shift[s] = mean[s] ? zeros : NULL;
    struct mc_svd_factors f = {.rank = r->choice[i].rank, .shift = shift};
    if (!rc)
        rc = mc_svd_rewrite(clone, l, &f, err);
    free(mean);
    free(shift);
    free(zeros);
    return rc;
}

static void sweep(struct mc_model *m)
{
    mc_edit_sweep(m->graph);
    for (size_t i = 0; i < m->n_functions; i++)
        mc_edit_sweep(m->functions[i]->body);
}

int mc_svd_run_bytes(struct mc_svd_run *r, uint64_t *ret, struct mc_err *err)
{
    struct mc_model *m;
    struct mc_svd_layers same = {0};
    int rc = mc_model_clone(r->model, &m, err);
    if (rc)
        return rc;
    m->spill = r->model->spill;
    rc = mc_svd_collect(m, &same, err);
    for (size_t i = 0; !rc && i < same.n; i++)
        if (changes(r, i))
            rc = place(r, i, m, &same.item[i], err);
    if (!rc) {
        sweep(m);
        rc = r->ctx->bytes_of(r->ctx->host, m, ret, err);
    }
    mc_svd_layers_free(&same);
    mc_model_free(m);
    return rc;
}

static int apply(struct mc_svd_run *r, size_t i, struct mc_err *err)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    int64_t rank = r->choice[i].rank;
    const float **mean = NULL;
    struct mc_svd_pair p;
    int rc = shifts(r, i, &mean, err);
    if (rc)
        return rc;
    rc = mc_svd_pair(r->la, l, &r->spectrum[i], rank, mean, &p, err);
    free(mean);
    if (rc)
        return rc;
    struct mc_svd_factors f = {.rank = rank, .lda = rank, .a = p.a, .b = p.b, .shift = p.shift};
    rc = mc_svd_rewrite(r->model, l, &f, err);
    mc_svd_pair_free(&p);
    mc_svd_spectrum_free(&r->spectrum[i]);
    return rc;
}

int mc_svd_run_apply(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        if (!changes(r, i))
            continue;
        mc_progress_tell(r->ctx->progress, "factors", (double)i, (double)r->layers.n);
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = apply(r, i, err);
    }
    if (rc)
        return rc;
    sweep(r->model);
    return r->ctx->bytes_of(r->ctx->host, r->model, &r->bytes_after, err);
}
