/* Several steps that become one of another kind. Private to graph/run. */
#ifndef MC_GRAPH_RUN_FUSE_GROUP_H
#define MC_GRAPH_RUN_FUSE_GROUP_H

#include "graph/run/plan.h"
#include "kernels/elementwise.h"
#include "kernels/nn.h"

enum { MC_GROUP_STEPS = MC_CHAIN_OPS };

struct mc_fuse_group {
    struct mc_plan *p;
    int step[MC_GROUP_STEPS], n; /* in the order of the plan: the last gives the result */
    bool
        copies; /* others read results of its steps too: these stay, and the group computes them once more */
};

/* Take step i in. False, and nothing happens, if there is no room, or it is in already. */
bool mc_fuse_group_add(struct mc_fuse_group *g, int i);
bool mc_fuse_group_has(const struct mc_fuse_group *g, int i);
/* Is v read by steps of the group alone, and handed out to nobody? */
bool mc_fuse_group_owns(const struct mc_fuse_group *g, const struct mc_value *v);
/* The step of one result that makes v and does nothing else with it; NULL for what is there before. */
const struct mc_step *mc_fuse_maker(const struct mc_plan *p, const struct mc_value *v);
/* In place of the last step: one that runs `op` on these inputs. The others are to be skipped. NULL, and nothing
 * is changed, without memory: it goes on unfused. */
struct mc_step *mc_fuse_group_replace(const struct mc_fuse_group *g, const struct mc_op *op,
                                      struct mc_value *const *in, int n_in);

/* ---- fuse.c ---- */

/* Drop steps that are to be skipped; step numbers and uses of values follow. */
void mc_plan_compact(struct mc_plan *p);

/* ---- fuse_norm.c ---- */

/* Norms of rows that exporters write as means, a root and a quotient. */
void mc_fuse_norms(struct mc_plan *p);

/* ---- fuse_chain.c ---- */

/* Elementwise functions of one shape with one result. again: a result that several of them read is computed in each,
 * where reading it would take longer, as on a GPU. */
void mc_fuse_chains(struct mc_plan *p, bool again);

#endif
