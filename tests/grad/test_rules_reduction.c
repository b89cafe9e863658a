#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "rule_check.h"

/* Each over one axis and several, first, last and in between, all, or none; kept or not; axes as an attribute or an
 * input, from the end too. */
static void axes(void **state)
{
    static const char *const ops[] = {
        "ReduceSum", "ReduceMean", "ReduceMax",    "ReduceMin",       "ReduceProd",
        "ReduceL1",  "ReduceL2",   "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};
    static const struct {
        int version;
        const char *attrs, *inputs;
    } rows[] = {
        {11, "axes=1, keepdims=0", "+axbx5"},
        {11, "axes=0,2 keepdims=1", "+axbx5"},
        {11, "axes=-1, keepdims=0", "+axb"},
        {11, "", "+axb"},
        {11, "keepdims=0", "+axbxc"},
        {20, "keepdims=0", "+axbx5 i:1"},
        {18, "keepdims=1", "+axbx5 i:0,2"},
        {18, "keepdims=0", "+axbxcxd i:-1,-3"},
        {18, "keepdims=0", "+axb"},
        {18, "noop_with_empty_axes=1", "+axb"},
        {18, "noop_with_empty_axes=1 keepdims=0", "+axb i:0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            grad_check(ops[i], rows[k].version, rows[k].attrs, rows[k].inputs);
    grad_check("ReduceSum", 13, "keepdims=0", "axbx5 i:1");
    grad_check_refused("ReduceSum", 13, "keepdims=0", "2x3 r:i:1", "axes");
    grad_check("ReduceSum", 13, "keepdims=1", "3x4 r:i:1");
}

/* Numbers of both signs, where that changes the formula. */
static void signs(void **state)
{
    static const char *const ops[] = {"ReduceMax", "ReduceProd",      "ReduceL1",
                                      "ReduceL2",  "ReduceLogSumExp", "ReduceSumSquare"};
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        grad_check(ops[i], 13, "axes=1, keepdims=0", "axbx5");
}

static void windows(void **state)
{
    static const struct {
        const char *op;
        int version;
        const char *attrs, *inputs;
    } rows[] = {
        {"LRN", 13, "size=3", "ax5x2x3"},
        {"LRN", 13, "size=4 alpha=0.5f beta=0.6f bias=1.5f", "2x7x3x2"},
        {"LRN", 1, "size=5 alpha=0.9f", "2x3x4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        grad_check(rows[i].op, rows[i].version, rows[i].attrs, rows[i].inputs);
    grad_check_none("Hardmax", 13, "", "3x4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes),
        cmocka_unit_test(signs),
        cmocka_unit_test(windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
