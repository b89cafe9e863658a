/* Sums over what belongs to units, term by term (an axis of a weight, an input that is read), each term counted by the
 * share of it that a unit has within its group: otherwise the largest tensor of a group would decide alone. */
#ifndef MC_PASSES_IMPORTANCE_SHARE_H
#define MC_PASSES_IMPORTANCE_SHARE_H

#include "passes/couple/coupling.h"

struct mc_unit_share {
    const struct mc_coupling *c;
    bool raw;        /* terms are added up as they are */
    double *score;   /* [n_units] the result, given by the caller */
    int64_t *terms;  /* [n_groups] that gave it anything but zeros */
    double *unit;    /* [n_units] of the term at hand */
    size_t *touched; /* [n_touched] groups that it has units of */
    size_t n_touched;
    bool *is_touched; /* [n_groups] */
};

/* Errors: MC_ENOMEM. */
int mc_unit_share_open(const struct mc_coupling *c, bool raw, double *score,
                       struct mc_unit_share *ret, struct mc_err *err);
void mc_unit_share_close(struct mc_unit_share *s);

/* More of the term at hand; x >= 0. Nothing is done for unit -1. */
void mc_unit_share_add(struct mc_unit_share *s, int32_t unit, double x);
/* The term is complete. */
void mc_unit_share_end(struct mc_unit_share *s);

/* Index of the group of a unit. */
size_t mc_unit_share_group(const struct mc_coupling *c, int32_t unit);

/* ret[n] += sum of |x|, or of x², of each position of an axis. */
void mc_axis_sums(const struct mc_shape *shape, int axis, const float *x, bool square, double *ret);

#endif
