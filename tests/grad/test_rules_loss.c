#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

#define OWN "ai.mcompress.grad:"

/* One axis, in the middle too; before version 13 all from axis on. */
static void softmax(void **state)
{
    static const char *const ops[] = {"Softmax", "LogSoftmax"};
    static const struct {
        int version;
        const char *attrs, *inputs;
    } rows[] = {
        {13, "", "axbx19"},       {13, "axis=1", "ax4x17"},  {13, "axis=0", "3xb"},
        {11, "", "axbx3"},        {11, "axis=2", "axbxcx3"}, {1, "axis=0", "3xb"},
        {11, "axis=-1", "axbx5"}, {13, "axis=-2", "3x20x2"},
    };
    (void)state;
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            grad_check(ops[i], rows[k].version, rows[k].attrs, rows[k].inputs);
    grad_check("com.microsoft:BiasSoftmax", 1, "axis=2", "axbx5 c:ax1x5");
    grad_check("com.microsoft:BiasSoftmax", 1, "", "axbx5 bx1");
}

/* Labels as an input and as a constant, of both integer types; weights; labels left out. */
static void classes(void **state)
{
    static const char *const ops[] = {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"};
    static const char *const attrs[] = {
        "",
        "reduction=sum",
        "reduction=none",
        "reduction=mean ignore_index=2",
        "reduction=sum ignore_index=-1",
        "reduction=none ignore_index=0",
    };
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 6; k++) {
            const char *label = k == 4 ? "3x5 i:-1,4,2" : "3x5 r:i:0,4,2";
            grad_check(ops[i], 13, attrs[k], label);
            grad_check(ops[i], 12, attrs[k], "2x4x3 r:l[2x3]:0,1,2,3,2,1 n:+4");
            grad_check(ops[i], 13, attrs[k], "2x3x2x2 i[2x2x2]:0,1,2,0,1,2,0,1");
        }
}

/* The log-softmax as second output has a gradient of its own, alone and beside the loss. */
static void log_probability(void **state)
{
    (void)state;
    grad_check_outputs("SoftmaxCrossEntropyLoss", 13, "", "3x5 i:0,4,2", 2);
    grad_check_case(&(struct grad_case){.op = "SoftmaxCrossEntropyLoss",
                                        .version = 13,
                                        .attrs = "reduction=sum",
                                        .inputs = "2x4x3 i[2x3]:0,1,2,3,2,1",
                                        .n_out = 2,
                                        .unasked = 1});
    grad_check_refused("SoftmaxCrossEntropyLoss", 13, "", "n:3x5 i:0,4,2 +5", "weights");
}

static void distributions(void **state)
{
    static const struct grad_row rows[] = {
        {OWN "CrossEntropyProbs", 1, "", "ax7 n:+ax7"},
        {OWN "CrossEntropyProbs", 1, "temperature=2.5f", "ax5 +ax5"},
        {OWN "CrossEntropyProbs", 1, "axis=1", "ax3xcxd +ax3xcxd"},
        {OWN "DistillLoss", 1, "", "ax7 n:ax7"},
        {OWN "DistillLoss", 1, "temperature=4f", "axbx19 n:axbx19"},
        {OWN "DistillLoss", 1, "temperature=0.5f axis=1", "2x4xcxd n:2x4xcxd"},
        {OWN "SigmoidCrossEntropy", 1, "", "axb axb~0.0..1"},
        {OWN "SigmoidCrossEntropy", 1, "", "axbx3 n:axbx3~0.0..1"},
        {OWN "SigmoidCrossEntropy", 1, "", "2x3 r:i[2x3]:0,1,1,0,0,1"},
        {OWN "SigmoidCrossEntropy", 1, "", "2x3 b[2x3]:0,1,1,0,0,1"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

/* Repeats and short samples; labels that fill all steps, none at all, a sample that no path fits. */
static void ctc(void **state)
{
    static const struct grad_row rows[] = {
        {OWN "CtcLoss", 1, "", "6x2x4 r:i[2x2]:1,2,3,3 r:i:6,5 r:i:2,2"},
        {OWN "CtcLoss", 1, "blank=3", "9x3x4 i[3x4]:0,1,0,0,2,2,-1,-1,1,-1,-1,-1"},
        {OWN "CtcLoss", 1, "", "3x1x5 l[1x3]:1,4,2"},
        {OWN "CtcLoss", 1, "", "4x2x3 i[2x2]:1,1,-1,-1 - i:2,0"},
        {OWN "CtcLoss", 1, "", "3x2x3 i[2x2]:1,1,2,2 i:3,2"},
        {OWN "CtcLoss", 1, "blank=1",
         "25x2x12 i[2x11]:2,3,3,4,5,6,7,8,9,10,0,11,11,11,2,2,4,4,6,6,8,8 i:25,20 i:11,7"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax),
        cmocka_unit_test(classes),
        cmocka_unit_test(log_probability),
        cmocka_unit_test(distributions),
        cmocka_unit_test(ctc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
