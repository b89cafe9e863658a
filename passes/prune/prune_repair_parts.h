/* What the files of prune_repair share. */
#ifndef MC_PASSES_PRUNE_REPAIR_PARTS_H
#define MC_PASSES_PRUNE_REPAIR_PARTS_H

#include "graph/run/observe.h"
#include "passes/prune/prune_repair.h"
#include "passes/fit/refit.h"

struct mc_linalg;

struct mc_repair_kept { /* what a constant was */
    struct mc_value *value;
    struct mc_tensor *tensor;
};

struct mc_repair {
    struct mc_pass_ctx *ctx;
    const struct mc_model *before;
    const struct mc_coupling *c;
    const bool *gone;
    struct mc_model *m;
    struct mc_linalg *la;
    bool *touched;           /* [values of m] may differ from what stays of it in `before` */
    struct mc_dataset *data; /* the samples, and `samples - given` mixed from them */
    int64_t samples, given;
    double effort; /* share of the work that mixing samples may make */
    struct mc_repair_kept *kept;
    size_t n_kept, cap_kept;
    struct mc_repair_store *store; /* values that the next run begins with */
    /* Their bytes at most. Where those of all samples take more there are fewer mixed ones from then on; where those that were
     * given do, they are computed again. */
    double store_most;
};

/* ---- prune_repair_view.c: the model before, as if what went were not in it ---- */

/* The value of `before` that v was; NULL. */
const struct mc_value *mc_repair_was(const struct mc_repair *r, const struct mc_value *v);
/* Positions of v went; of one axis, or of any for -1. */
bool mc_repair_lost(const struct mc_repair *r, const struct mc_value *v, int axis);

struct mc_repair_view {
    int rank;
    int64_t *index[MC_RANK_MAX]; /* of an axis: positions that stay; NULL: all */
    int64_t n[MC_RANK_MAX], was[MC_RANK_MAX];
    float *x; /* the last array that was narrowed */
    int64_t room;
};
/* Of the value `before` has; rank 0 where nothing of it went. Errors: MC_ENOMEM. */
int mc_repair_view(const struct mc_repair *r, const struct mc_value *was,
                   struct mc_repair_view *ret, struct mc_err *err);
/* *ret: a's elements that stay, good until the next one. Errors: MC_ESHAPE, MC_EDTYPE, MC_ENOMEM. */
int mc_repair_narrow(struct mc_repair_view *v, const struct mc_array *a, struct mc_array *ret,
                     struct mc_err *err);
void mc_repair_view_free(struct mc_repair_view *v);

/* ---- prune_repair_run.c: values of both models side by side ---- */

struct mc_repair_ask {
    const char *const *m, *const *before; /* names of values */
    size_t n_m, n_before;
    const struct mc_node *at; /* of m: nothing in front of it changes any more */
    int64_t count;            /* the first of r->data */
};
/* As mc_observe_all: first the values of m, then those of `before`. What was there in front of `at` is kept, where there is room,
 * and the next run, which must be of a node behind it, begins with that. Errors: as mc_observe_all. */
int mc_repair_observe(struct mc_repair *r, const struct mc_repair_ask *ask, mc_observe_fn *fn,
                      void *ctx, struct mc_err *err);
/* Run from the samples again. */
void mc_repair_forget(struct mc_repair *r);

/* Which values of m differ from what stays of them. */
int mc_repair_touch(struct mc_repair *r, struct mc_err *err);

/* ---- prune_repair_layer.c, prune_repair_norm.c ---- */

enum mc_repair_result {
    MC_REPAIR_NONE,    /* nothing to fit */
    MC_REPAIR_SKIPPED, /* it cannot be fitted */
    MC_REPAIR_LEFT,    /* the half of the samples that it was not fitted to gets no closer */
    MC_REPAIR_FITTED,
};
/* A node whose weights are a product's. Numbers that cannot be fitted to are no error. Errors: MC_ENOMEM, MC_EINTR. */
int mc_repair_layer(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                    struct mc_err *err);
/* A norm: running statistics of BatchNormalization, scale and shift of any. */
int mc_repair_norm(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                   struct mc_err *err);

/* A cell that lost states: its recurrent weight makes up for them. */
int mc_repair_cell(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                   struct mc_err *err);

/* Remember v as it is; NULL is none. */
int mc_repair_keep(struct mc_repair *r, struct mc_value *v, struct mc_err *err);
int mc_repair_put(struct mc_repair *r, struct mc_value *v, const float *x, struct mc_err *err);

#endif
