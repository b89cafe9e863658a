/* Libraries of CUDA for the simulation: the functions that kernels/cuda calls, on the CPU, in fake_NAME.cpp.
 * Their work goes through mc_sim_enqueue (cudasim.h), so that it can be recorded. */
#ifndef MC_TESTS_CUDA_FAKE_H
#define MC_TESTS_CUDA_FAKE_H

struct mc_fake {
    const char *name; /* NULL closes a table */
    void *fn;
};

/* Function of the library with this soname, or NULL. MC_SIM_MISSING names libraries that are not there
 * ("cublas cudnn", by the middle of their sonames). */
void *mc_fake_symbol(const char *soname, const char *name);
/* Would it be found? Also "libcuda.so.1", the driver: unless MC_SIM_MISSING names "cuda". */
bool mc_fake_there(const char *soname);

#define MC_FAKE_LIB(name) extern const mc_fake mc_fake_##name[];
#include "tests/cuda/fake_list.h"
#undef MC_FAKE_LIB

#endif
