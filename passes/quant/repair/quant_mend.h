/* A repair of a built model under way: what it changes is remembered, judged on samples that it does not see, and undone where
 * it does not help there. */
#ifndef MC_PASSES_QUANT_MEND_H
#define MC_PASSES_QUANT_MEND_H

#include "passes/quant/repair/quant_repair.h"
#include "passes/search/search_measure.h"

struct mc_quant_changed { /* content of a constant, or an input of a node */
    struct mc_value *value;
    struct mc_tensor *was;
    struct mc_node *node; /* whose input `slot` was `value`; NULL: it is about the content */
    size_t slot;
};

struct mc_quant_mend {
    struct mc_quant_repair *r;
    struct mc_quant_repair_result *result;
    struct mc_pass_ctx ctx; /* the judge's */
    struct mc_dataset *held;
    struct mc_judge *judge; /* NULL: there is nothing to judge by, and what was changed stays */
    struct mc_quant_changed *changed;
    size_t n, cap;
};

/* How many of `most` samples, 8 at least, are no more work than a few seconds, where each is run `runs` times. */
int64_t mc_quant_mend_samples(const struct mc_quant_repair *r, int64_t most, double runs);

/* result->before is measured. */
int mc_quant_mend_begin(struct mc_quant_mend *m, struct mc_quant_repair *r, const char *name,
                        struct mc_quant_repair_result *result, struct mc_err *err);
/* The constant v of the built model gets content t (borrowed); of all its users. Errors: MC_ENOMEM. */
int mc_quant_mend_put(struct mc_quant_mend *m, struct mc_value *v, struct mc_tensor *t,
                      struct mc_err *err);
/* Input `slot` of n, which may have been left out before, becomes v. */
int mc_quant_mend_input(struct mc_quant_mend *m, struct mc_node *n, size_t slot, struct mc_value *v,
                        struct mc_err *err);
/* Judge, undo what does not help, fill in the result, release. rc: of the repair; what is no lack of memory and no
 * interrupt becomes the reason why it was undone. */
int mc_quant_mend_end(struct mc_quant_mend *m, int rc, struct mc_err *err);

#endif
