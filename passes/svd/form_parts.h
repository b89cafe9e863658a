/* Layers of several matrices one below the other, each with an input of its own: directions of a recurrent layer, groups
 * of a convolution. Each is factorised in its own norm, all at one rank. */
#ifndef MC_PASSES_FORM_PARTS_H
#define MC_PASSES_FORM_PARTS_H

#include "passes/svd/svd_run.h"

struct mc_svd_parts { /* state of the curve */
    int64_t parts;
    struct mc_svd_spectrum *part; /* [parts] */
};

/* The curve; a point's multiply-accumulates are the item's. */
int mc_svd_parts_analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                         struct mc_svd_curve *c, struct mc_err *err);
void mc_svd_parts_release(void *state);

/* All parts' factors one after the other. */
struct mc_svd_parts_factors {
    float *a, *b;  /* [parts, m / parts, rank], [parts, rank, n] */
    float **shift; /* [sites] of [m], NULL: nothing */
};
/* l: the layer, of r->model or of a clone; *f zeroed. Without spectra only the sizes: no content but zeros to shift
 * by. *f has to be freed also after an error. */
int mc_svd_parts_factors(struct mc_svd_run *r, const struct mc_layer *l, size_t layer,
                         const struct mc_svd_parts *s, int64_t rank, struct mc_svd_parts_factors *f,
                         struct mc_err *err);
void mc_svd_parts_factors_free(struct mc_svd_parts_factors *f, size_t n_sites);

#endif
