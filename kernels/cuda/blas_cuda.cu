#include "kernels/cuda/blas.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/libs.h"

/* As cuBLAS takes it for itself on compute capability 9; it is given, so that it can be recorded. */
enum { WORKSPACE = 32 << 20 };

struct key { /* what an algorithm is chosen by; no gaps */
    int64_t m, n, k, lda, ldb, ldc, batch, a_step, b_step, c_step;
    int32_t ta, tb, epilogue, compute, align_a, align_b, align_c, align_d, align_bias, spare;
};

struct plan {
    struct key key;
    void *desc, *a, *b, *c;
    struct mc_cublaslt_algo algo;
    size_t workspace;
    bool usable;
};

struct blas {
    bool asked;
    struct mc_cublas lib;
    void *handle; /* NULL: none */
    struct mc_cublaslt lt;
    void *lt_handle;
    void *workspace;
    struct plan **plan; /* hash table of `room`, a power of two, at most half full */
    size_t room, plans;
};

static void plan_free(struct blas *b, struct plan *p)
{
    if (p->desc)
        (void)b->lt.cublasLtMatmulDescDestroy(p->desc);
    if (p->a)
        (void)b->lt.cublasLtMatrixLayoutDestroy(p->a);
    if (p->b)
        (void)b->lt.cublasLtMatrixLayoutDestroy(p->b);
    if (p->c)
        (void)b->lt.cublasLtMatrixLayoutDestroy(p->c);
    free(p);
}

static void release(void *state)
{
    struct blas *b = (struct blas *)state;
    for (size_t i = 0; i < b->room; i++)
        if (b->plan[i])
            plan_free(b, b->plan[i]);
    free(b->plan);
    if (b->lt_handle)
        (void)b->lt.cublasLtDestroy(b->lt_handle);
    if (b->handle)
        (void)b->lib.cublasDestroy_v2(b->handle);
    (void)cudaFree(b->workspace);
}

static void open_blas(struct blas *b)
{
    bool ok = true;
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasCreate_v2, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasDestroy_v2, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasSetStream_v2, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasSetWorkspace_v2, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasGemmStridedBatchedEx, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasSsyrk_v2, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLAS, &b->lib, cublasStrsm_v2, ok);
    if (!ok || b->lib.cublasCreate_v2(&b->handle) != MC_CUBLAS_SUCCESS) {
        b->handle = NULL;
        return;
    }
    /* A new stream takes the workspace away. */
    if (b->lib.cublasSetStream_v2(b->handle, mc_cuda_now()->stream) != MC_CUBLAS_SUCCESS ||
        b->lib.cublasSetWorkspace_v2(b->handle, b->workspace, WORKSPACE) != MC_CUBLAS_SUCCESS) {
        (void)b->lib.cublasDestroy_v2(b->handle);
        b->handle = NULL;
    }
}

static void open_lt(struct blas *b)
{
    bool ok = true;
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtCreate, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtDestroy, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulDescCreate, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulDescDestroy, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulDescSetAttribute, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatrixLayoutCreate, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatrixLayoutDestroy, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatrixLayoutSetAttribute, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulPreferenceCreate, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulPreferenceDestroy, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulPreferenceSetAttribute, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmulAlgoGetHeuristic, ok);
    MC_CUDA_SYMBOL(MC_LIB_CUBLASLT, &b->lt, cublasLtMatmul, ok);
    if (!ok || b->lt.cublasLtCreate(&b->lt_handle) != MC_CUBLAS_SUCCESS)
        b->lt_handle = NULL;
}

static struct blas *blas_now(void)
{
    struct blas *b = (struct blas *)mc_cuda_keep("blas", sizeof *b, release);
    if (!b || b->asked)
        return b;
    b->asked = true;
    cudaError_t rc = cudaMalloc(&b->workspace, WORKSPACE);
    if (rc != cudaSuccess) { /* a device that full goes without them */
        (void)cudaGetLastError();
        b->workspace = NULL;
        return b;
    }
    open_blas(b);
    open_lt(b);
    if (b->handle || b->lt_handle) {
        mc_cuda_now()->library_bytes += WORKSPACE;
    } else {
        (void)cudaFree(b->workspace);
        b->workspace = NULL;
    }
    return b;
}

const struct mc_cublas *mc_cuda_blas(void **ret_handle)
{
    struct blas *b = blas_now();
    *ret_handle = b ? b->handle : NULL;
    return *ret_handle ? &b->lib : NULL;
}

static int compute_of(enum mc_gpu_precision p)
{
    return p == MC_GPU_BF16   ? MC_CUBLAS_32F_FAST_16BF
           : p == MC_GPU_TF32 ? MC_CUBLAS_32F_FAST_TF32
                              : MC_CUBLAS_32F;
}

/* ---- cuBLASLt: a product with what follows it ---- */

static int32_t alignment(const void *p)
{
    uintptr_t a = (uintptr_t)p | 256;
    return (int32_t)(a & -a);
}

static struct key key_of(const struct mc_cuda_gemm *g)
{
    struct key k;
    memset(&k, 0, sizeof k);
    k.m = g->m;
    k.n = g->n;
    k.k = g->k;
    k.lda = g->lda;
    k.ldb = g->ldb;
    k.ldc = g->ldc;
    k.batch = g->batch;
    k.a_step = g->batch > 1 ? g->a_step : 0;
    k.b_step = g->batch > 1 ? g->b_step : 0;
    k.c_step = g->batch > 1 ? g->c_step : 0;
    k.ta = g->ta ? MC_CUBLAS_OP_T : MC_CUBLAS_OP_N;
    k.tb = g->tb ? MC_CUBLAS_OP_T : MC_CUBLAS_OP_N;
    k.epilogue =
        (g->bias ? MC_CUBLASLT_EPILOGUE_BIAS : 0) | (g->relu ? MC_CUBLASLT_EPILOGUE_RELU : 0);
    if (!k.epilogue)
        k.epilogue = MC_CUBLASLT_EPILOGUE_DEFAULT;
    k.compute = compute_of(g->precision);
    k.align_a = alignment(g->a);
    k.align_b = alignment(g->b);
    k.align_c = alignment(g->residual ? g->residual : g->c);
    k.align_d = alignment(g->c);
    k.align_bias = g->bias ? alignment(g->bias) : 0;
    return k;
}

static uint64_t hash(const struct key *k)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < sizeof *k; i++)
        h = (h ^ ((const unsigned char *)k)[i]) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

static struct plan **place_of(struct plan **table, size_t room, const struct key *k)
{
    size_t i = (size_t)hash(k) & (room - 1);
    while (table[i] && memcmp(&table[i]->key, k, sizeof *k))
        i = (i + 1) & (room - 1);
    return &table[i];
}

static bool grow(struct blas *b)
{
    size_t room = b->room ? 2 * b->room : 64;
    struct plan **table = (struct plan **)calloc(room, sizeof *table);
    if (!table)
        return false;
    for (size_t i = 0; i < b->room; i++)
        if (b->plan[i])
            *place_of(table, room, &b->plan[i]->key) = b->plan[i];
    free(b->plan);
    b->plan = table;
    b->room = room;
    return true;
}

static bool layout(const struct mc_cublaslt *lt, void **ret, int64_t rows, int64_t columns,
                   int64_t ld, int64_t batch, int64_t step)
{
    int32_t count = (int32_t)batch;
    bool ok = lt->cublasLtMatrixLayoutCreate(ret, MC_CUBLAS_R_32F, (uint64_t)rows,
                                             (uint64_t)columns, ld) == MC_CUBLAS_SUCCESS;
    if (!ok)
        *ret = NULL;
    if (!ok || batch == 1)
        return ok;
    return lt->cublasLtMatrixLayoutSetAttribute(*ret, MC_CUBLASLT_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count) == MC_CUBLAS_SUCCESS &&
           lt->cublasLtMatrixLayoutSetAttribute(*ret, MC_CUBLASLT_LAYOUT_BATCH_OFFSET, &step,
                                                sizeof step) == MC_CUBLAS_SUCCESS;
}

static bool describe(const struct mc_cublaslt *lt, struct plan *p, const void *bias)
{
    const struct key *k = &p->key;
    if (lt->cublasLtMatmulDescCreate(&p->desc, k->compute, MC_CUBLAS_R_32F) != MC_CUBLAS_SUCCESS) {
        p->desc = NULL;
        return false;
    }
    const struct {
        int what;
        const void *value;
        size_t bytes;
    } set[] = {{MC_CUBLASLT_DESC_TRANSA, &k->ta, sizeof k->ta},
               {MC_CUBLASLT_DESC_TRANSB, &k->tb, sizeof k->tb},
               {MC_CUBLASLT_DESC_EPILOGUE, &k->epilogue, sizeof k->epilogue},
               {MC_CUBLASLT_DESC_BIAS_POINTER, &bias, sizeof bias}};
    for (size_t i = 0; i < sizeof set / sizeof *set - (bias ? 0 : 1); i++)
        if (lt->cublasLtMatmulDescSetAttribute(p->desc, set[i].what, set[i].value, set[i].bytes) !=
            MC_CUBLAS_SUCCESS)
            return false;
    return layout(lt, &p->a, k->ta ? k->k : k->m, k->ta ? k->m : k->k, k->lda, k->batch,
                  k->a_step) &&
           layout(lt, &p->b, k->tb ? k->n : k->k, k->tb ? k->k : k->n, k->ldb, k->batch,
                  k->b_step) &&
           layout(lt, &p->c, k->m, k->n, k->ldc, k->batch, k->c_step);
}

/* The first that the library proposes: measuring would choose another one in another run, and so other bits. */
static bool choose(struct blas *b, struct plan *p)
{
    const struct mc_cublaslt *lt = &b->lt;
    const struct key *k = &p->key;
    void *preference = NULL;
    struct mc_cublaslt_result result;
    int n = 0;
    uint64_t workspace = WORKSPACE;
    uint32_t reduction = MC_CUBLASLT_REDUCTION_COMPUTE;
    const int32_t align[] = {k->align_a, k->align_b, k->align_c, k->align_d};
    memset(&result, 0, sizeof result);
    if (lt->cublasLtMatmulPreferenceCreate(&preference) != MC_CUBLAS_SUCCESS)
        return false;
    bool ok =
        lt->cublasLtMatmulPreferenceSetAttribute(preference, MC_CUBLASLT_PREF_WORKSPACE, &workspace,
                                                 sizeof workspace) == MC_CUBLAS_SUCCESS &&
        lt->cublasLtMatmulPreferenceSetAttribute(preference, MC_CUBLASLT_PREF_REDUCTION, &reduction,
                                                 sizeof reduction) == MC_CUBLAS_SUCCESS;
    for (int i = 0; i < 4 && ok; i++)
        ok = lt->cublasLtMatmulPreferenceSetAttribute(preference, MC_CUBLASLT_PREF_ALIGN_A + i,
                                                      &align[i],
                                                      sizeof align[i]) == MC_CUBLAS_SUCCESS;
    ok = ok &&
         lt->cublasLtMatmulAlgoGetHeuristic(b->lt_handle, p->desc, p->a, p->b, p->c, p->c,
                                            preference, 1, &result, &n) == MC_CUBLAS_SUCCESS &&
         n > 0 && result.state == MC_CUBLAS_SUCCESS && result.workspace <= WORKSPACE;
    (void)lt->cublasLtMatmulPreferenceDestroy(preference);
    p->algo = result.algo;
    p->workspace = result.workspace;
    return ok;
}

/* NULL: out of memory. */
static struct plan *plan_for(struct blas *b, const struct mc_cuda_gemm *g)
{
    struct key k = key_of(g);
    if (2 * (b->plans + 1) > b->room && !grow(b))
        return NULL;
    struct plan **at = place_of(b->plan, b->room, &k);
    if (*at)
        return *at;
    struct plan *p = (struct plan *)calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->key = k;
    p->usable = describe(&b->lt, p, g->bias) && choose(b, p);
    *at = p;
    b->plans++;
    return p;
}

static bool by_lt(struct blas *b, const struct mc_cuda_gemm *g)
{
    struct plan *p = b->lt_handle ? plan_for(b, g) : NULL;
    if (!p || !p->usable)
        return false;
    const struct mc_cublaslt *lt = &b->lt;
    const float beta = g->residual ? 1 : 0;
    if (g->bias &&
        lt->cublasLtMatmulDescSetAttribute(p->desc, MC_CUBLASLT_DESC_BIAS_POINTER, &g->bias,
                                           sizeof g->bias) != MC_CUBLAS_SUCCESS)
        return false;
    p->usable =
        lt->cublasLtMatmul(b->lt_handle, p->desc, &g->alpha, g->a, p->a, g->b, p->b, &beta,
                           g->residual ? g->residual : g->c, p->c, g->c, p->c, &p->algo,
                           b->workspace, WORKSPACE, mc_cuda_now()->stream) == MC_CUBLAS_SUCCESS;
    return p->usable;
}

/* ---- cuBLAS: a product alone ---- */

static bool by_blas(struct blas *b, const struct mc_cuda_gemm *g)
{
    const float beta = g->residual == g->c ? 1 : 0;
    return b->handle &&
           b->lib.cublasGemmStridedBatchedEx(
               b->handle, g->ta ? MC_CUBLAS_OP_T : MC_CUBLAS_OP_N,
               g->tb ? MC_CUBLAS_OP_T : MC_CUBLAS_OP_N, (int)g->m, (int)g->n, (int)g->k, &g->alpha,
               g->a, MC_CUBLAS_R_32F, (int)g->lda, g->a_step, g->b, MC_CUBLAS_R_32F, (int)g->ldb,
               g->b_step, &beta, g->c, MC_CUBLAS_R_32F, (int)g->ldc, g->c_step, (int)g->batch,
               compute_of(g->precision), MC_CUBLAS_GEMM_DEFAULT) == MC_CUBLAS_SUCCESS;
}

unsigned mc_cuda_blas_gemm(const struct mc_cuda_gemm *g)
{
    const int64_t sizes[] = {g->m, g->n, g->k, g->lda, g->ldb, g->ldc, g->batch};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > INT_MAX)
            return MC_CUDA_PRODUCT;
    struct blas *b = blas_now();
    if (!b)
        return MC_CUDA_PRODUCT;
    bool in_place = g->residual == g->c;
    unsigned rest = (g->bias ? MC_CUDA_BIAS : 0) |
                    (g->residual && !in_place ? MC_CUDA_RESIDUAL : 0) |
                    (g->relu ? MC_CUDA_RELU : 0);
    if (!rest && by_blas(b, g))
        return 0;
    if (by_lt(b, g))
        return 0;
    return rest && by_blas(b, g) ? rest : (unsigned)MC_CUDA_PRODUCT;
}

bool mc_cuda_blas_layout(int64_t rows, int64_t columns, int64_t row_step, int64_t column_step,
                         bool *ret_transposed, int64_t *ret_ld)
{
    bool plain = (row_step == 1 || rows == 1) && (columns == 1 || column_step >= rows);
    bool turned = (column_step == 1 || columns == 1) && (rows == 1 || row_step >= columns);
    *ret_transposed = !plain;
    *ret_ld = plain ? (columns == 1 ? rows : column_step) : rows == 1 ? columns : row_step;
    return plain || turned;
}
