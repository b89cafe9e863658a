#include <math.h>

#include "kernels/cuda/cuda.h"

/* ---- softmax of scores: a warp a row ---- */

enum { ROWS = MC_CUDA_THREADS / 32 };

static __device__ __forceinline__ float masked(const struct mc_scores &s, int m, int64_t at,
                                               int64_t key, float v)
{
    const auto &mask = s.mask[m];
    int64_t e = at + key * mask.stride[3];
    bool off = false;
    if (mask.kind == MC_SCORE_NONE)
        return v;
    if (key >= mask.keys)
        return -INFINITY;
    switch (mask.kind) {
    case MC_SCORE_ADD: return v + ((const float *)mask.data)[e];
    case MC_SCORE_ALLOW: return ((const uint8_t *)mask.data)[e] ? v : -INFINITY;
    case MC_SCORE_KEEP32: off = ((const int32_t *)mask.data)[e] == 0; break;
    case MC_SCORE_KEEP64: off = ((const int64_t *)mask.data)[e] == 0; break;
    case MC_SCORE_COUNT32: off = key >= ((const int32_t *)mask.data)[at]; break;
    default: off = key >= ((const int64_t *)mask.data)[at]; break;
    }
    return off ? v + (float)mask.off : v;
}

static __device__ __forceinline__ float widest(float x)
{
    for (int by = 16; by; by /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, by));
    return x;
}

static __device__ __forceinline__ float total(float x)
{
    for (int by = 16; by; by /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

static __global__ void softmax(struct mc_scores s, int *fault)
{
    int lane = (int)threadIdx.x % 32;
    int64_t row = blockIdx.x * (int64_t)ROWS + threadIdx.x / 32;
    bool here = row < s.batch * s.heads * s.q_len; /* all of a warp together */
    int64_t i = row % s.q_len, h = row / s.q_len % s.heads, b = row / s.q_len / s.heads;
    int64_t n = here ? s.kv_len : 0, low = 0, high = n, valid = n, at[2] = {};
    if (here && s.valid) {
        valid = s.valid[b];
        if (valid < 0 || valid > n) {
            if (lane == 0)
                *fault = MC_CUDA_INDEX;
            valid = n;
        }
    }
    int64_t position = i + (s.valid ? valid - s.q_len : s.past);
    if (s.left >= 0 && position > s.left)
        low = position - s.left;
    if (s.right >= 0 && position < n - s.right)
        high = position + s.right + 1;
    high = high < valid ? high : valid;
    for (int m = 0; m < 2; m++)
        at[m] = b * s.mask[m].stride[0] + h * s.mask[m].stride[1] + i * s.mask[m].stride[2];
    float *x = (float *)s.scores + row * s.kv_len;
    float *stages = s.stages ? (float *)s.stages + row * s.kv_len : NULL;
    float most = -INFINITY, any = 0, sum = 0;
    for (int64_t k = lane; k < n; k += 32) {
        float v = x[k];
        if (stages && s.stage == 0)
            stages[k] = v;
        if (s.softcap > 0)
            v = (float)s.softcap * tanhf(v / (float)s.softcap);
        if (stages && s.stage == 1)
            stages[k] = v;
        v = k < low || k >= high ? -INFINITY : masked(s, 1, at[1], k, masked(s, 0, at[0], k, v));
        if (stages && s.stage == 2)
            stages[k] = v;
        x[k] = v;
        any = v != -INFINITY ? 1 : any;
        most = fmaxf(most, v);
    }
    most = widest(most);
    any = widest(any);
    for (int64_t k = lane; k < n; k += 32) {
        float v = any > 0 ? expf(x[k] - most) : 0;
        x[k] = v;
        sum += v;
    }
    sum = total(sum);
    for (int64_t k = lane; k < n && any > 0; k += 32)
        x[k] /= sum;
}

static void run_softmax(const struct mc_scores *s, struct mc_pool *)
{
    int64_t rows = s->batch * s->heads * s->q_len;
    if (rows > 0 && s->kv_len > 0)
        MC_LAUNCH_SYNC(softmax, (unsigned)((rows + ROWS - 1) / ROWS), MC_CUDA_THREADS, 0, *s,
                       mc_cuda_now()->fault);
}

/* ---- rotary embeddings: a thread a pair, or a column that stays ---- */

static __device__ int64_t angle_of(const struct mc_rotary &r, int64_t row, int *fault)
{
    if (!r.position)
        return row;
    int64_t at = r.offset ? 0 : row;
    int64_t angle = r.wide ? ((const int64_t *)r.position)[at] : ((const int32_t *)r.position)[at];
    int64_t last = angle + (r.offset ? row % r.rows : 0);
    if (angle >= 0 && last < r.angles)
        return last;
    *fault = MC_CUDA_INDEX;
    return 0;
}

static __global__ void rotary(struct mc_rotary r, int *fault)
{
    int64_t half = r.turned / 2, work = r.columns - half, n = r.batch * r.rows * r.heads * work;
    for (int64_t e = MC_CUDA_INDEX_OF; e < n; e += MC_CUDA_STRIDE) {
        int64_t i = e % work, head = e / work, row, from; /* of all batches */
        if (r.heads_first)
            row = head / r.rows / r.heads * r.rows + head % r.rows;
        else
            row = head / r.heads;
        from = head * r.columns;
        const float *x = (const float *)r.x + from;
        float *y = (float *)r.y + from;
        if (i >= half) {
            y[i + half] = x[i + half];
            continue;
        }
        int64_t a = r.interleaved ? 2 * i : i, b = r.interleaved ? 2 * i + 1 : i + half;
        int64_t angle = angle_of(r, row, fault) * half + i;
        float co = ((const float *)r.cosine)[angle], si = ((const float *)r.sine)[angle];
        float p = x[a], q = x[b], scale = (float)r.scale;
        y[a] = scale * (co * p - si * q);
        y[b] = scale * (si * p + co * q);
    }
}

static void run_rotary(const struct mc_rotary *r, struct mc_pool *)
{
    int64_t n = r->batch * r->rows * r->heads * (r->columns - r->turned / 2);
    if (n > 0)
        MC_LAUNCH(rotary, mc_cuda_blocks(n), MC_CUDA_THREADS, *r, mc_cuda_now()->fault);
}

void mc_attend_fill_cuda(struct mc_kernels *k)
{
    k->attend.softmax = run_softmax;
    k->attend.rotary = run_rotary;
}
