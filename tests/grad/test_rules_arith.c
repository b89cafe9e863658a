#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "check.h"

static void add_sub_mul(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct grad_case c = {.op = ops[i], .version = 14, .inputs = "axbx3 axbx3"};
        grad_check_case(&c);
        c.inputs = "c:axb n:axb";
        grad_check_case(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_sub_mul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
