/* A form: one way of writing a layer, or several layers that read the same input, in smaller factors.
 *
 * Each form is one file form_NAME.c and one row of svd_item.c's list. It says which items can take it, gives a curve of
 * points (ranks, bytes, multiply-accumulates, error), and puts the factors of a point into a model. All forms of
 * an item measure their error in the same norm (svd_factor.h), so the plan takes whichever costs least at equal error. */
#ifndef MC_PASSES_SVD_FORM_H
#define MC_PASSES_SVD_FORM_H

#include "passes/layer/layer.h"

struct mc_svd_run;
struct mc_svd_item;

struct mc_svd_point {
    int64_t rank[2]; /* [1] is 0 where the form has one rank only */
    uint64_t bytes;  /* content of the factors, in place of the item's */
    double macs;     /* multiply-accumulates of a sample, in place of the item's; NAN: unknown */
    double error;    /* comparable between items: the norm times mc_svd_run_scale of each layer */
};
/* Rounding below 0 is 0, what is not a number is worse than anything. */
double mc_svd_point_error(const struct mc_svd_point *p);

struct mc_svd_curve {
    const struct mc_svd_form *form;
    struct mc_svd_point
        *point; /* [n] by rising bytes; error falls with them; all smaller than the item */
    size_t n;
    bool complete; /* asking for more gives no more points */
    void *state;   /* of the form: what place() needs */
};

struct mc_svd_form {
    const char *name; /* in reports and choices: "spatial"; "" for the plain product of two */
    bool (*applies)(const struct mc_svd_run *r, const struct mc_svd_item *it);
    /* Fill c->point, n, complete, state (zeroed, or of an earlier call: then replaced on success). Points should reach up
     * to `want` in (0,1] of the item's bytes. In a dry run state may stay NULL. An empty curve is no error. */
    int (*analyse)(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err);
    /* Rewrite the item's layers in m, r->model or a clone, whose list `in_m` is. sizes_only: constants of the right size
     * that are never read (mc_svd_placeholder). Nodes keep their names and outputs; old weights stay, unused,
     * for mc_edit_sweep. Where a bias can take up the mean error (mc_svd_norm_mean), it does. */
    int (*place)(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err);
    void (*release)(void *state); /* accepts NULL */
};

/* A longer curve in place of what c had; it takes point and state. Complete at `most` points, or where asking for more gave
 * none. */
void mc_svd_curve_replace(struct mc_svd_curve *c, struct mc_svd_point *point, size_t n, size_t most,
                          void *state);

/* "rank 49", "spatial rank 12", "tucker rank 12x20": the name of a point in reports and choices files. */
enum { MC_SVD_LABEL = 64 };
const char *mc_svd_label(const struct mc_svd_form *f, const struct mc_svd_point *p,
                         char ret[MC_SVD_LABEL]);
/* The ranks of a label of this form; false if it is none. */
bool mc_svd_label_read(const struct mc_svd_form *f, const char *label, int64_t ret_rank[2]);

#endif
