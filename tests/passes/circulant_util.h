/* Running the circulant pass over small graphs. Failures are cmocka failures. */
#ifndef MC_TESTS_CIRCULANT_UTIL_H
#define MC_TESTS_CIRCULANT_UTIL_H

#include "svd_util.h"

/* As svd_run. */
static inline int circulant_run(struct mc_pass_ctx *ctx, struct mc_model *m, const char *options,
                                json_t **ret, struct mc_err *err)
{
    char text[256];
    snprintf(text, sizeof text, "%s", options);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    const struct mc_pass *pass = mc_pass_find("circulant");
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

/* Blocks of b x b that repeat along their wrapped diagonals, by definition; [m, n], or its transpose. */
static inline struct mc_value *circulant_const(struct mc_graph *g, const char *name, int64_t m,
                                               int64_t n, int64_t taps, int64_t b, bool transposed,
                                               int rank, const int64_t *dims, uint64_t seed)
{
    int64_t q = (n + b - 1) / b, count = (m + b - 1) / b * q * b * taps;
    float *col = gaussian(seed, count), *w = malloc((size_t)(m * n * taps) * sizeof *w);
    assert_non_null(w);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t k = (i % b - j % b + b) % b;
                int64_t at = transposed ? j * m + i : (i * n + j) * taps + t;
                w[at] = 0.3F * col[((i / b * q + j / b) * b + k) * taps + t];
            }
    struct mc_value *v = build_const(g, name, MC_DTYPE_F32, rank, dims, w);
    free(col);
    free(w);
    return v;
}

static inline const json_t *expect_block(const json_t *report, const char *name, int64_t b)
{
    const json_t *row = layer_row(report, name);
    if (strcmp(mc_json_string(row, "action"), "circulant") != 0)
        fail_msg("%s: %s, because %s", name, mc_json_string(row, "action"),
                 mc_json_string(row, "reason"));
    assert_int_equal((int64_t)mc_json_number(row, "block", -1), b);
    return row;
}

#endif
