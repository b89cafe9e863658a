/* cuDNN's convolutions by OpenBLAS, on columns written down. Stricter than the library: what it would do in an order
 * that changes from run to run, or with arguments that do not fit, ends the program. */
#include <cblas.h>

#include <cmath>
#include <vector>

#include "tests/cuda/cudasim.h"
#include "kernels/cuda/lib_cudnn.h"
#include "tests/cuda/fake.h"
#include "tests/cuda/fake_blas.h"

enum kind { HANDLE = 1, TENSOR, FILTER, CONVOLUTION, ACTIVATION };
enum { BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };

struct mc_cudnn_object {
    kind is;
    std::vector<int> dim, pad, stride, dilation;
    int group = 1, math = 0;
    bool streamed = false;
};

static void need(bool ok, const char *what)
{
    if (!ok)
        fake_abort("cuDNN", what);
}

static mc_cudnn_object &as(mc_cudnn_t o, kind is)
{
    need(o && o->is == is, "a descriptor of another kind, or none");
    return *o;
}

template <kind K> static int create(mc_cudnn_t *ret)
{
    *ret = new mc_cudnn_object{K, {}, {}, {}, {}};
    return MC_CUDNN_SUCCESS;
}

template <kind K> static int destroy(mc_cudnn_t o)
{
    delete &as(o, K);
    return MC_CUDNN_SUCCESS;
}

static int set_stream(mc_cudnn_t handle, cudaStream_t stream)
{
    as(handle, HANDLE).streamed = stream != nullptr;
    return MC_CUDNN_SUCCESS;
}

static int set_tensor(mc_cudnn_t t, int type, int rank, const int *dim, const int *stride)
{
    need(type == MC_CUDNN_DATA_FLOAT, "not float32");
    if (rank < 4 || rank > 8)
        return BAD_PARAM;
    int step = 1;
    for (int d = rank - 1; d >= 0; step *= dim[d], d--)
        need(dim[d] > 0 && stride[d] == step, "a tensor that is empty or not dense");
    as(t, TENSOR).dim.assign(dim, dim + rank);
    return MC_CUDNN_SUCCESS;
}

static int set_filter(mc_cudnn_t f, int type, int format, int rank, const int *dim)
{
    need(type == MC_CUDNN_DATA_FLOAT && format == MC_CUDNN_NCHW, "not a float32 filter in rows");
    if (rank < 4 || rank > 8)
        return BAD_PARAM;
    as(f, FILTER).dim.assign(dim, dim + rank);
    return MC_CUDNN_SUCCESS;
}

static int set_convolution(mc_cudnn_t o, int dims, const int *pad, const int *stride,
                           const int *dilation, int mode, int type)
{
    mc_cudnn_object &c = as(o, CONVOLUTION);
    need(mode == MC_CUDNN_CROSS_CORRELATION && type == MC_CUDNN_DATA_FLOAT, "another convolution");
    for (int d = 0; d < dims; d++)
        if (pad[d] < 0 || stride[d] < 1 || dilation[d] < 1)
            return BAD_PARAM;
    c.pad.assign(pad, pad + dims);
    c.stride.assign(stride, stride + dims);
    c.dilation.assign(dilation, dilation + dims);
    return MC_CUDNN_SUCCESS;
}

static int set_math(mc_cudnn_t o, int math)
{
    need(math == MC_CUDNN_FMA_MATH || math == MC_CUDNN_TENSOR_OP_MATH, "another precision");
    as(o, CONVOLUTION).math = math;
    return MC_CUDNN_SUCCESS;
}

static int set_group(mc_cudnn_t o, int groups)
{
    as(o, CONVOLUTION).group = groups;
    return groups > 0 ? (int)MC_CUDNN_SUCCESS : (int)BAD_PARAM;
}

static int set_activation(mc_cudnn_t o, int mode, int nan, double)
{
    (void)as(o, ACTIVATION);
    need(mode == MC_CUDNN_RELU && nan == MC_CUDNN_PROPAGATE_NAN, "another activation");
    return MC_CUDNN_SUCCESS;
}

/* ---- what they describe together ---- */

struct geometry {
    int n, c, oc, group, dims;
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int64_t in_size, out_size, taps;
    bool rounded; /* factors to TF32 */
};

static geometry fit(mc_cudnn_t handle, mc_cudnn_t x, mc_cudnn_t w, mc_cudnn_t conv, mc_cudnn_t y)
{
    const mc_cudnn_object &h = as(handle, HANDLE), &v = as(conv, CONVOLUTION);
    const std::vector<int> &xd = as(x, TENSOR).dim, &wd = as(w, FILTER).dim,
                           &yd = as(y, TENSOR).dim;
    geometry g = {};
    need(h.streamed, "a handle without a stream");
    g.dims = (int)v.pad.size();
    need(g.dims >= 2 && g.dims <= 3 && xd.size() == v.pad.size() + 2 && wd.size() == xd.size() &&
             yd.size() == xd.size(),
         "ranks that do not fit");
    g.n = xd[0];
    g.c = xd[1];
    g.oc = wd[0];
    g.group = v.group;
    g.rounded = v.math != MC_CUDNN_FMA_MATH;
    need(yd[0] == g.n && yd[1] == g.oc && g.oc % g.group == 0 && wd[1] * g.group == g.c,
         "channels that do not fit");
    g.in_size = g.out_size = g.taps = 1;
    for (int d = 0; d < 3; d++) {
        bool used = d >= 3 - g.dims;
        size_t from = used ? (size_t)(d - 3 + g.dims) : 0;
        g.in[d] = used ? xd[from + 2] : 1;
        g.out[d] = used ? yd[from + 2] : 1;
        g.kernel[d] = used ? wd[from + 2] : 1;
        g.stride[d] = used ? v.stride[from] : 1;
        g.dilation[d] = used ? v.dilation[from] : 1;
        g.pad[d] = used ? v.pad[from] : 0;
        int room = g.in[d] + 2 * g.pad[d] - (g.kernel[d] - 1) * g.dilation[d] - 1;
        need(room >= 0 && room / g.stride[d] + 1 == g.out[d], "sizes that do not fit");
        g.in_size *= g.in[d];
        g.out_size *= g.out[d];
        g.taps *= g.kernel[d];
    }
    return g;
}

/* Element of the input that tap t of output o reads, or -1. */
static int64_t read_at(const geometry &g, int64_t o, int64_t t)
{
    int64_t at = 0, step = 1;
    for (int d = 2; d >= 0; d--) {
        int64_t i = o % g.out[d] * g.stride[d] + t % g.kernel[d] * g.dilation[d] - g.pad[d];
        if (i < 0 || i >= g.in[d])
            return -1;
        at += i * step;
        step *= g.in[d];
        o /= g.out[d];
        t /= g.kernel[d];
    }
    return at;
}

static float factor(const geometry &g, float x)
{
    if (!g.rounded || !std::isfinite(x))
        return x;
    uint32_t u;
    memcpy(&u, &x, 4);
    u += 0xfff + (u >> 13 & 1);
    u &= ~0x1fffu;
    memcpy(&x, &u, 4);
    return x;
}

static std::vector<float> factors(const geometry &g, const float *x, int64_t n)
{
    std::vector<float> r((size_t)n);
    for (int64_t i = 0; i < n; i++)
        r[(size_t)i] = factor(g, x[i]);
    return r;
}

/* [channels of a group * taps, out] of one image and group. */
static std::vector<float> columns(const geometry &g, const float *x)
{
    int64_t channels = g.c / g.group;
    std::vector<float> r((size_t)(channels * g.taps * g.out_size));
    for (int64_t t = 0; t < g.taps; t++)
        for (int64_t o = 0; o < g.out_size; o++) {
            int64_t at = read_at(g, o, t);
            for (int64_t c = 0; c < channels; c++)
                r[(size_t)((c * g.taps + t) * g.out_size + o)] =
                    at < 0 ? 0 : factor(g, x[c * g.in_size + at]);
        }
    return r;
}

struct group_at { /* of an image */
    int64_t x, w, y;
    int m, k, n; /* filters, terms, positions */
};

static group_at group_of(const geometry &g, int64_t image, int64_t group)
{
    int64_t ic = g.c / g.group, oc = g.oc / g.group;
    return {(image * g.c + group * ic) * g.in_size,
            group * oc * ic * g.taps,
            (image * g.oc + group * oc) * g.out_size,
            (int)oc,
            (int)(ic * g.taps),
            (int)g.out_size};
}

static void forward(const geometry &g, const float *x, const float *w, float *sum)
{
    std::vector<float> f = factors(g, w, g.oc * (g.c / g.group) * g.taps);
    for (int64_t image = 0; image < g.n; image++)
        for (int64_t group = 0; group < g.group; group++) {
            group_at at = group_of(g, image, group);
            std::vector<float> b = columns(g, x + at.x);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, at.m, at.n, at.k, 1,
                        f.data() + at.w, at.k, b.data(), at.n, 0, sum + at.y, at.n);
        }
}

static void back(const geometry &g, const float *w, const float *dy, float *sum)
{
    std::vector<float> f = factors(g, w, g.oc * (g.c / g.group) * g.taps);
    for (int64_t image = 0; image < g.n; image++)
        for (int64_t group = 0; group < g.group; group++) {
            group_at at = group_of(g, image, group);
            std::vector<float> d = factors(g, dy + at.y, (int64_t)at.m * at.n);
            std::vector<float> b((size_t)at.k * (size_t)at.n);
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, at.k, at.n, at.m, 1,
                        f.data() + at.w, at.k, d.data(), at.n, 0, b.data(), at.n);
            for (int64_t k = 0; k < at.k; k++)
                for (int64_t o = 0; o < at.n; o++) {
                    int64_t i = read_at(g, o, k % g.taps);
                    if (i >= 0)
                        sum[at.x + k / g.taps * g.in_size + i] += b[(size_t)(k * at.n + o)];
                }
        }
}

static void filter(const geometry &g, const float *x, const float *dy, float *sum)
{
    for (int64_t image = 0; image < g.n; image++)
        for (int64_t group = 0; group < g.group; group++) {
            group_at at = group_of(g, image, group);
            std::vector<float> b = columns(g, x + at.x);
            std::vector<float> d = factors(g, dy + at.y, (int64_t)at.m * at.n);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, at.m, at.k, at.n, 1, d.data(),
                        at.n, b.data(), at.n, 1, sum + at.w, at.k);
        }
}

/* ---- which algorithm ---- */

enum { SPACE = 4096 }; /* bytes that the usable ones want */

/* Those that may not be taken come first. */
static int list(const mc_cudnn_perf *all, int n, int wanted, int *ret_n, mc_cudnn_perf *ret)
{
    *ret_n = n < wanted ? n : wanted;
    for (int i = 0; i < *ret_n; i++)
        ret[i] = all[i];
    return MC_CUDNN_SUCCESS;
}

static int forward_algorithm(mc_cudnn_t handle, mc_cudnn_t x, mc_cudnn_t w, mc_cudnn_t conv,
                             mc_cudnn_t y, int wanted, int *ret_n, mc_cudnn_perf *ret)
{
    geometry g = fit(handle, x, w, conv, y);
    int math = g.rounded ? MC_CUDNN_TENSOR_OP_MATH : MC_CUDNN_FMA_MATH;
    const mc_cudnn_perf all[] = {
        {4, 0, 1, SPACE, 1, math, {0}},                                  /* Fourier */
        {7, 0, 2, SPACE, 1, math, {0}},                                  /* large Winograd */
        {MC_CUDNN_FORWARD_WINOGRAD, NOT_SUPPORTED, -1, 0, 1, math, {0}}, /* fails */
        {MC_CUDNN_FORWARD_GEMM, 0, 3, (size_t)1 << 40, 1, math, {0}},    /* memory */
        {MC_CUDNN_FORWARD_IMPLICIT_GEMM, 0, 3, 0, 1, MC_CUDNN_TENSOR_OP_MATH, {0}}, /* TF32 */
        {MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM, 0, 4, SPACE, 1, math, {0}},
    };
    return list(all, sizeof all / sizeof all[0], wanted, ret_n, ret);
}

static int data_algorithm(mc_cudnn_t handle, mc_cudnn_t w, mc_cudnn_t dy, mc_cudnn_t conv,
                          mc_cudnn_t dx, int wanted, int *ret_n, mc_cudnn_perf *ret)
{
    geometry g = fit(handle, dx, w, conv, dy);
    int math = g.rounded ? MC_CUDNN_TENSOR_OP_MATH : MC_CUDNN_FMA_MATH;
    const mc_cudnn_perf all[] = {
        {0, 0, 1, 0, 0, math, {0}}, /* by atomics */
        {MC_CUDNN_DATA_1, 0, 2, SPACE, 1, math, {0}},
    };
    /* None that gives the same bits every time for some. */
    return list(all, g.dims == 3 ? 1 : 2, wanted, ret_n, ret);
}

static int filter_algorithm(mc_cudnn_t handle, mc_cudnn_t x, mc_cudnn_t dy, mc_cudnn_t conv,
                            mc_cudnn_t dw, int wanted, int *ret_n, mc_cudnn_perf *ret)
{
    geometry g = fit(handle, x, dw, conv, dy);
    int math = g.rounded ? MC_CUDNN_TENSOR_OP_MATH : MC_CUDNN_FMA_MATH;
    const mc_cudnn_perf all[] = {
        {0, 0, 1, 0, 0, math, {0}},
        {3, 0, 1, SPACE, 0, math, {0}},
        {MC_CUDNN_FILTER_1, 0, 2, SPACE, 1, math, {0}},
    };
    return list(all, sizeof all / sizeof all[0], wanted, ret_n, ret);
}

/* ---- work ---- */

static void check(int algo, bool allowed, int space_algo, const void *space, size_t bytes)
{
    need(allowed, "an algorithm whose results may change from run to run, or that was not offered");
    need(algo != space_algo || (space && bytes >= SPACE),
         "less workspace than the algorithm wants");
}

static bool aligned(const void *p)
{
    return p && (uintptr_t)p % sizeof(float) == 0;
}

static void trace(const char *what, const geometry &g)
{
    mc_sim_trace("%s n %d c %d oc %d group %d in %d x %d out %d x %d kernel %d x %d", what, g.n,
                 g.c, g.oc, g.group, g.in[0], g.in[1], g.out[0], g.out[1], g.kernel[0],
                 g.kernel[1]);
}

static int run_forward(mc_cudnn_t handle, const void *alpha, mc_cudnn_t xd, const void *x,
                       mc_cudnn_t wd, const void *w, mc_cudnn_t conv, int algo, void *space,
                       size_t space_bytes, const void *beta, mc_cudnn_t yd, void *y)
{
    geometry g = fit(handle, xd, wd, conv, yd);
    float a = *(const float *)alpha, b = *(const float *)beta;
    check(algo, algo == MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM || (g.rounded && algo == 0), 1,
          space, space_bytes);
    need(aligned(x) && aligned(w) && aligned(y) && x != y, "pointers");
    trace("convolution", g);
    mc_sim_enqueue([=] {
        size_t n = (size_t)(g.n * g.oc * g.out_size);
        std::vector<float> sum(n);
        forward(g, (const float *)x, (const float *)w, sum.data());
        for (size_t i = 0; i < n; i++)
            ((float *)y)[i] = a * sum[i] + (b != 0 ? b * ((float *)y)[i] : 0);
        if (algo == MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM)
            memset(space, 0x7f, SPACE);
    });
    return MC_CUDNN_SUCCESS;
}

/* Not for groups: so that the way without it is taken too. */
static int run_fused(mc_cudnn_t handle, const void *alpha, mc_cudnn_t xd, const void *x,
                     mc_cudnn_t wd, const void *w, mc_cudnn_t conv, int algo, void *space,
                     size_t space_bytes, const void *alpha2, mc_cudnn_t zd, const void *z,
                     mc_cudnn_t bias_d, const void *bias, mc_cudnn_t act, mc_cudnn_t yd, void *y)
{
    geometry g = fit(handle, xd, wd, conv, yd);
    float a = *(const float *)alpha, b = *(const float *)alpha2;
    std::vector<int> bias_dim(as(yd, TENSOR).dim.size(), 1);
    bias_dim[1] = g.oc;
    check(algo, algo == MC_CUDNN_FORWARD_IMPLICIT_PRECOMP_GEMM || (g.rounded && algo == 0), 1,
          space, space_bytes);
    (void)as(act, ACTIVATION);
    need(as(zd, TENSOR).dim == as(yd, TENSOR).dim && as(bias_d, TENSOR).dim == bias_dim,
         "sizes of what is added");
    need(aligned(x) && aligned(w) && aligned(y) && aligned(z) && aligned(bias) && x != y,
         "pointers");
    if (g.group > 1)
        return NOT_SUPPORTED;
    trace("convolution with bias", g);
    mc_sim_enqueue([=] {
        size_t n = (size_t)(g.n * g.oc * g.out_size);
        std::vector<float> sum(n);
        forward(g, (const float *)x, (const float *)w, sum.data());
        for (size_t i = 0; i < n; i++) {
            float v = a * sum[i] + (b != 0 ? b * ((const float *)z)[i] : 0) +
                      ((const float *)bias)[i / (size_t)g.out_size % (size_t)g.oc];
            ((float *)y)[i] = v < 0 ? 0 : v;
        }
    });
    return MC_CUDNN_SUCCESS;
}

static int run_data(mc_cudnn_t handle, const void *alpha, mc_cudnn_t wd, const void *w,
                    mc_cudnn_t dyd, const void *dy, mc_cudnn_t conv, int algo, void *space,
                    size_t space_bytes, const void *beta, mc_cudnn_t dxd, void *dx)
{
    geometry g = fit(handle, dxd, wd, conv, dyd);
    float a = *(const float *)alpha, b = *(const float *)beta;
    check(algo, algo == MC_CUDNN_DATA_1, MC_CUDNN_DATA_1, space, space_bytes);
    need(aligned(w) && aligned(dy) && aligned(dx) && dx != dy, "pointers");
    trace("data gradient", g);
    mc_sim_enqueue([=] {
        size_t n = (size_t)(g.n * g.c * g.in_size);
        std::vector<float> sum(n);
        back(g, (const float *)w, (const float *)dy, sum.data());
        for (size_t i = 0; i < n; i++)
            ((float *)dx)[i] = a * sum[i] + (b != 0 ? b * ((float *)dx)[i] : 0);
        memset(space, 0x7f, SPACE);
    });
    return MC_CUDNN_SUCCESS;
}

static int run_filter(mc_cudnn_t handle, const void *alpha, mc_cudnn_t xd, const void *x,
                      mc_cudnn_t dyd, const void *dy, mc_cudnn_t conv, int algo, void *space,
                      size_t space_bytes, const void *beta, mc_cudnn_t dwd, void *dw)
{
    geometry g = fit(handle, xd, dwd, conv, dyd);
    float a = *(const float *)alpha, b = *(const float *)beta;
    check(algo, algo == MC_CUDNN_FILTER_1, MC_CUDNN_FILTER_1, space, space_bytes);
    need(aligned(x) && aligned(dy) && aligned(dw), "pointers");
    trace("filter gradient", g);
    mc_sim_enqueue([=] {
        size_t n = (size_t)(g.oc * (g.c / g.group) * g.taps);
        std::vector<float> sum(n);
        filter(g, (const float *)x, (const float *)dy, sum.data());
        for (size_t i = 0; i < n; i++)
            ((float *)dw)[i] = a * sum[i] + (b != 0 ? b * ((float *)dw)[i] : 0);
        memset(space, 0x7f, SPACE);
    });
    return MC_CUDNN_SUCCESS;
}

const mc_fake mc_fake_cudnn[] = {
    {"cudnnCreate", (void *)create<HANDLE>},
    {"cudnnDestroy", (void *)destroy<HANDLE>},
    {"cudnnSetStream", (void *)set_stream},
    {"cudnnCreateTensorDescriptor", (void *)create<TENSOR>},
    {"cudnnSetTensorNdDescriptor", (void *)set_tensor},
    {"cudnnDestroyTensorDescriptor", (void *)destroy<TENSOR>},
    {"cudnnCreateFilterDescriptor", (void *)create<FILTER>},
    {"cudnnSetFilterNdDescriptor", (void *)set_filter},
    {"cudnnDestroyFilterDescriptor", (void *)destroy<FILTER>},
    {"cudnnCreateConvolutionDescriptor", (void *)create<CONVOLUTION>},
    {"cudnnSetConvolutionNdDescriptor", (void *)set_convolution},
    {"cudnnSetConvolutionMathType", (void *)set_math},
    {"cudnnSetConvolutionGroupCount", (void *)set_group},
    {"cudnnDestroyConvolutionDescriptor", (void *)destroy<CONVOLUTION>},
    {"cudnnCreateActivationDescriptor", (void *)create<ACTIVATION>},
    {"cudnnSetActivationDescriptor", (void *)set_activation},
    {"cudnnDestroyActivationDescriptor", (void *)destroy<ACTIVATION>},
    {"cudnnGetConvolutionForwardAlgorithm_v7", (void *)forward_algorithm},
    {"cudnnGetConvolutionBackwardDataAlgorithm_v7", (void *)data_algorithm},
    {"cudnnGetConvolutionBackwardFilterAlgorithm_v7", (void *)filter_algorithm},
    {"cudnnConvolutionForward", (void *)run_forward},
    {"cudnnConvolutionBiasActivationForward", (void *)run_fused},
    {"cudnnConvolutionBackwardData", (void *)run_data},
    {"cudnnConvolutionBackwardFilter", (void *)run_filter},
    {nullptr, nullptr},
};
