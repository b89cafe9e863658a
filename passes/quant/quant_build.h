/* Put forms in place: the model with QuantizeLinear, DequantizeLinear and the like. */
#ifndef MC_PASSES_QUANT_BUILD_H
#define MC_PASSES_QUANT_BUILD_H

#include "passes/quant/quant_site.h"
#include "passes/quant/quant_stats.h"
#include "passes/quant/quant_weight.h"

/* What became of one weight of a site. Values are of the built model; NULL where the form has no such thing. */
struct mc_quant_placed_weight {
    struct mc_value *q, *scale, *zero; /* initializers */
    int axis, block;                   /* as mc_quant_cut */
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
};
/* The node of the built model that site i is, by graph and id. */
struct mc_node *mc_quant_node(const struct mc_quant_builder *b, size_t site);
/* The integers of weight k of site i, as initializers (or Constants in a function) of the graph of its node; the same
 * for all nodes that share it. Fills in b->b->at[i].w[k]. */
int mc_quant_put_weight(struct mc_quant_builder *b, size_t site, int k,
                        const struct mc_quant_type *t, const struct mc_quant_cut *cut,
                        struct mc_err *err);

int mc_quant_form_static(struct mc_quant_builder *b,
                         struct mc_err *err); /* all STATIC and STATIC16 sites at once */
int mc_quant_form_weight(struct mc_quant_builder *b, size_t site,
                         struct mc_err *err); /* WEIGHT, BLOCK */
int mc_quant_form_table(struct mc_quant_builder *b, size_t site, struct mc_err *err); /* Gather */
int mc_quant_form_dynamic(struct mc_quant_builder *b, size_t site, struct mc_err *err);
int mc_quant_form_cell(struct mc_quant_builder *b, size_t site,
                       struct mc_err *err); /* LSTM, GRU, RNN; any form */

#endif
