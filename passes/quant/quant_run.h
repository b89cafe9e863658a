/* A run of `quant`: what was asked for, what there is, what was decided. For the files quant_*.c that pass_quant.c calls. */
#ifndef MC_PASSES_QUANT_RUN_H
#define MC_PASSES_QUANT_RUN_H

#include "graph/infer.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/repair/quant_repair.h"
#include "passes/search/search.h"
#include "passes/search/search_measure.h"

enum mc_quant_repair_kind { /* bits; in the order they are done */
                            MC_QUANT_FOLD = 1,
                            MC_QUANT_EQUALISE = 2,
                            MC_QUANT_SMOOTH = 4,
                            MC_QUANT_OUTLIERS = 8,
                            MC_QUANT_GPTQ = 16,
                            MC_QUANT_ROUND = 32,
                            MC_QUANT_BIAS = 64,
                            MC_QUANT_REPAIRS = 7
};

/* What a set of forms came to. */
struct mc_quant_trial {
    double
        loss; /* what it is taken to cost: share of right answers, or of decisions (quant_accept.c) */
    double agreement; /* of decisions; NAN: the outputs decide nothing */
    double sqnr;      /* in dB, of the worst output; NAN: not measured */
    double numbers;   /* that sqnr is of */
    double divergence;
    double bytes, cost; /* of the model; cost by quant_cost.h, or seconds measured here */
};

struct mc_quant_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;  /* becomes the result */
    struct mc_model *before; /* a clone of it, prepared and with norms folded: what sites are of */
    struct mc_quant_rules rules;
    bool automatic;          /* forms are searched for */
    enum mc_quant_form wish; /* otherwise this one, where it is possible */
    bool any_method;         /* the search may choose rules.method */
    bool by_bytes;           /* --minimise bytes */
    unsigned repairs;        /* mc_quant_repair_kind */
    bool any_repair;         /* the search may add some */
    double max_drop;         /* of --max-drop, or 0.001 */
    struct mc_quant_sites sites;
    bool *left;                   /* [sites.n] --only and --skip leave it */
    struct mc_quant_stats *stats; /* NULL: none needed */
    struct mc_quant_cache *cache;
    double macs;                 /* of one sample; <= 0: unknown */
    struct mc_infer_opts shapes; /* of the first sample; empty: there is none */
    struct mc_judge *judge;      /* NULL: nothing to measure on, or nobody asked */
    enum mc_quant_form *form;    /* [sites.n] decided */
    const char **because;        /* [sites.n] why not a faster form; NULL */
    double *alone; /* [sites.n] divergence with this site alone in the wished form; NAN */
    struct mc_quant_built built;
    struct mc_quant_repair_result repair[MC_QUANT_REPAIRS];
    size_t n_repairs;
    struct mc_quant_trial before_trial, weight, result;
    json_t *search; /* of the report, or NULL */
    bool missed;    /* --target: */
    struct mc_err miss;
    char slower[512];    /* for the report: that it is, and by which layers; "" */
    const char *warning; /* for the report: the result answers differently, … ; NULL */
};

/* ---- pass_quant.c ---- */

/* The sites of r->before, and what is kept for each. */
int mc_quant_find(struct mc_quant_run *r, const json_t *options, struct mc_err *err);
void mc_quant_found_free(struct mc_quant_run *r); /* with r->before */
/* r->stats of what any form may need. */
int mc_quant_collect(struct mc_quant_run *r, struct mc_err *err);

/* ---- quant_even.c ---- */

/* Where forms are searched for and weights alone lose too much: equalisation and SmoothQuant, kept if that helps much. r->model
 * and r->before change. */
int mc_quant_even(struct mc_quant_run *r, const json_t *options, struct mc_err *err);

/* ---- quant_options.c ---- */

extern const struct mc_param mc_quant_params[];
/* Errors: MC_EUSAGE. */
int mc_quant_options(struct mc_quant_run *r, const json_t *options, struct mc_err *err);

/* ---- quant_accept.c ---- */

/* Measure a model. *ret_late (may be NULL: it is done in any case): the deadline passed. */
int mc_quant_try(struct mc_judge *judge, const struct mc_model *m, struct mc_quant_trial *ret,
                 bool *ret_late, struct mc_err *err);
/* Does it keep the answer? By r->max_drop, and where outputs decide nothing by the noise that weight-only adds. */
bool mc_quant_accepts(const struct mc_quant_run *r, const struct mc_quant_trial *t);
/* The same of weights alone, which may lose a little more. */
bool mc_quant_accepts_floor(const struct mc_quant_run *r, const struct mc_quant_trial *t);

/* Is there nothing that more care would be good for? */
bool mc_quant_keeps_well(const struct mc_quant_run *r, const struct mc_quant_trial *t);

/* Of outputs that decide nothing: so many dB are enough. */
double mc_quant_sqnr_enough(const struct mc_quant_run *r);

/* ---- quant_decide.c ---- */

/* The form nearest to `wish` that site i can have. */
enum mc_quant_form mc_quant_nearest(const struct mc_quant_run *r, size_t i,
                                    enum mc_quant_form wish);
/* form of every site, as options or choices say. Errors: MC_EUSAGE naming an unknown layer or form. */
int mc_quant_decide(struct mc_quant_run *r, const struct mc_search_ask *ask, struct mc_err *err);
/* --only and --skip. Errors: MC_EUSAGE for what matches nothing. */
int mc_quant_select(struct mc_quant_run *r, const json_t *options, struct mc_err *err);
/* A clone of `before` with these forms. */
int mc_quant_make(struct mc_quant_run *r, const enum mc_quant_form *form, bool sizes_only,
                  struct mc_quant_built *ret, struct mc_err *err);

/* ---- quant_search.c ---- */

/* The cheapest form of every site that keeps the answer, by measuring; r->search is what the report says of it. */
int mc_quant_search(struct mc_quant_run *r, enum mc_quant_form *form, struct mc_err *err);

/* ---- quant_target.c ---- */

/* The forms of least error at most so many bytes, or so much time, by the shared search. r->missed where there are none.
 * Errors: MC_EUSAGE for other goals. */
int mc_quant_target(struct mc_quant_run *r, const struct mc_search_ask *ask, struct mc_err *err);

/* ---- quant_repairs.c ---- */

/* Repairs of `which` (mc_quant_repair_kind) on a built model, in their order; nothing without samples. made
 * [MC_QUANT_REPAIRS], *ret_n of them. */
int mc_quant_repairs(struct mc_quant_run *r, struct mc_quant_built *b, unsigned which,
                     struct mc_quant_repair_result *made, size_t *ret_n, struct mc_err *err);

/* ---- quant_slower.c ---- */

/* What a sample costs in the runtime: by the table, or measured here where that is the runtime; and where that is from. */
int mc_quant_price(const struct mc_quant_run *r, const struct mc_model *m, double *ret,
                   struct mc_err *err);
const char *mc_quant_price_source(const struct mc_quant_run *r);
/* Costs of r->before and r->built; r->slower where the result costs more. */
int mc_quant_slower(struct mc_quant_run *r, struct mc_err *err);

/* ---- quant_report.c ---- */

/* statistics: those of the layers' inputs too, for a file of their own. */
int mc_quant_report(const struct mc_quant_run *r, bool statistics, json_t **ret,
                    struct mc_err *err);

#endif
