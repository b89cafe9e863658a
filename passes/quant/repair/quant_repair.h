/* What makes up for the errors of integers, each on its own and optional. Those before building change the float model without
 * changing what it computes; those after it change integers and biases of the built one, layer by layer in the order of nodes, on
 * inputs that hold the errors of all layers before. */
#ifndef MC_PASSES_QUANT_REPAIR_H
#define MC_PASSES_QUANT_REPAIR_H

#include "passes/quant/form/quant_build.h"

struct mc_quant_repair_result {
    const char *name;     /* "bias correction" */
    size_t layers;        /* that it changed */
    double before, after; /* divergence of the outputs on held-out samples; NAN: not measured */
    bool kept;            /* otherwise what it did was undone */
    const char *why;      /* where it was not kept or did nothing; NULL */
};

/* ---- before: m stays equivalent ---- */

/* BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it; a constant factor or shift (Mul, Add, Sub, Div by
 * a constant a channel) too where nothing else reads between. *ret_layers: how many went. */
int mc_quant_fold_norms(struct mc_model *m, size_t *ret_layers, struct mc_err *err);
/* Scales of channels between two layers evened out, by their weights' ranges. *ret_layers: pairs that changed.
 * Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019. */
int mc_quant_equalise(struct mc_model *m, size_t *ret_layers, struct mc_err *err);
/* Channels of the inputs of MatMul and Gemm scaled down, their weights up, where rounding is expected to lose less: in the norm,
 * factor or layer before, or, where none of them can take it and a quarter is expected to be left, by one more Mul: the statistics of these inputs (and between there and the inputs) are void then, those
 * of all other values still good. *ret_layers: products whose weights changed. stats need channels of the last axis.
 * Source: Xiao et al., SmoothQuant, ICML 2023. alpha in [0,1]: 0.5. */
int mc_quant_smooth(struct mc_model *m, const struct mc_quant_stats *stats, double alpha,
                    size_t *ret_layers, struct mc_err *err);
/* The few channels of the inputs of MatMul and Gemm that hold far more than all others are multiplied apart, by floats, and added:
 * where integers are then expected to lose a quarter. sites (may be NULL): of m, and so after this; statistics are to be collected
 * anew. *ret_layers: products that became two. stats need channels of the last axis.
 * Source: Dettmers et al., LLM.int8(), NeurIPS 2022; deviates: channels are chosen once, by calibration. */
int mc_quant_outliers(struct mc_model *m, const struct mc_quant_stats *stats,
                      struct mc_quant_sites *sites, size_t *ret_layers, struct mc_err *err);

/* ---- after: b->m changes ---- */

struct mc_quant_repair {
    struct mc_pass_ctx *ctx;
    const struct mc_model *before; /* float, what b was built of */
    const struct mc_quant_sites *sites;
    const struct mc_quant_rules *rules;
    struct mc_quant_built *b;
    struct mc_dataset *fit; /* samples to fit on */
    int64_t fit_count;
    struct mc_dataset *
        held; /* samples to judge by; may be the same where there are few, with held_first behind fit_count */
    int64_t held_first, held_count;
};

/* E[y] of every layer put right through its bias (a bias is made where the operator has one and it was left out), y behind Relu
 * and Clip. Cost: about one run of both models on 32 samples, three on twice as many to judge.
 * Source: Nagel et al. 2019, sec. 4.2, in sequence. */
int mc_quant_repair_bias(struct mc_quant_repair *r, struct mc_quant_repair_result *ret,
                         struct mc_err *err);
/* Rounding of integers that are multiplied with floats, or with dynamic integers, column by column, errors handed on to columns
 * not rounded yet; scales stay.
 * Source: Frantar et al., GPTQ, ICLR 2023. */
int mc_quant_repair_gptq(struct mc_quant_repair *r, struct mc_quant_repair_result *ret,
                         struct mc_err *err);
/* The same for static layers, on inputs with all errors before them.
 * Source: Nagel et al., Up or Down? Adaptive Rounding (AdaRound), ICML 2020; solved as in quant_columns.h. */
int mc_quant_repair_round(struct mc_quant_repair *r, struct mc_quant_repair_result *ret,
                          struct mc_err *err);

#endif
