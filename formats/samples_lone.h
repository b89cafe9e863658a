/* Samples that are one array in one file, for a model with one input; labels in a second file. */
#ifndef MC_FORMATS_SAMPLES_LONE_H
#define MC_FORMATS_SAMPLES_LONE_H

#include "formats/samples_kind.h"

int mc_lone_open(struct mc_source *s, const struct mc_sample_files *files, struct mc_err *err);

#endif
