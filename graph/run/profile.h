/* Where the time of a run goes: one row per step of a session's plans.
 *
 *     struct mc_session_opts o = {.profile = p};      a session looks at it only between steps
 *     mc_session_run(s, ...);  ...  mc_profile_clear(p) after warming up
 *     for (i = 0; i < mc_profile_count(p); i++) mc_profile_row(p, i) */
#ifndef MC_GRAPH_RUN_PROFILE_H
#define MC_GRAPH_RUN_PROFILE_H

#include "graph/graph.h"

struct mc_step;
struct mc_profile;

enum { MC_PROFILE_JOINED = 12 };

struct mc_profile_row {
    const struct mc_node *node;
    const struct mc_node *joined[MC_PROFILE_JOINED]; /* nodes its step does as well */
    int n_joined;
    enum mc_dtype dtype;   /* of the first result */
    struct mc_shape shape; /* of it; rank -1: none */
    int64_t runs;
    double seconds; /* of all runs */
    double macs;    /* of one; 0: none worth counting */
    double bytes;   /* of one: inputs, weights and results, each once */
};

int mc_profile_new(struct mc_profile **ret, struct mc_err *err);
void mc_profile_free(struct mc_profile *p); /* accepts NULL */
void mc_profile_clear(struct mc_profile *p);
size_t mc_profile_count(const struct mc_profile *p);
/* In the order of first runs. */
const struct mc_profile_row *mc_profile_row(const struct mc_profile *p, size_t i);

/* For graph/run: a step has run. Errors: MC_ENOMEM. */
int mc_profile_add(struct mc_profile *p, const struct mc_step *st, double seconds,
                   struct mc_err *err);

#endif
