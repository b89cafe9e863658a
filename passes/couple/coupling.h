/* What has to go together: which elements of which axes are one hidden node, channel, head or cell state.
 *
 * An axis of a value is a row of positions, and each position belongs to some units. A unit is the least that can be
 * removed: a position goes when any of its units goes, everywhere at once, and what is left is a valid model that computes
 * what the first computes when nobody reads the removed positions. A flattened [channel, y, x] has one unit for each run of
 * y times x positions; the last axis of attention, cut into [head, width], has two units a position, its head and its place
 * in the head. Units are alternatives of each other within a group (the channels of a layer, and of all layers added to it).
 *
 *     mc_coupling_find(m, &c, err)
 *     bool *gone = … [c->n_units];  mc_coupling_choose(c, group, score, keep, gone)
 *     mc_model_clone(m, &clone, err);  mc_cut(c, clone, gone, 0, err)
 *
 * How operators hand positions on is in couple_*.c (couple_rule.h). What nobody described holds its axes, with a reason.
 * Source: the idea of coupling by a graph of dependencies is of Fang et al., DepGraph: Towards Any Structural Pruning,
 * CVPR 2023; here by element instead of by layer. */
#ifndef MC_PASSES_COUPLING_H
#define MC_PASSES_COUPLING_H

#include "graph/graph.h"
#include "graph/infer.h"

enum { MC_UNITS_PER = 4 };

struct mc_units {        /* one axis */
    int64_t n;           /* positions */
    int per;             /* units a position, at most MC_UNITS_PER */
    const int32_t *unit; /* [n][per]; -1: none */
};

struct mc_partition { /* of a group: as many units have to stay in every part */
    int parts;
    const int32_t *part; /* [group.n] */
};

struct mc_coupling_group {
    const char *
        name; /* unique: the label of the node whose weights made them first, and more where that is not enough */
    const char *
        kind; /* "channels", "hidden nodes", "heads", "head width", "states", "groups", "width", … */
    const char *why; /* not NULL: none of them can be removed, for this reason; first is -1 then */
    int32_t first;   /* units first … first + n - 1 */
    int64_t n;
    int64_t nodes; /* hidden nodes that a unit stands for: 1, or the width of a head */
    bool
        exact; /* false: a norm takes statistics over them, so removing them is not the same as zeros */
    struct mc_partition partition[2];
    int n_partitions;
};

enum mc_role { /* of an axis of a constant */
               MC_ROLE_NONE,
               MC_ROLE_MAKES, /* its positions are what a product gives: rows of a weight [out,in] */
               MC_ROLE_READS, /* what a product sums over: columns of it */
               MC_ROLE_ALONG, /* one number for each: bias, scale, shift, running mean, table of positions */
};

struct mc_coupling {
    struct mc_arena mem;
    const struct mc_model *m;
    struct mc_infer *inf; /* of m->graph; symbols for dynamic axes */
    struct mc_coupling_group *group;
    size_t n_groups;
    int32_t n_units;
    struct mc_couple_state *state; /* private */
};

/* To call before mc_coupling_find, on a model that mc_prepare has seen: whatever inference knows of lengths that the graph
 * reads at run time becomes constants, so that axes whose lengths are read can be cut as well: what is computed with a length
 * goes on with what it was, what is written into a shape is corrected. Calls of model-local functions become the nodes of
 * their bodies. What m computes stays the same.
 * Errors: MC_ENOMEM; what inference gives. Cost: linear in nodes. */
int mc_coupling_prepare(struct mc_model *m, struct mc_err *err);

/* m must be prepared (graph/run/fold.h) and outlive c. Bodies of nodes (If, Loop, Scan) are part of it: what they
 * read from outside goes on in them, their own inputs and outputs stay.
 * Errors: MC_ENOMEM; what inference gives. Cost: linear in nodes and in positions of the axes that have units: under
 * 2 s for 100 MB of weights. */
int mc_coupling_find(const struct mc_model *m, struct mc_coupling **ret, struct mc_err *err);
void mc_coupling_free(struct mc_coupling *c);

/* Positions of an axis of a value of m (or, by index, of a clone); NULL: all of them stay. */
const struct mc_units *mc_coupling_axis(const struct mc_coupling *c, const struct mc_value *v,
                                        int axis);
/* Of an axis of a constant. */
enum mc_role mc_coupling_role(const struct mc_coupling *c, const struct mc_value *v, int axis);
/* The group of a unit. */
const struct mc_coupling_group *mc_coupling_group_of(const struct mc_coupling *c, int32_t unit);

/* How many of a group can stay nearest to `keep`: at least 1 (in every part), a multiple of round_to where that is at
 * most n (0 and 1: any). */
int64_t mc_coupling_feasible(const struct mc_coupling_group *g, int64_t keep, int64_t round_to);
/* Mark in gone[first … first + n - 1] all but the `keep` of highest score (ties: the lower position stays), as many in every
 * part; keep must be feasible. score: [n] of this group; no NaN. Errors: MC_ENOMEM. */
int mc_coupling_choose(const struct mc_coupling_group *g, const double *score, int64_t keep,
                       bool *gone, struct mc_err *err);

enum mc_cut_flags {
    MC_CUT_SIZES = 1, /* the model is only to be counted: new weights are zeros */
};

/* Remove units from m, the model of c or a clone of it that nobody edited: constants, attributes and written shapes; types
 * declared for what changed go. gone: [c->n_units]; in every group at least one stays, and parts are even. m is swept, and
 * valid if it was. Errors: MC_ENOMEM, MC_EIO; on failure m must be dropped.
 * Cost: what stays of the weights is copied once, tensor by tensor. */
int mc_cut(const struct mc_coupling *c, struct mc_model *m, const bool *gone, unsigned flags,
           struct mc_err *err);

/* Positions of an axis that stay: *ret_index [returned count], ascending, freed by the caller; NULL and the length as it
 * is where none goes. -1: out of memory. u may be NULL (then n is the length). */
int64_t mc_cut_kept(const struct mc_units *u, int64_t n, const bool *gone, int64_t **ret_index);

#endif
