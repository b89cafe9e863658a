/* Parts of quant_form_static.c. */
#ifndef MC_PASSES_QUANT_FORM_STATIC_H
#define MC_PASSES_QUANT_FORM_STATIC_H

#include "graph/infer.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_region.h"

/* What a value of `before` became. */
struct mc_quant_pair {
    struct mc_value *q, *scale, *zero; /* its integers */
    struct mc_value *v;                /* behind DequantizeLinear, float32; NULL: not there */
};

struct mc_quant_static {
    struct mc_quant_builder *b;
    struct mc_graph *g; /* main graph of the built model */
    struct mc_quant_region r;
    struct mc_node **node;       /* of g, by id in `before`; NULL: not there */
    struct mc_quant_pair *pair;  /* by value index in `before` */
    struct mc_quant_pair *wide;  /* the same with 16 bits */
    struct mc_infer *inf;        /* of `before`; NULL: nobody asked */
    struct mc_value *zeros[256]; /* zero points of 8 bits */
};

int mc_quant_static_no_memory(struct mc_err *err);
/* A constant of g with a short name. data NULL: zeros. */
int mc_quant_static_const(struct mc_quant_static *s, const char *kind, size_t number,
                          enum mc_dtype dtype, const struct mc_shape *shape, const void *data,
                          struct mc_value **ret, struct mc_err *err);
/* A node of g with one output in front of `pos`, at least of version `need`. */
int mc_quant_static_node(struct mc_quant_static *s, size_t pos, const char *op, int need,
                         const char *kind, size_t number, struct mc_value *const *in, size_t n_in,
                         struct mc_value **ret, struct mc_node **ret_node, struct mc_err *err);
/* The element type of v, where its type is declared. */
int mc_quant_static_declare(struct mc_value *v, enum mc_dtype dtype, struct mc_err *err);
/* v as `to`: itself, a converted constant, or a Cast behind it. */
int mc_quant_static_cast(struct mc_quant_static *s, struct mc_value *v, enum mc_dtype from,
                         enum mc_dtype to, struct mc_value **ret, struct mc_err *err);

/* quant_pair.c: QuantizeLinear and DequantizeLinear of every value that has them, and readers moved behind them. */
int mc_quant_static_pairs(struct mc_quant_static *s, struct mc_err *err);
/* A constant of floats as integers of 8 bits behind DequantizeLinear. */
int mc_quant_static_operand(struct mc_quant_static *s, struct mc_value *c, struct mc_value **ret,
                            struct mc_err *err);
/* quant_layer.c: integer weight and bias of a site. */
int mc_quant_static_layer(struct mc_quant_static *s, size_t site, struct mc_err *err);

#endif
