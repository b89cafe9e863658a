#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void gather(void **state)
{
    (void)state;
    grad_check("Gather", 13, "", "5xaxb i:4,0,4,-1");
    grad_check("Gather", 13, "axis=1", "ax5xb i[2x3]:0,1,1,1,-5,0");
    grad_check("Gather", 13, "axis=-1", "axbx5 i[2x2]:3,3,0,3");
    grad_check("Gather", 13, "axis=1", "ax5xb @i:2");
    grad_check("Gather", 1, "", "c:7x3 l[2x2]:1,1,6,1");
    grad_check("Gather", 13, "", "c:7x300 r:i:1,1,6,1");
    grad_check("GatherElements", 13, "axis=1", "3x5 i[3x4]:0,0,4,-1,1,1,1,1,2,3,3,2");
    grad_check("GatherElements", 13, "", "4x3 i[2x3]:1,1,1,3,1,-1");
}

static void gather_nd(void **state)
{
    (void)state;
    grad_check("GatherND", 13, "", "3x4xa i[4x2]:0,1,2,3,0,1,-1,-1");
    grad_check("GatherND", 13, "", "3xaxb i[2x2x1]:1,1,0,2");
    grad_check("GatherND", 13, "batch_dims=1", "2x4xa i[2x3x1]:1,1,0,3,-1,3");
    grad_check("GatherND", 13, "batch_dims=2", "2x2x3 i[2x2x1]:1,0,-1,2");
}

static void scatter(void **state)
{
    (void)state;
    grad_check("ScatterElements", 18, "axis=1", "2x5 i[2x2]:0,3,4,-2 2x2");
    grad_check("ScatterElements", 18, "", "4x3 i[2x2]:0,3,2,-4 2x2");
    grad_check("ScatterElements", 18, "axis=1 reduction=add", "2x5 i[2x3]:0,3,3,-2,4,4 c:2x3");
    grad_check("Scatter", 9, "axis=1", "n:2x5 i[2x2]:0,3,4,-2 2x2");
    grad_check("ScatterND", 18, "", "5xa i[2x1]:3,-5 2xa");
    grad_check("ScatterND", 18, "reduction=add", "5x4xa i[3x2]:3,1,0,0,3,1 3xa");
    grad_check("ScatterND", 11, "", "c:5x4 i[2x2]:3,1,0,0 n:2");
    grad_check_refused("ScatterND", 18, "reduction=mul", "5 i[2x1]:3,1 2", "reduction 'mul'");
}

static void picked(void **state)
{
    (void)state;
    struct grad_case c = {
        .op = "TopK", .version = 11, .attrs = "", .inputs = "ax7 i:3", .n_out = 2, .unasked = 2};
    grad_check_case(&c);
    c.attrs = "axis=1 largest=0 sorted=0";
    c.inputs = "ax5xb i:2";
    grad_check_case(&c);
    c.absent = 2;
    c.n_out = 1;
    c.unasked = 0;
    grad_check_case(&c);
    grad_check("Compress", 11, "axis=1", "ax4xb b:1,0,1,0");
    grad_check("Compress", 11, "axis=-1", "axbx4 b:0,1,1");
    struct grad_case all = {
        .op = "Compress", .version = 11, .inputs = "3x4 b:1,0,0,1,0,1", .is_static = true};
    grad_check_case(&all);
    grad_check_refused("OneHot", 11, "", "n:3 i:4 2", "no gradient");
}

static void nothing(void **state)
{
    (void)state;
    grad_check_none("ArgMax", 13, "", "2x3");
    grad_check_none("ArgMin", 13, "", "2x3");
    grad_check_none("NonZero", 13, "", "2x3");
    grad_check_none("EyeLike", 9, "", "3x3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather), cmocka_unit_test(gather_nd), cmocka_unit_test(scatter),
        cmocka_unit_test(picked), cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
