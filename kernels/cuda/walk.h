/* Indices of dense results and what they read, on the device.
 *
 * An element of the result has a number; its place in an operand is the sum of its coordinates times strides. The
 * divisions that give the coordinates are done by multiplication where there are below 2^31 elements. */
#ifndef MC_KERNELS_CUDA_WALK_H
#define MC_KERNELS_CUDA_WALK_H

#include "kernels/cuda/cuda.h"

/* Division of numbers below 2^31 by one d: Granlund and Montgomery, Division by Invariant Integers using
 * Multiplication, 1994, figure 4.1. */
struct mc_cuda_div {
    uint32_t d, multiplier, shift;
};

static inline struct mc_cuda_div mc_cuda_div_by(int64_t d)
{
    struct mc_cuda_div r = {(uint32_t)d, 1, 0};
    while (r.shift < 31 && (1u << r.shift) < r.d)
        r.shift++;
    if (d > 0)
        r.multiplier = (uint32_t)((((uint64_t)1 << 32) * ((1ull << r.shift) - r.d)) / r.d + 1);
    return r;
}

static __device__ inline uint32_t mc_cuda_quotient(const struct mc_cuda_div *v, uint32_t n)
{
    uint32_t high = (uint32_t)((uint64_t)n * v->multiplier >> 32);
    return (high + n) >> v->shift;
}

/* Up to N operands beside a dense result of `n` groups of elements that are neighbours in the last dimension. */
template <int N> struct mc_cuda_walk {
    int rank;
    int64_t n;
    bool wide; /* n does not fit 31 bits */
    int64_t dim[MC_MOVE_RANK];
    struct mc_cuda_div div[MC_MOVE_RANK];
    int64_t stride[N][MC_MOVE_RANK]; /* the last one: of a group */
    int step[N];                     /* within a group: 0 or 1; not used in groups of 1 */
};

/* Of merged dimensions. `group` divides the last dimension. */
template <int N>
static inline void mc_cuda_walk_make(struct mc_cuda_walk<N> *w, int rank, const int64_t *dim, int n,
                                     const int64_t (*stride)[MC_MOVE_RANK], int group)
{
    memset(w, 0, sizeof *w);
    w->rank = rank;
    w->n = 1;
    for (int d = 0; d < rank; d++) {
        w->dim[d] = d == rank - 1 ? dim[d] / group : dim[d];
        w->n *= w->dim[d];
    }
    w->wide = w->n >= (int64_t)1 << 31;
    for (int d = 0; d < rank; d++)
        w->div[d] = mc_cuda_div_by(w->wide ? 1 : w->dim[d]);
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < rank; d++)
            w->stride[i][d] = stride[i][d];
        w->step[i] = (int)stride[i][rank - 1];
        w->stride[i][rank - 1] *= group;
    }
}

/* at[j] = place of element 0 of group i in operand j of n. */
template <int N>
static __device__ inline void mc_cuda_walk_at(const struct mc_cuda_walk<N> &w, int n, int64_t i,
                                              int64_t *at)
{
    for (int j = 0; j < n; j++)
        at[j] = 0;
    for (int d = w.rank - 1; d >= 0; d--) {
        int64_t rest = d == 0   ? 0
                       : w.wide ? i / w.dim[d]
                                : mc_cuda_quotient(&w.div[d], (uint32_t)i);
        int64_t index = i - rest * w.dim[d];
        for (int j = 0; j < n; j++)
            at[j] += index * w.stride[j][d];
        i = rest;
    }
}

/* What a kernel found in its data: the first one stays. word: mc_gpu.fault. */
static __device__ inline void mc_cuda_report(int *word, enum mc_cuda_fault what)
{
    atomicCAS(word, (int)MC_CUDA_OK, (int)what);
}

/* Four floats, moved at once where they are aligned to 16 bytes. */
struct alignas(16) mc_cuda_four {
    float v[4];
};

static inline bool mc_cuda_aligned(const void *p, int bytes)
{
    return (uintptr_t)p % (unsigned)bytes == 0;
}

/* Can operands with these strides be read in groups of 4 floats that are neighbours, or all the same? */
static inline bool mc_cuda_fours(int rank, const int64_t *dim, int n,
                                 const int64_t (*stride)[MC_MOVE_RANK], const void *const *x)
{
    bool yes = dim[rank - 1] % 4 == 0;
    for (int i = 0; i < n && yes; i++) {
        int64_t last = stride[i][rank - 1];
        yes = last == 0 || (last == 1 && mc_cuda_aligned(x[i], 16));
        for (int d = 0; d < rank - 1 && last == 1; d++)
            yes = yes && stride[i][d] % 4 == 0;
    }
    return yes;
}

/* G floats from p, or G times the first of them. */
template <int G> static __device__ inline void mc_cuda_load(const float *p, int step, float *v)
{
    if (G == 4 && step == 1) {
        struct mc_cuda_four f = *(const struct mc_cuda_four *)p;
        for (int j = 0; j < G; j++)
            v[j] = f.v[j];
    } else {
        float one = *p;
        for (int j = 0; j < G; j++)
            v[j] = one;
    }
}

template <int G> static __device__ inline void mc_cuda_store(float *p, const float *v)
{
    if (G == 4) {
        struct mc_cuda_four f;
        for (int j = 0; j < G; j++)
            f.v[j] = v[j];
        *(struct mc_cuda_four *)p = f;
    } else {
        *p = v[0];
    }
}

#endif
