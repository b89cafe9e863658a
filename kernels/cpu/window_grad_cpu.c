/* Gradients of pools, plane by plane. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/grad_cpu.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"
#include "kernels/cpu/row.h"

enum {
    ROW = 2048,      /* widest row that fits the buffers on the stack */
    CHUNK = 1 << 15, /* elements per chunk of work: about 10 us */
};

struct job {
    const struct mc_window_grad *g;
    int64_t in, out, per_chunk; /* elements of a plane, planes in a chunk */
    void (*plane)(const struct mc_window *w, const float *x, const float *y, const float *dy,
                  float *dx);
};

/* First kernel index k with o*stride + k*dilation - pad in [0, size), and one past the last. */
static void inside(const struct mc_window *w, int d, int64_t o, int64_t size, int64_t *ret_first,
                   int64_t *ret_last)
{
    int64_t at = o * w->stride[d] - w->pad[d], dil = w->dilation[d];
    int64_t first = at < 0 ? ceil_div(-at, dil) : 0;
    int64_t last = at >= size ? 0 : ceil_div(size - at, dil);
    *ret_last = min64(last, w->kernel[d]);
    *ret_first = min64(first, *ret_last);
}

/* ---- maxima ---- */

/* Lanes where x is the maximum y, which is NaN where an x of its window is. */
static inline vm vf_same(vf x, vf y)
{
#if MC_LEVEL == 5
    return _mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_EQ_OQ) | vf_is_nan(x);
#else
    return (x == y) | vf_is_nan(x);
#endif
}

/* LANES windows of two by two, of which those in `some` are there; their columns in two vectors are those in `low`
 * and `high`. Of equals the first: upper left, upper right, lower left. */
struct quad_lanes {
    vm some, low, high;
};

static inline __attribute__((always_inline)) void quad(const float *up, const float *down,
                                                       const float *y, const float *dy,
                                                       const struct quad_lanes *m, float *to_up,
                                                       float *to_down)
{
    vf zero = vf_set1(0), top = vf_load_mask(y, m->some), g = vf_load_mask(dy, m->some);
    vf a = vf_load_mask(up, m->low), b = vf_load_mask(up + LANES, m->high);
    vf c = vf_load_mask(down, m->low), d = vf_load_mask(down + LANES, m->high);
    vm is[3] = {vf_same(vf_even(a, b), top), vf_same(vf_odd(a, b), top),
                vf_same(vf_even(c, d), top)};
    vf left = vf_select(is[0], g, zero);
    vf right = vf_select(is[0], zero, vf_select(is[1], g, zero));
    vm found = is[0] | is[1];
    vf low = vf_select(found, zero, vf_select(is[2], g, zero));
    vf last = vf_select(found | is[2], zero, g);
    vf_store_mask(to_up, weave_low(left, right), m->low);
    vf_store_mask(to_up + LANES, weave_high(left, right), m->high);
    vf_store_mask(to_down, weave_low(low, last), m->low);
    vf_store_mask(to_down + LANES, weave_high(low, last), m->high);
}

static void max_quads(const struct mc_window *w, const float *x, const float *y, const float *dy,
                      float *dx)
{
    int64_t width = w->in[2], n = w->out[2], rest = n % LANES;
    const struct quad_lanes all = {vm_first(LANES), vm_first(LANES), vm_first(LANES)};
    const struct quad_lanes some = {vm_first(rest), vm_first(2 * rest), vm_first(2 * rest - LANES)};
    for (int64_t z = 0; z < w->in[0]; z++, x += w->in[1] * width, dx += w->in[1] * width) {
        for (int64_t r = 0; r < w->out[1]; r++, y += n, dy += n) {
            const float *up = x + 2 * r * width, *down = up + width;
            float *to = dx + 2 * r * width;
            int64_t o = 0;
            for (; o + LANES <= n; o += LANES)
                quad(up + 2 * o, down + 2 * o, y + o, dy + o, &all, to + 2 * o, to + width + 2 * o);
            if (rest)
                quad(up + 2 * o, down + 2 * o, y + o, dy + o, &some, to + 2 * o,
                     to + width + 2 * o);
            if (width > 2 * n)
                to[2 * n] = to[width + 2 * n] = 0;
        }
        if (w->in[1] > 2 * w->out[1])
            memset(dx + 2 * w->out[1] * width, 0, (size_t)width * sizeof *dx);
    }
}

/* Place in the plane of the first element that equals y. */
static int64_t first_of(const struct mc_window *w, const float *x, const int64_t o[3], float y)
{
    int64_t a[3], b[3], at[3];
    bool nan = isnan(y);
    for (int d = 0; d < 3; d++) {
        inside(w, d, o[d], w->in[d], &a[d], &b[d]);
        at[d] = o[d] * w->stride[d] - w->pad[d];
    }
    for (int64_t k0 = a[0]; k0 < b[0]; k0++)
        for (int64_t k1 = a[1]; k1 < b[1]; k1++) {
            int64_t z = at[0] + k0 * w->dilation[0], r = at[1] + k1 * w->dilation[1];
            int64_t row = (z * w->in[1] + r) * w->in[2] + at[2];
            for (int64_t k2 = a[2]; k2 < b[2]; k2++) {
                float v = x[row + k2 * w->dilation[2]];
                if (v == y || (nan && isnan(v)))
                    return row + k2 * w->dilation[2];
            }
        }
    return -1;
}

static void max_any(const struct mc_window *w, const float *x, const float *y, const float *dy,
                    float *dx)
{
    int64_t o[3], at = 0;
    memset(dx, 0, (size_t)(w->in[0] * w->in[1] * w->in[2]) * sizeof *dx);
    for (o[0] = 0; o[0] < w->out[0]; o[0]++)
        for (o[1] = 0; o[1] < w->out[1]; o[1]++)
            for (o[2] = 0; o[2] < w->out[2]; o[2]++, at++) {
                int64_t i = first_of(w, x, o, y[at]);
                if (i >= 0)
                    dx[i] += dy[at];
            }
}

/* ---- means ---- */

static void mean_all(const struct mc_window *w, const float *x, const float *y, const float *dy,
                     float *dx)
{
    (void)x;
    (void)y;
    int64_t n = w->in[0] * w->in[1] * w->in[2], i = 0;
    vf v = vf_set1(*dy / (float)n);
    for (; i + LANES <= n; i += LANES)
        vf_store(dx + i, v);
    vf_store_mask(dx + i, v, vm_first(n - i));
}

/* How many kernel positions of dimension d a mean counts. */
static int64_t counted(const struct mc_window *w, int d, int64_t o)
{
    int64_t first, last;
    inside(w, d, o, w->in[d] + (w->count_pad ? w->end[d] : 0), &first, &last);
    return w->count_pad ? last : last - first;
}

static void add_row(const float *from, int64_t n, float *to)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(to + i, vf_load(to + i) + vf_load(from + i));
    vm m = vm_first(n - i);
    vf_store_mask(to + i, vf_load_mask(to + i, m) + vf_load_mask(from + i, m), m);
}

/* to[x] = sum over o, k with o*stride + k*dilation - pad = x of dy[o] * share[o]. */
static void spread_row(const struct mc_window *w, const float *dy, const float *share, float *to)
{
    int64_t s = w->stride[2], dil = w->dilation[2];
    memset(to, 0, (size_t)w->in[2] * sizeof *to);
    for (int64_t k = 0; k < w->kernel[2]; k++) {
        int64_t at = k * dil - w->pad[2];
        int64_t from = at < 0 ? ceil_div(-at, s) : 0;
        int64_t end = at >= w->in[2] ? 0 : min64(w->out[2], ceil_div(w->in[2] - at, s));
        for (int64_t o = from; o < end; o++)
            to[o * s + at] += dy[o] * share[o];
    }
}

static void mean_any(const struct mc_window *w, const float *x, const float *y, const float *dy,
                     float *dx)
{
    (void)x;
    (void)y;
    float row[ROW], columns[ROW], share[ROW];
    memset(dx, 0, (size_t)(w->in[0] * w->in[1] * w->in[2]) * sizeof *dx);
    for (int64_t o = 0; o < w->out[2]; o++)
        columns[o] = (float)counted(w, 2, o);
    for (int64_t o0 = 0; o0 < w->out[0]; o0++)
        for (int64_t o1 = 0; o1 < w->out[1]; o1++, dy += w->out[2]) {
            int64_t a[2], b[2];
            float rows = (float)(counted(w, 0, o0) * counted(w, 1, o1));
            inside(w, 0, o0, w->in[0], &a[0], &b[0]);
            inside(w, 1, o1, w->in[1], &a[1], &b[1]);
            for (int64_t o = 0; o < w->out[2]; o++)
                share[o] = 1 / (rows * columns[o]);
            spread_row(w, dy, share, row);
            for (int64_t k0 = a[0]; k0 < b[0]; k0++)
                for (int64_t k1 = a[1]; k1 < b[1]; k1++) {
                    int64_t z = o0 * w->stride[0] + k0 * w->dilation[0] - w->pad[0];
                    int64_t r = o1 * w->stride[1] + k1 * w->dilation[1] - w->pad[1];
                    add_row(row, w->in[2], dx + (z * w->in[1] + r) * w->in[2]);
                }
        }
}

/* Rows of any width. */
static void mean_wide(const struct mc_window *w, const float *x, const float *y, const float *dy,
                      float *dx)
{
    (void)x;
    (void)y;
    int64_t o[3];
    memset(dx, 0, (size_t)(w->in[0] * w->in[1] * w->in[2]) * sizeof *dx);
    for (o[0] = 0; o[0] < w->out[0]; o[0]++)
        for (o[1] = 0; o[1] < w->out[1]; o[1]++)
            for (o[2] = 0; o[2] < w->out[2]; o[2]++, dy++) {
                int64_t a[3], b[3], at[3], count = 1;
                for (int d = 0; d < 3; d++) {
                    inside(w, d, o[d], w->in[d], &a[d], &b[d]);
                    at[d] = o[d] * w->stride[d] - w->pad[d];
                    count *= counted(w, d, o[d]);
                }
                for (int64_t k0 = a[0]; k0 < b[0]; k0++)
                    for (int64_t k1 = a[1]; k1 < b[1]; k1++)
                        for (int64_t k2 = a[2]; k2 < b[2]; k2++) {
                            int64_t z = at[0] + k0 * w->dilation[0];
                            int64_t r = at[1] + k1 * w->dilation[1];
                            int64_t i = (z * w->in[1] + r) * w->in[2] + at[2] + k2 * w->dilation[2];
                            dx[i] += *dy / (float)count;
                        }
            }
}

/* ---- choosing ---- */

static bool is_all(const struct mc_window *w)
{
    bool is = true;
    for (int d = 0; d < 3; d++)
        is = is && w->kernel[d] == w->in[d] && w->dilation[d] == 1 && w->pad[d] == 0 &&
             w->out[d] == 1;
    return is;
}

static void planes(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_window *w = &j->g->w;
    int64_t end = min64((chunk + 1) * j->per_chunk, w->planes);
    for (int64_t p = chunk * j->per_chunk; p < end; p++)
        j->plane(w, w->average ? NULL : (const float *)w->x + p * j->in,
                 w->average ? NULL : (const float *)w->y + p * j->out,
                 (const float *)j->g->dy + p * j->out, (float *)j->g->dx + p * j->in);
}

void MC_CPU(mc_window_grad)(const struct mc_window_grad *g, struct mc_pool *pool)
{
    const struct mc_window *w = &g->w;
    struct job j = {
        .g = g, .in = w->in[0] * w->in[1] * w->in[2], .out = w->out[0] * w->out[1] * w->out[2]};
    if (w->average)
        j.plane = is_all(w) ? mean_all : w->in[2] > ROW || w->out[2] > ROW ? mean_wide : mean_any;
    else
        j.plane = window_is_quads(w) ? max_quads : max_any;
    j.per_chunk = max64(1, CHUNK / max64(1, j.in));
    mc_pool_run(pool, ceil_div(w->planes, j.per_chunk), planes, &j);
}
