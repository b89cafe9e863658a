/* Convolutions by cuDNN's direct interface: what was chosen for a shape is kept with the device.
 *
 * Only algorithms that give the same bits in every run, and of these only sums of products and the smallest Winograd
 * transform: larger ones and Fourier transforms lose digits. "bf16" is TF32 here, which is at least as exact: of
 * float32 tensors this interface makes half floats or TF32, no bfloat16. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/conv_cuda.h"
#include "kernels/cuda/lib_cudnn.h"
#include "kernels/cuda/libs.h"

enum way { FORWARD, DATA, FILTER };

struct plan {
    struct plan *next;
    enum way way;
    struct mc_conv sizes; /* without pointers and epilogue */
    bool usable, fused_fails;
    int algo;
    size_t bytes;
    mc_cudnn_t x, w, y, bias, conv;
};

enum {
    BUCKETS = 64,
    ALGOS = 16,
    SPACE_BYTES = 256 << 20, /* of workspace, at most */
    LEAST_TERMS = 128,       /* of a sum, and */
    LEAST_FILTERS = 32,      /* of a group: with fewer, tiles wait for memory as much */
};

struct kept {
    bool looked, there;
    struct mc_cudnn fn;
    mc_cudnn_t handle, relu;
    struct plan *bucket[BUCKETS];
};

static void plan_free(const struct mc_cudnn *fn, struct plan *p)
{
    for (mc_cudnn_t *t : {&p->x, &p->y, &p->bias})
        if (*t)
            fn->cudnnDestroyTensorDescriptor(*t);
    if (p->w)
        fn->cudnnDestroyFilterDescriptor(p->w);
    if (p->conv)
        fn->cudnnDestroyConvolutionDescriptor(p->conv);
    free(p);
}

static void release(void *state)
{
    struct kept *k = (struct kept *)state;
    for (int i = 0; i < BUCKETS; i++)
        while (k->bucket[i]) {
            struct plan *p = k->bucket[i];
            k->bucket[i] = p->next;
            plan_free(&k->fn, p);
        }
    if (k->relu)
        k->fn.cudnnDestroyActivationDescriptor(k->relu);
    if (k->handle)
        k->fn.cudnnDestroy(k->handle);
}

static struct kept *library(void)
{
    struct kept *k = (struct kept *)mc_cuda_keep("cudnn", sizeof *k, release);
    if (!k || k->looked)
        return k && k->there ? k : NULL;
    bool ok = true;
    k->looked = true;
#define GET(name) MC_CUDA_SYMBOL(MC_LIB_CUDNN, &k->fn, name, ok);
    MC_CUDNN_FUNCTIONS(GET)
#undef GET
    k->there = ok && k->fn.cudnnCreate(&k->handle) == MC_CUDNN_SUCCESS &&
               k->fn.cudnnSetStream(k->handle, mc_cuda_now()->stream) == MC_CUDNN_SUCCESS &&
               k->fn.cudnnCreateActivationDescriptor(&k->relu) == MC_CUDNN_SUCCESS &&
               k->fn.cudnnSetActivationDescriptor(k->relu, MC_CUDNN_RELU, MC_CUDNN_PROPAGATE_NAN,
                                                  0) == MC_CUDNN_SUCCESS;
    return k->there ? k : NULL;
}

/* ---- a shape ---- */

/* cuDNN pads both ends alike. */
static bool fits(const struct mc_conv *c)
{
    for (int d = 0; d < 3; d++) {
        int64_t room = c->in[d] + 2 * c->pad[d] - (c->kernel[d] - 1) * c->dilation[d] - 1;
        if (c->pad[d] < 0 || room < 0 || room / c->stride[d] + 1 != c->out[d])
            return false;
    }
    int64_t ic = c->c / c->group, oc = c->oc / c->group;
    int64_t terms = ic * c->kernel[0] * c->kernel[1] * c->kernel[2];
    return c->n > 0 && terms >= LEAST_TERMS && oc >= LEAST_FILTERS;
}

static bool tensor(const struct mc_cudnn *fn, mc_cudnn_t *t, int dims, int64_t n, int64_t channels,
                   const int64_t size[3])
{
    int dim[5] = {(int)n, (int)channels}, stride[5], step = 1, rank = dims + 2;
    for (int d = 0; d < dims; d++)
        dim[2 + d] = size ? (int)size[3 - dims + d] : 1;
    for (int d = rank - 1; d >= 0; step *= dim[d], d--)
        stride[d] = step;
    return fn->cudnnCreateTensorDescriptor(t) == MC_CUDNN_SUCCESS &&
           fn->cudnnSetTensorNdDescriptor(*t, MC_CUDNN_DATA_FLOAT, rank, dim, stride) ==
               MC_CUDNN_SUCCESS;
}

static bool describe(const struct mc_cudnn *fn, struct plan *p)
{
    const struct mc_conv *c = &p->sizes;
    int dims = c->in[0] == 1 && c->kernel[0] == 1 && c->out[0] == 1 ? 2 : 3;
    int filter[5] = {(int)c->oc, (int)(c->c / c->group)}, pad[3], stride[3], dilation[3];
    for (int d = 0; d < dims; d++) {
        int from = 3 - dims + d;
        filter[2 + d] = (int)c->kernel[from];
        pad[d] = (int)c->pad[from];
        stride[d] = (int)c->stride[from];
        dilation[d] = (int)c->dilation[from];
    }
    int math =
        mc_cuda_now()->precision == MC_GPU_FP32 ? MC_CUDNN_FMA_MATH : MC_CUDNN_TENSOR_OP_MATH;
    return tensor(fn, &p->x, dims, c->n, c->c, c->in) &&
           tensor(fn, &p->y, dims, c->n, c->oc, c->out) &&
           tensor(fn, &p->bias, dims, 1, c->oc, NULL) &&
           fn->cudnnCreateFilterDescriptor(&p->w) == MC_CUDNN_SUCCESS &&
           fn->cudnnSetFilterNdDescriptor(p->w, MC_CUDNN_DATA_FLOAT, MC_CUDNN_NCHW, dims + 2,
                                          filter) == MC_CUDNN_SUCCESS &&
           fn->cudnnCreateConvolutionDescriptor(&p->conv) == MC_CUDNN_SUCCESS &&
           fn->cudnnSetConvolutionNdDescriptor(p->conv, dims, pad, stride, dilation,
                                               MC_CUDNN_CROSS_CORRELATION,
                                               MC_CUDNN_DATA_FLOAT) == MC_CUDNN_SUCCESS &&
           fn->cudnnSetConvolutionGroupCount(p->conv, (int)c->group) == MC_CUDNN_SUCCESS &&
           fn->cudnnSetConvolutionMathType(p->conv, math) == MC_CUDNN_SUCCESS;
}

static bool allowed(enum way way, int algo)
{
    switch (way) {
    case FORWARD:
        return algo == MC_CUDNN_FORWARD_IMPLICIT_GEMM ||
               algo == MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM || algo == MC_CUDNN_FORWARD_GEMM ||
               algo == MC_CUDNN_FORWARD_WINOGRAD;
    case DATA: return algo == MC_CUDNN_DATA_1 || algo == MC_CUDNN_DATA_WINOGRAD;
    default: return algo == MC_CUDNN_FILTER_1;
    }
}

/* The first that may be taken of those that cuDNN expects to be fast. */
static bool choose(const struct kept *k, struct plan *p)
{
    struct mc_cudnn_perf perf[ALGOS];
    int n = 0, rc;
    const struct mc_cudnn *fn = &k->fn;
    if (p->way == FORWARD)
        rc = fn->cudnnGetConvolutionForwardAlgorithm_v7(k->handle, p->x, p->w, p->conv, p->y, ALGOS,
                                                        &n, perf);
    else if (p->way == DATA)
        rc = fn->cudnnGetConvolutionBackwardDataAlgorithm_v7(k->handle, p->w, p->y, p->conv, p->x,
                                                             ALGOS, &n, perf);
    else
        rc = fn->cudnnGetConvolutionBackwardFilterAlgorithm_v7(k->handle, p->x, p->y, p->conv, p->w,
                                                               ALGOS, &n, perf);
    bool exact = mc_cuda_now()->precision == MC_GPU_FP32;
    for (int i = 0; i < n && rc == MC_CUDNN_SUCCESS; i++)
        if (perf[i].status == MC_CUDNN_SUCCESS && perf[i].determinism == MC_CUDNN_DETERMINISTIC &&
            perf[i].memory <= SPACE_BYTES && allowed(p->way, perf[i].algo) &&
            (!exact || perf[i].math == MC_CUDNN_FMA_MATH ||
             perf[i].math == MC_CUDNN_DEFAULT_MATH)) {
            p->algo = perf[i].algo;
            p->bytes = perf[i].memory;
            return true;
        }
    return false;
}

static struct plan *find(struct kept *k, enum way way, const struct mc_conv *c)
{
    size_t bytes = offsetof(struct mc_conv, x);
    uint64_t hash = (uint64_t)way;
    const int64_t *word = (const int64_t *)c;
    for (size_t i = 0; i < bytes / sizeof *word; i++)
        hash = (hash ^ (uint64_t)word[i]) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
    struct plan **at = &k->bucket[hash >> 58];
    for (struct plan *p = *at; p; p = p->next)
        if (p->way == way && !memcmp(&p->sizes, c, bytes))
            return p->usable ? p : NULL;
    struct plan *p = (struct plan *)calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->way = way;
    memcpy(&p->sizes, c, bytes);
    p->usable = describe(&k->fn, p) && choose(k, p);
    p->next = *at;
    *at = p;
    return p->usable ? p : NULL;
}

/* ---- running ---- */

static const float one = 1, zero = 0;

static bool is_relu(const struct mc_epilogue *e)
{
    return e->act == MC_ACT_CLAMP && e->lo == 0 && isinf(e->hi) && e->hi > 0;
}

/* Bias, residual and Relu in one call. */
static bool run_fused(struct kept *k, struct plan *p, const struct mc_epilogue *e, const void *x,
                      const void *w, void *space, void *y)
{
    if (p->fused_fails || !e->bias || e->scale || !is_relu(e))
        return false;
    const void *z = e->residual ? e->residual : y;
    int rc = k->fn.cudnnConvolutionBiasActivationForward(
        k->handle, &one, p->x, x, p->w, w, p->conv, p->algo, space, p->bytes,
        e->residual ? &one : &zero, p->y, z, p->bias, e->bias, k->relu, p->y, y);
    p->fused_fails = rc != MC_CUDNN_SUCCESS;
    return rc == MC_CUDNN_SUCCESS;
}

bool mc_conv_cudnn(const struct mc_conv *c, bool back, const void *x, const void *w, void *y)
{
    struct kept *k = fits(c) ? library() : NULL;
    struct plan *p = k ? find(k, back ? DATA : FORWARD, c) : NULL;
    struct mc_epilogue e = c->epilogue;
    bool in_place = e.residual == y;
    if (!p || (in_place && e.scale)) /* y is scaled after it is added */
        return false;
    void *space = p->bytes ? mc_cuda_workspace(p->bytes) : NULL;
    if (p->bytes && !space)
        return true; /* and remembered */
    if (!back && run_fused(k, p, &e, x, w, space, y))
        return true;
    const float *beta = in_place ? &one : &zero;
    int rc;
    if (back)
        rc = k->fn.cudnnConvolutionBackwardData(k->handle, &one, p->w, w, p->y, x, p->conv, p->algo,
                                                space, p->bytes, beta, p->x, y);
    else
        rc = k->fn.cudnnConvolutionForward(k->handle, &one, p->x, x, p->w, w, p->conv, p->algo,
                                           space, p->bytes, beta, p->y, y);
    p->usable = rc == MC_CUDNN_SUCCESS;
    if (!p->usable)
        return false;
    if (in_place)
        e.residual = NULL;
    int64_t size = 1;
    for (int d = 0; d < 3; d++)
        size *= back ? c->in[d] : c->out[d];
    mc_conv_finish(&e, c->n, back ? c->c : c->oc, size, y);
    return true;
}

bool mc_conv_weight_cudnn(const struct mc_conv_grad *g)
{
    struct kept *k = fits(&g->c) ? library() : NULL;
    struct plan *p = k ? find(k, FILTER, &g->c) : NULL;
    if (!p)
        return false;
    void *space = p->bytes ? mc_cuda_workspace(p->bytes) : NULL;
    if (p->bytes && !space)
        return true;
    int rc = k->fn.cudnnConvolutionBackwardFilter(k->handle, &one, p->x, g->x, p->y, g->dy, p->conv,
                                                  p->algo, space, p->bytes, &zero, p->w, g->dw);
    p->usable = rc == MC_CUDNN_SUCCESS;
    if (p->usable && g->db)
        mc_conv_bias_grad(g);
    return p->usable;
}
