/* What the simulated libraries of linear algebra share. */
#ifndef MC_TESTS_CUDA_FAKE_BLAS_H
#define MC_TESTS_CUDA_FAKE_BLAS_H

#include "kernels/cuda/lib_cublas.h"

enum fake_status { FAKE_INVALID = 7, FAKE_NOT_SUPPORTED = 15 };

struct fake_product { /* C = alpha op(A) op(B) + beta C0, column-major */
    int ta, tb;
    int64_t m, n, k, batch;
    float alpha, beta;
    const float *a, *b, *c0;
    float *c;
    int64_t lda, ldb, ldc, a_step, b_step, c_step;
    int compute;       /* factors are rounded as it says */
    const float *bias; /* [m] or NULL */
    bool relu;
};
/* Put it into the order of the device. */
void fake_multiply(const struct fake_product &p);

/* Do the results of a batch overlap? They may lie beside each other in the rows of a larger matrix. */
static inline bool fake_overlap(int64_t rows, int64_t columns, int64_t batch, int64_t ld,
                                int64_t step)
{
    bool apart = step >= ld * (columns - 1) + rows, beside = step >= rows && ld >= step * batch;
    return rows > 0 && columns > 0 && !apart && !beside;
}

/* A wrong use that the real library would not report: ends the program. */
[[noreturn]] void fake_abort(const char *library, const char *what);

#endif
