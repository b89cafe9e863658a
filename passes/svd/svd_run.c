#include "passes/svd/svd_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "graph/edit.h"
#include "passes/svd/svd_norm.h"

double mc_svd_run_scale(struct mc_svd_run *r, size_t layer)
{
    double total = r->raw_total[layer];
    return total > 0 ? mc_svd_norm_worth(r, layer, total) / total : 0;
}

int mc_svd_run_total(struct mc_svd_run *r, size_t layer, double *ret, struct mc_err *err)
{
    struct mc_svd_norm norm;
    struct mc_svd_norm_hold hold = {0};
    int rc = 0;
    if (isnan(r->raw_total[layer])) {
        rc = mc_svd_norm_of(r, layer, &norm, &hold, err);
        if (!rc)
            rc =
                mc_svd_whole_error(r->la, &r->layers.item[layer], &norm, &r->raw_total[layer], err);
        mc_svd_norm_free(&hold);
    }
    if (!rc)
        *ret = mc_svd_norm_worth(r, layer, r->raw_total[layer]);
    return rc;
}

static void sweep(struct mc_model *m)
{
    mc_edit_sweep(m->graph);
    for (size_t i = 0; i < m->n_functions; i++)
        mc_edit_sweep(m->functions[i]->body);
}

/* Pairs whose product stays as it is, or all, are pairs again; nodes that nobody reads make way for the names of others. */
static int restore(const struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                   bool all, struct mc_err *err)
{
    if (!r->merges.n)
        return 0;
    bool *changed = mc_calloc(r->layers.n, sizeof *changed);
    int rc = changed ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && !all && i < r->n_items; i++)
        for (size_t k = 0; k < r->item[i].n_layers; k++)
            if (r->item[i].at && !r->item[i].reason)
                changed[r->item[i].layer[k]] = true;
    for (size_t i = 0; !rc && i < r->layers.n; i++)
        if (!changed[i])
            rc = mc_merge_undo(&r->merges, &r->layers, in_m, i, err);
    free(changed);
    if (!rc)
        sweep(m);
    return rc;
}

int mc_svd_run_build(struct mc_svd_run *r, bool sizes_only, struct mc_model **ret,
                     struct mc_err *err)
{
    struct mc_model *m;
    struct mc_layers same = {0};
    int rc = mc_model_clone(r->model, &m, err);
    if (rc)
        return rc;
    m->spill = r->model->spill;
    rc = mc_layers_collect(m, &same, err);
    if (!rc)
        rc = restore(r, m, &same, false, err);
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        const struct mc_svd_item *it = &r->item[i];
        if (it->at && !it->reason)
            rc = it->at->form->place(r, m, &same, it, it->at, it->point, sizes_only, err);
    }
    mc_layers_free(&same);
    if (rc) {
        mc_model_free(m);
        return rc;
    }
    sweep(m);
    *ret = m;
    return 0;
}

int mc_svd_run_bytes(struct mc_svd_run *r, uint64_t *ret, struct mc_err *err)
{
    struct mc_model *m;
    int rc = mc_svd_run_build(r, true, &m, err);
    if (rc)
        return rc;
    rc = r->ctx->bytes_of(r->ctx->host, m, ret, err);
    mc_model_free(m);
    return rc;
}

int mc_svd_run_leave(struct mc_svd_run *r, struct mc_err *err)
{
    return restore(r, r->model, &r->layers, true, err);
}

int mc_svd_run_apply(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = restore(r, r->model, &r->layers, false, err);
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        struct mc_svd_item *it = &r->item[i];
        if (!it->at || it->reason)
            continue;
        mc_progress_tell(r->ctx->progress, "factors", (double)i, (double)r->n_items);
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = it->at->form->place(r, r->model, &r->layers, it, it->at, it->point, false, err);
        for (size_t k = 0; k < it->n_curves; k++) {
            it->curve[k].form->release(it->curve[k].state);
            it->curve[k].state = NULL;
        }
    }
    if (rc)
        return rc;
    sweep(r->model);
    return r->ctx->bytes_of(r->ctx->host, r->model, &r->bytes_after, err);
}
