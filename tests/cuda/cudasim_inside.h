/* What the files of the simulation share. */
#ifndef MC_TESTS_CUDA_CUDASIM_INSIDE_H
#define MC_TESTS_CUDA_CUDASIM_INSIDE_H

#include "tests/cuda/cudasim.h"

/* Now, on the calling thread. */
void mc_sim_run(const mc_sim_place &at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                const mc_sim_body &body);
/* Ends the program: what a kernel did wrong; inside of a kernel, also which, where launched, and the thread. */
[[noreturn]] void mc_sim_stop(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
