#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

/* Slopes of either sign: where the function does not rise, the derivative is made from the argument. */
static void activations(void **state)
{
    static const struct grad_row rows[] = {
        {"Relu", 14, "", "axbx17"},
        {"Relu", 6, "", "axbxcx9"},
        {"LeakyRelu", 16, "", "axbx17"},
        {"LeakyRelu", 16, "alpha=0.3f", "axbx9"},
        {"LeakyRelu", 6, "alpha=-0.3f", "axbx9"},
        {"Elu", 6, "", "axbx17"},
        {"Elu", 6, "alpha=0.7f", "axbx9"},
        {"Elu", 22, "alpha=-0.7f", "axbx9"},
        {"Selu", 6, "", "axbx17"},
        {"Selu", 22, "alpha=-0.5f gamma=1.3f", "axbx9"},
        {"Celu", 12, "", "axbx17"},
        {"Celu", 12, "alpha=0.6f", "axbx9"},
        {"Sigmoid", 13, "", "axbx17"},
        {"HardSigmoid", 6, "", "axbx17"},
        {"HardSigmoid", 6, "alpha=2f beta=0.3f", "axbx7"},
        {"HardSwish", 14, "", "axbx17"},
        {"Softplus", 1, "", "axbx17"},
        {"Softsign", 1, "", "axbx17"},
        {"Tanh", 13, "", "axbx17"},
        {"Swish", 24, "", "axbx17"},
        {"Swish", 24, "alpha=1.5f", "axbx9"},
        {"Gelu", 20, "", "axbx17"},
        {"Gelu", 20, "approximate=tanh", "axbx9"},
        {"Mish", 18, "", "axbx17"},
        {"ThresholdedRelu", 10, "alpha=0.2f", "ax9"},
        {"ThresholdedRelu", 10, "alpha=-0.2f", "axbx9"},
        {"Shrink", 9, "lambd=0.3f bias=0.2f", "axbx17"},
        {"com.microsoft:Gelu", 1, "", "axbx17"},
        {"com.microsoft:QuickGelu", 1, "", "axbx9"},
        {"com.microsoft:QuickGelu", 1, "alpha=0.9f", "axbx9"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

static void functions(void **state)
{
    static const struct grad_row rows[] = {
        {"Erf", 13, "", "axbx17"},        {"Exp", 13, "", "axbx17"},
        {"Log", 13, "", "+axbx17"},       {"Sqrt", 13, "", "+axbx17"},
        {"Abs", 13, "", "axbx17"},        {"Neg", 13, "", "axbx9"},
        {"Reciprocal", 13, "", "+axb"},   {"Sin", 7, "", "axbx17"},
        {"Cos", 7, "", "axbx9"},          {"Tan", 7, "", "axbx9"},
        {"Asin", 7, "", "axb~-0.9..0.9"}, {"Acos", 7, "", "axb~-0.9..0.9"},
        {"Atan", 7, "", "axbx9"},         {"Sinh", 9, "", "axbx9"},
        {"Cosh", 9, "", "axbx9"},         {"Asinh", 9, "", "axbx9"},
        {"Acosh", 9, "", "axb~1.2..3"},   {"Atanh", 9, "", "axb~-0.9..0.9"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

static void steps(void **state)
{
    static const char *const ops[] = {"Floor", "Ceil", "Round", "Sign"};
    (void)state;
    for (int i = 0; i < 4; i++)
        grad_check_none(ops[i], 13, "", "3x4");
}

/* Bounds as attributes, constants, inputs with gradients, one or none of them. */
static void clip(void **state)
{
    static const struct grad_row rows[] = {
        {"Clip", 6, "min=-0.3f max=0.4f", "axbx17"},
        {"Clip", 6, "max=0.4f", "axbx9"},
        {"Clip", 11, "", "axbx17 #-0.3 #0.4"},
        {"Clip", 13, "", "axbx17 - #0.4"},
        {"Clip", 13, "", "axbx17 #0"},
        {"Clip", 13, "", "axbx9"},
        {"Clip", 13, "", "axbx7 s~-0.6..-0.2 s~0.2..0.6"},
        {"Clip", 13, "", "axbx7 n:s~-0.6..-0.2 c:s~0.2..0.6"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

static void two_operands(void **state)
{
    static const struct grad_row rows[] = {
        {"PRelu", 16, "", "axbx3 axbx3"},
        {"PRelu", 16, "", "axbxcx5 c:bx1x1"},
        {"PRelu", 9, "", "axbx9 s"},
        {"PRelu", 7, "", "axbxc n:c"},
        {"com.microsoft:BiasGelu", 1, "", "axbxc c:c"},
        {"com.microsoft:FastGelu", 1, "", "axbxc c:c"},
        {"com.microsoft:FastGelu", 1, "", "axbxc"},
        {"SwiGLU", 28, "", "axb axb"},
        {"SwiGLU", 28, "alpha=1.3f", "axb axb"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations), cmocka_unit_test(functions),    cmocka_unit_test(steps),
        cmocka_unit_test(clip),        cmocka_unit_test(two_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
