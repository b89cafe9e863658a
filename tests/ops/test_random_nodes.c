/* test_random_nodes [SEED [ROUNDS]]: nodes with random types, shapes, constants and attributes. Nothing has to
 * run, but nothing may crash, and what is refused is refused with a message: meant for the sanitizers. */
#include "node_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/ops/op.h"

static uint64_t seed = 1, rounds = 6000, round_no, drawn;

static uint32_t below(uint32_t n)
{
    return mc_rng_below(seed, round_no, drawn++, n);
}

/* Sizes whose products are either small or beyond any memory. */
static long long number(void)
{
    static const long long odd[] = {INT64_MAX, INT64_MIN, INT32_MAX + 1LL, -1, -2, 1LL << 40};
    return below(12) ? (long long)below(8) - 2 : odd[below(6)];
}

static size_t append(char *text, size_t at, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static size_t append(char *text, size_t at, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text + at, size - at, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < size - at);
    return at + (size_t)n;
}

static size_t list(char *text, size_t at, size_t size, int n, bool dims)
{
    for (int i = 0; i < n; i++)
        at = append(text, at, size, "%s%lld", i ? "," : "",
                    dims ? (long long)(below(10) ? 1 + below(5) : 0) : number());
    return at;
}

/* Shapes that fit each other more often than chance: a few are drawn once for the node. */
static size_t inputs(char *text, size_t at, size_t size)
{
    char shape[2][64];
    for (int i = 0; i < 2; i++)
        shape[i][list(shape[i], 0, sizeof shape[i], (int)below(6), true)] = 0;
    int n = 1 + (int)below(6);
    char type = "fffffdlibs"[below(10)];
    for (int i = 0; i < n; i++) {
        uint32_t what = below(12);
        char own = below(5) ? type : "fdlibsuc"[below(8)];
        if (what == 0) {
            at = append(text, at, size, "- ");
        } else if (what < 4 && i > 0) {
            at = append(text, at, size, "%c{", "llllif"[below(6)]);
            at = list(text, at, size, (int)below(6), false);
            at = append(text, at, size, "} ");
        } else if (what < 6) {
            at = append(text, at, size, "%c[", own);
            at = list(text, at, size, (int)below(6), true);
            at = append(text, at, size, "] ");
        } else {
            at = append(text, at, size, "%c[%s] ", own, shape[below(2)]);
        }
    }
    return at;
}

static size_t attributes(char *text, size_t at, size_t size)
{
    static const char *const one[] = {"axis",
                                      "keepdims",
                                      "group",
                                      "transA",
                                      "transB",
                                      "ceil_mode",
                                      "to",
                                      "allowzero",
                                      "start",
                                      "end",
                                      "num_outputs",
                                      "hidden_size",
                                      "layout",
                                      "stash_type",
                                      "num_groups",
                                      "storage_order",
                                      "training_mode",
                                      "noop_with_empty_axes",
                                      "select_last_index",
                                      "input_forget",
                                      "count_include_pad",
                                      "num_heads",
                                      "q_num_heads",
                                      "kv_num_heads",
                                      "is_causal",
                                      "unidirectional",
                                      "qk_matmul_output_mode",
                                      "left_window_size",
                                      "rotary_embedding_dim",
                                      "interleaved",
                                      "onesided",
                                      "inverse",
                                      "periodic",
                                      "dtype",
                                      "output_datatype",
                                      "sample_size",
                                      "fmod",
                                      "p",
                                      "k",
                                      "upper",
                                      "ignore_index",
                                      "transBatchA",
                                      "block_size",
                                      "batch_dims",
                                      "batch_axis",
                                      "time_axis",
                                      "sorted",
                                      "largest",
                                      "output_dtype",
                                      "saturate",
                                      "center_point_box",
                                      "bits",
                                      "K",
                                      "N",
                                      "targets",
                                      "linear_before_reset",
                                      "align_corners",
                                      "antialias",
                                      "exclude_outside",
                                      "blocksize",
                                      "size",
                                      "offset_group",
                                      "output_height",
                                      "sampling_ratio",
                                      "spatial",
                                      "seed"};
    static const char *const many[] = {
        "axes",           "pads",        "strides", "dilations", "kernel_shape",     "perm",
        "starts",         "ends",        "split",   "shape",     "qkv_hidden_sizes", "output_shape",
        "output_padding", "pooled_shape"};
    static const char *const words[] = {"auto_pad=SAME_UPPER",
                                        "auto_pad=SAME_LOWER",
                                        "auto_pad=VALID",
                                        "mode=reflect",
                                        "mode=edge",
                                        "mode=wrap",
                                        "direction=reverse",
                                        "direction=bidirectional",
                                        "approximate=tanh",
                                        "direction=LEFT",
                                        "reduction=none",
                                        "reduction=add",
                                        "mode=circular",
                                        "round_mode=down",
                                        "update_rule=linear",
                                        "update_rule=delta",
                                        "equation=ab",
                                        "equation=ab,bc",
                                        "equation=...a,...a->...",
                                        "equation=a,b,c->abc",
                                        "activation=Relu",
                                        "mode=nesterov",
                                        "mode=linear",
                                        "mode=cubic",
                                        "mode=nearest",
                                        "padding_mode=border",
                                        "padding_mode=reflection",
                                        "coordinate_transformation_mode=align_corners",
                                        "coordinate_transformation_mode=tf_crop_and_resize",
                                        "keep_aspect_ratio_policy=not_larger"};
    for (uint32_t i = 0, n = below(5); i < n; i++) {
        uint32_t kind = below(3);
        if (kind == 0) {
            at = append(text, at, size, " %s=%lld", one[below(sizeof one / sizeof *one)], number());
        } else if (kind == 1) {
            at = append(text, at, size, " %s=", many[below(sizeof many / sizeof *many)]);
            at = list(text, at, size, (int)below(6), false);
            at = append(text, at, size, ",");
        } else {
            at = append(text, at, size, " %s", words[below(sizeof words / sizeof *words)]);
        }
    }
    return at;
}

static void nothing_crashes(void **state)
{
    (void)state;
    size_t n_ops = 0, ran = 0;
    while (mc_op_at(n_ops))
        n_ops++;
    for (round_no = 0; round_no < rounds; round_no++) {
        char text[2048];
        drawn = 0;
        const struct mc_op *op = mc_op_at(below((uint32_t)n_ops));
        bool other = op->domain[0] != 0;
        size_t at = append(text, 0, sizeof text, "%s%s%s-%d ", op->domain, other ? ":" : "",
                           op->name, op->since + (int)below(16));
        at = inputs(text, at, sizeof text);
        at = append(text, at, sizeof text, "-> %d", 1 + (int)below(3));
        attributes(text, at, sizeof text);
        if (getenv("MC_TEST_VERBOSE"))
            fprintf(stderr, "%llu %s\n", (unsigned long long)round_no, text);
        struct mc_err err = {0};
        int rc = node_spec_run(text, seed + round_no, &err);
        if (rc && (!err.msg[0] || err.code != rc))
            fail_msg("round %llu: %s gave %d without a message", (unsigned long long)round_no, text,
                     rc);
        ran += rc == 0;
    }
    printf("seed %llu: %zu of %llu nodes ran\n", (unsigned long long)seed, ran,
           (unsigned long long)rounds);
    assert_true(rounds < 1000 || ran > rounds / 50); /* the draws reach beyond the checks */
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        rounds = strtoull(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_crashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
