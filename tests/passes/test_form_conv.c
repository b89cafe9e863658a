/* Every form of a convolution, against the convolution with its factors multiplied out. */
#include "conv_forms.h"

static struct mc_err err;

static const char *const all_forms[] = {"",       "input",    "spatial", "spatial-row",
                                        "tucker", "separable"};
enum { N_FORMS = sizeof all_forms / sizeof *all_forms };

/* ---- errors ---- */

/* tr((W-V)ᵀ G (W-V) C) = ‖Lᵀ (W-V) K‖², straight from the definition. */
static double error_of(const struct mc_svd_norm *norm, const float *w, const float *v, int64_t m,
                       int64_t n)
{
    double sum = 0;
    double *d = calloc((size_t)(m * n), sizeof *d), *e = calloc((size_t)(m * n), sizeof *e);
    assert_true(d && e);
    for (int64_t i = 0; i < m * n; i++)
        d[i] = (double)w[i] - v[i];
    for (int64_t o = 0; o < m; o++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = norm->out ? 0 : o; k < (norm->out ? m : o + 1); k++)
                e[o * n + j] += (norm->out ? norm->out[k * m + o] : 1) * d[k * n + j];
    for (int64_t o = 0; o < m; o++)
        for (int64_t j = 0; j < n; j++) {
            double x = 0;
            for (int64_t k = norm->in ? 0 : j; k < (norm->in ? n : j + 1); k++)
                x += e[o * n + k] * (norm->in ? norm->in[k * n + j] : 1);
            sum += x * x;
        }
    free(d);
    free(e);
    return sum;
}

static uint64_t constants(const struct mc_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        n += m->graph->inits[i]->tensor->bytes;
    return n;
}

/* On the samples that it was calibrated with a model that may shift has no mean error left. */
static void check_mean(struct mc_model *before, struct mc_model *after, const struct conv_case *c,
                       const float *x)
{
    int64_t n, n2, dims[5] = {SAMPLES, c->c};
    memcpy(dims + 2, c->size, 3 * sizeof *dims);
    float *want = output_of(before, 2 + c->axes, dims, x, &n);
    float *got = output_of(after, 2 + c->axes, dims, x, &n2);
    assert_int_equal(n, SAMPLES * c->m);
    assert_int_equal(n2, n);
    double size = 0;
    for (int64_t i = 0; i < n; i++)
        size += (double)want[i] * want[i] / (double)n;
    for (int64_t o = 0; o < c->m; o++) {
        double mean = 0;
        for (int64_t i = 0; i < SAMPLES; i++)
            mean += ((double)got[i * c->m + o] - want[i * c->m + o]) / SAMPLES;
        if (!(fabs(mean) <= 1e-4 * sqrt(size)))
            fail_msg("%s: output %lld is off by %g on the average, of %g", c->name, (long long)o,
                     mean, sqrt(size));
    }
    free(want);
    free(got);
}

/* What a point says of itself is what the model has. */
static void check_point(struct conv_run *t, const struct conv_case *c, const float *w,
                        const float *x, const struct mc_svd_curve *curve,
                        const struct mc_svd_point *p)
{
    struct mc_svd_norm norm;
    struct mc_svd_norm_hold hold;
    char label[MC_SVD_LABEL];
    struct mc_model *m = conv_place(t, curve, p, false, &err);
    struct mc_model *sizes = conv_place(t, curve, p, true, &err);
    float *v = conv_dense(m, c);
    if (t->r.norm_kind != MC_SVD_NORM_WEIGHTS)
        check_mean(t->r.model, m, c, x);
    build_ok(mc_svd_norm_of(&t->r, 0, &norm, &hold, &err), &err);
    int64_t n = conv_columns(c);
    double total = 0, e = error_of(&norm, w, v, c->m, n) * mc_svd_run_scale(&t->r, 0);
    build_ok(mc_svd_run_total(&t->r, 0, &total, &err), &err);
    if (!(fabs(e - p->error) <= 2e-3 * p->error + 3e-6 * total))
        fail_msg("%s, %s: error %g, measured %g, of %g", c->name,
                 mc_svd_label(curve->form, p, label), p->error, e, total);
    /* a shift makes a bias of what had none */
    uint64_t bytes = constants(m) - (t->r.norm_kind == MC_SVD_NORM_WEIGHTS ? 0 : 4 * (size_t)c->m);
    assert_int_equal(bytes, p->bytes);
    assert_int_equal(constants(sizes), constants(m));
    assert_int_equal(sizes->graph->n_nodes, m->graph->n_nodes);
    mc_svd_norm_free(&hold);
    free(v);
    mc_model_free(m);
    mc_model_free(sizes);
}

static void check_curve(struct conv_run *t, const struct conv_case *c, const float *w,
                        const float *x, const struct mc_svd_curve *curve)
{
    uint64_t whole = (uint64_t)(c->m * conv_columns(c)) * 4;
    assert_true(curve->complete);
    for (size_t i = 0; i < curve->n; i++) {
        assert_true(curve->point[i].bytes < whole);
        if (i)
            assert_true(curve->point[i].bytes > curve->point[i - 1].bytes &&
                        curve->point[i].error <= curve->point[i - 1].error);
        if (i % 4 == 0 || i + 1 == curve->n)
            check_point(t, c, w, x, curve, &curve->point[i]);
    }
}

/* Samples with a mean, and channels and neighbours that go together. */
static float *samples(uint64_t seed, int64_t n, int64_t row)
{
    float *x = gaussian(seed, n * row);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 1; j < row; j++)
            x[i * row + j] = 0.6f * x[i * row + j - 1] + x[i * row + j] + 0.2f;
    return x;
}

static void errors_are_those_of_what_is_written(void **state)
{
    (void)state;
    static const struct conv_case cases[] = {
        {.name = "plain", .axes = 2, .m = 12, .c = 8, .kernel = {3, 3}},
        {.name = "long", .axes = 2, .m = 6, .c = 10, .kernel = {2, 5}},
        {.name = "one channel", .axes = 2, .m = 16, .c = 1, .kernel = {5, 5}},
        {.name = "1d", .axes = 1, .m = 12, .c = 9, .kernel = {4}},
        {.name = "3d", .axes = 3, .m = 7, .c = 5, .kernel = {2, 3, 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int norm = MC_SVD_NORM_WEIGHTS; norm <= MC_SVD_NORM_OUTPUTS; norm++) {
            struct conv_case c = conv_bare(&cases[i]);
            int64_t n = conv_columns(&c);
            float *w = gaussian(20 + i, c.m * n), *x = samples(3, SAMPLES, n);
            int64_t dims[4] = {c.c};
            memcpy(dims + 1, c.size, 3 * sizeof *dims);
            struct memory_data data;
            struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 1 + c.axes, dims, x, NULL);
            struct mc_model *m = conv_model(&c, w, &err);
            struct conv_run t;
            conv_open(&t, m, norm == MC_SVD_NORM_WEIGHTS ? NULL : calib, norm, &err);
            for (size_t k = 0; k < t.r.item[0].n_curves; k++)
                check_curve(&t, &c, w, x, &t.r.item[0].curve[k]);
            conv_close(&t);
            mc_model_free(m);
            free(w);
            free(x);
        }
}

/* ---- exact structure ---- */

/* W [m, c, k, l] that the form has at these ranks. */
static float *structured(const char *form, int64_t m, int64_t c, int64_t k, int64_t l, int64_t r,
                         int64_t s)
{
    float *a = gaussian(31, 4096), *b = gaussian(32, 4096), *d = gaussian(33, 4096);
    float *w = calloc((size_t)(m * c * k * l), sizeof *w);
    assert_non_null(w);
    for (int64_t o = 0; o < m; o++)
        for (int64_t ch = 0; ch < c; ch++)
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < l; j++)
                    for (int64_t q = 0; q < r; q++) {
                        double x = 0;
                        if (!strcmp(form, "spatial"))
                            x = a[(q * c + ch) * k + i] * b[(o * r + q) * l + j];
                        else if (!strcmp(form, "spatial-row"))
                            x = a[(q * c + ch) * l + j] * b[(o * r + q) * k + i];
                        else if (!strcmp(form, "input"))
                            x = a[q * c + ch] * b[((o * r + q) * k + i) * l + j];
                        else if (!strcmp(form, "separable"))
                            x = a[((q * c + ch) * k + i) * l + j] * b[(o * r + q) * c + ch];
                        else
                            for (int64_t p = 0; p < s; p++)
                                x +=
                                    a[q * c + ch] * b[((p * r + q) * k + i) * l + j] * d[o * s + p];
                        w[((o * c + ch) * k + i) * l + j] += (float)x;
                    }
    free(a);
    free(b);
    free(d);
    return w;
}

static void structure_is_found(void **state)
{
    (void)state;
    for (int f = 1; f < N_FORMS; f++)
        for (int norm = MC_SVD_NORM_WEIGHTS; norm <= MC_SVD_NORM_INPUTS; norm++) {
            bool tucker = !strcmp(all_forms[f], "tucker"), sep = !strcmp(all_forms[f], "separable");
            int64_t r = sep ? 1 : 3, s = tucker ? 4 : 0;
            struct conv_case c = {.name = all_forms[f], .axes = 2, .m = 12, .c = 10};
            c.kernel[0] = c.size[0] = 3;
            c.kernel[1] = c.size[1] = 4;
            float *w = structured(all_forms[f], c.m, c.c, 3, 4, r, s);
            float *x = samples(5, SAMPLES, conv_columns(&c));
            struct memory_data data;
            struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 3, DIMS(10, 3, 4), x, NULL);
            struct mc_model *m = conv_model(&c, w, &err);
            struct conv_run t;
            conv_open(&t, m, norm == MC_SVD_NORM_WEIGHTS ? NULL : calib, norm, &err);
            const struct mc_svd_curve *curve = conv_curve(&t, all_forms[f]);
            const struct mc_svd_point *at = NULL;
            for (size_t i = 0; i < curve->n; i++)
                if (curve->point[i].rank[0] == r && curve->point[i].rank[1] == s)
                    at = &curve->point[i];
            assert_non_null(at);
            if (!(at->error <= 1e-5 * t.r.item[0].total))
                fail_msg("%s: error %g of %g is left", c.name, at->error, t.r.item[0].total);
            struct mc_model *done = conv_place(&t, curve, at, false, &err);
            float *v = conv_dense(done, &c);
            double e = sqrt(relative(w, v, c.m * conv_columns(&c)));
            if (!(e <= (norm == MC_SVD_NORM_WEIGHTS ? 1e-5 : 1e-3)))
                fail_msg("%s: weights differ by %g", c.name, e);
            /* no other form is as small */
            const struct mc_svd_curve *least;
            const struct mc_svd_point *point;
            assert_true(mc_svd_item_least(&t.r.item[0], 1e-4, &least, &point));
            assert_string_equal(least->form->name, all_forms[f]);
            free(v);
            mc_model_free(done);
            conv_close(&t);
            mc_model_free(m);
            free(w);
            free(x);
        }
}

/* A curve that was asked for less is the beginning of one that was asked for all. */
static void points_do_not_depend_on_what_was_wanted(void **state)
{
    (void)state;
    struct conv_case c = {.name = "prefix", .axes = 2, .m = 24, .c = 16};
    c.kernel[0] = c.size[0] = c.kernel[1] = c.size[1] = 3;
    int64_t n = conv_columns(&c);
    float *w = gaussian(41, c.m * n), *x = samples(42, SAMPLES, n);
    struct memory_data data;
    struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 3, DIMS(16, 3, 3), x, NULL);
    struct mc_model *m = conv_model(&c, w, &err);
    struct conv_run t;
    conv_open(&t, m, calib, MC_SVD_NORM_INPUTS, &err);
    const struct mc_svd_item *it = &t.r.item[0];
    for (size_t k = 0; k < it->n_curves; k++)
        for (double want = 0.1; want < 1; want += 0.17) {
            const struct mc_svd_curve *all = &it->curve[k];
            struct mc_svd_curve some = {.form = all->form};
            build_ok(some.form->analyse(&t.r, it, want, &some, &err), &err);
            if (*all->form->name)
                assert_false(some.complete);
            for (size_t i = 0; i < some.n; i++) {
                assert_int_equal(some.point[i].rank[0], all->point[i].rank[0]);
                assert_int_equal(some.point[i].rank[1], all->point[i].rank[1]);
                assert_true(some.point[i].error == all->point[i].error);
            }
            if (*all->form->name && some.n < all->n)
                assert_true((double)all->point[some.n].bytes > 0.9 * want * (double)it->bytes);
            free(some.point);
            some.form->release(some.state);
        }
    conv_close(&t);
    mc_model_free(m);
    free(w);
    free(x);
}

/* ---- windows ---- */

/* The same points of a model with a window and of one without have the same factors: these give W', and that the
 * dense convolution to compare with. */
static void compare_window(const struct conv_case *c, size_t curve, uint64_t seed)
{
    struct conv_case bare = conv_bare(c);
    int64_t n = conv_columns(c), count, count2, dims[5] = {3, c->c}, all = 3 * c->c;
    memcpy(dims + 2, c->size, 3 * sizeof *dims);
    for (int i = 0; i < c->axes; i++)
        all *= c->size[i];
    float *w = gaussian(seed, c->m * n), *x = gaussian(seed + 1, all);
    struct mc_model *m = conv_model(c, w, &err), *small = conv_model(&bare, w, &err);
    struct conv_run t, u;
    conv_open(&t, m, NULL, MC_SVD_NORM_WEIGHTS, &err);
    conv_open(&u, small, NULL, MC_SVD_NORM_WEIGHTS, &err);
    const struct mc_svd_curve *a = &t.r.item[0].curve[curve], *b = &u.r.item[0].curve[curve];
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i += 5) {
        struct mc_model *done = conv_place(&t, a, &a->point[i], false, &err);
        struct mc_model *product = conv_place(&u, b, &b->point[i], false, &err);
        float *v = conv_dense(product, &bare);
        struct mc_model *dense = conv_model(c, v, &err);
        float *want = output_of(dense, 2 + c->axes, dims, x, &count);
        float *got = output_of(done, 2 + c->axes, dims, x, &count2);
        assert_int_equal(count, count2);
        double e = sqrt(relative(want, got, count));
        char label[MC_SVD_LABEL];
        if (!(e < (c->half ? 3e-3 : 1e-5)))
            fail_msg("%s, %s: outputs differ by %g", c->name,
                     mc_svd_label(a->form, &a->point[i], label), e);
        free(v);
        free(want);
        free(got);
        mc_model_free(done);
        mc_model_free(product);
        mc_model_free(dense);
    }
    conv_close(&t);
    conv_close(&u);
    mc_model_free(m);
    mc_model_free(small);
    free(w);
    free(x);
}

static uint64_t next(uint64_t *seed, uint64_t below)
{
    return mc_rng_below(9, 1, (*seed)++, (uint32_t)below);
}

static void windows_are_kept(void **state)
{
    (void)state;
    static const char *const auto_pads[] = {NULL, NULL, "SAME_UPPER", "SAME_LOWER", "VALID"};
    uint64_t seed = 1;
    for (int round = 0; round < 24; round++) {
        struct conv_case c = {.name = "random", .m = 9, .c = 6};
        c.axes = round % 4 == 0 ? 1 : round % 4 == 1 ? 3 : 2;
        for (int i = 0; i < c.axes; i++) {
            c.kernel[i] = 2 + (int64_t)next(&seed, 3);
            c.stride[i] = 1 + (int64_t)next(&seed, 3);
            c.dilation[i] = 1 + (int64_t)next(&seed, 2);
            c.pad[i] = (int64_t)next(&seed, 3);
            c.pad[c.axes + i] = (int64_t)next(&seed, 3);
            c.size[i] = 7 + (int64_t)next(&seed, 4);
        }
        c.auto_pad = auto_pads[next(&seed, 5)];
        c.half = round % 8 == 7;
        c.bias = !c.half && next(&seed, 2);
        c.tied = next(&seed, 3) == 0;
        c.constant = next(&seed, 3) == 0;
        if (round % 6 == 5) {
            c.group = 3;
            compare_window(&c, 0, seed);
            continue;
        }
        for (size_t f = 1; f < (c.axes == 1 ? 4 : 6); f++)
            compare_window(&c, f, seed);
    }
}

/* ---- groups ---- */

static double error_of_parts(struct conv_run *t, const struct conv_case *c, const float *w,
                             const float *v)
{
    int64_t n = conv_columns(c), m = c->m / c->group;
    double sum = 0;
    for (int64_t p = 0; p < c->group; p++) {
        struct mc_svd_norm norm;
        struct mc_svd_norm_hold hold;
        build_ok(mc_svd_norm_of_part(&t->r, 0, p, &norm, &hold, &err), &err);
        sum += error_of(&norm, w + p * m * n, v + p * m * n, m, n);
        mc_svd_norm_free(&hold);
    }
    return sum;
}

static void groups_are_factorised_one_by_one(void **state)
{
    (void)state;
    enum { M = 18, C = 12, GROUPS = 3, RANK = 2 };
    struct conv_case c = {.name = "grouped", .axes = 2, .m = M, .c = C, .group = GROUPS};
    c.kernel[0] = c.size[0] = 3;
    c.kernel[1] = c.size[1] = 2;
    int64_t n = conv_columns(&c), m = M / GROUPS;
    float *w = calloc((size_t)(M * n), sizeof *w), *zero = calloc((size_t)(M * n), sizeof *w);
    assert_true(w && zero);
    for (int exact = 0; exact < 2; exact++)
        for (int norm = MC_SVD_NORM_WEIGHTS; norm <= MC_SVD_NORM_OUTPUTS; norm++) {
            for (uint64_t p = 0; p < GROUPS; p++) {
                float *part = exact ? of_rank(50 + p, m, n, RANK) : gaussian(60 + p, m * n);
                memcpy(w + (int64_t)p * m * n, part, (size_t)(m * n) * sizeof *w);
                free(part);
            }
            float *x = samples(70, SAMPLES, n * GROUPS);
            struct memory_data data;
            struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 3, DIMS(C, 3, 2), x, NULL);
            struct mc_model *model = conv_model(&c, w, &err);
            struct conv_run t;
            conv_open(&t, model, norm == MC_SVD_NORM_WEIGHTS ? NULL : calib, norm, &err);
            const struct mc_svd_item *it = &t.r.item[0];
            assert_int_equal(it->n_curves, 1);
            const struct mc_svd_curve *curve = &it->curve[0];
            assert_true(curve->n >= RANK);
            double scale = mc_svd_run_scale(&t.r, 0);
            double total = error_of_parts(&t, &c, w, zero) * scale;
            assert_true(fabs(total / it->total - 1) < 1e-4);
            for (size_t i = 0; i < curve->n; i++) {
                struct mc_model *done = conv_place(&t, curve, &curve->point[i], false, &err);
                float *v = conv_dense(done, &c);
                double e = error_of_parts(&t, &c, w, v) * scale;
                if (norm != MC_SVD_NORM_WEIGHTS)
                    check_mean(model, done, &c, x);
                if (!(fabs(e - curve->point[i].error) <= 1e-3 * e + 1e-6 * total))
                    fail_msg("rank %zu: error %g, measured %g", i + 1, curve->point[i].error, e);
                if (exact && i + 1 == RANK)
                    assert_true(e <= 1e-6 * total);
                assert_int_equal(curve->point[i].bytes, 4 * (i + 1) * (size_t)(GROUPS * n + M));
                assert_true(curve->point[i].macs == (double)((i + 1) * (size_t)(GROUPS * n + M)));
                free(v);
                mc_model_free(done);
            }
            conv_close(&t);
            mc_model_free(model);
            free(x);
        }
    free(w);
    free(zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_those_of_what_is_written),
        cmocka_unit_test(structure_is_found),
        cmocka_unit_test(points_do_not_depend_on_what_was_wanted),
        cmocka_unit_test(windows_are_kept),
        cmocka_unit_test(groups_are_factorised_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
