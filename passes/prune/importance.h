/* What a model loses without a unit (coupling.h): the scores by which units are chosen. */
#ifndef MC_PASSES_IMPORTANCE_H
#define MC_PASSES_IMPORTANCE_H

#include "passes/couple/coupling.h"
#include "passes/pass.h"

enum mc_importance_kind {
    MC_IMPORTANCE_AUTO, /* the best that the given data allows */
    MC_IMPORTANCE_L1,   /* sum of |w| over all that is the unit's */
    MC_IMPORTANCE_L2,   /* root of the sum of squares */
    MC_IMPORTANCE_NODE, /* norm of incoming times norm of outgoing weights (He et al., ICASSP 2014) */
    MC_IMPORTANCE_ENTROPY, /* entropy of its activation (the same paper); samples */
    MC_IMPORTANCE_ACTIVATION, /* root mean square of what consumers read, times their weights; samples */
    MC_IMPORTANCE_TAYLOR, /* (a dL/da)² summed (Molchanov et al., CVPR 2019); samples; labels or the outputs themselves */
    MC_IMPORTANCE_FISHER, /* diagonal Fisher information of its weights; samples */
    MC_IMPORTANCE_FPGM,   /* distance to the geometric median of the group (He et al., CVPR 2019) */
    MC_IMPORTANCE_BN,     /* |scale| of BatchNormalization (Liu et al., ICCV 2017) */
    MC_IMPORTANCE_OBS, /* error of the outputs after the rest made up for it by least squares; samples */
    MC_IMPORTANCE_RANDOM, /* by seed: the control */
};
extern const char *const mc_importance_names[]; /* "auto", "l1", …; closed by NULL */

struct mc_importance {
    /* [c->n_units], >= 0, finite; higher stays. Comparable within a group by the criterion, and between groups because
     * those of a group add up to how many nodes read it, or in nats where the criterion says so by itself (taylor,
     * fisher, obs). Not so random scores and raw ones. */
    double *score;
    bool nats; /* scores add up to about the divergence of the outputs without these units */
    enum mc_importance_kind kind; /* never AUTO */
    const char *why; /* of this kind, for the report: "there are inputs, but no labels" */
    char *said;      /* why, where it had to be put together */
    int64_t samples;
    /* OBS depends on what went before: order[] of a group's units, first to go first, and cost[k] after k + 1 went; NULL
     * where the criterion has no order of its own. */
    int32_t *order;
    double *cost; /* [c->n_units], parallel to order */
};

/* Options that say how. raw: no normalisation, which exists to show in the benchmark that it is no better than chance.
 * Errors: MC_EUSAGE for a kind that needs samples or labels that are not there; what running gives; MC_EINTR. */
int mc_importance_measure(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                          const struct mc_coupling *c, enum mc_importance_kind kind, bool raw,
                          struct mc_importance *ret, struct mc_err *err);
void mc_importance_free(struct mc_importance *i);

#endif
