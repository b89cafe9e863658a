/* What a model file says about itself besides its graph; for `info`. */
#ifndef MC_FORMATS_ONNX_ABOUT_H
#define MC_FORMATS_ONNX_ABOUT_H

#include "graph/graph.h"

struct mc_onnx_external {
    const char *location; /* as the model spells it */
    uint64_t bytes;
};

struct mc_onnx_about {
    struct mc_arena arena;                /* holds what is below */
    const char *producer, *version, *doc; /* "" where the file says nothing */
    uint64_t bytes;                       /* model and external files together */
    struct mc_onnx_external *external;    /* in order of first use */
    size_t n_external;
};

/* path: the file m was read from. Cost: the file is parsed once more if m has external data; no weights are
 * touched. Errors: those of reading. */
int mc_onnx_about(const char *path, const struct mc_model *m, struct mc_onnx_about *ret,
                  struct mc_err *err);
void mc_onnx_about_free(struct mc_onnx_about *a);

#endif
