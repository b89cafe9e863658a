#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

/* Each operand against the other's shape: whole, rows, columns, channels, scalars, of lower and higher rank. */
static void broadcasting(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
    static const char *const inputs[] = {
        "+axbx17 +axbx17", "+axb +b",     "+axb c:+ax1",     "+axbxcxd +bx1x1",
        "+axb +s",         "+1xb +axb",   "+b +axcxb",       "+axbx1x1 +bxcxd",
        "+ax1xc +1xbx1",   "+9x70 c:+70", "+4x5x6x3 +5x1x3", "+2x7 +2x7",
    };
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++)
            grad_check(ops[i], 14, "", inputs[k]);
}

static void powers(void **state)
{
    static const struct grad_row rows[] = {
        {"Pow", 15, "", "axb #2"},      {"Pow", 15, "", "axb #3"},     {"Pow", 15, "", "+axb #0.5"},
        {"Pow", 15, "", "+axb #-1.5"},  {"Pow", 13, "", "axb @i:2"},   {"Pow", 12, "", "axb i:4"},
        {"Pow", 13, "", "ax3 i:2,0,3"}, {"Pow", 13, "", "+ax3 c:3"},   {"Pow", 15, "", "axb r:l:3"},
        {"Pow", 7, "", "+axbx3 +bx1"},  {"Pow", 15, "", "+axb c:axb"}, {"Pow", 15, "", "+s axb"},
        {"Pow", 15, "", "+axb n:s"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
    grad_check_none("Pow", 15, "", "3x4 #0");
}

static void several(void **state)
{
    static const struct grad_row rows[] = {
        {"Min", 13, "", "ax19 ax19"},
        {"Max", 13, "", "5xbx17 bx17"},
        {"Min", 8, "", "ax19 ax19 ax19"},
        {"Max", 13, "", "axb"},
        {"Max", 13, "", "5x4x9 5x4x9 9"},
        {"Max", 13, "", "ax29 #0.25"},
        {"Min", 13, "", "#0.25 ax29"},
        {"Min", 13, "", "ax19 n:s~0.0..0.5"},
        {"Sum", 13, "", "axb axb axb"},
        {"Sum", 8, "", "axb b s"},
        {"Mean", 13, "", "axb axb"},
        {"Mean", 8, "", "axb b ax1"},
        {"Mean", 13, "", "axb"},
        {"Mod", 13, "fmod=1", "3x5x9 5x9~0.6..0.9"},
        {"Mod", 13, "fmod=1", "axb n:s~2.0..3.0"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
}

static void selection(void **state)
{
    static const struct grad_row rows[] = {
        {"Where", 16, "", "b[2x3]:1,0,0,1,1,0 2x3 2x3"},
        {"Where", 9, "", "r:b[2x1]:1,0 4x1x3 s"},
        {"Where", 16, "", "b:1,0,1 4x1x1 n:2x3"},
        {"Where", 16, "", "b[3x2x2]:1,0,0,1,1,0,1,0,1,1,0,0 c:2 2x1"},
        {"Cast", 13, "to=1", "axb"},
        {"CastLike", 15, "", "axb #1"},
        {"Dropout", 7, "", "axb"},
        {"Dropout", 13, "", "axb"},
        {"Dropout", 13, "", "axb #0.3 @b:0"},
        {"Dropout", 13, "seed=3", "4x9 #0.3 @b:1"},
        {"Dropout", 22, "seed=5", "4x9 - @b:1"},
    };
    (void)state;
    GRAD_CHECK_ALL(rows);
    grad_check_refused("Dropout", 13, "", "4x9 #0.3 r:@b:1", "training_mode");
    grad_check_none("Cast", 13, "to=7", "3x4");
    grad_check_none("Equal", 13, "", "3x4 3x4");
    grad_check_none("Less", 13, "", "3x4 3x4");
    grad_check_none("IsNaN", 13, "", "3x4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(powers),
        cmocka_unit_test(several),
        cmocka_unit_test(selection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
