/* What is done to a result on its way to memory. */
#ifndef MC_KERNELS_EPILOGUE_H
#define MC_KERNELS_EPILOGUE_H

enum mc_act {
    MC_ACT_NONE,
    MC_ACT_CLAMP, /* min(max(v, lo), hi); Relu is lo 0, hi +inf; NaN stays NaN */
    MC_ACT_LEAKY, /* v < 0 ? lo * v : v */
    MC_ACT_SIGMOID,
    MC_ACT_TANH,
    MC_ACT_SILU,      /* v * sigmoid(v) */
    MC_ACT_GELU,      /* v * Phi(v), exact erf */
    MC_ACT_HARDSWISH, /* v max(0, min(1, v/6 + 1/2)) */
};

struct mc_epilogue {      /* y = act(v * scale + bias + residual) */
    const void *scale;    /* of a convolution, per channel, or NULL: 1; a gemm takes none */
    const void *bias;     /* per output column (gemm) or channel (conv), or NULL */
    const void *residual; /* laid out as the output, or NULL */
    enum mc_act act;
    double lo, hi;
};

#endif
