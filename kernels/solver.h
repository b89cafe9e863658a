/* Factorisations of a device alone, by its library. Matrices are column-major, their columns following each other. They
 * return 0, MC_SOLVER_DIVERGED, or MC_SOLVER_NONE: no library, nothing was done. Not to be recorded. */
#ifndef MC_KERNELS_SOLVER_H
#define MC_KERNELS_SOLVER_H

#include <stdint.h>

enum mc_solver_status { MC_SOLVER_OK = 0, MC_SOLVER_DIVERGED, MC_SOLVER_NONE };

struct mc_solver_kernels {
    /* A [m,n], m >= n, becomes the thin Q of A = QR; R [n,n], row-major, or NULL. */
    enum mc_solver_status (*qr)(int64_t m, int64_t n, float *a, float *r);
    /* A [m,n] = U diag(s) Vt, m >= n: U [m,n], s [n] descending, Vt [n,n]. A is destroyed. */
    enum mc_solver_status (*svd)(int64_t m, int64_t n, float *a, float *u, float *s, float *vt);
    /* Symmetric A [n,n] = V diag(w) Vᵀ, w ascending; the upper triangle is read, V overwrites A. */
    enum mc_solver_status (*eigh)(int64_t n, float *a, float *w);
};

#endif
