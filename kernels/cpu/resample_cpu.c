/* Resampling along one axis. With something inside the axis, a row of the result is a weighted sum of whole
 * rows; along the innermost axis the taps of LANES neighbours are gathered from a row in L1. */
#include <stdbool.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/spatial_cpu.h"

enum { CHUNK = 1 << 15 }; /* products in a chunk of work: about 10 us */

static inline vi load_index(const int32_t *p, int64_t n)
{
    return (vi)vf_load_mask((const float *)(const void *)p, vm_first(n));
}

static inline vf gather(const float *p, vi at)
{
#if MC_LEVEL == 5
    return (vf)_mm512_i32gather_ps((__m512i)at, p, 4);
#elif MC_LEVEL == 2
    return (vf)_mm256_i32gather_ps(p, (__m256i)at, 4);
#else
    vf v;
    for (int i = 0; i < LANES; i++)
        v[i] = p[at[i]];
    return v;
#endif
}

/* One row of n_in elements to one of n_out. */
static void along(const struct mc_resample *r, const float *x, float *y)
{
    const float *weight = r->weight;
    for (int64_t j = 0; j < r->n_out; j += LANES) {
        int64_t left = r->n_out - j;
        vm m = vm_first(left);
        vf sum = vf_set1(0);
        for (int64_t t = 0; t < r->taps; t++) {
            /* Lanes beyond the end read element 0. */
            vi at = load_index(r->index + t * r->n_out + j, left);
            sum = vf_fma(vf_load_mask(weight + t * r->n_out + j, m), gather(x, at), sum);
        }
        vf_store_mask(y + j, sum, m);
    }
}

/* Row j of the result from the rows of one outer step. */
static void across(const struct mc_resample *r, const float *x, int64_t j, float *y)
{
    const float *weight = r->weight;
    for (int64_t i = 0; i < r->inner; i += LANES) {
        vm m = vm_first(r->inner - i);
        vf sum = vf_set1(0);
        for (int64_t t = 0; t < r->taps; t++) {
            const float *from = x + r->index[t * r->n_out + j] * r->inner + i;
            sum = vf_fma(vf_set1(weight[t * r->n_out + j]), vf_load_mask(from, m), sum);
        }
        vf_store_mask(y + i, sum, m);
    }
}

struct job {
    const struct mc_resample *r;
    int64_t rows, per_chunk;
};

static void resample_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_resample *r = j->r;
    const float *x = r->x;
    float *y = r->y;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->rows; i++) {
        if (r->inner == 1)
            along(r, x + i * r->n_in, y + i * r->n_out);
        else
            across(r, x + i / r->n_out * r->n_in * r->inner, i % r->n_out, y + i * r->inner);
    }
}

void MC_CPU(mc_resample)(const struct mc_resample *r, struct mc_pool *pool)
{
    bool flat = r->inner == 1;
    struct job j = {.r = r, .rows = flat ? r->outer : r->outer * r->n_out};
    int64_t cost = (flat ? r->n_out : r->inner) * r->taps;
    j.per_chunk = max64(1, CHUNK / max64(1, cost));
    mc_pool_run(pool, ceil_div(j.rows, j.per_chunk), resample_chunk, &j);
}
