/* What an operator's row may say about its axes, and how it is corrected after a cut. For the files couple_*.c.
 *
 * A rule walks one node, in the order of the graph: it reads the axes of its inputs, says which are the same, and puts the
 * axes of its outputs. An axis without units (NULL) stays as it is. Constants get units of their own when a rule first asks
 * for one of their axes. While rules walk, unit numbers are provisional; they are final in mc_coupling_axis.
 *
 * Saying too much is safe: more positions go together, or stay. Saying too little is a broken model. */
#ifndef MC_PASSES_COUPLE_RULE_H
#define MC_PASSES_COUPLE_RULE_H

#include "passes/couple/coupling.h"

struct mc_couple {
    struct mc_coupling *c;
    const struct mc_node *n;
    int rc; /* the first failure; every call does nothing from then on */
    struct mc_err *err;
};

struct mc_cutting; /* below */

struct mc_couple_rule {
    const char *domain; /* "" is ai.onnx */
    const char *names;  /* " Conv ConvTranspose ": operators, between blanks */
    void (*walk)(struct mc_couple *w);
    /* Correct what is not a constant with units: attributes, written shapes. n is of the model that is cut, its constants
     * are cut already. NULL: nothing to correct. Called only where a unit of one of its values went. */
    int (*cut)(struct mc_cutting *k, struct mc_node *n, struct mc_err *err);
};
/* One table a file, closed by a row of NULLs; couple_table.c lists the tables. */

/* ---- asking ---- */

/* Shape of a value (dimensions < 0: symbols); NULL: not ranked, or v is NULL. */
const struct mc_shape *mc_couple_shape(const struct mc_couple *w, const struct mc_value *v);
/* Units of an axis; NULL: it stays (also where its length is 1 or not known). */
const struct mc_units *mc_couple_axis(struct mc_couple *w, const struct mc_value *v, int axis);

/* ---- saying ---- */

void mc_couple_put(struct mc_couple *w, const struct mc_value *v, int axis,
                   const struct mc_units *u);
/* Output y has the axes of x. */
void mc_couple_like(struct mc_couple *w, const struct mc_value *x, const struct mc_value *y);
/* Positions of a and b go together, one by one; where one is NULL the other stays. Different lengths: both stay.
 * why_not is the reason then ("it is added to a value that stays"); %s-free. */
void mc_couple_same(struct mc_couple *w, const struct mc_units *a, const struct mc_units *b,
                    const char *why_not);
/* The same for an axis of a value; a constant that nobody asked for its axis takes u as its own, without new units. */
void mc_couple_meet(struct mc_couple *w, const struct mc_value *v, int axis,
                    const struct mc_units *u, const char *why_not);
struct mc_couple_at {
    const struct mc_value *v;
    int axis;
};
/* Axes that are broadcast to one: those of length 1 do not count, the others go together. What comes out has the units
 * returned. Constants take what activations have. */
const struct mc_units *mc_couple_together(struct mc_couple *w, const struct mc_couple_at *at, int n,
                                          const char *why_not);
/* Never removed. The first reason counts. The node is named by the report: "a Softmax goes over it". */
void mc_couple_hold(struct mc_couple *w, const struct mc_units *u, const char *why);
void mc_couple_hold_value(struct mc_couple *w, const struct mc_value *v, const char *why);
/* All axes of inputs and outputs. */
void mc_couple_hold_node(struct mc_couple *w, const char *why);
/* Removing them is not the same as zeros. */
void mc_couple_inexact(struct mc_couple *w, const struct mc_units *u);
void mc_couple_role(struct mc_couple *w, const struct mc_value *v, int axis, enum mc_role role);
/* What the units of this axis are called, where the axis made them and nobody said so before: "heads". */
void mc_couple_kind(struct mc_couple *w, const struct mc_units *u, const char *kind);
/* Positions are in `parts` runs of equal length: as many must stay in each. */
void mc_couple_balance(struct mc_couple *w, const struct mc_units *u, int64_t parts);

/* ---- new axes; all return NULL for an axis that stays, or on failure ---- */

/* Units of their own, one a position. */
const struct mc_units *mc_couple_fresh(struct mc_couple *w, int64_t n, const char *kind);
/* Position i is position index[i] of u (-1: one that stays): Slice, Split, Gather, a permutation. */
const struct mc_units *mc_couple_take(struct mc_couple *w, const struct mc_units *u,
                                      const int64_t *index, int64_t n);
struct mc_couple_part {
    const struct mc_units *u; /* or NULL */
    int64_t n;
};
/* One behind the other. */
const struct mc_units *mc_couple_concat(struct mc_couple *w, const struct mc_couple_part *part,
                                        int n_parts);
/* Row-major product of axes: what Reshape makes of several. */
const struct mc_units *mc_couple_merge(struct mc_couple *w, const struct mc_couple_part *part,
                                       int n_parts);
/* The other way: an axis cut into n_dims of the given lengths, ret[i] for each. Where units differ within a row and
 * within a column they become pairs of new ones, so that whole rows and whole columns can go. Always succeeds: in the worst
 * case nothing can be removed. */
void mc_couple_split(struct mc_couple *w, const struct mc_units *u, const int64_t *dim, int n_dims,
                     const struct mc_units **ret);

/* ---- correcting ---- */

struct mc_cutting {
    const struct mc_coupling *c;
    struct mc_model *m;
    const bool *gone;
    unsigned flags;
};

/* The value of c's model that v of m is a clone of has lost positions on this axis / on any. */
bool mc_cutting_changed(const struct mc_cutting *k, const struct mc_value *v, int axis);
/* Length after the cut (a symbol stays a symbol). */
int64_t mc_cutting_length(const struct mc_cutting *k, const struct mc_value *v, int axis);
/* The shape the value had; NULL: not known. */
const struct mc_shape *mc_cutting_shape(const struct mc_cutting *k, const struct mc_value *v);
/* A new int64 vector as input `slot`. */
int mc_cutting_ints(struct mc_cutting *k, struct mc_node *n, size_t slot, const int64_t *x,
                    int count, struct mc_err *err);
/* Input `slot` is the shape that output 0 gets (Reshape, Expand): written anew with the lengths after the cut. Elements
 * that no cut changes are taken from what was there, by nodes where that is computed. */
int mc_cutting_target(struct mc_cutting *k, struct mc_node *n, size_t slot, struct mc_err *err);

#endif
