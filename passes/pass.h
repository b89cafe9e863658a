/* A pass changes a model: JSON options in, an edited model and a JSON account out.
 *
 * A pass opens no file and knows no format: what it needs from outside comes through its context. It edits
 * the model it is given, a clone that the caller drops on failure, and lists every node it looked at with
 * what it did or why not. Registered by one word in meson.build's list. */
#ifndef MC_PASSES_PASS_H
#define MC_PASSES_PASS_H

#include <jansson.h>

#include "base/param.h"
#include "base/progress.h"
#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"

struct mc_pass_ctx {
    struct mc_pool *pool;
    uint64_t seed;
    struct mc_dataset *calib; /* inputs for covariances and ranges, or NULL */
    int64_t calib_count;      /* how many of them to use, from the first */
    struct mc_dataset *train; /* samples to train on, which can guide a search as well, or NULL */
    const char *output; /* the one that counts, or NULL: the first of rank 2, else the first */
    const struct mc_model
        *given;            /* for convert: the model as run() was given it; NULL: not at hand */
    const json_t *choices; /* of --choices: which option for which layer (search.h), or NULL */
    const json_t *stats;   /* of --stats: what activations hold, an array of files; or NULL */
    bool has_max_drop;     /* --max-drop is given: */
    double max_drop;       /* what --auto may lose */
    int64_t judged;  /* samples that its gate will be judged by; 0: unknown, or there is none */
    double deadline; /* of --time, as mc_now counts; 0: none */
    const struct mc_progress *progress;
    uint64_t
        bytes_original; /* of the model before it was prepared: what shares are of; 0: as it is now */
    bool dry_run;       /* decide and account, compute nothing heavy, leave the model alone */
    void *host;         /* for the callbacks below */
    /* Bytes the model would have as a file (external data included). */
    int (*bytes_of)(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *err);
    /* Remember this model as the best so far, for any-time searches that are interrupted; may be NULL. */
    int (*keep_best)(void *host, const struct mc_model *m, struct mc_err *err);
};

/* A part of a training that is done in several. */
struct mc_pass_stage {
    const char *name; /* what is trained, for people */
    double share;     /* of the epochs */
    double lr;        /* of adam and adamw, where none is given; 0: it is looked for */
    double ema;       /* decay of the moving average of weights, where none is given; 0: none */
    bool last;
};

struct mc_pass {
    const char *name;    /* also the command: "svd" */
    const char *summary; /* one line for `list passes` and --help */
    const char *example; /* one command line for --help */
    const struct mc_param *params;
    /* Whether the pass can work on a node; otherwise *ret_why is a reason for the report. */
    bool (*applies)(const struct mc_node *n, const char **ret_why);
    /* *ret_report: {"layers":[{name, op, action, reason, bytes_before, bytes_after, error, …}], …}. A result
     * that misses its target is complete and returns MC_EGATE. */
    int (*run)(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
               json_t **ret_report, struct mc_err *err);
    /* Hooks of a pass whose weights have another form while they are trained (latent weights, masks, learned
     * scales); NULL: the form in the file is trained as it is. Each edits m in place, with the options of
     * run().
     * convert: what run() made -> training form, before training;
     * finish:  training form -> file form, after it;
     * reopen:  file form of an earlier run of this pass, perhaps read from a file -> training form. */
    int (*convert)(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                   struct mc_err *err);
    int (*finish)(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err);
    int (*reopen)(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  struct mc_err *err);
    /* A training in stages, each with a learning rate and a schedule of its own; NULL: all at once. Called on the training form
     * before stage k = 0, 1, … up to the one that says that it is the last; edits m where the stage trains something else.
     */
    int (*stage)(struct mc_pass_ctx *ctx, const json_t *options, int k, struct mc_model *m,
                 struct mc_pass_stage *ret, struct mc_err *err);
};

/* Around the training of a model that comes from a file, whatever passes it went through: each pass of `list`
 * (closed by NULL; NULL: all there are) that has reopen() puts its training form in place where the model has its
 * file form, and in the end its finish() goes the other way, last pass first. Both leave a model without their
 * form alone; their options are NULL. */
int mc_passes_reopen(const struct mc_pass *const *list, struct mc_pass_ctx *ctx, struct mc_model *m,
                     struct mc_err *err);
int mc_passes_finish(const struct mc_pass *const *list, struct mc_pass_ctx *ctx, struct mc_model *m,
                     struct mc_err *err);

const struct mc_pass *mc_pass_find(const char *name);
const struct mc_pass *mc_pass_at(size_t i); /* NULL at the end */

#endif
