/* Training: a model, samples and perhaps a teacher in; the same model with better weights out.
 *
 * Options travel as a JSON object validated against mc_train_params: the same table makes the options of
 * `finetune`, `distill`, `--finetune` of every pass, and of recipe steps. */
#ifndef MC_TRAIN_TRAIN_H
#define MC_TRAIN_TRAIN_H

#include <jansson.h>

#include "base/param.h"
#include "base/progress.h"
#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"

/* How to train; all but data, epochs and files, which commands have under names of their own:
 *   loss        auto|ce|bce|mse|ctc|kd|cosine|outputs|blocks
 *   alpha       share of the teacher in a loss with labels        temperature
 *   blank       class that means no label, in ctc
 *   output      name of the output that counts                    blocks  values to match, NAME or NAME=NAME (repeat)
 *   optimizer   sgd|adam|adamw      lr  (absent: range test)      momentum, nesterov, weight-decay, clip, ema
 *   schedule    constant|step|cosine|onecycle   warmup            batch, accumulate
 *   batchnorm   train|frozen        freeze, train-only            augment, balance
 *   holdout     share kept to pick the best weights and stop early; without it 5 % where that is 20 samples and more
 *   patience    epochs              mem     limit of the planned memory of a step: batches are cut into parts, whose
 *                                           gradients are added up */
extern const struct mc_param mc_train_params[];

struct mc_train_ctx {
    struct mc_pool *pool;
    uint64_t seed;
    const struct mc_progress *progress;
    const char *checkpoint;   /* file, or NULL: read if it is there (resume), written as it goes */
    int64_t checkpoint_every; /* updates; 0: each epoch */
};

/* Train m, in place, on `data` for `epochs` (may be a fraction). teacher: NULL, or a model whose inputs m's are; it
 * is not changed. m keeps its form: constants get new content, and only that. On failure m is as it was.
 * Kept are the weights with the lowest held-out loss after training has begun; those of the beginning only where all
 * others are far worse, as a model is often trained further on samples that it has seen before. Without held-out samples
 * the last ones are kept. Loss or gradient not finite, or a loss far above its best for long: back to the last good
 * state at a lower rate, at most 5 times.
 * *ret_report (also when interrupted with a checkpoint written: MC_EINTR): {"loss", "loss_why", "options", "optimizer",
 *   "weight_decay", "lr", "lr_found": {"lr", "tried": [{lr, ratio}]}|null, "epochs", "batch", "batch_at_once",
 *   "batch_why": of a GPU without memory for more, "seed",
 *   "updates", "samples", "held_out", "stopped_early", "resumed_at": update|null, "batchnorms": in training mode,
 *   "trained": [{name, shape}], "frozen": [{name, shape, why}], "peak_bytes": planned, "recomputed",
 *   "recoveries": [{step, back_to, why, lr}], "best": {epoch, loss, top1, before}, "curve": [{step, epoch, lr, loss, norm,
 *   top1} …], at most 2000, "epochs_log": [{epoch, loss, held_loss, held_top1, seconds}], "seconds"}; top1 is the share
 *   of right answers: the label's, without labels the teacher's.
 * Errors: MC_EDATA labels missing, of the wrong kind or range, sequences of more than the steps have room for, NaN in data, a batch larger than the data; MC_ESHAPE
 * outputs that do not fit the teacher's; MC_EUNSUP nothing trainable; MC_EFORMAT a checkpoint of another
 * run or cut short; MC_EUSAGE options that exclude each other, a memory limit too small; MC_EINTR. */
int mc_train_run(struct mc_model *m, const struct mc_model *teacher, struct mc_dataset *data,
                 double epochs, const json_t *options, const struct mc_train_ctx *ctx,
                 json_t **ret_report, struct mc_err *err);

/* What mc_train_run would do, without doing it: the same report, without curve and results, with "planned": the
 * number of updates. ctx->checkpoint is not read. */
int mc_train_plan(const struct mc_model *m, const struct mc_model *teacher, struct mc_dataset *data,
                  double epochs, const json_t *options, const struct mc_train_ctx *ctx,
                  json_t **ret_report, struct mc_err *err);

/* The step graph that mc_train_run would run, as a model of its own, to be looked at. */
int mc_train_step_graph(const struct mc_model *m, const struct mc_model *teacher,
                        struct mc_dataset *data, const json_t *options,
                        const struct mc_train_ctx *ctx, struct mc_model **ret, struct mc_err *err);

#endif
