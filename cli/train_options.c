#include "cli/train_options.h"

#include <math.h>

#include "train/train.h"

#define TRAIN                                                                                      \
    {                                                                                              \
        MC_PARAM_TEXT, "train", 0, false, "SPEC", NULL, 0, 0, NULL,                                \
            "samples to train on, with labels or without; as for --data, and never those to "      \
            "measure on"                                                                           \
    }
#define UNLABELLED                                                                                 \
    {                                                                                              \
        MC_PARAM_TEXT, "unlabelled", 0, false, "SPEC", NULL, 0, 0, NULL,                           \
            "more samples to train on, whose labels are not known: the teacher answers for them"   \
    }
#define TEACHER(what)                                                                              \
    {                                                                                              \
        MC_PARAM_TEXT, "teacher", 0, false, "MODEL", NULL, 0, 0, NULL, what                        \
    }
#define FILES                                                                                      \
    {MC_PARAM_TEXT,                                                                                \
     "checkpoint",                                                                                 \
     0,                                                                                            \
     false,                                                                                        \
     "FILE",                                                                                       \
     NULL,                                                                                         \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "write where the training stands to FILE, and go on from there where FILE has it already"},   \
        {MC_PARAM_INT,                                                                             \
         "checkpoint-every",                                                                       \
         0,                                                                                        \
         false,                                                                                    \
         "N",                                                                                      \
         NULL,                                                                                     \
         1,                                                                                        \
         1e15,                                                                                     \
         NULL,                                                                                     \
         "after every N updates; without it after every epoch, and at Ctrl-C"},                    \
    {                                                                                              \
        MC_PARAM_TEXT, "dump-graph", 0, false, "FILE", NULL, 0, 0, NULL,                           \
            "write the graph of a training step, with gradients and update, to FILE as ONNX"       \
    }
#define EPOCHS(preset)                                                                             \
    {                                                                                              \
        MC_PARAM_REAL, "epochs", 0, false, "N", preset, 1e-6, 1e6, NULL,                           \
            "how often all samples are gone through; may be a fraction"                            \
    }

const struct mc_option_group mc_options_finetune = {
    "Training",
    (const struct mc_param[]){
        TRAIN,
        UNLABELLED,
        EPOCHS("1"),
        TEACHER("also follow the outputs of MODEL; samples then need no labels"),
        {MC_PARAM_FLAG, "reinit", 0, false, NULL, NULL, 0, 0, NULL,
         "begin with fresh weights instead of the model's"},
        {MC_PARAM_INT, "head", 0, false, "CLASSES", NULL, 1, 1e7, NULL,
         "replace the last layer by a fresh one for so many classes"},
        FILES,
        {0},
    },
};

const struct mc_option_group mc_options_distill = {
    "Training",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "student", 0, false, "MODEL", NULL, 0, 0, NULL,
         "the model that is trained to answer as the teacher does"},
        {MC_PARAM_REAL, "width", 0, false, "RATIO", NULL, 0.001, 1, NULL,
         "make the student: a copy of the teacher that keeps this share of the hidden nodes, "
         "channels, "
         "states and heads of every layer, the strongest"},
        TRAIN,
        UNLABELLED,
        EPOCHS("8"),
        FILES,
        {0},
    },
};

const struct mc_option_group mc_options_recover = {
    "Training what was compressed",
    (const struct mc_param[]){
        {MC_PARAM_REAL, "finetune", 0, false, "EPOCHS", NULL, 1e-6, 1e6, NULL,
         "train the compressed model for so many epochs; may be a fraction"},
        TRAIN,
        UNLABELLED,
        TEACHER("follow the outputs of MODEL; without it those of the model before; none: labels "
                "alone"),
        FILES,
        {0},
    },
};

const struct mc_option_group mc_options_recipe = {
    "Recipe",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "recipe-out", 0, false, "FILE.yaml", NULL, 0, 0, NULL,
         "write what was run as a recipe, with every option, and what came of each step in "
         "comments"},
        {0},
    },
};

const struct mc_option_group mc_options_chain = {
    "Training, in steps that do",
    (const struct mc_param[]){
        TRAIN,
        UNLABELLED,
        TEACHER("follow the outputs of MODEL; without it those of the model before it was made "
                "smaller; none: labels alone"),
        FILES,
        {0},
    },
};

const struct mc_option_group mc_options_how = {"How to train", mc_train_params};
