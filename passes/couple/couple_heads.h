/* An axis that is made of attention heads. For the files couple_*.c. */
#ifndef MC_PASSES_COUPLE_HEADS_H
#define MC_PASSES_COUPLE_HEADS_H

#include "passes/couple/couple_rule.h"

struct mc_heads {                               /* position ((i_shared, i_own), i_size) */
    const struct mc_units *shared, *own, *size; /* key heads; queries of each; places in a head */
    int64_t n_shared, n_own, n_size;            /* the lengths, which the caller says */
};

/* u (or NULL), of n_shared * n_own * n_size positions, taken apart. */
void mc_heads_apart(struct mc_couple *w, const struct mc_units *u, struct mc_heads *h);
/* After the cut: how many heads of which width are left on an axis that had `heads`. Errors: MC_ENOMEM. */
int mc_heads_left(const struct mc_cutting *k, const struct mc_value *v, int axis, int64_t heads,
                  int64_t *ret_heads, int64_t *ret_size, struct mc_err *err);

#endif
