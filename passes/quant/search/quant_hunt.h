/* One search for forms under way. Private to quant_hunt*.c and quant_search.c. */
#ifndef MC_PASSES_QUANT_HUNT_H
#define MC_PASSES_QUANT_HUNT_H

#include "passes/quant/quant_run.h"

struct mc_quant_step { /* of the way from the fastest forms to the floor */
    size_t site;
    enum mc_quant_form to;
    double cost; /* of the model after it, by the table */
};

struct mc_quant_hunt {
    struct mc_quant_run *r;
    size_t n;
    enum mc_quant_form *base, *fast, *best,
        *set;      /* [n] each: the floor, the fastest, the answer so far, to be tried */
    double *gain;  /* [n] by how much the model gets slower where this layer alone falls back */
    double *harm;  /* [n] of this layer alone */
    size_t *order; /* of layers */
    struct mc_quant_step *step; /* [2 n] */
    size_t n_steps;
    double work;   /* multiply-accumulates spent so far */
    double reach;  /* harm that repairs are worth trying at */
    bool repaired; /* the floor needs its repairs, so any set above it does */
    struct mc_quant_trial best_trial;
    json_t *tried;
    size_t measurements;
    bool late;
    struct mc_judge *scout; /* on a few samples: what orders layers; NULL: not opened */
};

/* ---- quant_hunt.c ---- */

int mc_quant_hunt_open(struct mc_quant_hunt *h, struct mc_err *err);
void mc_quant_hunt_close(struct mc_quant_hunt *h);
/* Is there no more time, or has enough been tried? */
bool mc_quant_hunt_over(struct mc_quant_hunt *h);
/* What a model of these forms costs: by the table, or its bytes. */
int mc_quant_hunt_cost(struct mc_quant_hunt *h, const enum mc_quant_form *form, double *ret,
                       struct mc_err *err);
/* Measure a set, where it does not keep the answer also as repairs leave it; `what` is how the report calls it. h->late: nothing is filled in. */
int mc_quant_hunt_measure(struct mc_quant_hunt *h, const char *what, const enum mc_quant_form *form,
                          struct mc_quant_trial *ret, struct mc_err *err);
/* The form below this one. */
enum mc_quant_form mc_quant_hunt_next(const struct mc_quant_hunt *h, size_t i,
                                      enum mc_quant_form form);
/* The same on a few samples, which is enough to tell layers apart. */
int mc_quant_hunt_scout(struct mc_quant_hunt *h, const enum mc_quant_form *form,
                        struct mc_quant_trial *ret, struct mc_err *err);
/* The set becomes the answer. */
void mc_quant_hunt_take(struct mc_quant_hunt *h, const enum mc_quant_form *form,
                        const struct mc_quant_trial *t);
/* Layers above the floor. */
size_t mc_quant_hunt_above(const struct mc_quant_hunt *h, const enum mc_quant_form *form);
/* What a trial loses more than `base`, relative to what is allowed: above 1 is too much. Of what adds up over layers. */
double mc_quant_hunt_harm(const struct mc_quant_run *r, const struct mc_quant_trial *t,
                          const struct mc_quant_trial *base);

/* Does it lose less? */
bool mc_quant_hunt_better(const struct mc_quant_run *r, const struct mc_quant_trial *t,
                          const struct mc_quant_trial *than);

/* ---- quant_hunt_path.c ---- */

/* h->step from h->fast downwards, by harm and gain; it may end before the floor. */
int mc_quant_hunt_path(struct mc_quant_hunt *h, struct mc_err *err);

/* ---- quant_hunt_weights.c ---- */

/* Measure weights alone: as repairs leave them where they lose too much. */
int mc_quant_hunt_floor(struct mc_quant_hunt *h, const char *what, const enum mc_quant_form *form,
                        struct mc_quant_trial *ret, struct mc_err *err);
/* h->base measured: weights alone, of some of them halves where the answer needs it. */
int mc_quant_hunt_weights(struct mc_quant_hunt *h, struct mc_err *err);

#endif
