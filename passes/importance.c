#include "passes/importance.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "passes/importance_parts.h"

const char *const mc_importance_names[] = {"auto",       "l1",     "l2",     "node", "entropy",
                                           "activation", "taylor", "fisher", "fpgm", "bn",
                                           "obs",        "random", NULL};

/* The control: uniform in (0,1], by unit. */
static int by_random(const struct mc_pass_ctx *ctx, const struct mc_coupling *c, double *score)
{
    for (int32_t u = 0; u < c->n_units; u++)
        score[u] = 1 - (double)mc_rng_uniform(ctx->seed, 0, (uint64_t)u);
    return 0;
}

static int by_kind(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                   const struct mc_coupling *c, bool raw, struct mc_importance *i,
                   struct mc_err *err)
{
    switch (i->kind) {
    case MC_IMPORTANCE_L1:
    case MC_IMPORTANCE_L2:
    case MC_IMPORTANCE_NODE:
    case MC_IMPORTANCE_FPGM:
    case MC_IMPORTANCE_BN: return mc_importance_weights(m, c, raw, i, err);
    case MC_IMPORTANCE_OBS: return mc_importance_obs(ctx, m, c, i, err);
    case MC_IMPORTANCE_RANDOM: return by_random(ctx, c, i->score);
    default:
        return mc_fail(err, MC_EUNSUP, "the criterion '%s' is not there yet",
                       mc_importance_names[i->kind]);
    }
}

/* What a group is worth is shared out: its scores add up to 1. */
static void share_out(const struct mc_coupling *c, double *score)
{
    for (size_t g = 0; g < c->n_groups; g++) {
        const struct mc_coupling_group *of = &c->group[g];
        double sum = 0;
        for (int64_t k = 0; of->first >= 0 && k < of->n; k++)
            sum += score[of->first + k];
        for (int64_t k = 0; sum > 0 && k < of->n; k++)
            score[of->first + k] /= sum;
    }
}

static enum mc_importance_kind best_kind(const struct mc_pass_ctx *ctx, const char **ret_why)
{
    (void)ctx;
    *ret_why = "there are no samples";
    return MC_IMPORTANCE_L2;
}

int mc_importance_measure(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                          const struct mc_coupling *c, enum mc_importance_kind kind, bool raw,
                          struct mc_importance *ret, struct mc_err *err)
{
    struct mc_importance i = {.kind = kind, .why = "it was asked for"};
    if (kind == MC_IMPORTANCE_AUTO)
        i.kind = best_kind(ctx, &i.why);
    i.score = mc_calloc((size_t)c->n_units + 1, sizeof *i.score);
    int rc = i.score ? by_kind(ctx, m, c, raw, &i, err)
                     : mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
    if (rc) {
        mc_importance_free(&i);
        return rc;
    }
    if (!i.nats && !raw)
        share_out(c, i.score);
    for (int32_t u = 0; u < c->n_units; u++)
        assert(isfinite(i.score[u]) && i.score[u] >= 0);
    *ret = i;
    return 0;
}

void mc_importance_free(struct mc_importance *i)
{
    free(i->score);
    free(i->order);
    free(i->cost);
    *i = (struct mc_importance){0};
}
