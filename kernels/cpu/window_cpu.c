/* Pooling: the rows of a window are reduced into one row first, whole vectors at a time; then every output
 * takes its few neighbours of it. Positions of maxima are found one by one. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"
#include "kernels/cpu/row.h"

enum {
    ROW = 2048,      /* widest padded row that fits the buffer on the stack */
    CHUNK = 1 << 15, /* window elements per chunk of work: about 10 us */
};

static inline vf larger(vf a, vf b)
{
    return vf_select(vf_lt(b, a) | vf_is_nan(a), a, b);
}

static inline float larger1(float a, float b)
{
    return a > b || isnan(a) ? a : b;
}

static inline int64_t ceil_quotient(int64_t a, int64_t b)
{
    return b == 1 ? a : (a + b - 1) / b; /* a division costs more than the rest of a row */
}

/* First kernel index k with o*stride + k*dilation - pad in [0, size), and one past the last. */
static void inside(const struct mc_window *w, int d, int64_t o, int64_t size, int64_t *ret_first,
                   int64_t *ret_last)
{
    int64_t at = o * w->stride[d] - w->pad[d], dil = w->dilation[d];
    int64_t first = at < 0 ? ceil_quotient(-at, dil) : 0;
    int64_t last = at >= size ? 0 : ceil_quotient(size - at, dil);
    *ret_last = last < w->kernel[d] ? last : w->kernel[d];
    *ret_first = first < *ret_last ? first : *ret_last;
}

/* How many kernel positions of dimension d a mean counts. */
static int64_t counted(const struct mc_window *w, int d, int64_t o)
{
    int64_t first, last;
    inside(w, d, o, w->in[d] + (w->count_pad ? w->end[d] : 0), &first, &last);
    return w->count_pad ? last : last - first;
}

/* to[x] = the reduction of rows (k0, k1) of the window over one output row, for x in the input's width. */
static void reduce_rows(const struct mc_window *w, const float *plane, int64_t o0, int64_t o1,
                        float *to)
{
    int64_t a0, b0, a1, b1, width = w->in[2];
    inside(w, 0, o0, w->in[0], &a0, &b0);
    inside(w, 1, o1, w->in[1], &a1, &b1);
    for (int64_t x = 0; x < width; x += LANES) {
        vm m = vm_first(width - x);
        vf sum = vf_set1(w->average ? 0 : -INFINITY);
        for (int64_t k0 = a0; k0 < b0; k0++) {
            int64_t z = o0 * w->stride[0] + k0 * w->dilation[0] - w->pad[0];
            for (int64_t k1 = a1; k1 < b1; k1++) {
                int64_t y = o1 * w->stride[1] + k1 * w->dilation[1] - w->pad[1];
                vf v = vf_load_mask(plane + (z * w->in[1] + y) * width + x, m);
                sum = w->average ? sum + v : larger(sum, v);
            }
        }
        vf_store_mask(to + x, sum, m);
    }
}

/* y[o] = the reduction of tap(k)[o] over the taps of the kernel; with stride 2 the row was split into its even
 * and odd elements, so that the taps are neighbours again. */
static void reduce_taps(const struct mc_window *w, const float *even, const float *odd, float *y)
{
    int64_t n = w->out[2], s = w->stride[2];
    for (int64_t o = 0; o < n; o += LANES) {
        vm m = vm_first(n - o);
        vf sum = vf_load_mask(even + o, m);
        for (int64_t k = 1; k < w->kernel[2]; k++) {
            int64_t at = k * w->dilation[2];
            const float *tap = s == 1 ? even + at : (at % 2 ? odd : even) + at / 2;
            vf v = vf_load_mask(tap + o, m);
            sum = w->average ? sum + v : larger(sum, v);
        }
        vf_store_mask(y + o, sum, m);
    }
}

/* One output row from a reduced row of `end` elements, which has its padding on both sides. */
static void reduce_columns(const struct mc_window *w, const float *row, int64_t end, float *y)
{
    int64_t n = w->out[2], s = w->stride[2], kernel = w->kernel[2], dil = w->dilation[2];
    if (s == 1) {
        reduce_taps(w, row, NULL, y);
    } else if (s == 2) {
        float even[ROW / 2 + 1], odd[ROW / 2 + 1];
        for (int64_t i = 0; i < (end + 1) / 2; i++) {
            even[i] = row[2 * i];
            odd[i] = row[2 * i + 1];
        }
        reduce_taps(w, even, odd, y);
    } else {
        for (int64_t o = 0; o < n; o++) {
            float sum = row[o * s];
            for (int64_t k = 1; k < kernel; k++) {
                float v = row[o * s + k * dil];
                sum = w->average ? sum + v : larger1(sum, v);
            }
            y[o] = sum;
        }
    }
}

static void plane_by_rows(const struct mc_window *w, const float *x, float *y)
{
    float row[ROW + 1], columns[ROW];
    int64_t end = (w->out[2] - 1) * w->stride[2] + (w->kernel[2] - 1) * w->dilation[2] + 1;
    for (int64_t i = 0; i <= end; i++)
        row[i] = w->average ? 0 : -INFINITY;
    for (int64_t o = 0; w->average && o < w->out[2]; o++)
        columns[o] = (float)counted(w, 2, o);
    for (int64_t o0 = 0; o0 < w->out[0]; o0++)
        for (int64_t o1 = 0; o1 < w->out[1]; o1++, y += w->out[2]) {
            reduce_rows(w, x, o0, o1, row + w->pad[2]);
            reduce_columns(w, row, end, y);
            if (!w->average)
                continue;
            float rows = (float)(counted(w, 0, o0) * counted(w, 1, o1));
            for (int64_t o = 0; o < w->out[2]; o++)
                y[o] /= rows * columns[o];
        }
}

/* The most common maximum: windows of two by two. */
static void plane_by_quads(const struct mc_window *w, const float *x, float *y)
{
    int64_t width = w->in[2], n = w->out[2];
    for (int64_t r = 0; r < w->in[0] * w->out[1]; r++, y += n) {
        const float *up = x + (r / w->out[1] * w->in[1] + r % w->out[1] * 2) * width;
        const float *down = up + width;
        int64_t o = 0;
        for (; o + LANES <= n; o += LANES) {
            vf a = larger(vf_load(up + 2 * o), vf_load(down + 2 * o));
            vf b = larger(vf_load(up + 2 * o + LANES), vf_load(down + 2 * o + LANES));
            vf_store(y + o, larger(vf_even(a, b), vf_odd(a, b)));
        }
        if (o == n)
            continue;
        vm low = vm_first(2 * (n - o)), high = vm_first(2 * (n - o) - LANES);
        vf a = larger(vf_load_mask(up + 2 * o, low), vf_load_mask(down + 2 * o, low));
        vf b = larger(vf_load_mask(up + 2 * o + LANES, high),
                      vf_load_mask(down + 2 * o + LANES, high));
        vf_store_mask(y + o, larger(vf_even(a, b), vf_odd(a, b)), vm_first(n - o));
    }
}

/* One output by itself; *ret_arg its position in the plane. */
static float window_at(const struct mc_window *w, const float *x, const int64_t o[3],
                       int64_t *ret_arg)
{
    int64_t a[3], b[3], at = -1, count = 1;
    float best = -INFINITY, sum = 0;
    for (int d = 0; d < 3; d++) {
        inside(w, d, o[d], w->in[d], &a[d], &b[d]);
        count *= counted(w, d, o[d]);
    }
    for (int64_t k0 = a[0]; k0 < b[0]; k0++)
        for (int64_t k1 = a[1]; k1 < b[1]; k1++)
            for (int64_t k2 = a[2]; k2 < b[2]; k2++) {
                int64_t z = o[0] * w->stride[0] + k0 * w->dilation[0] - w->pad[0];
                int64_t y = o[1] * w->stride[1] + k1 * w->dilation[1] - w->pad[1];
                int64_t i = (z * w->in[1] + y) * w->in[2] + o[2] * w->stride[2] +
                            k2 * w->dilation[2] - w->pad[2];
                sum += x[i];
                if (at < 0 || x[i] > best || (isnan(x[i]) && !isnan(best))) {
                    best = x[i];
                    at = i;
                }
            }
    *ret_arg = at;
    return w->average ? sum / (float)count : best;
}

static void plane_by_windows(const struct mc_window *w, const float *x, float *y, int64_t *arg)
{
    int64_t o[3], at = 0, unused;
    for (o[0] = 0; o[0] < w->out[0]; o[0]++)
        for (o[1] = 0; o[1] < w->out[1]; o[1]++)
            for (o[2] = 0; o[2] < w->out[2]; o[2]++, at++)
                y[at] = window_at(w, x, o, arg ? arg + at : &unused);
}

struct job {
    const struct mc_window *w;
    int64_t in, out, per_chunk; /* elements of a plane, planes in a chunk */
    bool by_quads, by_rows;
};

static void planes(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_window *w = j->w;
    for (int64_t p = chunk * j->per_chunk; p < (chunk + 1) * j->per_chunk && p < w->planes; p++) {
        const float *x = (const float *)w->x + p * j->in;
        float *y = (float *)w->y + p * j->out;
        if (j->by_quads)
            plane_by_quads(w, x, y);
        else if (j->by_rows)
            plane_by_rows(w, x, y);
        else
            plane_by_windows(w, x, y, w->arg ? w->arg + p * j->out : NULL);
    }
}

void MC_CPU(mc_nn_window)(const struct mc_window *w, struct mc_pool *pool)
{
    struct job j = {
        .w = w, .in = w->in[0] * w->in[1] * w->in[2], .out = w->out[0] * w->out[1] * w->out[2]};
    int64_t reach = (w->out[2] - 1) * w->stride[2] + (w->kernel[2] - 1) * w->dilation[2] + 1;
    int64_t padded = w->pad[2] + w->in[2];
    j.by_quads = !w->arg && !w->average && window_is_quads(w);
    j.by_rows = !w->arg && reach <= ROW && padded <= ROW;
    int64_t cost = j.out * w->kernel[0] * w->kernel[1] * w->kernel[2];
    j.per_chunk = cost < CHUNK ? CHUNK / (cost > 0 ? cost : 1) : 1;
    mc_pool_run(pool, (w->planes + j.per_chunk - 1) / j.per_chunk, planes, &j);
}
