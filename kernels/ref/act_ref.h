/* The activations of an epilogue, by their definition. */
#ifndef MC_KERNELS_REF_ACT_REF_H
#define MC_KERNELS_REF_ACT_REF_H

#include "kernels/epilogue.h"
#include "kernels/ref/elem.h"

static inline elem act_ref(enum mc_act act, elem lo, elem hi, elem v)
{
    switch (act) {
    case MC_ACT_NONE: return v;
    case MC_ACT_CLAMP: v = v < lo ? lo : v; return v > hi ? hi : v;
    case MC_ACT_LEAKY: return v < 0 ? lo * v : v;
    case MC_ACT_SIGMOID: return 1 / (1 + exp(-v));
    case MC_ACT_TANH: return tanh(v);
    case MC_ACT_SILU: return v / (1 + exp(-v));
    case MC_ACT_GELU: return v * erfc(-v * (elem)0.70710678118654752440) / 2; /* Phi(v) */
    case MC_ACT_HARDSWISH: {
        elem gate = v / 6 + (elem)0.5;
        gate = gate < 0 ? 0 : gate;
        return v * (gate > 1 ? 1 : gate);
    }
    }
    return v;
}

#endif
