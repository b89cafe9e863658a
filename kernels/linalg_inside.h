/* Between the files of linalg. */
#ifndef MC_KERNELS_LINALG_INSIDE_H
#define MC_KERNELS_LINALG_INSIDE_H

#include <stdbool.h>

#include "kernels/linalg.h"

struct mc_linalg {
    struct mc_gpu *gpu; /* NULL: none */
    bool always;        /* for tests: whatever the size, it is worth being done there */
};

/* On the GPU: 1 if it was done there, 0 if it was not (no GPU, not worth it, no room or no library there), or an error. The
 * input has been checked. */
int mc_linalg_gpu_gemm(struct mc_linalg *la, char ta, char tb, int64_t m, int64_t n, int64_t k,
                       float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                       float beta, float *c, int64_t ldc, struct mc_err *err);
int mc_linalg_gpu_syrk(struct mc_linalg *la, int64_t n, int64_t k, float alpha, const float *a,
                       int64_t lda, float beta, float *c, int64_t ldc, struct mc_err *err);
int mc_linalg_gpu_qr(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *r,
                     int64_t ldr, struct mc_err *err);
int mc_linalg_gpu_svd(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *u,
                      int64_t ldu, float *s, float *vt, int64_t ldvt, struct mc_err *err);
int mc_linalg_gpu_eigh(struct mc_linalg *la, int64_t n, float *a, int64_t lda, float *w,
                       struct mc_err *err);

/* A randomised decomposition with A [m,n], Q [m,l] and Z [n,l] on the device, which nobody else uses from open to close.
 * Returns as above; after open gave 1, `there` and `back` are as in linalg_rsvd.c: R [l,l] is on the host. */
struct mc_linalg_sketch;
int mc_linalg_sketch_open(struct mc_linalg *la, int64_t m, int64_t n, int64_t l, const float *a,
                          int64_t lda, const float *z, struct mc_linalg_sketch **ret,
                          struct mc_err *err);
int mc_linalg_sketch_there(struct mc_linalg_sketch *s, struct mc_err *err);
int mc_linalg_sketch_back(struct mc_linalg_sketch *s, float *r, struct mc_err *err);
int mc_linalg_sketch_get(struct mc_linalg_sketch *s, float *q, float *z, struct mc_err *err);
void mc_linalg_sketch_close(struct mc_linalg_sketch *s); /* accepts NULL */

#endif
