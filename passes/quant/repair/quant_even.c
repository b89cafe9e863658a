/* Channels evened out where weights alone lose too much: what equalisation and SmoothQuant do costs nothing then, and is kept
 * where weights alone come much closer to the answer. */
#include <math.h>
#include <stdlib.h>

#include "passes/quant/search/quant_hunt.h"

/* Weights alone, as good as rounding makes them. */
static int try_weights(struct mc_quant_run *r, struct mc_quant_trial *ret, struct mc_err *err)
{
    struct mc_quant_built b = {0};
    for (size_t i = 0; i < r->sites.n; i++)
        r->form[i] = mc_quant_nearest(r, i, MC_QUANT_WEIGHT);
    int rc = mc_quant_make(r, r->form, false, &b, err);
    if (!rc)
        rc = mc_quant_try(r->judge, b.m, ret, NULL, err);
    mc_quant_built_free(&b);
    return rc;
}

static int even(const struct mc_quant_run *r, struct mc_model *m, size_t layers[2],
                struct mc_err *err)
{
    int rc = mc_quant_equalise(m, &layers[0], err);
    layers[1] = 0;
    return rc || !r->stats ? rc : mc_quant_smooth(m, r->stats, 0.5, &layers[1], err);
}

/* What belongs to one state of the model before, and moves with it. */
static void swap(struct mc_quant_run *a, struct mc_quant_run *b)
{
    struct mc_quant_run t = *a;
    a->before = b->before;
    a->sites = b->sites;
    a->left = b->left;
    a->form = b->form;
    a->because = b->because;
    a->alone = b->alone;
    b->before = t.before;
    b->sites = t.sites;
    b->left = t.left;
    b->form = t.form;
    b->because = t.because;
    b->alone = t.alone;
}

static void note(struct mc_quant_run *r, const char *name, size_t layers,
                 const struct mc_quant_trial *a, const struct mc_quant_trial *b)
{
    if (layers && r->n_repairs < MC_QUANT_REPAIRS)
        r->repair[r->n_repairs++] = (struct mc_quant_repair_result){
            .name = name,
            .layers = layers,
            .before = a->divergence,
            .after = b->divergence,
            .kept = true,
        };
}

/* The model itself changes as its clone did. */
static int adopt(struct mc_quant_run *r, struct mc_quant_run *other, struct mc_err *err)
{
    size_t layers[2];
    int rc = r->ctx->dry_run ? 0 : even(r, r->model, layers, err);
    if (rc)
        return rc;
    swap(r, other);
    if (!r->stats)
        return 0;
    mc_quant_stats_free(r->stats);
    r->stats = NULL;
    return mc_quant_collect(r, err);
}

int mc_quant_even(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    static const double CLEARLY = 0.5;
    struct mc_quant_trial a, b, none = {.sqnr = INFINITY};
    struct mc_quant_run other = *r;
    size_t layers[2] = {0};
    if (!r->automatic || !r->any_repair || !r->judge || r->ctx->choices || !r->ctx->calib ||
        json_array_size(r->ctx->stats))
        return 0;
    int rc = try_weights(r, &a, err);
    if (rc || mc_quant_accepts_floor(r, &a))
        return rc;
    other.before = NULL;
    other.sites = (struct mc_quant_sites){0};
    other.left = NULL;
    other.form = NULL;
    other.because = NULL;
    other.alone = NULL;
    rc = mc_model_clone(r->before, &other.before, err);
    if (!rc) {
        other.before->spill = r->before->spill;
        rc = even(r, other.before, layers, err);
    }
    bool changed = !rc && layers[0] + layers[1] > 0;
    if (changed)
        rc = mc_quant_find(&other, options, err);
    if (!rc && changed)
        rc = try_weights(&other, &b, err);
    if (!rc && changed &&
        mc_quant_hunt_harm(r, &b, &none) < CLEARLY * mc_quant_hunt_harm(r, &a, &none)) {
        rc = adopt(r, &other, err);
        note(r, "equalisation", layers[0], &a, &b);
        note(r, "SmoothQuant", layers[1], &a, &b);
    }
    mc_quant_found_free(&other);
    return rc;
}
