/* Connected regions of integers: which values of the main graph go through QuantizeLinear and DequantizeLinear, and which nodes
 * beside the layers compute on integers, so that runtimes fuse what stands between them.
 *
 * The rules are those of ONNX Runtime 1.32 as measured (2026), which OpenVINO shares: a convolution computes on integers only
 * where its output, behind Relu or Clip, is quantised too, and only where nothing reads that output before it is; Relu goes
 * where the zero point is the type's lowest number, Clip where the range lies within it; MatMul and Gemm give floats as well;
 * what moves values needs the same parameters on both sides; what combines them does not. */
#ifndef MC_PASSES_QUANT_REGION_H
#define MC_PASSES_QUANT_REGION_H

#include "passes/quant/form/quant_site.h"
#include "passes/quant/range/quant_stats.h"

/* What becomes of a value. */
struct mc_quant_point {
    bool on;         /* goes through QuantizeLinear and DequantizeLinear */
    bool made;       /* by a unit of integers */
    bool all;        /* all readers read behind them; otherwise those that compute on integers */
    bool wide;       /* goes through a pair of 16 bits as well, for STATIC16 layers */
    uint32_t parent; /* value with the same parameters, nearer to the one they are from: itself */
    float factor;    /* its scale is so many times that of `parent` */
    enum mc_dtype dtype;                     /* of the floats, as the model has them */
    struct mc_quant_param param, wide_param; /* valid after planning with statistics */
};

enum mc_quant_unit_kind {
    MC_QUANT_OTHER,
    MC_QUANT_LAYER,   /* a STATIC site */
    MC_QUANT_MOVE,    /* gives values that it was given: Reshape, Transpose, MaxPool, … */
    MC_QUANT_RESCALE, /* a factor: the same integers with another scale, and no node */
    MC_QUANT_COMBINE, /* has integer kernels with a scale for each value: Add, Concat, Sigmoid, … */
};

/* What becomes of a node. */
struct mc_quant_unit {
    enum mc_quant_unit_kind kind;
    bool integer;              /* reads behind DequantizeLinear */
    size_t site;               /* of a LAYER */
    const struct mc_node *act; /* Relu or Clip computed with it, or NULL */
};

struct mc_quant_region {
    const struct mc_graph *g;
    struct mc_quant_point *at;  /* [g->n_values] by index */
    struct mc_quant_unit *unit; /* [g->n_node_ids] by id */
};

/* stats NULL: no parameters. Errors: MC_EUSAGE naming a site whose input has no usable statistics; MC_ENOMEM. */
int mc_quant_region_plan(const struct mc_model *m, const struct mc_quant_sites *sites,
                         const struct mc_quant_rules *rules, const struct mc_quant_stats *stats,
                         const enum mc_quant_form *form, struct mc_quant_region *ret,
                         struct mc_err *err);
void mc_quant_region_free(struct mc_quant_region *r);
/* The value whose parameters v has. */
const struct mc_value *mc_quant_region_root(const struct mc_quant_region *r,
                                            const struct mc_value *v);
/* Is input `slot` of the node one that an integer unit reads as integers (not a shape, weight or bound)? */
bool mc_quant_region_data(const struct mc_quant_region *r, const struct mc_quant_sites *sites,
                          const struct mc_node *n, size_t slot);

/* Say of each site whose input the statistics lack, or where it holds NaN or infinity, why it cannot be STATIC. */
void mc_quant_static_limits(struct mc_quant_sites *sites, const struct mc_quant_stats *stats);

/* The integers that activations become. */
struct mc_quant_type mc_quant_act_type(const struct mc_quant_rules *r, bool wide);

#endif
