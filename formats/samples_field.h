/* One model input, and where its samples come from. */
#ifndef MC_FORMATS_SAMPLES_FIELD_H
#define MC_FORMATS_SAMPLES_FIELD_H

#include "formats/fit.h"
#include "formats/samples.h"

struct mc_field;

/* Samples of `a` (borrowed) for input `like` as `fit` says. Errors: MC_EDTYPE if the types do not convert,
 * those of the preprocess string, MC_ENOMEM. */
int mc_field_new(const struct mc_narray *a, const struct mc_fit *fit, const struct mc_array *like,
                 const struct mc_sample_opts *opts, struct mc_field **ret, struct mc_err *err);
void mc_field_free(struct mc_field *f); /* accepts NULL */
/* Samples index[0..n) in the input's type and arrangement to dst. Thread-safe.
 * Errors: MC_EDATA for NaN, MC_EDTYPE for a value that does not fit, both naming array and sample. */
int mc_field_read(struct mc_field *f, const int64_t *index, int64_t n, void *dst,
                  struct mc_err *err);

#endif
