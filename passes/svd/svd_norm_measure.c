#include "passes/svd/svd_norm.h"

#include <stdlib.h>

/* Multiply-accumulates for the influence of all layers together: some seconds. */
static const double INFLUENCE_WORK = 4e11;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

bool mc_svd_norm_measurable(const struct mc_svd_run *r, size_t i)
{
    const struct mc_layer *l = &r->layers.item[i];
    return !l->reason && l->sites[0].node->graph == r->model->graph;
}

static const struct mc_graph *measured_graph(const struct mc_svd_run *r)
{
    return r->probe.model ? r->probe.model->graph : r->model->graph;
}

/* The value of that name in the graph that is measured. */
static const struct mc_value *measured(const struct mc_svd_run *r, const struct mc_value *v)
{
    return r->probe.model ? mc_graph_value(r->probe.model->graph, v->name) : v;
}

static struct mc_cov cov_of(const struct mc_svd_run *r, const struct mc_layer *l,
                            const struct mc_layer_site *s)
{
    const struct mc_value *x = l->kind == MC_LAYER_RECURRENT ? r->probe.states[s->node->id]
                                                             : measured(r, mc_layer_input(l, s));
    bool several =
        l->kind == MC_LAYER_RECURRENT || (l->kind == MC_LAYER_CONV && l->parts > 1); /* inputs */
    return (struct mc_cov){.node = s->node,
                           .x = x,
                           .n = l->n,
                           .columns = l->kind == MC_LAYER_LEFT,
                           .one_hot = l->kind == MC_LAYER_TABLE,
                           .parts = several ? (int)l->parts : 0};
}

/* Sites with one input share its statistics, except convolutions, whose windows may differ. */
static bool same_cov(const struct mc_cov *a, const struct mc_cov *b)
{
    return a->x == b->x && a->n == b->n && a->columns == b->columns && a->one_hot == b->one_hot &&
           a->parts == b->parts && !mc_node_is(a->node, "Conv") && !mc_node_is(b->node, "Conv");
}

/* Those of a layer's parts follow each other. */
static int find_cov(struct mc_svd_run *r, struct mc_cov cov, int *ret, struct mc_err *err)
{
    for (size_t k = 0; k < r->n_covs; k++)
        if (same_cov(&r->covs[k], &cov) && r->covs[k].part == 0) {
            *ret = (int)k;
            return 0;
        }
    *ret = (int)r->n_covs;
    int parts = cov.parts ? cov.parts : 1;
    for (cov.part = 0; cov.part < parts; cov.part++) {
        if (!MC_GROW(r->covs, r->n_covs, r->cap_covs))
            return no_memory(err);
        r->covs[r->n_covs++] = cov;
    }
    return 0;
}

static int find_covs(struct mc_svd_run *r, struct mc_err *err)
{
    for (size_t i = 0; i < r->layers.n; i++) {
        struct mc_layer *l = &r->layers.item[i];
        for (size_t s = 0; mc_svd_norm_measurable(r, i) && s < l->n_sites; s++) {
            int rc = find_cov(r, cov_of(r, l, &l->sites[s]), &l->sites[s].cov, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int measure_inputs(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = find_covs(r, err);
    struct mc_cov_opts o = {.pool = r->ctx->pool,
                            .progress = r->ctx->progress,
                            .spill = r->model->spill,
                            .samples = r->ctx->calib_count};
    return rc ? rc
              : mc_cov_gather(measured_graph(r), r->ctx->calib, r->la, r->covs, r->n_covs, &o, err);
}

/* What an error of the site adds to: for a cell the sum in front of its gates. NULL where that cannot be seen. */
static struct mc_influence influence_of(const struct mc_svd_run *r, const struct mc_layer *l,
                                        const struct mc_layer_site *s)
{
    bool cell = l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT;
    bool rows = l->kind == MC_LAYER_LEFT && s->y_rank != 1;
    struct mc_influence inf = {.axis = l->kind == MC_LAYER_CONV ? 1
                                       : rows                   ? s->y_rank - 2
                                                                : -1,
                               .m = l->m};
    if (!rows || s->y_rank > 1)
        inf.y = cell ? r->probe.sums[s->node->id] : measured(r, s->node->out[0]);
    return inf;
}

static int list_influences(struct mc_svd_run *r, struct mc_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < r->layers.n; i++)
        n += mc_svd_norm_measurable(r, i) ? r->layers.item[i].n_sites : 0;
    r->influence = mc_calloc(n, sizeof *r->influence);
    r->influence_of = mc_calloc(r->layers.n, sizeof *r->influence_of);
    if (!r->influence || !r->influence_of)
        return no_memory(err);
    for (size_t i = 0; i < r->layers.n; i++) {
        const struct mc_layer *l = &r->layers.item[i];
        r->influence_of[i] = r->n_influences;
        for (size_t s = 0; mc_svd_norm_measurable(r, i) && s < l->n_sites; s++)
            r->influence[r->n_influences++] = influence_of(r, l, &l->sites[s]);
    }
    return 0;
}

/* One of several with the same value is measured for all. Of those that cannot be seen the mean is a guess. */
static void share_influences(struct mc_svd_run *r, const struct mc_influence *one, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += one[k].mean;
    for (size_t i = 0; i < r->n_influences; i++) {
        struct mc_influence *to = &r->influence[i];
        size_t k = 0;
        while (k < n && (one[k].y != to->y || one[k].axis != to->axis))
            k++;
        if (k < n) {
            *to = one[k];
            if (to->cost)
                mc_tensor_ref(to->cost);
        } else {
            to->mean = n ? sum / (double)n : 1;
        }
    }
}

static int measure_outputs(struct mc_svd_run *r, struct mc_err *err)
{
    int rc = list_influences(r, err);
    if (rc)
        return rc;
    size_t n = 0;
    struct mc_influence *one = mc_calloc(r->n_influences, sizeof *one);
    if (!one)
        return no_memory(err);
    for (size_t i = 0; i < r->n_influences; i++) {
        bool seen = !r->influence[i].y;
        for (size_t k = 0; k < n && !seen; k++)
            seen = one[k].y == r->influence[i].y && one[k].axis == r->influence[i].axis;
        if (!seen)
            one[n++] = r->influence[i];
    }
    struct mc_influence_opts o = {.pool = r->ctx->pool,
                                  .progress = r->ctx->progress,
                                  .spill = r->model->spill,
                                  .samples = r->ctx->calib_count,
                                  .seed = r->ctx->seed,
                                  .work = INFLUENCE_WORK / (double)(n ? n : 1)};
    rc = mc_influence_measure(r->probe.model ? r->probe.model : r->model, r->ctx->calib, r->la, one,
                              n, &o, err);
    if (!rc)
        share_influences(r, one, n);
    for (size_t k = 0; k < n; k++)
        mc_tensor_unref(one[k].cost);
    free(one);
    return rc;
}

static void release_influences(struct mc_svd_run *r)
{
    for (size_t k = 0; k < r->n_influences; k++)
        mc_tensor_unref(r->influence[k].cost);
    free(r->influence);
    free(r->influence_of);
    r->influence = NULL;
    r->influence_of = NULL;
    r->n_influences = 0;
}

/* No output that counts in numbers depends on any layer: nothing to tell them apart by. */
static bool no_influence(const struct mc_svd_run *r)
{
    double sum = 0;
    for (size_t k = 0; k < r->n_influences; k++)
        sum += r->influence[k].mean;
    return !(sum > 0);
}

int mc_svd_norm_measure(struct mc_svd_run *r, struct mc_err *err)
{
    bool automatic = r->norm_kind == MC_SVD_NORM_AUTO;
    if (automatic)
        r->norm_kind = r->ctx->calib ? MC_SVD_NORM_OUTPUTS : MC_SVD_NORM_WEIGHTS;
    if (r->norm_kind == MC_SVD_NORM_WEIGHTS)
        return 0;
    int rc = mc_svd_probe_make(r->model, &r->layers, r->norm_kind == MC_SVD_NORM_OUTPUTS, &r->probe,
                               err);
    if (!rc)
        rc = measure_inputs(r, err);
    if (rc == MC_EUNSUP)
        return mc_fail(err, rc, "%s; without --calib its weights can be factorised", err->msg);
    if (rc || r->norm_kind == MC_SVD_NORM_INPUTS)
        return rc;
    rc = measure_outputs(r, err);
    /* What cannot run may lie behind the last layer only. */
    if ((rc == MC_EUNSUP && automatic) || (!rc && no_influence(r))) {
        release_influences(r);
        r->norm_kind = MC_SVD_NORM_INPUTS;
        rc = 0;
    }
    return rc;
}

void mc_svd_norm_release(struct mc_svd_run *r)
{
    for (size_t k = 0; k < r->n_covs; k++)
        mc_cov_release(&r->covs[k]);
    free(r->covs);
    release_influences(r);
    mc_svd_probe_free(&r->probe);
}
