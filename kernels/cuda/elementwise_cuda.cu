/* Functions of one and of two arrays. All of it is bound by memory: groups of four floats where they are aligned, and
 * the usual functions compiled on their own, so that the others' registers do not weigh on them. */
#include "kernels/body_elementwise.h"
#include "kernels/cuda/walk.h"

enum { ANY = -1 }; /* the function is told at run time */

template <int FN, int G>
static __global__ void unary(int64_t n, enum mc_unary_fn fn, float a, float b, const float *x,
                             float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        float v[G];
        mc_cuda_load<G>(x + i * G, 1, v);
        for (int j = 0; j < G; j++)
            v[j] = mc_unary_of(FN == ANY ? fn : (enum mc_unary_fn)FN, a, b, v[j]);
        mc_cuda_store<G>(y + i * G, v);
    }
}

template <int FN, int G>
static __global__ void unary_grad(int64_t n, enum mc_unary_fn fn, float a, float b, const float *dy,
                                  const float *v, float *dx)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        float d[G], w[G];
        mc_cuda_load<G>(dy + i * G, 1, d);
        mc_cuda_load<G>(v + i * G, 1, w);
        for (int j = 0; j < G; j++)
            d[j] = mc_unary_grad_of(FN == ANY ? fn : (enum mc_unary_fn)FN, a, b, d[j], w[j]);
        mc_cuda_store<G>(dx + i * G, d);
    }
}

/* Both are called with the groups of four first, and then with what is left. */
template <int FN, int G> static void launch_unary(const struct mc_unary *u, int64_t from, int64_t n)
{
    if (n > 0)
        MC_LAUNCH((unary<FN, G>), mc_cuda_blocks(n), MC_CUDA_THREADS, n, u->fn, (float)u->a,
                  (float)u->b, (const float *)u->x + from, (float *)u->y + from);
}

template <int FN> static void unary_as(const struct mc_unary *u)
{
    bool fours = mc_cuda_aligned(u->x, 16) && mc_cuda_aligned(u->y, 16);
    int64_t whole = fours ? u->n / 4 : 0;
    launch_unary<FN, 4>(u, 0, whole);
    launch_unary<FN, 1>(u, whole * 4, u->n - whole * 4);
}

static void run_unary(const struct mc_unary *u, struct mc_pool *)
{
    switch (u->fn) {
    case MC_UNARY_CLAMP: unary_as<MC_UNARY_CLAMP>(u); break;
    case MC_UNARY_LEAKY: unary_as<MC_UNARY_LEAKY>(u); break;
    case MC_UNARY_SIGMOID: unary_as<MC_UNARY_SIGMOID>(u); break;
    case MC_UNARY_TANH: unary_as<MC_UNARY_TANH>(u); break;
    case MC_UNARY_SILU: unary_as<MC_UNARY_SILU>(u); break;
    case MC_UNARY_GELU: unary_as<MC_UNARY_GELU>(u); break;
    case MC_UNARY_HARDSWISH: unary_as<MC_UNARY_HARDSWISH>(u); break;
    case MC_UNARY_SQRT: unary_as<MC_UNARY_SQRT>(u); break;
    case MC_UNARY_NEG: unary_as<MC_UNARY_NEG>(u); break;
    default: unary_as<ANY>(u);
    }
}

template <int FN, int G>
static void launch_grad(const struct mc_unary_grad *u, int64_t from, int64_t n)
{
    if (n > 0)
        MC_LAUNCH((unary_grad<FN, G>), mc_cuda_blocks(n), MC_CUDA_THREADS, n, u->fn, (float)u->a,
                  (float)u->b, (const float *)u->dy + from, (const float *)u->v + from,
                  (float *)u->dx + from);
}

template <int FN> static void grad_as(const struct mc_unary_grad *u)
{
    bool fours =
        mc_cuda_aligned(u->dy, 16) && mc_cuda_aligned(u->v, 16) && mc_cuda_aligned(u->dx, 16);
    int64_t whole = fours ? u->n / 4 : 0;
    launch_grad<FN, 4>(u, 0, whole);
    launch_grad<FN, 1>(u, whole * 4, u->n - whole * 4);
}

static void run_unary_grad(const struct mc_unary_grad *u, struct mc_pool *)
{
    switch (u->fn) {
    case MC_UNARY_CLAMP: grad_as<MC_UNARY_CLAMP>(u); break;
    case MC_UNARY_LEAKY: grad_as<MC_UNARY_LEAKY>(u); break;
    case MC_UNARY_SIGMOID: grad_as<MC_UNARY_SIGMOID>(u); break;
    case MC_UNARY_TANH: grad_as<MC_UNARY_TANH>(u); break;
    case MC_UNARY_SILU: grad_as<MC_UNARY_SILU>(u); break;
    case MC_UNARY_GELU: grad_as<MC_UNARY_GELU>(u); break;
    case MC_UNARY_HARDSWISH: grad_as<MC_UNARY_HARDSWISH>(u); break;
    default: grad_as<ANY>(u);
    }
}

template <int FN, int G>
static __global__ void binary(struct mc_cuda_walk<2> w, enum mc_binary_fn fn, const float *x,
                              const float *y, float *z)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < w.n; i += MC_CUDA_STRIDE) {
        int64_t at[2];
        float a[G], b[G];
        mc_cuda_walk_at(w, 2, i, at);
        mc_cuda_load<G>(x + at[0], w.step[0], a);
        mc_cuda_load<G>(y + at[1], w.step[1], b);
        for (int j = 0; j < G; j++)
            a[j] = mc_binary_of(FN == ANY ? fn : (enum mc_binary_fn)FN, a[j], b[j]);
        mc_cuda_store<G>(z + i * G, a);
    }
}

template <int FN> static void binary_as(const struct mc_binary *b)
{
    const void *const in[] = {b->x, b->y};
    bool fours = mc_cuda_fours(b->rank, b->dim, 2, b->stride, in) && mc_cuda_aligned(b->z, 16);
    struct mc_cuda_walk<2> w;
    mc_cuda_walk_make(&w, b->rank, b->dim, 2, b->stride, fours ? 4 : 1);
    const float *x = (const float *)b->x, *y = (const float *)b->y;
    if (w.n <= 0)
        return;
    if (fours)
        MC_LAUNCH((binary<FN, 4>), mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, b->fn, x, y,
                  (float *)b->z);
    else
        MC_LAUNCH((binary<FN, 1>), mc_cuda_blocks(w.n), MC_CUDA_THREADS, w, b->fn, x, y,
                  (float *)b->z);
}

static void run_binary(const struct mc_binary *b, struct mc_pool *)
{
    switch (b->fn) {
    case MC_BINARY_ADD: binary_as<MC_BINARY_ADD>(b); break;
    case MC_BINARY_SUB: binary_as<MC_BINARY_SUB>(b); break;
    case MC_BINARY_MUL: binary_as<MC_BINARY_MUL>(b); break;
    case MC_BINARY_DIV: binary_as<MC_BINARY_DIV>(b); break;
    default: binary_as<ANY>(b);
    }
}

void mc_elementwise_fill_cuda(struct mc_kernels *k)
{
    k->elementwise.unary = run_unary;
    k->elementwise.unary_grad = run_unary_grad;
    k->elementwise.binary = run_binary;
}
