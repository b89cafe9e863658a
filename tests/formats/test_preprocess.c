#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "formats/preprocess.h"

/* Table of `text` for images of `channels` against the formula, in f64. */
static void expect(const char *text, int channels, double over, double under, const double *mean,
                   const double *std)
{
    struct mc_preprocess p;
    struct mc_err err = {0};
    double table[3 * 256];
    float narrow[3 * 256];
    int n;
    if (mc_preprocess_parse(text, &p, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(mc_preprocess_channels(&p, channels, &n, &err), 0);
    assert_int_equal(n, channels);
    assert_int_equal(mc_preprocess_table(&p, n, MC_DTYPE_F64, table, &err), 0);
    assert_int_equal(mc_preprocess_table(&p, n, MC_DTYPE_F32, narrow, &err), 0);
    for (int c = 0; c < n; c++)
        for (int v = 0; v < 256; v++) {
            double y = (v * over / under - mean[c]) / std[c];
            assert_true(table[c * 256 + v] == y);
            assert_true(narrow[c * 256 + v] == (float)y);
        }
}

static void strings_mean_the_formula(void **state)
{
    (void)state;
    const double zero[3] = {0}, one[3] = {1, 1, 1};
    const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    const double half[1] = {0.5}, m130[1] = {130}, eight[1] = {8};
    expect(NULL, 1, 1, 255, zero, one);
    expect("", 1, 1, 255, zero, one);
    expect("scale=1/255", 1, 1, 255, zero, one);
    expect("mean=1/2,std=.5", 1, 1, 255, half, half);
    expect("std=8,scale=1,mean=130", 1, 1, 1, m130, eight);
    expect("scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225", 3, 1, 255, mean, std);
    /* One value serves all channels beside a list. */
    expect("mean=0.485:0.456:0.406", 3, 1, 255, mean, one);
}

static void default_is_division(void **state)
{
    (void)state;
    struct mc_preprocess p;
    float table[256];
    assert_int_equal(mc_preprocess_parse(NULL, &p, NULL), 0);
    assert_int_equal(mc_preprocess_table(&p, 1, MC_DTYPE_F32, table, NULL), 0);
    for (int v = 0; v < 256; v++)
        assert_true(table[v] == (float)v / 255.0f); /* what numpy and torch compute */
}

static void neutral(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool identity;
    } cases[] = {
        {NULL, false},         {"scale=1", true},           {"scale=1,mean=0:0,std=1", true},
        {"scale=2/2", true},   {"scale=1,mean=0:1", false}, {"scale=1,std=1:2", false},
        {"scale=255/1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_preprocess p;
        assert_int_equal(mc_preprocess_parse(cases[i].text, &p, NULL), 0);
        assert_int_equal(mc_preprocess_identity(&p), cases[i].identity);
    }
}

static void nonsense_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *words;
    } cases[] = {
        {"gamma=2", MC_EUSAGE, "'gamma=2' is not one of"},
        {"scale", MC_EUSAGE, "'scale'"},
        {"scale=", MC_EUSAGE, "'scale=' needs a number"},
        {"scale=0", MC_EUSAGE, "other than 0"},
        {"scale=1/0", MC_EUSAGE, "needs a number"},
        {"scale=1/", MC_EUSAGE, "needs a number"},
        {"scale=nan", MC_EUSAGE, "needs a number"},
        {"scale=inf", MC_EUSAGE, "needs a number"},
        {"scale=1:2", MC_EUSAGE, "needs a number"},
        {"scale=1;mean=2", MC_EUSAGE, "needs a number"},
        {"mean=1:,std=1", MC_EUSAGE, "'mean=1:' needs numbers"},
        {"mean=1 2", MC_EUSAGE, "needs numbers"},
        {"std=1:0", MC_EUSAGE, "'std=1:0'"},
        {"scale=1,scale=2", MC_EUSAGE, "scale is given twice"},
        {",scale=1", MC_EUSAGE, "not one of"},
        {"resize=", MC_EUSAGE, "'resize=' needs WIDTHxHEIGHT"},
        {"resize=0", MC_EUSAGE, "needs WIDTHxHEIGHT"},
        {"resize=12x", MC_EUSAGE, "needs WIDTHxHEIGHT"},
        {"resize=99999999999999999999", MC_EUSAGE, "needs WIDTHxHEIGHT"},
        {"crop=12x-3", MC_EUSAGE, "needs WIDTHxHEIGHT"},
        {"bgr=1", MC_EUSAGE, "needs no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_preprocess p;
        struct mc_err err = {0};
        assert_int_equal(mc_preprocess_parse(cases[i].text, &p, &err), cases[i].code);
        if (!strstr(err.msg, cases[i].words))
            fail_msg("'%s' gave: %s", cases[i].text, err.msg);
    }
    char many[512] = "mean=0";
    for (int i = 0; i < MC_PREPROCESS_CHANNELS; i++)
        strcat(many, ":0");
    struct mc_preprocess p;
    assert_int_equal(mc_preprocess_parse(many, &p, NULL), MC_EUSAGE);
    struct mc_err err;
    int n;
    assert_int_equal(mc_preprocess_parse("std=1:2:3", &p, NULL), 0);
    assert_int_equal(mc_preprocess_channels(&p, 1, &n, &err), MC_ESHAPE);
    assert_non_null(strstr(err.msg, "3 values for images of 1 channels"));
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int w, h, to_w, to_h; /* to_w 0: refused */
    } cases[] = {
        {"scale=1", 7, 9, 7, 9},
        {"resize=4x6", 7, 9, 4, 6},
        {"resize=256", 500, 375, 341, 256},
        {"resize=256", 375, 500, 256, 341},
        {"resize=8", 8, 8, 8, 8},
        {"resize=256,crop=224", 500, 375, 224, 224},
        {"crop=3x5,resize=5", 9, 6, 3, 5},
        {"crop=7", 7, 6, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_preprocess p;
        int w = cases[i].w, h = cases[i].h;
        assert_int_equal(mc_preprocess_parse(cases[i].text, &p, NULL), 0);
        int rc = mc_preprocess_size(&p, "x.png", &w, &h, NULL);
        assert_int_equal(rc, cases[i].to_w ? 0 : MC_ESHAPE);
        if (!rc)
            assert_true(w == cases[i].to_w && h == cases[i].to_h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_mean_the_formula),
        cmocka_unit_test(default_is_division),
        cmocka_unit_test(neutral),
        cmocka_unit_test(nonsense_is_named),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
