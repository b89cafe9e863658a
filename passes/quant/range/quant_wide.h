/* Plain loops built for the vectors of several CPUs; the right one is taken when the program starts. No sum is
 * reordered and no product contracted, so all give the same bits. Private to passes/quant. */
#ifndef MC_PASSES_QUANT_WIDE_H
#define MC_PASSES_QUANT_WIDE_H

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define MC_WIDE __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MC_WIDE
#endif

#endif
