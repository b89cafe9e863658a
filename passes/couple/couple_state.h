/* Units while rules walk: who is the same as whom, what stays, and who made them. Private to coupling.
 *
 * A provisional unit is a number with a parent (union-find). A root is plain, or an alias of a tuple of other units: a
 * position that has it goes when any of them goes. Tuples only name units that were plain when they were made, and an alias
 * is never made plain again, so following them ends. */
#ifndef MC_PASSES_COUPLE_STATE_H
#define MC_PASSES_COUPLE_STATE_H

#include "passes/couple/couple_rule.h"

enum { MC_COUPLE_SET = 16 }; /* units behind one position, at most */

enum mc_unit_flags {
    MC_UNIT_INEXACT = 1,
    MC_UNIT_MADE = 2, /* on an axis of a constant of role MAKES */
};

struct mc_unit {
    int32_t parent, tuple; /* tuple: of a root that is an alias; 0: plain */
    int32_t batch, hold;   /* hold: number of a reason; 0: free */
    uint8_t flags;
};

struct mc_tuple {
    int n;
    int32_t unit[MC_UNITS_PER];
};

struct mc_couple_reason {
    const char *why;
    const struct mc_node *n; /* or NULL */
};

/* Units that were made together: alternatives of each other. Batches whose units were joined are one group. */
struct mc_batch {
    int32_t parent;
    int32_t first, n;
    const struct mc_node *node; /* that asked for them */
    const struct mc_value *v;   /* the constant they are of, or NULL */
    int32_t from;               /* they came of splitting units of this batch; -1: none */
    const char *kind;           /* as a rule called them, or NULL */
    const char *guess;          /* what they are called where none did, or NULL */
    bool untouched;             /* none is joined with another yet */
};

struct mc_couple_axis_units {
    struct mc_units u;
    int32_t batch; /* these are all units of this batch, in order; -1: not */
    int32_t refs;  /* axes of values that have it, once all rules walked */
    bool constant; /* one of them is of a constant */
    struct mc_couple_axis_units *next;
    struct mc_units *last; /* with final numbers; NULL: all stay */
};

struct mc_couple_axis {
    const struct mc_units *u;
    bool known; /* of a constant: somebody asked */
    enum mc_role role;
    int32_t maker; /* the first node that makes positions of it, from 1; 0: role is another */
};

struct mc_couple_values {         /* of one graph */
    const struct mc_graph *g;     /* NULL: no rule walked it */
    struct mc_couple_axis **axes; /* [n] [rank]; NULL: not looked at */
    size_t n;
};

struct mc_couple_even {
    const struct mc_units *u;
    int64_t parts;
    const struct mc_node *n;
    struct mc_couple_even *next;
};

struct mc_couple_state {
    struct mc_unit *unit;
    size_t n_units, cap_units;
    struct mc_tuple *tuple; /* [0] is void */
    size_t n_tuples, cap_tuples;
    struct mc_couple_reason *reason; /* [0] is void */
    size_t n_reasons, cap_reasons;
    struct mc_batch *batch;
    size_t n_batches, cap_batches;
    struct mc_couple_values *values; /* by index of graph */
    size_t n_graphs;
    const struct mc_node **walked; /* in this order */
    size_t n_walked, cap_walked;
    struct mc_couple_axis_units *all;
    int64_t n_long; /* positions of long axes */
    struct mc_couple_even *even;
    int32_t *group_of; /* [c->n_units] */
};

int32_t mc_unit_root(struct mc_couple_state *s, int32_t unit);
int32_t mc_batch_root(struct mc_couple_state *s, int32_t batch);
/* New units, a batch of their own; its number, or -1 (w->rc). */
int32_t mc_unit_batch(struct mc_couple *w, int64_t n, const struct mc_value *v);
/* Plain roots behind the units of one position that can still go, without repetition. Returns how many; what goes
 * beyond the set is held. */
int mc_unit_set(struct mc_couple *w, const int32_t *unit, int per, int32_t ret[MC_COUPLE_SET]);
/* Plain roots behind one position behind the first n of ret, also those that stay, perhaps with repetition: as many of them as
 * there is room for. */
int mc_unit_roots(struct mc_couple_state *s, const int32_t *unit, int per,
                  int32_t ret[MC_COUPLE_SET], int n);
void mc_unit_hold(struct mc_couple *w, int32_t unit, int32_t reason);
int32_t mc_unit_reason(struct mc_couple *w, const char *why);
/* Two positions are one. merge: so are the groups of their units; otherwise units of b become what those of a are. */
void mc_unit_join(struct mc_couple *w, const int32_t *a, int per_a, const int32_t *b, int per_b,
                  bool merge, int32_t reason);
/* A plain or aliased unit is the same as a position with these; n of 2 to MC_UNITS_PER. */
void mc_unit_alias(struct mc_couple *w, int32_t unit, const int32_t *to, int n, int32_t reason);

/* An axis object of n positions, its units to be filled in; NULL: w->rc. */
struct mc_couple_axis_units *mc_axis_new(struct mc_couple *w, int64_t n, int per, int32_t **ret);
/* The value that a body means by a name of a graph around it. */
const struct mc_value *mc_axis_owner(const struct mc_value *v);
/* The row of an axis of a value; NULL: rank not known or w->rc. */
struct mc_couple_axis *mc_axis_row(struct mc_couple *w, const struct mc_value *v, int axis);
/* The value of c's model that v, of it or of a clone, is; NULL: it is newer. */
const struct mc_value *mc_axis_origin(const struct mc_coupling *c, const struct mc_value *v);
/* Has it, or what it means, a content that a cut can replace? */
bool mc_axis_is_constant(const struct mc_value *v);

/* The rule of a node; NULL: nobody described it. */
const struct mc_couple_rule *mc_couple_rule_of(const struct mc_node *n);

struct mc_couple_parts {
    struct mc_partition partition[2];
    int n;
};

/* What the last steps need to know. By root of a unit, or of a batch. */
struct mc_couple_last {
    struct mc_couple *w;
    int32_t *stamp;  /* of units, for whoever needs one */
    int32_t stamped; /* the last that was given */
    int32_t *maker;  /* of units: the first node whose weight makes it, from 1; 0: none */
    int32_t *count;  /* of units or batches, spare */
    int32_t *places; /* of units: axes that have it */
    int32_t *index;  /* of units that can go: place in their group */
    int32_t *free;   /* of batches: how many those are */
    struct mc_couple_parts *parts; /* of batches */
};

/* Hold what cannot go for reasons that show only when all is known. False: nothing new was held. The first fills in
 * `parts`. */
bool mc_couple_settle_even(struct mc_couple_last *l);
bool mc_couple_settle_cover(struct mc_couple_last *l);

/* Settle what stays, number units and groups. */
int mc_couple_finish(struct mc_couple *w);

#endif
