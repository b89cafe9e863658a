/* What this machine can compute with, for `list devices` and reports. */
#ifndef MC_GRAPH_RUN_DEVICE_H
#define MC_GRAPH_RUN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Kernel level i, slowest first, and whether this CPU runs it; NULL at the end. */
const char *mc_device_level(size_t i, bool *ret_usable);
/* The level a session takes by itself: the best, or the one MCOMPRESS_KERNELS names; NULL if that one is
 * unknown or cannot run here. */
const char *mc_device_kernels(void);
/* What OPENBLAS_CORETYPE should be before this program starts, see kernels/linalg.h; NULL: it is well. */
const char *mc_device_blas_wanted(void);

/* Of this machine, one thread, measured in about 0.2 s. */
struct mc_limits {
    double gflops;    /* float32 matrix product of 768, OpenBLAS */
    double gbytes;    /* per second read and written by copying more than a cache holds */
    const char *blas; /* the kernels OpenBLAS runs on */
};
/* Errors: MC_ENOMEM. */
int mc_limits_measure(struct mc_limits *ret, struct mc_err *err);

#endif
