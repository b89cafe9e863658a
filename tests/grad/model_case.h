/* The reference models with labels and a loss, and what PyTorch has for them (golden.py). */
#ifndef MC_TESTS_GRAD_MODEL_CASE_H
#define MC_TESTS_GRAD_MODEL_CASE_H

#include <stdint.h>

#include "graph/dataset.h"
#include "graph/graph.h"

enum { BATCH = 16, PICKED = 32, STEPS = 20, WEIGHTS = 64 }; /* as in golden.py */

struct golden_weight {
    char name[64];
    long long count;
    int n;
    double norm, value[PICKED];
};

struct golden {
    int n;
    struct golden_weight w[WEIGHTS];
    long long step_at, curve_at; /* first sample */
    double loss, curve[STEPS];
};

/* The part of a golden file about a model, by its file's name; free(). */
struct golden *golden_read(const char *golden, const char *model_path);

/* The model with an input "labels" and a value "loss". */
struct mc_model *model_with_loss(const char *path);
/* Training samples in file order; mc_batch_free. */
struct mc_batch *model_batch(const struct mc_model *m, int64_t first, int64_t n);
/* Images and labels as inputs; returns 2. */
int model_feed(const struct mc_model *m, const struct mc_batch *b, struct mc_array ret[2]);

double array_at(const struct mc_array *a, int64_t i);
/* |got - want| <= tol |want|, or the test fails with these words. */
void model_near(const char *path, const char *what, double got, double want, double tol);

#endif
