/* cuBLASLt by OpenBLAS. An algorithm is for the descriptors that it was chosen for, and for no others. */
#include <cstdlib>

#include "tests/cuda/fake.h"
#include "tests/cuda/fake_blas.h"

enum kind : uint64_t { HANDLE = 0x6c740001, DESC, LAYOUT, PREFERENCE };

struct object {
    uint64_t kind;
    int compute, ta, tb, epilogue; /* DESC */
    const float *bias;
    int64_t rows, columns, ld, step; /* LAYOUT */
    int batch;
    uint64_t workspace; /* PREFERENCE */
    uint32_t reduction, align[4];
};

static object *use(void *p, uint64_t kind)
{
    object *o = (object *)p;
    if (!o || o->kind != kind)
        fake_abort("cuBLASLt", "an argument is not what it should be, or was destroyed");
    return o;
}

static int make(void **ret, uint64_t kind)
{
    object *o = new object();
    o->kind = kind;
    o->epilogue = MC_CUBLASLT_EPILOGUE_DEFAULT;
    o->batch = 1;
    o->reduction = 7;
    for (uint32_t &a : o->align)
        a = 256;
    *ret = o;
    return MC_CUBLAS_SUCCESS;
}

template <uint64_t kind> static int destroy(void *p)
{
    use(p, kind)->kind = 0;
    delete (object *)p;
    return MC_CUBLAS_SUCCESS;
}

static int create(void **ret)
{
    return make(ret, HANDLE);
}

static int desc_create(void **ret, int compute, int scale_type)
{
    if (scale_type != MC_CUBLAS_R_32F)
        return FAKE_INVALID;
    make(ret, DESC);
    ((object *)*ret)->compute = compute;
    return MC_CUBLAS_SUCCESS;
}

template <class T> static int take(T *to, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof *to)
        return FAKE_INVALID;
    memcpy(to, value, bytes);
    return MC_CUBLAS_SUCCESS;
}

static int desc_set(void *p, int what, const void *value, size_t bytes)
{
    object *o = use(p, DESC);
    switch (what) {
    case MC_CUBLASLT_DESC_TRANSA: return take(&o->ta, value, bytes);
    case MC_CUBLASLT_DESC_TRANSB: return take(&o->tb, value, bytes);
    case MC_CUBLASLT_DESC_EPILOGUE: return take(&o->epilogue, value, bytes);
    case MC_CUBLASLT_DESC_BIAS_POINTER: return take(&o->bias, value, bytes);
    default: return FAKE_INVALID;
    }
}

static int layout_create(void **ret, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    if (type != MC_CUBLAS_R_32F || rows == 0 || columns == 0 || ld < (int64_t)rows)
        return FAKE_INVALID;
    make(ret, LAYOUT);
    object *o = (object *)*ret;
    o->rows = (int64_t)rows;
    o->columns = (int64_t)columns;
    o->ld = ld;
    return MC_CUBLAS_SUCCESS;
}

static int layout_set(void *p, int what, const void *value, size_t bytes)
{
    object *o = use(p, LAYOUT);
    switch (what) {
    case MC_CUBLASLT_LAYOUT_BATCH_COUNT: return take(&o->batch, value, bytes);
    case MC_CUBLASLT_LAYOUT_BATCH_OFFSET: return take(&o->step, value, bytes);
    default: return FAKE_INVALID;
    }
}

static int preference_create(void **ret)
{
    int rc = make(ret, PREFERENCE);
    ((object *)*ret)->workspace = 0;
    return rc;
}

static int preference_set(void *p, int what, const void *value, size_t bytes)
{
    object *o = use(p, PREFERENCE);
    if (what == MC_CUBLASLT_PREF_WORKSPACE)
        return take(&o->workspace, value, bytes);
    if (what == MC_CUBLASLT_PREF_REDUCTION)
        return take(&o->reduction, value, bytes);
    if (what >= MC_CUBLASLT_PREF_ALIGN_A && what < MC_CUBLASLT_PREF_ALIGN_A + 4)
        return take(&o->align[what - MC_CUBLASLT_PREF_ALIGN_A], value, bytes);
    return FAKE_INVALID;
}

/* ---- algorithms ---- */

static uint64_t mix(uint64_t h, int64_t v)
{
    return (h ^ (uint64_t)v) * UINT64_C(1099511628211);
}

/* 0: they do not fit. */
static uint64_t problem(const object *d, const object *a, const object *b, const object *c)
{
    int64_t m = d->ta ? a->columns : a->rows, k = d->ta ? a->rows : a->columns;
    int64_t n = d->tb ? b->rows : b->columns, kb = d->tb ? b->columns : b->rows;
    int known =
        MC_CUBLASLT_EPILOGUE_DEFAULT | MC_CUBLASLT_EPILOGUE_RELU | MC_CUBLASLT_EPILOGUE_BIAS;
    bool has_bias = d->epilogue & MC_CUBLASLT_EPILOGUE_BIAS;
    if (k != kb || m != c->rows || n != c->columns || a->batch != c->batch ||
        b->batch != c->batch || d->epilogue & ~known || (has_bias && !d->bias) || d->ta > 2 ||
        d->tb > 2)
        return 0;
    if ((d->epilogue & MC_CUBLASLT_EPILOGUE_DEFAULT) && d->epilogue != MC_CUBLASLT_EPILOGUE_DEFAULT)
        return 0;
    uint64_t h = UINT64_C(14695981039346656037);
    for (int64_t v : {(int64_t)d->compute, (int64_t)d->ta, (int64_t)d->tb, (int64_t)d->epilogue, m,
                      n, k, a->ld, b->ld, c->ld, a->step, b->step, c->step, (int64_t)c->batch})
        h = mix(h, v);
    return h | 1;
}

static const uint64_t FROM_WORKSPACE = 1 << 20;

static int heuristic(void *h, void *desc, void *a, void *b, void *c, void *d, void *preference,
                     int most, struct mc_cublaslt_result *results, int *ret_n)
{
    use(h, HANDLE);
    object *o = use(preference, PREFERENCE), *de = use(desc, DESC);
    uint64_t id = problem(de, use(a, LAYOUT), use(b, LAYOUT), use(c, LAYOUT));
    *ret_n = 0;
    if (most < 1 || use(d, LAYOUT)->ld != use(c, LAYOUT)->ld)
        return FAKE_INVALID;
    if (!id)
        return FAKE_NOT_SUPPORTED;
    if (o->reduction & 1)
        fake_abort("cuBLASLt", "a sum in place would be allowed");
    memset(results, 0, sizeof *results);
    results->algo.data[0] = id;
    for (int i = 0; i < 4; i++)
        results->algo.data[1 + i] = o->align[i];
    results->algo.data[5] = results->workspace =
        (size_t)(o->workspace < FROM_WORKSPACE ? o->workspace : FROM_WORKSPACE);
    results->algo.data[6] = (uintptr_t)de->bias & -(uintptr_t)de->bias;
    results->state = MC_CUBLAS_SUCCESS;
    *ret_n = 1;
    return MC_CUBLAS_SUCCESS;
}

static int matmul(void *h, void *desc, const void *alpha, const void *a, void *a_layout,
                  const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                  void *d, void *d_layout, const struct mc_cublaslt_algo *algo, void *workspace,
                  size_t bytes, cudaStream_t stream)
{
    use(h, HANDLE);
    object *de = use(desc, DESC), *al = use(a_layout, LAYOUT), *bl = use(b_layout, LAYOUT),
           *cl = use(c_layout, LAYOUT);
    const void *operand[] = {a, b, c, d};
    if (!stream)
        fake_abort("cuBLASLt", "work on the default stream, which is not ordered with ours");
    if (!alpha || !beta || use(d_layout, LAYOUT) != cl || !algo ||
        algo->data[0] != problem(de, al, bl, cl) || bytes < algo->data[5] ||
        (bytes && (!workspace || (uintptr_t)workspace % 16)))
        return FAKE_INVALID;
    for (int i = 0; i < 4; i++)
        if (!operand[i] || (uintptr_t)operand[i] % algo->data[1 + i])
            fake_abort("cuBLASLt", "an operand is less aligned than the algorithm was told");
    if (algo->data[6] && (uintptr_t)de->bias % (algo->data[6] < 256 ? algo->data[6] : 256))
        fake_abort("cuBLASLt", "a bias is less aligned than the algorithm was told");
    if (cl->batch > 1 && fake_overlap(cl->rows, cl->columns, cl->batch, cl->ld, cl->step))
        fake_abort("cuBLASLt", "results of a batch overlap");
    fake_product p = {};
    p.ta = de->ta;
    p.tb = de->tb;
    p.m = cl->rows;
    p.n = cl->columns;
    p.k = de->ta ? al->rows : al->columns;
    p.batch = cl->batch;
    p.alpha = *(const float *)alpha;
    p.beta = *(const float *)beta;
    p.a = (const float *)a;
    p.b = (const float *)b;
    p.c0 = (const float *)c;
    p.c = (float *)d;
    p.lda = al->ld;
    p.ldb = bl->ld;
    p.ldc = cl->ld;
    p.a_step = al->step;
    p.b_step = bl->step;
    p.c_step = cl->step;
    p.compute = de->compute;
    p.bias = de->epilogue & MC_CUBLASLT_EPILOGUE_BIAS ? de->bias : nullptr;
    p.relu = de->epilogue & MC_CUBLASLT_EPILOGUE_RELU;
    fake_multiply(p);
    return MC_CUBLAS_SUCCESS;
}

const mc_fake mc_fake_cublasLt[] = {
    {"cublasLtCreate", (void *)create},
    {"cublasLtDestroy", (void *)destroy<HANDLE>},
    {"cublasLtMatmulDescCreate", (void *)desc_create},
    {"cublasLtMatmulDescDestroy", (void *)destroy<DESC>},
    {"cublasLtMatmulDescSetAttribute", (void *)desc_set},
    {"cublasLtMatrixLayoutCreate", (void *)layout_create},
    {"cublasLtMatrixLayoutDestroy", (void *)destroy<LAYOUT>},
    {"cublasLtMatrixLayoutSetAttribute", (void *)layout_set},
    {"cublasLtMatmulPreferenceCreate", (void *)preference_create},
    {"cublasLtMatmulPreferenceDestroy", (void *)destroy<PREFERENCE>},
    {"cublasLtMatmulPreferenceSetAttribute", (void *)preference_set},
    {"cublasLtMatmulAlgoGetHeuristic", (void *)heuristic},
    {"cublasLtMatmul", (void *)matmul},
    {nullptr, nullptr},
};
