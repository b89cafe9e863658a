/* Softmax and its gradient: a warp takes a row, a block one that is long; where a row is a column, a thread. */
#include <math.h>

#include "kernels/cuda/team.h"

enum { LONG = 1024 }; /* elements of a row for a block */

/* ---- forward ---- */

static __device__ float put(bool log, float v, float log_sum, float inv_sum)
{
    return log ? v - log_sum : expf(v) * inv_sum;
}

template <int WARPS>
static __global__ void softmax_rows(bool log, int64_t rows, int64_t n, const float *x, float *y)
{
    __shared__ float room[MC_CUDA_WARPS];
    mc_rows<WARPS> team;
    for (int64_t r = team.first; r < rows; r += team.step) {
        const float *from = x + r * n;
        float top = -INFINITY, sum = 0;
        for (int64_t i = team.at; i < n; i += team.threads)
            top = mc_more()(top, from[i]);
        top = mc_team<WARPS>(top, mc_more(), room);
        for (int64_t i = team.at; i < n; i += team.threads)
            sum += expf(from[i] - top);
        sum = mc_team<WARPS>(sum, mc_add(), room);
        float log_sum = log ? logf(sum) : 0, inv = 1 / sum;
        for (int64_t i = team.at; i < n; i += team.threads)
            y[r * n + i] = put(log, from[i] - top, log_sum, inv);
    }
}

static __global__ void softmax_columns(bool log, int64_t columns, int64_t n, int64_t inner,
                                       const float *x, float *y)
{
    for (int64_t c = MC_CUDA_INDEX_OF; c < columns; c += MC_CUDA_STRIDE) {
        int64_t start = c / inner * n * inner + c % inner, end = start + n * inner;
        float top = -INFINITY, sum = 0;
        for (int64_t i = start; i < end; i += inner)
            top = mc_more()(top, x[i]);
        for (int64_t i = start; i < end; i += inner)
            sum += expf(x[i] - top);
        float log_sum = log ? logf(sum) : 0, inv = 1 / sum;
        for (int64_t i = start; i < end; i += inner)
            y[i] = put(log, x[i] - top, log_sum, inv);
    }
}

static void run_softmax(const struct mc_softmax *s, struct mc_pool *)
{
    int64_t rows = s->outer * s->inner;
    const float *x = (const float *)s->x;
    float *y = (float *)s->y;
    if (rows < 1 || s->n < 1)
        return;
    if (s->inner > 1)
        MC_LAUNCH(softmax_columns, mc_cuda_blocks(rows), MC_CUDA_THREADS, s->log, rows, s->n,
                  s->inner, x, y);
    else if (s->n >= LONG)
        MC_LAUNCH_SYNC((softmax_rows<MC_CUDA_WARPS>), mc_team_blocks(rows, MC_CUDA_WARPS),
                       MC_CUDA_THREADS, 0, s->log, rows, s->n, x, y);
    else
        MC_LAUNCH_SYNC((softmax_rows<1>), mc_team_blocks(rows, 1), MC_CUDA_THREADS, 0, s->log, rows,
                       s->n, x, y);
}

/* ---- gradient ---- */

static __device__ float slope(bool log, float dy, float y, float sum)
{
    return log ? dy - expf(y) * sum : y * (dy - sum);
}

template <int WARPS>
static __global__ void grad_rows(bool log, int64_t rows, int64_t n, const float *dy, const float *y,
                                 float *dx)
{
    __shared__ float room[MC_CUDA_WARPS];
    mc_rows<WARPS> team;
    for (int64_t r = team.first; r < rows; r += team.step) {
        float sum = 0;
        for (int64_t i = r * n + team.at; i < (r + 1) * n; i += team.threads)
            sum += log ? dy[i] : dy[i] * y[i];
        sum = mc_team<WARPS>(sum, mc_add(), room);
        for (int64_t i = r * n + team.at; i < (r + 1) * n; i += team.threads)
            dx[i] = slope(log, dy[i], y[i], sum);
    }
}

static __global__ void grad_columns(bool log, int64_t columns, int64_t n, int64_t inner,
                                    const float *dy, const float *y, float *dx)
{
    for (int64_t c = MC_CUDA_INDEX_OF; c < columns; c += MC_CUDA_STRIDE) {
        int64_t start = c / inner * n * inner + c % inner, end = start + n * inner;
        float sum = 0;
        for (int64_t i = start; i < end; i += inner)
            sum += log ? dy[i] : dy[i] * y[i];
        for (int64_t i = start; i < end; i += inner)
            dx[i] = slope(log, dy[i], y[i], sum);
    }
}

static void run_grad(const struct mc_softmax_grad *s, struct mc_pool *)
{
    int64_t rows = s->outer * s->inner;
    const float *dy = (const float *)s->dy, *y = (const float *)s->y;
    float *dx = (float *)s->dx;
    if (rows < 1 || s->n < 1)
        return;
    if (s->inner > 1)
        MC_LAUNCH(grad_columns, mc_cuda_blocks(rows), MC_CUDA_THREADS, s->log, rows, s->n, s->inner,
                  dy, y, dx);
    else if (s->n >= LONG)
        MC_LAUNCH_SYNC((grad_rows<MC_CUDA_WARPS>), mc_team_blocks(rows, MC_CUDA_WARPS),
                       MC_CUDA_THREADS, 0, s->log, rows, s->n, dy, y, dx);
    else
        MC_LAUNCH_SYNC((grad_rows<1>), mc_team_blocks(rows, 1), MC_CUDA_THREADS, 0, s->log, rows,
                       s->n, dy, y, dx);
}

void mc_softmax_fill_cuda(struct mc_kernels *k)
{
    k->nn.softmax = run_softmax;
    k->loss.softmax_grad = run_grad;
}
