/* What a reference gave for the samples that guide a search. Private to search_measure.c and search_keep.c. */
#ifndef MC_PASSES_SEARCH_KEEP_H
#define MC_PASSES_SEARCH_KEEP_H

#include "base/mem.h"
#include "passes/search/search_agree.h"
#include "passes/search/search_measure.h"
#include "passes/search/search_score.h"

struct mc_kept_output {
    const char *name;
    enum mc_score_of scores;
    bool classes;              /* it holds scores, otherwise any numbers */
    double sum, square, count; /* of the reference, for its variance */
    struct mc_agree_of agree;
};

struct mc_kept { /* what the reference gave for a batch, output by output */
    int64_t n;
    float **row;
    int64_t *width; /* elements of a row */
    int64_t *rows;  /* n, or 1 where the output has no batch axis */
};

struct mc_judge {
    const struct mc_pass_ctx *ctx;
    const struct mc_graph *reference; /* while it runs */
    struct mc_dataset *data;
    struct mc_kept_output *output;
    const char **names;
    size_t n_outputs, counting;
    bool decides; /* the output that counts gives decisions */
    struct mc_kept *batch;
    size_t n_batches, cap_batches;
    int64_t batch_size, samples;
    int64_t most;   /* samples there is memory for; 0: all */
    int *decision;  /* [samples] of the reference */
    int64_t *label; /* [samples], -1: none */
    int64_t n_labelled;
    size_t runs;
    struct mc_arena mem;
};

/* Scores of `rows` samples in the form they are compared in; other numbers stay. */
void mc_kept_normalise(const struct mc_kept_output *o, float *row, int64_t rows, int64_t width);

#endif
