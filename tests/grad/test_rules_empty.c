/* Rules where a dimension is 0: an empty batch is one, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void empty_batches(void **state)
{
    static const struct {
        const char *op;
        int version;
        const char *attrs, *inputs;
    } cases[] = {
        {"Mul", 14, "", "0x4 c:4"},
        {"Relu", 14, "", "0x4"},
        {"Flatten", 13, "axis=2", "0x3x2x2"},
        {"Flatten", 13, "axis=1", "2x3x0"},
        {"Squeeze", 13, "", "0x1x3 i:1"},
        {"Reshape", 14, "allowzero=1", "0x2x3 i:0,6"},
        {"Tile", 13, "", "2x0x3 i:2,2,1"},
        {"Concat", 13, "axis=1", "2x3 2x0 c:2x2"},
        {"MatMul", 13, "", "2x3x0 2x0x4"},
        {"Gemm", 13, "", "0x4 c:4x5 c:5"},
        {"Conv", 11, "pads=1,1,1,1", "0x2x5x5 c:3x2x3x3 c:3"},
        {"MaxPool", 12, "kernel_shape=2,2", "0x2x5x5"},
        {"GlobalAveragePool", 1, "", "0x2x5x5"},
        {"BatchNormalization", 15, "", "0x3x5 c:3 c:3 cn:3 cn:+3"},
        {"BatchNormalization", 15, "training_mode=1", "0x3 c:3 c:3 cn:3 cn:+3"},
        {"LayerNormalization", 17, "", "0x2x5 c:5 c:5"},
        {"LayerNormalization", 17, "axis=1", "2x0 c:0 c:0"},
        {"InstanceNormalization", 6, "", "0x3x5 c:3 c:3"},
        {"GroupNormalization", 21, "num_groups=2", "2x4x0 c:4 c:4"},
        {"LSTM", 14, "hidden_size=3", "0x2x5 c:1x12x5 c:1x12x3 c:1x24 - 1x2x3 1x2x3"},
        {"LSTM", 14, "hidden_size=3", "2x0x5 c:1x12x5 c:1x12x3 c:1x24"},
        {"GRU", 14, "hidden_size=3", "2x0x5 c:1x9x5 c:1x9x3 c:1x18"},
        {"RNN", 14, "hidden_size=3", "0x2x5 c:1x3x5 c:1x3x3 c:1x6"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grad_case c = {.op = cases[i].op,
                              .version = cases[i].version,
                              .attrs = cases[i].attrs,
                              .inputs = cases[i].inputs,
                              .is_zero = true};
        grad_check_case(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(empty_batches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
