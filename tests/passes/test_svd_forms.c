/* A weight of exact rank 3 factorised at rank 3 leaves every output as it was, whatever the node looks
 * like and whatever the error is measured in. */
#include "svd_util.h"

enum { RANK = 3, IN = 18, OUT = 14 };

struct form {
    const char *name, *op;
    int trans_b, bias; /* bias: 0 none, 1 one per output, 2 a single number, 3 in an Add */
    float alpha, beta;
    int64_t stride, dilation, pad, pad_end, kernel; /* kernel > 0: a convolution */
    int spatial;
    const char *auto_pad;
    bool shifts; /* the bias can take up a mean error */
};

static const struct form forms[] = {
    {.name = "matmul", .op = "MatMul"},
    {.name = "matmul_add", .op = "MatMul", .bias = 3, .shifts = true},
    {.name = "gemm", .op = "Gemm", .alpha = 1, .beta = 1, .bias = 1, .shifts = true},
    {.name = "gemm_trans",
     .op = "Gemm",
     .alpha = 1,
     .beta = 1,
     .trans_b = 1,
     .bias = 1,
     .shifts = true},
    {.name = "gemm_scaled",
     .op = "Gemm",
     .alpha = -0.5f,
     .beta = 3,
     .trans_b = 1,
     .bias = 1,
     .shifts = true},
    {.name = "gemm_one", .op = "Gemm", .alpha = 2, .beta = 0.5f, .bias = 2, .shifts = true},
    {.name = "gemm_bare", .op = "Gemm", .alpha = 1, .beta = 1, .shifts = true},
    {.name = "gemm_muted", .op = "Gemm", .alpha = 1, .beta = 0, .bias = 1, .shifts = true},
    {.name = "conv",
     .op = "Conv",
     .kernel = 3,
     .stride = 1,
     .dilation = 1,
     .pad = 1,
     .pad_end = 1,
     .spatial = 2,
     .bias = 1,
     .shifts = true},
    {.name = "conv_bare",
     .op = "Conv",
     .kernel = 3,
     .stride = 2,
     .dilation = 1,
     .pad = 0,
     .pad_end = 1,
     .spatial = 2,
     .shifts = true},
    {.name = "conv_wide",
     .op = "Conv",
     .kernel = 3,
     .stride = 1,
     .dilation = 2,
     .pad = 2,
     .pad_end = 0,
     .spatial = 2,
     .bias = 1,
     .shifts = true},
    {.name = "conv_same",
     .op = "Conv",
     .kernel = 4,
     .stride = 2,
     .dilation = 1,
     .spatial = 2,
     .auto_pad = "SAME_UPPER",
     .bias = 1,
     .shifts = true},
    {.name = "conv_1d",
     .op = "Conv",
     .kernel = 5,
     .stride = 2,
     .dilation = 1,
     .pad = 2,
     .pad_end = 2,
     .spatial = 1,
     .bias = 1,
     .shifts = true},
    {.name = "conv_3d",
     .op = "Conv",
     .kernel = 2,
     .stride = 1,
     .dilation = 1,
     .pad = 1,
     .pad_end = 0,
     .spatial = 3,
     .shifts = true},
    {.name = "pointwise",
     .op = "Conv",
     .kernel = 1,
     .stride = 2,
     .dilation = 1,
     .spatial = 2,
     .bias = 1,
     .shifts = true},
};
enum { FORMS = sizeof forms / sizeof *forms };

static struct mc_err err;

static struct mc_value *weight_of(struct mc_graph *g, const struct form *f, enum mc_dtype dtype)
{
    int64_t k = f->kernel, cols = IN, dims[5] = {OUT, 8};
    int rank = 2;
    if (k) {
        cols = 8;
        for (int i = 0; i < f->spatial; i++, rank++) {
            dims[rank] = k;
            cols *= k;
        }
    } else if (f->trans_b) {
        dims[0] = OUT;
        dims[1] = IN;
    } else {
        dims[0] = IN;
        dims[1] = OUT;
    }
    bool out_first = k || f->trans_b;
    float *w = of_rank(11, out_first ? OUT : IN, out_first ? cols : OUT, RANK);
    uint16_t *half = calloc((size_t)(OUT * cols), sizeof *half);
    assert_non_null(half);
    if (dtype == MC_DTYPE_F16)
        assert_int_equal(mc_dtype_from_f32(dtype, w, half, (size_t)(OUT * cols), NULL), 0);
    struct mc_value *v =
        build_const(g, "w", dtype, rank, dims, dtype == MC_DTYPE_F16 ? (void *)half : (void *)w);
    free(half);
    free(w);
    return v;
}

static void set_window(struct mc_node *n, const struct form *f)
{
    int64_t v[6];
    const int64_t one[] = {f->kernel, f->stride, f->dilation};
    const char *const names[] = {"kernel_shape", "strides", "dilations"};
    for (int a = 0; a < 3; a++) {
        for (int i = 0; i < f->spatial; i++)
            v[i] = one[a];
        build_ok(mc_edit_attr_ints(n, names[a], v, (size_t)f->spatial, &err), &err);
    }
    for (int i = 0; i < f->spatial; i++) {
        v[i] = f->pad;
        v[f->spatial + i] = f->pad_end;
    }
    if (f->auto_pad)
        build_ok(mc_edit_attr_string(n, "auto_pad", f->auto_pad, &err), &err);
    else
        build_ok(mc_edit_attr_ints(n, "pads", v, 2 * (size_t)f->spatial, &err), &err);
}

/* x -> node -> y; the shape of one sample goes to sample[1..rank). */
static struct mc_model *model_of(const struct form *f, int *ret_rank, int64_t sample[5])
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    *ret_rank = 2;
    sample[0] = -1;
    sample[1] = f->kernel ? 8 : IN;
    for (int i = 0; i < (f->kernel ? f->spatial : 0); i++)
        sample[(*ret_rank)++] = f->spatial == 3 ? 3 : 7;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, *ret_rank, sample);
    struct mc_value *in[3] = {x, weight_of(g, f, MC_DTYPE_F32), NULL};
    int64_t m1 = f->bias == 2 ? 1 : OUT;
    struct mc_value *b = f->bias ? random_const(g, "b", 1, &m1, 5) : NULL;
    in[2] = f->bias == 3 ? NULL : b;
    struct mc_node *n;
    struct mc_value *y = build_node(g, f->op, "layer", in[2] ? 3 : 2, in, &n);
    if (f->kernel)
        set_window(n, f);
    if (!strcmp(f->op, "Gemm")) {
        build_ok(mc_edit_attr_int(n, "transB", f->trans_b, &err), &err);
        build_ok(mc_edit_attr_float(n, "alpha", f->alpha, &err), &err);
        build_ok(mc_edit_attr_float(n, "beta", f->beta, &err), &err);
    }
    build_output(g, f->bias == 3 ? build_binary(g, "Add", "sum", b, y) : y);
    return m;
}

static void nothing_changes(const struct form *f, const char *options, bool calibrate)
{
    int rank;
    int64_t dims[5], n, n2, row = 1;
    struct mc_model *m = model_of(f, &rank, dims);
    for (int i = 1; i < rank; i++)
        row *= dims[i];
    float *x = gaussian(3, SAMPLES * row);
    for (int64_t i = 0; i < SAMPLES * row; i++)
        x[i] += 0.5f; /* a mean that is not zero */
    struct memory_data data;
    struct mc_pass_ctx ctx =
        svd_ctx(calibrate ? memory_open(&data, "x", SAMPLES, rank - 1, dims + 1, x, NULL) : NULL);
    dims[0] = 9;
    float *want = output_of(m, rank, dims, x, &n);
    json_t *report;
    build_ok(svd_run(&ctx, m, options, &report, &err), &err);
    expect_rank(report, "layer", RANK);
    /* The randomised one knows what is left only by a difference of norms: sqrt of float's rounding. */
    assert_true(mc_json_number(layer_row(report, "layer"), "error", 1) < 1e-3);
    float *got = output_of(m, rank, dims, x, &n2);
    assert_int_equal(n, n2);
    double e = sqrt(relative(want, got, n));
    if (!(e < 1e-5))
        fail_msg("%s, %s: outputs differ by %g", f->name, options, e);
    json_decref(report);
    free(x);
    free(want);
    free(got);
    mc_model_free(m);
}

static void every_form(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        nothing_changes(&forms[i], "{'rank': 3}", false);
        nothing_changes(&forms[i], "{'rank': 3, 'svd': 'random'}", false);
        nothing_changes(&forms[i], "{'rank': 3, 'norm': 'inputs'}", true);
        nothing_changes(&forms[i], "{'rank': 3, 'norm': 'outputs'}", true);
    }
}

/* Truncated below its rank, a layer whose bias can shift has no mean error left on the calibration samples;
 * the others have. */
static void bias_takes_up_the_mean(void **state)
{
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        const struct form *f = &forms[i];
        int rank;
        int64_t dims[5], n, n2, row = 1;
        struct mc_model *m = model_of(f, &rank, dims);
        for (int k = 1; k < rank; k++)
            row *= dims[k];
        float *x = gaussian(4, SAMPLES * row);
        for (int64_t k = 0; k < SAMPLES * row; k++)
            x[k] = 0.3f * x[k] + 1;
        struct memory_data data;
        struct mc_pass_ctx ctx =
            svd_ctx(memory_open(&data, "x", SAMPLES, rank - 1, dims + 1, x, NULL));
        dims[0] = SAMPLES;
        float *want = output_of(m, rank, dims, x, &n);
        json_t *report;
        build_ok(svd_run(&ctx, m, "{'rank': 1, 'norm': 'inputs'}", &report, &err), &err);
        float *got = output_of(m, rank, dims, x, &n2);
        /* channel by channel */
        int64_t inner = f->kernel ? n / SAMPLES / OUT : 1;
        double worst = 0, scale = sqrt(relative(want, got, n));
        double sum[OUT] = {0}, size = 0;
        for (int64_t k = 0; k < n; k++) {
            sum[k / inner % OUT] += (double)got[k] - want[k];
            size += (double)want[k] * want[k];
        }
        for (int c = 0; c < OUT; c++)
            worst = fmax(worst, fabs(sum[c]) / ((double)n / OUT));
        worst /= sqrt(size / (double)n);
        assert_true(scale > 0.02);
        if (f->shifts != (worst < 1e-4))
            fail_msg("%s: mean error %g of %g", f->name, worst, scale);
        json_decref(report);
        free(x);
        free(want);
        free(got);
        mc_model_free(m);
    }
}

/* Half precision stays half precision, and the factors' norms are balanced. */
static void dtype_is_kept(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 2, DIMS(-1, IN));
    build_output(g, build_binary(g, "MatMul", "layer", x, weight_of(g, &forms[0], MC_DTYPE_F16)));
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    json_t *report;
    build_ok(svd_run(&ctx, m, "{'rank': 3}", &report, &err), &err);
    assert_int_equal(g->n_inits, 2);
    double norm[2][RANK] = {{0}};
    for (int i = 0; i < 2; i++) {
        float *w;
        int64_t n;
        assert_int_equal(g->inits[i]->tensor->dtype, MC_DTYPE_F16);
        build_ok(mc_constant_f32(g->inits[i], &w, &n, &err), &err);
        bool first = g->inits[i]->tensor->shape.dim[0] == IN;
        for (int64_t k = 0; k < n; k++)
            norm[i][first ? k % RANK : k / OUT] += (double)w[k] * w[k];
        free(w);
    }
    for (int k = 0; k < RANK; k++)
        assert_true(fabs(norm[0][k] / norm[1][k] - 1) < 0.01);
    json_decref(report);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form),
        cmocka_unit_test(bias_takes_up_the_mean),
        cmocka_unit_test(dtype_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
