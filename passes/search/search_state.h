/* One search under way. Private to search_*.c. */
#ifndef MC_PASSES_SEARCH_STATE_H
#define MC_PASSES_SEARCH_STATE_H

#include "passes/search/search.h"
#include "passes/search/search_measure.h"

struct mc_set { /* of options, one for each item */
    size_t *choice;
    double cost;           /* in the goal's unit, of the whole model; NAN: not counted */
    struct mc_judgement j; /* j.each NULL: not measured */
};

struct mc_curve_of { /* an item as the search sees it */
    double *cost;    /* [n] change in the goal's unit */
    double *
        error; /* [n] divergence it is taken to cause: measured, between measured ones, or guessed */
    double factor; /* what it is worth beside that, by measurements of whole sets */
};

struct mc_hunt {
    struct mc_search *s;
    struct mc_judge *judge; /* NULL: nothing to measure on */
    struct mc_curve_of *curve;
    double per_mac;       /* seconds, where the pass plans */
    double before, limit; /* in the goal's unit; DROP: before in bytes, limit the loss */
    size_t left;          /* measurements that the work budget still has */
    bool late;            /* the deadline passed */
    struct mc_set *set;   /* all that were measured, in the order that they were */
    size_t n_sets, cap_sets;
    size_t best;         /* position + 1; 0: none */
    struct mc_set plain; /* what to fall back on where nothing is measured */
};

/* ---- search_hunt.c: building, counting, measuring ---- */

int mc_hunt_open(struct mc_search *s, struct mc_hunt *h, struct mc_err *err);
void mc_hunt_close(struct mc_hunt *h);
/* Is there no more to be measured? */
bool mc_hunt_over(const struct mc_hunt *h);
/* Cost of the whole model with these options, in the goal's unit. */
int mc_hunt_count(struct mc_hunt *h, const size_t *choice, double *ret, struct mc_err *err);
/* Measure a set; *ret_set NULL where time ran out. Sets measured before are found again. Valid until the next. */
int mc_hunt_measure(struct mc_hunt *h, const size_t *choice, const struct mc_set **ret_set,
                    struct mc_err *err);
/* This set, measured and counted, becomes the best. */
int mc_hunt_keep(struct mc_hunt *h, const struct mc_set *set, struct mc_err *err);
const struct mc_set *mc_hunt_best(const struct mc_hunt *h);
/* Is a less far from the reference than b, by more than the noise of the samples? */
bool mc_hunt_closer(const struct mc_hunt *h, const struct mc_set *a, const struct mc_set *b);
void mc_hunt_tell(const struct mc_hunt *h, const char *what, double done, double total);

/* ---- search_curve.c: errors of options ---- */

/* Costs of all options in the goal's unit; those the pass does not know are counted. */
int mc_curves_cost(struct mc_hunt *h, struct mc_err *err);
/* error[] of all items from what is measured and predicted. */
int mc_curves_draw(struct mc_hunt *h, struct mc_err *err);
/* Measure option k of item i alone. */
int mc_curve_measure(struct mc_hunt *h, size_t i, size_t k, struct mc_err *err);
/* The option with about `ratio` times the predicted error of option k. */
size_t mc_curve_near(const struct mc_hunt *h, size_t i, size_t k, double ratio);
/* Set of least sum of errors (times factors) of at most `limit` in the goal's unit, counted; *ret_cost > limit: there is none. */
int mc_curves_plan(struct mc_hunt *h, double limit, size_t *choice, double *ret_cost,
                   struct mc_err *err);

/* ---- search_budget.c, search_drop.c: the two kinds of goals ---- */

/* Measure options alone: those of the set and others around them, for the items first that matter most, with half of the
 * measurements left. */
int mc_hunt_anchors(struct mc_hunt *h, const size_t *choice, struct mc_err *err);
int mc_hunt_budget(struct mc_hunt *h, struct mc_err *err);
int mc_hunt_drop(struct mc_hunt *h, struct mc_err *err);
/* Exchange options at no more than `limit` in cost as long as the best set comes closer to the reference. */
int mc_hunt_refine(struct mc_hunt *h, double limit, struct mc_err *err);

#endif
