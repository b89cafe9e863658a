#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "check.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_given),
        cmocka_unit_test(batchnorm_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
