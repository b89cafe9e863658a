/* What the forms of convolutions have in common. */
#ifndef MC_PASSES_FORM_CONV_H
#define MC_PASSES_FORM_CONV_H

#include "passes/svd/form_conv_chain.h"
#include "passes/svd/form_conv_problem.h"
#include "passes/svd/svd_norm.h"

/* One layer, a convolution without groups and with a window. */
bool mc_conv_has_window(const struct mc_svd_run *r, const struct mc_svd_item *it);

struct mc_conv_dims { /* W [m, c, window] */
    int64_t m, c, window, kernel[MC_RANK_MAX];
    int axes;
};
struct mc_conv_dims mc_conv_dims(const struct mc_layer *l);

/* A weight of [out, in] and a window with the layer's size along `axes` and 1 along the others. */
struct mc_conv_stage mc_conv_stage(const struct mc_layer *l, int64_t out, int64_t in, unsigned axes,
                                   const char *suffix);
enum { MC_CONV_ALL_AXES = (1 << MC_RANK_MAX) - 1 };

/* ---- curves ---- */

/* Operations that one curve may take: half a second. What a point is fitted with depends on itself alone, not on how far
 * the curve goes: its label means the same factors in every run. */
extern const double mc_conv_work;

struct mc_conv_points { /* errors in the layer's own norm */
    struct mc_svd_point *point;
    size_t n, cap;
};
/* One more, of what the chain takes. */
int mc_conv_add_point(struct mc_conv_points *p, const struct mc_layer *l,
                      const struct mc_conv_chain *c, int64_t rank0, int64_t rank1, double error,
                      struct mc_err *err);
/* Sort by bytes and drop what another point beats. */
void mc_conv_prune(struct mc_conv_points *p);
/* The same, make errors comparable, hand over to the curve. */
void mc_conv_curve(struct mc_svd_run *r, size_t layer, struct mc_conv_points *p, bool complete,
                   struct mc_svd_curve *c);

/* The layer's weight and norm; the one that was asked for last is kept. Valid until the next call. */
struct mc_conv_last;
int mc_conv_open(struct mc_svd_run *r, size_t layer, const struct mc_conv_problem **ret,
                 struct mc_err *err);
void mc_conv_close(struct mc_svd_run *r);

/* ---- placing ---- */

struct mc_conv_factors {
    int64_t rank[2];
    float *w[MC_CONV_STAGES]; /* content of the stages */
    float **error;            /* [n_sites] mean error that the bias takes up, [m]; NULL: none */
    size_t n_sites;
};

/* What a curve keeps: factors of points that were placed. A search places the same ones again and again. */
enum { MC_CONV_KEPT = 8 };
struct mc_conv_state {
    struct mc_conv_factors kept[MC_CONV_KEPT];
    size_t next;
};
void mc_conv_state_free(void *state);

/* Mean errors of W' where it is X' = dense [m,n] in the problem's terms, which is overwritten. */
int mc_conv_mean_errors(struct mc_svd_run *r, size_t layer, const struct mc_conv_problem *p,
                        float *dense, struct mc_conv_factors *ret, struct mc_err *err);
/* Place factors made by `make` or kept from before. state NULL: sizes only. */
int mc_conv_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layer *l, size_t layer,
                  struct mc_conv_chain *c, const struct mc_svd_point *at,
                  struct mc_conv_state *state,
                  int (*make)(struct mc_svd_run *r, size_t layer, const struct mc_svd_point *at,
                              const void *ctx, struct mc_conv_factors *ret, struct mc_err *err),
                  const void *ctx, struct mc_err *err);

#endif
