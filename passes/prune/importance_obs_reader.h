/* What the sites of a group are to mc_obs_greedy. */
#ifndef MC_PASSES_IMPORTANCE_OBS_READER_H
#define MC_PASSES_IMPORTANCE_OBS_READER_H

#include "passes/prune/importance_obs_greedy.h"
#include "passes/prune/importance_obs_measure.h"

struct mc_obs_job {
    const struct mc_pass_ctx *ctx;
    const struct mc_coupling *c;
    struct mc_obs_sites sites;
    struct mc_obs_stats stats;
    struct mc_linalg *la;
};

/* Is it the first of those that multiply the same rows? They make one reader. */
bool mc_obs_reader_first(const struct mc_obs_sites *l, size_t i);
/* Of site `first` and all behind it with the same rows. *ret stays empty where it has no units of the group. */
int mc_obs_reader_make(const struct mc_obs_job *j, size_t first, const struct mc_coupling_group *g,
                       struct mc_obs_reader *ret, struct mc_err *err);
void mc_obs_reader_free(struct mc_obs_reader *r);

/* What pairs of units cost where values are read as they are; *ret NULL: they are nowhere. */
int mc_obs_pairs_make(const struct mc_obs_job *j, const struct mc_coupling_group *g, float **ret,
                      struct mc_err *err);

#endif
