/* The epilogue of kernels/epilogue.h as kernels of the device apply it. */
#ifndef MC_KERNELS_CUDA_EPILOGUE_CUDA_H
#define MC_KERNELS_CUDA_EPILOGUE_CUDA_H

#include "kernels/cuda/cuda.h"

struct mc_cuda_epilogue { /* as struct mc_epilogue, to be handed to a kernel */
    const float *scale, *bias, *residual;
    int act;
    float lo, hi;
};

static inline struct mc_cuda_epilogue mc_cuda_epilogue_of(const struct mc_epilogue *e)
{
    struct mc_cuda_epilogue r;
    r.scale = (const float *)e->scale;
    r.bias = (const float *)e->bias;
    r.residual = (const float *)e->residual;
    r.act = e->act;
    r.lo = (float)e->lo;
    r.hi = (float)e->hi;
    return r;
}

/* Does it do anything? */
static inline bool mc_cuda_epilogue_any(const struct mc_epilogue *e)
{
    return e->scale || e->bias || e->residual || e->act != MC_ACT_NONE;
}

static __device__ __forceinline__ float mc_cuda_act(int act, float lo, float hi, float v)
{
    switch (act) {
    case MC_ACT_CLAMP: v = v < lo ? lo : v; return v > hi ? hi : v;
    case MC_ACT_LEAKY: return v < 0 ? lo * v : v;
    case MC_ACT_SIGMOID: return 1 / (1 + expf(-v));
    case MC_ACT_TANH: return tanhf(v);
    case MC_ACT_SILU: return v / (1 + expf(-v));
    case MC_ACT_GELU: return v * erfcf(-v * 0.70710678118654752440f) * 0.5f;
    case MC_ACT_HARDSWISH: {
        float gate = v * (1.0f / 6) + 0.5f;
        gate = gate < 0 ? 0 : gate;
        return v * (gate > 1 ? 1 : gate);
    }
    default: return v;
    }
}

/* Of the sum v in channel (or column) c; element i of the residual belongs to it. */
static __device__ __forceinline__ float mc_cuda_finish(const struct mc_cuda_epilogue &e, float v,
                                                       int64_t c, int64_t i)
{
    if (e.scale)
        v *= e.scale[c];
    if (e.bias)
        v += e.bias[c];
    if (e.residual)
        v += e.residual[i];
    return mc_cuda_act(e.act, e.lo, e.hi, v);
}

#endif
