/* Building quantised models in tests. Failures are cmocka failures. */
#ifndef MC_TESTS_QUANT_UTIL_H
#define MC_TESTS_QUANT_UTIL_H

#include "svd_util.h"

#include "passes/quant/form/quant_build.h"

static inline struct mc_quant_rules quant_rules(void)
{
    return (struct mc_quant_rules){.weight_bits = 8,
                                   .block_bits = 4,
                                   .block = 32,
                                   .act_bits = 8,
                                   .weight_method = MC_QUANT_MINMAX,
                                   .method = MC_QUANT_MINMAX};
}

/* Every site that can have it gets this form; the others stay float. */
static inline struct mc_quant_built quant_all(struct mc_model *m, const struct mc_quant_rules *r,
                                              enum mc_quant_form form, struct mc_quant_sites *sites)
{
    struct mc_err err;
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_quant_built b;
    build_ok(mc_quant_prepare(m, &err), &err);
    build_ok(mc_quant_sites_find(m, r, sites, &err), &err);
    enum mc_quant_form *forms = calloc(sites->n + 1, sizeof *forms);
    assert_non_null(forms);
    for (size_t i = 0; i < sites->n; i++)
        forms[i] = sites->item[i].why[form] ? MC_QUANT_FLOAT : form;
    build_ok(mc_quant_build(&ctx, m, sites, r, NULL, forms, NULL, false, &b, &err), &err);
    free(forms);
    return b;
}

static inline size_t quant_count(const struct mc_graph *g, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += !strcmp(g->nodes[i]->op_type, op);
    return n;
}

/* The largest |a - b| as a share of the largest |b|. */
static inline double quant_distance(const float *a, const float *b, int64_t n)
{
    double d = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        d = fabs((double)a[i] - (double)b[i]) <= d ? d : fabs((double)a[i] - (double)b[i]);
        most = fmax(most, fabs((double)b[i]));
    }
    return d / most;
}

/* What DynamicQuantizeLinear gives, as floats again. */
static inline void quant_dynamic(const float *x, int64_t n, double *ret)
{
    float lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    float scale = (hi - lo) / 255, zero = scale > 0 ? rintf(-lo / scale) : 0;
    for (int64_t i = 0; i < n; i++) {
        float q = scale > 0 ? rintf(x[i] / scale) + zero : 0;
        ret[i] = (double)(fminf(fmaxf(q, 0), 255) - zero) * (double)scale;
    }
}

#endif
