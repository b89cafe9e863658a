/* Which layers of a model are binarised, and why the others are not. */
#ifndef MC_PASSES_BINARIZE_PLAN_H
#define MC_PASSES_BINARIZE_PLAN_H

#include <jansson.h>

#include "passes/layer/layer.h"

struct mc_binarize_rules {
    bool activations; /* inputs become signs, too */
    bool shortcut;    /* around layers whose inputs do, where input and output have one shape */
    bool all;         /* the first and the last layer as well */
    bool depthwise;   /* convolutions in groups as well */
    bool fast;        /* bodies that round inputs to 8 bits, where inputs stay real */
    const char *only, *skip; /* regular expressions, or NULL */
};

struct mc_binarize_layer {
    const struct mc_layer *of;
    const char *left; /* why it stays real; NULL: it becomes signs */
    const char *real; /* why its inputs stay real; NULL: they become signs, too */
    bool around;      /* shortcut */
    bool fast;        /* a product of real inputs in one call, whose body rounds them */
};

struct mc_binarize_plan {
    struct mc_layers layers;
    struct mc_layer *grouped; /* depthwise convolutions, which are among layers.others */
    size_t n_grouped;
    struct mc_binarize_layer
        *item;        /* all of these in the order of layers, then those of `grouped` */
    size_t n, n_left; /* n_left: how many stay real */
};

/* Two clones of a model give the same plan. Errors: MC_EUSAGE for expressions that are none or match nothing; MC_ENOMEM. */
int mc_binarize_plan(struct mc_model *m, const struct mc_binarize_rules *rules,
                     struct mc_binarize_plan *ret, struct mc_err *err);
void mc_binarize_plan_free(struct mc_binarize_plan *p);

uint64_t mc_binarize_bytes(const struct mc_layer *l); /* of signs and scales */

#endif
