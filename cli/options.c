#include "cli/options.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>

#include "passes/search/search.h"

const struct mc_option_group mc_options_general = {
    "General",
    (const struct mc_param[]){
        {MC_PARAM_FLAG, "json", 0, false, NULL, NULL, 0, 0, NULL,
         "print the result as JSON on standard output"},
        {MC_PARAM_FLAG, "quiet", 'q', false, NULL, NULL, 0, 0, NULL, "print only errors"},
        {MC_PARAM_FLAG, "verbose", 'v', false, NULL, NULL, 0, 0, NULL, "print more"},
        {MC_PARAM_FLAG, "help", 'h', false, NULL, NULL, 0, 0, NULL, "print this and exit"},
        {0},
    },
};

const struct mc_option_group mc_options_report = {
    "Report",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "report", 0, true, "FILE", NULL, 0, 0, NULL,
         "also write the result to FILE, as its extension says: .json, .html, .md, .txt or .xml"},
        {0},
    },
};

#define DEVICE_OPTIONS                                                                             \
    {MC_PARAM_TEXT,                                                                                \
     "device",                                                                                     \
     0,                                                                                            \
     false,                                                                                        \
     "DEVICE",                                                                                     \
     NULL,                                                                                         \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "where to compute: cpu; cuda or cuda:N, a GPU; auto, the first GPU that can be used, else "   \
     "the CPU; without this option what MCOMPRESS_DEVICE says in the environment, else auto; see " \
     "'mcompress list devices'"},                                                                  \
    {                                                                                              \
        MC_PARAM_CHOICE, "precision", 0, false, NULL, "fp32", 0, 0, "fp32|tf32|bf16",              \
            "of the factors of products on a GPU; sums are in fp32 always; tf32 (10 bits of "      \
            "fraction) and bf16 (7 bits) are faster"                                               \
    }

const struct mc_option_group mc_options_run = {
    "Machine",
    (const struct mc_param[]){
        {MC_PARAM_INT, "threads", 0, false, "N", "0", 0, 4096, NULL,
         "threads to use; 0 is one per CPU; the result is the same for any number"},
        {MC_PARAM_INT, "seed", 0, false, "N", "0", 0, 9007199254740992.0, NULL,
         "seed of everything random"},
        DEVICE_OPTIONS,
        {0},
    },
};

const struct mc_option_group mc_options_device = {
    "Machine",
    (const struct mc_param[]){
        DEVICE_OPTIONS,
        {0},
    },
};

const struct mc_option_group mc_options_data = {
    "Data to measure on",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "data", 0, false, "SPEC", NULL, 0, 0, NULL,
         "samples to measure on: an .npz, .npy or .csv file, an IDX pair IMAGES:LABELS, a folder "
         "of "
         "pictures or of test data, or a name such as fashion-mnist:test; see 'mcompress list "
         "formats'"},
        {MC_PARAM_INT, "samples", 0, false, "N", NULL, 1, INFINITY, NULL,
         "measure on the first N samples only"},
        {MC_PARAM_TEXT, "preprocess", 0, false, "STEPS", NULL, 0, 0, NULL,
         "what to do to 8-bit images, such as "
         "resize=256,crop=224,scale=1/255,mean=0.5,std=0.25,bgr; "
         "the default is what the model says, else value/255"},
        {MC_PARAM_TEXT, "output", 0, false, "NAME", NULL, 0, 0, NULL,
         "the output that counts; the default is the first of rank 2 (3 where labels are "
         "sequences)"},
        {MC_PARAM_INT, "blank", 0, false, "CLASS", "0", 0, INT_MAX, NULL,
         "the class that means no label, where labels are sequences"},
        {0},
    },
};

const struct mc_option_group mc_options_outputs = {
    "Outputs",
    (const struct mc_param[]){
        {MC_PARAM_REAL, "rtol", 0, false, NULL, "0.001", 0, INFINITY, NULL,
         "test data: largest error relative to the expected value"},
        {MC_PARAM_REAL, "atol", 0, false, NULL, "1e-7", 0, INFINITY, NULL,
         "test data: largest error beside it"},
        {MC_PARAM_TEXT, "save-outputs", 0, false, "FILE.npz", NULL, 0, 0, NULL,
         "write the outputs of all samples"},
        {0},
    },
};

const struct mc_option_group mc_options_gate = {
    "Gates: exit status 4 where missed",
    (const struct mc_param[]){
        {MC_PARAM_REAL, "max-drop", 0, false, "X", NULL, 0, 1, NULL,
         "largest loss of top-1 accuracy (0.005 or 0.5%), upper end of its 95 % interval; without "
         "labels, of decisions that differ from the original's"},
        {MC_PARAM_REAL, "min-sqnr", 0, false, "DB", NULL, -INFINITY, INFINITY, NULL,
         "least signal to quantisation noise ratio of the outputs, in dB"},
        {MC_PARAM_TEXT, "require", 0, true, "TEST", NULL, 0, 0, NULL,
         "such as 'top1>=0.88'; also top5, loss, label_error_rate, agreement, cosine, sqnr_db, "
         "max_abs"},
        {0},
    },
};

const struct mc_option_group mc_options_write = {
    "Output",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "out", 'o', false, "OUT", NULL, 0, 0, NULL,
         "file to write; - is standard output; an existing file is replaced when all is done"},
        {MC_PARAM_FLAG, "dry-run", 0, false, NULL, NULL, 0, 0, NULL,
         "say what would be done and the size it would give; write nothing"},
        {MC_PARAM_FLAG, "external-data", 0, false, NULL, NULL, 0, 0, NULL,
         "put the weights into OUT.data"},
        {MC_PARAM_FLAG, "inline", 0, false, NULL, NULL, 0, 0, NULL,
         "write weights in small forms as the nodes that they stand for instead of calls of "
         "functions: as small, and for runtimes that know no functions (OpenVINO, ONNX Runtime "
         "before 1.17)"},
        {MC_PARAM_FLAG, "expand", 0, false, NULL, NULL, 0, 0, NULL,
         "write weights in small forms as dense layers; --keep and --target count the small forms, "
         "as calls, whatever is written"},
        {MC_PARAM_FLAG, "no-history", 0, false, NULL, NULL, 0, 0, NULL,
         "do not note in the model what was done to it ('mcompress info' shows it)"},
        {MC_PARAM_FLAG, "no-latency", 0, false, NULL, NULL, 0, 0, NULL,
         "do not run both models side by side to say in the report how long they take"},
        {0},
    },
};

const struct mc_option_group mc_options_calib = {
    "Calibration",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "calib", 0, false, "SPEC", NULL, 0, 0, NULL,
         "samples that guide the compression, never those to measure on; without it those of "
         "--train"},
        {MC_PARAM_INT, "calib-count", 0, false, "N", "512", 1, INFINITY, NULL,
         "how many of them to use, from the first"},
        {0},
    },
};

const struct mc_option_group mc_options_search = {"How small, and how to find it",
                                                  mc_search_params};

const struct mc_option_group mc_options_bench = {
    "What to run",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "data", 0, false, "SPEC", NULL, 0, 0, NULL,
         "run on these samples; the default is random inputs of the declared shapes"},
        {MC_PARAM_TEXT, "preprocess", 0, false, "STEPS", NULL, 0, 0, NULL,
         "what to do to 8-bit images of --data"},
        {MC_PARAM_INT, "batch", 0, false, "N", "1", 1, 1e6, NULL,
         "samples per run: the first dimension of an input where the model leaves it free"},
        {MC_PARAM_TEXT, "shape", 0, true, "NAME=DIMS", NULL, 0, 0, NULL,
         "shape of an input, such as image=1x3x224x224, where other dimensions are free"},
        {MC_PARAM_INT, "runs", 0, false, "N", "10", 1, 1e6, NULL,
         "timed runs, after one that is not"},
        {MC_PARAM_INT, "circulant", 0, false, "N", NULL, 2, 16384, NULL,
         "time products with block-circulant matrices N x N as well, for each block size: where "
         "which way is fastest on this machine"},
        {MC_PARAM_INT, "rows", 0, false, "N", NULL, 1, 1e6, NULL, "rows of those products [64]"},
        {MC_PARAM_INT, "threads", 0, false, "N", "1", 0, 1024, NULL,
         "threads to compute with; 0 is one per CPU"},
        {0},
    },
};

const struct mc_option_group mc_options_help = {
    "Help",
    (const struct mc_param[]){
        {MC_PARAM_FLAG, "man", 0, false, NULL, NULL, 0, 0, NULL,
         "print the manual page, for man -l"},
        {0},
    },
};
