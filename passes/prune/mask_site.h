/* Weights that masks are made for: the matrices and kernels of products, recurrent cells included. */
#ifndef MC_PASSES_MASK_SITE_H
#define MC_PASSES_MASK_SITE_H

#include "graph/graph.h"

struct mc_mask_site {
    struct mc_node *node; /* the first that multiplies by it */
    struct mc_value *value;
    const char *why; /* it stays as it is; NULL: it is masked */
    int axis;        /* of the weight: what the product sums over */
    int64_t run; /* positions of the axis that belong together: those of one direction or group */
    const struct mc_value *x; /* what it is multiplied with; NULL: nobody hands it out */
    int x_axis;               /* where that is summed over */
    int out_axis; /* of the weight, made of `groups` runs which read one part of x each; -1: no groups */
    int64_t groups;
};

struct mc_mask_sites {
    struct mc_mask_site *item;
    size_t n;
};

/* In the order of the nodes of the main graph, each weight once. Errors: MC_ENOMEM. */
int mc_mask_sites_find(const struct mc_graph *g, struct mc_mask_sites *ret, struct mc_err *err);
/* Leave those whose node or weight an extended regular expression does (keeps: does not) match; text may be NULL.
 * Errors: MC_EUSAGE for a bad expression and for one that matches nothing; option is its name. */
int mc_mask_sites_select(struct mc_mask_sites *s, const char *option, const char *text, bool keeps,
                         struct mc_err *err);
void mc_mask_sites_free(struct mc_mask_sites *s);

#endif
