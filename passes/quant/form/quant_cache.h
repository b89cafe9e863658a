/* Quantised weights by what they were made of and how: builds of one search share them. */
#ifndef MC_PASSES_QUANT_CACHE_H
#define MC_PASSES_QUANT_CACHE_H

#include "passes/quant/form/quant_build.h"

struct mc_quant_key {
    const struct mc_tensor *w;
    struct mc_quant_type type;
    struct mc_quant_cut cut;
    enum mc_quant_range_method method;
    enum mc_dtype scale_type;
    bool transposed; /* the integers are those of the transpose of w; cut is of w */
};
bool mc_quant_key_equal(const struct mc_quant_key *a, const struct mc_quant_key *b);

/* Integers, scales, zero points for the key; the caller's to free (the tensors are shared with the cache). blank: content is not
 * needed, error is 0 where nothing is known. Errors: those of mc_quant_weight_make. */
int mc_quant_cache_get(struct mc_quant_cache *c, const struct mc_quant_key *key, const char *name,
                       struct mc_pass_ctx *ctx, struct mc_spill *spill, bool blank,
                       struct mc_quant_weight *ret, struct mc_err *err);
/* Axis and block size of the transpose of a matrix. */
struct mc_quant_cut mc_quant_cut_turn(const struct mc_quant_cut *cut);

#endif
