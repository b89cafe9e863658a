#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void views(void **state)
{
    (void)state;
    grad_check("Reshape", 14, "", "2x3x4 i:0,-1");
    grad_check("Reshape", 14, "", "2x3x4 i:-1,2,3");
    grad_check("Reshape", 5, "", "c:2x6 i:3,4");
    grad_check("Flatten", 13, "axis=2", "axbxcxd");
    grad_check("Flatten", 13, "axis=-1", "axbxc");
    grad_check("Flatten", 9, "", "axbxc");
    grad_check("Squeeze", 13, "", "ax1xbx1 i:1,-1");
    grad_check("Squeeze", 11, "axes=1,", "ax1xb");
    grad_check("Unsqueeze", 13, "", "axb i:0,-1");
    grad_check("Unsqueeze", 11, "axes=1,3", "axb");
    grad_check("Identity", 16, "", "axb");
}

static void transpose(void **state)
{
    (void)state;
    grad_check("Transpose", 13, "", "axbxc");
    grad_check("Transpose", 13, "perm=0,2,1,3", "axbxcxd");
    grad_check("Transpose", 13, "perm=2,0,3,1", "axbxcxd");
    grad_check("Transpose", 13, "perm=1,0", "c:axb");
}

static void repeated(void **state)
{
    (void)state;
    grad_check("Expand", 13, "", "ax1xb i:2,1,3,1");
    grad_check("Expand", 13, "", "b i:4,1");
    grad_check("Expand", 13, "", "s i:2,3");
    grad_check("Tile", 13, "", "axbxc i:2,1,3");
    grad_check("Tile", 6, "", "4 i:3,");
    grad_check("DepthToSpace", 13, "blocksize=2", "ax8x3x2");
    grad_check("DepthToSpace", 13, "blocksize=2 mode=DCR", "ax12xbxc");
    grad_check("DepthToSpace", 13, "blocksize=2 mode=CRD", "ax12xbxc");
    grad_check("SpaceToDepth", 13, "blocksize=3", "axbx6x3");
}

static void concat(void **state)
{
    (void)state;
    grad_check("Concat", 13, "axis=1", "axbxc axdxc axexc");
    grad_check("Concat", 13, "axis=-1", "axb n:axc c:axd");
    grad_check("Concat", 13, "axis=0", "axb cxb");
    grad_check("Concat", 13, "axis=0", "n:axb cxb n:axb");
    grad_check("Concat", 13, "axis=0", "axb");
}

static void split(void **state)
{
    (void)state;
    grad_check_outputs("Split", 13, "axis=1", "ax6xb i:1,2,3", 3);
    grad_check_outputs("Split", 18, "axis=-1 num_outputs=3", "ax7", 3);
    grad_check_outputs("Split", 11, "axis=1", "ax6xb", 2);
    grad_check_outputs("Split", 11, "axis=1 split=4,2", "ax6xb", 2);
    grad_check_outputs("Split", 13, "", "c:4xb", 2);
    struct grad_case c = {.op = "Split",
                          .version = 13,
                          .attrs = "axis=1",
                          .inputs = "ax6xb i:1,2,3",
                          .n_out = 3,
                          .unasked = 2};
    grad_check_case(&c);
    c.absent = 2;
    grad_check_case(&c);
    c.unasked = c.absent = 5;
    grad_check_case(&c);
}

static void slice(void **state)
{
    (void)state;
    grad_check("Slice", 13, "", "5x6x7 i:1,2 i:4,5");
    grad_check("Slice", 13, "", "ax6x7 i:1,-1 i:9223372036854775807,-100 i:1,2 i:2,-3");
    grad_check("Slice", 13, "", "ax6 i:-2 i:100 i:-1");
    grad_check("Slice", 13, "", "c:ax6 i:4 i:1 i:1 i:-1");
    grad_check("Slice", 13, "", "ax6x7 l:0,2 l:1,6 l:1,2 l:1,3");
    grad_check("Slice", 9, "axes=1, starts=1, ends=1000,", "ax6");
    grad_check("Slice", 1, "starts=0,1 ends=3,-1", "4x6");
}

static void pad(void **state)
{
    (void)state;
    static const char *const modes[] = {"mode=reflect", "mode=edge", "mode=wrap"};
    grad_check("Pad", 13, "", "axb i:0,2,1,3");
    grad_check("Pad", 13, "", "ax5 i:1,-2,0,3 #0.5");
    grad_check("Pad", 13, "mode=constant", "ax5 i:1,2,0,3 s");
    grad_check("Pad", 13, "", "ax5 i:1,2,0,-3 s");
    grad_check("Pad", 18, "", "axbxc i:2,1,0,3 - i:-1,1");
    grad_check("Pad", 2, "pads=0,1,2,0", "axb");
    for (int i = 0; i < 3; i++) {
        grad_check("Pad", 19, modes[i], "ax4x5 i:0,3,1,0,2,4");
        grad_check("Pad", 19, modes[i], "ax5 i:0,-1,0,2");
        grad_check("Pad", 19, modes[i], "axbx4 i:3,2 - i:-1,");
    }
    grad_check("Pad", 2, "mode=reflect pads=0,0,2,2,0,0,1,1", "axbx3x4");
}

static void center(void **state)
{
    (void)state;
    grad_check("CenterCropPad", 18, "", "4x5x6 i:7,2,3");
    grad_check("CenterCropPad", 18, "axes=1,", "ax5 i:2,");
    grad_check("CenterCropPad", 18, "axes=-1,1", "ax5x4 i:7,2");
    grad_check("CenterCropPad", 18, "axes=2,1", "ax2x5 i:2,5");
}

static void along(void **state)
{
    (void)state;
    grad_check("Trilu", 14, "", "axbxc");
    grad_check("Trilu", 14, "upper=0", "ax4x4 @i:-1");
    grad_check("com.microsoft:Trilu", 1, "upper=0", "axb @i:1");
    grad_check("ReverseSequence", 10, "", "4x3xa i:4,1,2");
    grad_check("ReverseSequence", 10, "batch_axis=0 time_axis=1", "3x4xa i:4,1,2");
    for (int i = 0; i < 4; i++) {
        static const char *const attrs[] = {"", "reverse=1", "exclusive=1",
                                            "reverse=1 exclusive=1"};
        struct grad_case c = {.op = "CumSum", .version = 14, .attrs = attrs[i]};
        c.inputs = "axbxc @i:1";
        c.is_zero = true;
        grad_check_case(&c);
        c.inputs = "4x3 @i:-2";
        c.is_zero = false;
        grad_check_case(&c);
    }
}

static void nothing(void **state)
{
    (void)state;
    grad_check_none("Shape", 15, "", "2x3");
    grad_check_none("Size", 13, "", "2x3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views),   cmocka_unit_test(transpose), cmocka_unit_test(repeated),
        cmocka_unit_test(concat),  cmocka_unit_test(split),     cmocka_unit_test(slice),
        cmocka_unit_test(pad),     cmocka_unit_test(center),    cmocka_unit_test(along),
        cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
