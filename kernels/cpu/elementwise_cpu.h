/* Elementwise functions of a span of elements, on the caller's thread; shared by the kernels of single functions
 * and of chains. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_ELEMENTWISE_CPU_H
#define MC_KERNELS_CPU_ELEMENTWISE_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/elementwise.h"

/* Beside enum mc_binary_fn: powers of one whole exponent, by far the most frequent ones. */
enum { MC_SPAN_SQUARE = MC_BINARY_COUNT, MC_SPAN_CUBE };

/* The function that fn is where the second operand is y everywhere. */
int MC_CPU(mc_binary_by_scalar)(int fn, float y);
/* y = fn(x) of n elements; y may be x. */
void MC_CPU(mc_unary_span)(enum mc_unary_fn fn, float a, float b, int64_t n, const float *x,
                           float *y);
/* z = fn(x, y) of n elements that are xs and ys apart; z may be an operand that is dense. */
void MC_CPU(mc_binary_span)(int fn, int64_t n, const float *x, int64_t xs, const float *y,
                            int64_t ys, float *z);

void MC_CPU(mc_unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool);
void MC_CPU(mc_chain)(const struct mc_chain *c, struct mc_pool *pool);

#endif
