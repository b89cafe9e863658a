#include "graph/run/expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BLOCK = 4096 }; /* elements at a time; even, so that sub-byte elements start at a byte */

static bool is_float(enum mc_dtype d)
{
    return mc_dtype_info(d)->kind == MC_KIND_FLOAT;
}

/* Complex numbers are two floats each. */
static enum mc_dtype part_type(enum mc_dtype d, int *ret_parts)
{
    *ret_parts = d == MC_DTYPE_C64 || d == MC_DTYPE_C128 ? 2 : 1;
    return d == MC_DTYPE_C64 ? MC_DTYPE_F32 : d == MC_DTYPE_C128 ? MC_DTYPE_F64 : d;
}

static bool same_type(enum mc_dtype got, enum mc_dtype want, bool wider)
{
    if (got == want)
        return true;
    bool half = want == MC_DTYPE_F16 || want == MC_DTYPE_BF16;
    return (half && got == MC_DTYPE_F32) || (wider && is_float(got) && is_float(want) &&
                                             mc_dtype_info(got)->bits >= mc_dtype_info(want)->bits);
}

static void outside(struct mc_expected *e, int64_t at, double got, double want)
{
    if (e->outside++)
        return;
    e->first = at;
    e->got = got;
    e->want = want;
}

static void compare_floats(const double *got, const double *want, size_t n, int64_t at, int parts,
                           const struct mc_tolerance *t, struct mc_expected *e)
{
    for (size_t i = 0; i < n; i++) {
        double g = got[i], w = want[i], d = fabs(g - w);
        bool same = isnan(w) ? isnan(g) : isinf(w) ? g == w : d <= t->atol + t->rtol * fabs(w);
        if (isfinite(d)) {
            e->max_abs = fmax(e->max_abs, d);
            e->max_rel = w != 0 ? fmax(e->max_rel, d / fabs(w)) : e->max_rel;
        }
        if (!same)
            outside(e, (at + (int64_t)i) / parts, g, w);
    }
}

static void compare_integers(const int64_t *got, const int64_t *want, size_t n, int64_t at,
                             struct mc_expected *e)
{
    for (size_t i = 0; i < n; i++) {
        if (got[i] == want[i])
            continue;
        double g = (double)got[i], w = (double)want[i], d = fabs(g - w);
        e->max_abs = fmax(e->max_abs, d);
        e->max_rel = w != 0 ? fmax(e->max_rel, d / fabs(w)) : e->max_rel;
        outside(e, at + (int64_t)i, g, w);
    }
}

struct blocks {
    union {
        double f[BLOCK];
        int64_t i[BLOCK];
    } got, want;
};

static int compare_block(const struct mc_array *a, const struct mc_array *b, size_t first, size_t n,
                         struct blocks *x, const struct mc_tolerance *t, struct mc_expected *e,
                         struct mc_err *err)
{
    int parts, wide;
    enum mc_dtype got = part_type(a->dtype, &parts), want = part_type(b->dtype, &wide);
    const char *p = (const char *)a->data + first * mc_dtype_info(got)->bits / 8;
    const char *q = (const char *)b->data + first * mc_dtype_info(want)->bits / 8;
    /* As int64 a uint64 keeps its bits: equality is all that counts. */
    got = got == MC_DTYPE_U64 ? MC_DTYPE_I64 : got;
    want = want == MC_DTYPE_U64 ? MC_DTYPE_I64 : want;
    bool floats = is_float(want);
    int rc = floats ? mc_dtype_to_f64(got, p, x->got.f, n, err)
                    : mc_dtype_to_i64(got, p, x->got.i, n, err);
    if (!rc)
        rc = floats ? mc_dtype_to_f64(want, q, x->want.f, n, err)
                    : mc_dtype_to_i64(want, q, x->want.i, n, err);
    if (!rc && floats)
        compare_floats(x->got.f, x->want.f, n, (int64_t)first, parts, t, e);
    else if (!rc)
        compare_integers(x->got.i, x->want.i, n, (int64_t)first, e);
    return rc;
}

/* What was found of one array after all that was found before. */
static void conclude(struct mc_expected *e, enum mc_expect verdict, const struct mc_array *got,
                     const struct mc_array *want, const char *item)
{
    if (e->verdict != MC_EXPECT_AGREES || verdict == MC_EXPECT_AGREES)
        return;
    e->verdict = verdict;
    e->got_item = got;
    e->want_item = want;
    snprintf(e->item, sizeof e->item, "%s", item);
}

static int expect_tensor(const struct mc_array *got, const struct mc_array *want, const char *item,
                         const struct mc_tolerance *t, struct mc_expected *e, struct mc_err *err)
{
    int64_t before = e->outside;
    int parts, rc = 0;
    if (got->dtype == MC_DTYPE_STRING || want->dtype == MC_DTYPE_STRING)
        return mc_fail(err, MC_EUNSUP, "output '%s' holds strings, which are not compared",
                       want->name);
    if (!same_type(got->dtype, want->dtype, t->wider) ||
        !mc_shape_equal(&got->shape, &want->shape)) {
        bool type = same_type(got->dtype, want->dtype, t->wider);
        conclude(e, type ? MC_EXPECT_SHAPE : MC_EXPECT_DTYPE, got, want, item);
        return 0;
    }
    struct blocks *x = mc_calloc(1, sizeof *x);
    if (!x)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    part_type(want->dtype, &parts);
    int64_t elements = mc_shape_count(&want->shape);
    size_t n = (size_t)elements * (size_t)parts;
    for (size_t i = 0; !rc && i < n; i += BLOCK)
        rc = compare_block(got, want, i, n - i < BLOCK ? n - i : BLOCK, x, t, e, err);
    free(x);
    e->elements += elements;
    conclude(e, e->outside > before ? MC_EXPECT_VALUES : MC_EXPECT_AGREES, got, want, item);
    return rc;
}

static int expect_any(const struct mc_array *got, const struct mc_array *want, const char *item,
                      const struct mc_tolerance *t, struct mc_expected *e, struct mc_err *err)
{
    char inner[MC_EXPECT_ITEM];
    const struct mc_array *a = got->data, *b = want->data;
    if (!mc_array_is_list(got) && !mc_array_is_list(want))
        return expect_tensor(got, want, item, t, e, err);
    if (got->dtype != want->dtype || !mc_shape_equal(&got->shape, &want->shape)) {
        conclude(e, got->dtype != want->dtype ? MC_EXPECT_DTYPE : MC_EXPECT_SHAPE, got, want, item);
        return 0;
    }
    int rc = 0;
    for (size_t i = 0; i < mc_array_n_items(want) && !rc; i++) {
        int n = snprintf(inner, sizeof inner, "%s[%zu]", item, i);
        rc = expect_any(&a[i], &b[i], n < MC_EXPECT_ITEM ? inner : item, t, e, err);
    }
    return rc;
}

int mc_expect(const struct mc_array *got, const struct mc_array *want, const struct mc_tolerance *t,
              struct mc_expected *ret, struct mc_err *err)
{
    struct mc_expected e = {.first = -1, .got_item = got, .want_item = want};
    int rc = expect_any(got, want, "", t, &e, err);
    if (!rc)
        *ret = e;
    return rc;
}
