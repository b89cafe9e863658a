/* cuSOLVER by LAPACK. */
#include <lapacke.h>

#include <vector>

#include "kernels/cuda/lib_cusolver.h"
#include "tests/cuda/fake.h"
#include "tests/cuda/fake_blas.h"

struct handle {
    uint64_t magic;
    cudaStream_t stream;
};
static const uint64_t MAGIC = 0x736f6c766572; /* "solver" */
enum { INVALID = 3 };

static handle *use(void *h, bool work)
{
    handle *x = (handle *)h;
    if (!x || x->magic != MAGIC)
        fake_abort("cuSOLVER", "this is no handle");
    if (work && !x->stream)
        fake_abort("cuSOLVER", "work on the default stream, which is not ordered with ours");
    return x;
}

static int create(void **h)
{
    *h = new handle{MAGIC, nullptr};
    return MC_CUSOLVER_SUCCESS;
}

static int destroy(void *h)
{
    use(h, false)->magic = 0;
    delete (handle *)h;
    return MC_CUSOLVER_SUCCESS;
}

static int set_stream(void *h, cudaStream_t s)
{
    use(h, false)->stream = s;
    return MC_CUSOLVER_SUCCESS;
}

static int geqrf_size(void *h, int m, int n, float *, int lda, int *lwork)
{
    use(h, true);
    *lwork = 32 * n;
    return m < 0 || n < 0 || lda < (m > 1 ? m : 1) ? (int)INVALID : (int)MC_CUSOLVER_SUCCESS;
}

static int geqrf(void *h, int m, int n, float *a, int lda, float *tau, float *work, int lwork,
                 int *info)
{
    use(h, true);
    if (m < 0 || n < 0 || lda < (m > 1 ? m : 1) || lwork < 32 * n || !work)
        return INVALID;
    mc_sim_enqueue([=] { *info = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, n, a, lda, tau); });
    return MC_CUSOLVER_SUCCESS;
}

static int orgqr_size(void *h, int m, int n, int k, const float *, int lda, const float *,
                      int *lwork)
{
    use(h, true);
    *lwork = 32 * n;
    return n > m || k > n || lda < (m > 1 ? m : 1) ? (int)INVALID : (int)MC_CUSOLVER_SUCCESS;
}

static int orgqr(void *h, int m, int n, int k, float *a, int lda, const float *tau, float *work,
                 int lwork, int *info)
{
    use(h, true);
    if (n > m || k > n || lda < (m > 1 ? m : 1) || lwork < 32 * n || !work)
        return INVALID;
    mc_sim_enqueue([=] { *info = LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, n, k, a, lda, tau); });
    return MC_CUSOLVER_SUCCESS;
}

static int gesvd_size(void *h, int m, int n, int *lwork)
{
    use(h, true);
    *lwork = 5 * m + 5;
    return m < n ? (int)INVALID : (int)MC_CUSOLVER_SUCCESS;
}

static int gesvd(void *h, signed char jobu, signed char jobvt, int m, int n, float *a, int lda,
                 float *s, float *u, int ldu, float *vt, int ldvt, float *work, int lwork,
                 float *rwork, int *info)
{
    use(h, true);
    if (m < n || lda < m || ldu < m || ldvt < n || lwork < 5 * m + 5 || !work || !rwork)
        return INVALID; /* m >= n: the library has no other case */
    mc_sim_enqueue([=] {
        std::vector<float> super((size_t)n + 1);
        *info = LAPACKE_sgesvd(LAPACK_COL_MAJOR, (char)jobu, (char)jobvt, m, n, a, lda, s, u, ldu,
                               vt, ldvt, super.data());
    });
    return MC_CUSOLVER_SUCCESS;
}

static int syevd_size(void *h, int, int, int n, const float *, int lda, const float *, int *lwork)
{
    use(h, true);
    *lwork = 2 * n;
    return n < 0 || lda < n ? (int)INVALID : (int)MC_CUSOLVER_SUCCESS;
}

static int syevd(void *h, int job, int uplo, int n, float *a, int lda, float *w, float *work,
                 int lwork, int *info)
{
    use(h, true);
    if (n < 0 || lda < n || lwork < 2 * n || !work || job != MC_CUSOLVER_VECTORS)
        return INVALID;
    mc_sim_enqueue([=] {
        *info = LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'V', uplo == MC_CUSOLVER_UPPER ? 'U' : 'L', n, a,
                               lda, w);
    });
    return MC_CUSOLVER_SUCCESS;
}

const mc_fake mc_fake_cusolver[] = {
    {"cusolverDnCreate", (void *)create},
    {"cusolverDnDestroy", (void *)destroy},
    {"cusolverDnSetStream", (void *)set_stream},
    {"cusolverDnSgeqrf_bufferSize", (void *)geqrf_size},
    {"cusolverDnSgeqrf", (void *)geqrf},
    {"cusolverDnSorgqr_bufferSize", (void *)orgqr_size},
    {"cusolverDnSorgqr", (void *)orgqr},
    {"cusolverDnSgesvd_bufferSize", (void *)gesvd_size},
    {"cusolverDnSgesvd", (void *)gesvd},
    {"cusolverDnSsyevd_bufferSize", (void *)syevd_size},
    {"cusolverDnSsyevd", (void *)syevd},
    {nullptr, nullptr},
};
