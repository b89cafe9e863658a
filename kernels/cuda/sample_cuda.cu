/* Reading a tensor at points between its elements. */
#include "kernels/cuda/walk.h"

enum { TAPS = 4, CHANNELS = 8 }; /* of one dimension; that a thread computes */

/* Into [low, high], folded at its ends. */
static __device__ double reflected(double x, double low, double high)
{
    double span = high - low;
    if (!(span > 0) || !(fabs(x) <= 1.7976931348623157e308))
        return low;
    x = fmod(fabs(x - low), 2 * span);
    return low + (x > span ? 2 * span - x : x);
}

static __device__ double bordered(const struct mc_sampling &s, double x, int64_t n)
{
    double low = s.align ? 0 : -0.5, high = (double)(n - 1) + (s.align ? 0 : 0.5);
    if (s.border == MC_BORDER_EDGE)
        return x > 0 ? x < (double)(n - 1) ? x : (double)(n - 1) : 0;
    if (s.border == MC_BORDER_REFLECTION && !(x >= low && x <= high))
        return reflected(x, low, high);
    return x;
}

/* Number of the element at a whole coordinate, -1: a zero. */
static __device__ int64_t place(const struct mc_sampling &s, double x, int64_t n)
{
    x = bordered(s, x, n);
    if (!(x > -1 && x < (double)n))
        return -1;
    int64_t i = (int64_t)x;
    return i < n ? i : n - 1;
}

static __device__ double cubic(double x)
{
    x = fabs(x);
    if (x <= 1)
        return (1.25 * x - 2.25) * x * x + 1;
    return ((-0.75 * x + 3.75) * x - 6) * x + 3;
}

struct taps {
    int n;
    int64_t index[TAPS];
    double weight[TAPS];
};

static __device__ void find_taps(const struct mc_sampling &s, double at, int64_t n, struct taps *t)
{
    double size = (double)n;
    double x = s.align ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
    if (s.between == MC_BETWEEN_NEAREST)
        x = rint(x);
    if (s.between != MC_BETWEEN_CUBIC) /* whose taps are brought in one by one */
        x = bordered(s, x, n);
    t->n = s.between == MC_BETWEEN_NEAREST ? 1 : s.between == MC_BETWEEN_CUBIC ? 4 : 2;
    double first = t->n == 1 ? x : floor(x) - (t->n == 4 ? 1 : 0);
    for (int i = 0; i < t->n; i++) {
        double whole = first + i, from = x - whole;
        t->index[i] = place(s, whole, n);
        t->weight[i] = t->n == 1 ? 1 : t->n == 4 ? cubic(from) : 1 - fabs(from);
    }
}

/* A thread a point and some channels: neighbours write neighbours. */
static __global__ void sample(struct mc_sampling s, int64_t groups, int64_t n)
{
    int64_t plane = s.size[0] * s.size[1] * s.size[2];
    for (int64_t e = MC_CUDA_INDEX_OF; e < n; e += MC_CUDA_STRIDE) {
        int64_t rest = e / s.points, p = e - rest * s.points, b = rest / groups;
        int64_t first = (rest - b * groups) * CHANNELS, most = s.channels - first;
        const float *at = (const float *)s.grid + (b * s.points + p) * s.dims;
        struct taps t[3];
        double sum[CHANNELS] = {0};
        for (int d = 0; d < 3; d++) { /* from the last dimension on */
            t[d].n = 1;
            t[d].index[0] = 0;
            t[d].weight[0] = 1;
            if (d < s.dims)
                find_taps(s, (double)at[d], s.size[2 - d], &t[d]);
        }
        const float *x = (const float *)s.x + (b * s.channels + first) * plane;
        for (int i = 0; i < t[2].n; i++)
            for (int j = 0; j < t[1].n; j++)
                for (int k = 0; k < t[0].n; k++) {
                    if (t[2].index[i] < 0 || t[1].index[j] < 0 || t[0].index[k] < 0)
                        continue;
                    int64_t from =
                        (t[2].index[i] * s.size[1] + t[1].index[j]) * s.size[2] + t[0].index[k];
                    double w = t[2].weight[i] * t[1].weight[j] * t[0].weight[k];
                    MC_UNROLL
                    for (int c = 0; c < CHANNELS; c++)
                        if (c < most)
                            sum[c] += w * (double)x[c * plane + from];
                }
        float *y = (float *)s.y + (b * s.channels + first) * s.points + p;
        MC_UNROLL
        for (int c = 0; c < CHANNELS; c++)
            if (c < most)
                y[c * s.points] = (float)sum[c];
    }
}

static void run_sample(const struct mc_sampling *s)
{
    int64_t groups = (s->channels + CHANNELS - 1) / CHANNELS, n = s->batch * groups * s->points;
    if (n > 0)
        MC_LAUNCH(sample, mc_cuda_blocks(n), MC_CUDA_THREADS, *s, groups, n);
}

void mc_sample_fill_cuda(struct mc_kernels *k)
{
    k->values.sample = run_sample;
}
