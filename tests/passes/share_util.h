/* Running the share pass over small graphs. Failures are cmocka failures. */
#ifndef MC_TESTS_SHARE_UTIL_H
#define MC_TESTS_SHARE_UTIL_H

#include "svd_util.h"

/* Like svd_run. */
static inline int share(struct mc_pass_ctx *ctx, struct mc_model *m, const char *options,
                        json_t **ret, struct mc_err *err)
{
    char text[256];
    snprintf(text, sizeof text, "%s", options);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    const struct mc_pass *pass = mc_pass_find("share");
    build_ok(mc_param_validate(pass->params, o, "test", err), err);
    *ret = NULL;
    int rc = pass->run(ctx, o, m, ret, err);
    json_decref(o);
    if (rc == 0 || rc == MC_EGATE)
        build_ok(mc_verify(m, err), err);
    return rc;
}

/* Numbers like their neighbours. */
static inline float *walk(uint64_t seed, int64_t n)
{
    float *x = gaussian(seed, n);
    for (int64_t i = 1; i < n; i++)
        x[i] = 0.9F * x[i - 1] + 0.4F * x[i];
    return x;
}

static inline double change(struct mc_model *a, struct mc_model *b, int rank, const int64_t *dims)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    float *x = walk(11, mc_shape_count(&s));
    int64_t n;
    float *u = output_of(a, rank, dims, x, &n), *v = output_of(b, rank, dims, x, &n);
    double d = relative(u, v, n);
    free(x);
    free(u);
    free(v);
    return d;
}

static inline struct mc_model *clone_of(const struct mc_model *m)
{
    struct mc_model *c;
    assert_int_equal(mc_model_clone(m, &c, NULL), 0);
    return c;
}

#endif
