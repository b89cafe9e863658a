/* cuBLAS by OpenBLAS. */
#include <cblas.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/cuda/fake.h"
#include "tests/cuda/fake_blas.h"

void fake_abort(const char *library, const char *what)
{
    fprintf(stderr, "%s (simulated): %s\n", library, what);
    abort();
}

/* ---- products, of cuBLASLt too ---- */

/* To the nearest with so many bits less, ties to even. */
static float rounded(float x, int drop)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    if (drop && std::isfinite(x)) {
        u += ((uint32_t)1 << (drop - 1)) - 1 + (u >> drop & 1);
        u &= ~(((uint32_t)1 << drop) - 1);
    }
    memcpy(&x, &u, 4);
    return x;
}

static std::vector<float> factors(const float *x, int64_t rows, int64_t columns, int64_t ld,
                                  int compute)
{
    int drop = compute == MC_CUBLAS_32F_FAST_TF32   ? 13
               : compute == MC_CUBLAS_32F_FAST_16BF ? 16
                                                    : 0;
    std::vector<float> y((size_t)(rows * columns));
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            y[(size_t)(j * rows + i)] = rounded(x[j * ld + i], drop);
    return y;
}

static void one(const struct fake_product &p, int64_t i)
{
    int64_t a_rows = p.ta ? p.k : p.m, b_rows = p.tb ? p.n : p.k;
    std::vector<float> a = factors(p.a + i * p.a_step, a_rows, p.ta ? p.m : p.k, p.lda, p.compute);
    std::vector<float> b = factors(p.b + i * p.b_step, b_rows, p.tb ? p.k : p.n, p.ldb, p.compute);
    std::vector<float> sum((size_t)(p.m * p.n));
    cblas_sgemm(CblasColMajor, p.ta ? CblasTrans : CblasNoTrans, p.tb ? CblasTrans : CblasNoTrans,
                (int)p.m, (int)p.n, (int)p.k, p.alpha, a.data(), (int)a_rows, b.data(), (int)b_rows,
                0, sum.data(), (int)p.m);
    for (int64_t c = 0; c < p.n; c++)
        for (int64_t r = 0; r < p.m; r++) {
            int64_t at = i * p.c_step + c * p.ldc + r;
            float v = sum[(size_t)(c * p.m + r)];
            if (p.beta != 0)
                v += p.beta * p.c0[at];
            if (p.bias)
                v += p.bias[r];
            p.c[at] = p.relu && v < 0 ? 0 : v;
        }
}

void fake_multiply(const struct fake_product &p)
{
    mc_sim_trace("product %c%c m %lld n %lld k %lld batch %lld%s%s%s", p.ta ? 'T' : 'N',
                 p.tb ? 'T' : 'N', (long long)p.m, (long long)p.n, (long long)p.k,
                 (long long)p.batch, p.beta != 0 ? " accumulates" : "", p.bias ? " bias" : "",
                 p.relu ? " relu" : "");
    mc_sim_enqueue([p] {
        for (int64_t i = 0; i < p.batch; i++)
            one(p, i);
    });
}

/* ---- the handle ---- */

struct handle {
    uint64_t magic;
    cudaStream_t stream;
    void *workspace;
    size_t workspace_bytes;
};
static const uint64_t MAGIC = 0x6375626c6173; /* "cublas" */

static handle *use(void *h, bool work)
{
    handle *x = (handle *)h;
    if (!x || x->magic != MAGIC)
        fake_abort("cuBLAS", "this is no handle");
    if (work && !x->stream)
        fake_abort("cuBLAS", "work on the default stream, which is not ordered with ours");
    if (work && !x->workspace)
        fake_abort("cuBLAS", "no workspace was given: a recording would allocate");
    return x;
}

static int create(void **h)
{
    *h = new handle{MAGIC, nullptr, nullptr, 0};
    return MC_CUBLAS_SUCCESS;
}

static int destroy(void *h)
{
    use(h, false)->magic = 0;
    delete (handle *)h;
    return MC_CUBLAS_SUCCESS;
}

static int set_stream(void *h, cudaStream_t s)
{
    handle *x = use(h, false);
    x->stream = s;
    x->workspace = nullptr;
    return MC_CUBLAS_SUCCESS;
}

static int set_workspace(void *h, void *p, size_t bytes)
{
    handle *x = use(h, false);
    if ((uintptr_t)p % 256)
        return FAKE_INVALID;
    x->workspace = p;
    x->workspace_bytes = bytes;
    return MC_CUBLAS_SUCCESS;
}

static bool bad_op(int op)
{
    return op < 0 || op > 2;
}

static bool bad_ld(int64_t ld, int64_t rows)
{
    return ld < (rows > 1 ? rows : 1);
}

static int gemm(void *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                int a_type, int lda, long long a_step, const void *b, int b_type, int ldb,
                long long b_step, const void *beta, void *c, int c_type, int ldc, long long c_step,
                int batch, int compute, int algo)
{
    use(h, true);
    if (bad_op(ta) || bad_op(tb) || m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta ||
        bad_ld(lda, ta ? k : m) || bad_ld(ldb, tb ? n : k) || bad_ld(ldc, m))
        return FAKE_INVALID;
    if (a_type != MC_CUBLAS_R_32F || b_type != MC_CUBLAS_R_32F || c_type != MC_CUBLAS_R_32F ||
        algo != MC_CUBLAS_GEMM_DEFAULT ||
        (compute != MC_CUBLAS_32F && compute != MC_CUBLAS_32F_FAST_TF32 &&
         compute != MC_CUBLAS_32F_FAST_16BF))
        return FAKE_NOT_SUPPORTED;
    if (batch > 1 && fake_overlap(m, n, batch, ldc, c_step))
        fake_abort("cuBLAS", "results of a batch overlap");
    fake_product p = {};
    p.ta = ta;
    p.tb = tb;
    p.m = m;
    p.n = n;
    p.k = k;
    p.batch = batch;
    p.alpha = *(const float *)alpha;
    p.beta = *(const float *)beta;
    p.a = (const float *)a;
    p.b = (const float *)b;
    p.c0 = p.c = (float *)c;
    p.lda = lda;
    p.ldb = ldb;
    p.ldc = ldc;
    p.a_step = a_step;
    p.b_step = b_step;
    p.c_step = c_step;
    p.compute = compute;
    fake_multiply(p);
    return MC_CUBLAS_SUCCESS;
}

static int syrk(void *h, int uplo, int trans, int n, int k, const float *alpha, const float *a,
                int lda, const float *beta, float *c, int ldc)
{
    use(h, true);
    if ((uplo != MC_CUBLAS_LOWER && uplo != MC_CUBLAS_UPPER) || bad_op(trans) || n < 0 || k < 0 ||
        bad_ld(lda, trans ? k : n) || bad_ld(ldc, n))
        return FAKE_INVALID;
    float al = *alpha, be = *beta;
    mc_sim_enqueue([=] {
        cblas_ssyrk(CblasColMajor, uplo == MC_CUBLAS_UPPER ? CblasUpper : CblasLower,
                    trans ? CblasTrans : CblasNoTrans, n, k, al, a, lda, be, c, ldc);
    });
    return MC_CUBLAS_SUCCESS;
}

static int trsm(void *h, int side, int uplo, int trans, int diag, int m, int n, const float *alpha,
                const float *a, int lda, float *b, int ldb)
{
    use(h, true);
    if ((side != MC_CUBLAS_LEFT && side != MC_CUBLAS_RIGHT) ||
        (uplo != MC_CUBLAS_LOWER && uplo != MC_CUBLAS_UPPER) || bad_op(trans) ||
        diag != MC_CUBLAS_NON_UNIT || m < 0 || n < 0 ||
        bad_ld(lda, side == MC_CUBLAS_LEFT ? m : n) || bad_ld(ldb, m))
        return FAKE_INVALID;
    float al = *alpha;
    mc_sim_enqueue([=] {
        cblas_strsm(CblasColMajor, side == MC_CUBLAS_LEFT ? CblasLeft : CblasRight,
                    uplo == MC_CUBLAS_UPPER ? CblasUpper : CblasLower,
                    trans ? CblasTrans : CblasNoTrans, CblasNonUnit, m, n, al, a, lda, b, ldb);
    });
    return MC_CUBLAS_SUCCESS;
}

const mc_fake mc_fake_cublas[] = {
    {"cublasCreate_v2", (void *)create},
    {"cublasDestroy_v2", (void *)destroy},
    {"cublasSetStream_v2", (void *)set_stream},
    {"cublasSetWorkspace_v2", (void *)set_workspace},
    {"cublasGemmStridedBatchedEx", (void *)gemm},
    {"cublasSsyrk_v2", (void *)syrk},
    {"cublasStrsm_v2", (void *)trsm},
    {nullptr, nullptr},
};
