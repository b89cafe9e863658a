/* The search that all passes share: which option for which layer.
 *
 * A pass lists items (layers, groups of channels), each with options of known cost; option 0 leaves the item as it is.
 * The search measures what options do to the model's outputs when only that item changes, on samples that guide the
 * work and never on those of --data, puts together the set that costs the outputs least under a budget, measures that
 * set as a whole, and corrects it where the sum of the single errors misled. The best set so far is always at hand: a
 * time limit ends the search, not the result; an interrupt is an error like everywhere.
 *
 *     mc_search_ask(ctx, options, &ask, err)         what the user wants: --target, --auto, --time, --choices
 *     struct mc_search s = {.ctx = ctx, .before = m, .item = …, .goal = ask.goal, .limit = ask.limit, …};
 *     mc_search_run(&s, &result, err)                answers in item[i].choice
 *     mc_search_report(&s, &result)                  "search" of the pass's report: also what a choices file holds
 */
#ifndef MC_PASSES_SEARCH_H
#define MC_PASSES_SEARCH_H

#include "passes/pass.h"

struct mc_search_option {
    const char *
        label; /* "rank 49", "spatial rank 12": unique in its item; the name in a choices file; borrowed */
    /* Change against option 0, negative where it saves. NAN: counted by building where the goal asks for it. */
    double bytes, macs, params;
    double share;     /* of the item that it leaves, for the chart; 0: its bytes are that */
    double predicted; /* error by the pass's own model: comparable between all items; NAN: none */
    double measured;  /* out: divergence of the outputs with this option alone; NAN: not measured */
    double seconds;   /* out: change of the latency of one sample; NAN: not measured */
};

struct mc_search_item {
    const char *name, *op; /* of the node, for people; the name is unique among items; borrowed */
    struct mc_search_option
        *option; /* [n], heap; [0] is "as it is", its costs 0; the others by falling bytes */
    size_t n;
    size_t choice; /* out: the answer */
};

enum mc_search_goal {
    MC_SEARCH_BYTES,   /* at most `limit` bytes, as bytes_of counts */
    MC_SEARCH_PARAMS,  /* at most `limit` parameters */
    MC_SEARCH_MACS,    /* at most `limit` multiply-accumulates per sample */
    MC_SEARCH_LATENCY, /* at most `limit` seconds for one sample, measured on this machine */
    MC_SEARCH_DROP,    /* the fewest bytes whose loss on the samples is at most `limit`: --auto */
    MC_SEARCH_KEEP,    /* at most `limit`, as count() of the pass has it */
};
extern const char *const mc_search_goal_names[]; /* "bytes", … "drop" */

/* A set of options, and what it came to. */
struct mc_search_result {
    bool reached;      /* the limit */
    double limit;      /* in the unit of the goal, shares resolved */
    double cost;       /* in the unit of the goal (bytes with MC_SEARCH_DROP) */
    double before;     /* the same of the model as it was */
    double divergence; /* of the outputs with the whole set; NAN: not measured */
    double
        drop; /* share of right answers lost (labels), else of changed decisions; NAN: no class scores */
    const char *metric;  /* what the divergence is: "KL divergence in nats", … */
    int64_t samples;     /* measured on */
    size_t measurements; /* of the outputs, in all */
    const char *ended;   /* why the search was over: "done", "time", "work" */
};

struct mc_search {
    struct mc_pass_ctx *ctx;
    const struct mc_model *before; /* what outputs are compared with */
    struct mc_search_item *item;
    size_t n;
    enum mc_search_goal goal;
    double limit;
    bool
        share; /* limit is a fraction of what the model costs before (bytes: of ctx->bytes_original) */
    void *self; /* of the pass, for build() */
    /* The model with option choice[i] of item i. sizes_only: its new weights need no content, it is only counted. */
    int (*build)(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err);
    /* The option that a label of a choices file means where no option has it ("rank 50" between those that were
     * listed): appended to the item's options, its number in *ret_option; or 0 where it means nothing. May be NULL. */
    int (*find)(void *self, struct mc_search *s, size_t item, const char *label, size_t *ret_option,
                struct mc_err *err);
    /* Cost of a set with MC_SEARCH_KEEP; otherwise not asked. */
    int (*count)(void *self, const size_t *choice, double *ret, struct mc_err *err);
    /* Where costs of items do not add up, since a layer's size is a product of two items: the set of least sum of
     * errors (error[i][k] of option k of item i, rising in k) that by the pass's reckoning costs at most `limit`, and what it
     * costs; both in the unit of the goal, in which the model as it was costs `before`. May be NULL: costs are added. */
    int (*plan)(void *self, const double *const *error, double before, double limit, size_t *choice,
                double *ret_cost, struct mc_err *err);
    bool
        planned; /* sets are taken from plan() as they are: nothing is exchanged or measured alone */
    size_t most; /* measurements at most; 0: by work alone */
};

/* ---- what the user asked for ---- */

/* --target, --auto, --time, --choices, --choices-out: every pass has them. */
extern const struct mc_param mc_search_params[];

struct mc_search_ask {
    bool given;   /* --target, --auto or --choices */
    bool choices; /* ctx->choices: nothing is searched */
    enum mc_search_goal goal;
    double limit;
    bool share;
};
/* Errors: MC_EUSAGE for a target that cannot be read, two of --target, --auto and --choices, or --auto without samples. */
int mc_search_ask(const struct mc_pass_ctx *ctx, const json_t *options, struct mc_search_ask *ret,
                  struct mc_err *err);
/* What --keep means: at most this share of the model's bytes. */
void mc_search_ask_keep(double share, struct mc_search_ask *ret);
/* What --auto takes: --max-drop, or what stands for half a point of accuracy. */
void mc_search_ask_auto(const struct mc_pass_ctx *ctx, struct mc_search_ask *ret);
/* "900k" -> 900000, "2ms" -> 0.002: a number with a unit of the goal; *ret_share: it is a bare number <= 1. */
int mc_search_amount(enum mc_search_goal goal, const char *text, double *ret, bool *ret_share,
                     struct mc_err *err);
/* "30s", "5min", "1h", or bare seconds. */
int mc_search_seconds(const char *text, double *ret, struct mc_err *err);
/* Are there samples to measure on? */
bool mc_search_has_samples(const struct mc_pass_ctx *ctx);

/* ---- search_latency.c ---- */

/* Seconds that one sample takes here, on one thread: the median of some runs. Errors: what running and reading give. */
int mc_search_latency(const struct mc_pass_ctx *ctx, const struct mc_model *m, double *ret,
                      struct mc_err *err);

/* ---- the search ---- */

/* A name for item n that none of those before it has: the node's; where that is not enough (a cell's weights, nodes of one
 * name) with the weight's, and where not even that is, with a number. NULL: out of memory. */
const char *mc_search_name(const struct mc_search_item *item, size_t n, const char *node,
                           const char *weight, struct mc_arena *names);

/* Answers in item[i].choice. With ctx->choices they are taken from there: items that are not named stay as they are,
 * and a dry run or a lack of samples measures nothing. Without samples, or where the model cannot run here, sets are
 * compared by the sum of `predicted`; only MC_SEARCH_DROP needs both.
 * A limit that cannot be reached is no error: the nearest set, and result.reached false.
 * Work is limited by multiply-accumulates, so the same for any machine and number of threads, and by ctx->deadline.
 * Errors: MC_EUSAGE naming an unknown item or option of ctx->choices and the nearest known; what build, running and
 * reading give; MC_EINTR. */
int mc_search_run(struct mc_search *s, struct mc_search_result *ret, struct mc_err *err);

/* {goal, limit, …, layers: [{name, op, choice, options: [{option, bytes, macs, params, error, predicted}]}]}, of very
 * many options some; NULL when out of memory. */
json_t *mc_search_report(const struct mc_search *s, const struct mc_search_result *r);

/* MC_EGATE with a message that says what was asked and what was reached. */
int mc_search_missed(const struct mc_search *s, const struct mc_search_result *r,
                     struct mc_err *err);

#endif
