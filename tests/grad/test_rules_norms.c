#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void batchnorm_given(void **state)
{
    (void)state;
    grad_check("BatchNormalization", 15, "", "axbxcxd c:b c:b n:b cn:+b");
    grad_check("BatchNormalization", 15, "epsilon=0.1f", "axb b b b +b");
    grad_check("BatchNormalization", 9, "", "axbxc c:b c:b c:b c:+b");
    grad_check("BatchNormalization", 7, "", "2x17x37 c:17 c:17 c:17 c:+17");
    grad_check("BatchNormalization", 14, "", "n:axbxc n:b c:b n:b cn:+b");
    grad_check_refused("BatchNormalization", 8, "spatial=0", "2x3x4 3x4 3x4 n:3x4 n:+3x4",
                       "spatial 0 has no gradient yet");
}

static void batchnorm_trained(void **state)
{
    (void)state;
    static const char *const lines[] = {"5xbxcxd c:b c:b n:b cn:+b", "9x19 c:19 c:19 cn:19 cn:+19",
                                        "4x3x21 3 3 cn:3 cn:+3", "3xbx5 n:b c:b cn:b cn:+b"};
    for (int i = 0; i < 4; i++) {
        grad_check("BatchNormalization", 15, "training_mode=1", lines[i]);
        grad_check("BatchNormalization", 14, "training_mode=1 epsilon=0.2f", lines[i]);
        grad_check_case(&(struct grad_case){.op = "BatchNormalization",
                                            .version = 15,
                                            .attrs = "training_mode=1 momentum=0.3f",
                                            .inputs = lines[i],
                                            .n_out = 3,
                                            .unasked = 6});
        grad_check_case(&(struct grad_case){.op = "BatchNormalization",
                                            .version = 9,
                                            .inputs = lines[i],
                                            .n_out = 5,
                                            .unasked = 30});
    }
}

static void rows(void **state)
{
    (void)state;
    grad_check("LayerNormalization", 17, "", "axbx7 c:7 c:7");
    grad_check("LayerNormalization", 17, "axis=1 epsilon=0.1f", "3x5x19 5x19 5x19");
    grad_check("LayerNormalization", 17, "axis=-2", "axbx33 c:33 c:bx1");
    grad_check("LayerNormalization", 17, "axis=0", "9xb n:9xb");
    grad_check("LayerNormalization", 17, "", "n:300x35 c:35 c:35");
    grad_check("RMSNormalization", 23, "axis=-1", "axbx7 c:7");
    grad_check("SimplifiedLayerNormalization", 1, "", "axbx16 c:16");
}

static void skips(void **state)
{
    (void)state;
    grad_check("com.microsoft:SkipLayerNormalization", 1, "", "axbx8 axbx8 c:8 c:8 c:8");
    grad_check("com.microsoft:SkipLayerNormalization", 1, "epsilon=0.01f", "axbx5 1xbx5 c:5");
    grad_check_case(&(struct grad_case){.op = "com.microsoft:SkipLayerNormalization",
                                        .version = 1,
                                        .inputs = "axbx5 axbx5 c:5 c:5",
                                        .n_out = 4,
                                        .absent = 6});
    grad_check_case(&(struct grad_case){.op = "com.microsoft:SkipSimplifiedLayerNormalization",
                                        .version = 1,
                                        .inputs = "axbx9 axbx9 n:9 c:9",
                                        .n_out = 4,
                                        .unasked = 1,
                                        .absent = 6});
    grad_check("com.microsoft:SkipSimplifiedLayerNormalization", 1, "", "axbx9 axbx9 c:9");
}

static void embeddings(void **state)
{
    (void)state;
    const char *op = "com.microsoft:EmbedLayerNormalization";
    grad_check(op, 1, "", "l[2x3]:0,2,2,1,0,4 l[2x3]:0,1,1,0,0,1 5x8 c:4x8 c:2x8 c:8 c:8");
    grad_check(op, 1, "", "l[2x3]:0,2,2,1,0,4 - 5x8 c:4x8 - c:8 c:8 - l[1x3]:3,1,3");
    grad_check(op, 1, "", "l[2x2]:0,2,2,1 - 5x8 c:4x8 - c:8 c:8 - l[2x2]:3,1,3,0");
}

static void channels(void **state)
{
    (void)state;
    grad_check("InstanceNormalization", 6, "", "axbx17 c:b c:b");
    grad_check("InstanceNormalization", 6, "epsilon=0.1f", "axbx5x7 b b");
    grad_check("GroupNormalization", 18, "num_groups=2", "ax6x5 c:2 c:2");
    grad_check("GroupNormalization", 21, "num_groups=2", "ax6x5x4 c:6 c:6");
    grad_check("GroupNormalization", 21, "num_groups=3", "ax21 c:21 c:21");
    grad_check("GroupNormalization", 21, "num_groups=1", "3x4x19 n:4 c:4");
    grad_check("GroupNormalization", 18, "num_groups=3", "3x3x19 3 n:3");
}

static void without_parameters(void **state)
{
    (void)state;
    grad_check("LpNormalization", 1, "", "axbx4");
    grad_check("LpNormalization", 1, "p=1 axis=1", "ax4xb");
    grad_check("MeanVarianceNormalization", 13, "", "3xbx4x5");
    grad_check("MeanVarianceNormalization", 13, "axes=1,-1", "ax3x4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_given),
        cmocka_unit_test(batchnorm_trained),
        cmocka_unit_test(rows),
        cmocka_unit_test(skips),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(channels),
        cmocka_unit_test(without_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
