/* Arrays gathered while a model runs, written as one .npz that numpy.load reads. */
#ifndef MC_FORMATS_NPZ_GATHER_H
#define MC_FORMATS_NPZ_GATHER_H

#include "graph/dataset.h"

struct mc_npz_gather;

/* What is gathered lies in spill space until the end. Errors: MC_EIO where path cannot be written. */
int mc_npz_gather_new(const char *path, struct mc_npz_gather **ret, struct mc_err *err);
void mc_npz_gather_abort(struct mc_npz_gather *g); /* frees; accepts NULL */

/* An output of samples index[0..n). rows: axis 0 has an equal number of rows for each of them, in that order;
 * otherwise (n is 1) the array is the sample's. Types that .npy does not know are stored as float32, those
 * below 8 bits as 8-bit integers. Errors: MC_EUNSUP for strings; MC_EIO, MC_ENOMEM. */
int mc_npz_gather_add(struct mc_npz_gather *g, const char *name, const struct mc_array *a,
                      const int64_t *index, int64_t n, bool rows, struct mc_err *err);

/* Write and free in any case. Per name: one array, in order of the samples, where all of it came as rows of
 * one shape; else one array NAME_I for each sample I. Errors: MC_EIO, MC_ENOMEM. */
int mc_npz_gather_commit(struct mc_npz_gather *g, struct mc_err *err);

#endif
