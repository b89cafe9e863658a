/* Factorisations by cuSOLVER. */
#include "kernels/cuda/lib_cusolver.h"

#include <limits.h>

#include "kernels/cuda/libs.h"

struct solver {
    bool asked;
    struct mc_cusolver lib;
    void *handle; /* NULL: none */
};

static void release(void *state)
{
    struct solver *s = (struct solver *)state;
    if (s->handle)
        (void)s->lib.cusolverDnDestroy(s->handle);
}

static struct solver *solver_now(void)
{
    struct solver *s = (struct solver *)mc_cuda_keep("solver", sizeof *s, release);
    bool ok = true;
    if (!s || s->asked)
        return s && s->handle ? s : NULL;
    s->asked = true;
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnCreate, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnDestroy, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSetStream, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSgeqrf_bufferSize, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSgeqrf, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSorgqr_bufferSize, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSorgqr, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSgesvd_bufferSize, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSgesvd, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSsyevd_bufferSize, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUSOLVER, &s->lib, cusolverDnSsyevd, ok);
    if (!ok || s->lib.cusolverDnCreate(&s->handle) != MC_CUSOLVER_SUCCESS) {
        s->handle = NULL;
        return NULL;
    }
    if (s->lib.cusolverDnSetStream(s->handle, mc_cuda_now()->stream) != MC_CUSOLVER_SUCCESS) {
        (void)s->lib.cusolverDnDestroy(s->handle);
        s->handle = NULL;
    }
    return s->handle ? s : NULL;
}

struct room { /* what the library asks for, a number, `extra` floats; until status_of */
    float *work, *extra;
    int *info, lwork;
};

static bool room_for(struct room *r, int lwork, int64_t extra)
{
    size_t first = ((size_t)lwork * sizeof(float) + 255) / 256 * 256;
    void *all;
    if (cudaMalloc(&all, first + (size_t)extra * sizeof(float) + 256) != cudaSuccess) {
        (void)cudaGetLastError(); /* the CPU does it */
        return false;
    }
    char *p = (char *)all;
    r->work = (float *)p;
    r->info = (int *)(p + first);
    r->extra = (float *)(p + first + 256);
    r->lwork = lwork;
    return true;
}

static enum mc_solver_status status_of(int rc, const struct room *r)
{
    int info = 0;
    cudaStream_t stream = mc_cuda_now()->stream;
    cudaError_t copied =
        cudaMemcpyAsync(&info, r->info, sizeof info, cudaMemcpyDeviceToHost, stream);
    if (copied == cudaSuccess)
        copied = cudaStreamSynchronize(stream);
    (void)cudaFree(r->work);
    if (rc != MC_CUSOLVER_SUCCESS)
        return MC_SOLVER_NONE;
    mc_cuda_check(copied, "factorisation");
    return copied != cudaSuccess || info ? MC_SOLVER_DIVERGED : MC_SOLVER_OK;
}

/* The upper triangle of a [m,n], column-major, as r [n,n], row-major, with zeros below. */
static __global__ void upper(int64_t m, int64_t n, const float *a, float *r)
{
    for (int64_t e = MC_CUDA_INDEX_OF; e < n * n; e += MC_CUDA_STRIDE) {
        int64_t i = e / n, j = e % n;
        r[e] = j < i ? 0 : a[j * m + i];
    }
}

static enum mc_solver_status run_qr(int64_t m, int64_t n, float *a, float *r)
{
    struct solver *s = m <= INT_MAX ? solver_now() : NULL;
    struct room room;
    int first = 0, second = 0, rows = (int)m, columns = (int)n;
    if (!s ||
        s->lib.cusolverDnSgeqrf_bufferSize(s->handle, rows, columns, a, rows, &first) !=
            MC_CUSOLVER_SUCCESS ||
        s->lib.cusolverDnSorgqr_bufferSize(s->handle, rows, columns, columns, a, rows, a,
                                           &second) != MC_CUSOLVER_SUCCESS ||
        !room_for(&room, first > second ? first : second, n))
        return MC_SOLVER_NONE;
    int rc = s->lib.cusolverDnSgeqrf(s->handle, rows, columns, a, rows, room.extra, room.work,
                                     room.lwork, room.info);
    if (rc == MC_CUSOLVER_SUCCESS && r)
        MC_LAUNCH(upper, mc_cuda_blocks(n * n), MC_CUDA_THREADS, m, n, (const float *)a, r);
    if (rc == MC_CUSOLVER_SUCCESS)
        rc = s->lib.cusolverDnSorgqr(s->handle, rows, columns, columns, a, rows, room.extra,
                                     room.work, room.lwork, room.info);
    return status_of(rc, &room);
}

static enum mc_solver_status run_svd(int64_t m, int64_t n, float *a, float *u, float *s, float *vt)
{
    struct solver *so = m <= INT_MAX ? solver_now() : NULL;
    struct room room;
    int lwork = 0, rows = (int)m, columns = (int)n;
    if (!so ||
        so->lib.cusolverDnSgesvd_bufferSize(so->handle, rows, columns, &lwork) !=
            MC_CUSOLVER_SUCCESS ||
        !room_for(&room, lwork, n))
        return MC_SOLVER_NONE;
    int rc = so->lib.cusolverDnSgesvd(so->handle, 'S', 'S', rows, columns, a, rows, s, u, rows, vt,
                                      columns, room.work, room.lwork, room.extra, room.info);
    return status_of(rc, &room);
}

static enum mc_solver_status run_eigh(int64_t n, float *a, float *w)
{
    struct solver *s = n <= INT_MAX ? solver_now() : NULL;
    struct room room;
    int lwork = 0, side = (int)n;
    if (!s ||
        s->lib.cusolverDnSsyevd_bufferSize(s->handle, MC_CUSOLVER_VECTORS, MC_CUSOLVER_UPPER, side,
                                           a, side, w, &lwork) != MC_CUSOLVER_SUCCESS ||
        !room_for(&room, lwork, 0))
        return MC_SOLVER_NONE;
    int rc = s->lib.cusolverDnSsyevd(s->handle, MC_CUSOLVER_VECTORS, MC_CUSOLVER_UPPER, side, a,
                                     side, w, room.work, room.lwork, room.info);
    return status_of(rc, &room);
}

void mc_solver_fill_cuda(struct mc_kernels *k)
{
    k->solver.qr = run_qr;
    k->solver.svd = run_svd;
    k->solver.eigh = run_eigh;
}
