#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void add_sub_mul(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        grad_check(ops[i], 14, "", "axb axb");
        grad_check(ops[i], 14, "", "axbxd c:d");
        grad_check(ops[i], 14, "", "c:1xb ax1");
        grad_check(ops[i], 14, "", "axb s");
        grad_check(ops[i], 14, "", "s axb");
        grad_check(ops[i], 14, "", "ax1xb dx1");
        grad_check(ops[i], 14, "", "n:axb axb");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_sub_mul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
