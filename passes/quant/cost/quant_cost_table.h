/* Costs of operators as they were measured. Private to passes/quant. */
#ifndef MC_PASSES_QUANT_COST_TABLE_H
#define MC_PASSES_QUANT_COST_TABLE_H

/* Nanoseconds of one node of this kind ("conv3", "dense", "Add", …) and form ("float", "static", …; NULL: of operators
 * that have but one) with sizes a and b, between the measured ones on straight lines of logarithms; beyond them in
 * proportion to the work. A kind that was not measured costs as moving its `a` numbers does. */
double mc_quant_cost_of(const char *kind, const char *form, double a, double b);

#endif
