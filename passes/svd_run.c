#include "passes/svd_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "graph/edit.h"
#include "passes/svd_rewrite.h"

int mc_svd_run_analyse(struct mc_svd_run *r, size_t i, int64_t want, struct mc_err *err)
{
    const struct mc_svd_layer *l = &r->layers.item[i];
    struct mc_svd_spectrum *s = &r->spectrum[i];
    struct mc_svd_choice *c = &r->choice[i];
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_analyse(r->la, l, &(struct mc_svd_norm){0}, r->method, want, r->ctx->seed + i,
                            r->model->spill, s, err);
    if (rc)
        return rc;
    if (r->ctx->dry_run) { /* ranks are all that is asked for */
        mc_tensor_unref(s->out);
        mc_tensor_unref(s->in);
        s->out = s->in = NULL;
    }
    c->tail = s->tail;
    c->known = s->known;
    c->weight = 1;
    c->dense_bytes = mc_svd_dense_bytes(l);
    c->rank_bytes = mc_svd_rank_bytes(l);
    return 0;
}

static bool changes(const struct mc_svd_run *r, size_t i)
{
    return !r->layers.item[i].reason && r->choice[i].rank > 0;
}

/* A clone is rewritten with factors that have sizes and no content. */
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
            rc = mc_svd_rewrite(m, &same.item[i],
                                &(struct mc_svd_factors){.rank = r->choice[i].rank}, err);
    if (!rc) {
        mc_edit_sweep(m->graph);
        rc = r->ctx->bytes_of(r->ctx->host, m, ret, err);
    }
    mc_svd_layers_free(&same);
    mc_model_free(m);
    return rc;
}

int mc_svd_run_apply(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        if (!changes(r, i))
            continue;
        mc_progress_tell(r->ctx->progress, "factors", (double)i, (double)r->layers.n);
        struct mc_svd_pair p;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_svd_pair(r->la, &r->layers.item[i], &r->spectrum[i], r->choice[i].rank, NULL,
                             &p, err);
        if (rc)
            break;
        struct mc_svd_factors f = {.rank = r->choice[i].rank,
                                   .lda = r->choice[i].rank,
                                   .a = p.a,
                                   .b = p.b,
                                   .shift = p.shift};
        rc = mc_svd_rewrite(r->model, &r->layers.item[i], &f, err);
        mc_svd_pair_free(&p);
    }
    if (rc)
        return rc;
    mc_edit_sweep(r->model->graph);
    return r->ctx->bytes_of(r->ctx->host, r->model, &r->bytes_after, err);
}
