#include "passes/svd/svd_stack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/svd/svd_norm.h"

static int stack_weights(struct mc_svd_run *r, const struct mc_svd_item *it, struct mc_svd_stack *s,
                         struct mc_err *err)
{
    struct mc_layer *l = &s->layer;
    const struct mc_layer *first = &r->layers.item[it->layer[0]];
    *l = (struct mc_layer){.kind = MC_LAYER_MATMUL,
                           .out_major = true,
                           .value = first->value,
                           .n = first->n,
                           .parts = 1,
                           .sites = &s->site,
                           .n_sites = 1};
    s->site = first->sites[0];
    for (size_t k = 0; k < it->n_layers; k++)
        l->m += r->layers.item[it->layer[k]].m;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){l->m, l->n});
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, r->model->spill, &s->weight, &data, err);
    if (rc)
        return rc;
    l->weight = s->weight;
    float *to = data;
    for (size_t k = 0; !rc && k < it->n_layers; k++) {
        const struct mc_layer *one = &r->layers.item[it->layer[k]];
        float *w;
        rc = mc_layer_read(one, &w, err);
        if (rc)
            break;
        memcpy(to, w, (size_t)(one->m * one->n) * sizeof *w);
        to += one->m * one->n;
        free(w);
    }
    return rc;
}

/* Inputs are one value, but a layer that has no bias for the mean error counts it: then all do. */
static int shared_input(struct mc_svd_run *r, const struct mc_svd_item *it, struct mc_svd_stack *s,
                        struct mc_err *err)
{
    size_t by = it->layer[0];
    for (size_t k = 0; k < it->n_layers; k++)
        if (!mc_svd_norm_mean(r, it->layer[k], 0))
            by = it->layer[k];
    int rc = mc_svd_norm_of(r, by, &s->norm, &s->hold, err);
    mc_tensor_unref(s->hold.out);
    s->hold.out = NULL;
    s->norm.out = NULL;
    return rc;
}

/* L of each layer, times the root of its scale, on the diagonal. */
static int diagonal(struct mc_svd_run *r, const struct mc_svd_item *it, struct mc_svd_stack *s,
                    struct mc_err *err)
{
    int64_t m = s->layer.m, first = 0;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){m, m});
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, r->model->spill, &s->out, &data, err);
    for (size_t k = 0; !rc && k < it->n_layers; k++) {
        const struct mc_layer *l = &r->layers.item[it->layer[k]];
        struct mc_svd_norm norm;
        struct mc_svd_norm_hold hold;
        double total;
        rc = mc_svd_run_total(r, it->layer[k], &total, err);
        if (!rc)
            rc = mc_svd_norm_of(r, it->layer[k], &norm, &hold, err);
        if (rc)
            break;
        float scale = (float)sqrt(fmax(mc_svd_run_scale(r, it->layer[k]), 1e-30));
        float *to = (float *)data + first * m + first;
        for (int64_t i = 0; i < l->m; i++)
            for (int64_t j = 0; j <= i; j++)
                to[i * m + j] = norm.out ? scale * norm.out[i * l->m + j] : i == j ? scale : 0;
        mc_svd_norm_free(&hold);
        first += l->m;
    }
    s->norm.out = rc ? NULL : data;
    return rc;
}

int mc_svd_stack_make(struct mc_svd_run *r, const struct mc_svd_item *it, struct mc_svd_stack *ret,
                      struct mc_err *err)
{
    *ret = (struct mc_svd_stack){0};
    int rc = stack_weights(r, it, ret, err);
    if (!rc)
        rc = shared_input(r, it, ret, err);
    if (!rc)
        rc = diagonal(r, it, ret, err);
    if (rc)
        mc_svd_stack_free(ret);
    return rc;
}

void mc_svd_stack_free(struct mc_svd_stack *s)
{
    mc_tensor_unref(s->weight);
    mc_tensor_unref(s->out);
    mc_svd_norm_free(&s->hold);
    *s = (struct mc_svd_stack){0};
}
