/* Running the svd pass over small graphs. Failures are cmocka failures. */
#ifndef MC_TESTS_SVD_UTIL_H
#define MC_TESTS_SVD_UTIL_H

#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "base/json.h"
#include "graph/constant.h"
#include "graph/verify.h"
#include "passes/pass.h"

enum { SAMPLES = 256 };

/* A file's size without a format: content, and about what nodes and names take. */
static inline int count_bytes(void *host, const struct mc_model *m, uint64_t *ret,
                              struct mc_err *err)
{
    (void)host;
    (void)err;
    *ret = 100 * m->graph->n_nodes;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        *ret += 50 + m->graph->inits[i]->tensor->bytes;
    return 0;
}

static inline struct mc_pass_ctx svd_ctx(struct mc_dataset *calib)
{
    return (struct mc_pass_ctx){.seed = 7,
                                .calib = calib,
                                .calib_count = calib ? calib->count : 0,
                                .bytes_of = count_bytes};
}

/* Run with options as JSON with single quotes; the model is verified. Returns the code. */
static inline int svd_run(struct mc_pass_ctx *ctx, struct mc_model *m, const char *options,
                          json_t **ret, struct mc_err *err)
{
    char text[256];
    snprintf(text, sizeof text, "%s", options);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    const struct mc_pass *pass = mc_pass_find("svd");
    assert_non_null(pass);
    build_ok(mc_param_validate(pass->params, o, "test", err), err);
    *ret = NULL;
    int rc = pass->run(ctx, o, m, ret, err);
    json_decref(o);
    if (rc == 0 || rc == MC_EGATE) {
        struct mc_err e;
        assert_non_null(*ret);
        build_ok(mc_verify(m, &e), &e);
    }
    return rc;
}

/* The row of a node in the report. */
static inline const json_t *layer_row(const json_t *report, const char *name)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "layers"), i, row)
    {
        if (!strcmp(mc_json_string(row, "name"), name))
            return row;
    }
    fail_msg("no row for '%s'", name);
    return NULL;
}

static inline void expect_left(const json_t *report, const char *name, const char *reason)
{
    const json_t *row = layer_row(report, name);
    assert_string_equal(mc_json_string(row, "action"), "left");
    if (!strstr(mc_json_string(row, "reason"), reason))
        fail_msg("%s: '%s' does not say '%s'", name, mc_json_string(row, "reason"), reason);
}

static inline void expect_rank(const json_t *report, const char *name, int64_t rank)
{
    const json_t *row = layer_row(report, name);
    assert_string_equal(mc_json_string(row, "action"), "factorised");
    assert_int_equal((int64_t)mc_json_number(row, "rank", -1), rank);
}

/* Output 0 for input "x" in a new buffer; *ret_n elements. */
static inline float *output_of(struct mc_model *m, int rank, const int64_t *dims, const float *x,
                               int64_t *ret_n)
{
    struct mc_session *s = session_of(m, NULL);
    run_x(s, rank, dims, x);
    const struct mc_array *a = mc_session_output(s, 0);
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    *ret_n = mc_shape_count(&a->shape);
    float *y = malloc((size_t)*ret_n * sizeof *y + 1);
    assert_non_null(y);
    memcpy(y, a->data, (size_t)*ret_n * sizeof *y);
    mc_session_free(s);
    return y;
}

/* |a - b|² / |a|² */
static inline double relative(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)a[i] * a[i];
    }
    return d / s;
}

static inline float *gaussian(uint64_t seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_normal(seed, 3, 0, x, (size_t)n);
    return x;
}

/* x [rows, cols] of rank r. */
static inline float *of_rank(uint64_t seed, int64_t rows, int64_t cols, int64_t r)
{
    float *a = gaussian(seed, rows * r), *b = gaussian(seed + 1, r * cols);
    float *x = calloc((size_t)(rows * cols), sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < r; k++)
            for (int64_t j = 0; j < cols; j++)
                x[i * cols + j] += a[i * r + k] * b[k * cols + j] / 8;
    free(a);
    free(b);
    return x;
}

#endif
