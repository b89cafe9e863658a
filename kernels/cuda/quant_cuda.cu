#include <climits>

#include "kernels/cuda/out_s8_cuda.h"

enum { THREADS = MC_CUDA_THREADS, BLOCKS = 256 };

static __device__ __forceinline__ bool is_wide(int32_t lo, int32_t hi)
{
    return hi - lo > UCHAR_MAX;
}

static __device__ __forceinline__ int32_t get(int32_t lo, int32_t hi, const void *x, int64_t i)
{
    if (!is_wide(lo, hi))
        return mc_cuda_byte(x, lo < 0, i);
    return lo < 0 ? (int32_t)((const int16_t *)x)[i] : (int32_t)((const uint16_t *)x)[i];
}

static __device__ __forceinline__ void put(int32_t lo, int32_t hi, int32_t zero, float v, void *y,
                                           int64_t i)
{
    int32_t whole = mc_cuda_round(v, zero, lo, hi);
    if (is_wide(lo, hi))
        ((uint16_t *)y)[i] = (uint16_t)whole;
    else
        ((uint8_t *)y)[i] = (uint8_t)whole;
}

/* ---- rows ---- */

static __global__ void quantize_row(struct mc_quant_row r, const float *x, void *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < r.n; i += MC_CUDA_STRIDE)
        put(r.lo, r.hi, r.zero, mc_div_rn(x[i], r.scale[i * r.step]), y, i);
}

static __global__ void requantize_row(struct mc_quant_row r, const int32_t *x, void *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < r.n; i += MC_CUDA_STRIDE)
        put(r.lo, r.hi, r.zero, mc_mul_rn((float)x[i], r.scale[i * r.step]), y, i);
}

static __global__ void dequantize_row(struct mc_quant_row r, const void *x, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < r.n; i += MC_CUDA_STRIDE)
        y[i] = mc_mul_rn((float)(get(r.lo, r.hi, x, i) - r.zero), r.scale[i * r.step]);
}

static void run_quantize(const struct mc_quant_row *r, const float *x, void *y)
{
    if (r->n > 0)
        MC_LAUNCH(quantize_row, mc_cuda_blocks(r->n), THREADS, *r, x, y);
}

static void run_requantize(const struct mc_quant_row *r, const int32_t *x, void *y)
{
    if (r->n > 0)
        MC_LAUNCH(requantize_row, mc_cuda_blocks(r->n), THREADS, *r, x, y);
}

static void run_dequantize(const struct mc_quant_row *r, const void *x, float *y)
{
    if (r->n > 0)
        MC_LAUNCH(dequantize_row, mc_cuda_blocks(r->n), THREADS, *r, x, y);
}

/* ---- tensors ---- */

static __device__ __forceinline__ int64_t scale_at(const struct mc_quant_all &q, int64_t i)
{
    int64_t in = i % q.inner, a = i / q.inner % q.axis, o = i / q.inner / q.axis;
    return o * q.o_step + a / q.block * q.a_step + in * q.i_step;
}

static __device__ __forceinline__ int32_t zero_at(const struct mc_quant_all &q, int64_t at)
{
    return q.zero ? get(q.lo, q.hi, q.zero, at) : 0;
}

static __global__ void quantize_all(struct mc_quant_all q, int64_t n, bool one, const float *x,
                                    void *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t at = one ? 0 : scale_at(q, i);
        put(q.lo, q.hi, zero_at(q, at), mc_div_rn(x[i], q.scale[at]), y, i);
    }
}

static __global__ void dequantize_all(struct mc_quant_all q, int64_t n, bool one, const void *x,
                                      float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t at = one ? 0 : scale_at(q, i);
        y[i] = mc_mul_rn((float)(get(q.lo, q.hi, x, i) - zero_at(q, at)), q.scale[at]);
    }
}

static bool is_one(const struct mc_quant_all *q)
{
    return q->o_step == 0 && q->a_step == 0 && q->i_step == 0;
}

static void run_quantize_all(const struct mc_quant_all *q, const float *x, void *y,
                             struct mc_pool *)
{
    int64_t n = q->outer * q->axis * q->inner;
    if (n > 0)
        MC_LAUNCH(quantize_all, mc_cuda_blocks(n), THREADS, *q, n, is_one(q), x, y);
}

static void run_dequantize_all(const struct mc_quant_all *q, const void *x, float *y,
                               struct mc_pool *)
{
    int64_t n = q->outer * q->axis * q->inner;
    if (n > 0)
        MC_LAUNCH(dequantize_all, mc_cuda_blocks(n), THREADS, *q, n, is_one(q), x, y);
}

/* ---- by the range of the numbers themselves ---- */

/* The least and the largest number of a block's threads and 0, for all of them; NaN is neither. */
static __device__ float2 range_of(float2 *part, float2 mine)
{
    int t = (int)threadIdx.x;
    part[t] = mine;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (t < half) {
            float2 other = part[t + half];
            part[t].x = other.x < part[t].x ? other.x : part[t].x;
            part[t].y = other.y > part[t].y ? other.y : part[t].y;
        }
        __syncthreads();
    }
    return part[0];
}

static __global__ void ranges(int64_t n, const float *x, float2 *to)
{
    MC_SHARED(float2, part);
    float2 mine = make_float2(0, 0);
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        mine.x = x[i] < mine.x ? x[i] : mine.x;
        mine.y = x[i] > mine.y ? x[i] : mine.y;
    }
    float2 all = range_of(part, mine);
    if (threadIdx.x == 0)
        to[blockIdx.x] = all;
}

/* Of one block. */
static __global__ void scale_of(int blocks, const float2 *from, float *scale, uint8_t *zero)
{
    MC_SHARED(float2, part);
    int t = (int)threadIdx.x;
    float2 r = range_of(part, t < blocks ? from[t] : make_float2(0, 0));
    if (t > 0)
        return;
    float s = r.y == r.x ? 1 : mc_div_rn(mc_add_rn(r.y, -r.x), 255), z = rintf(mc_div_rn(-r.x, s));
    *scale = s;
    *zero = !(z > 0) ? 0 : z > 255 ? 255 : (uint8_t)z;
}

static void run_dynamic(int64_t n, const float *x, uint8_t *y, float *scale, uint8_t *zero,
                        struct mc_pool *pool)
{
    float2 *parts = (float2 *)mc_cuda_workspace(BLOCKS * sizeof *parts);
    unsigned blocks = mc_cuda_blocks(n) < BLOCKS ? mc_cuda_blocks(n) : (unsigned)BLOCKS;
    if (!parts)
        return;
    MC_LAUNCH_SYNC(ranges, blocks, THREADS, THREADS * sizeof(float2), n, x, parts);
    MC_LAUNCH_SYNC(scale_of, 1, THREADS, THREADS * sizeof(float2), (int)blocks,
                   (const float2 *)parts, scale, zero);
    struct mc_quant_all q = {1, 1, n, 0, 0, 0, 1, 0, 255, scale, zero};
    run_quantize_all(&q, x, y, pool);
}

static __global__ void widen(int64_t n, bool is_signed, const void *x, int32_t *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        y[i] = mc_cuda_byte(x, is_signed, i);
}

static void run_widen(int64_t n, bool is_signed, const void *x, int32_t *y, struct mc_pool *)
{
    if (n > 0)
        MC_LAUNCH(widen, mc_cuda_blocks(n), THREADS, n, is_signed, x, y);
}

/* ---- sums of products ---- */

static __global__ void give_sums(struct mc_quant_sums s)
{
    float to = s.y_scale ? *s.y_scale : 1;
    for (int64_t e = MC_CUDA_INDEX_OF; e < s.rows * s.n; e += MC_CUDA_STRIDE) {
        int64_t i = e / s.n, j = e - i * s.n;
        uint32_t sum = (uint32_t)s.sums[e];
        if (s.whole)
            sum += (uint32_t)s.whole[i * s.whole_row + j * s.whole_col];
        float by = mc_mul_rn(mc_mul_rn(s.alpha, s.a_scale[i * s.a_step]), s.b_scale[j * s.b_step]);
        float v = mc_mul_rn((float)(int32_t)sum, mc_div_rn(by, to));
        if (s.y_scale)
            put(s.lo, s.hi, s.zero ? get(s.lo, s.hi, s.zero, 0) : 0, v, s.y, e);
        else
            ((float *)s.y)[e] = mc_add_rn(v, s.bias ? s.bias[j * s.bias_step] : 0);
    }
}

static void run_sums(const struct mc_quant_sums *s, struct mc_pool *)
{
    if (s->rows * s->n > 0)
        MC_LAUNCH(give_sums, mc_cuda_blocks(s->rows * s->n), THREADS, *s);
}

void mc_quant_fill_cuda(struct mc_kernels *k)
{
    k->quant.quantize = run_quantize;
    k->quant.requantize = run_requantize;
    k->quant.dequantize = run_dequantize;
    k->quant.quantize_all = run_quantize_all;
    k->quant.dequantize_all = run_dequantize_all;
    k->quant.dynamic = run_dynamic;
    k->quant.widen = run_widen;
    k->quant.sums = run_sums;
}
