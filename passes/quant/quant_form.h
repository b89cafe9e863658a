/* Words that all files of quantisation share: forms, the rules of a runtime, what was asked for. */
#ifndef MC_PASSES_QUANT_FORM_H
#define MC_PASSES_QUANT_FORM_H

#include "passes/pass.h"

/* How one layer computes. In the order of a search's options: the first loses nothing. */
enum mc_quant_form {
    MC_QUANT_FLOAT, /* left as it is */
    MC_QUANT_HALF,  /* weights are floats of 16 bits in the file, made wider when it is loaded */
    MC_QUANT_WEIGHT, /* weights are integers in the file, one scale an output channel; the sum is of floats */
    MC_QUANT_BLOCK, /* the same with 4 bits (or --bits) and a scale a block of the inner dimension */
    MC_QUANT_DYNAMIC, /* activations get their range in every run: DynamicQuantizeLinear, MatMulInteger */
    MC_QUANT_STATIC, /* activations have a range from calibration: QuantizeLinear, DequantizeLinear */
    MC_QUANT_STATIC16, /* the same with activations of 16 bits */
    MC_QUANT_FORMS
};
extern const char *const mc_quant_form_names[MC_QUANT_FORMS]; /* "float", "weight", "weight4", … */

enum mc_quant_runtime {
    MC_QUANT_STOCK,    /* ONNX Runtime's speed, but operators of ONNX alone: the default */
    MC_QUANT_ORT,      /* operators of com.microsoft as well */
    MC_QUANT_VNNI,     /* mcompress itself, or others, with exact sums of u8·s8 products */
    MC_QUANT_AVX2,     /* u8·s8 products are added in pairs of int16, which saturate */
    MC_QUANT_OPENVINO, /* symmetric weights, unsigned activations, no 16 bits */
    MC_QUANT_RUNTIMES
};

enum mc_quant_range_method { MC_QUANT_MINMAX, MC_QUANT_PERCENTILE, MC_QUANT_ENTROPY, MC_QUANT_MSE };

/* Types and limits of integers, from --runtime, --bits and the options beside them. */
struct mc_quant_rules {
    enum mc_quant_runtime runtime;
    bool contrib;       /* com.microsoft may be written */
    int weight_bits;    /* 2..8, of WEIGHT, DYNAMIC, STATIC, STATIC16 */
    int block_bits;     /* 2..8, of BLOCK */
    int block;          /* elements of the inner dimension a scale, of BLOCK; 32 */
    int act_bits;       /* 2..8, of STATIC; with fewer than 8 an uint8 that uses [0, 2^bits - 1] */
    bool act_symmetric; /* activations: int8 with zero point 0, else uint8 with any */
    bool weight_unsigned; /* weights as uint8 around 128: u8·u8, whose sums do not saturate */
    bool reduce_range;    /* weights use 7 of 8 bits, so that pairs of products do not saturate */
    bool per_tensor;      /* one scale a weight, else one an output channel */
    bool weight_asymmetric;
    enum mc_quant_range_method method; /* of activations */
    enum mc_quant_range_method weight_method;
    double percentile; /* of PERCENTILE: 99.99 */
    bool outputs; /* outputs of the model may stay behind a QuantizeLinear: --quantise-outputs */
};

#endif
