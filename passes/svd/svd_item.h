/* What the svd pass decides as a whole: a layer, or several layers that read the same input. */
#ifndef MC_PASSES_SVD_ITEM_H
#define MC_PASSES_SVD_ITEM_H

#include "passes/svd/svd_form.h"
#include "passes/svd/svd_plan.h"

struct mc_svd_item {
    size_t *layer; /* [n_layers] in the run's list */
    size_t n_layers;
    struct mc_svd_curve *curve; /* [n_curves] one for each form it can take */
    size_t n_curves;
    double want; /* how far curves were asked for */
    uint64_t bytes;
    double macs;                      /* of a sample; NAN: unknown */
    double total;                     /* error of leaving it out, in the unit of the points */
    const char *reason;               /* why it stays as it is, or NULL */
    struct mc_svd_choice choice;      /* all points of all curves worth having, for the plan */
    const struct mc_svd_curve *at;    /* answer; NULL: it stays as it is */
    const struct mc_svd_point *point; /* on that curve */
};

/* Of all layers that have no reason to be left: one item for each, or, where `groups`, for those that read the same value
 * together. Errors: MC_ENOMEM. */
int mc_svd_items_make(struct mc_svd_run *r, bool groups, struct mc_err *err);
void mc_svd_items_free(struct mc_svd_run *r);

/* Curves of all forms, up to `want` of the item's bytes; again with more, or no less than before. */
int mc_svd_item_analyse(struct mc_svd_run *r, size_t i, double want, struct mc_err *err);
/* Could asking for more than it->want give more points? */
bool mc_svd_item_more(const struct mc_svd_item *it);

/* The smallest point (in bytes) with at most `left` of the error, over all curves; false if there is none. */
bool mc_svd_item_least(const struct mc_svd_item *it, double left,
                       const struct mc_svd_curve **ret_at, const struct mc_svd_point **ret_point);
/* What the plan chose: at and point from choice.at. */
void mc_svd_item_take(struct mc_svd_item *it);

#endif
