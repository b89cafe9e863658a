#include "formats/npy.h"
#include "formats/samples_lone.h"

const struct mc_sample_kind mc_sample_kind_npy = {
    .name = "npy",
    .help = "FILE.npy or FILE.npy:LABELS: one array for the model's one input",
    .ext = ".npy",
    .probe = mc_npy_probe,
    .open = mc_lone_open,
};
