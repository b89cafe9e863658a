#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "cli/exits.h"

/* The statuses that scripts rely on, code by code. */
static void every_code_has_its_status(void **state)
{
    (void)state;
    static const struct {
        int code, status;
    } rows[] = {
        {MC_OK, 0},    {MC_EFAIL, 1},   {MC_ENOMEM, 1},  {MC_EIO, 1},    {MC_EUSAGE, 2},
        {MC_EOPEN, 3}, {MC_EFORMAT, 3}, {MC_EUNSUP, 3},  {MC_ESHAPE, 3}, {MC_EDTYPE, 3},
        {MC_EDATA, 3}, {MC_EGATE, 4},   {MC_EINTR, 130},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(mc_exit_of(rows[i].code), rows[i].status);
    assert_int_equal(mc_exit_of(-999), 1);
    /* The list above is complete: the next code has no name. */
    assert_string_equal(mc_code_name(MC_EINTR), "interrupted");
    assert_string_equal(mc_code_name(MC_EINTR - 1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_code_has_its_status)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
