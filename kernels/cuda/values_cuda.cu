/* Elements converted, tested, and laid out by their places. */
#include <float.h>

#include "kernels/cuda/exact.h"
#include "kernels/cuda/walk.h"
#include "kernels/typed_list.h"

enum { THREADS = MC_CUDA_THREADS };

#define ALL(X) INTEGERS(X) X(float, F32, 0, 0) X(double, F64, 0, 0)

/* ---- conversions ---- */

template <typename T> struct limits {
    T least, most;
};

/* Whole numbers keep their low bits. */
template <typename To, typename From> struct convert {
    static __device__ To of(From x, struct limits<To>, bool)
    {
        return (To)x;
    }
};

/* The ends of 64 bits lie just inside of a power of two that is a double. */
template <typename To> static __device__ To cut(double x, struct limits<To> l, bool nearest)
{
    if (x != x)
        return 0;
    x = nearest ? rint(x) : trunc(x);
    return x <= (double)l.least ? l.least : x >= (double)l.most ? l.most : (To)x;
}
#define FROM_FLOAT(type, name, low, high)                                                          \
    template <> struct convert<type, float> {                                                      \
        static __device__ type of(float x, struct limits<type> l, bool nearest)                    \
        {                                                                                          \
            return cut<type>((double)x, l, nearest);                                               \
        }                                                                                          \
    };                                                                                             \
    template <> struct convert<type, double> {                                                     \
        static __device__ type of(double x, struct limits<type> l, bool nearest)                   \
        {                                                                                          \
            return cut<type>(x, l, nearest);                                                       \
        }                                                                                          \
    };
INTEGERS(FROM_FLOAT)

template <typename To, typename From>
static __global__ void cast(struct mc_cast c, struct limits<To> l)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < c.n; i += MC_CUDA_STRIDE) {
        From x = ((const From *)c.x)[i];
        bool truth = x != 0;
        ((To *)c.y)[i] =
            c.to_truth || c.from_truth ? (To)truth : convert<To, From>::of(x, l, c.nearest);
    }
}

template <typename To> static void cast_to(const struct mc_cast *c, struct limits<To> l)
{
    switch (c->from) {
#define CASE(type, name, low, high)                                                                \
    case MC_ELEM_##name: MC_LAUNCH((cast<To, type>), mc_cuda_blocks(c->n), THREADS, *c, l); break;
        ALL(CASE)
#undef CASE
    default: break;
    }
}

static void run_cast(const struct mc_cast *c)
{
    if (c->n == 0)
        return;
    switch (c->to) {
#define CASE(type, name, low, high)                                                                \
    case MC_ELEM_##name: {                                                                         \
        struct limits<type> l = {                                                                  \
            low, high                                                                              \
        };                                                                                         \
        cast_to<type>(c, l);                                                                       \
    } break;
        ALL(CASE)
#undef CASE
    default: break;
    }
}

static __device__ uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static __device__ float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A float32 to the nearest that the half type has, half to even. */
static __device__ float halved(enum mc_half to, float x)
{
    uint32_t bits = bits_of(x), sign = bits & 0x80000000u, rest = bits ^ sign;
    if (rest > 0x7f800000)
        return float_of(sign | 0x7fc00000);
    if (to == MC_HALF_BF16)
        return float_of(sign | ((rest + 0x7fff + (rest >> 16 & 1)) & 0xffff0000u));
    if (rest >= 0x477ff000) /* 65520 and more */
        return float_of(sign | 0x7f800000);
    if (rest < 0x38800000) /* below 2^-14: the unit is 2^-24, that of numbers from 0.5 on */
        return float_of(sign | bits_of(mc_add_rn(mc_add_rn(float_of(rest), 0.5f), -0.5f)));
    return float_of(sign | ((rest + 0xfff + (rest >> 13 & 1)) & 0xffffe000u));
}

static __global__ void round_to(enum mc_half to, int64_t n, float *x)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        x[i] = halved(to, x[i]);
}

static void run_round(enum mc_half to, int64_t n, float *x)
{
    if (n > 0)
        MC_LAUNCH(round_to, mc_cuda_blocks(n), THREADS, to, n, x);
}

/* ---- tests ---- */

static __global__ void test(int tests, int64_t n, const float *x, uint8_t *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        uint32_t bits = bits_of(x[i]), rest = bits & 0x7fffffff;
        int is = rest > 0x7f800000    ? MC_TEST_NAN
                 : rest < 0x7f800000  ? 0
                 : bits & 0x80000000u ? MC_TEST_BELOW
                                      : MC_TEST_ABOVE;
        y[i] = (is & tests) != 0;
    }
}

static void run_test(int tests, int64_t n, const float *x, uint8_t *y)
{
    if (n > 0)
        MC_LAUNCH(test, mc_cuda_blocks(n), THREADS, tests, n, x, y);
}

static __global__ void flip(bool truth, int64_t n, const uint8_t *x, uint8_t *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        y[i] = truth ? !x[i] : (uint8_t)~x[i];
}

static void run_flip(bool truth, int64_t bytes, const uint8_t *x, uint8_t *y)
{
    if (bytes > 0)
        MC_LAUNCH(flip, mc_cuda_blocks(bytes), THREADS, truth, bytes, x, y);
}

/* ---- diagonals, steps ---- */

template <typename T> static __global__ void diagonal(struct mc_diagonal d)
{
    int64_t n = d.matrices * d.rows * d.cols;
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t row = i / d.cols, past = i - row * d.cols - row % d.rows - d.k;
        bool kept = d.side == MC_DIAGONAL_UPPER   ? past >= 0
                    : d.side == MC_DIAGONAL_LOWER ? past <= 0
                                                  : past == 0;
        ((T *)d.y)[i] = !kept ? (T)0 : d.x ? ((const T *)d.x)[i] : (T)d.one;
    }
}

template <typename T> static void diagonal_as(const struct mc_diagonal *given)
{
    struct mc_diagonal d = *given;
    d.k = d.k < -d.rows ? -d.rows : d.k > d.cols ? d.cols : d.k;
    if (d.matrices * d.rows * d.cols > 0)
        MC_LAUNCH(diagonal<T>, mc_cuda_blocks(d.matrices * d.rows * d.cols), THREADS, d);
}

static void run_diagonal(const struct mc_diagonal *d)
{
    switch (d->elem_bytes) {
    case 1: diagonal_as<uint8_t>(d); break;
    case 2: diagonal_as<uint16_t>(d); break;
    case 4: diagonal_as<uint32_t>(d); break;
    default: diagonal_as<uint64_t>(d);
    }
}

template <typename T> static __global__ void steps(struct mc_steps s)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < s.n; i += MC_CUDA_STRIDE)
        ((T *)s.y)[i] = (T)((uint64_t)s.start + (uint64_t)i * (uint64_t)s.step);
}

static __global__ void float_steps(struct mc_steps s)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < s.n; i += MC_CUDA_STRIDE)
        ((float *)s.y)[i] =
            mc_add_rn((float)s.float_start, mc_mul_rn((float)i, (float)s.float_step));
}

static void run_steps(const struct mc_steps *s)
{
    if (s->n == 0)
        return;
    switch (s->type) {
#define CASE(type, name, low, high)                                                                \
    case MC_ELEM_##name: MC_LAUNCH(steps<type>, mc_cuda_blocks(s->n), THREADS, *s); break;
        INTEGERS(CASE)
#undef CASE
    case MC_ELEM_F32: MC_LAUNCH(float_steps, mc_cuda_blocks(s->n), THREADS, *s); break;
    default: break;
    }
}

/* ---- places outside ---- */

static __device__ int64_t inside(enum mc_outside outside, int64_t i, int64_t n)
{
    if (outside == MC_OUTSIDE_EDGE)
        return i < 0 ? 0 : i >= n ? n - 1 : i;
    if (outside == MC_OUTSIDE_WRAP)
        return (i % n + n) % n;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

template <typename T> static __global__ void beyond(struct mc_beyond b, int64_t n)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t rest = i, from = 0, stride = 1;
        for (int d = b.rank - 1; d >= 0; d--) {
            int64_t q = rest / b.dim[d], at = rest - q * b.dim[d] - b.before[d];
            from += inside(b.outside, at, b.size[d]) * stride;
            stride *= b.size[d];
            rest = q;
        }
        ((T *)b.y)[i] = ((const T *)b.x)[from];
    }
}

static void run_beyond(const struct mc_beyond *b)
{
    int64_t n = 1;
    for (int d = 0; d < b->rank; d++)
        n *= b->dim[d];
    if (n == 0)
        return;
    switch (b->elem_bytes) {
    case 1: MC_LAUNCH(beyond<uint8_t>, mc_cuda_blocks(n), THREADS, *b, n); break;
    case 2: MC_LAUNCH(beyond<uint16_t>, mc_cuda_blocks(n), THREADS, *b, n); break;
    case 4: MC_LAUNCH(beyond<uint32_t>, mc_cuda_blocks(n), THREADS, *b, n); break;
    default: MC_LAUNCH(beyond<uint64_t>, mc_cuda_blocks(n), THREADS, *b, n);
    }
}

static __global__ void beyond_index(struct mc_beyond_index b)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < b.n; i += MC_CUDA_STRIDE)
        b.index[i] = inside(b.outside, i - b.before, b.size);
}

static void run_beyond_index(const struct mc_beyond_index *b)
{
    if (b->n > 0)
        MC_LAUNCH(beyond_index, mc_cuda_blocks(b->n), THREADS, *b);
}

/* ---- sequences, marks, positions ---- */

template <typename T> static __global__ void backward(struct mc_backward b, int *fault)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < b.batch * b.time * b.row; i += MC_CUDA_STRIDE) {
        int64_t step = i / b.row, in = i - step * b.row, s = step / b.time, t = step - s * b.time;
        int64_t length =
            b.length_bytes == 4 ? ((const int32_t *)b.length)[s] : ((const int64_t *)b.length)[s];
        if (length < 0 || length > b.time) {
            mc_cuda_report(fault, MC_CUDA_INDEX);
            length = 0;
        }
        int64_t base = s * b.batch_stride, from = t < length ? length - 1 - t : t;
        ((T *)b.y)[(base + t * b.time_stride) * b.row + in] =
            ((const T *)b.x)[(base + from * b.time_stride) * b.row + in];
    }
}

static void run_backward(const struct mc_backward *b)
{
    int64_t n = b->batch * b->time * b->row;
    int *fault = mc_cuda_now()->fault;
    if (n == 0)
        return;
    switch (b->elem_bytes) {
    case 1: MC_LAUNCH(backward<uint8_t>, mc_cuda_blocks(n), THREADS, *b, fault); break;
    case 2: MC_LAUNCH(backward<uint16_t>, mc_cuda_blocks(n), THREADS, *b, fault); break;
    case 4: MC_LAUNCH(backward<uint32_t>, mc_cuda_blocks(n), THREADS, *b, fault); break;
    default: MC_LAUNCH(backward<uint64_t>, mc_cuda_blocks(n), THREADS, *b, fault);
    }
}

static __device__ int64_t whole_of(enum mc_elem type, const void *x, int64_t i)
{
    switch (type) {
#define CASE(type, name, low, high)                                                                \
    case MC_ELEM_##name: return (int64_t)((const type *)x)[i];
        INTEGERS(CASE)
#undef CASE
    default: {
        float v = ((const float *)x)[i];
        return fabsf(v) < 0x1p62f ? (int64_t)v : INT64_MAX;
    }
    }
}

template <typename T> static __global__ void hot(struct mc_hot h)
{
    const T *value = (const T *)h.value;
    int64_t n = h.outer * h.depth * h.inner;
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t row = i / h.inner, o = row / h.depth, d = row - o * h.depth;
        int64_t at = whole_of(h.type, h.at, o * h.inner + i - row * h.inner);
        ((T *)h.y)[i] = value[at == d || (at < 0 && at + h.depth == d)];
    }
}

static void run_hot(const struct mc_hot *h)
{
    int64_t n = h->outer * h->depth * h->inner;
    if (n == 0)
        return;
    switch (h->elem_bytes) {
    case 1: MC_LAUNCH(hot<uint8_t>, mc_cuda_blocks(n), THREADS, *h); break;
    case 2: MC_LAUNCH(hot<uint16_t>, mc_cuda_blocks(n), THREADS, *h); break;
    case 4: MC_LAUNCH(hot<uint32_t>, mc_cuda_blocks(n), THREADS, *h); break;
    default: MC_LAUNCH(hot<uint64_t>, mc_cuda_blocks(n), THREADS, *h);
    }
}

static __global__ void positions(struct mc_window w, bool columns, int64_t n)
{
    int64_t plane = w.in[0] * w.in[1] * w.in[2], out = w.out[0] * w.out[1] * w.out[2];
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t at = w.arg[i];
        if (columns) {
            int64_t x = at % w.in[2], y = at / w.in[2] % w.in[1], z = at / w.in[2] / w.in[1];
            at = z + (y + x * w.in[1]) * w.in[0];
        }
        w.arg[i] = i / out * plane + at;
    }
}

static void run_positions(const struct mc_window *w, bool columns)
{
    int64_t n = w->planes * w->out[0] * w->out[1] * w->out[2];
    if (n > 0)
        MC_LAUNCH(positions, mc_cuda_blocks(n), THREADS, *w, columns, n);
}

void mc_values_fill_cuda(struct mc_kernels *k)
{
    k->values.cast = run_cast;
    k->values.round = run_round;
    k->values.test = run_test;
    k->values.flip = run_flip;
    k->values.diagonal = run_diagonal;
    k->values.steps = run_steps;
    k->values.beyond = run_beyond;
    k->values.beyond_index = run_beyond_index;
    k->values.hot = run_hot;
    k->values.backward = run_backward;
    k->values.positions = run_positions;
}
