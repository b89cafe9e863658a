/* Scales that are trained. */
#ifndef MC_GRAPH_OPS_LEARNED_SCALE_H
#define MC_GRAPH_OPS_LEARNED_SCALE_H

/* start exp(growth), a normal number of float32: what LearnedScale computes. */
double mc_learned_scale(double start, double growth);

#endif
