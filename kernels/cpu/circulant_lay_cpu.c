/* Between rows and panels: squares of LANES turned over in registers. */
#include <math.h>

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/circulant_cpu.h"
#include "kernels/cpu/transpose_cpu.h"

void MC_CPU(mc_circulant_gather)(const float *const *from, int n, int64_t cols, float *to)
{
    for (int l0 = 0; l0 < n; l0 += LANES) {
        int lanes = n - l0 < LANES ? n - l0 : LANES;
        for (int64_t c0 = 0; c0 < cols; c0 += LANES) {
            int wide = (int)min64(LANES, cols - c0);
            vf r[LANES];
            if (lanes == LANES && wide == LANES) {
#pragma GCC unroll 16
                for (int l = 0; l < LANES; l++)
                    r[l] = vf_load(from[l0 + l] + c0);
            } else {
                vm m = vm_first(wide);
#pragma GCC unroll 16
                for (int l = 0; l < LANES; l++)
                    r[l] = l < lanes ? vf_load_mask(from[l0 + l] + c0, m) : vf_set1(0);
            }
            transpose_vectors(r);
            float *dst = to + c0 * PANEL + l0;
#pragma GCC unroll 16
            for (int t = 0; t < LANES; t++) {
                if (t < wide)
                    vf_store(dst + t * PANEL, r[t]);
            }
        }
    }
}

void MC_CPU(mc_circulant_scatter)(const float *panel, const struct mc_circulant_scatter *s)
{
    const struct mc_epilogue *e = s->epilogue;
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int l0 = 0; l0 < s->n; l0 += LANES) {
        int lanes = s->n - l0 < LANES ? s->n - l0 : LANES;
        for (int64_t c0 = 0; c0 < s->cols; c0 += LANES) {
            int wide = (int)min64(LANES, s->cols - c0);
            vm m = vm_first(wide);
            const float *src = panel + c0 * PANEL + l0;
            vf r[LANES];
#pragma GCC unroll 16
            for (int t = 0; t < LANES; t++)
                r[t] = t < wide ? vf_load(src + t * PANEL) : vf_set1(0);
            transpose_vectors(r);
#pragma GCC unroll 16
            for (int t = 0; t < LANES; t++) {
                if (t >= lanes)
                    break;
                vf v = r[t];
                if (s->bias[0])
                    v += vf_load_mask(s->bias[l0 + t] + c0, m);
                if (s->residual[0])
                    v += vf_load_mask(s->residual[l0 + t] + c0, m);
                v = vf_at_most(vf_at_least(v, lo), hi);
                if (wide == LANES)
                    vf_store(s->to[l0 + t] + c0, v);
                else
                    vf_store_mask(s->to[l0 + t] + c0, v, m);
            }
        }
    }
    for (int l = 0; l < s->n && e->act > MC_ACT_CLAMP; l++)
        MC_CPU(mc_act_block)(e, s->to[l], s->cols, 1, s->cols);
}
