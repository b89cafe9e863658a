/* Malformed losses and gradients of our own domain. */
#include "node_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define OWN "ai.mcompress.grad:"

static const struct node_spec_bad bad[] = {
    {OWN "SumTo-1 f[2,3] l{2} -> 1", MC_ESHAPE, "2 is no sum of 3"},
    {OWN "SumTo-1 f[3] l{2,3} -> 1", MC_ESHAPE, "rank 2"},
    {OWN "SumTo-1 l[3] l{3} -> 1", MC_EDTYPE, "int64"},
    {OWN "ReluGrad-1 f[3] f[4] -> 1", MC_ESHAPE, "[3] and [4] differ"},
    {OWN "ReluGrad-1 f[3] -> 1", MC_ESHAPE, ""},
    {OWN "ClipGrad-1 f[3] f[3] f[2] -> 1", MC_ESHAPE, "input 2 is [2]"},
    {OWN "SoftmaxGrad-1 f[2,3] f[2,3] -> 1 axis=2", MC_ESHAPE, "axis 2"},
    {OWN "SoftmaxGrad-1 f[2,3] f[3,2] -> 1", MC_ESHAPE, "differ in shape"},
    {OWN "SoftmaxCrossEntropyLossGrad-1 f() f[2,3] l{0,3} -> 1", MC_EDATA, "label 3 is outside 3"},
    {OWN "CrossEntropyProbs-1 f[2,3] f[2,4] -> 1", MC_ESHAPE, "4 against 3"},
    {OWN "CrossEntropyProbs-1 f[2,3] f[3] -> 1", MC_ESHAPE, "targets [3]"},
    {OWN "CrossEntropyProbs-1 f[2,3] l[2,3] -> 1", MC_EDTYPE, "int64"},
    {OWN "DistillLoss-1 f[2,3] f[2,3] -> 1 temperature=0.0", MC_EUNSUP, "temperature 0"},
    {OWN "DistillLoss-1 f[2,3] f[2,3] -> 1 axis=-3", MC_ESHAPE, "axis -3"},
    {OWN "SigmoidCrossEntropy-1 f[2] f{0.5,1.5} -> 1", MC_EDATA, "target 1.5 is outside 0 to 1"},
    {OWN "SigmoidCrossEntropy-1 f[2] f{0.5,nan} -> 1", MC_EDATA, "outside 0 to 1"},
    {OWN "SigmoidCrossEntropy-1 f[2] l{0,-1} -> 1", MC_EDATA, "target -1"},
    {OWN "CtcLoss-1 f[3,2] l[2,2] -> 1", MC_ESHAPE, "rank 2"},
    {OWN "CtcLoss-1 f[3,2,4] l{1,2} -> 1", MC_ESHAPE, "rank 1"},
    {OWN "CtcLoss-1 f[3,2,4] l[3,2] -> 1", MC_ESHAPE, "3 against 2"},
    {OWN "CtcLoss-1 f[3,2,4] l[2,1] -> 1 blank=4", MC_ESHAPE, "blank 4"},
    {OWN "CtcLoss-1 f[3,2,4] l[2,1] l{3,4} l{0,0} -> 1", MC_EDATA, "sample 1 has 4 steps of 3"},
    {OWN "CtcLoss-1 f[3,2,4] l[2,1] l{3,3} l{0,2} -> 1", MC_EDATA, "sample 1 has 2 labels of 1"},
    {OWN "CtcLoss-1 f[3,1,1] l[1,1] - l{1} -> 1", MC_EDATA, "beside the blank 0"},
};

static void errors(void **state)
{
    (void)state;
    node_spec_all_bad(bad, sizeof bad / sizeof *bad);
}

/* Nothing in a dimension; nothing to sum; samples without labels or steps. */
static void borders(void **state)
{
    static const char *const good[] = {
        OWN "SumTo-1 f[0,3] l{3} -> 1",
        OWN "SumTo-1 f[2,3] l{2,3} -> 1",
        OWN "SumTo-1 f[1,1] l{} -> 1",
        OWN "SumTo-1 f() l{} -> 1",
        OWN "ReluGrad-1 f[0] f[0] -> 1",
        OWN "SoftmaxGrad-1 f[2,0] f[2,0] -> 1",
        OWN "SoftmaxGrad-1 f() f() -> 1 axis=0 flatten=1",
        OWN "SoftmaxCrossEntropyLossGrad-1 f() f[0,3] l{} -> 1",
        OWN "SigmoidCrossEntropy-1 f[2] b{0,1} -> 1",
        OWN "CtcLoss-1 f[3,2,4] l[2,0] -> 2",
        OWN "CtcLoss-1 f[3,2,4] l[2,1] l{0,0} l{0,0} -> 2",
        OWN "CtcLoss-1 f[0,1,2] l[1,0] -> 1",
    };
    (void)state;
    node_spec_all_good(good, sizeof good / sizeof *good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(borders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
