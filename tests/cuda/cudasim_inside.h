/* What the files of the simulation share. */
#ifndef MC_TESTS_CUDA_CUDASIM_INSIDE_H
#define MC_TESTS_CUDA_CUDASIM_INSIDE_H

#include "tests/cuda/cudasim.h"

/* Now, on the calling thread. */
void mc_sim_run(const mc_sim_place &at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                const mc_sim_body &body);
/* The shared memory of the launch under way. */
const char *mc_sim_shared_range(size_t *ret_bytes);

/* Memory that a kernel may touch; host_too: and the host. NULL: none left. mc_sim_free: false if there is no such. */
void *mc_sim_alloc(size_t bytes, bool host_too);
bool mc_sim_free(void *p);
void mc_sim_memory(size_t *left, size_t *total);
/* Ends the program if a side that is to be device memory is not, or the other way round. src NULL: of the host. */
void mc_sim_copy(const void *dst, const void *src, size_t bytes, cudaMemcpyKind kind);
/* Whether the program itself may touch device memory; returns what was so before. */
bool mc_sim_open(bool open);
/* The stack of the kernel's thread that runs next, and whether it is a kernel that runs now. */
void mc_sim_stack(const void *stack, size_t bytes);
void mc_sim_inside(bool yes);
void mc_sim_backtrace();

/* What the compiler passes for a pointer that is not aligned: compiler-rt's TypeMismatchData. */
struct mc_sim_mismatch {
    const char *file;
    unsigned line, column;
    const void *type;
    unsigned char log_align, kind;
};

/* Ends the program: what a kernel did wrong; inside of a kernel, also which, where launched, and the thread. */
[[noreturn]] void mc_sim_stop(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
