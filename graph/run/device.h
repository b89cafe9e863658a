/* What this machine can compute with, for `list devices` and reports. */
#ifndef MC_GRAPH_RUN_DEVICE_H
#define MC_GRAPH_RUN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* Products of `rows` rows with a block-circulant matrix n x n, one thread, seconds each, per block size and way: by the
 * matrix expanded, by transforms that are products with matrices, by fast transforms. */
enum { MC_CIRCULANT_WAYS = 3, MC_CIRCULANT_LIMITS = 16 };
extern const char *const mc_circulant_ways[MC_CIRCULANT_WAYS]; /* "dense", "dft", "fft" */
struct mc_circulant_limits {
    int64_t n, rows;
    double sgemm; /* the dense product by OpenBLAS */
    int n_blocks;
    struct mc_circulant_limit {
        int64_t block;                     /* 2, 4, 8, … n, while it divides n */
        int taken;                         /* by the kernels' own choice */
        double seconds[MC_CIRCULANT_WAYS]; /* NaN: not so at this size */
    } blocks[MC_CIRCULANT_LIMITS];
};
/* n from 2 to 2^16, rows at least 1. Takes about 0.5 s for 1024 and 64. Errors: MC_ENOMEM. */
int mc_circulant_limits_measure(int64_t n, int64_t rows, struct mc_circulant_limits *ret,
                                struct mc_err *err);

#endif
