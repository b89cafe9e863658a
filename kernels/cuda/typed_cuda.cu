/* Elementwise work and reductions over every element type: one element for each thread. */
#include "kernels/body_reduce.h"
#include "kernels/body_typed.h"
#include "kernels/cuda/walk.h"

#define ALL(X) INTEGERS(X) X(float, F32, 0, 0) X(double, F64, 0, 0)

/* A divisor of 0 leaves 0 and is reported by the next wait. */
template <typename T>
static __global__ void binary(struct mc_cuda_walk<2> w, int fn, const T *x, const T *y, T *z,
                              int *word)
{
    bool divides = fn == MC_BINARY_DIV || fn == MC_BINARY_MOD || fn == MC_BINARY_FMOD;
    for (int64_t i = MC_CUDA_INDEX_OF; i < w.n; i += MC_CUDA_STRIDE) {
        int64_t at[2];
        mc_cuda_walk_at(w, 2, i, at);
        T b = y[at[1]];
        if (divides && b == 0) {
            mc_cuda_report(word, MC_CUDA_DIVISOR);
            z[i] = 0;
        } else {
            z[i] = mc_typed_binary_of(fn, x[at[0]], b);
        }
    }
}

static void run_binary(enum mc_elem type, const struct mc_binary *b)
{
    struct mc_cuda_walk<2> w;
    mc_cuda_walk_make(&w, b->rank, b->dim, 2, b->stride, 1);
    if (w.n == 0)
        return;
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        MC_LAUNCH(binary<type>, mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, (int)b->fn,               \
                  (const type *)b->x, (const type *)b->y, (type *)b->z, mc_cuda_now()->fault);     \
        break;
        INTEGERS(CASE)
#undef CASE
    default: break; /* floats have kernels of their own */
    }
}

template <typename T>
static __global__ void unary(int64_t n, int fn, T low, T high, const T *x, T *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        y[i] = mc_typed_unary_of(fn, low, high, x[i]);
}

static void run_unary(enum mc_elem type, enum mc_unary_fn fn, int64_t lo, int64_t hi, int64_t n,
                      const void *x, void *y)
{
    if (n <= 0)
        return;
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name: {                                                                         \
        type low = mc_typed_bound_of(lo, (type)0);                                                 \
        type high = hi == INT64_MAX ? (type)most : mc_typed_bound_of(hi, (type)0);                 \
        MC_LAUNCH(unary<type>, mc_cuda_blocks(n), MC_CUDA_THREADS, n, (int)fn, low, high,          \
                  (const type *)x, (type *)y);                                                     \
    } break;
        INTEGERS(CASE)
#undef CASE
    default: break;
    }
}

template <typename T>
static __global__ void compare(struct mc_cuda_walk<2> w, int fn, const T *x, const T *y, uint8_t *z)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < w.n; i += MC_CUDA_STRIDE) {
        int64_t at[2];
        mc_cuda_walk_at(w, 2, i, at);
        z[i] = mc_typed_compare_of(fn, x[at[0]], y[at[1]]);
    }
}

static void run_compare(enum mc_elem type, const struct mc_compare *c)
{
    struct mc_cuda_walk<2> w;
    mc_cuda_walk_make(&w, c->rank, c->dim, 2, c->stride, 1);
    if (w.n == 0)
        return;
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        MC_LAUNCH(compare<type>, mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, (int)c->fn,              \
                  (const type *)c->x, (const type *)c->y, c->z);                                   \
        break;
        ALL(CASE)
#undef CASE
    default: break;
    }
}

template <typename T>
static __global__ void select(struct mc_cuda_walk<3> w, const uint8_t *test, const T *x, const T *y,
                              T *z)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < w.n; i += MC_CUDA_STRIDE) {
        int64_t at[3];
        mc_cuda_walk_at(w, 3, i, at);
        z[i] = test[at[0]] ? x[at[1]] : y[at[2]];
    }
}

template <typename T> static void select_as(const struct mc_select *s)
{
    struct mc_cuda_walk<3> w;
    mc_cuda_walk_make(&w, s->rank, s->dim, 3, s->stride, 1);
    if (w.n > 0)
        MC_LAUNCH(select<T>, mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, s->test, (const T *)s->x,
                  (const T *)s->y, (T *)s->z);
}

static void run_select(const struct mc_select *s)
{
    switch (s->elem_bytes) {
    case 1: select_as<uint8_t>(s); break;
    case 2: select_as<uint16_t>(s); break;
    case 4: select_as<uint32_t>(s); break;
    default: select_as<uint64_t>(s);
    }
}

/* ---- reductions: whole numbers are few, and their sums the same in any order; one thread for each result ---- */

struct job {
    struct mc_cuda_walk<1> keep, over;
    enum mc_reduce_fn fn;
};

template <typename T> static __global__ void reduce(struct job j, T least, T most, const T *x, T *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < j.keep.n; i += MC_CUDA_STRIDE) {
        int64_t base, at;
        double real = 0;
        T sum = j.fn == MC_REDUCE_MAX   ? least
                : j.fn == MC_REDUCE_MIN ? most
                                        : (T)(j.fn == MC_REDUCE_PROD);
        mc_cuda_walk_at(j.keep, 1, i, &base);
        for (int64_t k = 0; k < j.over.n; k++) {
            mc_cuda_walk_at(j.over, 1, k, &at);
            if (mc_typed_is_real(j.fn))
                real = mc_typed_real_step(j.fn, real, (double)x[base + at]);
            else
                sum = mc_typed_step_of(j.fn, sum, x[base + at]);
        }
        if (mc_typed_is_real(j.fn)) {
            real = mc_typed_real_end(j.fn, real, (double)least, (double)most);
            sum = real >= (double)most ? most : (T)real;
        } else if (j.fn == MC_REDUCE_MEAN && j.over.n > 0) {
            if constexpr ((T)-1 < (T)1)
                sum = (T)((int64_t)sum / j.over.n);
            else
                sum = (T)((uint64_t)sum / (uint64_t)j.over.n);
        }
        y[i] = sum;
    }
}

static void run_reduce(enum mc_elem type, const struct mc_reduce *r)
{
    struct job j;
    mc_cuda_walk_make(&j.keep, r->keep_rank, r->keep, 1, &r->keep_stride, 1);
    mc_cuda_walk_make(&j.over, r->over_rank, r->over, 1, &r->over_stride, 1);
    j.fn = r->fn;
    if (j.keep.n == 0)
        return;
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        MC_LAUNCH(reduce<type>, mc_cuda_blocks(j.keep.n), MC_CUDA_THREADS, j, (type)least,         \
                  (type)most, (const type *)r->x, (type *)r->y);                                   \
        break;
        INTEGERS(CASE)
#undef CASE
    default: break;
    }
}

template <typename T> static __global__ void argext(struct mc_argext a)
{
    for (int64_t r = MC_CUDA_INDEX_OF; r < a.outer * a.inner; r += MC_CUDA_STRIDE) {
        const T *x = (const T *)a.x + r / a.inner * a.n * a.inner + r % a.inner;
        int64_t best = 0;
        for (int64_t i = 1; i < a.n; i++) {
            T v = x[i * a.inner], top = x[best * a.inner];
            if ((a.smallest ? v < top : v > top) || (a.last && v == top))
                best = i;
        }
        a.y[r] = best;
    }
}

static void run_argext(enum mc_elem type, const struct mc_argext *a)
{
    if (a->outer * a->inner == 0)
        return;
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        MC_LAUNCH(argext<type>, mc_cuda_blocks(a->outer * a->inner), MC_CUDA_THREADS, *a);         \
        break;
        INTEGERS(CASE)
#undef CASE
    default: break;
    }
}

void mc_typed_fill_cuda(struct mc_kernels *k)
{
    k->typed.binary = run_binary;
    k->typed.unary = run_unary;
    k->typed.compare = run_compare;
    k->typed.select = run_select;
    k->typed.reduce = run_reduce;
    k->typed.argext = run_argext;
}
