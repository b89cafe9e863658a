/* The parts of the nn family, one file each. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_NN_CPU_H
#define MC_KERNELS_CPU_NN_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/nn.h"
#include "kernels/norm.h"

void MC_CPU(mc_nn_window)(const struct mc_window *w, struct mc_pool *pool);
void MC_CPU(mc_nn_reduce)(const struct mc_reduce *r, struct mc_pool *pool);
void MC_CPU(mc_nn_lstm_cell)(const struct mc_lstm_cell *c, struct mc_pool *pool);
void MC_CPU(mc_nn_gru_reset)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_CPU(mc_nn_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_CPU(mc_nn_rnn_cell)(const struct mc_rnn_cell *r, struct mc_pool *pool);

size_t MC_CPU(mc_norm_grad_scratch)(const struct mc_norm_grad *g);
void MC_CPU(mc_norm_grad)(const struct mc_norm_grad *g, void *scratch, struct mc_pool *pool);

/* The lanes joined in a fixed order: halves onto each other. The largest is of numbers, not of NaN. */
static inline float vf_sum(vf v)
{
#if MC_LEVEL == 5
    return _mm512_reduce_add_ps((__m512)v);
#else
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            v[i] += v[i + step];
    return v[0];
#endif
}

static inline float vf_max_lane(vf v)
{
#if MC_LEVEL == 5
    return _mm512_reduce_max_ps((__m512)v);
#else
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            v[i] = v[i] > v[i + step] ? v[i] : v[i + step];
    return v[0];
#endif
}

/* Two by two at a stride of two, without padding. */
static inline bool window_is_quads(const struct mc_window *w)
{
    bool is = w->kernel[0] == 1 && w->stride[0] == 1 && w->pad[0] == 0 && w->in[0] == w->out[0];
    for (int d = 1; d < 3; d++)
        is = is && w->kernel[d] == 2 && w->stride[d] == 2 && w->dilation[d] == 1 &&
             w->pad[d] == 0 && w->out[d] == w->in[d] / 2;
    return is;
}

#endif
