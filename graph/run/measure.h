/* How good is a model on samples, and how close to another? */
#ifndef MC_GRAPH_RUN_MEASURE_H
#define MC_GRAPH_RUN_MEASURE_H

#include "graph/run/observe.h"

struct mc_metrics { /* of one model against labels */
    bool labelled;
    bool sequences;          /* labels are sequences, and the output scores of them */
    double label_error_rate; /* with those: edit distance by greedy decoding, per label */
    int64_t samples, classes;
    double top1, top5; /* fractions; top5 is -1 with 5 or fewer classes */
    double
        loss; /* mean cross entropy in nats; the output is taken as logits unless the graph ends in
                          Softmax/LogSoftmax/Sigmoid */
};

struct mc_agreement { /* of a model's outputs b with a reference's a, all outputs of all samples */
    int64_t samples;
    double top1; /* share of samples with the same arg max; -1 where the output is no class score */
    double cosine;  /* mean over samples of cos(a, b) of the counting output */
    double sqnr_db; /* 10 log10(sum a² / sum (a-b)²) over everything; infinite when equal */
    double max_abs; /* largest |a-b| */
    double max_rel; /* largest |a-b| / largest |a|, per output, worst output */
};

struct mc_interval {
    double value, low, high;
};

struct mc_measure {                     /* what one pass over the data gives */
    struct mc_metrics model, reference; /* reference.samples 0 without one */
    struct mc_agreement agreement;
    struct mc_interval
        drop; /* reference.top1 - model.top1 (labels), else 1 - agreement.top1; paired 95 %
                                interval over samples, clamped to [-1, 1] */
    double seconds;
    size_t fallback_nodes;
};

struct mc_measure_opts {
    struct mc_observe_opts run;
    const char
        *output;   /* name of the output that counts; NULL: the first of rank 2, else the first */
    int64_t blank; /* class that means no label, where labels are sequences */
    mc_observe_fn *look; /* sees the model's outputs of each batch; NULL: nobody looks */
    void *look_ctx;
};

/* Run model (and reference, may be NULL) over the data once, batch by batch side by side, so memory does
 * not grow with the number of samples. NaN in an output: MC_EDATA naming output and sample.
 * The interval: normal approximation of the paired difference d_i in {-1,0,1} with the variance floored by
 * Agresti & Min (2005): two pseudo-samples, one each way, so that 0 changes does not claim certainty.
 * An output's batch is its axis 0, or axis 1 of rank 3 and more where that is as long as the batch and axis 0 is not.
 * Errors: outputs that do not correspond: MC_ESHAPE; labels outside [0, classes): MC_EDATA. */
int mc_measure(const struct mc_graph *model, const struct mc_graph *reference,
               struct mc_dataset *data, const struct mc_measure_opts *opts, struct mc_measure *ret,
               struct mc_err *err);

#endif
