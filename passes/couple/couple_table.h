/* The files that have rules, one table each, closed by a row of NULLs. */
#ifndef MC_PASSES_COUPLE_TABLE_H
#define MC_PASSES_COUPLE_TABLE_H

#include "passes/couple/couple_rule.h"

extern const struct mc_couple_rule mc_couple_linear[];    /* couple_linear.c: Conv, Gemm, MatMul */
extern const struct mc_couple_rule mc_couple_einsum[];    /* couple_einsum.c */
extern const struct mc_couple_rule mc_couple_point[];     /* couple_point.c: element by element */
extern const struct mc_couple_rule mc_couple_norm[];      /* couple_norm.c: normalizations */
extern const struct mc_couple_rule mc_couple_reduce[];    /* couple_reduce.c: pools, reductions */
extern const struct mc_couple_rule mc_couple_cell[];      /* couple_cell.c: LSTM, GRU, RNN */
extern const struct mc_couple_rule mc_couple_attention[]; /* couple_attention.c */
extern const struct mc_couple_rule mc_couple_rotary[];    /* couple_rotary.c */
extern const struct mc_couple_rule mc_couple_quant[];     /* couple_quant.c: scales */
extern const struct mc_couple_rule mc_couple_fused[];     /* couple_fused.c: several in one */
extern const struct mc_couple_rule mc_couple_alike[];   /* couple_alike.c: others by another name */
extern const struct mc_couple_rule mc_couple_reshape[]; /* couple_shape.c: Reshape, Transpose */
extern const struct mc_couple_rule mc_couple_grow[];    /* couple_grow.c: Expand, Tile, Shape */
extern const struct mc_couple_rule mc_couple_join[];    /* couple_join.c: Concat, Split */
extern const struct mc_couple_rule mc_couple_slice[];   /* couple_slice.c */
extern const struct mc_couple_rule mc_couple_pad[];     /* couple_pad.c */
extern const struct mc_couple_rule mc_couple_gather[];  /* couple_gather.c: what picks by number */
extern const struct mc_couple_rule mc_couple_space[];   /* couple_space.c: Resize, DepthToSpace */

#endif
