/* Archives in which every sample is an array of its own. Private to formats/samples_npz*.c. */
#ifndef MC_FORMATS_SAMPLES_NPZ_H
#define MC_FORMATS_SAMPLES_NPZ_H

#include "formats/samples_kind.h"

/* NAME_0, NAME_1, … (or NAME0, NAME1, …) for each input NAME: sample i is those of number i. Labels are the
 * array "labels". Returns 1 where an array has the first input's own name, or none is so named: then the
 * archive is no list. Errors: MC_EDATA for a number that is missing, and those of the arrays. */
int mc_npz_list_open(const char *spec, const struct mc_sample_files *files,
                     const struct mc_sample_opts *opts, struct mc_dataset **ret,
                     struct mc_err *err);

#endif
