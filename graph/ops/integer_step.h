/* Steps on 8-bit integers with a scale and a zero point, which the planner makes of nodes between
 * DequantizeLinear and QuantizeLinear. These operators are in no registry: no model has them. */
#ifndef MC_GRAPH_OPS_INTEGER_STEP_H
#define MC_GRAPH_OPS_INTEGER_STEP_H

#include "graph/ops/op.h"
#include "kernels/elementwise.h"
#include "kernels/gemm_s8.h"

enum { MC_INTEGER_TABLE = 256 };

struct mc_integer_side { /* a quantised tensor: (x - zero) scale */
    float scale;
    int32_t zero;
    bool last; /* its channels are the last dimension in memory, whatever its shape says */
};

/* mc_call.integer. Inputs are in the order of `x`; what an operator does not know of is zero. */
struct mc_integer {
    struct mc_integer_side *x, y; /* [n_in]; of a weight not read */
    struct mc_s8_out to;          /* all but the residual; of others than products zero, lo, hi */
    struct mc_s8_zero w_zero;
    bool dynamic;  /* input 2 is the zero point of x, or NULL, input 3 the scale of the sums */
    bool residual; /* input 2 is added: a quantised tensor to one, floats to floats */
    bool acts;     /* floats go through `act` at last: fn, a, b */
    struct mc_unary act;
    bool multiply, subtract; /* of a pair; otherwise a sum */
    bool average;            /* of a pool; otherwise a maximum */
    bool global;             /* the window is all of the spatial dimensions */
    const uint8_t *table;    /* [n_in][256] of bytes to bytes, or NULL: they stay */
};

extern const struct mc_op mc_op_integer_conv;    /* x [n,c,…], w [oc,…], perhaps a residual */
extern const struct mc_op mc_op_integer_product; /* a [m,k] or more matrices, b [k,n] */
extern const struct mc_op mc_op_integer_pair;    /* sum or product of two that broadcast */
extern const struct mc_op mc_op_integer_table;
extern const struct mc_op mc_op_integer_pool;
extern const struct mc_op mc_op_integer_concat;
extern const struct mc_op mc_op_integer_quantize; /* between floats and integers with `last` */
extern const struct mc_op mc_op_integer_dequantize;

/* Bytes of input i in the layout `last`: where they are, or rearranged in scratch from *at on; only counts without
 * scratch (mc_op_scratch). */
const uint8_t *mc_integer_in(const struct mc_call *c, int i, bool last, size_t *at);
/* Where to make the bytes of output 0 in the layout `last`, and, once they are made, move them to where they belong. */
uint8_t *mc_integer_out(const struct mc_call *c, bool last, size_t *at);
void mc_integer_give(const struct mc_call *c, bool last, const uint8_t *made);

#endif
