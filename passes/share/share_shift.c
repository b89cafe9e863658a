#include <stdlib.h>

#include "passes/share/share_run.h"
#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_rewrite.h"

struct mc_value *mc_share_base(struct mc_value *v)
{
    for (;;)
        if (v->outer)
            v = v->outer;
        else if (v->producer && mc_node_is(v->producer, "Identity"))
            v = v->producer->in[0];
        else
            return v;
}

bool mc_share_mean_shift(const struct mc_share_run *r, size_t at, size_t site, const float *w,
                         const float *q, float *sum)
{
    const struct mc_share_weight *weight = &r->weight[at];
    const struct mc_layer *l = weight->layer >= 0 ? &r->norm.layers.item[weight->layer] : NULL;
    size_t layer = (size_t)weight->layer;
    if (!l || !r->measured || l->kind == MC_LAYER_TABLE || !mc_svd_norm_mean(&r->norm, layer, 0))
        return false;
    int64_t n = weight->n, rows = weight->m / l->parts;
    for (int64_t i = 0; i < weight->m; i++) {
        const float *mean = mc_svd_norm_mean_part(&r->norm, layer, site, i / rows);
        double d = 0;
        for (int64_t j = 0; w && j < n; j++)
            d += (double)(w[i * n + j] - q[i * n + j]) * (double)mean[j];
        sum[i] = (float)d;
    }
    return true;
}

int mc_share_shift(const struct mc_share_run *r, struct mc_model *m, const struct mc_layers *in_m,
                   size_t at, const float *w, const float *q, struct mc_err *err)
{
    const struct mc_share_weight *weight = &r->weight[at];
    const struct mc_layer *l = weight->layer >= 0 ? &in_m->item[weight->layer] : NULL;
    float *sum = mc_calloc((size_t)weight->m + 1, sizeof *sum);
    int rc = sum ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t s = 0; !rc && l && s < l->n_sites; s++)
        if (mc_share_mean_shift(r, at, s, w, q, sum))
            rc = mc_svd_shift_site(m, l, &l->sites[s], sum, err);
    free(sum);
    return rc;
}
