#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "graph/constant.h"
#include "graph/run/observe.h"
#include "graph/summary.h"
#include "passes/circulant/circulant_hidden.h"
#include "passes/circulant/circulant_order.h"
#include "passes/circulant/circulant_run.h"
#include "passes/circulant/circulant_local.h"
#include "passes/svd/svd_rewrite.h"

/* Multiply-accumulates of all runs together: some seconds. */
static const double WORK = 2e12;
/* Of both models for a sample, where it is not known. */
static const double UNKNOWN_WORK = 1e9;
/* Floats for ordering units, which takes time as well: of the reference mlp's layers, blocks up to 32, and up to 8 while a
 * search tries many. */
static const double ORDER = 0x1p24, ORDER_TRIAL = 0x1p22;
enum { FEW = 32 }; /* samples that say too little */

struct sequence {
    struct mc_circulant_run *r;
    struct mc_model *before; /* hidden units in the order of the model that is changed */
    struct mc_layers was;    /* its layers */
    struct mc_refit at;
    double ridge;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting circulant blocks");
}

/* ---- sums over the samples ---- */

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct sequence *s = ctx;
    int rc = mc_refit_add(&s->at, s->r->la, s->r->ctx->pool, values[0], values[1], values[2], first,
                          b->n, s->r->samples, err);
    if (rc != MC_EDATA)
        return rc;
    return mc_fail(err, rc,
                   "%s '%s': what it reads or gives is NaN or infinite for one of the calibration "
                   "samples %lld to %lld",
                   s->at.node->op_type, mc_node_label(s->at.node), (long long)first,
                   (long long)(first + b->n - 1));
}

/* Run both models up to the layer's output `name`; s->at has its sums then. */
static int gather(struct sequence *s, const char *name, struct mc_err *err)
{
    const char *const have[] = {s->at.x->name, name};
    struct mc_observed of[] = {{s->r->model->graph, have, 2}, {s->before->graph, &name, 1}};
    struct mc_observe_opts o = {.pool = s->r->ctx->pool, .count = s->r->samples};
    return mc_observe_all(of, 2, s->r->ctx->calib, &o, batch, s, NULL, err);
}

/* ---- order of hidden units ---- */

/* What the list knows of weights after they moved. */
static void refresh(struct mc_layers *l)
{
    for (size_t i = 0; i < l->n; i++)
        l->item[i].weight = mc_constant(l->item[i].value);
}

static int order_units(struct sequence *s, size_t i, struct mc_circulant_target *t,
                       struct mc_err *err)
{
    struct mc_circulant_item *it = &s->r->item[i];
    struct mc_circulant_hidden here = {0}, there = {0};
    bool free_here, free_there = false, large;
    double before, after;
    int64_t *order = NULL;
    int rc = mc_circulant_hidden_find(&s->r->layers.item[i], &here, &free_here, err);
    if (!rc && free_here)
        rc = mc_circulant_hidden_find(&s->was.item[i], &there, &free_there, err);
    if (!rc && free_there && !(order = mc_calloc((size_t)t->m, sizeof *order)))
        rc = no_memory(err);
    if (!rc && order)
        rc = mc_circulant_order(&it->form, s->r->la, t->second, t->cross, s->ridge,
                                s->r->trial ? ORDER_TRIAL : ORDER, order, &before, &after, &large,
                                err);
    if (!rc && order && after > before) {
        rc = mc_circulant_hidden_apply(&here, order, err);
        if (!rc)
            rc = mc_circulant_hidden_apply(&there, order, err);
        if (!rc)
            rc = mc_circulant_target_rows(t, order, err);
        refresh(&s->r->layers);
        refresh(&s->was);
        it->ordered = !rc;
    }
    free(order);
    mc_circulant_hidden_free(&here);
    mc_circulant_hidden_free(&there);
    return rc;
}

/* ---- one layer ---- */

/* Put the matrix [m,n] where the layer has its own. */
static int put_weight(struct mc_circulant_run *r, struct mc_layer *l, const float *w,
                      struct mc_err *err)
{
    struct mc_tensor *t;
    float *turned = l->out_major ? NULL : mc_calloc((size_t)l->m, (size_t)l->n * sizeof *turned);
    if (!l->out_major && !turned)
        return no_memory(err);
    for (int64_t i = 0; turned && i < l->m; i++)
        for (int64_t j = 0; j < l->n; j++)
            turned[j * l->m + i] = w[i * l->n + j];
    int rc = mc_constant_make(turned ? turned : w, &l->weight->shape, l->weight->dtype,
                              r->model->spill, &t, err);
    free(turned);
    if (rc)
        return rc;
    rc = mc_constant_replace(l->value, t, err);
    mc_tensor_unref(t);
    l->weight = mc_constant(l->value);
    return rc;
}

/* Dense weights from col, inputs in the order of the model. */
static int put_blocks(struct mc_circulant_run *r, size_t i, float *w, struct mc_err *err)
{
    const struct mc_circulant_item *it = &r->item[i];
    struct mc_layer *l = &r->layers.item[i];
    mc_circulant_form_dense(&it->form, it->col, w);
    float *row = it->gather ? mc_calloc((size_t)l->n, sizeof *row) : NULL;
    if (it->gather && !row)
        return no_memory(err);
    for (int64_t k = 0; row && k < l->m; k++) {
        for (int64_t j = 0; j < l->n; j++)
            row[it->gather[j]] = w[k * l->n + j];
        memcpy(w + k * l->n, row, (size_t)l->n * sizeof *row);
    }
    free(row);
    return put_weight(r, l, w, err);
}

/* Nothing is known of its inputs: the nearest matrix. */
static int project(struct mc_circulant_run *r, size_t i, struct mc_err *err)
{
    struct mc_circulant_item *it = &r->item[i];
    float *w;
    int rc = mc_layer_read(&r->layers.item[i], &w, err);
    if (rc)
        return rc;
    mc_circulant_form_nearest(&it->form, w, it->col);
    it->error = sqrt(fmax(0, 1 - it->energy));
    rc = put_blocks(r, i, w, err);
    free(w);
    return rc;
}

/* The bias takes over what the mean output lacks. */
static int put_bias(struct sequence *s, size_t i, const struct mc_circulant_target *t,
                    struct mc_err *err)
{
    const struct mc_layer *l = &s->r->layers.item[i];
    float *shift = mc_calloc((size_t)t->m, sizeof *shift), *w = NULL;
    int rc = shift ? mc_layer_read(l, &w, err) : no_memory(err);
    const int64_t *gather = s->r->item[i].gather;
    for (int64_t k = 0; !rc && k < t->m; k++) {
        double sum = t->mean_lack[k];
        for (int64_t j = 0; j < t->n; j++)
            sum += ((double)t->w[k * t->n + j] - w[k * t->n + (gather ? gather[j] : j)]) *
                   t->mean_x[j];
        shift[k] = (float)sum;
    }
    if (!rc)
        rc = mc_svd_shift_site(s->r->model, l, &l->sites[0], shift, err);
    free(shift);
    free(w);
    return rc;
}

static int fit_sums(struct sequence *s, size_t i, struct mc_err *err)
{
    struct mc_circulant_item *it = &s->r->item[i];
    struct mc_layer *l = &s->r->layers.item[i];
    struct mc_circulant_target t = {.m = l->m, .n = l->n};
    double kept;
    float *w = mc_calloc((size_t)l->m, (size_t)l->n * sizeof *w);
    int rc = w ? mc_layer_read(l, &t.w, err) : no_memory(err);
    /* rotations of a row are as many rows */
    s->ridge = mc_refit_ridge(l->n, s->at.sums[0].rows * it->form.b);
    if (!rc)
        rc = mc_circulant_target_make(&s->at, s->r->la, &t, err);
    if (!rc)
        rc = mc_circulant_fit_inputs(s->r->la, &it->form, s->r->ctx->seed + i, &t, s->ridge, true,
                                     &it->gather, it->col, &kept, err);
    if (!rc)
        rc = order_units(s, i, &t, err);
    if (!rc)
        rc = mc_circulant_form_fit(&it->form, s->r->la, t.second, t.cross, s->ridge, it->col, &kept,
                                   err);
    if (!rc)
        rc = put_blocks(s->r, i, w, err);
    if (!rc && s->at.bias)
        rc = put_bias(s, i, &t, err);
    if (!rc) {
        it->error = t.total > 0 ? sqrt(fmax(0, t.total - kept) / t.total) : 0;
        it->fitted = true;
    }
    mc_circulant_target_free(&t);
    free(w);
    return rc;
}

/* Is there a product at the end of y that rows can be gathered for? */
static bool can_fit(struct sequence *s, size_t i, const char **ret_name)
{
    const struct mc_layer *l = &s->r->layers.item[i];
    const struct mc_layer_site *site = &l->sites[0];
    if (!s->r->samples || l->n_sites != 1 || site->node->graph != s->r->model->graph)
        return false;
    struct mc_value *y = (site->add ? site->add : site->node)->out[0];
    if (!y || !mc_graph_value(s->before->graph, y->name) || !mc_refit_find(y, &s->at) ||
        s->at.groups != 1 || s->at.columns || mc_node_is(s->at.node, "ConvTranspose"))
        return false;
    *ret_name = y->name;
    return true;
}

static int convert(struct sequence *s, size_t i, struct mc_err *err)
{
    struct mc_circulant_run *r = s->r;
    const char *name;
    float *w;
    int64_t count = mc_circulant_form_count(&r->item[i].form);
    r->item[i].col = mc_calloc((size_t)count, sizeof *r->item[i].col);
    if (!r->item[i].col)
        return no_memory(err);
    int rc = mc_layer_read(&r->layers.item[i], &w, err);
    if (rc)
        return rc;
    mc_circulant_form_nearest(&r->item[i].form, w, r->item[i].col);
    r->item[i].energy = mc_circulant_form_energy(&r->item[i].form, w, r->item[i].col);
    free(w);
    if (!can_fit(s, i, &name)) {
        mc_refit_release(&s->at);
        return project(r, i, err);
    }
    rc = gather(s, name, err);
    if (!rc)
        rc = fit_sums(s, i, err);
    mc_refit_release(&s->at);
    return rc;
}

/* ---- all ---- */

/* What stays dense behind a layer that changed. */
static int refit(struct sequence *s, size_t i, struct mc_err *err)
{
    const char *name;
    bool better = false;
    if (!can_fit(s, i, &name)) {
        mc_refit_release(&s->at);
        return 0;
    }
    s->at.folds = MC_REFIT_FOLDS;
    int rc = gather(s, name, err);
    if (!rc)
        rc = mc_refit_solve(&s->at, s->r->la, s->r->model->spill, &better, err);
    mc_refit_release(&s->at);
    s->r->layers.item[i].weight = mc_constant(s->r->layers.item[i].value);
    s->r->refitted += !rc && better;
    return rc == MC_ENOMEM || rc == MC_EINTR ? rc : 0;
}

int mc_circulant_samples(struct mc_circulant_run *r, double work, int64_t *ret, struct mc_err *err)
{
    struct mc_summary sum;
    *ret = 0;
    if (!r->ctx->calib || !r->refits)
        return 0;
    int rc = mc_summary(r->model, &sum, err);
    if (rc)
        return rc;
    /* both models, up to the middle on average */
    double run = (sum.macs > 0 ? sum.macs : UNKNOWN_WORK) * (double)r->layers.n;
    double most = fmin((double)r->ctx->calib_count, work / run);
    *ret = most < FEW && most < (double)r->ctx->calib_count ? 0 : (int64_t)most;
    return 0;
}

int mc_circulant_sequence(struct mc_circulant_run *r, struct mc_err *err)
{
    struct sequence s = {.r = r};
    bool any = false;
    int rc = mc_circulant_samples(r, r->trial ? r->trial_work : WORK, &r->samples, err);
    if (!rc)
        rc = mc_model_clone(r->model, &s.before, err);
    if (!rc)
        rc = mc_layers_collect(s.before, &s.was, err);
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        bool chosen = !r->item[i].reason && r->item[i].form.b > 1;
        if (!r->trial)
            mc_progress_tell(r->ctx->progress, "blocks", (double)i, (double)r->layers.n);
        rc = mc_interrupt_check(err);
        if (!rc && chosen)
            rc = convert(&s, i, err);
        else if (!rc && any && !r->trial)
            rc = refit(&s, i, err);
        any = any || chosen;
    }
    mc_layers_free(&s.was);
    mc_model_free(s.before);
    return rc;
}
