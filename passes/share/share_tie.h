/* Tensors that are one. */
#ifndef MC_PASSES_SHARE_TIE_H
#define MC_PASSES_SHARE_TIE_H

#include "passes/share/share_run.h"

struct mc_tie_tensor { /* a constant of the main graph */
    struct mc_value *value;
    const struct mc_tensor *tensor;
    double square; /* of all its elements; NAN: not measured */
};

struct
    mc_tie { /* tensor `from` becomes tensor `to`, which comes before it and is tied to none itself */
    size_t from, to;
    bool transposed; /* from = toᵀ */
    bool same;       /* to the bit */
    double distance; /* ‖from - to‖ / the larger norm */
};

struct mc_ties {
    struct mc_tie_tensor *tensor;
    size_t n_tensors, cap_tensors;
    struct mc_tie *tie;
    size_t n, cap;
};

/* Initializers, then Constant nodes in their order. Two clones of a model give the same list. */
int mc_ties_collect(const struct mc_model *m, struct mc_ties *ret, struct mc_err *err);
void mc_ties_free(struct mc_ties *t);

/* Ties of tensors that are the same to the bit, also transposed; of any type. Vectors of one number over and over are not: fresh biases
 * and scales, which are equal by chance. */
int mc_ties_same(struct mc_ties *t, struct mc_err *err);
/* Of float tensors of one type that differ by at most `distance`, beside those: each to the nearest before it. */
int mc_ties_near(struct mc_ties *t, double distance, struct mc_err *err);
/* Of float tensors of one type and shape (or of the transposed shape) whose names match a POSIX extended regular expression.
 * Errors: MC_EUSAGE for an expression that is none, or matches no two such tensors. */
int mc_ties_match(struct mc_ties *t, const char *regex, struct mc_err *err);

/* Ties with on[i] (NULL: all) in m, whose list t is. What is not the same becomes the mean of all that are tied. */
int mc_ties_place(const struct mc_ties *t, struct mc_model *m, const bool *on, struct mc_err *err);

#endif
