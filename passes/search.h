/* The search that all passes share: which option for which layer.
 *
 * A pass lists items (layers, groups of channels), each with options of known cost; option 0 leaves the item as it is. The
 * search measures what options do to the model's outputs when only that item changes, on samples that
 * guide the work and never on those of --data, puts together the cheapest set under a budget, measures that set as a
 * whole, and corrects it where the sum of the single errors misled. The best set so far is always at hand: a time
 * limit or an interrupt ends the search, not the result. */
#ifndef MC_PASSES_SEARCH_H
#define MC_PASSES_SEARCH_H

#include "passes/pass.h"

struct mc_search_option {
    const char *label; /* "rank 49", "spatial rank 12": unique in its item; the name in a choices file */
    double bytes;      /* change of the model's bytes against option 0: negative where it saves */
    double macs;       /* change of multiply-accumulates per sample; NAN: unknown */
    double params;     /* change of the number of parameters */
    double predicted;  /* error by the pass's own model: comparable between all options of all items; NAN: none */
    double measured;   /* divergence of the outputs with this option alone; NAN: not measured */
    double seconds;    /* change of the latency of one sample, measured; NAN: not measured */
};

struct mc_search_item {
    const char *name, *op;           /* of the node, for people */
    struct mc_search_option *option; /* [n]; [0] leaves it as it is, all its costs 0; the others by falling bytes */
    size_t n;
    size_t choice; /* in: where to begin (0); out: the answer */
};

enum mc_search_goal {
    MC_SEARCH_BYTES,   /* at most `limit` bytes, as bytes_of counts */
    MC_SEARCH_PARAMS,  /* at most `limit` parameters */
    MC_SEARCH_MACS,    /* at most `limit` multiply-accumulates per sample */
    MC_SEARCH_LATENCY, /* at most `limit` seconds for one sample, measured on this machine */
    MC_SEARCH_DROP,    /* the fewest bytes whose loss on the samples is at most `limit`: --auto */
};

/* A set of options, and what it came to. */
struct mc_search_result {
    bool reached;        /* the limit */
    double cost;         /* in the unit of the goal (bytes with MC_SEARCH_DROP) */
    double before;       /* the same of the model as it was */
    double divergence;   /* of the outputs with the whole set; NAN: not measured */
    double drop;         /* share of right answers lost (labels), else of changed decisions; NAN: no class scores */
    int64_t samples;     /* measured on */
    size_t measurements; /* of the outputs, in all */
    const char *ended;   /* why the search was over: "done", "time", "interrupted" */
};

struct mc_search {
    struct mc_pass_ctx *ctx;
    const struct mc_model *before; /* what outputs are compared with */
    struct mc_search_item *item;
    size_t n;
    enum mc_search_goal goal;
    double limit;
    void *self; /* of the pass, for build() */
    /* The model with option choice[i] of item i. sizes_only: its new weights need no content, it is only counted. */
    int (*build)(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err);
    /* The option that a label of a choices file means where no option has it ("rank 50" between those that were
     * listed): appended to the item, or -1. May be NULL. */
    int (*find)(void *self, struct mc_search *s, size_t item, const char *label, size_t *ret_option,
                struct mc_err *err);
};

#endif
