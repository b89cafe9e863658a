#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "rule_check.h"

struct line {
    const char *op;
    int version;
    const char *attrs, *inputs;
};

static void check_all(const struct line *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        grad_check(l[i].op, l[i].version, l[i].attrs, l[i].inputs);
}
#define CHECK_ALL(lines) check_all(lines, sizeof lines / sizeof lines[0])

static void convolution(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"Conv", 11, "", "ax3x7x6 c:mx3x3x2 c:m"},
        {"Conv", 22, "pads=1,2,1,2", "axbx5x6 mxbx3x5"},
        {"Conv", 11, "strides=2,2 pads=1,1,1,1", "ax3x7x8 c:5x3x3x3 c:5"},
        {"Conv", 11, "strides=3,2 pads=0,2,1,0 dilations=2,3", "2xcx12x11 c:mxcx2x3 c:m"},
        {"Conv", 11, "strides=2,2", "2x3x8x7 c:4x3x1x1 c:4"},
        {"Conv", 11, "strides=4,4 dilations=2,2 pads=3,0,0,3", "2x2x11x13 c:3x2x3x3"},
        {"Conv", 11, "", "3x5x4x4 c:7x5x1x1 c:7"},
        {"Conv", 11, "pads=2,2,2,2", "2x3x4x4 c:2x3x1x1 c:2"},
        {"Conv", 11, "group=6 pads=1,1,1,1", "ax6x6x5 c:6x1x3x3 c:6"},
        {"Conv", 11, "group=3 strides=2,2 pads=1,1,1,1", "2x3x8x9 c:6x1x3x3 c:6"},
        {"Conv", 11, "group=2 strides=2,1 pads=1,0,0,1 dilations=1,2", "2x6x6x7 c:4x3x3x2"},
        {"Conv", 11, "auto_pad=SAME_UPPER strides=2,2", "2x2x7x8 c:3x2x3x4"},
        {"Conv", 11, "auto_pad=SAME_LOWER strides=2,1", "2x2x8x7 c:3x2x4x2 c:3"},
        {"Conv", 11, "auto_pad=VALID dilations=2,2", "2x2x7x6 c:3x2x3x2"},
        {"Conv", 11, "pads=2,1", "ax3x9 c:mx3x4 c:m"},
        {"Conv", 11, "strides=3, dilations=2, group=2", "2x4x12 c:6x2x3"},
        {"Conv", 11, "pads=1,0,1,0,1,1 strides=1,2,2", "2x2x4x5x6 c:3x2x3x2x3 c:3"},
        {"Conv", 11, "pads=1,1", "2x3x5 n:4x3x3 4"},
        {"Conv", 11, "pads=1,1", "n:2x3x5 4x3x3 4"},
        {"Conv", 11, "pads=1,1", "2x3x5 cn:4x3x3"},
    };
    CHECK_ALL(lines);
}

static void transposed(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"ConvTranspose", 11, "", "ax3x4x5 c:3xmx3x2 c:m"},
        {"ConvTranspose", 22, "strides=2,2 pads=1,1,1,1", "ax3x4x5 c:3x2x3x3 c:2"},
        {"ConvTranspose", 11, "strides=3,2 output_padding=2,1 pads=1,0,0,1", "2x2x4x3 c:2x3x3x4"},
        {"ConvTranspose", 11, "strides=2,2 output_shape=9,8", "2x2x4x3 c:2x3x3x3 c:3"},
        {"ConvTranspose", 11, "strides=2,2 output_shape=12,13", "2x2x4x3 c:2x3x3x3 c:3"},
        {"ConvTranspose", 11, "strides=2,3 auto_pad=SAME_UPPER", "2x2x4x3 c:2x3x4x5 c:3"},
        {"ConvTranspose", 11, "strides=2,3 auto_pad=SAME_LOWER", "2x2x4x3 c:2x3x3x4"},
        {"ConvTranspose", 11, "group=4 strides=2,2", "2x4x4x3 c:4x1x2x2 c:4"},
        {"ConvTranspose", 11, "group=2 dilations=2,1 pads=1,1,0,0", "2x4x4x3 c:4x3x2x3 c:6"},
        {"ConvTranspose", 11, "strides=2, dilations=2,", "ax3x5 c:3x2x3 c:2"},
        {"ConvTranspose", 11, "strides=1,2,1", "2x2x3x2x3 c:2x2x2x2x3 c:2"},
        {"ConvTranspose", 11, "strides=2,2", "2x3x4x4 cn:3x2x2x2 n:2"},
        {"ConvTranspose", 11, "strides=2,2", "n:2x3x4x4 3x2x2x2 2"},
    };
    CHECK_ALL(lines);
}

static void pools(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"MaxPool", 12, "kernel_shape=2,2 strides=2,2", "axbx8x6"},
        {"MaxPool", 12, "kernel_shape=2,2 strides=2,2", "2x3x37x67"},
        {"MaxPool", 12, "kernel_shape=3,3 strides=2,2 pads=1,1,1,1", "axbx7x9"},
        {"MaxPool", 12, "kernel_shape=3,2 dilations=2,3 pads=1,0,2,1", "2x3x9x9"},
        {"MaxPool", 12, "kernel_shape=3,3 strides=2,2 ceil_mode=1", "2x2x8x8"},
        {"MaxPool", 12, "kernel_shape=2,3 auto_pad=SAME_LOWER storage_order=1", "2x2x5x6"},
        {"MaxPool", 8, "kernel_shape=3, strides=2,", "2x3x11"},
        {"MaxPool", 12, "kernel_shape=2,3,2 strides=2,1,2", "2x2x4x5x7"},
        {"GlobalMaxPool", 1, "", "axbx4x5"},
        {"GlobalMaxPool", 1, "", "axbx3x2x4"},
        {"GlobalAveragePool", 1, "", "axbx4x5"},
        {"GlobalAveragePool", 1, "", "axbx7"},
        {"AveragePool", 11, "kernel_shape=2,2 strides=2,2", "axbx8x6"},
        {"AveragePool", 11, "kernel_shape=3,3 strides=2,2 pads=1,1,1,1", "2x3x7x9"},
        {"AveragePool", 11, "kernel_shape=3,2 pads=1,1,1,0 count_include_pad=1", "2x3x6x5"},
        {"AveragePool", 19, "kernel_shape=3,3 strides=2,2 ceil_mode=1", "2x2x8x8"},
        {"AveragePool", 19,
         "kernel_shape=3,2 strides=2,3 dilations=2,2 ceil_mode=1 count_include_pad=1 pads=1,0,2,1",
         "2x2x10x9"},
        {"AveragePool", 11, "kernel_shape=3, strides=2,", "2x3x11"},
        {"AveragePool", 11, "kernel_shape=2,2,3 strides=2,1,2", "2x2x4x5x7"},
    };
    CHECK_ALL(lines);
    const struct grad_case indices = {.op = "MaxPool",
                                      .version = 12,
                                      .attrs = "kernel_shape=2,2 strides=2,2",
                                      .inputs = "2x3x6x6",
                                      .n_out = 2,
                                      .unasked = 2};
    grad_check_case(&indices);
}

static void other_pools(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {"LpPool", 18, "kernel_shape=2,3 strides=2,1", "axbx5x6"},
        {"LpPool", 18, "kernel_shape=3,3 strides=2,2 pads=1,1,1,1 p=3", "2x2x7x6"},
        {"LpPool", 22, "kernel_shape=3,2 dilations=2,1 p=1 ceil_mode=1 strides=2,2", "2x2x8x7"},
        {"GlobalLpPool", 2, "p=3", "axbx4x3"},
        {"GlobalLpPool", 2, "", "axbx5"},
        {"MaxUnpool", 11, "kernel_shape=2,2 strides=2,2",
         "1x2x2x2 i[1x2x2x2]:1,2,12,15,16,19,29,30"},
        {"MaxUnpool", 11, "kernel_shape=2,2 strides=2,2", "1x1x2x2 i[1x1x2x2]:1,3,11,24 i:1,1,5,5"},
    };
    CHECK_ALL(lines);
}

static void resize(void **state)
{
    (void)state;
    static const char *const coords[] = {"half_pixel",         "half_pixel_symmetric",
                                         "pytorch_half_pixel", "align_corners",
                                         "asymmetric",         "tf_half_pixel_for_nn"};
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const given[] = {"2x2x4x5 - f:1,1,2,2", "2x2x4x5 - f:1,1,0.6,1.7",
                                        "2x2x4x5 - - i:2,2,9,3"};
    char attrs[200];
    for (int c = 0; c < 6; c++)
        for (int m = 0; m < 3; m++)
            for (int i = 0; i < 3; i++) {
                snprintf(attrs, sizeof attrs, "mode=%s coordinate_transformation_mode=%s", modes[m],
                         coords[c]);
                struct grad_case t = {.op = "Resize",
                                      .version = 13,
                                      .attrs = attrs,
                                      .inputs = given[i],
                                      .is_static = i == 2};
                grad_check_case(&t);
            }
    static const struct line lines[] = {
        {"Resize", 18, "mode=linear antialias=1", "2x2x9x8 - f:1,1,0.5,0.7"},
        {"Resize", 18, "mode=cubic antialias=1 axes=2,3", "2x2x9x8 - f:0.4,1.5"},
        {"Resize", 19, "mode=cubic exclude_outside=1 cubic_coeff_a=-0.5f", "2x2x4x5 - f:1,1,2,1.5"},
        {"Resize", 13, "mode=nearest nearest_mode=ceil", "2x2x4x5 - f:1,1,2,1.5"},
        {"Resize", 13, "mode=linear coordinate_transformation_mode=tf_crop_and_resize",
         "2x2x6x7 f:0,0,0.1,-0.2,1,1,0.8,1.1 f:1,1,1.5,1.2"},
        {"Resize", 13, "mode=nearest coordinate_transformation_mode=tf_crop_and_resize",
         "2x2x6x7 f:0,0,0.1,-0.2,1,1,0.8,1.1 f:1,1,1.5,1.2"},
        {"Resize", 18, "mode=linear keep_aspect_ratio_policy=not_larger axes=2,3",
         "2x2x4x6 - - i:9,9"},
        {"Resize", 10, "mode=linear", "2x2x4x6 f:1,1,1.5,2"},
        {"Resize", 10, "mode=nearest", "2x2x4x6 f:1,1,0.6,2"},
        {"Resize", 13, "mode=linear", "axbx9 - f:1,1,1.5"},
        {"Resize", 13, "mode=linear", "2x3x3x4x5 - f:1,1,2,2,2"},
        {"Resize", 13, "mode=linear", "2x3x4 - f:1,1,1"},
        {"Resize", 13, "mode=cubic", "2x2x4x6 - r:f:1,1,1.5,2"},
        {"Upsample", 7, "mode=nearest scales=1f,1f,2f,2f", "axbx3x4"},
        {"Upsample", 9, "mode=linear", "axbx3x4 f:1,1,2,2"},
    };
    CHECK_ALL(lines);
}

/* What has no rule is named, so that what is frozen has a reason. */
static void without_rule(void **state)
{
    (void)state;
    grad_check_refused("GridSample", 16, "", "1x1x4x4 n:1x3x3x2", "GridSample");
    grad_check_refused("RoiAlign", 16, "output_height=2 output_width=2", "1x1x4x4 n:1x4 i:0",
                       "RoiAlign");
    grad_check_refused("DeformConv", 19, "", "1x1x4x4 1x1x1x1 n:1x2x4x4", "DeformConv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution), cmocka_unit_test(transposed), cmocka_unit_test(pools),
        cmocka_unit_test(other_pools), cmocka_unit_test(resize),     cmocka_unit_test(without_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
