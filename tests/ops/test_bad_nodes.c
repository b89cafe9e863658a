/* Malformed nodes: an error that names the node and what is wrong, whatever the file says. */
#include "node_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const struct bad {
    const char *spec;
    int code;
    const char *words; /* part of the message, beside the operator's name and the node's */
} bad[] = {
    {"Gemm-13 f[2,3] f[4,5] -> 1", MC_ESHAPE, "3 against 4"},
    {"Gemm-13 f[2,3,4] f[4,5] -> 1", MC_ESHAPE, "rank 3"},
    {"Gemm-13 f[2,3] f[3,5] f[4] -> 1", MC_ESHAPE, "broadcast"},
    {"Gemm-13 f[2,3] d[3,5] -> 1", MC_EDTYPE, "float and double"},
    {"Gemm-13 l[2,3] l[3,5] -> 1", MC_EDTYPE, "int64"},
    {"MatMul-13 f[2,3] f[4,5] -> 1", MC_ESHAPE, "3 against 4"},
    {"MatMul-13 f[2,2,3] f[3,3,5] -> 1", MC_ESHAPE, "broadcast"},
    {"MatMul-13 f() f[3,5] -> 1", MC_ESHAPE, "rank 0"},
    {"Conv-13 f[1,4,5,5] f[4,2,3,3] -> 1 group=3", MC_ESHAPE, "group 3 does not divide 4"},
    {"Conv-13 f[1,5,5,5] f[4,2,3,3] -> 1 group=2", MC_ESHAPE, "5 channels"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 group=0", MC_ESHAPE, "group 0"},
    {"Conv-13 f[1,2,5,5] f[4,2,3] -> 1", MC_ESHAPE, "rank"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] f[3] -> 1", MC_ESHAPE, "3 against 4"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 pads=1,1,", MC_ESHAPE, "pads has 2"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 pads=-1,0,0,0,", MC_ESHAPE, "pads holds -1"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 strides=0,1,", MC_ESHAPE, "strides holds 0"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 dilations=9223372036854775807,1,", MC_ESHAPE,
     "dilations holds 9223372036854775807"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 kernel_shape=3,4,", MC_ESHAPE, "4 against 3"},
    {"Conv-13 f[1,2,5,5] f[4,2,7,3] -> 1", MC_ESHAPE, "window of 7"},
    {"Conv-13 f[1,2,5,5] f[4,2,3,3] -> 1 auto_pad=SOME", MC_EUNSUP, "auto_pad 'SOME'"},
    {"Conv-13 f[1,2,3,3,3,3] f[4,2,3,3,3,3] -> 1", MC_EUNSUP, "4 spatial dimensions"},
    {"MaxPool-13 f[1,2,5,5] -> 1", MC_ESHAPE, "no kernel_shape"},
    {"MaxPool-13 f[1,2,5,5] -> 1 kernel_shape=2,2, pads=2,0,0,0,", MC_ESHAPE, "nothing in them"},
    {"AveragePool-13 f[1,2] -> 1 kernel_shape=2,2,", MC_ESHAPE, "rank 2"},
    {"GlobalAveragePool-13 f[3] -> 1", MC_ESHAPE, "rank 1"},
    {"Add-13 f[2,3] f[4] -> 1", MC_ESHAPE, "broadcast"},
    {"Add-13 f[2] d[2] -> 1", MC_EDTYPE, "float and double"},
    {"Add-13 b[2] b[2] -> 1", MC_EDTYPE, "bool"},
    {"Add-13 f[2] - -> 1", MC_ESHAPE, "1"},
    {"Div-13 l{4,5} l{1,0} -> 1", MC_EDATA, "zero"},
    {"Pow-13 f[2] b[2] -> 1", MC_EDTYPE, "bool"},
    {"BatchNormalization-15 f[2,3] f[3] f[3] d[3] d[3] -> 1", MC_EUNSUP, "float and double"},
    {"Clip-13 f[2] f[2] -> 1", MC_ESHAPE, "input 1 is [2]"},
    {"Relu-13 b[2] -> 1", MC_EDTYPE, "bool"},
    {"Gelu-20 f[2] -> 1 approximate=some", MC_EUNSUP, "approximate 'some'"},
    {"Softmax-13 f[2,3] -> 1 axis=2", MC_ESHAPE, "axis 2 is outside rank 2"},
    {"Softmax-13 f() -> 1", MC_ESHAPE, "axis -1 is outside rank 0"},
    {"LayerNormalization-17 f[2,3] f[4] -> 1", MC_ESHAPE, "does not fit"},
    {"LayerNormalization-17 f[2,3] f[3] -> 1 axis=-3", MC_ESHAPE, "axis -3"},
    {"BatchNormalization-15 f[2,3,4] f[3] f[3] f[2] f[3] -> 1", MC_ESHAPE, "2 against 3"},
    {"BatchNormalization-15 f[2,3,4] f[3] f[3] f[3] f[3] -> 3 training_mode=1", MC_EUNSUP,
     "training"},
    {"GroupNormalization-21 f[2,6,4] f[6] f[6] -> 1 num_groups=4", MC_ESHAPE, "num_groups 4"},
    {"Flatten-13 f[2,3] -> 1 axis=3", MC_ESHAPE, "axis 3"},
    {"Reshape-13 f[2,3] l{4,2} -> 1", MC_ESHAPE, "[2,3] cannot become [4,2]"},
    {"Reshape-13 f[2,3] l{-1,-1} -> 1", MC_ESHAPE, "two -1"},
    {"Reshape-13 f[2,3] l{-1,4} -> 1", MC_ESHAPE, "cannot become"},
    {"Reshape-13 f[2,3] l{2,3,0} -> 1", MC_ESHAPE, "copies dimension 2"},
    {"Reshape-13 f[2,3] l{-2,3} -> 1", MC_ESHAPE, "holds -2"},
    {"Reshape-13 f[2,3] i{3,2} -> 1", MC_EDTYPE, "int32"},
    {"Reshape-13 f[2] l{1,1,1,1,1,1,1,1,1,1,1,1,2} -> 1", MC_EUNSUP, "rank 13"},
    {"Squeeze-13 f[2,1] l{0} -> 1", MC_ESHAPE, "dimension 0 is 2"},
    {"Squeeze-13 f[2,1] l{1,-1} -> 1", MC_ESHAPE, "axis 1 twice"},
    {"Unsqueeze-11 f[2,1] -> 1", MC_ESHAPE, "no axes"},
    {"Unsqueeze-13 f[2,1] l{4} -> 1", MC_ESHAPE, "axis 4 is outside rank 3"},
    {"Transpose-13 f[2,3] -> 1 perm=0,0,", MC_ESHAPE, "permutation"},
    {"Transpose-13 f[2,3] -> 1 perm=0,", MC_ESHAPE, "perm has 1"},
    {"Transpose-13 f[2,3] -> 1 perm=0,-1,", MC_ESHAPE, "permutation"},
    {"Slice-13 f[2,3] l{0} l{1,2} -> 1", MC_ESHAPE, "do not match"},
    {"Slice-13 f[2,3] l{0} l{1} l{2} -> 1", MC_ESHAPE, "axis 2"},
    {"Slice-13 f[2,3] l{0} l{1} l{0} l{0} -> 1", MC_ESHAPE, "step 0"},
    {"Slice-13 f[2,3] f[1] f[1] -> 1", MC_EDTYPE, "int64"},
    {"Slice-9 f[2,3] -> 1 starts=0, ends=1,2,", MC_ESHAPE, "do not match"},
    {"Split-13 f[2,3] l{1,1} -> 2 axis=1", MC_ESHAPE, "2 elements together for 3"},
    {"Split-13 f[2,3] -> 2 axis=1", MC_ESHAPE, "equal parts"},
    {"Split-13 f[2,3] l{4,-1} -> 2 axis=1", MC_ESHAPE, "size -1"},
    {"Split-18 f[2,3] -> 2 axis=1 num_outputs=3", MC_ESHAPE, "num_outputs 3"},
    {"Concat-13 f[2,3] f[3,3] -> 1 axis=1", MC_ESHAPE, "2 against 3"},
    {"Concat-13 f[2,3] f[2] -> 1 axis=0", MC_ESHAPE, "rank"},
    {"Concat-13 f[2,3] -> 1", MC_ESHAPE, "no axis"},
    {"Concat-13 f[2,3] -> 1 axis=-3", MC_ESHAPE, "axis -3"},
    {"Gather-13 f[2,3] l{0,2} -> 1", MC_EDATA, "index 2 is outside 2"},
    {"Gather-13 f[2,3] l{-3} -> 1", MC_EDATA, "index -3"},
    {"Gather-13 f[2,3] f[1] -> 1", MC_EDTYPE, "int64"},
    {"Gather-13 f() l{0} -> 1", MC_ESHAPE, "rank 0"},
    {"Expand-13 f[2,3] l{4} -> 1", MC_ESHAPE, "broadcast"},
    {"Expand-13 f[2,3] l{-1,3} -> 1", MC_ESHAPE, "holds -1"},
    {"Tile-13 f[2,3] l{2} -> 1", MC_ESHAPE, "1 repeats"},
    {"Tile-13 f[2,3] l{2,-2} -> 1", MC_ESHAPE, "a repeat is -2"},
    {"Tile-13 f[2,3] l{9223372036854775807,2} -> 1", MC_ESHAPE, "overflow"},
    {"Pad-13 f[2,3] l{1,1} -> 1", MC_ESHAPE, "2 pads"},
    {"Pad-13 f[2,3] l{-3,0,0,0} -> 1", MC_ESHAPE, "-3"},
    {"Pad-13 f[2,3] l{0,3,0,0} -> 1 mode=reflect", MC_ESHAPE, "pads of 3"},
    {"Pad-13 f[2,3] l{0,1,0,0} -> 1 mode=some", MC_EUNSUP, "mode 'some'"},
    {"Cast-13 f[2] -> 1 to=99", MC_EDTYPE, "type 99"},
    {"Cast-13 f[2] -> 1 to=8", MC_EUNSUP, "string"},
    {"ReduceMean-13 f[2,3] -> 1 axes=2,", MC_ESHAPE, "axis 2"},
    {"ReduceL2-13 l[2,3] -> 1", MC_EUNSUP, "int64"},
    {"ArgMax-13 f[0,3] -> 1", MC_ESHAPE, "no elements"},
    {"ConstantOfShape-13 l{2,-1} -> 1", MC_ESHAPE, "holds -1"},
    {"Where-13 f[2] f[2] f[2] -> 1", MC_EDTYPE, "bool"},
    {"And-13 f[2] f[2] -> 1", MC_EDTYPE, "float"},
    {"Range-13 f[0] f() f() -> 1", MC_ESHAPE, "input 0 is [0]"},
    {"Dropout-13 l[2] -> 1", MC_EDTYPE, "int64"},
    {"Dropout-13 f[2] f() b[0] -> 1", MC_ESHAPE, "input 2 is [0]"},
    {"Dropout-13 f[2] f() f() -> 1", MC_EDTYPE, "training_mode is float"},
    {"LSTM-14 f[5,2,3] f[1,16,3] f[1,16,4] -> 1 hidden_size=5", MC_ESHAPE, "4 against 5"},
    {"LSTM-14 f[5,2,3] f[1,12,3] f[1,16,4] -> 1", MC_ESHAPE, "12 against 16"},
    {"LSTM-14 f[5,2,3] f[2,16,3] f[2,16,4] -> 1", MC_ESHAPE, "2 against 1"},
    {"LSTM-14 f[5,2,3] f[1,16,2] f[1,16,4] -> 1", MC_ESHAPE, "2 against 3"},
    {"LSTM-14 f[5,2,3] f[1,16,3] f[1,16,4] f[1,31] -> 1", MC_ESHAPE, "31 against 32"},
    {"LSTM-14 f[5,2,3] f[1,16,3] f[1,16,4] - i{1,6} -> 1", MC_EDATA, "length 6 of 5"},
    {"LSTM-14 f[5,2,3] f[1,16,3] f[1,16,4] -> 1 direction=up", MC_EUNSUP, "direction 'up'"},
    {"LSTM-14 f[5,2,3] f[1,16,3] f[1,16,4] -> 1 clip=-1.0", MC_ESHAPE, "clip -1"},
    {"LSTM-14 f[5,2,3] -> 1", MC_ESHAPE, "input"},
};

static void errors_name_the_trouble(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mc_err err = {0};
        char op[32] = {0};
        int rc = node_spec_run(bad[i].spec, 1, &err);
        memcpy(op, bad[i].spec, strcspn(bad[i].spec, "-"));
        if (rc != bad[i].code || !strstr(err.msg, bad[i].words) || !strstr(err.msg, op) ||
            !strstr(err.msg, "node"))
            fail_msg("%s gave %s: %s", bad[i].spec, mc_code_name(rc), err.msg);
    }
}

/* The borders of what is allowed: empty tensors, scalars, one element, every optional part. */
static void borders_run(void **state)
{
    (void)state;
    static const char *const good[] = {
        "Gemm-13 f[0,3] f[3,5] -> 1",
        "Gemm-13 f[2,0] f[0,5] f[5] -> 1",
        "Gemm-13 f[2,3] f[3,5] f[2,1] -> 1 beta=0.5",
        "MatMul-13 f[0,2,3] f[3,5] -> 1",
        "MatMul-13 f[2,2,0] f[2,0,5] -> 1",
        "MatMul-13 f[3] f[3] -> 1",
        "Conv-13 f[0,2,5,5] f[4,2,3,3] -> 1",
        "Conv-13 f[1,2,5,5] f[0,2,3,3] -> 1",
        "Conv-13 f[1,2,3,3] f[4,2,3,3] -> 1",
        "MaxPool-13 f[0,2,5,5] -> 2 kernel_shape=2,2,",
        "GlobalAveragePool-13 f[2,3] -> 1",
        "Add-13 f() f() -> 1",
        "Add-13 f[0,3] f[1,3] -> 1",
        "Softmax-13 f[2,0] -> 1",
        "Softmax-12 f[2,3] -> 1 axis=2",
        "LayerNormalization-17 f[0,3] f[3] -> 3",
        "LayerNormalization-17 d[2,3] d[3] d[1] -> 3",
        "BatchNormalization-15 f[4] f[1] f[1] f[1] f[1] -> 1",
        "Reshape-13 f[0,3] l{3,0} -> 1 allowzero=1",
        "Reshape-13 f[1] l{} -> 1",
        "Squeeze-13 f[1,1] -> 1",
        "Transpose-13 f() -> 1",
        "Slice-13 f[2,3] l{-9} l{9223372036854775807} l{1} l{9223372036854775807} -> 1",
        "Slice-13 f[2,3] l{9} l{-9223372036854775808} l{1} l{-9223372036854775808} -> 1",
        "Split-18 f[5] -> 3 num_outputs=3",
        "Concat-13 f[0] f[0] -> 1 axis=0",
        "Gather-13 f[2,3] l{} -> 1",
        "Expand-13 f[1] l{0} -> 1",
        "Tile-13 f[2,3] l{0,2} -> 1",
        "Pad-13 f[2,3] l{-1,0,-1,4} -> 1",
        "Pad-13 f[0,3] l{1,1,1,1} -> 1",
        "ReduceMax-13 f[0,3] -> 1",
        "ReduceSum-13 f[2,3] l{} -> 1 noop_with_empty_axes=1",
        "ConstantOfShape-13 l{} -> 1",
        "ConstantOfShape-13 l{0,2} -> 1",
        "Shape-15 f() -> 1",
        "Shape-15 f[2,3] -> 1 start=2 end=-5",
        "Range-13 l{5} l{1} l{1} -> 1",
        "LSTM-14 f[5,2,3] f[2,16,3] f[2,16,4] f[2,32] i{0,5} f[2,2,4] f[2,2,4] f[2,12] -> 3 "
        "direction=bidirectional clip=0.5 input_forget=1",
        "LSTM-14 f[2,5,3] f[1,16,3] f[1,16,4] - - f[2,1,4] -> 3 layout=1 hidden_size=4",
        "LSTM-14 f[0,2,3] f[1,16,3] f[1,16,4] -> 3",
        "LSTM-14 f[5,0,3] f[1,16,3] f[1,16,4] -> 3",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct mc_err err = {0};
        if (node_spec_run(good[i], 1, &err))
            fail_msg("%s gave %s", good[i], err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_trouble),
        cmocka_unit_test(borders_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
