/* A run of `prune`: groups of hidden nodes, how many of each stay, and what the model costs then. For the files prune_*.c. */
#ifndef MC_PASSES_PRUNE_RUN_H
#define MC_PASSES_PRUNE_RUN_H

#include "passes/couple/coupling.h"
#include "passes/prune/importance.h"
#include "passes/search/search.h"

struct mc_prune_level { /* how far a group may be cut */
    int64_t keep;
    double
        error; /* what that costs the outputs, as the criterion says; rises from level to level */
};

struct mc_prune_group {
    const struct mc_coupling_group *of;
    size_t number;      /* c->group[number] == *of */
    const char *op;     /* of the node whose weights made it; "" */
    const char *why;    /* left as it is, for this reason; NULL: it may be cut */
    int together;       /* the most groups that share positions with it, itself among them */
    double given;       /* --keep NAME=R; NAN: none */
    double *score;      /* [of->n] who stays first */
    double *order_cost; /* borrowed: error after so many went, or NULL */
    struct mc_prune_level *level; /* [n_levels] by falling keep; [0]: as many as may stay */
    size_t n_levels;
    size_t at; /* the level that was decided */
};

enum mc_prune_unit {
    MC_PRUNE_NODES,
    MC_PRUNE_PARAMS,
    MC_PRUNE_BYTES,
    MC_PRUNE_MACS,
    MC_PRUNE_UNITS
};

/* What counts with the product of what stays of some axes: a constant, or the work of a product of two values. */
struct mc_prune_part { /* of an axis: positions that stay where all of these groups' units do */
    size_t group[MC_UNITS_PER];
    int n;
    double positions;
};
struct mc_prune_axis {
    enum mc_role role;
    size_t first, n; /* parts; their positions are all of the axis */
    double length;
};
enum { MC_PRUNE_AXES = 4 };
struct mc_prune_weight {
    const struct mc_value *value;             /* NULL: no constant */
    double amount[MC_PRUNE_UNITS];            /* with all of its positions */
    struct mc_prune_axis axis[MC_PRUNE_AXES]; /* those with units */
    int n_axes;
    size_t owner; /* the group in whose row of the report it stands, or n */
};

struct mc_prune_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;  /* is cut */
    struct mc_model *before; /* a clone of it: c's */
    struct mc_coupling *c;
    struct mc_importance imp;
    struct mc_prune_group *group; /* [n] all that the coupling has */
    size_t n;
    struct mc_prune_weight *weight;
    size_t n_weights, cap_weights;
    struct mc_prune_part *part;
    size_t n_parts, cap_parts;
    double rest[MC_PRUNE_UNITS];      /* what no group changes */
    double before_of[MC_PRUNE_UNITS]; /* of the whole model */
    int64_t round_to;                 /* 0: mc_prune_round decides */
    double min_keep, max_keep;        /* of every group that may be cut */
    double keep;                      /* of all; NAN: a target says how much */
    bool global;                      /* by what it costs, not the same share of every group */
    bool repairs;
    bool selected;  /* somebody said which groups are cut, or how far */
    json_t *search; /* of the report, or NULL */
    json_t *rivals; /* of the report, or NULL: what else was tried */
    bool missed;    /* the target: */
    struct mc_err miss;
};

/* ---- prune_group.c ---- */

/* Groups of the coupling, and why those that stay do. */
int mc_prune_groups(struct mc_prune_run *r, struct mc_err *err);
/* What --only, --skip and --keep NAME=R say of them. Errors: MC_EUSAGE for what matches nothing. */
int mc_prune_select(struct mc_prune_run *r, const json_t *options, struct mc_err *err);
/* "0.5" or "50%"; whole: the option's value, for the message. */
int mc_prune_share(const char *whole, const char *text, double *ret, struct mc_err *err);
/* What stays of a group is a multiple of it. */
int64_t mc_prune_round(const struct mc_prune_run *r, const struct mc_prune_group *g);
/* Levels of all groups, when importance is measured. */
int mc_prune_levels(struct mc_prune_run *r, struct mc_err *err);
/* One more level, behind the others: for a choices file. */
int mc_prune_level_add(struct mc_prune_run *r, size_t group, int64_t keep, size_t *ret,
                       struct mc_err *err);
/* The level with about so many units. */
size_t mc_prune_level_for(const struct mc_prune_group *g, double keep);
/* Mark what goes. gone [c->n_units]; level [n]. */
int mc_prune_gone(const struct mc_prune_run *r, const size_t *level, bool *gone,
                  struct mc_err *err);
void mc_prune_free(struct mc_prune_run *r);

/* ---- prune_count.c ---- */

int mc_prune_weights(struct mc_prune_run *r, struct mc_err *err);
/* Does a weight make units of the group? */
bool mc_prune_makes(const struct mc_prune_run *r, const struct mc_prune_weight *w, size_t group);
/* In whose row of the report each weight stands: owner. */
void mc_prune_owners(struct mc_prune_run *r);
/* What the model costs with these levels; what one unit of each group [n] is worth there; what the weights in a group's
 * row cost. level NULL: nothing is cut. Cost: weights times groups of their axes. */
void mc_prune_count(const struct mc_prune_run *r, const size_t *level, double ret[MC_PRUNE_UNITS]);
void mc_prune_prices(const struct mc_prune_run *r, const size_t *level, enum mc_prune_unit unit,
                     double *ret);
void mc_prune_count_row(const struct mc_prune_run *r, const size_t *level, size_t group,
                        double ret[MC_PRUNE_UNITS]);

/* ---- prune_build.c ---- */

/* A clone of the model before without these units. sizes_only: it is only counted. */
int mc_prune_build(const struct mc_prune_run *r, const bool *gone, bool sizes_only,
                   struct mc_model **ret, struct mc_err *err);

/* ---- prune_search.c ---- */

/* at of every group: by --keep, a target, --auto or choices. Errors and `missed` as in passes/search/search.h. */
int mc_prune_decide(struct mc_prune_run *r, const struct mc_search_ask *ask, struct mc_err *err);

/* ---- prune_rivals.c ---- */

/* What was decided stays, or gives way to what other criteria decide, where those come clearly closer to the outputs: each cut
 * and repaired on half of the samples and judged on the other half. For few samples, on which covariances are noise, and for
 * models where errors at the outputs are not known; within a bound on work. Errors: MC_ENOMEM, MC_EINTR. */
int mc_prune_rivals(struct mc_prune_run *r, const struct mc_search_ask *ask, struct mc_err *err);

/* ---- prune_report.c ---- */

int mc_prune_report(const struct mc_prune_run *r, json_t **ret, struct mc_err *err);

#endif
