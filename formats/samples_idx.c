#include "formats/idx.h"
#include "formats/samples_lone.h"

const struct mc_sample_kind mc_sample_kind_idx = {
    .name = "idx",
    .help = "IMAGES or IMAGES:LABELS: IDX files as MNIST has them, gzipped or not",
    .ext = "",
    .probe = mc_idx_probe,
    .open = mc_lone_open,
};
