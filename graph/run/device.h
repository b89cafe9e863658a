/* What this machine can compute with, for `list devices` and reports. */
#ifndef MC_GRAPH_RUN_DEVICE_H
#define MC_GRAPH_RUN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/threads.h"

/* Kernel level i, slowest first, and whether this CPU runs it; NULL at the end. */
const char *mc_device_level(size_t i, bool *ret_usable);
/* The level a session takes by itself: the best, or the one MCOMPRESS_KERNELS names; NULL if that one is
 * unknown or cannot run here. */
const char *mc_device_kernels(void);
/* What OPENBLAS_CORETYPE should be before this program starts, see kernels/linalg.h; NULL: it is well. */
const char *mc_device_blas_wanted(void);

/* ---- GPUs ---- */

struct mc_device_gpu {
    int number;
    char name[128];
    char why[256];    /* it cannot be used; empty: it can */
    int major, minor; /* compute capability */
    uint64_t bytes;   /* of its memory */
};
/* GPU i of this machine, from 0; false at the end. err: after i = 0, why there is none. */
bool mc_device_gpu(int i, struct mc_device_gpu *ret, struct mc_err *err);

struct mc_device_library { /* that a GPU is used with */
    const char *name, *use;
    char found[256], why[256]; /* one of them is empty */
};
bool mc_device_library(int i, struct mc_device_library *ret);

/* Does it say where to compute: "auto", "cpu", "cuda", "cuda:N"? Asks no driver. where: who said it. Errors: MC_EUSAGE. */
int mc_device_check(const char *device, const char *where, struct mc_err *err);
/* From now on what is given this pool computes there: "auto" is the first GPU that can be used, and the CPU where there is
 * none. pool NULL: only whether it could, as the driver says, without starting anything. precision: "fp32", "tf32", "bf16".
 * why (may be NULL): of "auto", why it is the CPU; "" if it is not.
 * Errors: MC_EUSAGE, MC_EUNSUP, MC_EFAIL of kernels/gpu.h. */
int mc_device_start(struct mc_pool *pool, const char *device, const char *precision,
                    struct mc_err *why, struct mc_err *err);
/* After the last session. */
void mc_device_stop(struct mc_pool *pool);

/* Where a pool computes: "cpu", or "cuda:0". */
const char *mc_device_name(const struct mc_pool *pool);

struct mc_device_use { /* of the GPU of a pool */
    const char *card, *precision;
    uint64_t planned;   /* most bytes that sessions planned there */
    uint64_t peak;      /* most bytes that were taken there for models, and data */
    uint64_t workspace; /* and for libraries and copies */
    uint64_t context;   /* and by the driver for code and the like, as far as it tells */
};
/* False: it computes on the CPU. */
bool mc_device_use(const struct mc_pool *pool, struct mc_device_use *ret);

/* Operators that ran on the CPU, though there is a GPU, in all sessions that are over; i from 0, in order of names. */
struct mc_device_fallback {
    char op_type[64], why[96];
    uint64_t nodes; /* of the session that had the most of them */
};
bool mc_device_fallback(int i, struct mc_device_fallback *ret);

/* Most bytes that sessions planned on a GPU, those that were there at the same time. */
uint64_t mc_device_planned(void);

/* Of a session: an operator type that it left to the CPU. */
void mc_device_note(const char *op_type, const char *why, uint64_t nodes);
/* Of a session: bytes that it planned on a GPU, so far and now. */
void mc_device_plan(uint64_t before, uint64_t now);

/* ---- the CPU ---- */

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
