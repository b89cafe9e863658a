/* Nodes between DequantizeLinear and QuantizeLinear that become steps on 8-bit integers: what they give is the same
 * as by floats within one step of the result's scale. Private to graph/run.
 *
 * A DequantizeLinear is read through: it stays for whoever wants its floats. A value that anything else reads, is
 * handed out or made apart ends a pattern. */
#ifndef MC_GRAPH_RUN_FUSE_INTEGER_H
#define MC_GRAPH_RUN_FUSE_INTEGER_H

#include "graph/ops/integer_step.h"
#include "graph/run/fuse_group.h"

struct mc_integers {
    struct mc_session *s;
    struct mc_plan *p;
};

struct mc_quantised { /* floats that are (v - side.zero) side.scale of 8-bit v */
    struct mc_value *v;
    struct mc_integer_side side;
};

void mc_fuse_integers(struct mc_session *s, struct mc_plan *p);

/* ---- fuse_integer.c: what patterns are made of ---- */

/* Is st an ordinary step of operator `name`, of ai.onnx or com.microsoft? */
bool mc_integer_is(const struct mc_step *st, const char *name);
/* The constants of a scale and a zero point (NULL: 0) for a whole tensor. False: they are several, or none. */
bool mc_integer_side_of(struct mc_integers *f, const struct mc_value *scale,
                        const struct mc_value *zero, struct mc_integer_side *ret);
/* Is x, at the place in the plan that it has, a tensor of 8 bits? */
bool mc_integer_is_bytes(const struct mc_plan *p, const struct mc_value *v);
/* Is the float v what DequantizeLinear makes of 8 bits with one scale? Constants too with `constant`. */
bool mc_integer_from(struct mc_integers *f, const struct mc_value *v, bool constant,
                     struct mc_quantised *ret);
/* The QuantizeLinear to 8 bits with one scale that alone reads v; -1 if there is none. */
int mc_integer_to(struct mc_integers *f, const struct mc_value *v, struct mc_integer_side *ret);
/* Step that alone reads v, or -1. */
int mc_integer_reader(const struct mc_plan *p, const struct mc_value *v);
/* A constant's content in this plan; NULL if it is none. */
const struct mc_buf *mc_integer_constant(struct mc_integers *f, const struct mc_value *v);
/* zero, lo and hi of a result of this type, cut to what a clamp of reals leaves. */
void mc_integer_range(const struct mc_integer_side *y, enum mc_dtype dtype, double least,
                      double most, struct mc_s8_out *to);
/* The last step of g runs `op` on `in`, with `what` (copied, x too). False without memory: nothing is changed. */
bool mc_integer_replace(const struct mc_fuse_group *g, const struct mc_op *op,
                        struct mc_value *const *in, int n_in, const struct mc_integer *what);

/* ---- fuse_integer_product.c ---- */

/* Step i, with what its epilogue holds and the QuantizeLinear behind it. */
bool mc_integer_product(struct mc_integers *f, int i);

/* ---- fuse_integer_dynamic.c ---- */

bool mc_integer_dynamic(struct mc_integers *f, int i);

/* ---- fuse_integer_rows.c ---- */

bool mc_integer_pair(struct mc_integers *f, int i);
bool mc_integer_pool(struct mc_integers *f, int i);
bool mc_integer_concat(struct mc_integers *f, int i);

/* ---- fuse_integer_table.c ---- */

/* The QuantizeLinear i, and functions of one element before it. */
bool mc_integer_table(struct mc_integers *f, int i);
/* Operators that only move elements run on the integers: without, or before, the DequantizeLinear. */
bool mc_integer_move(struct mc_integers *f, int i);

/* ---- fuse_integer_lay.c ---- */

/* Values between steps on integers get their channels last where there are convolutions. */
void mc_integer_lay(struct mc_integers *f);

#endif
