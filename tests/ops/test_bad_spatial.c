/* Malformed nodes of the families that work along spatial dimensions and of the recurrent ones: an error that names
 * the node and what is wrong, and the borders of what is allowed. */
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
    {"ConvTranspose-11 f[1,4,5,5] f[3,2,3,3] -> 1", MC_ESHAPE, "4 against 3"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 group=3", MC_ESHAPE, "group 3 does not divide 4"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] f[3] -> 1", MC_ESHAPE, "3 against 2"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3] -> 1", MC_ESHAPE, "rank"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 pads=9,9,9,9,", MC_ESHAPE, "leave nothing"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 strides=0,1,", MC_ESHAPE, "strides holds 0"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 output_padding=-1,0,", MC_ESHAPE,
     "output_padding holds -1"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 output_shape=9,", MC_ESHAPE,
     "output_shape has 1"},
    {"ConvTranspose-11 f[1,4,5,5] f[4,2,3,3] -> 1 output_shape=9,-4,", MC_ESHAPE,
     "output_shape holds -4"},
    {"ConvTranspose-11 f[1,4,0,5] f[4,2,3,3] -> 1", MC_ESHAPE, "dimension is 0"},
    {"Resize-11 f[1,1,4,4] f[0] f[0] -> 1", MC_ESHAPE, "neither scales nor sizes"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2} -> 1", MC_ESHAPE, "3 scales for 4"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,0} -> 1", MC_ESHAPE, "scale 0"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,-1} -> 1", MC_ESHAPE, "scale -1"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,nan} -> 1", MC_ESHAPE, "must be above 0"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,1e30} -> 1", MC_ESHAPE, "too many"},
    {"Resize-13 f[1,1,4,4] - - l{1,1,-2,4} -> 1", MC_ESHAPE, "size -2"},
    {"Resize-13 f[1,1,4,4] - - l{1,1,4} -> 1", MC_ESHAPE, "3 sizes for 4"},
    {"Resize-13 f[1,1,0,4] - - l{1,1,4,4} -> 1", MC_ESHAPE, "no elements cannot become 4"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,2} -> 1 mode=area", MC_EUNSUP, "mode 'area'"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,2} -> 1 nearest_mode=up", MC_EUNSUP, "nearest_mode 'up'"},
    {"Resize-13 f[1,1,4,4] - f{1,1,2,2} -> 1 coordinate_transformation_mode=tf_crop_and_resize",
     MC_ESHAPE, "needs a roi"},
    {"Resize-13 f[1,1,4,4] f{0,1} f{1,1,2,2} -> 1 "
     "coordinate_transformation_mode=tf_crop_and_resize",
     MC_ESHAPE, "2 values in roi"},
    {"Resize-18 f[1,1,4,4] - f{2,2} -> 1 axes=2,2,", MC_ESHAPE, "axis 2 twice"},
    {"Resize-18 f[1,1,4,4] - f{2,2} -> 1 axes=2,4,", MC_ESHAPE, "axis 4"},
    {"Upsample-7 f[1,1,4,4] -> 1", MC_ESHAPE, "no scales"},
    {"GRU-14 f[5,2,3] f[1,16,3] f[1,12,4] -> 1", MC_ESHAPE, "16 against 12"},
    {"GRU-14 f[5,2,3] f[1,12,3] f[1,12,4] f[1,23] -> 1", MC_ESHAPE, "23 against 24"},
    {"GRU-14 f[5,2,3] f[1,12,3] f[1,12,4] - i{1,-1} -> 1", MC_EDATA, "length -1 of 5"},
    {"GRU-14 f[5,2,3] f[1,12,3] f[1,12,4] - - - f[1,2,4] -> 1", MC_ESHAPE, "takes at most 6"},
    {"RNN-14 f[5,2,3] f[1,4,2] f[1,4,4] -> 1", MC_ESHAPE, "2 against 3"},
    {"RNN-14 f[5,2,3] f[1,4,3] f[1,4,4] - - f[1,3,4] -> 1", MC_ESHAPE, "3 against 2"},
    {"LRN-13 f[1,3,4,4] -> 1", MC_ESHAPE, "size 0"},
    {"LpPool-11 f[1,3,4,4] -> 1 kernel_shape=2,2, p=0", MC_ESHAPE, "p is 0"},
    {"LpPool-11 f[1,3,4,4] -> 1", MC_ESHAPE, "kernel_shape"},
    {"MaxUnpool-11 f[1,1,1,2] l[1,1,2,2] -> 1 kernel_shape=2,2,", MC_ESHAPE, "different shapes"},
    {"MaxUnpool-11 f[4,1,1] l[4,1,1] -> 1 kernel_shape=1,", MC_EDATA, "is outside 4"},
    {"GridSample-16 f[1,1,4,4] f[1,2,2,3] -> 1", MC_ESHAPE, "3 against 2"},
    {"GridSample-16 f[2,1,4,4] f[1,2,2,2] -> 1", MC_ESHAPE, "2 against 1"},
    {"GridSample-16 f[1,1,0,4] f[1,2,2,2] -> 1", MC_ESHAPE, "no elements"},
    {"GridSample-16 f[1,1,4,4] f[1,2,2,2] -> 1 padding_mode=wrap", MC_EUNSUP,
     "padding_mode 'wrap'"},
    {"AffineGrid-20 f[1,2,3] l{1,1,4,4,4} -> 1", MC_ESHAPE, "2 against 3"},
    {"AffineGrid-20 f[1,2,3] l{1,1,-4,4} -> 1", MC_ESHAPE, "size holds -4"},
    {"AffineGrid-20 f[1,2,3] l{1,1,4} -> 1", MC_ESHAPE, "3 values"},
    {"RoiAlign-16 f[1,1,4,4] f[2,4] l{0,1} -> 1", MC_EDATA, "image 1 of 1"},
    {"RoiAlign-16 f[1,1,4,4] f[2,4] l{0} -> 1", MC_ESHAPE, "2 against 1"},
    {"RoiAlign-16 f[1,1,4,4] f[2,5] l{0,0} -> 1", MC_ESHAPE, "5 against 4"},
    {"RoiAlign-16 f[1,1,4,4] f[2,4] l{0,0} -> 1 output_width=0", MC_ESHAPE, "output of 0"},
    {"RoiAlign-16 f[1,1,4,4] f[2,4] l{0,0} -> 1 mode=min", MC_EUNSUP, "mode 'min'"},
    {"MaxRoiPool-1 f[1,1,4,4] f[2,5] -> 1", MC_ESHAPE, "no pooled_shape"},
    {"MaxRoiPool-1 f[1,1,4,4] f[2,4] -> 1 pooled_shape=2,2,", MC_ESHAPE, "4 against 5"},
    {"DeformConv-19 f[1,2,5,5] f[4,2,3,3] f[1,17,3,3] -> 1", MC_ESHAPE, "17 against 18"},
    {"DeformConv-19 f[1,2,5,5] f[4,2,3,3] f[1,18,3,3] - f[1,8,3,3] -> 1", MC_ESHAPE, "8 against 9"},
    {"DeformConv-19 f[1,2,5,5] f[4,2,3,3] f[1,18,3,3] -> 1 offset_group=0", MC_ESHAPE,
     "offset_group 0"},
    {"DeformConv-19 f[1,3,5,5] f[4,2,3,3] f[1,18,3,3] -> 1", MC_ESHAPE, "3 channels"},
    {"Col2Im-18 f[1,5,9] l{4,4} l{2,2} -> 1", MC_ESHAPE, "no multiple of a block of 4"},
    {"Col2Im-18 f[1,4,8] l{4,4} l{2,2} -> 1", MC_ESHAPE, "8 against 9"},
    {"Col2Im-18 f[1,4,9] l{4,4} l{2} -> 1", MC_ESHAPE, "block_shape 1"},
    {"Col2Im-18 f[1,4,9] l{4,0} l{2,2} -> 1", MC_ESHAPE, "image of 0"},
    {"Col2Im-18 f[1,4,9] l{4,4} l{5,2} -> 1", MC_ESHAPE, "window of 5"},
    {"DepthToSpace-13 f[1,6,2,2] -> 1 blocksize=2", MC_ESHAPE, "6, is no multiple of 4"},
    {"DepthToSpace-13 f[1,4,2,2] -> 1", MC_ESHAPE, "blocksize 0"},
    {"DepthToSpace-13 f[1,4,2,2] -> 1 blocksize=2 mode=RCD", MC_EUNSUP, "mode 'RCD'"},
    {"SpaceToDepth-13 f[1,1,4,3] -> 1 blocksize=2", MC_ESHAPE, "3, is no multiple of 2"},
    {"CenterCropPad-18 f[4,4] l{2,-2} -> 1", MC_ESHAPE, "size -2"},
    {"CenterCropPad-18 f[4,4] l{2} -> 1", MC_ESHAPE, "1 sizes for 2"},
    {"BatchNormalization-15 f[2,3,4] f[3] f[3] f[3] f[3] -> 3", MC_ESHAPE, "needs training_mode"},
    {"BatchNormalization-7 f[2,3,4] f[3] f[3] f[3] f[3] -> 1 spatial=0", MC_ESHAPE, "rank 1"},
    {"Dropout-13 f[2] f{1} b{1} -> 1", MC_EDATA, "ratio 1"},
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

static void borders_run(void **state)
{
    (void)state;
    static const char *const good[] = {
        "ConvTranspose-11 f[0,4,5,5] f[4,2,3,3] -> 1",
        "ConvTranspose-11 f[1,4,5,5] f[4,0,3,3] -> 1",
        "ConvTranspose-11 f[1,4,5] f[4,2,3] -> 1 strides=900, output_shape=4000,",
        "ConvTranspose-11 f[1,4,1,1] f[4,1,1,1] -> 1 group=4 output_shape=1,4,5,7,",
        "Resize-13 f[0,1,4,4] - f{1,1,2,2} -> 1 mode=cubic",
        "Resize-13 f[1,1,4,4] - f{1,1,0.1,2} -> 1 mode=linear",
        "Resize-13 f[1,1,4,4] - - l{1,1,0,4} -> 1",
        "Resize-13 f[1,1,4,4] - - l{3,2,5,1} -> 1 mode=cubic",
        "Resize-18 f[1,1,9,9] - - l{1,1} -> 1 axes=-1,-2, antialias=1 mode=cubic",
        "Resize-13 f[1,1,4,4] f{0,0,nan,-inf,1,1,inf,1e38} f{1,1,2,2} -> 1 mode=linear "
        "coordinate_transformation_mode=tf_crop_and_resize",
        "Resize-13 f[1,1,4,4] f{0,0,nan,-inf,1,1,inf,1e38} f{1,1,2,2} -> 1 mode=nearest "
        "coordinate_transformation_mode=tf_crop_and_resize",
        "Resize-13 f[1,1,4,4] f{0,0,nan,-inf,1,1,inf,1e38} f{1,1,2,2} -> 1 mode=cubic "
        "coordinate_transformation_mode=tf_crop_and_resize",
        "Resize-13 b[1,1,2,2] - f{1,1,2,2} -> 1",
        "Upsample-9 f[1,1,2,2] f{1,1,1,1} -> 1 mode=linear",
        "GRU-14 f[0,2,3] f[1,12,3] f[1,12,4] -> 2",
        "GRU-14 f[5,0,3] f[1,12,3] f[1,12,4] -> 2 linear_before_reset=1",
        "RNN-14 f[2,5,3] f[2,4,3] f[2,4,4] f[2,8] i{0,5} f[2,2,4] -> 2 layout=1 "
        "direction=bidirectional clip=0.5",
        "LRN-13 f[0,3,4] -> 1 size=9",
        "LRN-13 f[2,3] -> 1 size=1",
        "GlobalLpPool-2 f[2,3,0] -> 1",
        "GridSample-20 f[1,0,4,4] f[1,0,2,2] -> 1",
        "RoiAlign-16 f[1,1,4,4] f[0,4] l{} -> 1",
        "DeformConv-19 f[0,2,5,5] f[4,2,3,3] f[0,18,3,3] -> 1",
        "DepthToSpace-13 f[0,4,2,2] -> 1 blocksize=2",
        "CenterCropPad-18 f[4,4] l{0,9} -> 1",
        "BatchNormalization-7 f[2,3,4] f[3,4] f[3,4] f[3,4] f[3,4] -> 5 spatial=0",
        "BatchNormalization-15 f[0,3,4] f[3] f[3] f[3] f[3] -> 3 training_mode=1",
        "GlobalMaxPool-1 f[0,3,4,4] -> 1",
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
