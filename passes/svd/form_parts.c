#include "passes/svd/form_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "passes/svd/svd_norm.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* One part as a layer of its own; *ret_weight is what its weight refers to. */
static int part_of(const struct mc_layer *l, int64_t part, struct mc_layer *ret,
                   struct mc_tensor **ret_weight, struct mc_err *err)
{
    int64_t m = l->m / l->parts;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){m, l->n});
    size_t bytes = l->weight->bytes / (size_t)l->parts;
    size_t at = (size_t)(l->weight->data - (unsigned char *)mc_storage_data(l->weight->storage));
    int rc = mc_tensor_view(l->weight->dtype, &shape, l->weight->storage, at + (size_t)part * bytes,
                            ret_weight, err);
    if (rc)
        return rc;
    *ret = *l;
    ret->m = m;
    ret->parts = 1;
    ret->weight = *ret_weight;
    return 0;
}

/* ---- the curve ---- */

void mc_svd_parts_release(void *state)
{
    struct mc_svd_parts *s = state;
    for (int64_t p = 0; s && p < s->parts; p++)
        mc_svd_spectrum_free(&s->part[p]);
    if (s)
        free(s->part);
    free(s);
}

static int analyse_part(struct mc_svd_run *r, size_t layer, int64_t part, int64_t want,
                        struct mc_svd_spectrum *ret, struct mc_err *err)
{
    struct mc_svd_norm norm;
    struct mc_svd_norm_hold hold;
    struct mc_layer one;
    struct mc_tensor *weight;
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_norm_of_part(r, layer, part, &norm, &hold, err);
    if (rc)
        return rc;
    rc = part_of(&r->layers.item[layer], part, &one, &weight, err);
    if (!rc) {
        rc = mc_svd_analyse(r->la, &one, &norm, r->method, want,
                            r->ctx->seed + layer + 1000003 * (uint64_t)part, r->model->spill, ret,
                            err);
        mc_tensor_unref(weight);
    }
    mc_svd_norm_free(&hold);
    return rc;
}

static int make_points(struct mc_svd_run *r, const struct mc_svd_item *it,
                       const struct mc_svd_parts *s, struct mc_svd_point **ret, size_t *ret_n,
                       struct mc_err *err)
{
    size_t layer = it->layer[0];
    int64_t known = s->part[0].known;
    double total = 0;
    for (int64_t p = 0; p < s->parts; p++) {
        total += s->part[p].total;
        known = s->part[p].known < known ? s->part[p].known : known;
    }
    struct mc_svd_point *point = mc_calloc((size_t)known + 1, sizeof *point);
    if (!point)
        return no_memory(err);
    r->raw_total[layer] = total;
    double scale = mc_svd_run_scale(r, layer);
    for (int64_t k = 1; k <= known; k++) {
        double left = 0;
        for (int64_t p = 0; p < s->parts; p++)
            left += s->part[p].total * s->part[p].tail[k];
        point[k - 1] = (struct mc_svd_point){.rank = {k, 0},
                                             .bytes = (uint64_t)k *
                                                      mc_layer_rank_bytes(&r->layers.item[layer]),
                                             .macs = it->macs,
                                             .error = scale * left};
    }
    *ret = point;
    *ret_n = (size_t)known;
    return 0;
}

int mc_svd_parts_analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                         struct mc_svd_curve *c, struct mc_err *err)
{
    size_t layer = it->layer[0], n = 0;
    const struct mc_layer *l = &r->layers.item[layer];
    int64_t cap = mc_layer_rank_cap(l);
    struct mc_svd_point *point = NULL;
    struct mc_svd_parts *s = mc_calloc(1, sizeof *s);
    int rc = 0;
    if (s)
        s->part = mc_calloc((size_t)l->parts, sizeof *s->part);
    if (!s || !s->part)
        rc = no_memory(err);
    for (int64_t p = 0; !rc && p < l->parts; p++, s->parts++)
        rc = analyse_part(r, layer, p, (int64_t)ceil(want * (double)cap), &s->part[p], err);
    if (!rc)
        rc = make_points(r, it, s, &point, &n, err);
    if (rc) {
        mc_svd_parts_release(s);
        return rc;
    }
    mc_svd_curve_replace(c, point, n, (size_t)cap, s);
    return 0;
}

/* ---- the factors ---- */

void mc_svd_parts_factors_free(struct mc_svd_parts_factors *f, size_t n_sites)
{
    for (size_t k = 0; f->shift && k < n_sites; k++)
        free(f->shift[k]);
    free(f->shift);
    free(f->a);
    free(f->b);
}

static int add_part(struct mc_svd_run *r, const struct mc_layer *l, size_t layer, int64_t part,
                    const struct mc_svd_spectrum *s, int64_t rank, struct mc_svd_parts_factors *f,
                    struct mc_err *err)
{
    struct mc_layer one;
    struct mc_svd_pair pair;
    struct mc_tensor *weight;
    int64_t m = l->m / l->parts;
    const float **mean = mc_calloc(l->n_sites, sizeof *mean);
    int rc = mean ? part_of(l, part, &one, &weight, err) : no_memory(err);
    for (size_t k = 0; !rc && k < l->n_sites; k++)
        mean[k] = mc_svd_norm_mean_part(r, layer, k, part);
    if (!rc) {
        rc = mc_svd_pair(r->la, &one, s, rank, mean, &pair, err);
        mc_tensor_unref(weight);
    }
    free(mean);
    if (rc)
        return rc;
    memcpy(f->a + part * m * rank, pair.a, (size_t)(m * rank) * sizeof *f->a);
    memcpy(f->b + part * rank * l->n, pair.b, (size_t)(rank * l->n) * sizeof *f->b);
    for (size_t k = 0; k < l->n_sites; k++)
        if (pair.shift[k])
            memcpy(f->shift[k] + part * m, pair.shift[k], (size_t)m * sizeof **f->shift);
    mc_svd_pair_free(&pair);
    return 0;
}

/* Without spectra only the sizes: no content but zeros to shift by. */
int mc_svd_parts_factors(struct mc_svd_run *r, const struct mc_layer *l, size_t layer,
                         const struct mc_svd_parts *s, int64_t rank, struct mc_svd_parts_factors *f,
                         struct mc_err *err)
{
    f->shift = mc_calloc(l->n_sites, sizeof *f->shift);
    if (!f->shift)
        return no_memory(err);
    for (size_t k = 0; k < l->n_sites; k++)
        if (mc_svd_norm_mean(r, layer, k) &&
            !(f->shift[k] = mc_calloc((size_t)l->m, sizeof **f->shift)))
            return no_memory(err);
    if (!s)
        return 0;
    f->a = mc_calloc((size_t)(l->m * rank), sizeof *f->a);
    f->b = mc_calloc((size_t)(l->parts * rank * l->n), sizeof *f->b);
    int rc = f->a && f->b ? 0 : no_memory(err);
    for (int64_t p = 0; !rc && p < l->parts; p++)
        rc = add_part(r, l, layer, p, &s->part[p], rank, f, err);
    return rc;
}
