/* Nodes with bodies: what If, Loop and Scan share. Private to graph/run. */
#ifndef MC_GRAPH_RUN_BODIES_H
#define MC_GRAPH_RUN_BODIES_H

#include "graph/run/plan.h"

enum { MC_BODIES = 2 };

struct mc_body { /* graphs of one node made ready to run */
    struct mc_arena mem;
    struct mc_session *session[MC_BODIES]; /* NULL: did not run yet */
    int *from
        [MC_BODIES]; /* [n_inputs of the session] input of the body, or of the step where it captures */
};

/* Input i of a step as an argument that is to be released: it shares blocks and lists, and lends what is in
 * neither. */
struct mc_live mc_body_argument(const struct mc_session *s, const struct mc_step *st, int i);
/* Run body `which` on args[i] for its i-th input. Errors: MC_EDTYPE, and what its nodes give. */
int mc_body_call(const struct mc_session *s, const struct mc_step *st, struct mc_body *b, int which,
                 const struct mc_live *args, struct mc_err *err);
/* Result i of the last call; valid until the next one. */
const struct mc_live *mc_body_result(const struct mc_body *b, int which, size_t i);

/* An empty result with this dimension 0 at `axis`, for output i of the step, result `result` of a body that
 * never ran: what inference says of it on args, 0 where it says nothing. */
int mc_body_empty(struct mc_session *s, const struct mc_step *st, const struct mc_body *b,
                  const struct mc_live *args, size_t result, int64_t axis, size_t i,
                  struct mc_err *err);

/* ---- loop.c, scan.c ---- */

int mc_loop_run(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_err *err);
int mc_scan_run(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_err *err);
/* SequenceMap; args [n_in] and zeroed results [n_out] are room to work in. */
int mc_list_map(struct mc_session *s, struct mc_step *st, struct mc_body *b, struct mc_live *args,
                struct mc_list **results, struct mc_err *err);

#endif
