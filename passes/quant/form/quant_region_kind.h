/* Parts of quant_region.c: what single nodes and values allow. */
#ifndef MC_PASSES_QUANT_REGION_KIND_H
#define MC_PASSES_QUANT_REGION_KIND_H

#include "passes/quant/form/quant_region.h"

/* The one number that v holds, if it is a constant of one float. */
bool mc_quant_number(const struct mc_value *v, float *ret);
bool mc_quant_is_finite(const struct mc_tensor *t);
bool mc_quant_is_act(const struct mc_node *n); /* Relu, or Clip with constant bounds */
bool mc_quant_moves(const struct mc_node *n);  /* of its input 0 */
/* x times a positive number: the slot of x, otherwise -1. */
int mc_quant_rescales(const struct mc_node *n, float *ret_factor);
bool mc_quant_combines(const struct mc_node *n);
bool mc_quant_takes_several(
    const struct mc_node *n); /* a combining node whose inputs all are data */
/* Is input k of a combining node a constant of floats? */
bool mc_quant_operand(const struct mc_node *n, size_t k);
/* The value behind the act of a combining node. */
const struct mc_value *mc_quant_unit_result(const struct mc_quant_unit *u, const struct mc_node *n);
/* Is input `slot` of the site's node an activation that a STATIC form quantises? */
bool mc_quant_site_reads(const struct mc_quant_site *s, size_t slot);

/* The value that v is a rearrangement of, so that their statistics are the same. */
const struct mc_value *mc_quant_same(const struct mc_value *v);
/* Of v, or of what it is a rearrangement of; NULL: neither was asked for. */
const struct mc_quant_stat *mc_quant_stat_of(const struct mc_quant_stats *s,
                                             const struct mc_value *v);

/* Scale and zero point of HardSigmoid: all that it gives, in 8 bits. */
extern const struct mc_quant_param mc_quant_hard_param;
/* Scale and zero point by the rules. act (may be NULL): Relu or Clip that computes the value: the range of the integers lies
 * within what it gives, so that it can be left out. */
void mc_quant_act_param(const struct mc_quant_stat *s, const struct mc_quant_rules *r,
                        const struct mc_quant_type *t, const struct mc_node *act,
                        struct mc_quant_param *ret);
/* Bounds of Relu or Clip; infinite where it has none. False: not constant. */
bool mc_quant_act_bounds(const struct mc_node *act, double *ret_lo, double *ret_hi);

#endif
