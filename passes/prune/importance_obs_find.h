/* Where a model multiplies what has units by a constant, and where they end otherwise. */
#ifndef MC_PASSES_IMPORTANCE_OBS_FIND_H
#define MC_PASSES_IMPORTANCE_OBS_FIND_H

#include "passes/couple/coupling.h"
#include "passes/svd/svd_probe.h"

enum mc_obs_kind {
    MC_OBS_PLAIN,      /* MatMul, Gemm: x W or x Wᵀ */
    MC_OBS_LEFT,       /* MatMul with the constant on the left: columns of x */
    MC_OBS_CONV,       /* patches of one group */
    MC_OBS_TRANSPOSED, /* ConvTranspose: a pixel, of which each tap is an output */
    MC_OBS_INPUT,      /* W of a cell, all directions */
    MC_OBS_RECURRENT,  /* R of a cell, one direction */
    MC_OBS_VALUE,      /* anything else that reads them: what is missing in x itself counts */
};

struct
    mc_obs_site { /* W [m,n] reads rows of n elements: positions of an axis with units, `taps` of each */
    enum mc_obs_kind kind;
    struct mc_node *node;
    const struct mc_value *weight;
    int axis; /* of the weight, or of a value: what is summed over */
    int part, parts;
    int64_t m, n, taps;
    /* So many neighbouring columns, of one unit, are taken for one, because [n,n] would be too large; what they are to each
     * other is assumed then. 1: none. */
    int64_t fold;
    bool bias; /* what is constant can be made up for */
    /* In the graph that is measured, see mc_obs_sites.probe. */
    const struct mc_value *x, *y; /* y NULL: an error there cannot be seen */
    int y_axis;
    int64_t y_first, y_m; /* rows of W are m / repeat of these channels, from y_first on */
    int64_t repeat;       /* neighbouring rows that belong to one channel of y */
    int of;               /* that many such values of the node stand for the same */
    size_t cov,
        influence; /* which of those that were measured; of the sites with one cov the columns are the same */
};

struct mc_obs_sites {
    struct mc_obs_site *item;
    size_t n, cap;
    struct mc_svd_probe probe; /* with a model only where there are cells */
};

/* Errors: MC_ENOMEM. */
int mc_obs_sites_find(const struct mc_model *m, const struct mc_coupling *c,
                      struct mc_obs_sites *ret, struct mc_err *err);
void mc_obs_sites_free(struct mc_obs_sites *s);

/* Unit of column j < n / fold that is of the group; -1: none. */
int32_t mc_obs_site_unit(const struct mc_coupling *c, const struct mc_obs_site *s,
                         const struct mc_coupling_group *g, int64_t j);
/* Has it any unit of the group? */
bool mc_obs_site_reads(const struct mc_coupling *c, const struct mc_obs_site *s,
                       const struct mc_coupling_group *g);
/* W [m,n] in a new buffer. */
int mc_obs_site_weight(const struct mc_obs_site *s, float **ret, struct mc_err *err);

#endif
