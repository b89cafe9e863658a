/* The files that have rules, one table each, closed by a row of NULLs. */
#ifndef MC_PASSES_COUPLE_TABLE_H
#define MC_PASSES_COUPLE_TABLE_H

#include "passes/couple_rule.h"

extern const struct mc_couple_rule mc_couple_linear[]; /* couple_linear.c: Conv, Gemm, MatMul */
extern const struct mc_couple_rule mc_couple_einsum[]; /* couple_einsum.c */
extern const struct mc_couple_rule mc_couple_point[];  /* couple_point.c: element by element */
extern const struct mc_couple_rule mc_couple_norm[];   /* couple_norm.c: normalizations */
extern const struct mc_couple_rule mc_couple_reduce[]; /* couple_reduce.c: pools, reductions */

#endif
