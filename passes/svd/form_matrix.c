/* The plain product: W [m,n] ≈ A [m,r] B [r,n], where the norm has its best answer in closed form. */
#include "passes/svd/svd_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_rewrite.h"

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    return it->n_layers == 1 && l->parts == 1 && l->kind != MC_LAYER_RECURRENT &&
           mc_layer_rank_cap(l) >= 1;
}

/* ---- the curve ---- */

static int make_points(const struct mc_svd_run *r, size_t layer, const struct mc_svd_spectrum *s,
                       struct mc_svd_point **ret, size_t *ret_n, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[layer];
    struct mc_svd_point *p = mc_calloc((size_t)s->known + 1, sizeof *p);
    if (!p)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    double worth = mc_svd_norm_worth(r, layer, s->total);
    for (int64_t k = 1; k <= s->known; k++)
        p[k - 1] = (struct mc_svd_point){.rank = {k, 0},
                                         .bytes = (uint64_t)k * mc_layer_rank_bytes(l),
                                         .macs = (double)k * mc_layer_rank_macs(l),
                                         .error = worth * s->tail[k]};
    *ret = p;
    *ret_n = (size_t)s->known;
    return 0;
}

/* In a dry run ranks are all that is asked for. */
static void drop_directions(struct mc_svd_spectrum *s)
{
    mc_tensor_unref(s->out);
    mc_tensor_unref(s->in);
    s->out = s->in = NULL;
}

static void release(void *state)
{
    if (state)
        mc_svd_spectrum_free(state);
    free(state);
}

static int directions(struct mc_svd_run *r, size_t layer, int64_t want, struct mc_svd_spectrum *s,
                      struct mc_err *err)
{
    struct mc_svd_norm norm;
    struct mc_svd_norm_hold hold = {0};
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_norm_of(r, layer, &norm, &hold, err);
    if (!rc)
        rc = mc_svd_analyse(r->la, &r->layers.item[layer], &norm, r->method, want,
                            r->ctx->seed + layer, r->model->spill, s, err);
    mc_svd_norm_free(&hold);
    return rc;
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    size_t layer = it->layer[0], n = 0;
    int64_t cap = mc_layer_rank_cap(&r->layers.item[layer]);
    struct mc_svd_point *point = NULL;
    struct mc_svd_spectrum *s = mc_calloc(1, sizeof *s);
    int rc = s ? directions(r, layer, (int64_t)ceil(want * (double)cap), s, err)
               : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = make_points(r, layer, s, &point, &n, err);
    if (rc) {
        release(s);
        return rc;
    }
    if (r->ctx->dry_run)
        drop_directions(s);
    r->raw_total[layer] = s->total;
    mc_svd_curve_replace(c, point, n, (size_t)cap, s);
    return 0;
}

/* ---- the factors ---- */

/* A shift that is only counted has the right size and no content. */
static int place_sizes(struct mc_svd_run *r, struct mc_model *m, const struct mc_layer *l,
                       size_t layer, int64_t rank, struct mc_err *err)
{
    float *zeros = mc_calloc((size_t)l->m, sizeof *zeros);
    float **shift = mc_calloc(l->n_sites, sizeof *shift);
    int rc = zeros && shift ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t s = 0; !rc && s < l->n_sites; s++)
        shift[s] = mc_svd_norm_mean(r, layer, s) ? zeros : NULL;
    if (!rc)
        rc = mc_svd_rewrite(m, l, &(struct mc_svd_factors){.rank = rank, .shift = shift}, err);
    free(shift);
    free(zeros);
    return rc;
}

static int place_factors(struct mc_svd_run *r, struct mc_model *m, const struct mc_layer *l,
                         size_t layer, const struct mc_svd_spectrum *s, int64_t rank,
                         struct mc_err *err)
{
    struct mc_svd_pair p;
    const float **mean = mc_calloc(l->n_sites, sizeof *mean);
    if (!mean)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t k = 0; k < l->n_sites; k++)
        mean[k] = mc_svd_norm_mean(r, layer, k);
    int rc = mc_svd_pair(r->la, l, s, rank, mean, &p, err);
    free(mean);
    if (rc)
        return rc;
    struct mc_svd_factors f = {.rank = rank, .lda = rank, .a = p.a, .b = p.b, .shift = p.shift};
    rc = mc_svd_rewrite(m, l, &f, err);
    mc_svd_pair_free(&p);
    return rc;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    size_t layer = it->layer[0];
    const struct mc_layer *l = &in_m->item[layer];
    return sizes_only ? place_sizes(r, m, l, layer, p->rank[0], err)
                      : place_factors(r, m, l, layer, c->state, p->rank[0], err);
}

const struct mc_svd_form mc_svd_form_matrix = {"", applies, analyse, place, release};
