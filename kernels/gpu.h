/* A GPU: memory, copies, recordings, and a table of kernels that work on its memory.
 *
 * One of three implementations is linked into a program: kernels/cuda/ compiled by nvcc, the same files compiled for
 * the simulation of the tests (tests/cuda/), or gpu_none.c, which has no device and says why. Only graph/ops,
 * graph/run and kernels/linalg include this.
 *
 * A pointer that mc_gpu_alloc gave is device memory: the host never reads or writes it. The kernels of
 * mc_gpu_kernels take such pointers in the structures of the other tables and return before the work is done; all
 * work of a device is in one order. They do not fail: what goes wrong is reported by the next mc_gpu_wait.
 * A device is used by one thread at a time. */
#ifndef MC_KERNELS_GPU_H
#define MC_KERNELS_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mc_gpu;
struct mc_gpu_recording;
struct mc_kernels;

enum mc_gpu_precision {
    MC_GPU_FP32 = 0, /* products of float32 as such */
    MC_GPU_TF32,     /* factors rounded to 10 bits of fraction, sums in float32 */
    MC_GPU_BF16,     /* factors rounded to 7 bits of fraction, sums in float32 */
};

struct mc_gpu_info {
    char name[128];     /* of the card */
    char why[256];      /* it cannot be used, and what to do; empty: it can */
    int major, minor;   /* compute capability */
    size_t total, free; /* bytes of memory; free of one that is open alone */
    int processors;     /* multiprocessors */
    double clock_ghz;   /* of these; 0: not known */
};

/* Devices that the driver shows, usable or not. 0: *err says why there is none (no build with CUDA, no driver, an
 * old driver, no card). Cost: under 1 ms without a driver. */
int mc_gpu_count(struct mc_err *err);
int mc_gpu_describe(int number, struct mc_gpu_info *ret, struct mc_err *err);

/* A library that is opened at first use: its place among them, i from 0. False at the end. */
struct mc_gpu_library {
    const char *name; /* "cuBLAS" */
    const char *use;  /* what for, and what is done without it */
    char found[256];  /* path and version; empty: not found */
    char why[256];    /* it was not found or cannot be used */
};
bool mc_gpu_library(int i, struct mc_gpu_library *ret);

struct mc_gpu_opts {
    enum mc_gpu_precision precision;
};
/* device: "cuda" (the first that can be used), "cuda:N". ret NULL: only whether it could be opened, as far as the
 * driver tells without starting it. Errors: MC_EUSAGE for another name, or a number that the driver does not show, naming
 * those there are; MC_EUNSUP for a card or driver that cannot be used, saying why; MC_EFAIL for a card that is
 * busy or does not answer. */
int mc_gpu_open(const char *device, const struct mc_gpu_opts *o, struct mc_gpu **ret,
                struct mc_err *err);
void mc_gpu_close(struct mc_gpu *g); /* accepts NULL */
int mc_gpu_number(const struct mc_gpu *g);
const char *mc_gpu_name(const struct mc_gpu *g);      /* of the card */
const char *mc_gpu_precision(const struct mc_gpu *g); /* "fp32", "tf32", "bf16" */

/* Kernels of this device for float32; entries that it does not have are NULL. What they launch goes to the device
 * that mc_gpu_enter made this thread's. */
const struct mc_kernels *mc_gpu_kernels(const struct mc_gpu *g);
/* Make g (NULL: none) the device of this thread; returns the one before. */
struct mc_gpu *mc_gpu_enter(struct mc_gpu *g);

/* Device memory, 256-byte aligned, content undefined. Errors: MC_ENOMEM naming what was asked for and what is free. */
int mc_gpu_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err);
void mc_gpu_free(struct mc_gpu *g, void *p); /* accepts NULL; waits for work that may use it */
/* Host memory that copies are fast from and to; NULL: none left. */
void *mc_gpu_host_alloc(struct mc_gpu *g, size_t bytes);
void mc_gpu_host_free(struct mc_gpu *g, void *p); /* accepts NULL */

/* Memory that both host and device reach, for tests: the host while no work is under way. Errors: as mc_gpu_alloc. */
int mc_gpu_shared_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err);
void mc_gpu_shared_free(struct mc_gpu *g, void *p); /* accepts NULL */

/* Host to device, through staging memory: src may be changed as soon as it returns, and what was there on the device
 * is read by earlier work first. Errors: those of earlier work. */
int mc_gpu_put(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err);
/* Device to host; waits for all earlier work. */
int mc_gpu_get(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err);
/* Device to device, in order with the kernels; may be recorded. The ranges do not overlap. */
int mc_gpu_copy(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err);
int mc_gpu_zero(struct mc_gpu *g, void *dst, size_t bytes, struct mc_err *err);
/* All work is done. Errors: MC_EDATA for what a kernel found in its data (mc_gpu_fault), MC_EFAIL for a fault of
 * the device, after which it can only be closed. */
int mc_gpu_wait(struct mc_gpu *g, struct mc_err *err);

/* What kernels launch between begin and end is kept instead of being done, and done as a whole by replay: pointers
 * and sizes as they were. Nothing else may be called between the two but kernels, copy and zero.
 * Errors: MC_EUNSUP if something in it cannot be recorded: nothing has been done then. */
int mc_gpu_record_begin(struct mc_gpu *g, struct mc_err *err);
int mc_gpu_record_end(struct mc_gpu *g, struct mc_gpu_recording **ret, struct mc_err *err);
int mc_gpu_replay(struct mc_gpu *g, struct mc_gpu_recording *r, struct mc_err *err);
void mc_gpu_recording_free(struct mc_gpu *g, struct mc_gpu_recording *r); /* accepts NULL */

struct mc_gpu_memory {
    size_t used,
        peak; /* by mc_gpu_alloc: now, and the most since it was opened or mc_gpu_memory_restart */
    size_t workspace; /* of the libraries and for staging */
    size_t context;   /* the rest of what this process takes, as far as the driver tells */
};
void mc_gpu_memory(const struct mc_gpu *g, struct mc_gpu_memory *ret);
void mc_gpu_memory_restart(struct mc_gpu *g);

#endif
