/* Normalization across channels: LANES columns at a time; the sum of squares is made afresh for each channel
 * from the few around it, so that nothing drifts. */
#include <stdbool.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/spatial_cpu.h"
#include "kernels/fill.h"

enum { CHUNK = 1 << 11 }; /* elements in a chunk of work: about 10 us */

struct job {
    const struct mc_lrn *l;
    int64_t blocks, per_chunk; /* blocks of LANES columns per image */
};

static void columns(const struct mc_lrn *l, const float *x, float *y, int64_t n)
{
    vm m = vm_first(n);
    vf bias = vf_set1((float)l->bias), scale = vf_set1((float)(l->alpha / (double)l->size));
    vf power = vf_set1((float)-l->beta);
    bool usual = l->beta == 0.75;
    for (int64_t c = 0; c < l->channels; c++) {
        int64_t from = c - (l->size - 1) / 2, to = min64(from + l->size, l->channels);
        vf sum = vf_set1(0);
        for (int64_t k = max64(0, from); k < to; k++) {
            vf v = vf_load_mask(x + k * l->inner, m);
            sum = vf_fma(v, v, sum);
        }
        vf v = vf_load_mask(x + c * l->inner, m), d = vf_fma(scale, sum, bias);
        if (usual) /* v / d^(3/4) */
            v /= vf_sqrt(d) * vf_sqrt(vf_sqrt(d));
        else
            v *= vf_exp(power * vf_log(d));
        vf_store_mask(y + c * l->inner, v, m);
    }
}

static void lrn_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_lrn *l = j->l;
    int64_t all = l->outer * j->blocks;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < all; i++) {
        int64_t column = i % j->blocks * LANES;
        int64_t at = i / j->blocks * l->channels * l->inner + column;
        columns(l, (const float *)l->x + at, (float *)l->y + at, l->inner - column);
    }
}

void MC_CPU(mc_lrn)(const struct mc_lrn *l, struct mc_pool *pool)
{
    struct job j = {.l = l, .blocks = ceil_div(l->inner, LANES)};
    j.per_chunk = max64(1, CHUNK / max64(1, l->channels * LANES));
    mc_pool_run(pool, ceil_div(l->outer * j.blocks, j.per_chunk), lrn_chunk, &j);
}

void MC_CPU(mc_spatial_fill)(struct mc_spatial_kernels *k)
{
    *k = (struct mc_spatial_kernels){MC_CPU(mc_fold), MC_CPU(mc_resample), MC_CPU(mc_lrn)};
}
