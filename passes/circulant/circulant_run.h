/* One run of the circulant pass: what its files share. */
#ifndef MC_PASSES_CIRCULANT_RUN_H
#define MC_PASSES_CIRCULANT_RUN_H

#include "passes/circulant/circulant_form.h"
#include "passes/layer/layer.h"
#include "passes/search/search.h"

enum { MC_CIRCULANT_REASON = 160 };

struct mc_circulant_item {          /* of one layer; at the same index */
    struct mc_circulant_form form;  /* form.b: the block that was chosen; 1: it stays as it is */
    int64_t given;                  /* block that --block says for it by name, else 0 */
    const char *reason;             /* why it stays; NULL: it does not */
    char text[MC_CIRCULANT_REASON]; /* room for one */
    float *col;                     /* [p, q, b, taps] when they are found */
    int64_t *gather;                /* [n] order of inputs in front of it; NULL: as they come */
    double energy; /* share of the squared weights that the nearest matrix would keep */
    double error; /* relative, of its outputs (fitted) or weights (not); NAN: nothing is computed */
    bool fitted, ordered;
};

struct mc_circulant_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;
    struct mc_linalg *la;
    struct mc_layers layers;
    struct mc_circulant_item *item; /* [layers.n] */
    int64_t block;                  /* of all; 0: a search says */
    bool blocks_given;              /* --block */
    double keep;                    /* < 0: not given */
    bool exact;                     /* --body exact */
    bool refits;                    /* without --no-fit */
    bool trial;                     /* of a search: */
    double trial_work;              /* multiply-accumulates that a fit may take */
    uint64_t bytes_before, bytes_after;
    size_t refitted;       /* layers behind that were fitted as they are */
    int64_t samples;       /* that layers were fitted on; 0: none */
    struct mc_node **call; /* [n_calls] that are circulant already */
    size_t n_calls;
    json_t *search;
    bool missed;
    struct mc_err miss;
};

/* ---- circulant_select.c ---- */

/* Items of all layers, and why those that stay do. */
int mc_circulant_items(struct mc_circulant_run *r, struct mc_err *err);
void mc_circulant_items_free(struct mc_circulant_run *r);
/* --only, --skip, --block NAME=N and --block N. Errors: MC_EUSAGE for what names nothing, and for blocks larger than the
 * layer. */
int mc_circulant_select(struct mc_circulant_run *r, const json_t *options, struct mc_err *err);
/* Does it get smaller by blocks of b, without much padding (asked: by name, which may be much)? Otherwise a reason in text (room for it). */
bool mc_circulant_suits(const struct mc_layer *l, int64_t b, bool asked,
                        char text[MC_CIRCULANT_REASON]);
struct mc_circulant_form mc_circulant_form_of(const struct mc_layer *l, int64_t b);
uint64_t mc_circulant_bytes(const struct mc_layer *l, int64_t b);

/* ---- circulant_search.c ---- */

/* form.b of every item: by --keep, a target, --auto or choices. Errors and `missed` as in passes/search/search.h. */
int mc_circulant_decide(struct mc_circulant_run *r, const struct mc_search_ask *ask,
                        struct mc_err *err);

/* ---- circulant_sequence.c ---- */

/* Samples to fit on with so many multiply-accumulates; 0: there are none, or too few could be run. */
int mc_circulant_samples(struct mc_circulant_run *r, double work, int64_t *ret, struct mc_err *err);
/* col of all items that were chosen, layer by layer: with samples fitted to what the layer gave in the model as it was, from
 * what it reads now; hidden units are put in the order that loses least. What stays behind them is fitted as it is. The model
 * then computes with the blocks, written as dense weights.
 * A trial fits on so many samples as trial_work allows, and leaves what is dense alone.
 * Errors: MC_ENOMEM, MC_EINTR, MC_EDATA for weights that are not finite. */
int mc_circulant_sequence(struct mc_circulant_run *r, struct mc_err *err);

/* ---- circulant_place.c ---- */

/* Calls in place of the layers. sizes_only: of the right size, their content is never read. */
int mc_circulant_place(const struct mc_circulant_run *r, struct mc_model *m,
                       const struct mc_layers *layers, bool sizes_only, struct mc_err *err);
/* Why blocks of b cannot be called for in place of a layer; NULL: they can. */
const char *mc_circulant_unplaceable(const struct mc_layer *l, int64_t b);

/* ---- circulant_body.c ---- */

/* The function that is called for a layer in blocks of b. */
const char *mc_circulant_function(const struct mc_circulant_run *r, const struct mc_layer *l,
                                  int64_t b);
/* What ONNX Runtime makes of it, in a few words. */
const char *mc_circulant_runs(const char *function);
/* Is the node a call of one of them? */
bool mc_circulant_is_call(const struct mc_node *n);

#endif
