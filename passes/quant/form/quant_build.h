/* Put forms in place: the model with QuantizeLinear, DequantizeLinear and the like. */
#ifndef MC_PASSES_QUANT_BUILD_H
#define MC_PASSES_QUANT_BUILD_H

#include "passes/quant/form/quant_site.h"
#include "passes/quant/range/quant_stats.h"
#include "passes/quant/range/quant_weight.h"

/* What became of one weight of a site. Values are of the built model; NULL where the form has no such thing. */
struct mc_quant_placed_weight {
    struct mc_value *q, *scale, *zero; /* initializers */
    int axis, block;                   /* as mc_quant_cut, of q */
    bool transposed;                   /* q is the transpose of site->weight */
    double error;                      /* relative, of the weight */
    uint64_t bytes;                    /* q + scale + zero */
};

/* What became of a site. */
struct mc_quant_placed {
    enum mc_quant_form form;
    struct mc_node *node; /* computes the layer now; may be another operator */
    struct mc_quant_placed_weight w[MC_QUANT_SLOTS];
    struct mc_value *
        bias; /* initializer added to the output: int32 with scale x_scale·w_scale, or float; NULL: none */
    struct mc_value *bias_scale; /* of an int32 bias; NULL: float */
    struct mc_value *x; /* float that the layer reads, behind DequantizeLinear if there is one */
    struct mc_value *y; /* float that holds what site->y held before its own QuantizeLinear */
    const char *note;   /* for the report: "joined with 'conv2' by shared scales", … ; NULL */
};

struct mc_quant_built {
    struct mc_model *m;
    bool owned;                 /* m is this one's to free */
    struct mc_quant_placed *at; /* [n sites] */
    size_t n;
    size_t quantised_nodes; /* nodes without weights that compute on integers, too */
    uint64_t compressed;    /* bytes of float weights that became integers */
};

/* A clone of `before` where site i has form[i]; `stats` may be NULL where no form needs it. Weights get scales by
 * rules->weight_method; content of tensors is shared with other builds where `cache` (NULL: none) has it.
 * sizes_only: integers need no content.
 * The result passes mc_verify, its dead float weights are gone. Nodes that no site is (Add, pools, Concat, Reshape, …)
 * compute on integers where they stand between layers that do (quant_region.h).
 * Errors: MC_EUSAGE naming the site whose form is not possible; MC_EDATA. */
struct mc_quant_cache;
int mc_quant_cache_new(struct mc_quant_cache **ret, struct mc_err *err);
void mc_quant_cache_free(struct mc_quant_cache *c);
int mc_quant_build(struct mc_pass_ctx *ctx, const struct mc_model *before,
                   const struct mc_quant_sites *sites, const struct mc_quant_rules *rules,
                   const struct mc_quant_stats *stats, const enum mc_quant_form *form,
                   struct mc_quant_cache *cache, bool sizes_only, struct mc_quant_built *ret,
                   struct mc_err *err);
/* The same in m, itself a clone of `before` (the same ids), which becomes ret->m and stays the caller's. */
int mc_quant_build_into(struct mc_pass_ctx *ctx, const struct mc_model *before,
                        const struct mc_quant_sites *sites, const struct mc_quant_rules *rules,
                        const struct mc_quant_stats *stats, const enum mc_quant_form *form,
                        struct mc_quant_cache *cache, bool sizes_only, struct mc_model *m,
                        struct mc_quant_built *ret, struct mc_err *err);
void mc_quant_built_free(
    struct mc_quant_built *b); /* and the model, where mc_quant_build made it */

/* Values whose statistics mc_quant_build may ask for, for any set of forms. names borrowed from m; heap array. */
int mc_quant_wanted(const struct mc_model *m, const struct mc_quant_sites *sites,
                    const struct mc_quant_rules *rules, struct mc_quant_want **ret, size_t *ret_n,
                    struct mc_err *err);

/* ---- one file a form; each edits b->m at the site's node there and fills in b->at[i] ---- */

struct mc_quant_builder {
    struct mc_pass_ctx *ctx;
    const struct mc_model *before;
    const struct mc_quant_sites *sites;
    const struct mc_quant_rules *rules;
    const struct mc_quant_stats *stats;
    const enum mc_quant_form *form;
    struct mc_quant_cache *cache;
    bool sizes_only;
    struct mc_quant_built *b;
    struct mc_node **node;    /* [n sites] of the built model, before any was replaced */
    struct mc_graph **graph;  /* of the built model, by the index of that of `before` */
    struct mc_quant_put *put; /* integers that are in place already */
    size_t n_put, cap_put;
};
/* The node of the built model that site i is, by graph and id. */
struct mc_node *mc_quant_node(const struct mc_quant_builder *b, size_t site);
/* A value of the built model that v of the main graph of `before` is; NULL if it is gone. */
struct mc_value *mc_quant_value(const struct mc_quant_builder *b, const struct mc_value *v);
/* The integers of weight k of site i, seen from the graph of its node: the same for all nodes that share it. `cut` is of
 * site->weight[k]; `transpose` (of rank 2): q is the transpose of that, axis too. scale_type: NONE takes what the node
 * computes in where DequantizeLinear can give it, else F32. Fills in b->b->at[i].w[k]. */
int mc_quant_put_weight(struct mc_quant_builder *b, size_t site, int k,
                        const struct mc_quant_type *t, const struct mc_quant_cut *cut,
                        bool transpose, enum mc_dtype scale_type, struct mc_err *err);
/* What these integers stand for, as floats of the type and layout that the slot takes; its own nodes, which users share.
 * fold: by Cast and Mul, which runtimes compute once when they load; otherwise by DequantizeLinear, which they leave to where it
 * is used (fused with MatMul and Gemm, computed in every run elsewhere). */
int mc_quant_put_float(struct mc_quant_builder *b, size_t site, int k, bool fold,
                       struct mc_value **ret, struct mc_err *err);
/* v, a constant of one number a channel, as [channels, 1, …]: along `axis` of a tensor of this rank; axis -1: a scalar. In place
 * where nobody uses v yet. */
int mc_quant_stretch(struct mc_value *v, int axis, int rank, struct mc_value **ret,
                     struct mc_err *err);
/* The type that the rules give weights of this form. */
struct mc_quant_type mc_quant_weight_type(const struct mc_quant_rules *r, enum mc_quant_form form);

int mc_quant_form_static(struct mc_quant_builder *b,
                         struct mc_err *err); /* all STATIC and STATIC16 sites at once */
int mc_quant_form_weight(struct mc_quant_builder *b, size_t site,
                         struct mc_err *err); /* WEIGHT, BLOCK */
int mc_quant_form_half(struct mc_quant_builder *b, size_t site, struct mc_err *err);  /* HALF */
int mc_quant_form_table(struct mc_quant_builder *b, size_t site, struct mc_err *err); /* Gather */
int mc_quant_form_dynamic(struct mc_quant_builder *b, size_t site, struct mc_err *err);
int mc_quant_form_cell(struct mc_quant_builder *b, size_t site,
                       struct mc_err *err); /* LSTM, GRU, RNN; any form */

#endif
