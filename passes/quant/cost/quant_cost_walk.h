/* Shared by the files quant_cost_*.c alone. */
#ifndef MC_PASSES_QUANT_COST_WALK_H
#define MC_PASSES_QUANT_COST_WALK_H

#include "graph/infer.h"
#include "passes/fit/one_sample.h"

struct mc_quant_walk {
    const struct mc_graph *g;
    const struct mc_infer *inf;
    double *cost;   /* [n_node_ids] */
    bool *absorbed; /* [n_node_ids] computed with another node */
    bool *integer;  /* [n_node_ids] reads what stands before its DequantizeLinear */
    bool *constant; /* [n_values] folded when the model is loaded */
};

/* Costs of the nodes of g, whose values inf knows, and their sum. Errors: MC_ENOMEM. */
int mc_quant_cost_walk(const struct mc_graph *g, const struct mc_infer *inf, double *cost,
                       double *ret, struct mc_err *err);

/* ---- quant_cost_layer.c: of a node with weights; false if it is none ---- */

bool mc_quant_cost_layer(struct mc_quant_walk *w, const struct mc_node *n);
/* A Scan that is a recurrent cell of integers; negative: it is none. */
double mc_quant_cost_scan(struct mc_quant_walk *w, const struct mc_node *n);

/* ---- quant_cost_fused.c: what is known of neighbours ---- */

double mc_quant_walk_count(const struct mc_quant_walk *w, const struct mc_value *v); /* elements */
double mc_quant_walk_dim(const struct mc_quant_walk *w, const struct mc_value *v, int axis);
int mc_quant_walk_rank(const struct mc_quant_walk *w, const struct mc_value *v);
bool mc_quant_walk_constant(const struct mc_quant_walk *w, const struct mc_value *v);
/* The one node that reads v, which is no output; or NULL. */
struct mc_node *mc_quant_walk_reader(const struct mc_value *v);
/* v is 8-bit integers behind DequantizeLinear: of an activation; of a weight (also of 4 bits). */
bool mc_quant_walk_is_dq(const struct mc_quant_walk *w, const struct mc_value *v);
bool mc_quant_walk_is_weight(const struct mc_quant_walk *w, const struct mc_value *v);
/* The QuantizeLinear to 8 bits that alone reads v, perhaps behind a Relu or Clip that vanishes in it (*ret_act); or NULL. */
struct mc_node *mc_quant_walk_q(const struct mc_quant_walk *w, const struct mc_value *v,
                                struct mc_node **ret_act);
void mc_quant_walk_absorb(struct mc_quant_walk *w, const struct mc_node *n); /* NULL: nothing */

#endif
