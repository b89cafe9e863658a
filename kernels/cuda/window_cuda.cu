/* Pools and their gradients: one thread for each element that is made, so sums have one order. */
#include "kernels/cuda/cuda.h"

struct window {
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], end[3];
    bool average, count_pad;
};

static struct window window_of(const struct mc_window *w)
{
    struct window r;
    r.average = w->average;
    r.count_pad = w->count_pad;
    for (int d = 0; d < 3; d++) {
        r.in[d] = (int)w->in[d];
        r.out[d] = (int)w->out[d];
        r.kernel[d] = (int)w->kernel[d];
        r.stride[d] = (int)w->stride[d];
        r.dilation[d] = (int)w->dilation[d];
        r.pad[d] = (int)w->pad[d];
        r.end[d] = (int)w->end[d];
    }
    return r;
}

static int64_t span(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

/* Taps of output o that lie in [0, limit), in dimension d: [*from, *to). */
static __device__ __forceinline__ void taps(const struct window &w, int d, int o, int limit,
                                            int *from, int *to)
{
    int first = o * w.stride[d] - w.pad[d], step = w.dilation[d];
    *from = first < 0 ? (-first + step - 1) / step : 0;
    *to = limit > first ? (limit - first + step - 1) / step : 0;
    *to = *to < w.kernel[d] ? *to : w.kernel[d];
}

/* What a mean of output o divides by. */
static __device__ __forceinline__ int counted(const struct window &w, const int o[3])
{
    int n = 1, from, to;
    for (int d = 0; d < 3; d++) {
        taps(w, d, o[d], w.in[d] + (w.count_pad ? w.end[d] : 0), &from, &to);
        from = w.count_pad ? 0 : from;
        n *= to > from ? to - from : 0;
    }
    return n;
}

static __device__ __forceinline__ void place(const int size[3], int64_t i, int64_t *plane,
                                             int at[3])
{
    at[2] = (int)(i % size[2]);
    i /= size[2];
    at[1] = (int)(i % size[1]);
    i /= size[1];
    at[0] = (int)(i % size[0]);
    *plane = i / size[0];
}

static __global__ void pool(int64_t n, struct window w, const float *x, float *y, int64_t *arg)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int o[3], from[3], to[3], k[3];
        int64_t plane, best_at = -1;
        place(w.out, i, &plane, o);
        const float *image = x + plane * w.in[0] * w.in[1] * w.in[2];
        float best = -INFINITY, sum = 0;
        for (int d = 0; d < 3; d++)
            taps(w, d, o[d], w.in[d], &from[d], &to[d]);
        for (k[0] = from[0]; k[0] < to[0]; k[0]++)
            for (k[1] = from[1]; k[1] < to[1]; k[1]++) {
                int64_t line =
                    (int64_t)(o[0] * w.stride[0] + k[0] * w.dilation[0] - w.pad[0]) * w.in[1];
                line = (line + o[1] * w.stride[1] + k[1] * w.dilation[1] - w.pad[1]) * w.in[2] +
                       o[2] * w.stride[2] - w.pad[2];
                for (k[2] = from[2]; k[2] < to[2]; k[2]++) {
                    int64_t at = line + k[2] * w.dilation[2];
                    float v = image[at];
                    sum += v;
                    if (best_at < 0 || v > best || (v != v && best == best)) {
                        best = v;
                        best_at = at;
                    }
                }
            }
        y[i] = w.average ? sum / (float)counted(w, o) : best;
        if (arg)
            arg[i] = best_at;
    }
}

static void run(const struct mc_window *w, struct mc_pool *)
{
    int64_t n = w->planes * span(w->out);
    if (n > 0)
        MC_LAUNCH(pool, mc_cuda_blocks(n), MC_CUDA_THREADS, n, window_of(w), (const float *)w->x,
                  (float *)w->y, w->arg);
}

/* ---- gradients ---- */

static __device__ __forceinline__ bool is_maximum(float x, float y)
{
    return x == y || (x != x && y != y);
}

/* Does no tap before k of output o have the maximum too? image: the plane of x. */
static __device__ bool is_first(const struct window &w, const float *image, const int o[3],
                                const int k[3], float y)
{
    int from[3], to[3], t[3];
    for (int d = 0; d < 3; d++)
        taps(w, d, o[d], w.in[d], &from[d], &to[d]);
    for (t[0] = from[0]; t[0] <= k[0]; t[0]++)
        for (t[1] = from[1]; t[1] < to[1] && (t[0] < k[0] || t[1] <= k[1]); t[1]++)
            for (t[2] = from[2]; t[2] < to[2]; t[2]++) {
                if (t[0] == k[0] && t[1] == k[1] && t[2] >= k[2])
                    return true;
                int64_t at = 0;
                for (int d = 0; d < 3; d++)
                    at = at * w.in[d] + o[d] * w.stride[d] + t[d] * w.dilation[d] - w.pad[d];
                if (is_maximum(image[at], y))
                    return false;
            }
    return true;
}

/* Each element of dx looks for the windows that it lies in, in their order. */
static __global__ void pool_grad(int64_t n, struct window w, const float *x, const float *y,
                                 const float *dy, float *dx)
{
    int64_t in = (int64_t)w.in[0] * w.in[1] * w.in[2],
            out = (int64_t)w.out[0] * w.out[1] * w.out[2];
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int at[3], from[3], to[3], o[3], k[3];
        int64_t plane;
        float sum = 0;
        place(w.in, i, &plane, at);
        for (int d = 0; d < 3; d++) { /* outputs whose window can reach here */
            int low = at[d] + w.pad[d] - (w.kernel[d] - 1) * w.dilation[d];
            from[d] = low > 0 ? (low + w.stride[d] - 1) / w.stride[d] : 0;
            to[d] = (at[d] + w.pad[d]) / w.stride[d] + 1;
            to[d] = to[d] < w.out[d] ? to[d] : w.out[d];
        }
        for (o[0] = from[0]; o[0] < to[0]; o[0]++)
            for (o[1] = from[1]; o[1] < to[1]; o[1]++)
                for (o[2] = from[2]; o[2] < to[2]; o[2]++) {
                    bool reached = true;
                    for (int d = 0; d < 3; d++) {
                        int distance = at[d] + w.pad[d] - o[d] * w.stride[d];
                        k[d] = distance / w.dilation[d];
                        reached = reached && k[d] * w.dilation[d] == distance;
                    }
                    int64_t j = plane * out + ((int64_t)o[0] * w.out[1] + o[1]) * w.out[2] + o[2];
                    if (!reached)
                        continue;
                    if (w.average)
                        sum += dy[j] / (float)counted(w, o);
                    else if (is_maximum(x[i], y[j]) && is_first(w, x + plane * in, o, k, y[j]))
                        sum += dy[j];
                }
        dx[i] = sum;
    }
}

static void run_grad(const struct mc_window_grad *g, struct mc_pool *)
{
    int64_t n = g->w.planes * span(g->w.in);
    if (n > 0)
        MC_LAUNCH(pool_grad, mc_cuda_blocks(n), MC_CUDA_THREADS, n, window_of(&g->w),
                  (const float *)g->w.x, (const float *)g->w.y, (const float *)g->dy,
                  (float *)g->dx);
}

void mc_window_fill_cuda(struct mc_kernels *k)
{
    k->nn.window = run;
    k->conv_grad.window = run_grad;
}
