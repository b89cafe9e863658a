/* LSTM, GRU and RNN of integers, in all directions: weights against weights rounded here, dynamic forms against a step by step
 * computation in double, and the two dynamic forms of an LSTM against each other. The seed is printed; --seed N. */
#include "quant_util.h"

#include "base/rng.h"

enum { MAX_GATES = 4 };

static struct mc_err err;
static uint64_t seed = 1;

struct shape {
    int gates, dirs, hidden, input, steps, batch;
    bool reverse, reset_after, bias, state;
};

static const char *op_of(const struct shape *s)
{
    return s->gates == 4 ? "LSTM" : s->gates == 3 ? "GRU" : "RNN";
}

struct numbers {
    float *x, *w, *r, *b, *h, *c; /* as ONNX has them */
};

static float *draw(uint64_t *at, int64_t n, float scale)
{
    float *v = gaussian(++*at, n);
    for (int64_t i = 0; i < n; i++)
        v[i] *= scale;
    return v;
}

static struct numbers numbers_of(const struct shape *s)
{
    uint64_t at = seed * 1000;
    int64_t rows = (int64_t)s->gates * s->hidden, states = (int64_t)s->dirs * s->batch * s->hidden;
    struct numbers n;
    n.x = draw(&at, (int64_t)s->steps * s->batch * s->input, 1);
    n.w = draw(&at, s->dirs * rows * s->input, 1 / sqrtf((float)s->input));
    n.r = draw(&at, s->dirs * rows * s->hidden, 0.7f / sqrtf((float)s->hidden));
    n.b = draw(&at, s->dirs * 2 * rows, 0.3f);
    n.h = draw(&at, states, 0.3f);
    n.c = draw(&at, states, 0.5f);
    return n;
}

static void numbers_free(struct numbers *n)
{
    free(n->x);
    free(n->w);
    free(n->r);
    free(n->b);
    free(n->h);
    free(n->c);
}

static struct mc_model *model_of(const struct shape *s, const struct numbers *v)
{
    struct mc_model *m = build_model(14);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    int rows = s->gates * s->hidden;
    struct mc_value *in[7] = {build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, -3, s->input)),
                              f32_const(g, "W", 3, DIMS(s->dirs, rows, s->input), v->w),
                              f32_const(g, "R", 3, DIMS(s->dirs, rows, s->hidden), v->r)};
    if (s->bias)
        in[3] = f32_const(g, "B", 2, DIMS(s->dirs, 2 * rows), v->b);
    if (s->state)
        in[5] = f32_const(g, "H", 3, DIMS(s->dirs, s->batch, s->hidden), v->h);
    if (s->state && s->gates == 4)
        in[6] = f32_const(g, "C", 3, DIMS(s->dirs, s->batch, s->hidden), v->c);
    struct mc_value *out[3] = {mc_edit_fresh(g, "Y"), mc_edit_fresh(g, "Yh"), NULL};
    if (s->gates == 4)
        out[2] = mc_edit_fresh(g, "Yc");
    size_t n_out = s->gates == 4 ? 3 : 2;
    build_ok(mc_edit_node(g, g->n_nodes, op_of(s), "", 0, "cell", in, s->gates == 4 ? 7 : 6, out,
                          n_out, &n, &err),
             &err);
    build_ok(mc_edit_attr_int(n, "hidden_size", s->hidden, &err), &err);
    build_ok(mc_edit_attr_string(n, "direction",
                                 s->dirs > 1  ? "bidirectional"
                                 : s->reverse ? "reverse"
                                              : "forward",
                                 &err),
             &err);
    if (s->gates == 3)
        build_ok(mc_edit_attr_int(n, "linear_before_reset", s->reset_after, &err), &err);
    for (size_t i = 0; i < n_out; i++)
        build_output(g, out[i]);
    return m;
}

/* ---- by hand ---- */

/* Each row of n by its extreme, in place. */
static void round_rows(float *w, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++) {
        float most = 0;
        for (int64_t j = 0; j < n; j++)
            most = fmaxf(most, fabsf(w[i * n + j]));
        float scale = most / 127;
        for (int64_t j = 0; j < n && scale > 0; j++)
            w[i * n + j] = rintf(w[i * n + j] / scale) * scale;
    }
}

/* y [batch, rows] = q(x) wᵀ, where x is quantised as a whole. */
static void product(const float *x, int64_t batch, int64_t n, const float *w, int64_t rows,
                    double *y)
{
    double *q = malloc((size_t)(batch * n) * sizeof *q);
    assert_non_null(q);
    quant_dynamic(x, batch * n, q);
    for (int64_t i = 0; i < batch; i++)
        for (int64_t r = 0; r < rows; r++) {
            y[i * rows + r] = 0;
            for (int64_t j = 0; j < n; j++)
                y[i * rows + r] += q[i * n + j] * (double)w[r * n + j];
        }
    free(q);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One cell: gates of x (a), of h (u), biases; the state h, c. An unfinished GRU with reset before its product gives z, r h. */
static void update(const struct shape *s, const double *a, const double *u, const float *b, int j,
                   float *h, float *c)
{
    int m = s->hidden;
    double sum[MAX_GATES];
    for (int k = 0; k < s->gates; k++)
        sum[k] = a[k * m + j] + u[k * m + j] +
                 (b ? (double)b[k * m + j] + (double)b[(s->gates + k) * m + j] : 0);
    if (s->gates == 4) {
        *c = (float)(sigmoid(sum[2]) * (double)*c + sigmoid(sum[0]) * tanh(sum[3]));
        *h = (float)(sigmoid(sum[1]) * tanh((double)*c));
    } else if (s->gates == 3) {
        double z = sigmoid(sum[0]), r = sigmoid(sum[1]), bias = b ? (double)b[5 * m + j] : 0;
        double inner = s->reset_after ? r * (u[2 * m + j] + bias) : u[2 * m + j] + bias;
        double n = tanh(a[2 * m + j] + (b ? (double)b[2 * m + j] : 0) + inner);
        *h = (float)((1 - z) * n + z * (double)*h);
    } else {
        *h = (float)tanh(sum[0]);
    }
}

/* u of a GRU that resets before its last product. */
static void reset_first(const struct shape *s, const double *a, double *u, const float *b,
                        const float *r, const float *h)
{
    int m = s->hidden;
    float *rh = malloc((size_t)(s->batch * m) * sizeof *rh);
    double *last = malloc((size_t)(s->batch * m) * sizeof *last);
    assert_true(rh && last);
    for (int i = 0; i < s->batch; i++)
        for (int j = 0; j < m; j++) {
            int at = i * 3 * m + m + j;
            double bias = b ? (double)b[m + j] + (double)b[4 * m + j] : 0;
            rh[i * m + j] = (float)(sigmoid(a[at] + u[at] + bias) * (double)h[i * m + j]);
        }
    product(rh, s->batch, m, r + 2 * m * m, m, last);
    for (int i = 0; i < s->batch; i++)
        for (int j = 0; j < m; j++)
            u[i * 3 * m + 2 * m + j] = last[i * m + j];
    free(rh);
    free(last);
}

/* Y [steps, dirs, batch, hidden]; W and R are rounded already. */
static float *by_hand(const struct shape *s, const struct numbers *v)
{
    int64_t rows = (int64_t)s->gates * s->hidden, state = (int64_t)s->batch * s->hidden;
    float *y = malloc((size_t)(s->steps * s->dirs * state) * sizeof *y);
    double *a = malloc((size_t)(s->steps * s->batch * rows) * sizeof *a);
    double *u = malloc((size_t)(s->batch * rows) * sizeof *u);
    float *h = malloc((size_t)state * sizeof *h), *c = malloc((size_t)state * sizeof *c);
    assert_true(y && a && u && h && c);
    for (int d = 0; d < s->dirs; d++) {
        const float *b = s->bias ? v->b + d * 2 * rows : NULL, *r = v->r + d * rows * s->hidden;
        product(v->x, s->steps * s->batch, s->input, v->w + d * rows * s->input, rows, a);
        for (int64_t i = 0; i < state; i++) {
            h[i] = s->state ? v->h[d * state + i] : 0;
            c[i] = s->state ? v->c[d * state + i] : 0;
        }
        for (int k = 0; k < s->steps; k++) {
            int t = s->reverse || d ? s->steps - 1 - k : k;
            const double *at = a + t * s->batch * rows;
            product(h, s->batch, s->hidden, r, rows, u);
            if (s->gates == 3 && !s->reset_after)
                reset_first(s, at, u, b, r, h);
            for (int i = 0; i < s->batch; i++)
                for (int j = 0; j < s->hidden; j++)
                    update(s, at + i * rows, u + i * rows, b, j, &h[i * s->hidden + j],
                           &c[i * s->hidden + j]);
            memcpy(y + (t * s->dirs + d) * state, h, (size_t)state * sizeof *h);
        }
    }
    free(a);
    free(u);
    free(h);
    free(c);
    return y;
}

/* ---- checks ---- */

static float *run(struct mc_model *m, const struct shape *s, const struct numbers *v,
                  int64_t *ret_n)
{
    return output_of(m, 3, DIMS(s->steps, s->batch, s->input), v->x, ret_n);
}

static void near(const char *what, const struct shape *s, const float *a, const float *b, int64_t n,
                 double tolerance)
{
    double d = quant_distance(a, b, n);
    if (!(d <= tolerance))
        fail_msg("%s, %s of %d cells, %d directions, %d steps: %g", what, op_of(s), s->hidden,
                 s->dirs, s->steps, d);
}

/* A number below n for shape k of a test. */
static int pick(uint64_t k, uint64_t what, uint32_t n)
{
    return (int)mc_rng_below(seed, what, k, n);
}

static struct shape random_shape(uint64_t k)
{
    static const int gates[] = {4, 3, 1};
    struct shape s = {.gates = gates[pick(k, 1, 3)],
                      .dirs = 1 + pick(k, 2, 2),
                      .hidden = 1 + pick(k, 3, 40),
                      .input = 1 + pick(k, 4, 40),
                      .steps = 1 + pick(k, 5, 5),
                      .batch = 1 + pick(k, 6, 3),
                      .bias = pick(k, 7, 2),
                      .state = pick(k, 8, 2)};
    s.reverse = s.dirs == 1 && pick(k, 9, 2);
    s.reset_after = s.gates == 3 && pick(k, 10, 2);
    return s;
}

static void weights(void **state)
{
    (void)state;
    for (int k = 0; k < 40; k++) {
        struct shape s = random_shape((uint64_t)k);
        s.hidden += 20; /* so that scales and names are worth it */
        s.input += 30;
        struct numbers v = numbers_of(&s);
        struct mc_model *m = model_of(&s, &v);
        struct mc_quant_rules r = quant_rules();
        struct mc_quant_sites sites;
        struct mc_quant_built b = quant_all(m, &r, MC_QUANT_WEIGHT, &sites);
        int64_t rows = (int64_t)s.dirs * s.gates * s.hidden, n;
        assert_int_equal(b.compressed, rows * (s.input + s.hidden) * 4);
        assert_int_equal(quant_count(b.m->graph, "DequantizeLinear"), 0);
        assert_int_equal(quant_count(b.m->graph, op_of(&s)), 1);
        round_rows(v.w, rows, s.input);
        round_rows(v.r, rows, s.hidden);
        struct mc_model *rounded = model_of(&s, &v);
        float *got = run(b.m, &s, &v, &n), *want = run(rounded, &s, &v, &n);
        near("weights", &s, got, want, n, 1e-5);
        free(got);
        free(want);
        mc_quant_built_free(&b);
        mc_quant_sites_free(&sites);
        mc_model_free(m);
        mc_model_free(rounded);
        numbers_free(&v);
    }
}

/* Offered or not: the form itself is for any size. */
static struct mc_quant_built dynamic(struct mc_model *m, const struct mc_quant_rules *r,
                                     struct mc_quant_sites *sites)
{
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_quant_built b;
    enum mc_quant_form form = MC_QUANT_DYNAMIC;
    build_ok(mc_quant_sites_find(m, r, sites, &err), &err);
    assert_int_equal(sites->n, 1);
    sites->item[0].why[MC_QUANT_DYNAMIC] = NULL;
    build_ok(mc_quant_build(&ctx, m, sites, r, NULL, &form, NULL, false, &b, &err), &err);
    return b;
}

static void dynamic_forms(void **state)
{
    (void)state;
    for (int k = 0; k < 60; k++) {
        struct shape s = random_shape(1000 + (uint64_t)k);
        struct numbers v = numbers_of(&s);
        struct mc_model *m = model_of(&s, &v);
        struct mc_quant_rules r = quant_rules();
        struct mc_quant_sites sites;
        int64_t rows = (int64_t)s.dirs * s.gates * s.hidden, n;
        r.weight_unsigned = k % 3 == 1;
        struct mc_quant_built b = dynamic(m, &r, &sites);
        assert_int_equal(quant_count(b.m->graph, "Scan"), s.dirs);
        assert_int_equal(quant_count(b.m->graph, op_of(&s)), 0);
        float *got = run(b.m, &s, &v, &n), *whole = run(m, &s, &v, &n);
        round_rows(v.w, rows, s.input);
        round_rows(v.r, rows, s.hidden);
        float *want = by_hand(&s, &v);
        near("dynamic", &s, got, want, n,
             0.005); /* a rounding may go the other way, and on from there */
        near("dynamic to float", &s, got, whole, n, 0.1);
        if (s.gates == 4) {
            r.contrib = true;
            mc_quant_sites_free(&sites);
            mc_quant_built_free(&b);
            r.weight_unsigned = false;
            b = dynamic(m, &r, &sites);
            assert_int_equal(quant_count(b.m->graph, "DynamicQuantizeLSTM"), 1);
            float *other = run(b.m, &s, &v, &n);
            near("operator", &s, other, want, n, 0.02);
            free(other);
        }
        free(got);
        free(want);
        free(whole);
        mc_quant_built_free(&b);
        mc_quant_sites_free(&sites);
        mc_model_free(m);
        numbers_free(&v);
    }
}

/* Where a cell is written out only if that is faster, and what stays an operator. */
static void offers(void **state)
{
    (void)state;
    struct shape s = {.gates = 4, .dirs = 1, .hidden = 32, .input = 32, .steps = 1, .batch = 1};
    for (int k = 0; k < 6; k++) {
        s.hidden = k == 4 ? 290 : k ? 300 : 32;
        s.gates = k == 4 ? 3 : 4;
        struct numbers v = numbers_of(&s);
        struct mc_model *m = model_of(&s, &v);
        struct mc_quant_rules r = quant_rules();
        struct mc_quant_sites sites;
        struct mc_node *n = m->graph->nodes[0];
        if (k == 2)
            build_ok(mc_edit_attr_float(n, "clip", 3, &err), &err);
        if (k == 3)
            r.weight_bits = 4;
        if (k == 5)
            build_ok(mc_edit_attr_string(n, "direction", "bidirectional", &err), &err);
        build_ok(mc_quant_sites_find(m, &r, &sites, &err), &err);
        const char *why = sites.item[0].why[MC_QUANT_DYNAMIC];
        static const char *const want[] = {"so small a cell", NULL,
                                           "it clips",        "more than 4 bits",
                                           "so small a cell", "do not fit"};
        if (want[k] ? !why || !strstr(why, want[k]) : why != NULL)
            fail_msg("%d: %s", k, why ? why : "nothing");
        mc_quant_sites_free(&sites);
        mc_model_free(m);
        numbers_free(&v);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights),
        cmocka_unit_test(dynamic_forms),
        cmocka_unit_test(offers),
    };
    if (argc == 3)
        seed = strtoull(argv[2], NULL, 10);
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
